//! The resource use of a container, in the form that `events --stats` prints, with the names and
//! units that engines parse. A value is 0 if the kernel does not have its file.

mod parse;
mod v1;
mod v2;

use serde::Serialize;
use std::collections::BTreeMap;

use crate::{Error, Location, Version};

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// The `data` of an event of type `stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// The processors and memory nodes it may use.
    pub cpuset: Cpuset,
    /// Memory.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by size ("2MB").
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Cache and memory bandwidth; empty without resctrl.
    pub intel_rdt: IntelRdt,
    /// `null`: this crate does not read network namespaces.
    pub network_interfaces: (),
}

/// One line of a pressure file: the share of lost time in percent, for several periods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PressureData {
    /// Over 10 s.
    pub avg10: f64,
    /// Over 60 s.
    pub avg60: f64,
    /// Over 300 s.
    pub avg300: f64,
    /// Microseconds since the group was made.
    pub total: u64,
}

/// Pressure stall information; Linux 4.20.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some task was waiting.
    pub some: PressureData,
    /// All tasks were waiting.
    pub full: PressureData,
}

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, by processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In user mode, by processor; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// The effect of a quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which the group could run.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Periods in which it used up its quota.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds it was stopped for that.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// `cpu`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Time used.
    pub usage: CpuUsage,
    /// Throttling by the quota.
    pub throttling: Throttling,
    /// cpu.pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// `cpuset`: numbers of processors and memory nodes, and v1's flags.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "each is a file of Documentation/admin-guide/cgroup-v1/cpusets.rst"
)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// One kind of memory, in bytes; a limit of `u64::MAX` means "no limit".
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// The limit.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The peak use.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// `memory`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Bytes of the page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, on v2 too.
    pub swap: MemoryEntry,
    /// The kernel's; v1 only.
    pub kernel: MemoryEntry,
    /// The kernel's for TCP; v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// memory.pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// `pids`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pids {
    /// Threads that exist.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// The limit; 0 means "no limit".
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// One number about one block device.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// "Read", "Write" and so on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The number.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// `blkio`. v2 fills only the first two.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "each is a file of Documentation/admin-guide/cgroup-v1/blkio-controller.rst"
)]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// io.pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The peak use; v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// `intel_rdt`. This crate does not read it; an empty field is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdt {
    /// The lines of the container's `schemata` for caches.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Its line for memory bandwidth.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// For each cache, bytes of memory traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<MemoryTraffic>,
    /// For each cache, bytes in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<CacheUse>,
}

/// One element of `mbm_stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryTraffic {
    /// All bytes so far.
    pub mbm_total_bytes: u64,
    /// Those of the same memory node.
    pub mbm_local_bytes: u64,
}

/// One element of `cmt_stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CacheUse {
    /// Bytes of the cache.
    pub llc_occupancy: u64,
}

impl Location {
    /// The resource use of the container's groups so far.
    ///
    /// # Errors
    /// [`Error::NoGroup`] if the container has no groups of its own; a group no longer exists.
    pub fn stats(&self) -> Result<Stats, Error> {
        if self.is_empty() {
            return Err(Error::NoGroup);
        }
        let group = self.open()?;
        let mut stats = Stats::default();
        for (place, directory) in self.groups.iter().zip(group.target().directories) {
            match place.version {
                Version::V2 => v2::add(&mut stats, directory),
                Version::V1 => v1::add(&mut stats, place, directory),
            }
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests;
