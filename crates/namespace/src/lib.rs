//! Namespaces and id maps: which to make, which to join, and in which order.
//!
//! Decides the route of a new process from its creator's namespaces to the container's: a short
//! list of hops ([`entry::Entry`]), the same list for both stages. Does not make the process (crate
//! `launch`) and does not set anything up inside. See namespaces(7), user_namespaces(7),
//! runtime-spec config-linux.md#namespaces.

#![forbid(unsafe_code)]

pub mod entry;
mod facts;
mod idmap;
pub mod join;
mod kind;
mod running;
mod timens;

pub use entry::{Entry, Handles, Hop};
pub use facts::Facts;
pub use idmap::IdMaps;
pub use running::Running;
pub use spec::container::NamespaceKind as Kind;

use kernel::Errno;
use kernel::errno::words;
use std::path::PathBuf;

/// What can be wrong before the clone.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{pointer}: open {path:?}: {}", words(*errno))]
    Open {
        pointer: String,
        path: PathBuf,
        errno: Errno,
    },
    #[error(
        "{pointer}: {path:?} is not a namespace; expected a file such as /proc/PID/ns/{wanted} or a bind mount of one"
    )]
    NoNamespace {
        pointer: String,
        path: PathBuf,
        /// The file name of the wanted type.
        wanted: &'static str,
    },
    #[error("{pointer}: {path:?} is a namespace of type {found}, wanted {wanted}")]
    WrongType {
        pointer: String,
        path: PathBuf,
        found: String,
        wanted: &'static str,
    },
    #[error(
        "{pointer}: the {extents} extents need {length} bytes, and the kernel takes less than {limit} at once; merge neighbouring extents"
    )]
    MapTooLong {
        pointer: &'static str,
        extents: usize,
        /// The length of the text, bytes.
        length: usize,
        /// One page, bytes.
        limit: usize,
    },
    #[error(
        "{pointer}: mapping more ids than your own needs {program}, which is not in PATH; install the package uidmap, or map only id {own}"
    )]
    NoHelper {
        pointer: &'static str,
        /// "newuidmap" or "newgidmap".
        program: &'static str,
        own: u32,
    },
    #[error("{pointer}: {program} refused: {message}; allow the ranges in {ranges}")]
    HelperRefused {
        pointer: &'static str,
        /// "newuidmap" or "newgidmap".
        program: &'static str,
        message: String,
        /// "/etc/subuid" or "/etc/subgid".
        ranges: &'static str,
    },
    #[error("run {program}")]
    Helper {
        program: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "this user may not see the namespaces of process {pid}: before `start` only root may see those of a container; run `start` first"
    )]
    Hidden {
        /// In the runtime's PID namespace.
        pid: i32,
    },
    #[error("process {pid} has ended")]
    Gone {
        /// In the runtime's PID namespace.
        pid: i32,
    },
    #[error("{pointer}: write {file} of process {pid}: {}", words(*errno))]
    WriteMap {
        pointer: &'static str,
        /// "uid_map", "gid_map" or "setgroups".
        file: &'static str,
        pid: i32,
        errno: Errno,
    },
}
