//! Groups of resctrl: shares of caches and memory bandwidth, and what was used of them.
//!
//! Decides which group of the resctrl file system a container's process joins, what is written to
//! the group's `schemata`, and what of it a deletion may remove: only what the creation has made,
//! which an extended attribute tells. Source: runtime-spec config-linux.md#intelrdt,
//! Documentation/filesystems/resctrl.rst of Linux.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod counters;
mod group;
mod plan;
mod schemata;
mod tree;

pub use counters::{Counters, Domain};
pub use group::{Groups, Left, Location};
pub use plan::{Handles, Plan};

use kernel::Errno;
use kernel::errno::words;
use serde::{Deserialize, Serialize};

/// Where the file system is mounted.
pub const MOUNT: &str = "/sys/fs/resctrl";

/// What this room needs to know of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Whether a resctrl file system is mounted at [`MOUNT`].
    pub mounted: bool,
}

impl Facts {
    /// Collects them.
    pub fn probe() -> Self {
        Self {
            mounted: tree::Tree::open().is_ok(),
        }
    }
}

/// Why a group cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "/linux/intelRdt: no resctrl file system is mounted at {MOUNT}; mount it with `mount -t resctrl resctrl {MOUNT}`, if the processor has this feature, or remove the property"
    )]
    NotMounted,
    #[error(
        "/linux/intelRdt: the group {group:?} of {MOUNT} exists already, and this creation has not made it; remove it, or choose another id"
    )]
    Exists {
        /// Below the mount point.
        group: String,
    },
    #[error(
        "/linux/intelRdt/closID: there is no group {group:?} in {MOUNT}; make it, or set `schemata` for a new one"
    )]
    Missing {
        /// Below the mount point.
        group: String,
    },
    #[error(
        "/linux/intelRdt/{property}: {line:?} differs from the `schemata` of group {group:?}, which exists and has {found:?}; a group has one set of shares"
    )]
    Differs {
        property: &'static str,
        line: String,
        /// Below the mount point.
        group: String,
        found: String,
    },
    #[error("/linux/intelRdt: write {lines:?} to `schemata` of group {group:?}: {}{}", words(*errno), status(why))]
    Schemata {
        lines: String,
        /// Below the mount point.
        group: String,
        errno: Errno,
        /// The content of info/last_cmd_status.
        why: String,
    },
    #[error("/linux/intelRdt: {step} {MOUNT}/{path}: {}{}", words(*errno), hint(*errno))]
    Step {
        step: &'static str,
        /// Below the mount point.
        path: String,
        errno: Errno,
    },
}

fn status(why: &str) -> String {
    match why.trim() {
        "" | "ok" => String::new(),
        why => format!(" ({why})"),
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => "; the processor has no more groups of this kind",
        _ => "",
    }
}
