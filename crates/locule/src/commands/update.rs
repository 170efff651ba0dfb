//! `update`: new limits for a container.
//!
//! The options or the file become a document with the form of `linux.resources`, which is validated
//! like the one in a configuration. The room `cgroup` merges it into the current limits and writes
//! all or nothing. The result is recorded for the next update.

use super::{Env, kept_container, own_group, warn};
use crate::args::{self, Kind, Limit, Limits};
use crate::error::Error;
use crate::exit::ExitCode;
use crate::state::{Lock, Record};
use crate::status::Action;
use serde_json::{Map, Number, Value, json};
use spec::container::Resources;
use spec::load::{LoadError, load_resources, parse_resources, read_resources};
use spec::{Diagnostic, Report};
use std::io::{self, Read};
use std::path::Path;

/// An option whose value is not a valid limit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misgiven {
    #[error("{option} {word:?}: expected {expected}")]
    Word {
        option: &'static str,
        word: String,
        expected: &'static str,
    },
    #[error("{option}: {problem}")]
    Judged {
        option: &'static str,
        problem: Diagnostic,
    },
    #[error("{0}")]
    Together(Report),
    #[error(
        "{option}: the container was made without linux.intelRdt, so it has no schemata to change"
    )]
    NoIntelRdt { option: &'static str },
    #[error(
        "{option} {line:?}: expected a line that begins with {start:?}, as in the file schemata"
    )]
    Schema {
        option: &'static str,
        line: String,
        start: &'static str,
    },
}

/// Changes the limits of one container.
pub(crate) fn run(args: &args::Update, env: &Env) -> Result<ExitCode, Error> {
    let (entry, mut record, _) = env.find(args.id(), Lock::Exclusive, Action::Update)?;
    let schemata = schemata(args, &record)?;
    let (change, warnings) = match args.resources.as_deref() {
        None => typed(&args.limits)?,
        Some(path) if path == Path::new("-") => read(io::stdin().lock())?,
        Some(path) => load_resources(path)?,
    };
    warn(&warnings);
    let stored = match &record.resources {
        Some(resources) => resources.clone(),
        None => kept_container(&entry.config()?, &record)?.resources,
    };
    let group = own_group(&record, entry.id(), "update")?;
    // First: the old lines can be written again if a later limit is refused.
    let before = match &schemata {
        Some((shares, lines)) => Some((shares, shares.set_schemata(lines)?)),
        None => None,
    };
    let merged = match group.update(&stored, &change) {
        Ok(merged) => merged,
        Err(error) => {
            if let Some((shares, lines)) = before
                && let Err(left) = shares.set_schemata(&lines)
            {
                tracing::error!("{left}");
            }
            return Err(error.into());
        }
    };
    record.resources = Some(merged);
    entry.save(&record)?;
    Ok(ExitCode::SUCCESS)
}

/// The lines for the container's file `schemata`, caches first.
fn schemata<'r>(
    args: &args::Update,
    record: &'r Record,
) -> Result<Option<(&'r resctrl::Location, String)>, Misgiven> {
    let options = [
        ("--l3-cache-schema", "L3", &args.l3_cache_schema),
        ("--mem-bw-schema", "MB:", &args.mem_bw_schema),
    ];
    let mut lines = Vec::new();
    for (option, start, word) in options {
        let Some(word) = word.as_deref().filter(|word| !word.is_empty()) else {
            continue;
        };
        if record.shares().is_none() {
            return Err(Misgiven::NoIntelRdt { option });
        }
        if let Some(line) = word.lines().find(|line| !line.starts_with(start)) {
            return Err(Misgiven::Schema {
                option,
                line: line.to_owned(),
                start,
            });
        }
        // Without a newline at the end: the kernel refuses an empty line.
        lines.extend(word.lines());
    }
    let shares = record.shares().filter(|_| !lines.is_empty());
    Ok(shares.map(|shares| (shares, lines.join("\n"))))
}

type Judged = (Resources, Vec<Diagnostic>);

/// A document on standard input.
fn read(stdin: impl Read) -> Result<Judged, LoadError> {
    read_resources(stdin, Path::new("standard input"))
}

/// Limits that were typed one by one.
fn typed(limits: &Limits) -> Result<Judged, Misgiven> {
    let mut document = Map::new();
    for limit in limits.each() {
        if let Some(value) = value(limit)? {
            let (section, key) = limit.property;
            let section = document.entry(section).or_insert_with(|| json!({}));
            section[key] = value;
        }
    }
    let bytes = Value::Object(document).to_string();
    parse_resources(bytes.as_bytes()).map_err(|report| blame(limits, report))
}

/// The value of a word; `None` if it is empty.
fn value(limit: Limit<'_>) -> Result<Option<Value>, Misgiven> {
    let Some(word) = limit.word.filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let (value, expected) = match limit.kind {
        Kind::Text => (Some(Value::from(word)), "a text"),
        Kind::Number => (number(word).map(Value::from), "a whole number"),
        Kind::Size => (
            size(word).map(Value::from),
            "bytes such as 536870912 or 512m, or -1 for no limit, below 2^63",
        ),
    };
    let value = value.ok_or_else(|| Misgiven::Word {
        option: limit.option,
        word: word.to_owned(),
        expected,
    })?;
    Ok(Some(value))
}

/// A number as JSON has it, as large as it may be.
fn number(word: &str) -> Option<Number> {
    let signed = word.parse::<i64>().ok().map(Number::from);
    signed.or_else(|| word.parse::<u64>().ok().map(Number::from))
}

/// Bytes: digits with an optional fraction, then perhaps a unit of 1024 (k, m, g, t), which `b` or
/// `ib` may follow, in any case. -1 is no limit. Other negative numbers are not valid.
fn size(word: &str) -> Option<i64> {
    if word == "-1" {
        return Some(-1);
    }
    let lower = word.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let bare = lower.strip_suffix('i');
    let (digits, shift) = match lower.as_bytes().last()? {
        b'i' => unit(bare?).filter(|(_, shift)| *shift > 0)?,
        _ => unit(lower)?,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let number = whole.parse::<u64>().ok().map(u128::from)? * tenths;
    let number = number + u128::from(fraction.parse::<u64>().ok()?);
    // A shift would lose bits without a word.
    i64::try_from(number.checked_mul(1 << shift)? / tenths).ok()
}

/// The number in front of a unit, and the power of two that the unit is.
fn unit(word: &str) -> Option<(&str, u32)> {
    let shift = match word.as_bytes().last()? {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => return Some((word, 0)),
    };
    Some((word.get(..word.len() - 1)?, shift))
}

/// Finds the option of the property that is wrong.
fn blame(limits: &Limits, report: Report) -> Misgiven {
    let [problem] = &*report.errors else {
        return Misgiven::Together(report);
    };
    let named = limits.each().find(|limit| {
        let (section, key) = limit.property;
        problem.pointer == format!("/{section}/{key}")
    });
    match named {
        Some(limit) => Misgiven::Judged {
            option: limit.option,
            problem: problem.clone(),
        },
        None => Misgiven::Together(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_with_a_unit_of_1024() {
        for (word, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4096b", Some(4096)),
            ("1k", Some(1 << 10)),
            ("1K", Some(1 << 10)),
            ("3m", Some(3 << 20)),
            ("3MB", Some(3 << 20)),
            ("3MiB", Some(3 << 20)),
            ("2g", Some(2 << 30)),
            ("2t", Some(2 << 40)),
            ("1.5g", Some(3 << 29)),
            ("0.5", Some(0)),
            ("-1", Some(-1)),
            ("-2", None),
            ("-01", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("8388608t", None),
            ("309485009821345069.000000000t", None),
            ("", None),
            ("m", None),
            ("b", None),
            ("ib", None),
            ("1ib", None),
            ("1mm", None),
            ("1x", None),
            ("+1", None),
            ("1.m", None),
            (".5m", None),
            ("1.2.3m", None),
            ("-1m", None),
            ("1 m", None),
            ("ä", None),
            ("1ä", None),
        ] {
            assert_eq!(size(word), bytes, "{word:?}");
        }
    }

    #[test]
    fn what_is_typed_becomes_the_property_of_its_name() {
        let limits = Limits {
            blkio_weight: Some("500".to_owned()),
            cpu_share: Some("18446744073709551615".to_owned()),
            cpu_quota: Some("-1".to_owned()),
            cpu_burst: Some("0".to_owned()),
            cpu_idle: Some("1".to_owned()),
            cpuset_cpus: Some("0-1".to_owned()),
            memory: Some("64m".to_owned()),
            memory_swap: Some("-1".to_owned()),
            kernel_memory: Some("1g".to_owned()),
            pids_limit: Some("20".to_owned()),
            ..Limits::default()
        };
        let (resources, warnings) = typed(&limits).unwrap();
        let mut expected = Resources::default();
        expected.block_io.weight = Some(500);
        expected.cpu.shares = Some(u64::MAX);
        expected.cpu.quota = Some(-1);
        expected.cpu.burst = Some(0);
        expected.cpu.idle = Some(1);
        expected.cpu.cpus = Some("0-1".to_owned());
        expected.memory.limit = Some(64 << 20);
        expected.memory.swap = Some(-1);
        expected.memory.kernel = Some(1 << 30);
        expected.pids_limit = Some(20);
        assert_eq!(resources, expected);
        assert_eq!(warnings, []);
    }

    #[test]
    fn nothing_and_zero_change_nothing() {
        for word in ["", "0"] {
            let word = || Some(word.to_owned());
            let limits = Limits {
                blkio_weight: word(),
                cpu_period: word(),
                cpu_quota: word(),
                cpu_share: word(),
                cpu_rt_period: word(),
                cpu_rt_runtime: word(),
                memory: word(),
                memory_reservation: word(),
                memory_swap: word(),
                kernel_memory: word(),
                kernel_memory_tcp: word(),
                ..Limits::default()
            };
            assert_eq!(typed(&limits).unwrap().0, Resources::default());
        }
        // As in the document: the smallest valid value.
        let limits = Limits {
            pids_limit: Some("0".to_owned()),
            ..Limits::default()
        };
        assert_eq!(typed(&limits).unwrap().0.pids_limit, Some(0));
        assert_eq!(typed(&Limits::default()).unwrap().0, Resources::default());
    }

    #[test]
    fn every_option_leads_to_a_property_that_is_known() {
        for limit in Limits::default().each() {
            let (section, key) = limit.property;
            let word = if limit.kind == Kind::Text {
                "\"0\""
            } else {
                "1"
            };
            let word = if key == "weight" { "10" } else { word };
            let document = format!("{{\"{section}\":{{\"{key}\":{word}}}}}");
            let (resources, warnings) = parse_resources(document.as_bytes()).unwrap();
            assert_eq!(warnings, [], "{}", limit.option);
            assert_ne!(resources, Resources::default(), "{}", limit.option);
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_the_name_of_its_option() {
        let word = |word: &str| Some(word.to_owned());
        let base = Limits::default;
        for (limits, told) in [
            (
                Limits {
                    cpu_quota: word("x"),
                    ..base()
                },
                "--cpu-quota \"x\": expected a whole number",
            ),
            (
                Limits {
                    memory: word("1x"),
                    ..base()
                },
                "--memory \"1x\": expected bytes such as",
            ),
            (
                Limits {
                    blkio_weight: word("5"),
                    ..base()
                },
                "--blkio-weight: /blockIO/weight: 5 is outside",
            ),
            (
                Limits {
                    cpu_idle: word("2"),
                    ..base()
                },
                "--cpu-idle: /cpu/idle: ",
            ),
            (
                Limits {
                    cpuset_mems: word("x"),
                    ..base()
                },
                "--cpuset-mems: /cpu/mems: ",
            ),
            (
                Limits {
                    cpu_idle: word("2"),
                    cpu_period: word("-1"),
                    ..base()
                },
                "2 errors",
            ),
        ] {
            let text = typed(&limits).unwrap_err().to_string();
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn a_document_is_read_whole_and_named_when_it_is_wrong() {
        let (resources, _) = read(&br#"{"pids":{"limit":7}}"#[..]).unwrap();
        assert_eq!(resources.pids_limit, Some(7));
        let told = read(&b"{}}"[..]).unwrap_err().to_string();
        assert!(told.starts_with("\"standard input\": "), "{told}");
        let endless = read(io::repeat(b' ')).unwrap_err();
        assert!(matches!(endless, LoadError::TooLarge { .. }), "{endless}");
    }
}
