//! The validated configuration of one container.
//!
//! An absent property has its default here; an `Option` never stands for an error. Fields are
//! public: there are no builders and no getters. Lists keep the order of the document, so the index
//! of an element is the index in its JSON pointer. Paths of the host are absolute; paths in the
//! container are as written, and the code that uses them resolves them below the root.
//! A field or variant without a comment has the name of its property or word.

#![allow(missing_docs, reason = "the names are those of the specification")]

mod namespaces;
mod process;
mod resources;
mod seccomp;

use crate::landlock::Landlock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

pub use crate::capability::CapSet;
pub use crate::numbers::NumberSet;
pub use namespaces::{IdMapping, Namespace, NamespaceKind, Namespaces, TimeOffsets};
/// `linux.personality.domain`.
pub use oci_spec::runtime::LinuxPersonalityDomain as Personality;
pub use process::{
    Capabilities, ExecCpuAffinity, IoClass, IoPriority, MemoryFlag, MemoryMode, MemoryPolicy,
    Process, Rlimit, Scheduler, SchedulerPolicy, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceRule, IntelRdt, Memory, Network, Rdma, Resources, ThrottleDevice,
    WeightDevice,
};
pub use seccomp::{
    Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompFlag, SeccompOp, SeccompRule,
};

/// One container, as its bundle describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// `ociVersion`, as written.
    pub version: String,
    pub root: Root,
    /// `hostname`; at most 64 bytes.
    pub hostname: Option<String>,
    /// `domainname`; at most 64 bytes.
    pub domainname: Option<String>,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// `process`; a container without one can be created but not started.
    pub process: Option<Process>,
    pub namespaces: Namespaces,
    /// `linux.uidMappings`; not empty only if the runtime makes a user namespace (or joins one with
    /// maps).
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    /// `linux.timeOffsets`; both zero when absent.
    pub time_offsets: TimeOffsets,
    pub devices: Vec<Device>,
    /// `linux.netDevices`, in order; not empty only with a network namespace of the container's
    /// own.
    pub net_devices: Vec<NetDevice>,
    pub cgroups_path: Option<String>,
    pub resources: Resources,
    pub rootfs_propagation: Option<Propagation>,
    pub masked_paths: Vec<PathBuf>,
    pub readonly_paths: Vec<PathBuf>,
    /// `linux.sysctl`, keys in dotted form ("net.ipv4.ip_forward"), each namespaced and permitted.
    /// A `/` in a key is a dot within a name: "net.ipv4.conf.eth0/1.mtu" is the file
    /// net/ipv4/conf/eth0.1/mtu. No component of that file name is empty, "." or "..".
    pub sysctl: Vec<(String, String)>,
    pub seccomp: Option<Seccomp>,
    /// The annotation `dev.locule.landlock`.
    pub landlock: Option<Landlock>,
    pub mount_label: Option<String>,
    /// `linux.personality.domain`.
    pub personality: Option<Personality>,
    pub memory_policy: Option<MemoryPolicy>,
    /// `linux.intelRdt`; present even if it is empty.
    pub intel_rdt: Option<IntelRdt>,
    pub hooks: Hooks,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Root {
    /// Absolute.
    pub path: PathBuf,
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
    pub gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// Whether it binds a part of the host.
    pub fn is_bind(&self) -> bool {
        let binds = |word: &String| word == "bind" || word == "rbind";
        self.kind.as_deref() == Some("bind") || self.options.iter().any(binds)
    }

    /// Whether it shows cgroups.
    pub fn is_cgroup(&self) -> bool {
        matches!(self.kind.as_deref(), Some("cgroup" | "cgroup2"))
    }
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
    Private,
    Shared,
    Slave,
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
