//! Which mount namespace the container's own is a copy of, and the stage in it.
//!
//! Init needs none of the host's mounts, only copies of some trees. So the runtime enters the base,
//! a nearly empty mount namespace ([`crate::base`]), clones init there and returns: the kernel
//! copies a few mounts instead of the host's table, and no host mount is within the container's
//! reach. If the host's files are needed until the pivot, the container's namespace is a copy of
//! the host's.
//!
//! A user namespace needs more. A tree that the privileged runtime clones carries no locks: the
//! container's root could make a read-only volume writable, or unmount what covers a secret. The
//! kernel sets the locks when a mount namespace is copied into another user namespace. So the
//! runtime attaches the trees on a tmpfs, the stage, in a copy of the mount namespace that only
//! init will see. Init clones them again from its own copy. See mount_namespaces(7), "Restrictions
//! on mount namespaces".

use crate::Reason;
use crate::handles::Handles;
use crate::lower::Error;
use crate::pivot::{Attached, Way};
use crate::plan::{Opener, Plan};
use kernel::clone::{NamespaceFlags, setns, unshare};
use kernel::fs;
use kernel::mount::{self, Depth, Follow, MountAttr};
use kernel::path::{CWD, OpenFlags, Resolve, openat2};
use kernel::process::without_umask;
use kernel::{Call, Failed};
use nix::unistd::fchdir;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What the container's mount namespace is a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The base that is pinned in this directory.
    Base(PathBuf),
    /// The host's table.
    Host(Why),
}

/// Why the base is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("the container makes no mount namespace")]
    NotNew,
    #[error("the runtime lacks CAP_SYS_ADMIN or CAP_SYS_CHROOT over its mount namespace")]
    Unprivileged,
    /// The caller does not want one, or is in a user namespace.
    #[error("the runtime is not root of the initial user namespace")]
    NoBase,
    #[error("hooks run before the pivot and may want the host's files")]
    Hooks,
    #[error("the root is moved instead of pivoted")]
    NoPivot,
    /// It exists only when init exists.
    #[error("a cgroup is bound that does not exist yet")]
    Group,
    /// Init names them by path.
    #[error("a file system is made from files or devices of the host")]
    FileSystem,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(path) => write!(f, "a copy of the base in {path:?}"),
            Self::Host(why) => write!(f, "a copy of the host's: {why}"),
        }
    }
}

/// Where the base has a directory for the root.
pub(crate) const BASE_ROOT: &CStr = c"/root";

/// The mount namespace of this process, with its root and working directory, to return to.
#[derive(Debug)]
pub struct Own {
    /// Of the host's procfs.
    spaces: OwnedFd,
    mounts: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
}

impl Own {
    /// Notes where this process is.
    pub fn note() -> Result<Self, Failed> {
        let open = |from: BorrowedFd<'_>, path, flags| {
            openat2(from, path, flags, 0, Resolve::empty()).map_err(Failed::of(Call::Openat2))
        };
        let spaces = open(CWD, c"/proc/self/ns", OpenFlags::PATH)?;
        Ok(Self {
            mounts: open(spaces.as_fd(), c"mnt", OpenFlags::empty())?,
            root: open(CWD, c"/", OpenFlags::PATH)?,
            directory: open(CWD, c".", OpenFlags::PATH)?,
            spaces,
        })
    }

    /// The mount namespace that this process is in now.
    pub(crate) fn current(&self) -> Result<OwnedFd, Failed> {
        let flags = OpenFlags::empty();
        openat2(self.spaces.as_fd(), c"mnt", flags, 0, Resolve::empty())
            .map_err(Failed::of(Call::Openat2))
    }

    /// Goes back there. It tries twice, since this process can clean up only from there.
    pub fn back(&self) -> Result<(), Failed> {
        self.enter().or_else(|_first| self.enter())
    }

    fn enter(&self) -> Result<(), Failed> {
        setns(self.mounts.as_fd(), NamespaceFlags::MOUNT).map_err(Failed::of(Call::Setns))?;
        fchdir(self.root.as_fd()).map_err(Failed::of(Call::Chdir))?;
        fs::chroot_here().map_err(Failed::of(Call::Chroot))?;
        fchdir(self.directory.as_fd()).map_err(Failed::of(Call::Chdir))
    }
}

/// This process is outside the host's mount namespace, where init will be cloned.
#[derive(Debug)]
#[must_use]
pub struct Away(Own);

impl Away {
    /// Returns to the host's mount namespace, to the same root and working directory.
    ///
    /// # Errors
    /// [`Error::Ground`]: this process cannot continue.
    pub fn back(self) -> Result<(), Error> {
        self.0.back().map_err(error)
    }
}

fn error(failed: Failed) -> Error {
    Error::Ground {
        call: failed.call.name(),
        source: Reason(failed.errno),
    }
}

impl Plan {
    /// Moves this process to the mount namespace where init will be cloned. Returns the way back;
    /// `None`: it is there already. Until it returns, paths do not lead to the host's files.
    ///
    /// # Errors
    /// A source that cannot be opened; [`Error::Ground`]. This process has not moved then.
    pub fn enter(&self, handles: &mut Handles) -> Result<Option<Away>, Error> {
        let Way::Attached(way) = &self.way else {
            return Ok(None);
        };
        if handles.base().is_none() && self.opener != Opener::Staged {
            return Ok(None);
        }
        let own = Own::note().map_err(error)?;
        if handles.base().is_some() {
            handles.open_groups(&self.sources).map_err(error)?;
        }
        let gone = without_umask(|| self.go(way, handles, &own));
        match gone
            .map_err(Failed::of(Call::Umask))
            .map_err(error)
            .flatten()
        {
            Ok(()) => Ok(Some(Away(own))),
            Err(first) => {
                own.back().map_err(error)?;
                Err(first)
            }
        }
    }

    fn go(&self, way: &Attached, handles: &mut Handles, own: &Own) -> Result<(), Error> {
        if self.opener != Opener::Staged {
            return match handles.base() {
                Some(base) => enter(base).map_err(error),
                None => Ok(()),
            };
        }
        let views = match handles.base() {
            Some(_) => [clone_view(c"/proc"), clone_view(c"/sys")],
            None => [None, None],
        };
        let copy = self.make_stage(way, handles, own, views).map_err(error)?;
        loop {
            handles.attach_open(&self.sources).map_err(error)?;
            if !handles.has_more(&self.sources) {
                // The kernel puts init into its own copy of the stage, where no path may lead the
                // mapped root.
                return handles.enter_stage().map_err(error);
            }
            own.back().map_err(error)?;
            handles.open_next(&self.sources)?;
            enter(copy.as_fd()).map_err(error)?;
        }
    }

    /// Makes a copy of the mount namespace with an empty stage in it, and returns that copy.
    fn make_stage(
        &self,
        way: &Attached,
        handles: &mut Handles,
        own: &Own,
        views: [Option<OwnedFd>; 2],
    ) -> Result<OwnedFd, Failed> {
        if let Some(base) = handles.base() {
            enter(base)?;
        }
        unshare(NamespaceFlags::MOUNT).map_err(Failed::of(Call::Unshare))?;
        if handles.base().is_none() {
            way.ready()?;
        }
        for (view, place) in views.iter().zip([c"/proc", c"/sys"]) {
            if let Some(view) = view {
                attach(view.as_fd(), CWD, place)?;
            }
        }
        let place = way.place(&self.sources, handles)?;
        let stage = tmpfs(MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC)?;
        mount::move_mount(stage.as_fd(), place.as_fd()).map_err(Failed::of(Call::MoveMount))?;
        handles.set_stage(stage)?;
        own.current()
    }
}

fn enter(namespace: BorrowedFd<'_>) -> Result<(), Failed> {
    setns(namespace, NamespaceFlags::MOUNT).map_err(Failed::of(Call::Setns))
}

/// The host's procfs or sysfs as it is seen: in a user namespace the kernel makes a new one only
/// where a complete one is visible.
fn clone_view(path: &CStr) -> Option<OwnedFd> {
    mount::clone_tree(CWD, path, Depth::Tree, Follow::Yes).ok()
}

/// Attaches a tree by name, to what must not be a link.
pub(crate) fn attach(
    tree: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Failed> {
    let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
    let place = openat2(directory, name, flags, 0, Resolve::NO_SYMLINKS)
        .map_err(Failed::of(Call::Openat2))?;
    mount::move_mount(tree, place.as_fd()).map_err(Failed::of(Call::MoveMount))
}

/// A detached, empty tmpfs of mode 0755.
pub(crate) fn tmpfs(attributes: MountAttr) -> Result<OwnedFd, Failed> {
    detached(
        c"tmpfs",
        [(c"size", c"4096"), (c"mode", c"0755")],
        attributes,
    )
}

/// A detached, new file system with these parameters.
pub(crate) fn detached<'a>(
    kind: &CStr,
    params: impl IntoIterator<Item = (&'a CStr, &'a CStr)>,
    attributes: MountAttr,
) -> Result<OwnedFd, Failed> {
    let context = mount::fsopen(kind).map_err(Failed::of(Call::Fsopen))?;
    for (key, value) in params {
        mount::fsconfig_string(context.as_fd(), key, value)
            .map_err(Failed::of(Call::FsconfigSet))?;
    }
    mount::fsconfig_create(context.as_fd()).map_err(Failed::of(Call::FsconfigCreate))?;
    mount::fsmount(context.as_fd(), attributes).map_err(Failed::of(Call::Fsmount))
}
