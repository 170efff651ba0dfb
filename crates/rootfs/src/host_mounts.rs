//! Mounts of a container that has no mount namespace of its own: they are in the runtime's.
//!
//! They are identified by number and mount point, so that `delete` unmounts only the mounts of the
//! container. The container controls the names below the root, so they are looked up without
//! following links, and the mount that is found must have the number.

#![expect(
    clippy::disallowed_methods,
    reason = "the host's own /proc, and the root as the configuration names it"
)]

use crate::mount_table::mounts_of;
use kernel::Errno;
use kernel::errno::errno_of;
use kernel::mount::detach;
use kernel::path::{self, OpenFlags, Resolve, openat2};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The number of a mount, as in mountinfo, and its mount point.
pub type HostMount = (u64, PathBuf);

/// All mounts of this mount namespace below the directory `root`, in the order of their making.
pub fn mounts_below(root: &Path) -> Result<Vec<HostMount>, Errno> {
    let root = fs::canonicalize(root).map_err(|error| errno_of(&error))?;
    let mounts = mounts_of("self")?.into_iter();
    let below = mounts.filter(|line| line.point != root && line.point.starts_with(&root));
    Ok(below.map(|line| (line.id, line.point)).collect())
}

/// Unmounts those of `mounts` that still exist, the last one first. It tries all of them.
///
/// # Errors
/// The first mount that stays, and why; EBUSY: another one covers it.
pub fn remove_mounts(root: &Path, mounts: &[HostMount]) -> Result<(), (PathBuf, Errno)> {
    let failed = |errno| (root.to_owned(), errno);
    let now = mounts_below(root).map_err(failed)?;
    let real = fs::canonicalize(root).map_err(|error| failed(errno_of(&error)))?;
    let mut errors = Vec::new();
    for mount in now.iter().rev().filter(|mount| mounts.contains(mount)) {
        if let Err(errno) = remove(&real, mount.0, &mount.1) {
            errors.push((mount, errno));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    // The mount of a removed cgroup cannot be looked up, but is removed with the mount that it is
    // on.
    let left = mounts_below(root).map_err(failed)?;
    match errors.iter().find(|(mount, _)| left.contains(mount)) {
        None => Ok(()),
        Some((mount, errno)) => Err((mount.1.clone(), *errno)),
    }
}

fn remove(root: &Path, id: u64, point: &Path) -> Result<(), Errno> {
    let text =
        |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL);
    let below = point.strip_prefix(root).map_err(|_outside| Errno::EXDEV)?;
    let root = path::open(&text(root)?, OpenFlags::PATH)?;
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS;
    let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
    let mount = openat2(root.as_fd(), &text(below)?, flags, 0, resolve)?;
    if number_of(mount.as_fd()) != Some(id) {
        return Err(Errno::EBUSY);
    }
    // Through the descriptor: no name is used again.
    detach(&text(Path::new(&format!(
        "/proc/self/fd/{}",
        mount.as_raw_fd()
    )))?)
}

/// The number of the mount that the descriptor is on.
pub fn number_of(fd: BorrowedFd<'_>) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}
