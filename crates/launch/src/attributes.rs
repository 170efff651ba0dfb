//! How a process is scheduled, and where its memory is.
//!
//! Decides who sets these attributes. The process sets its policy, I/O priority and memory policy
//! itself, while it has all capabilities and before a filter can forbid the calls. But most
//! policies and I/O priorities need privileges over the host. A process in a new user namespace has
//! none, so a runtime with these privileges sets both from outside. The values are read back.
//! Runtime-spec config.md#linux-process, config-linux.md#memory-policy.

use caller::Caller;
use kernel::errno::words;
use kernel::schedule::{self, SchedAttr};
use kernel::{Call, Errno, Failed};
use spec::container::{
    IoClass, IoPriority, MemoryFlag, MemoryMode, MemoryPolicy, Process, Scheduler, SchedulerPolicy,
};
use spec::words;
use std::fmt;

/// CAP_SYS_NICE.
const SYS_NICE: u8 = 23;
/// SCHED_FLAG_KEEP_POLICY and SCHED_FLAG_KEEP_PARAMS of linux/sched.h.
const KEEP_POLICY: u64 = 0x08;
const KEEP_PARAMS: u64 = 0x10;
/// The index of a failure of the values that were read back.
const DIFFERS: usize = 1;

/// What is set on a process, by itself or from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    scheduler: Option<Scheduler>,
    io_priority: Option<IoPriority>,
}

/// Who sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setter {
    /// The runtime, on the finished process.
    Runtime,
    /// The process.
    Init,
}

impl Setter {
    /// For a process that leaves the caller's user namespace or stays in it.
    pub(crate) fn of(caller: &Caller, changes_user_namespace: bool) -> Self {
        let is_able = caller.has([SYS_NICE]) && caller.user_namespace.is_initial();
        match changes_user_namespace && is_able {
            true => Self::Runtime,
            false => Self::Init,
        }
    }
}

impl Attributes {
    /// The attributes of `process` that `setter` sets.
    pub(crate) fn lower(process: &Process, setter: Setter, own: Setter) -> Self {
        if setter != own {
            return Self::default();
        }
        Self {
            scheduler: process.scheduler,
            io_priority: process.io_priority,
        }
    }

    /// Sets them on `pid` (0: this process).
    pub(crate) fn apply(&self, pid: i32) -> Result<(), Failed> {
        if let Some(scheduler) = &self.scheduler {
            let same = set_scheduler(pid, scheduler);
            proven(same, Call::Scheduler)?;
        }
        if let Some(IoPriority { class, priority }) = self.io_priority {
            let class = io_class(class);
            let same = schedule::set_io_priority(pid, class, priority)
                .and_then(|()| schedule::has_io_priority(pid, class, priority));
            proven(same, Call::IoPriority)?;
        }
        Ok(())
    }

    /// Whether a child of the process has them too. It has no deadline, and not what comes with
    /// the flag SCHED_FLAG_RESET_ON_FORK.
    pub(crate) fn are_inherited(&self) -> bool {
        self.scheduler.is_none_or(|scheduler| {
            scheduler.policy != SchedulerPolicy::Deadline && scheduler.flags == 0
        })
    }

    /// The sentence for a failure of [`Self::apply`].
    pub(crate) fn describe(&self, failed: &Failed) -> String {
        match (failed.call, &self.scheduler, &self.io_priority) {
            (Call::Scheduler, Some(scheduler), _) => format!(
                "/process/scheduler: error setting scheduler ({}): {}",
                Shown(scheduler),
                why(failed, scheduler_hint(scheduler.policy, failed.errno)),
            ),
            (_, _, Some(priority)) => format!(
                "/process/ioPriority: error setting io priority ({}): {}",
                Shown(priority),
                why(failed, io_hint(failed.errno)),
            ),
            _ => format!("/process: {}: {}", failed.call.name(), words(failed.errno)),
        }
    }
}

/// Turns a negative answer into a failure.
fn proven(same: Result<bool, Errno>, call: Call) -> Result<(), Failed> {
    match same {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failed::at(call, DIFFERS)(Errno::EPERM)),
        Err(errno) => Err(Failed::of(call)(errno)),
    }
}

/// Sets it. Returns whether the kernel has accepted all of it.
fn set_scheduler(pid: i32, wanted: &Scheduler) -> Result<bool, Errno> {
    let attr = SchedAttr {
        policy: wanted.policy as u32,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
        ..SchedAttr::default()
    };
    schedule::set_scheduler(pid, attr)?;
    let found = schedule::scheduler(pid)?;
    let policy = found.policy == attr.policy || wanted.flags & KEEP_POLICY != 0;
    let parameters = match wanted.policy {
        SchedulerPolicy::Fifo | SchedulerPolicy::Rr => found.priority == attr.priority,
        SchedulerPolicy::Deadline => found.runtime == attr.runtime,
        // The kernel leaves the nice value as it is, since it has no effect: see sched(7).
        SchedulerPolicy::Idle => true,
        SchedulerPolicy::Other
        | SchedulerPolicy::Batch
        | SchedulerPolicy::Iso
        | SchedulerPolicy::Ext => found.nice == attr.nice,
    };
    let keeps = wanted.flags & (KEEP_POLICY | KEEP_PARAMS) != 0;
    Ok(policy && (parameters || keeps))
}

/// IOPRIO_CLASS_* of linux/ioprio.h.
fn io_class(class: IoClass) -> u8 {
    match class {
        IoClass::IoprioClassRt => 1,
        IoClass::IoprioClassBe => 2,
        IoClass::IoprioClassIdle => 3,
    }
}

/// Sets the memory policy of this process.
pub(crate) fn set_memory_policy(policy: &MemoryPolicy) -> Result<(), Failed> {
    let mode = memory_mode(policy.mode);
    let flags = policy
        .flags
        .iter()
        .fold(0, |all, flag| all | memory_flag(*flag));
    let set = schedule::set_memory_policy(mode | flags, &policy.nodes.0);
    let same = set.and_then(|()| schedule::memory_policy()).map(|found| {
        // For the kernel, a preference without a node means the nearest node.
        let is_local = policy.mode == MemoryMode::MpolPreferred && policy.nodes.is_empty();
        let local = is_local && found == memory_mode(MemoryMode::MpolLocal);
        // The default has no flags.
        let default = policy.mode == MemoryMode::MpolDefault && found == mode;
        found == mode | flags || local || default
    });
    proven(same, Call::MemoryPolicy)
}

/// MPOL_* of linux/mempolicy.h.
fn memory_mode(mode: MemoryMode) -> u32 {
    match mode {
        MemoryMode::MpolDefault => 0,
        MemoryMode::MpolPreferred => 1,
        MemoryMode::MpolBind => 2,
        MemoryMode::MpolInterleave => 3,
        MemoryMode::MpolLocal => 4,
        MemoryMode::MpolPreferredMany => 5,
        MemoryMode::MpolWeightedInterleave => 6,
    }
}

/// MPOL_F_* of linux/mempolicy.h.
fn memory_flag(flag: MemoryFlag) -> u32 {
    match flag {
        MemoryFlag::MpolFStaticNodes => 1 << 15,
        MemoryFlag::MpolFRelativeNodes => 1 << 14,
        MemoryFlag::MpolFNumaBalancing => 1 << 13,
    }
}

/// The sentence for a memory policy that cannot be set.
pub(crate) fn describe_memory(policy: &MemoryPolicy, failed: &Failed) -> String {
    let hint = match failed.errno {
        Errno::EINVAL => {
            "; this kernel lacks the mode or a flag, they do not fit together, or no node of the list is in the cpuset (/sys/devices/system/node/online, cpuset.mems)"
        }
        Errno::ENOSYS => "; this kernel has no NUMA (CONFIG_NUMA)",
        _ => "",
    };
    let why = why(failed, hint);
    format!(
        "/linux/memoryPolicy: set_mempolicy ({}): {why}",
        Shown(policy)
    )
}

/// The sentence for CPUs that are not available; `which` is the key in `execCPUAffinity`.
pub(crate) fn describe_cpus(which: &str, cpus: &dyn fmt::Display, errno: Errno) -> String {
    let hint = match errno {
        Errno::EINVAL => "; none of these CPUs is online and in the cpuset of the process",
        _ => "",
    };
    format!(
        "/process/execCPUAffinity/{which}: sched_setaffinity (CPUs {cpus}): {}{hint}",
        words(errno)
    )
}

fn why(failed: &Failed, hint: &str) -> String {
    match usize::from(failed.index) {
        DIFFERS => "the kernel has taken only a part of it".to_owned(),
        _ => format!("{}{hint}", words(failed.errno)),
    }
}

fn scheduler_hint(policy: SchedulerPolicy, errno: Errno) -> &'static str {
    match (errno, policy) {
        (Errno::EPERM, SchedulerPolicy::Deadline) => {
            "; SCHED_DEADLINE needs CAP_SYS_NICE in the initial user namespace, and a cpuset with all CPUs of its root domain"
        }
        (Errno::EPERM | Errno::EACCES, _) => {
            "; a real-time policy, or a nice below the present one, needs CAP_SYS_NICE in the initial user namespace or a limit that permits it (RLIMIT_RTPRIO, RLIMIT_NICE); in a cgroup v1 group a real-time policy needs /linux/resources/cpu/realtimeRuntime as well"
        }
        (Errno::EBUSY, _) => "; there is no bandwidth left for it",
        (Errno::EOPNOTSUPP, _) => "; this kernel has no utilization clamps (CONFIG_UCLAMP_TASK)",
        (Errno::EINVAL, SchedulerPolicy::Iso) => "; no released kernel has SCHED_ISO",
        (Errno::EINVAL, SchedulerPolicy::Ext) => {
            "; SCHED_EXT needs Linux 6.12 with CONFIG_SCHED_CLASS_EXT"
        }
        (Errno::EINVAL, _) => {
            "; this kernel lacks the policy or a flag, or the parameters do not fit the policy, see sched(7)"
        }
        _ => "",
    }
}

fn io_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            "; IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN in the initial user namespace"
        }
        _ => "",
    }
}

/// As plans and messages show it.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, Scheduler> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scheduler {
            policy,
            nice,
            priority,
            flags,
            runtime,
            deadline,
            period,
        } = self.0;
        let policy = format!("{policy:?}").to_uppercase();
        write!(f, "SCHED_{policy} nice {nice} priority {priority}")?;
        if *runtime != 0 {
            write!(f, " runtime {runtime} deadline {deadline} period {period}")?;
        }
        match flags {
            0 => Ok(()),
            flags => write!(f, " flags {flags:#x}"),
        }
    }
}

impl fmt::Display for Shown<'_, IoPriority> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", words::of(self.0.class), self.0.priority)
    }
}

impl fmt::Display for Shown<'_, MemoryPolicy> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryPolicy { mode, nodes, flags } = self.0;
        f.write_str(words::of(*mode))?;
        if !nodes.is_empty() {
            write!(f, " nodes {nodes}")?;
        }
        flags
            .iter()
            .try_for_each(|flag| write!(f, " {}", words::of(*flag)))
    }
}

/// A line each.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheduler) = &self.scheduler {
            writeln!(f, "scheduler {}", Shown(scheduler))?;
        }
        if let Some(priority) = &self.io_priority {
            writeln!(f, "I/O priority {}", Shown(priority))?;
        }
        Ok(())
    }
}

/// The line of a plan.
pub(crate) fn write_memory(f: &mut fmt::Formatter<'_>, policy: &MemoryPolicy) -> fmt::Result {
    writeln!(f, "memory policy {}", Shown(policy))
}
