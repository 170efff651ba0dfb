//! Counters of cgroup v2, in v1's units: nanoseconds, and swap with memory.

use super::parse::{io_stat, number, pids, pressure, ranges, table};
use super::{Hugetlb, MemoryEntry, Stats};
use crate::directory::Directory;

/// Adds the counters of this group. On a hybrid host these are mostly pressure.
pub(super) fn add(stats: &mut Stats, group: &Directory) {
    cpu(stats, group);
    if let Ok(text) = group.read("memory.stat") {
        stats.memory.raw = table(&text);
        memory(stats, group);
    }
    if let Ok(text) = group.read("cpuset.cpus.effective") {
        stats.cpuset.cpus = ranges(&text);
        stats.cpuset.mems = ranges(&group.read("cpuset.mems.effective").unwrap_or_default());
    }
    if group.read("pids.current").is_ok() {
        stats.pids = pids(group);
    }
    if let Ok(text) = group.read("io.stat") {
        let io = &mut stats.blkio;
        io.io_service_bytes_recursive = io_stat(&text, &[("rbytes", "Read"), ("wbytes", "Write")]);
        io.io_serviced_recursive = io_stat(&text, &[("rios", "Read"), ("wios", "Write")]);
    }
    stats.cpu.psi = pressure(group, "cpu.pressure");
    stats.memory.psi = pressure(group, "memory.pressure");
    stats.blkio.psi = pressure(group, "io.pressure");
    for size in crate::resources::page_sizes() {
        if let Ok(events) = group.read(&format!("hugetlb.{size}.events")) {
            let pages = Hugetlb {
                usage: number(group, &format!("hugetlb.{size}.current")),
                max: 0,
                failcnt: table(&events).get("max").copied().unwrap_or(0),
            };
            stats.hugetlb.insert(size, pages);
        }
    }
}

fn cpu(stats: &mut Stats, group: &Directory) {
    let counters = table(&group.read("cpu.stat").unwrap_or_default());
    let get = |name: &str| counters.get(name).copied().unwrap_or(0);
    let cpu = &mut stats.cpu;
    cpu.usage.total = get("usage_usec") * 1000;
    cpu.usage.user = get("user_usec") * 1000;
    cpu.usage.kernel = get("system_usec") * 1000;
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = get("throttled_usec") * 1000;
}

fn memory(stats: &mut Stats, group: &Directory) {
    let memory = &mut stats.memory;
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    let events = table(&group.read("memory.events").unwrap_or_default());
    memory.usage = MemoryEntry {
        limit: number(group, "memory.max"),
        usage: number(group, "memory.current"),
        max: number(group, "memory.peak"),
        failcnt: events.get("max").copied().unwrap_or(0),
    };
    let events = table(&group.read("memory.swap.events").unwrap_or_default());
    // The peak of memory and swap together is not known.
    memory.swap = MemoryEntry {
        limit: number(group, "memory.swap.max").saturating_add(memory.usage.limit),
        usage: number(group, "memory.swap.current").saturating_add(memory.usage.usage),
        max: 0,
        failcnt: events.get("max").copied().unwrap_or(0),
    };
}
