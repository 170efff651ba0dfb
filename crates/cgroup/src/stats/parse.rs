//! Parses the forms of counters in cgroup files.

use std::collections::BTreeMap;

use super::{BlkioEntry, Pids, Pressure, PressureData};
use crate::directory::Directory;
use crate::resources::list;

/// A file with one number; "max" is `u64::MAX`, an absent file 0.
pub(super) fn number(group: &Directory, file: &str) -> u64 {
    to_number(&group.read(file).unwrap_or_default())
}

fn to_number(text: &str) -> u64 {
    match text.trim_end() {
        "max" => u64::MAX,
        digits => digits.parse().unwrap_or(0),
    }
}

/// The threads of a group; both interfaces have the same files.
pub(super) fn pids(group: &Directory) -> Pids {
    Pids {
        current: number(group, "pids.current"),
        limit: match number(group, "pids.max") {
            u64::MAX => 0,
            limit => limit,
        },
    }
}

/// Lines of a name and a number.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), to_number(value)))
    });
    pairs.collect()
}

/// Numbers between spaces.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The numbers of a list such as "0-3,7".
pub(super) fn ranges(text: &str) -> Vec<u16> {
    let ranges = list(text).unwrap_or_default();
    let numbers = ranges.into_iter().flatten();
    numbers.map_while(|number| number.try_into().ok()).collect()
}

/// A pressure file; `None` if it does not exist or the kernel does not count pressure.
pub(super) fn pressure(group: &Directory, file: &str) -> Option<Pressure> {
    to_pressure(&group.read(file).ok()?)
}

pub(super) fn to_pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| {
        let words = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let mut data = PressureData::default();
        for word in words.split_whitespace() {
            match word.split_once('=')? {
                ("avg10", value) => data.avg10 = value.parse().ok()?,
                ("avg60", value) => data.avg60 = value.parse().ok()?,
                ("avg300", value) => data.avg300 = value.parse().ok()?,
                ("total", value) => data.total = value.parse().ok()?,
                _ => {}
            }
        }
        Some(data)
    };
    Some(Pressure {
        some: line("some ")?,
        full: line("full ").unwrap_or_default(),
    })
}

/// v1's lines "8:0 Read 4096" and "8:0 512"; "Total 4096" is left out.
pub(super) fn block_lines(text: &str) -> Vec<BlkioEntry> {
    let entries = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let (second, third) = (words.next()?, words.next());
        let (op, value) = third.map_or(("", second), |value| (second, value));
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    });
    entries.collect()
}

/// The values of `keys` (with v1's words for them) on the lines of io.stat.
pub(super) fn io_stat(text: &str, keys: &[(&str, &str)]) -> Vec<BlkioEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|number| number.split_once(':')) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Some((_key, op)) = keys.iter().find(|(name, _op)| *name == key) else {
                continue;
            };
            entries.push(BlkioEntry {
                major: to_number(major),
                minor: to_number(minor),
                op: (*op).to_owned(),
                value: to_number(value),
            });
        }
    }
    entries
}
