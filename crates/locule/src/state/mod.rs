//! The state of containers between two commands: one directory per container below one root.
//!
//! Decides where the root is, what a valid id is, who may change an entry (flock on its directory)
//! and that a record is either whole or detected as damaged. Everything below the root is reached
//! by directory descriptor, and links are never followed. Nothing is synced to disk, because the
//! processes, cgroups and mounts of a record end with the kernel too.

mod entry;
mod files;
mod id;
mod record;
mod store;

pub(crate) use entry::{Entry, Lock, Reservation};
pub(crate) use files::directory as subdirectory;
pub(crate) use id::ContainerId;
pub(crate) use record::Record;
pub(crate) use store::{Access, Store, is_host_root};

use nix::errno::Errno;
use std::path::PathBuf;

/// The state directory, or what is in it, does not permit the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("invalid container id {id:?}: {reason}")]
    Id { id: String, reason: &'static str },
    #[error("container does not exist: {id}")]
    Absent { id: ContainerId },
    #[error("container with given ID already exists: {id} ({detail})")]
    Exists { id: ContainerId, detail: String },
    #[error(
        "container {id} is busy: {holder} is changing it and did not finish within {seconds} s"
    )]
    Busy {
        id: ContainerId,
        holder: String,
        seconds: u64,
    },
    #[error("container {id}: other commands keep removing its new directory; create it again")]
    Contested { id: ContainerId },
    #[error("container {id}: {file} is damaged: {reason}; `locule delete --force {id}` cleans up")]
    Damaged {
        id: ContainerId,
        file: &'static str,
        reason: String,
    },
    #[error(
        "container {id} is incomplete: the process that was creating it left no record; `locule delete --force {id}` cleans up"
    )]
    Unrecorded { id: ContainerId },
    #[error("container {id}: {action} {file}")]
    File {
        id: ContainerId,
        action: &'static str,
        file: String,
        #[source]
        source: Errno,
    },
    #[error("--root {path:?} leads to /, which cannot be the state directory")]
    RootIsSlash { path: PathBuf },
    #[error("the state directory {path:?} cannot be trusted: {reason}")]
    RootUntrusted { path: PathBuf, reason: &'static str },
    #[error("{action} the state directory {path:?}")]
    Root {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: Errno,
    },
}

impl Error {
    /// A stable name for logs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Id { .. } => "invalid-id",
            Self::Absent { .. } => "not-found",
            Self::Exists { .. } => "exists",
            Self::Busy { .. } | Self::Contested { .. } => "busy",
            Self::Damaged { .. } | Self::Unrecorded { .. } => "state-damaged",
            Self::File { .. } => "state-file",
            Self::RootIsSlash { .. } | Self::RootUntrusted { .. } | Self::Root { .. } => {
                "state-root"
            }
        }
    }
}

#[cfg(test)]
mod tests;
