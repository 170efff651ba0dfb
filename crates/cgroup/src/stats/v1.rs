//! Counters of cgroup v1, each hierarchy for its controllers.

use super::parse::{block_lines, number, numbers, pids, ranges, table};
use super::{BlkioEntry, Hugetlb, MemoryEntry, Stats};
use crate::Place;
use crate::directory::Directory;

/// Adds the counters of this hierarchy's controllers.
pub(super) fn add(stats: &mut Stats, place: &Place, group: &Directory) {
    for controller in place.controllers.split(',') {
        match controller {
            "cpu" => throttling(stats, group),
            "cpuacct" => cpu(stats, group),
            "cpuset" => cpuset(stats, group),
            "memory" => memory(stats, group),
            "pids" => stats.pids = pids(group),
            "blkio" => blkio(stats, group),
            "hugetlb" => hugetlb(stats, group),
            _ => {}
        }
    }
}

fn throttling(stats: &mut Stats, group: &Directory) {
    let counters = table(&group.read("cpu.stat").unwrap_or_default());
    let get = |name: &str| counters.get(name).copied().unwrap_or(0);
    stats.cpu.throttling.periods = get("nr_periods");
    stats.cpu.throttling.throttled_periods = get("nr_throttled");
    stats.cpu.throttling.throttled_time = get("throttled_time");
}

fn cpu(stats: &mut Stats, group: &Directory) {
    let usage = &mut stats.cpu.usage;
    let list = |file: &str| numbers(&group.read(file).unwrap_or_default());
    usage.total = number(group, "cpuacct.usage");
    usage.user = number(group, "cpuacct.usage_user");
    usage.kernel = number(group, "cpuacct.usage_sys");
    usage.percpu = list("cpuacct.usage_percpu");
    usage.percpu_user = list("cpuacct.usage_percpu_user");
    usage.percpu_kernel = list("cpuacct.usage_percpu_sys");
}

fn cpuset(stats: &mut Stats, group: &Directory) {
    let set = &mut stats.cpuset;
    let get = |name: &str| number(group, &format!("cpuset.{name}"));
    set.cpus = ranges(&group.read("cpuset.cpus").unwrap_or_default());
    set.mems = ranges(&group.read("cpuset.mems").unwrap_or_default());
    set.cpu_exclusive = get("cpu_exclusive");
    set.mem_hardwall = get("mem_hardwall");
    set.mem_exclusive = get("mem_exclusive");
    set.memory_migrate = get("memory_migrate");
    set.memory_spread_page = get("memory_spread_page");
    set.memory_spread_slab = get("memory_spread_slab");
    set.memory_pressure = get("memory_pressure");
    set.sched_load_balance = get("sched_load_balance");
    let level = group
        .read("cpuset.sched_relax_domain_level")
        .unwrap_or_default();
    set.sched_relax_domain_level = level.trim_end().parse().unwrap_or(0);
}

fn memory(stats: &mut Stats, group: &Directory) {
    let memory = &mut stats.memory;
    let entry = |prefix: &str| MemoryEntry {
        limit: number(group, &format!("{prefix}.limit_in_bytes")),
        usage: number(group, &format!("{prefix}.usage_in_bytes")),
        max: number(group, &format!("{prefix}.max_usage_in_bytes")),
        failcnt: number(group, &format!("{prefix}.failcnt")),
    };
    memory.raw = table(&group.read("memory.stat").unwrap_or_default());
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry("memory");
    memory.swap = entry("memory.memsw");
    memory.kernel = entry("memory.kmem");
    memory.kernel_tcp = entry("memory.kmem.tcp");
}

/// The counters come from BFQ, else from CFQ of old kernels, else from the throttling layer.
fn blkio(stats: &mut Stats, group: &Directory) {
    let read = |prefix: &str, file: &str| -> Vec<BlkioEntry> {
        block_lines(
            &group
                .read(&format!("blkio.{prefix}{file}"))
                .unwrap_or_default(),
        )
    };
    let counts = |prefix: &&str| !read(prefix, "io_serviced_recursive").is_empty();
    let prefix = ["bfq.", "", "throttle."]
        .into_iter()
        .find(counts)
        .unwrap_or("throttle.");
    let io = &mut stats.blkio;
    io.io_service_bytes_recursive = read(prefix, "io_service_bytes_recursive");
    io.io_serviced_recursive = read(prefix, "io_serviced_recursive");
    io.io_queue_recursive = read(prefix, "io_queued_recursive");
    io.io_service_time_recursive = read(prefix, "io_service_time_recursive");
    io.io_wait_time_recursive = read(prefix, "io_wait_time_recursive");
    io.io_merged_recursive = read(prefix, "io_merged_recursive");
    io.io_time_recursive = read(prefix, "time_recursive");
    io.sectors_recursive = read(prefix, "sectors_recursive");
}

fn hugetlb(stats: &mut Stats, group: &Directory) {
    for size in crate::resources::page_sizes() {
        let get = |name: &str| number(group, &format!("hugetlb.{size}.{name}"));
        let pages = Hugetlb {
            usage: get("usage_in_bytes"),
            max: get("max_usage_in_bytes"),
            failcnt: get("failcnt"),
        };
        stats.hugetlb.insert(size, pages);
    }
}
