//! User namespaces that exist for their id maps only.
//!
//! An id-mapped mount takes its map from a user namespace. A process makes one with the wanted map.
//! It does nothing else and ends when the namespace's descriptor is open. Only the initial user
//! namespace's root may map a host file system, so this happens in the parent, before the clone.
//! See mount_setattr(2).

#![expect(
    clippy::disallowed_methods,
    reason = "the host's /proc; the process is our child"
)]

use crate::Reason;
use kernel::Errno;
use kernel::clone::{self, Block, CloneOptions, NamespaceFlags, Side, SingleThread, Target};
use kernel::{process, socket};
use spec::Container;
use spec::container::{IdMapping, Mount, Namespace, NamespaceKind};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Why no namespace was made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum IdMapError {
    #[error("make a user namespace for an id map: this process has several threads")]
    Threads,
    #[error("make a user namespace for an id map")]
    Clone(#[source] Reason),
    #[error("write {file} of a user namespace for an id map ({map})")]
    Map {
        file: &'static str,
        /// The text that was written, with its lines joined by commas.
        map: String,
        #[source]
        source: io::Error,
    },
    #[error("open a user namespace for an id map")]
    Open(#[source] io::Error),
}

/// The id map of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    pub(crate) maps: Maps,
    /// Of the first mount that wants it.
    pub(crate) destination: PathBuf,
}

/// Where the map comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Maps {
    /// A namespace with these maps is made.
    Made {
        uids: Vec<IdMapping>,
        gids: Vec<IdMapping>,
    },
    /// The user namespace that the container joins has it.
    Joined(PathBuf),
}

impl Maps {
    /// The map of a mount that wants one: its own, or the container's. `None`: neither has one.
    pub(crate) fn of(container: &Container, mount: &Mount) -> Option<Self> {
        let (uids, gids) = match mount.uid_mappings.is_empty() {
            true => (&container.uid_mappings, &container.gid_mappings),
            false => (&mount.uid_mappings, &mount.gid_mappings),
        };
        match &container.namespaces[NamespaceKind::User] {
            Namespace::Join(path) if uids.is_empty() => Some(Self::Joined(path.clone())),
            _ if uids.is_empty() || gids.is_empty() => None,
            _ => Some(Self::Made {
                uids: uids.clone(),
                gids: gids.clone(),
            }),
        }
    }
}

impl IdMap {
    /// Makes or opens the user namespace that has the map, for [`MountAttr::IDMAP`].
    ///
    /// # Errors
    /// It cannot be made, or this process has several threads.
    ///
    /// [`MountAttr::IDMAP`]: kernel::mount::MountAttr::IDMAP
    pub fn user_namespace(&self) -> Result<OwnedFd, IdMapError> {
        match &self.maps {
            Maps::Made { uids, gids } => user_namespace(uids, gids),
            Maps::Joined(path) => File::open(path)
                .map(OwnedFd::from)
                .map_err(IdMapError::Open),
        }
    }
}

/// Makes a user namespace with these maps.
fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, IdMapError> {
    let proof = SingleThread::prove().ok_or(IdMapError::Threads)?;
    let broken = |errno| IdMapError::Clone(Reason(errno));
    let (ours, theirs) = socket::pair().map_err(broken)?;
    let options = CloneOptions {
        namespaces: NamespaceFlags::USER,
        cgroup: None,
        sibling: false,
    };
    let child = match clone::clone(&proof, options).map_err(broken)? {
        Side::Parent(child) => child,
        Side::Child(_) => {
            // Ends as soon as the other end is closed.
            drop(ours);
            let _: Result<usize, Errno> = socket::receive(theirs.as_fd(), &mut [0]);
            process::exit_now(0)
        }
    };
    drop(theirs);
    let made = fill(child.pid, uids, gids);
    drop(ours);
    clone::wait(Target::Pidfd(child.pidfd.as_fd()), Block::Yes).map_err(broken)?;
    made
}

fn fill(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, IdMapError> {
    for (file, mappings) in [("uid_map", uids), ("gid_map", gids)] {
        let map = IdMapping::text(mappings);
        fs::write(format!("/proc/{pid}/{file}"), &map).map_err(|source| IdMapError::Map {
            file,
            map: map.trim_end().replace('\n', ", "),
            source,
        })?;
    }
    File::open(format!("/proc/{pid}/ns/user"))
        .map(OwnedFd::from)
        .map_err(IdMapError::Open)
}
