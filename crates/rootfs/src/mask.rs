//! Masked and read-only paths.
//!
//! Hides the paths in `linux.maskedPaths` and makes those in `linux.readonlyPaths` read-only, after
//! the pivot. A file is covered by a null device, a directory by an empty read-only one. Neither
//! comes from the container, whose /dev/null may be anything (CVE-2025-31133): both are on one
//! private tmpfs, made before the pivot. A path that is proven absent is skipped. Every other
//! failure is fatal, since a missing mask is a security hole. Source: runtime-spec
//! config-linux.md#masked-paths.

use crate::ground::detached;
use crate::handles::Handles;
use crate::mount::{Change, Names};
use crate::root::{LINKS_INSIDE, RootFd, look_up};
use crate::tree::{Shown, Source};
use kernel::fs::{self, FileKind};
use kernel::mount::{self, Depth, Follow, MountAttr};
use kernel::path::OpenFlags;
use kernel::{Call, Errno, Failed};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the masks are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Covers {
    /// The host's null device, where none may be made.
    pub(crate) null: Option<Source>,
    /// `linux.mountLabel`, for the tmpfs.
    pub(crate) label: Option<CString>,
}

/// A detached mount of a null device, and one of an empty directory.
pub(crate) struct Made {
    /// The tmpfs that both are on, attached at the given place.
    pub(crate) ground: OwnedFd,
    pub(crate) null: OwnedFd,
    pub(crate) empty: OwnedFd,
}

impl Covers {
    /// Makes both on a tmpfs that is attached at `place`: before Linux 6.15 only attached mounts
    /// can be cloned. The umask must be 0.
    pub(crate) fn make(
        &self,
        place: BorrowedFd<'_>,
        handles: &mut Handles,
    ) -> Result<Made, Failed> {
        // The root, the node, the directory. Some kernels count differently, so there is room for a
        // few more.
        let params = [(c"nr_inodes", c"8"), (c"size", c"4096"), (c"mode", c"0755")];
        let label = self.label.as_deref().map(|label| (c"context", label));
        let attributes = MountAttr::NOSUID | MountAttr::NOEXEC;
        let ground = detached(c"tmpfs", params.into_iter().chain(label), attributes)?;
        mkdirat(ground.as_fd(), c"empty", Mode::from_bits_truncate(0o555))
            .map_err(Failed::of(Call::Mkdir))?;
        if self.null.is_none() {
            fs::mknod_at(ground.as_fd(), c"null", FileKind::Char, (1, 3), 0o666)
                .map_err(Failed::of(Call::Mknod))?;
        }
        Change::set(Depth::Top, MountAttr::RDONLY).apply(ground.as_fd())?;
        mount::move_mount(ground.as_fd(), place).map_err(Failed::of(Call::MoveMount))?;
        let copy = |name| {
            mount::clone_tree(ground.as_fd(), name, Depth::Top, Follow::No)
                .map_err(Failed::of(Call::OpenTree))
        };
        let empty = copy(c"empty")?;
        let null = match self.null {
            None => copy(c"null")?,
            Some(source) => {
                let null = handles.take_tree(source)?;
                let attributes = attributes | MountAttr::RDONLY;
                Change::set(Depth::Top, attributes).apply(null.as_fd())?;
                null
            }
        };
        Ok(Made {
            ground,
            null,
            empty,
        })
    }
}

/// Opens the path to cover. `None`: it does not exist.
fn find(root: &RootFd, path: &CStr) -> Result<Option<OwnedFd>, Failed> {
    match look_up(root.as_fd(), path, OpenFlags::PATH, LINKS_INSIDE) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(Failed::of(Call::Openat2)(errno)),
    }
}

/// Which covers have been attached: from then on they are cloned.
#[derive(Debug, Default)]
pub(crate) struct Used {
    null: bool,
    empty: bool,
}

/// Covers one masked path.
///
/// # Errors
/// EISDIR from [`Call::Verify`]: the path leads to the root, which cannot be covered.
pub(crate) fn mask(root: &RootFd, path: &CStr, used: &mut Used) -> Result<(), Failed> {
    let Some(target) = find(root, path)? else {
        return Ok(());
    };
    let stat = fs::stat(target.as_fd()).map_err(Failed::of(Call::Stat))?;
    let top = fs::stat(root.as_fd()).map_err(Failed::of(Call::Stat))?;
    if (stat.device, stat.inode) == (top.device, top.inode) {
        // A mount on the root would be above it, where no look-up of the container arrives.
        return Err(Failed::of(Call::Verify)(Errno::EISDIR));
    }
    let (cover, used) = match stat.kind {
        FileKind::Directory => (&root.empty, &mut used.empty),
        _ => (&root.null, &mut used.null),
    };
    let cover = cover
        .as_ref()
        .ok_or(Errno::EBADF)
        .map_err(Failed::of(Call::Verify))?;
    let covering = fs::stat(cover.as_fd()).map_err(Failed::of(Call::Stat))?;
    if (stat.device, stat.inode) == (covering.device, covering.inode) {
        // Covered before, by this name or another.
        return Ok(());
    }
    if *used {
        let copy = mount::clone_tree(cover.as_fd(), c"", Depth::Top, Follow::No)
            .map_err(Failed::of(Call::OpenTree))?;
        mount::move_mount(copy.as_fd(), target.as_fd())
    } else {
        *used = true;
        mount::move_mount(cover.as_fd(), target.as_fd())
    }
    .map_err(Failed::of(Call::MoveMount))
}

/// Makes one path read-only, with all mounts below. A path that is not a mount gets a read-only
/// copy of itself on top. A mount is changed itself, since no look-up of the container would arrive
/// at a copy on top of the root.
pub(crate) fn seal(root: &RootFd, path: &CStr) -> Result<(), Failed> {
    let Some(target) = find(root, path)? else {
        return Ok(());
    };
    let read_only = Change::set(Depth::Tree, MountAttr::RDONLY);
    match read_only.apply(target.as_fd()) {
        // The kernel changes whole mounts only.
        Err(failed) if failed.errno == Errno::EINVAL => {}
        answer => return answer,
    }
    let copy = mount::clone_tree(target.as_fd(), c"", Depth::Tree, Follow::No)
        .map_err(Failed::of(Call::OpenTree))?;
    read_only.apply(copy.as_fd())?;
    mount::move_mount(copy.as_fd(), target.as_fd()).map_err(Failed::of(Call::MoveMount))
}

impl fmt::Display for Shown<'_, &Covers> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(covers, sources) = self;
        write!(f, "covers {}", Names(MountAttr::RDONLY))?;
        match covers.null {
            None => f.write_str(" null made")?,
            Some(source) => write!(f, " null bind {}", Shown(source, sources))?,
        }
        if let Some(label) = &covers.label {
            write!(f, " label {label:?}")?;
        }
        Ok(())
    }
}
