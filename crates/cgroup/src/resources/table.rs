//! Every resource, in one table: its property, its files, and systemd's property for it.
//!
//! A row converts the property from the specification's unit (that of v1) to that of the file.
//! Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, org.freedesktop.systemd1(5).

use spec::container::{Cpu, Memory, Resources, ThrottleDevice, WeightDevice};
use spec::diagnostic::escape;

use super::Missing;
use super::convert::{cpu_weight, io_weight};
use super::value::Value;
use crate::Version;

/// A property of a unit, and the first version of systemd that has it.
pub(crate) type Told = (&'static str, u32);

/// Where one interface has a resource.
pub(super) enum Side {
    /// In this file. `{}` stands for [`Item::part`].
    File(&'static str),
    /// In this file, which has several limits for each device, under this key.
    Keyed(&'static str, &'static str),
    /// In the first file, or in the second one with another value.
    Either(&'static str, &'static str, fn(&Value) -> Value),
    /// Nowhere, and engines send it to every host: a warning.
    Ignored,
    /// Nowhere: an error.
    Refused,
    /// Another row has it.
    Elsewhere,
}

/// One value of a resource.
pub(super) struct Item {
    /// The rest of the pointer.
    pub(super) at: String,
    /// A part of the file's name.
    pub(super) part: String,
    pub(super) value: Value,
}

/// One resource.
pub(super) struct Row {
    /// The controller's names on v1 and v2.
    pub(super) controller: (&'static str, &'static str),
    /// The pointer below /linux/resources.
    pub(super) pointer: &'static str,
    pub(super) v1: Side,
    pub(super) v2: Side,
    /// The meaning if the kernel has no such file.
    pub(super) missing: fn(&Value) -> Missing,
    pub(super) properties: &'static [Told],
    /// Its values.
    pub(super) of: fn(&Resources, Version) -> Vec<Item>,
}

const fn row(
    controller: (&'static str, &'static str),
    pointer: &'static str,
    v1: Side,
    v2: Side,
    missing: fn(&Value) -> Missing,
    properties: &'static [Told],
    of: fn(&Resources, Version) -> Vec<Item>,
) -> Row {
    Row {
        controller,
        pointer,
        v1,
        v2,
        missing,
        properties,
        of,
    }
}

const MEMORY: (&str, &str) = ("memory", "memory");
const CPU: (&str, &str) = ("cpu", "cpu");
const CPUSET: (&str, &str) = ("cpuset", "cpuset");
const PIDS: (&str, &str) = ("pids", "pids");
const BLOCK: (&str, &str) = ("blkio", "io");
const HUGETLB: (&str, &str) = ("hugetlb", "hugetlb");

use Side::{Either, Elsewhere, File, Ignored, Keyed, Refused};

/// Every resource, in the order in which the files are written: on v2 swap before memory, so that
/// reclaim already respects the new limit; on v1 memory before swap, and a period before its quota,
/// since the kernel compares them.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(MEMORY, "memory/swap", Elsewhere, File("memory.swap.max"), unless_none,
        &[("MemorySwapMax", 232)], |r, _| one(swap(&r.memory))),
    row(MEMORY, "memory/limit", File("memory.limit_in_bytes"), File("memory.max"), fails,
        &[("MemoryMax", 231)], |r, v| one(Value::amount(r.memory.limit, v))),
    row(MEMORY, "memory/swap", File("memory.memsw.limit_in_bytes"), Elsewhere, unless_none,
        &[], |r, v| one(Value::amount(r.memory.swap, v))),
    row(MEMORY, "memory/reservation", File("memory.soft_limit_in_bytes"), File("memory.low"), fails,
        &[("MemoryLow", 231)], |r, v| one(Value::amount(r.memory.reservation, v))),
    row(MEMORY, "memory/kernel", File("memory.kmem.limit_in_bytes"), Ignored, is_obsolete,
        &[], |r, v| one(Value::amount(r.memory.kernel, v))),
    row(MEMORY, "memory/kernelTCP", File("memory.kmem.tcp.limit_in_bytes"), Ignored, is_obsolete,
        &[], |r, v| one(Value::amount(r.memory.kernel_tcp, v))),
    row(MEMORY, "memory/swappiness", File("memory.swappiness"), Ignored, fails,
        &[], |r, _| one(r.memory.swappiness.map(Value::Number))),
    // Always so since Linux 5.11.
    row(MEMORY, "memory/useHierarchy", File("memory.use_hierarchy"), Elsewhere, is_obsolete,
        &[], |r, _| one(r.memory.use_hierarchy.filter(|on| *on).map(number))),
    row(MEMORY, "memory/disableOOMKiller", File("memory.oom_control"), Ignored, unless_none,
        &[], |r, v| one(r.memory.disable_oom_killer.filter(|on| *on || v == Version::V1).map(number))),

    row(CPU, "cpu/idle", File("cpu.idle"), File("cpu.idle"), fails,
        &[("CPUWeight", 252)], |r, v| one(Value::amount(r.cpu.idle, v))),
    row(CPU, "cpu/shares", File("cpu.shares"), File("cpu.weight"), fails,
        &[("CPUWeight", 232)], |r, v| one(shares(&r.cpu, v))),
    row(CPU, "cpu/period", File("cpu.cfs_period_us"), Elsewhere, fails,
        &[], |r, _| one(r.cpu.period.map(Value::Number))),
    row(CPU, "cpu/quota", File("cpu.cfs_quota_us"), Elsewhere, fails,
        &[], |r, v| one(Value::amount(r.cpu.quota, v))),
    row(CPU, "cpu", Elsewhere, File("cpu.max"), fails,
        &[("CPUQuotaPerSecUSec", 213), ("CPUQuotaPeriodUSec", 242)], |r, _| quota(&r.cpu)),
    row(CPU, "cpu/burst", File("cpu.cfs_burst_us"), File("cpu.max.burst"), fails,
        &[], |r, _| one(r.cpu.burst.map(Value::Number))),
    row(CPU, "cpu/realtimePeriod", File("cpu.rt_period_us"), Refused, fails,
        &[], |r, _| one(r.cpu.realtime_period.map(Value::Number))),
    row(CPU, "cpu/realtimeRuntime", File("cpu.rt_runtime_us"), Refused, fails,
        &[], |r, v| one(Value::amount(r.cpu.realtime_runtime, v))),
    row(CPUSET, "cpu/cpus", File("cpuset.cpus"), File("cpuset.cpus"), fails,
        &[("AllowedCPUs", 244)], |r, _| one(r.cpu.cpus.clone().map(Value::List))),
    row(CPUSET, "cpu/mems", File("cpuset.mems"), File("cpuset.mems"), fails,
        &[("AllowedMemoryNodes", 244)], |r, _| one(r.cpu.mems.clone().map(Value::List))),

    // 0 becomes the smallest possible limit, since a container has at least one process.
    row(PIDS, "pids/limit", File("pids.max"), File("pids.max"), unless_none,
        &[("TasksMax", 227)],
        |r, _| one(Value::amount(r.pids_limit.map(at_least_one), Version::V2))),

    row(BLOCK, "blockIO/weight",
        Either("blkio.weight", "blkio.bfq.weight", Value::clone),
        Either("io.bfq.weight", "io.weight", for_io), fails,
        &[("IOWeight", 230)], |r, _| one(r.block_io.weight.map(number))),
    row(BLOCK, "blockIO/leafWeight", File("blkio.leaf_weight"), Refused, fails,
        &[], |r, _| one(r.block_io.leaf_weight.map(number))),
    row(BLOCK, "blockIO/weightDevice",
        Either("blkio.weight_device", "blkio.bfq.weight_device", Value::clone),
        Either("io.bfq.weight", "io.weight", for_io), fails,
        &[("IODeviceWeight", 230)], |r, _| weights(r, "weight", |device| device.weight)),
    row(BLOCK, "blockIO/weightDevice", File("blkio.leaf_weight_device"), Refused, fails,
        &[], |r, _| weights(r, "leafWeight", |device| device.leaf_weight)),
    row(BLOCK, "blockIO/throttleReadBpsDevice",
        File("blkio.throttle.read_bps_device"), Keyed("io.max", "rbps"), fails,
        &[("IOReadBandwidthMax", 230)], |r, _| throttles(&r.block_io.throttle_read_bps)),
    row(BLOCK, "blockIO/throttleWriteBpsDevice",
        File("blkio.throttle.write_bps_device"), Keyed("io.max", "wbps"), fails,
        &[("IOWriteBandwidthMax", 230)], |r, _| throttles(&r.block_io.throttle_write_bps)),
    row(BLOCK, "blockIO/throttleReadIOPSDevice",
        File("blkio.throttle.read_iops_device"), Keyed("io.max", "riops"), fails,
        &[("IOReadIOPSMax", 230)], |r, _| throttles(&r.block_io.throttle_read_iops)),
    row(BLOCK, "blockIO/throttleWriteIOPSDevice",
        File("blkio.throttle.write_iops_device"), Keyed("io.max", "wiops"), fails,
        &[("IOWriteIOPSMax", 230)], |r, _| throttles(&r.block_io.throttle_write_iops)),

    row(HUGETLB, "hugepageLimits", File("hugetlb.{}.limit_in_bytes"), File("hugetlb.{}.max"), fails,
        &[], |r, _| huge_pages(r)),
    // Reservations exist since Linux 5.7, and not in every kernel configuration.
    row(HUGETLB, "hugepageLimits",
        File("hugetlb.{}.rsvd.limit_in_bytes"), File("hugetlb.{}.rsvd.max"), is_fine,
        &[], |r, _| huge_pages(r)),

    row(("net_cls", "net_cls"), "network/classID", File("net_cls.classid"), Ignored, fails,
        &[], |r, _| one(r.network.class_id.map(number))),
    row(("net_prio", "net_prio"), "network/priorities", File("net_prio.ifpriomap"), Ignored, fails,
        &[], |r, _| priorities(r)),
    row(("rdma", "rdma"), "rdma", File("rdma.max"), File("rdma.max"), fails,
        &[], |r, _| rdma(r)),
];

/// Files that only `unified` has: the file, its key, systemd's properties.
const UNIFIED: &[(&str, &str, &[Told])] = &[
    ("memory.high", "", &[("MemoryHigh", 231)]),
    ("memory.min", "", &[("MemoryMin", 240)]),
    ("memory.zswap.max", "", &[("MemoryZSwapMax", 253)]),
    ("memory.oom.group", "", &[("OOMPolicy", 253)]),
    (
        "io.weight",
        "",
        &[("IOWeight", 230), ("IODeviceWeight", 230)],
    ),
    (
        "io.latency",
        "target",
        &[("IODeviceLatencyTargetUSec", 240)],
    ),
];

/// systemd's properties for a limit in a file of v2.
pub(super) fn properties(file: &str, key: &str) -> &'static [Told] {
    let row = ROWS.iter().find(|row| match row.v2 {
        File(own) => own == file,
        Keyed(own, own_key) => (own, own_key) == (file, key),
        Either(..) | Ignored | Refused | Elsewhere => false,
    });
    let only_unified = || {
        let mut files = UNIFIED.iter();
        let found = files.find(|(own, own_key, _)| (*own, *own_key) == (file, key));
        found.map(|(_, _, properties)| *properties)
    };
    let found = row.map(|row| row.properties).or_else(only_unified);
    found.unwrap_or_default()
}

fn fails(_value: &Value) -> Missing {
    Missing::Fails
}

fn is_fine(_value: &Value) -> Missing {
    Missing::IsFine
}

fn is_obsolete(_value: &Value) -> Missing {
    Missing::IsObsolete
}

/// "No limit" needs no write, nor does 0 (no swap, the kernel's own out-of-memory killer).
fn unless_none(value: &Value) -> Missing {
    match value {
        Value::Number(0) | Value::Unlimited(_) => Missing::IsFine,
        _ => Missing::Fails,
    }
}

fn item(at: String, value: Value) -> Item {
    Item {
        at,
        part: String::new(),
        value,
    }
}

fn one(value: Option<Value>) -> Vec<Item> {
    let found = value.map(|value| item(String::new(), value));
    found.into_iter().collect()
}

fn number(value: impl Into<u64>) -> Value {
    Value::Number(value.into())
}

fn at_least_one(limit: i64) -> i64 {
    match limit {
        0 => 1,
        limit => limit,
    }
}

/// Swap alone: v2 limits memory and swap separately.
fn swap(memory: &Memory) -> Option<Value> {
    match (memory.limit, memory.swap?) {
        (_, ..0) => Some(Value::Unlimited(Version::V2)),
        (limit, swap) => Value::amount(Some(swap - limit?), Version::V2),
    }
}

/// The kernel refuses shares for an idle group.
fn shares(cpu: &Cpu, version: Version) -> Option<Value> {
    let shares = cpu.shares.filter(|_shares| cpu.idle != Some(1))?;
    Some(Value::Number(match version {
        Version::V1 => shares,
        Version::V2 => cpu_weight(shares),
    }))
}

/// One file has both values: the pointer names the one that is out of the kernel's range.
fn quota(cpu: &Cpu) -> Vec<Item> {
    if cpu.quota.is_none() && cpu.period.is_none() {
        return Vec::new();
    }
    let is_odd = |period| !(1_000..=1_000_000).contains(&period);
    let at = match cpu.quota.is_none() || cpu.period.is_some_and(is_odd) {
        true => "/period",
        false => "/quota",
    };
    let value = Value::Quota {
        quota: cpu.quota.and_then(|quota| u64::try_from(quota).ok()),
        period: Some(cpu.period.unwrap_or(100_000)),
    };
    vec![item(at.to_owned(), value)]
}

/// A weight in the unit of io.weight.
fn for_io(weight: &Value) -> Value {
    match weight {
        Value::Number(weight) => Value::Device {
            device: None,
            key: "",
            value: Some(io_weight(*weight)),
        },
        Value::Device { device, key, value } => Value::Device {
            device: *device,
            key,
            value: value.map(io_weight),
        },
        other => other.clone(),
    }
}

fn weights(
    resources: &Resources,
    name: &str,
    weight: fn(&WeightDevice) -> Option<u16>,
) -> Vec<Item> {
    let devices = resources.block_io.weight_device.iter().enumerate();
    let items = devices.filter_map(|(index, device)| {
        let value = Value::Device {
            device: Some((device.major, device.minor)),
            key: "",
            value: Some(weight(device)?.into()),
        };
        Some(item(format!("/{index}/{name}"), value))
    });
    items.collect()
}

/// v1 uses 0 for "no limit".
fn throttles(devices: &[ThrottleDevice]) -> Vec<Item> {
    let items = devices.iter().enumerate().map(|(index, device)| {
        let value = Value::Device {
            device: Some((device.major, device.minor)),
            key: "",
            value: Some(device.rate).filter(|rate| *rate != 0),
        };
        item(format!("/{index}"), value)
    });
    items.collect()
}

fn huge_pages(resources: &Resources) -> Vec<Item> {
    let limits = resources.hugepage_limits.iter().enumerate();
    let items = limits.map(|(index, (size, limit))| Item {
        at: format!("/{index}/limit"),
        part: size.clone(),
        value: Value::Number(*limit),
    });
    items.collect()
}

fn priorities(resources: &Resources) -> Vec<Item> {
    let priorities = resources.network.priorities.iter().enumerate();
    let items = priorities.map(|(index, (interface, priority))| {
        let value = Value::Text(format!("{interface} {priority}"));
        item(format!("/{index}"), value)
    });
    items.collect()
}

fn rdma(resources: &Resources) -> Vec<Item> {
    let items = resources.rdma.iter().filter_map(|(device, limits)| {
        let both = [
            ("hca_handle", limits.hca_handles),
            ("hca_object", limits.hca_objects),
        ];
        let given = both
            .iter()
            .filter_map(|(key, limit)| Some((key, (*limit)?)));
        let words: String = given
            .map(|(key, limit)| format!(" {key}={limit}"))
            .collect();
        let value = Value::Text(format!("{device}{words}"));
        (!words.is_empty()).then(|| item(format!("/{}", escape(device)), value))
    });
    items.collect()
}
