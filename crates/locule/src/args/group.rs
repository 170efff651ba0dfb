//! Options of the commands that act on the processes of a container that exists: pause, resume, ps
//! and events.

use super::{ListFormat, list_format};
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// `pause`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule pause ID",
    after_help = "Example:\n  locule pause box1; locule state box1 | jq -r .status; locule resume box1\n\n\
        All processes of the container's cgroup and of the groups below it are frozen until `resume`. Signals \
        wait, but KILL ends a process. A container that is created or running can be paused."
)]
pub(crate) struct Pause {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule resume ID",
    after_help = "Example:\n  locule resume box1\n\n\
        Fails if the container is not paused, and if a cgroup above its own is frozen."
)]
pub(crate) struct Resume {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule ps [OPTIONS] ID [PS OPTIONS]",
    after_help = "Example:\n  locule ps box1 -o pid,user,args; locule ps --format json box1\n\n\
        Shows the processes of the container's cgroup and of the groups below it, by their process ids on \
        the host. PS OPTIONS go to the host's `ps` [default: -ef]; its output must have the column PID."
)]
pub(crate) struct Ps {
    /// How to print: the output of the host's `ps`, or the process ids as one json array
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = list_format)]
    pub(crate) format: ListFormat,
    /// The container's name in the state directory, and options for the host's `ps`
    #[arg(value_name = "ID [PS OPTIONS]", trailing_var_arg = true)]
    words: Vec<OsString>,
}

/// `events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule events [OPTIONS] ID",
    after_help = "Example:\n  locule events --stats box1 | jq .data.memory.usage; locule events --interval 1m box1\n\n\
        Prints one JSON object a line: of type stats, whose data is what the container's cgroup has used, and \
        of type oom when processes were killed because the memory limit was reached. Ends with the \
        container's last process."
)]
pub(crate) struct Events {
    /// Time between two objects of type stats, such as 5s, 1m30s or 500ms; a number alone is
    /// seconds
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Print one object of type stats at once, and end [default: off]
    #[arg(long)]
    pub(crate) stats: bool,
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// Parses a duration as Go programs write it, or whole seconds.
fn interval(text: &str) -> Result<Duration, &'static str> {
    let time = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().map(Duration::from_secs)
    } else {
        duration(text)
    };
    match time {
        Some(Duration::ZERO) => Err("an interval must be greater than 0"),
        Some(time) => Ok(time),
        None => Err("expected a time such as 5s, 1m30s or 500ms, or whole seconds"),
    }
}

/// Numbers, with or without a fraction, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let after = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, tail) = tail.split_at(tail.find(after).unwrap_or(tail.len()));
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let fraction = fraction.get(..fraction.len().min(9))?;
        let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let parse = |digits: &str| match digits {
            "" => Some(0),
            digits => digits.parse::<u64>().ok(),
        };
        let part = u128::from(parse(fraction)?) * u128::from(*nanoseconds) / tenths;
        sum = sum
            .checked_add(parse(whole)?.checked_mul(*nanoseconds)?)?
            .checked_add(u64::try_from(part).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(sum))
}

impl Ps {
    /// The container's name, as typed. Bytes that are not UTF-8 make it invalid.
    pub(crate) fn id(&self) -> String {
        let word = self.words.first().map(OsString::as_os_str);
        word.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The options for the host's `ps`.
    pub(crate) fn options(&self) -> Vec<&OsStr> {
        let mut options: Vec<_> = self.words.iter().skip(1).map(OsString::as_os_str).collect();
        if options.first().is_some_and(|word| *word == "--") {
            options.remove(0);
        }
        if options.is_empty() {
            options.push(OsStr::new("-ef"));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_duration_of_go_or_whole_seconds() {
        for (text, time) in [
            ("5s", Duration::from_secs(5)),
            ("5", Duration::from_secs(5)),
            ("+5s", Duration::from_secs(5)),
            ("1m30s", Duration::from_secs(90)),
            ("1h0m0.5s", Duration::from_millis(3_600_500)),
            ("1.5h", Duration::from_secs(5400)),
            (".5s", Duration::from_millis(500)),
            ("5.s", Duration::from_secs(5)),
            ("500ms", Duration::from_millis(500)),
            ("7us", Duration::from_micros(7)),
            ("7\u{b5}s", Duration::from_micros(7)),
            ("7\u{3bc}s", Duration::from_micros(7)),
            ("1.0000000019s", Duration::from_nanos(1_000_000_001)),
            ("1ns", Duration::from_nanos(1)),
        ] {
            assert_eq!(interval(text), Ok(time), "{text}");
        }
        for text in [
            "",
            "s",
            ".s",
            "5x",
            "5s5",
            "-5s",
            "1.2.3s",
            "5 s",
            "99999999999999999999",
            "999999h9999999999999h",
        ] {
            assert!(interval(text).unwrap_err().contains("expected"), "{text}");
        }
        for text in ["0", "0s", "0.1ns"] {
            assert!(
                interval(text).unwrap_err().contains("greater than 0"),
                "{text}"
            );
        }
    }
}
