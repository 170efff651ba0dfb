//! Control groups: make, join, limit, freeze, kill, remove.
//!
//! Decides where a container's groups are, on cgroup v2, v1 and hybrid hosts, and what is written
//! into them. [`Facts::probe`] collects the facts of the host. [`Plan::lower`] is a pure function
//! of these facts. [`Plan::create`] makes the groups. The state keeps a [`Location`], and later
//! commands start from it. Groups are opened by descriptor: a name is resolved below the root of
//! its hierarchy and cannot leave it. Sources: the OCI runtime specification,
//! config-linux.md#control-groups, and the kernel's Documentation/admin-guide/cgroup-v2.rst and
//! cgroup-v1.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod control; // pids, signals, freeze, remove
mod device; // which device nodes may be used
mod directory; // one group's directory, by descriptor
mod enable; // passing controllers on, v2
mod error; // what can go wrong
mod facts; // what is asked of the host
mod group; // a group that exists: join, verify
mod hierarchy; // what the host has mounted
mod kills; // what a limit has done
mod location; // what the state remembers
mod name; // the rules of cgroupsPath
mod oom; // word of kills for lack of memory
mod plan; // where the groups will be, and making them
mod resources; // limits, typed, and where they are written
mod shared; // the options of cgroup v2 on this host
pub mod stats; // what the group has used
mod systemd; // groups as systemd's scopes
mod tour; // a group and all below, with few descriptors
mod update; // new limits for a group that is in use

pub use error::Error;
pub use facts::{Facts, Found};
pub use group::Group;
pub use hierarchy::{Hierarchy, Rights};
pub use kills::{OutOfMemory, ProcessLimit};
pub use location::{CgroupMount, HierarchyMount, Location, Place, mount_view};
pub use oom::{News, OomWatch};
pub use plan::{Handles, Plan, Request, Unrestricted};
pub use shared::SharedOptions;
pub use systemd::{Instance, Systemd, Unit};

use serde::{Deserialize, Serialize};

/// The manager that makes and owns the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// locule itself, through the cgroup file system.
    Cgroupfs,
    /// systemd, as transient units.
    Systemd,
    /// No manager: the container stays in the runtime's groups, and no limit is set.
    Disabled,
}

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// One tree for each controller, or for several that are mounted together.
    V1,
    /// One tree for all.
    V2,
}
