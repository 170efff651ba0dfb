//! The namespaces of a running container, which `exec` enters.
//!
//! It enters them by one setns(2) with the pidfd of the container's first process, so no namespace
//! is reached by a name. Which namespaces differ from the runtime's is a fact of that process. It
//! is read before anything is decided, and the identities are compared again afterwards.

use crate::join::{inode_of, own_inode};
use crate::{Error, Kind, kind};
use kernel::clone::{self, NamespaceFlags};
use kernel::{Call, Errno, Failed};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Which namespaces a process does not share with the runtime, and what its user namespace permits
/// if that is one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// In the order of [`Kind::ALL`]: the kind and the inode number in the kernel's nsfs.
    pub namespaces: Vec<(Kind, u64)>,
    /// The user and the group that a process takes first in the user namespace: 0 if it is mapped,
    /// else the first mapped id.
    pub root: (u32, u32),
    /// Whether setgroups(2) is denied in the user namespace.
    pub denies_setgroups: bool,
    /// The extents of its user map as inside id, outside id, count; the outside ids are those of
    /// the caller's user namespace.
    pub uid_map: Vec<[u32; 3]>,
}

impl Running {
    /// Looks at process `pid` of the caller's PID namespace.
    ///
    /// # Errors
    /// [`Error::Hidden`]: this caller may not look; [`Error::Gone`]: the process has ended.
    pub fn probe(pid: i32) -> Result<Self, Error> {
        let name = pid.to_string();
        let mut namespaces = Vec::new();
        for kind in Kind::ALL {
            let inode = match inode_of(&name, kind) {
                Ok(inode) => inode,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::Hidden { pid });
                }
                // A kind that this kernel does not have is missing from the entry of this process
                // too.
                Err(_) if own_inode(kind).is_none() => continue,
                Err(_) => return Err(Error::Gone { pid }),
            };
            if own_inode(kind) != Some(inode) {
                namespaces.push((kind, inode));
            }
        }
        if !namespaces.iter().any(|(kind, _)| *kind == Kind::User) {
            // Its maps are the caller's own.
            return Ok(Self {
                namespaces,
                ..Self::default()
            });
        }
        let read = |file: &str| own_file(&name, file);
        let uid_map = read("uid_map");
        Ok(Self {
            namespaces,
            root: (first_id(&uid_map), first_id(&read("gid_map"))),
            denies_setgroups: read("setgroups").starts_with("deny"),
            uid_map: caller::extents(uid_map.as_bytes()),
        })
    }

    /// The kinds as flags of setns(2).
    pub fn flags(&self) -> NamespaceFlags {
        self.namespaces
            .iter()
            .fold(NamespaceFlags::empty(), |flags, (kind, _)| {
                flags | kind::flag(*kind)
            })
    }

    /// The id in the caller's user namespace of a user of the container, if the two namespaces
    /// differ and the user is mapped.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        self.inode(Kind::User)?;
        self.uid_map.iter().find_map(|&[inside, outside, count]| {
            let offset = uid.checked_sub(inside)?;
            (offset < count).then(|| outside.checked_add(offset))?
        })
    }

    /// The identity of its namespace of `kind`, if it has one of its own.
    pub fn inode(&self, kind: Kind) -> Option<u64> {
        let found = self.namespaces.iter().find(|(own, _)| *own == kind);
        found.map(|(_, inode)| *inode)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc, never a container's"
)]
fn own_file(pid: &str, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// 0 if an extent of `map` begins there, else the first id of the first extent.
fn first_id(map: &str) -> u32 {
    let inside = |line: &str| line.split_whitespace().next()?.parse().ok();
    let mut starts = map.lines().filter_map(inside);
    let first = starts.next().unwrap_or(0);
    match starts.any(|start| start == 0) {
        true => 0,
        false => first,
    }
}

/// Enters the namespaces `flags` of the process behind `process`. In one call if the kernel permits
/// it. If the user namespace does not own all of them, this enters those of the host first, then
/// the user namespace, then those that it owns.
pub(crate) fn enter(process: &OwnedFd, flags: NamespaceFlags, index: usize) -> Result<(), Failed> {
    let at = Failed::at(Call::Setns, index);
    let process = process.as_fd();
    match clone::setns(process, flags) {
        Err(Errno::EPERM) if flags.contains(NamespaceFlags::USER) => {}
        answer => return answer.map_err(at),
    }
    let mut refused = NamespaceFlags::empty();
    for kind in Kind::ALL {
        if kind == Kind::User || !flags.contains(kind::flag(kind)) {
            continue;
        }
        match clone::setns(process, kind::flag(kind)) {
            Err(Errno::EPERM) => refused |= kind::flag(kind),
            answer => answer.map_err(&at)?,
        }
    }
    clone::setns(process, NamespaceFlags::USER).map_err(&at)?;
    match refused.is_empty() {
        true => Ok(()),
        false => clone::setns(process, refused).map_err(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_no_namespace_of_its_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Running::probe(pid).unwrap().namespaces, []);
    }

    #[test]
    fn the_first_id_is_root_where_root_is_mapped() {
        assert_eq!(first_id("         0     100000      65536\n"), 0);
        assert_eq!(first_id("5 100005 10\n0 100000 5\n"), 0);
        assert_eq!(first_id("5 100005 10\n"), 5);
        assert_eq!(first_id(""), 0);
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let error = Running::probe(i32::MAX).unwrap_err();
        assert!(error.to_string().contains("2147483647"), "{error}");
    }
}
