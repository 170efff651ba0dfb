//! The value of a limit, typed. This file says how the kernel's files write it and read it.

use std::fmt;
use std::ops::RangeInclusive;

use crate::Version;

/// Numbers are in the unit of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number.
    Number(u64),
    /// No limit, as files of this interface write it.
    Unlimited(Version),
    /// Microseconds of each period. Without `quota` there is no limit.
    Quota {
        quota: Option<u64>,
        period: Option<u64>,
    },
    /// CPUs or memory nodes: "0-3,7".
    List(String),
    /// One device (`None`: all others), and one of the limits that the file has for it (empty: it
    /// has one). Without `value` there is no limit.
    Device {
        device: Option<(u32, u32)>,
        key: &'static str,
        value: Option<u64>,
    },
    /// Anything else. systemd has no property for it.
    Text(String),
}

/// The keys of io.max and io.latency that systemd has properties for.
const KEYS: &[&str] = &["rbps", "wbps", "riops", "wiops", "target"];

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_max = |number: &Option<u64>| match number {
            Some(number) => number.to_string(),
            None => "max".to_owned(),
        };
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Unlimited(Version::V1) => f.write_str("-1"),
            Self::Unlimited(Version::V2) => f.write_str("max"),
            Self::Quota { quota, period } => {
                f.write_str(&or_max(quota))?;
                period.map_or(Ok(()), |period| write!(f, " {period}"))
            }
            Self::List(text) | Self::Text(text) => f.write_str(text),
            Self::Device { device, key, value } => {
                match device {
                    Some((major, minor)) => write!(f, "{major}:{minor} ")?,
                    None => f.write_str("default ")?,
                }
                match *key {
                    // v1 uses 0 for "no limit".
                    "" => write!(f, "{}", value.unwrap_or(0)),
                    key => write!(f, "{key}={}", or_max(value)),
                }
            }
        }
    }
}

impl Value {
    /// A number; negative: no limit.
    pub(crate) fn amount(limit: Option<i64>, version: Version) -> Option<Self> {
        let limit = limit?;
        Some(u64::try_from(limit).map_or(Self::Unlimited(version), Self::Number))
    }

    /// The limits in `line`, which a user wrote for this v2 file. More than one: the file accepts
    /// them one by one too.
    pub(crate) fn parse(file: &str, line: &str) -> Vec<Self> {
        let typed = match file {
            "cpu.max" => quota(line).map(|quota| vec![quota]),
            "cpuset.cpus" | "cpuset.mems" => Some(vec![Self::List(line.to_owned())]),
            "io.weight" => device(line).or_else(|| Some(vec![Self::Number(line.parse().ok()?)])),
            "io.max" | "io.latency" => device(line),
            _ => number(file, line).map(|number| vec![number]),
        };
        typed.unwrap_or_else(|| vec![Self::Text(line.to_owned())])
    }
}

/// The ranges of a list such as "0-3,7", as the kernel prints it; for a stride ("0-31:2/4") only
/// its range, which is enough to see whether something else is in use. `None`: a word such as
/// "all" or "N", which means the host's last one.
pub(crate) fn list(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let parts = text.split(|letter: char| letter == ',' || letter.is_ascii_whitespace());
    let ranges = parts.filter(|part| !part.is_empty()).map(|part| {
        let part = part.split(':').next().unwrap_or_default();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.collect()
}

/// A number as the kernel reads it: in files of memory it may have a unit (a power of 1024).
fn number(file: &str, text: &str) -> Option<Value> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)? {
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => 0,
    };
    if shift > 0 && (file.starts_with("memory.") || file.starts_with("hugetlb.")) {
        let number = digits.parse::<u64>().ok()?;
        return number.checked_mul(1 << shift).map(Value::Number);
    }
    let number = plain(text)?;
    Some(number.map_or(Value::Unlimited(Version::V2), Value::Number))
}

/// A number, or "max".
fn plain(word: &str) -> Option<Option<u64>> {
    match word {
        "max" => Some(None),
        word => word.parse().ok().map(Some),
    }
}

/// "50000 100000", "max"
fn quota(line: &str) -> Option<Value> {
    let mut words = line.split_whitespace();
    let quota = plain(words.next()?)?;
    let period = match words.next() {
        Some(word) => Some(plain(word)?.filter(|period| *period != 0)?),
        None => None,
    };
    Some(Value::Quota { quota, period })
}

/// "8:0 rbps=5 wbps=max", "8:0 50", "default 50"
fn device(line: &str) -> Option<Vec<Value>> {
    let mut words = line.split_whitespace();
    let device = match words.next()? {
        "default" => None,
        number => {
            let (major, minor) = number.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }
    };
    let limit = |word: &str| {
        let (key, value) = word.split_once('=').unwrap_or(("", word));
        let key = KEYS.iter().chain(&[""]).find(|known| **known == key)?;
        let value = plain(value)?;
        Some(Value::Device { device, key, value })
    };
    let limits: Vec<_> = words.map(limit).collect::<Option<_>>()?;
    (!limits.is_empty()).then_some(limits)
}
