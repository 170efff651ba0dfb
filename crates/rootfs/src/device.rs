//! Device nodes and the links of /dev.
//!
//! Nodes are made if the kernel permits it. Else a detached copy of the host's node, whose numbers
//! were checked, is placed on an empty file. A node that exists already must be the right one, and
//! stays as it is. Source: runtime-spec config-linux.md#default-devices,
//! runtime-linux.md#dev-symbolic-links.

use crate::handles::Handles;
use crate::mount::Base;
use crate::root::{self, Form, LINKS_INSIDE, RootFd};
use crate::tree::{Shown, Source};
use kernel::fs::{self, FileKind};
use kernel::mount;
use kernel::path::{OpenFlags, Resolve};
use kernel::{Call, Errno, Failed};
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The devices of every container: name in /dev, major, minor. All are character devices of mode
/// 0666.
pub(crate) const DEFAULT_NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The links of every container: name in /dev and text. `core` is only made if the host has
/// /proc/kcore.
pub(crate) const LINKS: [(&CStr, &CStr); 6] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"core", c"/proc/kcore"),
    (c"ptmx", c"pts/ptmx"),
];

/// Where a name is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The directory, relative to the root.
    pub(crate) parent: CString,
    /// The name in it.
    pub(crate) name: CString,
    /// The mount that is this directory, if the plan has made it.
    pub(crate) base: Option<Base>,
}

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) kind: FileKind,
    pub(crate) numbers: (u32, u32),
    pub(crate) mode: u32,
    /// Owner and group, where they are not those of a new file.
    pub(crate) owner: Option<(u32, u32)>,
    /// The host's node, where none may be made.
    pub(crate) bind: Option<Source>,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) spot: Spot,
    pub(crate) text: CString,
}

/// Either the descriptor that a step has kept, or a new one.
pub(crate) enum Directory<'handles> {
    Kept(BorrowedFd<'handles>),
    Opened(OwnedFd),
}

impl AsFd for Directory<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kept(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Spot {
    pub(crate) fn open<'handles>(
        &self,
        handles: &'handles Handles,
        root: &RootFd,
    ) -> Result<Directory<'handles>, Failed> {
        let kept = self
            .base
            .as_ref()
            .and_then(|base| handles.placed(base.step));
        if let Some(fd) = kept {
            return Ok(Directory::Kept(fd));
        }
        let flags = OpenFlags::DIRECTORY;
        root::make(
            root.as_fd(),
            &self.parent,
            Form::Directory,
            flags,
            LINKS_INSIDE,
        )
        .map(|(fd, _)| Directory::Opened(fd))
    }
}

/// Makes a user and a group the owners of `name` below a descriptor, or of the descriptor's file if
/// that is empty. A link is not followed.
pub(crate) fn give(fd: BorrowedFd<'_>, name: &CStr, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(fd, name, Some(uid), Some(gid), flags)
}

impl Node {
    /// Makes the node. The umask must be 0.
    pub(crate) fn apply(&self, handles: &mut Handles, root: &RootFd) -> Result<(), Failed> {
        let source = match self.bind {
            Some(source) => Some(handles.take_tree(source)?),
            None => None,
        };
        let parent = self.spot.open(handles, root)?;
        let parent = parent.as_fd();
        let name = &self.spot.name;
        if let Some(source) = source {
            let target = match root::make_one(parent, name, Form::File)? {
                Some(fd) => fd,
                None => self.open(parent)?,
            };
            return mount::move_mount(source.as_fd(), target.as_fd())
                .map_err(Failed::of(Call::MoveMount));
        }
        match fs::mknod_at(parent, name, self.kind, self.numbers, self.mode) {
            Ok(()) => match self.owner {
                None => Ok(()),
                Some((uid, gid)) => self.give_to(parent, uid, gid),
            },
            Err(Errno::EEXIST) => {
                let stat = fs::stat_at(parent, name).map_err(Failed::of(Call::Stat))?;
                if (stat.kind, stat.node) == (self.kind, self.numbers) {
                    Ok(())
                } else {
                    Err(Failed::of(Call::Mknod)(Errno::EEXIST))
                }
            }
            Err(errno) => Err(Failed::of(Call::Mknod)(errno)),
        }
    }

    /// The name itself, never the target of a link.
    fn open(&self, parent: BorrowedFd<'_>) -> Result<OwnedFd, Failed> {
        let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
        let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS;
        root::look_up(parent, &self.spot.name, flags, resolve).map_err(Failed::of(Call::Openat2))
    }

    fn give_to(&self, parent: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Failed> {
        let node = self.open(parent)?;
        let stat = fs::stat(node.as_fd()).map_err(Failed::of(Call::Stat))?;
        if (stat.kind, stat.node) != (self.kind, self.numbers) {
            return Err(Failed::of(Call::Verify)(Errno::ENXIO));
        }
        give(node.as_fd(), c"", (uid, gid)).map_err(Failed::of(Call::Chown))
    }
}

impl Link {
    /// Makes the link. Another file of that name stays, except `ptmx`: a node there would lead to
    /// the host's terminals. That stays too where the root came with a file system of its own on
    /// /dev, which may be the host's (a root of `/`).
    pub(crate) fn apply(&self, handles: &Handles, root: &RootFd) -> Result<(), Failed> {
        let parent = self.spot.open(handles, root)?;
        let parent = parent.as_fd();
        let (text, name) = (self.text.as_c_str(), self.spot.name.as_c_str());
        match symlinkat(text, parent, name) {
            Err(Errno::EEXIST) if name == c"ptmx" && self.is_replaceable(parent, root)? => {
                unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)
                    .map_err(Failed::of(Call::Symlink))?;
                symlinkat(text, parent, name).map_err(Failed::of(Call::Symlink))
            }
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(Failed::of(Call::Symlink)(errno)),
        }
    }

    /// Whether `parent` is a mount of the plan, or belongs to the file system of the root.
    fn is_replaceable(&self, parent: BorrowedFd<'_>, root: &RootFd) -> Result<bool, Failed> {
        let device = |fd| fs::stat(fd).map(|stat| stat.device);
        let same = || Ok(device(parent)? == device(root.as_fd())?);
        Ok(self.spot.base.is_some() || same().map_err(Failed::of(Call::Stat))?)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Some(base) => write!(f, "in mount {} as {:?}", base.step, base.name),
            None => write!(f, "in {:?} as {:?}", self.parent, self.name),
        }
    }
}

impl fmt::Display for Shown<'_, &Node> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(node, sources) = self;
        let (major, minor) = node.numbers;
        let Node {
            spot, kind, mode, ..
        } = node;
        write!(f, "node {spot}: {kind:?} {major}:{minor} mode {mode:04o}")?;
        if let Some((uid, gid)) = node.owner {
            write!(f, " of {uid}:{gid}")?;
        }
        if let Some(source) = node.bind {
            write!(f, " bind {}", Shown(source, sources))?;
        }
        Ok(())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}: {:?}", self.spot, self.text)
    }
}
