//! `process`, and `linux.memoryPolicy`, which is set on it too.

use crate::capability::CapSet;
use crate::numbers::NumberSet;
use std::path::PathBuf;

/// `process.ioPriority.class`.
pub use oci_spec::runtime::IOPriorityClass as IoClass;
/// `linux.memoryPolicy.mode` and `linux.memoryPolicy.flags`.
pub use oci_spec::runtime::{
    MemoryPolicyFlagType as MemoryFlag, MemoryPolicyModeType as MemoryMode,
};

/// `process`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub terminal: bool,
    /// `consoleSize` as (height, width) in characters.
    pub console_size: Option<(u16, u16)>,
    /// `cwd`: absolute, in the container.
    pub cwd: PathBuf,
    /// `env`: each entry has a `=`, none has a NUL.
    pub env: Vec<String>,
    /// `args`: at least one.
    pub args: Vec<String>,
    /// `rlimits`: every resource at most once, soft <= hard.
    pub rlimits: Vec<Rlimit>,
    pub user: User,
    /// `capabilities`; absent means five empty sets.
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    pub apparmor_profile: Option<String>,
    pub selinux_label: Option<String>,
    /// `oomScoreAdj`: -1000 to 1000; absent leaves the inherited value.
    pub oom_score_adj: Option<i16>,
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    /// `execCPUAffinity`: only for a further process, never for the first one.
    pub exec_cpu_affinity: ExecCpuAffinity,
}

/// `process.scheduler`. See sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler {
    pub policy: SchedulerPolicy,
    /// `nice`: -20 to 19.
    pub nice: i32,
    /// `priority`: 0 unless the policy is a real-time one.
    pub priority: u32,
    /// `flags`: SCHED_FLAG_* of linux/sched.h.
    pub flags: u64,
    /// `runtime` in nanoseconds; this and the next two are 0 unless the policy is SCHED_DEADLINE.
    pub runtime: u64,
    /// `deadline` in nanoseconds.
    pub deadline: u64,
    /// `period` in nanoseconds.
    pub period: u64,
}

/// `process.scheduler.policy`, with the numbers of linux/sched.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum SchedulerPolicy {
    /// SCHED_OTHER.
    Other = 0,
    /// SCHED_FIFO.
    Fifo = 1,
    /// SCHED_RR.
    Rr = 2,
    /// SCHED_BATCH.
    Batch = 3,
    /// SCHED_ISO, which no kernel has.
    Iso = 4,
    /// SCHED_IDLE.
    Idle = 5,
    /// SCHED_DEADLINE.
    Deadline = 6,
    /// SCHED_EXT: Linux 6.12.
    Ext = 7,
}

/// `process.ioPriority`. See ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    pub class: IoClass,
    /// `priority`: 0 to 7, 0 is the highest.
    pub priority: u8,
}

/// `process.execCPUAffinity`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecCpuAffinity {
    /// `initial`: of the runtime, before the process is in its cgroup. Not empty.
    pub initial_cpus: Option<NumberSet>,
    /// `final`: of the process, in its cgroup. Not empty.
    pub final_cpus: Option<NumberSet>,
}

/// `linux.memoryPolicy`. See set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    pub mode: MemoryMode,
    /// `nodes`: empty if the mode takes none.
    pub nodes: NumberSet,
    pub flags: Vec<MemoryFlag>,
}

/// `process.user`, ids as seen in the container. No id is 2^32-1, which would mean "no change".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// `umask`: at most 0o777; 0o022 when absent.
    pub umask: u32,
    pub additional_gids: Vec<u32>,
}

/// The five lists of `process.capabilities`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub bounding: CapSet,
    pub effective: CapSet,
    pub inheritable: CapSet,
    pub permitted: CapSet,
    pub ambient: CapSet,
}

/// One element of `process.rlimits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The number of the resource: RLIMIT_* of sys/resource.h.
    pub resource: u32,
    /// `soft`; `u64::MAX` is no limit.
    pub soft: u64,
    pub hard: u64,
}
