//! Limits as properties of a unit.
//!
//! Every value for a cgroup file is also set as a property of systemd, by a table of files and
//! properties. systemd rewrites the files of its units at every daemon-reload, so only values that
//! it knows survive. Values without a property are only written to the files. Source:
//! org.freedesktop.systemd1(5), systemd.resource-control(5).

use dbus::Value;

use crate::resources::{FileWrite, Missing};

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// JSON pointer of the source of the property; empty: there is none.
    pub(crate) pointer: String,
}

impl Property {
    pub(crate) fn new(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            value,
            pointer: String::new(),
        }
    }
}

/// The weight of a group that is not idle. See sched_group_set_idle() in Linux.
const BUSY: u64 = 100;

/// `None`: this value is only written to the file.
type Convert = fn(&FileWrite) -> Option<Value>;

/// A file, the corresponding property, the first version of systemd that has it, and its value.
type Row = (&'static str, &'static str, u32, Convert);

const ROWS: &[Row] = &[
    ("memory.max", "MemoryMax", 231, limit),
    ("memory.high", "MemoryHigh", 231, limit),
    ("memory.low", "MemoryLow", 231, limit),
    ("memory.min", "MemoryMin", 240, limit),
    ("memory.swap.max", "MemorySwapMax", 232, limit),
    ("memory.zswap.max", "MemoryZSwapMax", 253, limit),
    ("memory.oom.group", "OOMPolicy", 253, policy),
    ("cpu.weight", "CPUWeight", 232, limit),
    ("cpu.idle", "CPUWeight", 252, idle),
    ("cpu.max", "CPUQuotaPerSecUSec", 213, quota),
    ("cpu.max", "CPUQuotaPeriodUSec", 242, period),
    ("cpuset.cpus", "AllowedCPUs", 244, bits),
    ("cpuset.mems", "AllowedMemoryNodes", 244, bits),
    ("pids.max", "TasksMax", 227, limit),
    ("io.bfq.weight", "IOWeight", 230, |write| {
        weight(otherwise(write)?)
    }),
    ("io.bfq.weight", "IODeviceWeight", 230, |write| {
        device_weight(otherwise(write)?)
    }),
    ("io.weight", "IOWeight", 230, |write| weight(&write.value)),
    ("io.weight", "IODeviceWeight", 230, |write| {
        device_weight(&write.value)
    }),
    ("io.max", "IOReadBandwidthMax", 230, |write| {
        device_limit(write, "rbps")
    }),
    ("io.max", "IOWriteBandwidthMax", 230, |write| {
        device_limit(write, "wbps")
    }),
    ("io.max", "IOReadIOPSMax", 230, |write| {
        device_limit(write, "riops")
    }),
    ("io.max", "IOWriteIOPSMax", 230, |write| {
        device_limit(write, "wiops")
    }),
    ("io.latency", "IODeviceLatencyTargetUSec", 240, |write| {
        device_limit(write, "target")
    }),
];

/// The properties for `writes` in a systemd of `version`. If a property gets two values the later
/// one counts; lists of devices are joined.
pub(crate) fn properties(writes: &[FileWrite], version: u32) -> Vec<Property> {
    let mut found: Vec<Property> = Vec::new();
    for write in writes {
        let rows = ROWS.iter().filter(|(file, ..)| *file == write.file);
        for (_file, name, since, convert) in rows {
            let Some(value) = convert(write) else {
                continue;
            };
            if version < *since {
                tracing::debug!(
                    "{}: systemd {version} has no property {name}; only the file is written",
                    write.pointer
                );
                continue;
            }
            let earlier = found.iter_mut().find(|property| property.name == *name);
            match (earlier.map(|property| &mut property.value), value) {
                (Some(Value::Array(element, items)), Value::Array(_, more)) if element != "y" => {
                    items.extend(more);
                }
                (Some(_weight), Value::U64(BUSY)) if write.file == "cpu.idle" => {}
                (Some(earlier), value) => *earlier = value,
                (None, value) => found.push(Property {
                    name: (*name).to_owned(),
                    value,
                    pointer: write.pointer.clone(),
                }),
            }
        }
    }
    found
}

/// The number in `text` as the kernel reads it; it may have a unit (a power of 1024). "max" is the
/// largest.
fn number(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(u64::MAX);
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)? {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn limit(write: &FileWrite) -> Option<Value> {
    number(&write.value).map(Value::U64)
}

/// For systemd a weight of 0 means idle. A group that is no longer idle gets the kernel's default
/// weight, unless cpu.weight is given.
fn idle(write: &FileWrite) -> Option<Value> {
    match &*write.value {
        "1" => Some(Value::U64(0)),
        "0" => Some(Value::U64(BUSY)),
        _ => None,
    }
}

fn policy(write: &FileWrite) -> Option<Value> {
    match &*write.value {
        "0" => Some(Value::text("continue")),
        "1" => Some(Value::text("kill")),
        _ => None,
    }
}

/// Microseconds of each second. systemd keeps whole percents. Other values are rounded up, so that
/// no group gets less than requested.
fn quota(write: &FileWrite) -> Option<Value> {
    const SECOND: u64 = 1_000_000;
    const PERCENT: u64 = SECOND / 100;
    let mut words = write.value.split_whitespace();
    let quota = words.next()?;
    if quota == "max" {
        return Some(Value::U64(u64::MAX));
    }
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = words
        .next()
        .map_or(Some(100_000), |word| word.parse().ok())?;
    let each_second = quota.checked_mul(SECOND)?.checked_div(period)?;
    Some(Value::U64(
        each_second.next_multiple_of(PERCENT).max(PERCENT),
    ))
}

fn period(write: &FileWrite) -> Option<Value> {
    let period = write.value.split_whitespace().nth(1)?;
    period.parse().ok().map(Value::U64)
}

/// A list as "0-3,7", as bits: the first is the lowest of the first byte.
fn bits(write: &FileWrite) -> Option<Value> {
    /// More CPUs than a kernel can have.
    const MOST: usize = 1 << 16;
    let mut bytes: Vec<u8> = Vec::new();
    for part in write.value.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(Value::bytes(&bytes))
}

/// The value for io.weight of a write to io.bfq.weight.
fn otherwise(write: &FileWrite) -> Option<&str> {
    match &write.missing {
        Missing::Otherwise { file, value } if file == "io.weight" => Some(value),
        _ => None,
    }
}

/// "N" or "default N"
fn weight(value: &str) -> Option<Value> {
    let number = value.strip_prefix("default ").unwrap_or(value);
    number.parse().ok().map(Value::U64)
}

/// The path of the node of a device such as "8:0".
fn device(number: &str) -> Option<Value> {
    let (major, minor) = number.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(Value::Str(format!("/dev/block/{major}:{minor}")))
}

fn for_device(number: &str, value: u64) -> Option<Value> {
    let pair = Value::Struct(vec![device(number)?, Value::U64(value)]);
    Some(Value::Array("(st)".to_owned(), vec![pair]))
}

/// "8:0 N"
fn device_weight(value: &str) -> Option<Value> {
    let (number, weight) = value.split_once(' ')?;
    for_device(number, weight.parse().ok()?)
}

/// The part `key` of "8:0 rbps=N wbps=max"
fn device_limit(write: &FileWrite, key: &str) -> Option<Value> {
    let mut words = write.value.split_whitespace();
    let number = words.next()?;
    let value = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
    for_device(number, self::number(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &str, value: &str) -> FileWrite {
        FileWrite {
            group: 0,
            file: file.to_owned(),
            value: value.to_owned(),
            pointer: format!("/{file}"),
            missing: Missing::Fails,
        }
    }

    fn of(writes: &[(&str, &str)]) -> Vec<(String, Value)> {
        let writes: Vec<_> = writes
            .iter()
            .map(|(file, value)| write(file, value))
            .collect();
        let found = properties(&writes, 999).into_iter();
        found
            .map(|property| (property.name, property.value))
            .collect()
    }

    fn devices(pairs: &[(&str, u64)]) -> Value {
        let pairs = pairs.iter();
        let pair = |(path, value): &(&str, u64)| {
            Value::Struct(vec![Value::text(*path), Value::U64(*value)])
        };
        Value::Array("(st)".to_owned(), pairs.map(pair).collect())
    }

    #[test]
    fn each_file_has_its_property() {
        let table = [
            (
                "memory.max",
                "67108864",
                "MemoryMax",
                Value::U64(67_108_864),
            ),
            ("memory.max", "max", "MemoryMax", Value::U64(u64::MAX)),
            ("memory.high", "64M", "MemoryHigh", Value::U64(64 << 20)),
            ("memory.low", "0", "MemoryLow", Value::U64(0)),
            ("memory.min", "1k", "MemoryMin", Value::U64(1024)),
            ("memory.swap.max", "0", "MemorySwapMax", Value::U64(0)),
            ("memory.oom.group", "1", "OOMPolicy", Value::text("kill")),
            (
                "memory.oom.group",
                "0",
                "OOMPolicy",
                Value::text("continue"),
            ),
            ("cpu.weight", "59", "CPUWeight", Value::U64(59)),
            ("cpu.idle", "1", "CPUWeight", Value::U64(0)),
            ("cpu.idle", "0", "CPUWeight", Value::U64(100)),
            ("pids.max", "max", "TasksMax", Value::U64(u64::MAX)),
            ("pids.max", "7", "TasksMax", Value::U64(7)),
            (
                "cpuset.cpus",
                "0-3,9",
                "AllowedCPUs",
                Value::bytes(&[0x0f, 0x02]),
            ),
            ("cpuset.mems", "0", "AllowedMemoryNodes", Value::bytes(&[1])),
            ("io.weight", "default 50", "IOWeight", Value::U64(50)),
            (
                "io.weight",
                "8:0 50",
                "IODeviceWeight",
                devices(&[("/dev/block/8:0", 50)]),
            ),
            (
                "io.latency",
                "8:0 target=75",
                "IODeviceLatencyTargetUSec",
                devices(&[("/dev/block/8:0", 75)]),
            ),
        ];
        for (file, value, name, expected) in table {
            assert_eq!(
                of(&[(file, value)]),
                [(name.to_owned(), expected)],
                "{file} {value}"
            );
        }
    }

    #[test]
    fn a_quota_is_rounded_up_to_whole_percents() {
        let table = [
            ("50000 100000", 500_000, Some(100_000)),
            ("12345 100000", 130_000, Some(100_000)),
            ("1000 1000000", 10_000, Some(1_000_000)),
            ("250000 100000", 2_500_000, Some(100_000)),
            ("max 50000", u64::MAX, Some(50_000)),
            ("20000", 200_000, None),
        ];
        for (value, quota, period) in table {
            let mut expected = vec![("CPUQuotaPerSecUSec".to_owned(), Value::U64(quota))];
            expected
                .extend(period.map(|period| ("CPUQuotaPeriodUSec".to_owned(), Value::U64(period))));
            assert_eq!(of(&[("cpu.max", value)]), expected, "{value}");
        }
    }

    #[test]
    fn limits_of_devices_are_joined_and_split_by_direction() {
        let found = of(&[
            ("io.max", "8:0 rbps=5 wbps=max"),
            ("io.max", "8:16 rbps=6"),
            ("io.max", "8:0 riops=7"),
        ]);
        let expected = [
            (
                "IOReadBandwidthMax",
                devices(&[("/dev/block/8:0", 5), ("/dev/block/8:16", 6)]),
            ),
            (
                "IOWriteBandwidthMax",
                devices(&[("/dev/block/8:0", u64::MAX)]),
            ),
            ("IOReadIOPSMax", devices(&[("/dev/block/8:0", 7)])),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }

    #[test]
    fn the_later_value_counts() {
        let found = of(&[
            ("memory.max", "1"),
            ("memory.max", "2"),
            ("cpuset.cpus", "0"),
            ("cpuset.cpus", "1"),
        ]);
        assert_eq!(
            found,
            [
                ("MemoryMax".to_owned(), Value::U64(2)),
                ("AllowedCPUs".to_owned(), Value::bytes(&[2])),
            ]
        );
    }

    #[test]
    fn a_group_that_is_not_idle_keeps_its_weight() {
        let weight = |value| [("CPUWeight".to_owned(), Value::U64(value))];
        assert_eq!(of(&[("cpu.weight", "59"), ("cpu.idle", "0")]), weight(59));
        assert_eq!(of(&[("cpu.idle", "0"), ("cpu.weight", "59")]), weight(59));
        assert_eq!(of(&[("cpu.weight", "59"), ("cpu.idle", "1")]), weight(0));
    }

    #[test]
    fn a_weight_for_bfq_is_told_in_the_other_unit() {
        let mut write = write("io.bfq.weight", "500");
        assert_eq!(properties(&[write.clone()], 999), []);
        write.missing = Missing::Otherwise {
            file: "io.weight".to_owned(),
            value: "default 4950".to_owned(),
        };
        let found = properties(&[write], 999);
        assert_eq!(found[0].value, Value::U64(4950));
    }

    #[test]
    fn what_systemd_cannot_say_is_left_to_the_files() {
        for (file, value) in [
            ("hugetlb.2MB.max", "0"),
            ("rdma.max", "x hca_handle=1"),
            ("cpu.max.burst", "5"),
            ("cpu.idle", "2"),
            ("memory.max", "many"),
            ("memory.max", "99999999999999999999"),
            ("cpu.max", "5 0"),
            ("cpuset.cpus", "0-15:2"),
            ("cpuset.cpus", "9-1"),
            ("cpuset.cpus", "99999999"),
            ("io.max", "x rbps=5"),
        ] {
            let found = of(&[(file, value)]);
            let without_period: Vec<_> = found
                .iter()
                .filter(|(name, _)| name != "CPUQuotaPeriodUSec")
                .collect();
            assert!(without_period.is_empty(), "{file} {value}: {found:?}");
        }
    }

    #[test]
    fn an_old_systemd_is_told_what_it_knows() {
        let writes = [
            write("memory.max", "1"),
            write("cpuset.cpus", "0"),
            write("cpu.max", "1000 5000"),
            write("cpu.idle", "1"),
        ];
        let names = |version| -> Vec<String> {
            properties(&writes, version)
                .into_iter()
                .map(|property| property.name)
                .collect()
        };
        assert_eq!(names(241), ["MemoryMax", "CPUQuotaPerSecUSec"]);
        assert_eq!(
            names(249),
            [
                "MemoryMax",
                "AllowedCPUs",
                "CPUQuotaPerSecUSec",
                "CPUQuotaPeriodUSec"
            ]
        );
        assert_eq!(names(252).last().unwrap(), "CPUWeight");
    }
}
