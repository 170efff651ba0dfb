//! `linux.resources`: the limits of the control group; and `linux.intelRdt`.

use super::DeviceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `linux.resources`, see config-linux.md#control-groups. An absent field leaves the kernel's value
/// unchanged. A 0 in the document counts as absent where 0 is not a meaningful limit: bytes of
/// memory, shares, quota, periods, real-time runtime, weights. These stay as written: `pids.limit`,
/// burst, swappiness, idle, rates. State files use the serialized form, with the names of the
/// fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `devices`, in order.
    pub devices: Vec<DeviceRule>,
    pub memory: Memory,
    pub cpu: Cpu,
    /// `pids.limit`: -1 is no limit.
    pub pids_limit: Option<i64>,
    pub block_io: BlockIo,
    /// `hugepageLimits` as (page size, bytes): ("2MB", 209715200).
    pub hugepage_limits: Vec<(String, u64)>,
    pub network: Network,
    /// `rdma`, by device name.
    pub rdma: BTreeMap<String, Rdma>,
    /// `unified`: file name to value; names contain a dot and no slash.
    pub unified: BTreeMap<String, String>,
}

/// One element of `resources.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    pub allow: bool,
    /// `type`; `None` is `a`, every type.
    pub kind: Option<DeviceKind>,
    /// `major`; `None` is every one.
    pub major: Option<u32>,
    /// `minor`; `None` is every one.
    pub minor: Option<u32>,
    /// `access`, any of `r`, `w`, `m`: read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// mknod.
    pub mknod: bool,
}

/// `resources.memory`, in bytes; -1 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    /// `swap`: memory and swap together.
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    pub kernel_tcp: Option<i64>,
    /// `swappiness`: 0 to 100.
    pub swappiness: Option<u64>,
    pub disable_oom_killer: Option<bool>,
    pub use_hierarchy: Option<bool>,
    pub check_before_update: Option<bool>,
}

/// `resources.cpu`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    pub shares: Option<u64>,
    /// `quota`, microseconds per period; negative is no limit.
    pub quota: Option<i64>,
    /// `burst`, microseconds.
    pub burst: Option<u64>,
    /// `period`, microseconds.
    pub period: Option<u64>,
    /// `realtimeRuntime`, microseconds.
    pub realtime_runtime: Option<i64>,
    /// `realtimePeriod`, microseconds.
    pub realtime_period: Option<u64>,
    /// `cpus`, a list such as "0-3,7".
    pub cpus: Option<String>,
    /// `mems`, a list of NUMA nodes.
    pub mems: Option<String>,
    /// `idle`: 1 for SCHED_IDLE.
    pub idle: Option<i64>,
}

/// `resources.blockIO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// `weight`: 10 to 1000.
    pub weight: Option<u16>,
    /// `leafWeight`: 10 to 1000.
    pub leaf_weight: Option<u16>,
    pub weight_device: Vec<WeightDevice>,
    /// `throttleReadBpsDevice`.
    pub throttle_read_bps: Vec<ThrottleDevice>,
    /// `throttleWriteBpsDevice`.
    pub throttle_write_bps: Vec<ThrottleDevice>,
    /// `throttleReadIOPSDevice`.
    pub throttle_read_iops: Vec<ThrottleDevice>,
    /// `throttleWriteIOPSDevice`.
    pub throttle_write_iops: Vec<ThrottleDevice>,
}

/// One element of `blockIO.weightDevice`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightDevice {
    pub major: u32,
    pub minor: u32,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

/// One element of a `blockIO.throttle*` list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    pub major: u32,
    pub minor: u32,
    /// `rate`: bytes or operations per second.
    pub rate: u64,
}

/// `resources.network`, cgroup v1 only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    pub class_id: Option<u32>,
    /// `priorities` as (interface, priority).
    pub priorities: Vec<(String, u32)>,
}

/// One value of `resources.rdma`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rdma {
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}

/// `linux.intelRdt`. No line is empty or has a newline; `l3_cache_schema` may be several lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// `closID`: the name of a group, or "/" for the root group. Absent: a group with the
    /// container's id.
    pub clos_id: Option<String>,
    pub l3_cache_schema: Option<String>,
    /// `memBwSchema`: begins with "MB:".
    pub mem_bw_schema: Option<String>,
    /// `schemata`, in order.
    pub schemata: Vec<String>,
    /// `enableMonitoring`.
    pub monitoring: bool,
}
