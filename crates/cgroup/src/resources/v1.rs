//! Properties as files of cgroup v1. Source: Documentation/admin-guide/cgroup-v1.

use spec::Diagnostic;
use spec::container::{Resources, ThrottleDevice};

use super::{Missing, Sink, Stage};
use crate::resources::v2::check_swap;

/// A limit that is set; engines send 0 for "not set".
pub(super) fn given(limit: Option<i64>) -> Option<i64> {
    limit.filter(|limit| *limit != 0)
}

pub(super) fn memory(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let memory = &resources.memory;
    check_swap(memory)?;
    let (limit, mut swap) = (given(memory.limit), given(memory.swap));
    if limit == Some(-1) && swap.is_none() && sink.stage == Stage::Running {
        swap = Some(-1);
    }
    let pointer = |name: &str| format!("/linux/resources/memory/{name}");
    if let Some(limit) = limit {
        sink.write("memory.limit_in_bytes", limit, pointer("limit"));
    }
    if let Some(swap) = swap {
        let missing = if swap < 0 {
            Missing::IsFine
        } else {
            Missing::Fails
        };
        sink.write_or(
            "memory.memsw.limit_in_bytes",
            swap,
            pointer("swap"),
            missing,
        );
    }
    if let Some(limit) = given(memory.reservation) {
        sink.write("memory.soft_limit_in_bytes", limit, pointer("reservation"));
    }
    let obsolete = [
        ("kernel", "memory.kmem.limit_in_bytes", memory.kernel),
        (
            "kernelTCP",
            "memory.kmem.tcp.limit_in_bytes",
            memory.kernel_tcp,
        ),
    ];
    for (name, file, limit) in obsolete {
        if let Some(limit) = given(limit) {
            sink.write_or(file, limit, pointer(name), Missing::IsObsolete);
        }
    }
    if let Some(swappiness) = memory.swappiness {
        sink.write("memory.swappiness", swappiness, pointer("swappiness"));
    }
    if memory.use_hierarchy == Some(true) {
        // Always so since Linux 5.11.
        sink.write_or(
            "memory.use_hierarchy",
            1,
            pointer("useHierarchy"),
            Missing::IsObsolete,
        );
    }
    match (memory.disable_oom_killer, sink.stage) {
        (None, _) | (Some(false), Stage::New) => {}
        (Some(disable), _) => {
            sink.write(
                "memory.oom_control",
                u8::from(disable),
                pointer("disableOOMKiller"),
            );
        }
    }
    Ok(())
}

pub(super) fn cpu(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let cpu = &resources.cpu;
    let pointer = |name: &str| format!("/linux/resources/cpu/{name}");
    if let Some(idle) = cpu.idle {
        sink.write("cpu.idle", idle, pointer("idle"));
    }
    // The kernel refuses shares for an idle group.
    if let Some(shares) = cpu
        .shares
        .filter(|shares| *shares != 0 && cpu.idle != Some(1))
    {
        sink.write("cpu.shares", shares, pointer("shares"));
    }
    // A new period comes first: the quota refers to it.
    if let Some(period) = cpu.period.filter(|period| *period != 0) {
        sink.write("cpu.cfs_period_us", period, pointer("period"));
    }
    if let Some(quota) = given(cpu.quota) {
        sink.write("cpu.cfs_quota_us", quota.max(-1), pointer("quota"));
    }
    if let Some(burst) = cpu.burst {
        sink.write("cpu.cfs_burst_us", burst, pointer("burst"));
    }
    if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
        sink.write("cpu.rt_period_us", period, pointer("realtimePeriod"));
    }
    if let Some(runtime) = given(cpu.realtime_runtime) {
        sink.write("cpu.rt_runtime_us", runtime, pointer("realtimeRuntime"));
    }
    Ok(())
}

pub(super) fn block_io(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let block = &resources.block_io;
    let pointer = |name: &str| format!("/linux/resources/blockIO/{name}");
    let bfq = |file: &str, value: &str| Missing::Otherwise {
        file: file.replacen("blkio.", "blkio.bfq.", 1),
        value: value.to_owned(),
    };
    let is_given = |weight: &u16| *weight != 0;
    if let Some(weight) = block.weight.filter(is_given) {
        let missing = bfq("blkio.weight", &weight.to_string());
        sink.write_or("blkio.weight", weight, pointer("weight"), missing);
    }
    if let Some(weight) = block.leaf_weight.filter(is_given) {
        sink.write("blkio.leaf_weight", weight, pointer("leafWeight"));
    }
    for (index, device) in block.weight_device.iter().enumerate() {
        let pointer = |name: &str| pointer(&format!("weightDevice/{index}/{name}"));
        let number = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = device.weight.filter(is_given) {
            let value = format!("{number} {weight}");
            let missing = bfq("blkio.weight_device", &value);
            sink.write_or("blkio.weight_device", value, pointer("weight"), missing);
        }
        if let Some(weight) = device.leaf_weight.filter(is_given) {
            let value = format!("{number} {weight}");
            sink.write("blkio.leaf_weight_device", value, pointer("leafWeight"));
        }
    }
    for (name, file, _key, devices) in throttles(resources) {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            let file = format!("blkio.throttle.{file}");
            sink.write(file, value, pointer(&format!("{name}/{index}")));
        }
    }
    Ok(())
}

/// The four lists: the property, the end of v1's file name, v2's key in io.max, the devices.
pub(super) fn throttles(
    resources: &Resources,
) -> [(&'static str, &'static str, &'static str, &[ThrottleDevice]); 4] {
    let block = &resources.block_io;
    [
        (
            "throttleReadBpsDevice",
            "read_bps_device",
            "rbps",
            &block.throttle_read_bps,
        ),
        (
            "throttleWriteBpsDevice",
            "write_bps_device",
            "wbps",
            &block.throttle_write_bps,
        ),
        (
            "throttleReadIOPSDevice",
            "read_iops_device",
            "riops",
            &block.throttle_read_iops,
        ),
        (
            "throttleWriteIOPSDevice",
            "write_iops_device",
            "wiops",
            &block.throttle_write_iops,
        ),
    ]
}

pub(super) fn huge_pages(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    for (index, (size, limit)) in resources.hugepage_limits.iter().enumerate() {
        let pointer = format!("/linux/resources/hugepageLimits/{index}/limit");
        sink.write(format!("hugetlb.{size}.limit_in_bytes"), limit, &*pointer);
        // Reservations exist since Linux 5.7, and not in every kernel configuration.
        let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        sink.write_or(reserved, limit, pointer, Missing::IsFine);
    }
    Ok(())
}

pub(super) fn class_id(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    if let Some(id) = resources.network.class_id.filter(|id| *id != 0) {
        sink.write("net_cls.classid", id, "/linux/resources/network/classID");
    }
    Ok(())
}

pub(super) fn priorities(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    for (index, (interface, priority)) in resources.network.priorities.iter().enumerate() {
        let pointer = format!("/linux/resources/network/priorities/{index}");
        sink.write(
            "net_prio.ifpriomap",
            format!("{interface} {priority}"),
            pointer,
        );
    }
    Ok(())
}
