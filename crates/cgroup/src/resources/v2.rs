//! Properties as files of cgroup v2. Source: Documentation/admin-guide/cgroup-v2.rst.
//!
//! The specification requires an error if a property has no counterpart. Engines send some of these
//! properties to every host, so they cause only warnings (swappiness, disableOOMKiller, kernel
//! memory, network).

use spec::container::{Memory, Resources};
use spec::{Code, Diagnostic};

use super::convert::{bytes, cpu_weight, io_weight};
use super::v1::{given, throttles};
use super::{Missing, Sink, Stage};

/// `swap` is memory and swap together, on both interfaces.
pub(super) fn check_swap(memory: &Memory) -> Result<(), Diagnostic> {
    let pointer = "/linux/resources/memory/swap";
    match (given(memory.limit), given(memory.swap)) {
        (_, None | Some(..0)) => Ok(()),
        (None | Some(..0), Some(_swap)) => Err(Diagnostic::new(
            Code::Conflict,
            pointer,
            "memory and swap together cannot be limited without a limit on memory",
        )
        .hint("set /linux/resources/memory/limit too")),
        (Some(limit), Some(swap)) if swap < limit => Err(Diagnostic::new(
            Code::Conflict,
            pointer,
            format!("{swap} bytes of memory and swap together are less than the {limit} of memory"),
        )),
        (Some(_limit), Some(_swap)) => Ok(()),
    }
}

pub(super) fn memory(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let memory = &resources.memory;
    check_swap(memory)?;
    let pointer = |name: &str| format!("/linux/resources/memory/{name}");
    let limit = given(memory.limit);
    let swap = match (limit, given(memory.swap)) {
        (_, Some(..0)) => Some(-1),
        (Some(limit), Some(swap)) => Some(swap - limit),
        (Some(-1), None) if sink.stage == Stage::Running => Some(-1),
        _ => None,
    };
    if let Some(swap) = swap {
        // Without swap accounting the limits 0 and "no limit" need no write.
        let missing = if swap <= 0 {
            Missing::IsFine
        } else {
            Missing::Fails
        };
        sink.write_or("memory.swap.max", bytes(swap), pointer("swap"), missing);
    }
    if let Some(limit) = limit {
        sink.write("memory.max", bytes(limit), pointer("limit"));
    }
    if let Some(limit) = given(memory.reservation) {
        sink.write("memory.low", bytes(limit), pointer("reservation"));
    }
    let ignored = [
        ("kernel", given(memory.kernel).is_some()),
        ("kernelTCP", given(memory.kernel_tcp).is_some()),
        ("swappiness", memory.swappiness.is_some()),
        ("disableOOMKiller", memory.disable_oom_killer == Some(true)),
    ];
    for (name, is_given) in ignored {
        if is_given {
            sink.warn(
                &pointer(name),
                "has no counterpart in cgroup v2 and is ignored",
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
    // The kernel refuses a weight for an idle group.
    if let Some(shares) = cpu
        .shares
        .filter(|shares| *shares != 0 && cpu.idle != Some(1))
    {
        sink.write("cpu.weight", cpu_weight(shares), pointer("shares"));
    }
    let quota = given(cpu.quota);
    let period = cpu.period.filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        // One file has both values: the error names the one that is out of the kernel's range.
        let is_odd = |period| !(1_000..=1_000_000).contains(&period);
        let name = if quota.is_none() || period.is_some_and(is_odd) {
            "period"
        } else {
            "quota"
        };
        let value = match quota {
            Some(quota @ 1..) => quota.to_string(),
            _ => "max".to_owned(),
        };
        sink.write(
            "cpu.max",
            format!("{value} {}", period.unwrap_or(100_000)),
            pointer(name),
        );
    }
    if let Some(burst) = cpu.burst {
        sink.write("cpu.max.burst", burst, pointer("burst"));
    }
    let realtime = [
        ("realtimeRuntime", given(cpu.realtime_runtime).is_some()),
        (
            "realtimePeriod",
            cpu.realtime_period.is_some_and(|period| period != 0),
        ),
    ];
    for (name, is_given) in realtime {
        if is_given {
            return Err(no_counterpart(pointer(name)));
        }
    }
    Ok(())
}

fn no_counterpart(pointer: String) -> Diagnostic {
    Diagnostic::new(
        Code::Unsupported,
        pointer,
        "has no counterpart in cgroup v2",
    )
}

pub(super) fn block_io(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let block = &resources.block_io;
    let pointer = |name: &str| format!("/linux/resources/blockIO/{name}");
    let is_given = |weight: &u16| *weight != 0;
    if block.leaf_weight.is_some_and(|weight| weight != 0) {
        return Err(no_counterpart(pointer("leafWeight")));
    }
    if let Some(weight) = block.weight.filter(is_given) {
        let missing = Missing::Otherwise {
            file: "io.weight".to_owned(),
            value: format!("default {}", io_weight(weight)),
        };
        sink.write_or("io.bfq.weight", weight, pointer("weight"), missing);
    }
    for (index, device) in block.weight_device.iter().enumerate() {
        let pointer = |name: &str| pointer(&format!("weightDevice/{index}/{name}"));
        let number = format!("{}:{}", device.major, device.minor);
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            return Err(no_counterpart(pointer("leafWeight")));
        }
        if let Some(weight) = device.weight.filter(is_given) {
            let missing = Missing::Otherwise {
                file: "io.weight".to_owned(),
                value: format!("{number} {}", io_weight(weight)),
            };
            let value = format!("{number} {weight}");
            sink.write_or("io.bfq.weight", value, pointer("weight"), missing);
        }
    }
    for (name, _file, key, devices) in throttles(resources) {
        for (index, device) in devices.iter().enumerate() {
            // v1 uses 0 for "no limit".
            let rate = match device.rate {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            sink.write("io.max", value, pointer(&format!("{name}/{index}")));
        }
    }
    Ok(())
}

pub(super) fn huge_pages(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    for (index, (size, limit)) in resources.hugepage_limits.iter().enumerate() {
        let pointer = format!("/linux/resources/hugepageLimits/{index}/limit");
        sink.write(format!("hugetlb.{size}.max"), limit, &*pointer);
        let reserved = format!("hugetlb.{size}.rsvd.max");
        sink.write_or(reserved, limit, pointer, Missing::IsFine);
    }
    Ok(())
}

pub(super) fn class_id(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    if resources.network.class_id.is_some_and(|id| id != 0) {
        let pointer = "/linux/resources/network/classID";
        sink.warn(pointer, "has no counterpart in cgroup v2 and is ignored");
    }
    Ok(())
}

pub(super) fn priorities(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    if !resources.network.priorities.is_empty() {
        let pointer = "/linux/resources/network/priorities";
        sink.warn(pointer, "has no counterpart in cgroup v2 and is ignored");
    }
    Ok(())
}
