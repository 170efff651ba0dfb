//! How the container's root becomes `/`.
//!
//! The root tree is attached at its host path in the new mount namespace, where hooks look for it;
//! then pivot_root(2) stacks the old root on it, and the old root is unmounted. If this is not
//! possible (the host's root is an initramfs), the root is moved over the old one. A container
//! without a mount namespace of its own only gets a chroot.

use crate::ground::{BASE_ROOT, tmpfs};
use crate::handles::Handles;
use crate::mask::Covers;
use crate::mount::Change;
use crate::root::RootFd;
use crate::tree::{Source, Tree};
use kernel::fs;
use kernel::mount::{self, Depth, Propagation};
use kernel::path::{self, CWD, OpenFlags};
use kernel::{Call, Errno, Failed};
use nix::unistd::fchdir;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The working directory.
const HERE: &CStr = c".";

/// Which way is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pivot {
    /// pivot_root(2).
    PivotRoot,
    /// The root is moved over the old one: `--no-pivot`.
    Move,
}

/// The way of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// With a mount namespace.
    Attached(Attached),
    /// Without.
    Chroot(CString),
}

/// A root in a mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) source: Source,
    /// Its path on the host.
    pub(crate) path: PathBuf,
    /// The propagation of all inherited mounts of the namespace.
    pub(crate) inherited: Propagation,
    /// The root's own, before the pivot.
    pub(crate) own: Propagation,
    /// Ancestors of the root from itself upward, the first mount point of which must not be shared.
    pub(crate) ancestors: Vec<CString>,
    /// Where masks come from, if there are any.
    pub(crate) covers: Option<Covers>,
    pub(crate) pivot: Pivot,
}

/// The device and the inode of a directory.
pub(crate) fn identity(directory: BorrowedFd<'_>) -> Result<(u64, u64), Failed> {
    let stat = fs::stat(directory).map_err(Failed::of(Call::Stat))?;
    Ok((stat.device, stat.inode))
}

impl Attached {
    /// Prepares a mount namespace that is a copy of the host's: sets the propagation of the
    /// inherited mounts.
    pub(crate) fn ready(&self) -> Result<(), Failed> {
        Change::propagation(Depth::Tree, self.inherited).apply_at(CWD, c"/")?;
        for ancestor in &self.ancestors {
            match Change::propagation(Depth::Top, Propagation::Private).apply_at(CWD, ancestor) {
                Ok(()) => break,
                // No mount point: its parent may be one.
                Err(failed) if failed.errno == Errno::EINVAL => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    /// Where the root is attached. In a copy of the host's table this is the only look-up by a host
    /// path, since a hook may need the root there. It must be the same directory. Init finds a
    /// stage as its working directory.
    pub(crate) fn place(&self, sources: &[Tree], handles: &Handles) -> Result<OwnedFd, Failed> {
        let path = sources
            .get(self.source.0)
            .map_or(c"", |tree| tree.path.as_c_str());
        let path = handles.base().map_or(path, |_| BASE_ROOT);
        // The mapped root may not enter every directory on the way there.
        let path = handles.stage().map_or(path, |_| HERE);
        let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
        let place = path::open(path, flags).map_err(Failed::of(Call::Openat2))?;
        let wanted = match (handles.stage(), handles.base()) {
            (Some(stage), _) => stage,
            (None, Some(_)) => return Ok(place),
            (None, None) => identity(handles.peek(self.source)?)?,
        };
        if identity(place.as_fd())? != wanted {
            return Err(Failed::of(Call::Verify)(Errno::ESTALE));
        }
        Ok(place)
    }

    /// Prepares the mount namespace, and attaches the root. The umask must be 0.
    pub(crate) fn attach(&self, sources: &[Tree], handles: &mut Handles) -> Result<RootFd, Failed> {
        if handles.stage().is_none() && handles.base().is_none() {
            self.ready()?;
        }
        let place = self.place(sources, handles)?;
        if handles.stage().is_some() {
            handles.use_stage(&place)?;
        }
        let tree = handles.take_tree(self.source)?;
        Change::propagation(Depth::Tree, self.own).apply(tree.as_fd())?;
        let covers = match &self.covers {
            None => None,
            Some(covers) => Some(covers.make(place.as_fd(), handles)?),
        };
        // On top of the tmpfs of the covers, if there is one: it is unmounted with the old root.
        let place = covers.as_ref().map_or(&place, |covers| &covers.ground);
        mount::move_mount(tree.as_fd(), place.as_fd()).map_err(Failed::of(Call::MoveMount))?;
        let (null, empty) = covers.map(|covers| (covers.null, covers.empty)).unzip();
        Ok(RootFd {
            fd: tree,
            null,
            empty,
        })
    }

    fn pivot(&self, handles: &Handles, root: &RootFd) -> Result<(), Failed> {
        match self.pivot {
            Pivot::PivotRoot => {
                let is_shared = handles.stage().is_some()
                    || (handles.base().is_none() && self.inherited == Propagation::Shared);
                let old = match is_shared {
                    true => {
                        Some(path::open(c"/", OpenFlags::PATH).map_err(Failed::of(Call::Openat2))?)
                    }
                    false => None,
                };
                fchdir(root.as_fd()).map_err(Failed::of(Call::Chdir))?;
                mount::pivot_root_here().map_err(Failed::of(Call::PivotRoot))?;
                if let Some(old) = old {
                    // Else the unmount would propagate to the host's own mounts.
                    Change::propagation(Depth::Tree, Propagation::Slave).apply(old.as_fd())?;
                }
                mount::detach(c".").map_err(Failed::of(Call::Umount))?;
            }
            Pivot::Move => {
                if self.inherited == Propagation::Shared || handles.stage().is_some() {
                    Change::propagation(Depth::Tree, Propagation::Slave).apply_at(CWD, c"/")?;
                }
                for (index, path) in handles.exposed.iter().enumerate() {
                    hide(path).map_err(|failed| Failed {
                        index: u16::try_from(index).unwrap_or(u16::MAX),
                        ..failed
                    })?;
                }
                fchdir(root.as_fd()).map_err(Failed::of(Call::Chdir))?;
                mount::move_mount_over_root(root.as_fd()).map_err(Failed::of(Call::MoveMount))?;
                fs::chroot_here().map_err(Failed::of(Call::Chroot))?;
            }
        }
        fs::chdir(c"/").map_err(Failed::of(Call::Chdir))
    }
}

/// Unmounts a mount of the host, or covers it if it is locked. A directory on the way that this
/// process may not enter, although another user of the container may, is covered instead.
fn hide(path: &CStr) -> Result<(), Failed> {
    match mount::detach(path) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EINVAL | Errno::EPERM | Errno::EACCES) => {}
        Err(errno) => return Err(Failed::of(Call::Umount)(errno)),
    }
    let place = reach(path).map_err(Failed::of(Call::Openat2))?;
    let cover = tmpfs(mount::MountAttr::RDONLY)?;
    mount::move_mount(cover.as_fd(), place.as_fd()).map_err(Failed::of(Call::MoveMount))
}

/// Opens `path`, or as much of it as this process may see.
fn reach(path: &CStr) -> Result<OwnedFd, Errno> {
    let mut text = [0; 4096];
    let whole = path.to_bytes_with_nul();
    let room = text.get_mut(..whole.len()).ok_or(Errno::ENAMETOOLONG)?;
    room.copy_from_slice(whole);
    loop {
        let part = CStr::from_bytes_until_nul(&text).map_err(|_no_nul| Errno::EINVAL)?;
        let slash = part.to_bytes().iter().rposition(|byte| *byte == b'/');
        match path::open(part, OpenFlags::PATH) {
            Err(Errno::EACCES) => {}
            opened => return opened,
        }
        // The root itself is never closed.
        let slash = slash.filter(|slash| *slash > 0).ok_or(Errno::EACCES)?;
        text[slash] = 0;
    }
}

impl Way {
    pub(crate) fn attach(&self, sources: &[Tree], handles: &mut Handles) -> Result<RootFd, Failed> {
        match self {
            Self::Attached(attached) => attached.attach(sources, handles),
            Self::Chroot(path) => {
                let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
                path::open(path, flags)
                    .map(RootFd::new)
                    .map_err(Failed::of(Call::Openat2))
            }
        }
    }

    pub(crate) fn pivot(&self, handles: &Handles, root: &RootFd) -> Result<(), Failed> {
        match self {
            Self::Attached(attached) => attached.pivot(handles, root),
            Self::Chroot(_) => {
                fchdir(root.as_fd()).map_err(Failed::of(Call::Chdir))?;
                fs::chroot_here().map_err(Failed::of(Call::Chroot))?;
                fs::chdir(c"/").map_err(Failed::of(Call::Chdir))
            }
        }
    }
}
