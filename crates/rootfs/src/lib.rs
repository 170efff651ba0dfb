//! The container's file system tree: mounts, devices, masks, pivot_root.
//!
//! [`Plan::lower`] decides what becomes of `root`, `mounts`, `linux.devices`, `linux.maskedPaths`,
//! `linux.readonlyPaths`, `linux.rootfsPropagation`, `linux.mountLabel` and `linux.sysctl`, and
//! touches nothing. [`Plan::open`] opens the sources of the host, in the parent. Init then applies
//! four flat lists by system calls only. Decides nothing about namespaces, cgroups or the process.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod added; // mounts of a running container
mod base; // the nearly empty mount namespace
mod classic; // parameters that are too long for fsconfig
mod console; // the terminal at /dev/console
mod copyup; // tmpcopyup
mod default_mounts; // what the types proc, sysfs, cgroup, tmpfs and devpts mean
mod describe; // the sentence for a failure, the text of a plan
mod device; // device nodes, links of /dev
mod external; // the mounts that a checkpoint does not save
mod failure; // where something failed
mod ground; // which mount namespace init starts in, and what is staged there
mod handles; // what is opened before a plan is carried out
mod host_mounts; // mounts in the namespace of the container's maker
mod idmapped; // user namespaces that carry an id map
mod label; // which mounts carry linux.mountLabel
mod lower; // Container -> Plan
mod lower_mount; // one element of mounts -> steps
mod mask; // masked and read-only paths
mod mount; // one lowered mount and its apply
mod mount_table; // lines of mountinfo
mod options; // the table of mount options
mod path; // destinations as text
mod pivot; // the way of the root
mod plan; // the four doors of init
mod procfs; // a trusted /proc for sysctls and labels
mod root; // safe paths below a root descriptor
mod tree; // what is taken from the host

pub use added::{Added, Descriptors, root_of_this_process};
pub use base::{BASE, Refused};
pub use external::{
    External, ExternalError, ExternalSource, external_mounts, externals, id_map, restrictions,
};
pub use failure::{Failure, List};
pub use ground::{Away, Own};
pub use handles::Handles;
pub use host_mounts::{HostMount, mounts_below, number_of as mount_number, remove_mounts};
pub use idmapped::{IdMap, IdMapError};
pub use lower::{CgroupHierarchy, CgroupView, Error, Host, Request};
pub use options::{has_writable_cgroup, option_names};
pub use pivot::Pivot;
pub use plan::Plan;
pub use procfs::own as own_procfs;
pub use root::RootFd;

use kernel::Errno;
use kernel::errno::words;

/// An errno as messages show it: `EPERM: operation not permitted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{:?}: {}", .0, words(*.0))]
pub struct Reason(pub Errno);
