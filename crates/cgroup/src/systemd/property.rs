//! Limits as properties of a unit.
//!
//! A limit is written to its file, and set as the properties that its row in the table of resources
//! names. systemd rewrites the files of its units at every daemon-reload, so only values that it
//! knows survive. Limits without a property are only written to the files. Source:
//! org.freedesktop.systemd1(5), systemd.resource-control(5).

use dbus::Value;

use crate::resources::{self, Limit, Missing};

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

/// The properties for `limits` in a systemd of `version`. If a property gets two values the later
/// one counts; lists of devices are joined.
pub(crate) fn properties(limits: &[Limit], version: u32) -> Vec<Property> {
    let mut found: Vec<Property> = Vec::new();
    for limit in limits {
        for (name, since) in limit.properties {
            let Some(value) = convert(name, limit) else {
                continue;
            };
            if version < *since {
                tracing::debug!(
                    "{}: systemd {version} has no property {name}; only the file is written",
                    limit.pointer
                );
                continue;
            }
            let earlier = found.iter_mut().find(|property| property.name == *name);
            match (earlier.map(|property| &mut property.value), value) {
                (Some(Value::Array(element, items)), Value::Array(_, more)) if element != "y" => {
                    items.extend(more);
                }
                (Some(_weight), Value::U64(BUSY)) if limit.file == "cpu.idle" => {}
                (Some(earlier), value) => *earlier = value,
                (None, value) => found.push(Property {
                    name: (*name).to_owned(),
                    value,
                    pointer: limit.pointer.clone(),
                }),
            }
        }
    }
    found
}

/// The value of the property `name`. `None`: this value is only written to the file.
fn convert(name: &str, limit: &Limit) -> Option<Value> {
    use resources::Value::{Device, List, Number, Quota, Text, Unlimited};
    let value = match &limit.missing {
        // The weights of io.weight are systemd's.
        Missing::Otherwise(_file, value) => value,
        _ => &limit.value,
    };
    match (name, value) {
        // For systemd a weight of 0 means idle. A group that is no longer idle gets the kernel's
        // default weight, unless cpu.weight is given.
        (_, Number(idle)) if limit.file == "cpu.idle" => match idle {
            0 => Some(Value::U64(BUSY)),
            1 => Some(Value::U64(0)),
            _ => None,
        },
        ("OOMPolicy", Number(0)) => Some(Value::text("continue")),
        ("OOMPolicy", Number(1)) => Some(Value::text("kill")),
        ("OOMPolicy" | "IODeviceWeight", Number(_) | Unlimited(_)) => None,
        (_, Number(number)) => Some(Value::U64(*number)),
        (_, Unlimited(_)) => Some(Value::U64(u64::MAX)),
        ("CPUQuotaPeriodUSec", Quota { period, .. }) => period.map(Value::U64),
        (_, Quota { quota, period }) => each_second(*quota, period.unwrap_or(100_000)),
        (_, List(list)) => bits(list),
        ("IOWeight", Device { device, value, .. }) => match device {
            None => value.map(Value::U64),
            Some(_) => None,
        },
        (_, Device { device, value, .. }) => {
            let (major, minor) = (*device)?;
            let path = Value::Str(format!("/dev/block/{major}:{minor}"));
            let pair = Value::Struct(vec![path, Value::U64(value.unwrap_or(u64::MAX))]);
            Some(Value::Array("(st)".to_owned(), vec![pair]))
        }
        (_, Text(_)) => None,
    }
}

/// Microseconds of each second. systemd keeps whole percents. Other values are rounded up, so that
/// no group gets less than requested.
fn each_second(quota: Option<u64>, period: u64) -> Option<Value> {
    const SECOND: u64 = 1_000_000;
    const PERCENT: u64 = SECOND / 100;
    let Some(quota) = quota else {
        return Some(Value::U64(u64::MAX));
    };
    let each_second = quota.checked_mul(SECOND)?.checked_div(period)?;
    Some(Value::U64(
        each_second.next_multiple_of(PERCENT).max(PERCENT),
    ))
}

/// A list as "0-3,7", as bits: the first is the lowest of the first byte.
fn bits(list: &str) -> Option<Value> {
    /// More CPUs than a kernel can have.
    const MOST: u32 = 1 << 16;
    let ranges = resources::list(list).filter(|_| !list.contains(':'))?;
    let mut bytes: Vec<u8> = Vec::new();
    for range in ranges {
        if range.is_empty() || *range.end() >= MOST {
            return None;
        }
        for bit in range {
            let (byte, bit) = (bit as usize / 8, bit % 8);
            bytes.resize(bytes.len().max(byte + 1), 0);
            bytes[byte] |= 1 << bit;
        }
    }
    // An empty list would remove the property.
    (!bytes.is_empty()).then(|| Value::bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(lines: &[(&str, &str)]) -> Vec<Limit> {
        let lines = lines.iter();
        lines
            .flat_map(|(file, line)| resources::limits(0, file, line, "/unified"))
            .collect()
    }

    fn of(lines: &[(&str, &str)]) -> Vec<(String, Value)> {
        let found = properties(&limits(lines), 999).into_iter();
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
        let mut limits = limits(&[("io.bfq.weight", "500")]);
        assert_eq!(properties(&limits, 999), []);
        let value = resources::Value::Number(4950);
        limits[0].missing = Missing::Otherwise("io.weight", value);
        limits[0].properties = &[("IOWeight", 230)];
        assert_eq!(properties(&limits, 999)[0].value, Value::U64(4950));
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
            ("cpuset.cpus", " "),
            ("cpuset.cpus", "99999999"),
            ("io.max", "x rbps=5"),
        ] {
            assert_eq!(of(&[(file, value)]), [], "{file} {value}");
        }
    }

    #[test]
    fn an_old_systemd_is_told_what_it_knows() {
        let limits = limits(&[
            ("memory.max", "1"),
            ("cpuset.cpus", "0"),
            ("cpu.max", "1000 5000"),
            ("cpu.idle", "1"),
        ]);
        let names = |version| -> Vec<String> {
            properties(&limits, version)
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
