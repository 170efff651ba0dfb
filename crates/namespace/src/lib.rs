//! Namespaces and id maps: which to make, which to join, and in which order.
//!
//! Decides the route of a new process from its creator's namespaces to the container's: a short
//! list of hops ([`entry::Entry`]), the same list for both stages. Does not make the process (crate
//! `launch`) and does not set anything up inside. See namespaces(7), user_namespaces(7),
//! runtime-spec config-linux.md#namespaces.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

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
pub enum Error {
    /// A namespace file cannot be opened.
    #[error("{pointer}: open {path:?}: {}", words(*errno))]
    Open {
        /// JSON pointer of the namespace.
        pointer: String,
        /// The path in the configuration.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The path leads to something else.
    #[error(
        "{pointer}: {path:?} is not a namespace; expected a file such as /proc/PID/ns/{wanted} or a bind mount of one"
    )]
    NoNamespace {
        /// JSON pointer of the namespace.
        pointer: String,
        /// The path in the configuration.
        path: PathBuf,
        /// The file name of the wanted type.
        wanted: &'static str,
    },
    /// The path leads to a namespace of another type.
    #[error("{pointer}: {path:?} is a namespace of type {found}, wanted {wanted}")]
    WrongType {
        /// JSON pointer of the namespace.
        pointer: String,
        /// The path in the configuration.
        path: PathBuf,
        /// The type that it is, in the words of the specification.
        found: String,
        /// The type that the configuration says.
        wanted: &'static str,
    },
    /// A map has more text than the kernel accepts in its one write.
    #[error(
        "{pointer}: the {extents} extents need {length} bytes, and the kernel takes less than {limit} at once; merge neighbouring extents"
    )]
    MapTooLong {
        /// JSON pointer of the map.
        pointer: &'static str,
        /// How many extents.
        extents: usize,
        /// The length of the text, bytes.
        length: usize,
        /// One page, bytes.
        limit: usize,
    },
    /// A range of ids needs a set-id program that does not exist.
    #[error(
        "{pointer}: mapping more ids than your own needs {program}, which is not in PATH; install the package uidmap, or map only id {own}"
    )]
    NoHelper {
        /// JSON pointer of the map.
        pointer: &'static str,
        /// "newuidmap" or "newgidmap".
        program: &'static str,
        /// The caller's id.
        own: u32,
    },
    /// The helper refused.
    #[error("{pointer}: {program} refused: {message}; allow the ranges in {ranges}")]
    HelperRefused {
        /// JSON pointer of the map.
        pointer: &'static str,
        /// "newuidmap" or "newgidmap".
        program: &'static str,
        /// What it wrote on its standard error.
        message: String,
        /// "/etc/subuid" or "/etc/subgid".
        ranges: &'static str,
    },
    /// The helper could not be run.
    #[error("run {program}")]
    Helper {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// This caller may not see the namespaces of the process.
    #[error(
        "this user may not see the namespaces of process {pid}: before `start` only root may see those of a container; run `start` first"
    )]
    Hidden {
        /// In the runtime's PID namespace.
        pid: i32,
    },
    /// The process has ended.
    #[error("process {pid} has ended")]
    Gone {
        /// In the runtime's PID namespace.
        pid: i32,
    },
    /// The kernel refused a map.
    #[error("{pointer}: write {file} of process {pid}: {}", words(*errno))]
    WriteMap {
        /// JSON pointer of the map.
        pointer: &'static str,
        /// "uid_map", "gid_map" or "setgroups".
        file: &'static str,
        /// The process.
        pid: i32,
        /// The kernel's answer.
        errno: Errno,
    },
}
