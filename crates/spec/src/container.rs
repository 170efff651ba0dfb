//! The validated configuration of one container.
//!
//! An absent property has its default here; an `Option` never stands for an error. Fields are
//! public: there are no builders and no getters. Lists keep the order of the document, so the index
//! of an element is the index in its JSON pointer. Paths of the host are absolute; paths in the
//! container are as written, and the code that uses them resolves them below the root.

use crate::landlock::Landlock;
use crate::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::path::{Component, Path, PathBuf};

pub use crate::capability::CapSet;
pub use crate::numbers::NumberSet;
/// `process.ioPriority.class`.
pub use oci_spec::runtime::IOPriorityClass as IoClass;
/// `linux.personality.domain`.
pub use oci_spec::runtime::LinuxPersonalityDomain as Personality;
/// An operator of `seccomp.syscalls[].args`, unsigned 64-bit.
pub use oci_spec::runtime::LinuxSeccompOperator as SeccompOp;
/// `seccomp.architectures` and `seccomp.flags`.
pub use oci_spec::runtime::{Arch as SeccompArch, LinuxSeccompFilterFlag as SeccompFlag};
/// `linux.memoryPolicy.mode` and `linux.memoryPolicy.flags`.
pub use oci_spec::runtime::{
    MemoryPolicyFlagType as MemoryFlag, MemoryPolicyModeType as MemoryMode,
};

/// One container, as its bundle describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// `ociVersion`, as written.
    pub version: String,
    /// `root`.
    pub root: Root,
    /// `hostname`; at most 64 bytes.
    pub hostname: Option<String>,
    /// `domainname`; at most 64 bytes.
    pub domainname: Option<String>,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// `process`; a container without one can be created but not started.
    pub process: Option<Process>,
    /// `linux.namespaces`.
    pub namespaces: Namespaces,
    /// `linux.uidMappings`; not empty only if the runtime makes a user namespace (or joins one with
    /// maps).
    pub uid_mappings: Vec<IdMapping>,
    /// `linux.gidMappings`.
    pub gid_mappings: Vec<IdMapping>,
    /// `linux.timeOffsets`; both zero when absent.
    pub time_offsets: TimeOffsets,
    /// `linux.devices`.
    pub devices: Vec<Device>,
    /// `linux.netDevices`, in order; not empty only with a network namespace of the container's
    /// own.
    pub net_devices: Vec<NetDevice>,
    /// `linux.cgroupsPath`.
    pub cgroups_path: Option<String>,
    /// `linux.resources`.
    pub resources: Resources,
    /// `linux.rootfsPropagation`.
    pub rootfs_propagation: Option<Propagation>,
    /// `linux.maskedPaths`.
    pub masked_paths: Vec<PathBuf>,
    /// `linux.readonlyPaths`.
    pub readonly_paths: Vec<PathBuf>,
    /// `linux.sysctl`, keys in dotted form ("net.ipv4.ip_forward"), each namespaced and permitted.
    /// A `/` in a key is a dot within a name: "net.ipv4.conf.eth0/1.mtu" is the file
    /// net/ipv4/conf/eth0.1/mtu. No component of that file name is empty, "." or "..".
    pub sysctl: Vec<(String, String)>,
    /// `linux.seccomp`.
    pub seccomp: Option<Seccomp>,
    /// The annotation `dev.locule.landlock`.
    pub landlock: Option<Landlock>,
    /// `linux.mountLabel`.
    pub mount_label: Option<String>,
    /// `linux.personality.domain`.
    pub personality: Option<Personality>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
    /// `linux.intelRdt`; present even if it is empty.
    pub intel_rdt: Option<IntelRdt>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// The annotation by which a container keeps the runtime's supplementary groups: crun's. Every
/// value but `0` counts.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The annotation that names a socket which gets a pidfd of the container's process: crun's.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

impl Container {
    /// Whether the annotations have [`KEEP_GROUPS`] with such a value.
    pub fn keeps_groups(&self) -> bool {
        let value = self.annotations.get(KEEP_GROUPS);
        value.is_some_and(|value| value != "0")
    }
}

/// `root`: an existing directory of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Absolute.
    pub path: PathBuf,
    /// `root.readonly`.
    pub readonly: bool,
}

/// One element of `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// In the container; a relative one is resolved from `/`. Never `/` itself.
    pub destination: PathBuf,
    /// `type`, as written.
    pub kind: Option<String>,
    /// `source`, as written: for a bind mount a path of the host (made absolute below the bundle).
    pub source: Option<PathBuf>,
    /// `options`, as written.
    pub options: Vec<String>,
    /// `uidMappings`; empty if and only if `gidMappings` is.
    pub uid_mappings: Vec<IdMapping>,
    /// `gidMappings`.
    pub gid_mappings: Vec<IdMapping>,
}

/// `process`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// `terminal`.
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
    /// `user`.
    pub user: User,
    /// `capabilities`; absent means five empty sets.
    pub capabilities: Capabilities,
    /// `noNewPrivileges`.
    pub no_new_privileges: bool,
    /// `apparmorProfile`.
    pub apparmor_profile: Option<String>,
    /// `selinuxLabel`.
    pub selinux_label: Option<String>,
    /// `oomScoreAdj`: -1000 to 1000; absent leaves the inherited value.
    pub oom_score_adj: Option<i16>,
    /// `scheduler`.
    pub scheduler: Option<Scheduler>,
    /// `ioPriority`.
    pub io_priority: Option<IoPriority>,
    /// `execCPUAffinity`: only for a further process, never for the first one.
    pub exec_cpu_affinity: ExecCpuAffinity,
}

/// `process.scheduler`. See sched(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler {
    /// `policy`.
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
    /// `class`.
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
    /// `mode`.
    pub mode: MemoryMode,
    /// `nodes`: empty if the mode takes none.
    pub nodes: NumberSet,
    /// `flags`.
    pub flags: Vec<MemoryFlag>,
}

/// `linux.intelRdt`. No line is empty or has a newline; `l3_cache_schema` may be several lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// `closID`: the name of a group, or "/" for the root group. Absent: a group with the
    /// container's id.
    pub clos_id: Option<String>,
    /// `l3CacheSchema`.
    pub l3_cache_schema: Option<String>,
    /// `memBwSchema`: begins with "MB:".
    pub mem_bw_schema: Option<String>,
    /// `schemata`, in order.
    pub schemata: Vec<String>,
    /// `enableMonitoring`.
    pub monitoring: bool,
}

/// `process.user`, ids as seen in the container. No id is 2^32-1, which would mean "no change".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `uid`.
    pub uid: u32,
    /// `gid`.
    pub gid: u32,
    /// `umask`: at most 0o777; 0o022 when absent.
    pub umask: u32,
    /// `additionalGids`.
    pub additional_gids: Vec<u32>,
}

/// The five lists of `process.capabilities`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `bounding`.
    pub bounding: CapSet,
    /// `effective`.
    pub effective: CapSet,
    /// `inheritable`.
    pub inheritable: CapSet,
    /// `permitted`.
    pub permitted: CapSet,
    /// `ambient`.
    pub ambient: CapSet,
}

/// One element of `process.rlimits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The number of the resource: RLIMIT_* of sys/resource.h.
    pub resource: u32,
    /// `soft`; `u64::MAX` is no limit.
    pub soft: u64,
    /// `hard`.
    pub hard: u64,
}

/// A kind of namespace, in the order in which several are joined: the mount namespace last, since
/// joining it changes the root directory. The user namespace has its own place in the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the name says it")]
pub enum NamespaceKind {
    User,
    Ipc,
    Uts,
    Network,
    Pid,
    Cgroup,
    Time,
    Mount,
}

impl NamespaceKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Ipc,
        Self::Uts,
        Self::Network,
        Self::Pid,
        Self::Cgroup,
        Self::Time,
        Self::Mount,
    ];

    /// The specification's word.
    pub fn name(self) -> &'static str {
        words::of(self)
    }

    /// The file below /proc/PID/ns.
    pub fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            Self::User | Self::Ipc | Self::Uts | Self::Pid | Self::Cgroup | Self::Time => {
                self.name()
            }
        }
    }
}

/// `linux.namespaces`: what happens with each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces([Namespace; NamespaceKind::ALL.len()]);

impl Index<NamespaceKind> for Namespaces {
    type Output = Namespace;

    fn index(&self, kind: NamespaceKind) -> &Namespace {
        &self.0[kind as usize]
    }
}

impl IndexMut<NamespaceKind> for Namespaces {
    fn index_mut(&mut self, kind: NamespaceKind) -> &mut Namespace {
        &mut self.0[kind as usize]
    }
}

/// What happens with one kind of namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Namespace {
    /// The type is not listed: the container inherits the runtime's namespace.
    #[default]
    Inherit,
    /// Listed without a path: the runtime makes a new one.
    New,
    /// Listed with a path: the container joins that one. The path is absolute and of the host.
    Join(PathBuf),
}

impl Namespace {
    /// Whether the container leaves the runtime's namespace.
    pub fn is_own(&self) -> bool {
        !matches!(self, Self::Inherit)
    }
}

/// One extent of an id map. Neither range wraps around; `size` is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// `containerID`: the first id inside.
    pub container: u32,
    /// `hostID`: the first id outside.
    pub host: u32,
    /// `size`: how many.
    pub size: u32,
}

/// `linux.timeOffsets`. Seconds and nanoseconds (0 to 999,999,999), as the kernel takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeOffsets {
    /// CLOCK_MONOTONIC.
    pub monotonic: Option<(i64, u32)>,
    /// CLOCK_BOOTTIME.
    pub boottime: Option<(i64, u32)>,
}

/// One element of `linux.devices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// In the container, absolute.
    pub path: PathBuf,
    /// `type`.
    pub kind: DeviceKind,
    /// `major`; 0 for a FIFO.
    pub major: u32,
    /// `minor`; 0 for a FIFO.
    pub minor: u32,
    /// `fileMode`: permission bits only; 0o666 when absent.
    pub mode: u32,
    /// `uid`; 0 when absent.
    pub uid: u32,
    /// `gid`; 0 when absent.
    pub gid: u32,
}

/// The `type` of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// "c" or "u".
    Char,
    /// "b".
    Block,
    /// "p".
    Fifo,
}

/// One member of `linux.netDevices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// The key: the name in the runtime's network namespace, 1 to 15 bytes.
    pub host: String,
    /// `name`: the name in the container, or a template with one `%d`, in whose place the kernel
    /// sets a number. The key when absent. No two devices have the same name.
    pub name: String,
}

/// `linux.rootfsPropagation`. See mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// The kind.
    pub kind: PropagationKind,
    /// Whether it also applies to the mounts below: "rshared" rather than "shared".
    pub recursive: bool,
}

/// A propagation type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationKind {
    /// MS_PRIVATE.
    Private,
    /// MS_SHARED.
    Shared,
    /// MS_SLAVE.
    Slave,
    /// MS_UNBINDABLE.
    Unbindable,
}

/// `hooks`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `prestart` (deprecated), in the runtime's namespaces.
    pub prestart: Vec<Hook>,
    /// `createRuntime`, in the runtime's namespaces.
    pub create_runtime: Vec<Hook>,
    /// `createContainer`, in the container's namespaces, before pivot_root.
    pub create_container: Vec<Hook>,
    /// `startContainer`, in the container.
    pub start_container: Vec<Hook>,
    /// `poststart`, in the runtime's namespaces.
    pub poststart: Vec<Hook>,
    /// `poststop`, in the runtime's namespaces.
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// argv including `argv[0]`; the path when absent.
    pub args: Vec<String>,
    /// The whole environment when given.
    pub env: Option<Vec<String>>,
    /// Seconds, at least 1.
    pub timeout: Option<u32>,
}

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
    /// `memory`.
    pub memory: Memory,
    /// `cpu`.
    pub cpu: Cpu,
    /// `pids.limit`: -1 is no limit.
    pub pids_limit: Option<i64>,
    /// `blockIO`.
    pub block_io: BlockIo,
    /// `hugepageLimits` as (page size, bytes): ("2MB", 209715200).
    pub hugepage_limits: Vec<(String, u64)>,
    /// `network`.
    pub network: Network,
    /// `rdma`, by device name.
    pub rdma: BTreeMap<String, Rdma>,
    /// `unified`: file name to value; names contain a dot and no slash.
    pub unified: BTreeMap<String, String>,
}

/// One element of `resources.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `allow`.
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
    /// `limit`.
    pub limit: Option<i64>,
    /// `reservation`.
    pub reservation: Option<i64>,
    /// `swap`: memory and swap together.
    pub swap: Option<i64>,
    /// `kernel`.
    pub kernel: Option<i64>,
    /// `kernelTCP`.
    pub kernel_tcp: Option<i64>,
    /// `swappiness`: 0 to 100.
    pub swappiness: Option<u64>,
    /// `disableOOMKiller`.
    pub disable_oom_killer: Option<bool>,
    /// `useHierarchy`.
    pub use_hierarchy: Option<bool>,
    /// `checkBeforeUpdate`.
    pub check_before_update: Option<bool>,
}

/// `resources.cpu`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// `shares`.
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
    /// `weightDevice`.
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
    /// `major`.
    pub major: u32,
    /// `minor`.
    pub minor: u32,
    /// `weight`.
    pub weight: Option<u16>,
    /// `leafWeight`.
    pub leaf_weight: Option<u16>,
}

/// One element of a `blockIO.throttle*` list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// `major`.
    pub major: u32,
    /// `minor`.
    pub minor: u32,
    /// `rate`: bytes or operations per second.
    pub rate: u64,
}

/// `resources.network`, cgroup v1 only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// `classID`.
    pub class_id: Option<u32>,
    /// `priorities` as (interface, priority).
    pub priorities: Vec<(String, u32)>,
}

/// One value of `resources.rdma`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rdma {
    /// `hcaHandles`.
    pub hca_handles: Option<u32>,
    /// `hcaObjects`.
    pub hca_objects: Option<u32>,
}

/// `linux.seccomp`, with numbers instead of words. System calls keep their names, since each
/// architecture has its own table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seccomp {
    /// `defaultAction` with `defaultErrnoRet`.
    pub default_action: SeccompAction,
    /// `architectures`, without repetition; the compiler adds the native one.
    pub architectures: Vec<SeccompArch>,
    /// `flags`; `None` when the property is absent, which differs from an empty list.
    pub flags: Option<Vec<SeccompFlag>>,
    /// `listenerPath`, absolute.
    pub listener_path: Option<PathBuf>,
    /// `listenerMetadata`.
    pub listener_metadata: Option<String>,
    /// `syscalls`, in order.
    pub syscalls: Vec<SeccompRule>,
}

/// The answer of a filter to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeccompAction {
    /// SCMP_ACT_KILL_PROCESS.
    KillProcess,
    /// SCMP_ACT_KILL and SCMP_ACT_KILL_THREAD.
    KillThread,
    /// SCMP_ACT_TRAP.
    Trap,
    /// SCMP_ACT_ERRNO with its number, EPERM when absent.
    Errno(u16),
    /// SCMP_ACT_TRACE with its number, EPERM when absent.
    Trace(u16),
    /// SCMP_ACT_LOG.
    Log,
    /// SCMP_ACT_ALLOW.
    Allow,
    /// SCMP_ACT_NOTIFY.
    Notify,
}

/// One element of `seccomp.syscalls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompRule {
    /// `names`: at least one.
    pub names: Vec<String>,
    /// `action` with `errnoRet`.
    pub action: SeccompAction,
    /// `args`; all must hold.
    pub args: Vec<SeccompArg>,
}

/// One element of `args`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeccompArg {
    /// `index`: 0 to 5.
    pub index: u8,
    /// `op`.
    pub op: SeccompOp,
    /// `value`; the mask of MASKED_EQ.
    pub value: u64,
    /// `valueTwo`; the value that the masked argument is compared with.
    pub value_two: u64,
}

/// The path without `.`, `..`, repeated and leading slashes; `..` at the root stays at the root.
/// The result for the root itself is empty. Symbolic links are not resolved.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned() {
        for (written, expected) in [
            ("/proc", "proc"),
            ("//proc/", "proc"),
            ("/./proc", "proc"),
            ("/x/../proc", "proc"),
            ("/../../proc", "proc"),
            ("tmp/a", "tmp/a"),
            ("/", ""),
        ] {
            assert_eq!(clean(Path::new(written)), Path::new(expected), "{written}");
        }
    }
}
