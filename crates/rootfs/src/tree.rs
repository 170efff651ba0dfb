//! The sources from the host: the root, bind sources, device nodes.
//!
//! A plan names trees of mounts by path, in one list; [`Source`] is a place in it. Their open
//! descriptors are in [`crate::Handles`].

use kernel::fs::{self, FileKind};
use kernel::mount::{Depth, Follow, clone_tree};
use kernel::path::CWD;
use kernel::{Call, Errno, Failed};
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The number of a tree in the plan's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source(pub(crate) usize);

/// One tree of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Its path on the host.
    pub(crate) path: CString,
    /// How much of it.
    pub(crate) depth: Depth,
    /// Whether the path may end in a link to it.
    pub(crate) follow: Follow,
    /// What it is for.
    pub(crate) role: Role,
}

/// What a tree is for, and so what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// The root file system.
    Root,
    /// A device node with these numbers. Where the host has none of that name, it is made if a form
    /// is given.
    Node(FileKind, (u32, u32), Option<NodeForm>),
    /// The source of a bind mount.
    Bind(Bind),
    /// A cgroup of the container, which exists only when init exists.
    Group,
}

/// How a device node is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeForm {
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner and group on the host.
    pub(crate) owner: (u32, u32),
}

/// The source of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    /// JSON pointer of the element of `mounts`.
    pub(crate) pointer: String,
    /// In the container, as written.
    pub(crate) destination: PathBuf,
    /// Whether a symbolic link is copied instead of followed.
    pub(crate) copy_link: bool,
    /// Whether it must be a procfs.
    pub(crate) procfs: bool,
    /// Which of the plan's id maps the mount gets, and how far.
    pub(crate) id_map: Option<(Depth, usize)>,
}

impl Tree {
    /// Makes a detached copy.
    pub(crate) fn open(&self, depth: Depth) -> Result<OwnedFd, Failed> {
        let fd =
            clone_tree(CWD, &self.path, depth, self.follow).map_err(Failed::of(Call::OpenTree))?;
        let wrong = |errno| Err(Failed::of(Call::Verify)(errno));
        match &self.role {
            Role::Node(kind, numbers, _) => {
                let stat = fs::stat(fd.as_fd()).map_err(Failed::of(Call::Stat))?;
                if (stat.kind, stat.node) != (*kind, *numbers) {
                    return wrong(Errno::ENXIO);
                }
            }
            Role::Bind(bind) if bind.procfs => {
                let magic = fs::filesystem_magic(fd.as_fd()).map_err(Failed::of(Call::Statfs))?;
                if magic != fs::PROC_MAGIC {
                    return wrong(Errno::EMEDIUMTYPE);
                }
            }
            Role::Root | Role::Bind(_) | Role::Group => {}
        }
        Ok(fd)
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
        match &self.role {
            Role::Node(kind, (major, minor), form) => {
                write!(f, " ({kind:?} {major}:{minor})")?;
                match form {
                    Some(NodeForm { mode, owner }) => write!(
                        f,
                        " or a new one, mode {mode:#o}, owner {}:{}",
                        owner.0, owner.1
                    ),
                    None => Ok(()),
                }
            }
            Role::Bind(bind) => {
                if bind.copy_link {
                    f.write_str(" or a copy of the link")?;
                }
                if let Some((_, map)) = bind.id_map {
                    write!(f, " ids mapped by {map}")?;
                }
                Ok(())
            }
            Role::Root | Role::Group => Ok(()),
        }
    }
}

/// A part of a plan with the list of its sources, for printing.
pub(crate) struct Shown<'a, T>(pub(crate) T, pub(crate) &'a [Tree]);

impl fmt::Display for Shown<'_, Source> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.get(self.0.0) {
            Some(tree) => tree.fmt(f),
            None => Ok(()),
        }
    }
}
