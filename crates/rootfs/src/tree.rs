//! Trees of mounts that are taken from the host: the root, bind sources, device nodes.
//!
//! A tree is a detached copy. The parent opens it before the clone where it may; else init does, right after
//! it has its mount namespace and before the first mount, so that no source can lie below a mount that the
//! container's files have led astray (CVE-2021-30465).

use crate::place::Fault;
use kernel::fs::{self, FileKind};
use kernel::mount::{Depth, Follow, clone_tree};
use kernel::path::CWD;
use kernel::{Call, Errno};
use std::cell::OnceCell;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One tree.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its path on the host.
    pub(crate) path: CString,
    /// How much of it.
    pub(crate) depth: Depth,
    /// Whether the path may end in a link to it.
    pub(crate) follow: Follow,
    /// The device node that it must be.
    pub(crate) node: Option<(FileKind, (u32, u32))>,
    slot: OnceCell<OwnedFd>,
}

impl Tree {
    pub(crate) fn new(path: CString, depth: Depth, follow: Follow) -> Self {
        Self {
            path,
            depth,
            follow,
            node: None,
            slot: OnceCell::new(),
        }
    }

    /// The tree of one device node, which must have these numbers.
    pub(crate) fn of_node(path: CString, kind: FileKind, numbers: (u32, u32)) -> Self {
        Self {
            node: Some((kind, numbers)),
            ..Self::new(path, Depth::Top, Follow::Yes)
        }
    }

    /// Opens it, if that is not done yet.
    pub(crate) fn open(&self) -> Result<BorrowedFd<'_>, Fault> {
        if let Some(fd) = self.slot.get() {
            return Ok(fd.as_fd());
        }
        let fd = clone_tree(CWD, &self.path, self.depth, self.follow)
            .map_err(Fault::of(Call::OpenTree))?;
        if let Some((kind, numbers)) = self.node {
            let stat = fs::stat(fd.as_fd()).map_err(Fault::of(Call::Stat))?;
            if (stat.kind, stat.node) != (kind, numbers) {
                return Err(Fault::of(Call::Verify)(Errno::ENXIO));
            }
        }
        Ok(self.slot.get_or_init(|| fd).as_fd())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = match self.depth {
            Depth::Top => "mount",
            Depth::Tree => "tree",
        };
        write!(f, "{depth} {:?}", self.path)?;
        if self.follow == Follow::No {
            f.write_str(" nofollow")?;
        }
        if let Some((kind, (major, minor))) = self.node {
            write!(f, " ({kind:?} {major}:{minor})")?;
        }
        Ok(())
    }
}
