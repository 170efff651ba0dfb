//! The base: a nearly empty mount namespace, made once per boot and pinned.
//!
//! Its root is a read-only tmpfs with the directories `root`, `proc` and `sys`; nothing else is
//! mounted. A bind mount of its nsfs file on a private tmpfs pins it, and it exists as long as that
//! mount. Other mount namespaces have copies of the mount table, which do not contain the pin: each
//! mount namespace has its own base. The kernel refuses to pin a namespace in one with a number
//! that is not lower (ELOOP). This happens in a nested mount namespace, since each CPU takes
//! numbers in blocks. So each CPU is tried. If all fail, a mark says that this mount namespace
//! cannot have a base.
//!
//! For the same reason the kernel attaches no tree with the pin in it (ELOOP). A volume of `/` or
//! `/run` is therefore cloned from a copy of the mount table.

#![expect(
    clippy::disallowed_methods,
    reason = "a path of the host, below root's own /run; files in it are reached by descriptor"
)]

use crate::Reason;
use crate::ground::{Own, attach, tmpfs};
use crate::mount::Change;
use crate::pivot::identity;
use kernel::clone::{NamespaceFlags, namespace_type, unshare};
use kernel::errno::errno_of;
use kernel::fs;
use kernel::mount::{self, Depth, Follow, MountAttr, Propagation};
use kernel::path::{self, CWD, OpenFlags, Resolve, openat2};
use kernel::process::without_umask;
use kernel::{Call, Errno, Failed};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Pid, fchdir};
use std::ffi::{CStr, CString};
use std::fs::{DirBuilder, File, TryLockError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Where the base is pinned, for root of the initial user namespace: below the default state root,
/// even if `--root` names another. One base is enough for a boot, and a user can still remove the
/// state root of `--root`.
pub const BASE: &str = "/run/locule/@base";

/// The file that the namespace is pinned on.
const PIN: &CStr = c"mounts";

/// The directory of the pin, and names in it.
const INSIDE: Resolve = Resolve::NO_SYMLINKS;

/// Why the base cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the base of mount namespaces in {directory:?} cannot be used: {call}: {reason}")]
pub struct Refused {
    directory: std::path::PathBuf,
    call: &'static str,
    reason: Reason,
}

/// Opens the base that is pinned in `directory`, and makes it if it does not exist.
pub(crate) fn open(directory: &Path) -> Result<OwnedFd, Refused> {
    open_or_make(directory).map_err(|failed| Refused {
        directory: directory.to_owned(),
        call: failed.call.name(),
        reason: Reason(failed.errno),
    })
}

fn open_or_make(directory: &Path) -> Result<OwnedFd, Failed> {
    let path = CString::new(directory.as_os_str().as_bytes())
        .map_err(|_nul| Failed::of(Call::Open)(Errno::EINVAL))?;
    if let Some(base) = look(&path)? {
        return Ok(base);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| Failed::of(Call::Mkdir)(errno_of(&error)))?;
    // Two may want to make it, and the other need not wait. The tmpfs hides the directory itself,
    // so the one above is locked.
    let above = directory.parent().unwrap_or(directory);
    let failed = |error: std::io::Error| Failed::of(Call::Open)(errno_of(&error));
    let lock = File::open(above).map_err(failed)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Failed::of(Call::Open)(Errno::EAGAIN),
        TryLockError::Error(error) => failed(error),
    })?;
    if let Some(base) = look(&path)? {
        return Ok(base);
    }
    without_umask(|| make(&path)).map_err(Failed::of(Call::Umask))?
}

/// The base, if it exists. `None`: it must be made.
fn look(path: &CStr) -> Result<Option<OwnedFd>, Failed> {
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    let found = |errno| match errno {
        Errno::ENOENT => Ok(None),
        errno => Err(Failed::of(Call::Openat2)(errno)),
    };
    let directory = match openat2(CWD, path, flags, 0, INSIDE) {
        Ok(directory) => directory,
        Err(errno) => return found(errno),
    };
    let pin = match openat2(directory.as_fd(), PIN, OpenFlags::NONBLOCK, 0, INSIDE) {
        Ok(pin) => pin,
        Err(errno) => return found(errno),
    };
    if namespace_type(pin.as_fd()) == Ok(NamespaceFlags::MOUNT) {
        return Ok(Some(pin));
    }
    // A file: the kernel has refused the pin here, or this mount namespace is a copy of the one
    // with the pin.
    match fs::stat_at(directory.as_fd(), &mark()?) {
        Ok(_) => Err(Failed::of(Call::MoveMount)(Errno::ELOOP)),
        Err(errno) => found(errno),
    }
}

/// The name that says that this mount namespace cannot have a base: its number.
fn mark() -> Result<CString, Failed> {
    let own = path::open(c"/proc/self/ns/mnt", OpenFlags::empty());
    let own = own.map_err(Failed::of(Call::Openat2))?;
    let inode = fs::stat(own.as_fd()).map_err(Failed::of(Call::Stat))?.inode;
    CString::new(inode.to_string()).map_err(|_nul| Failed::of(Call::Verify)(Errno::EINVAL))
}

/// Makes the base and pins it in the directory at `path`.
fn make(path: &CStr) -> Result<OwnedFd, Failed> {
    let attributes = MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    let ground = tmpfs(attributes)?;
    let ground = ground.as_fd();
    let file = |name| {
        let flags = OpenFlags::CREATE_NEW | OpenFlags::WRITE;
        openat2(ground, name, flags, 0o600, INSIDE).map_err(Failed::of(Call::Open))
    };
    file(PIN)?;
    attach(ground, CWD, path)?;
    // A mount on a shared one is shared; the pin is for this mount namespace only.
    Change::propagation(Depth::Top, Propagation::Private).apply(ground)?;
    let own = Own::note()?;
    let made = on_some_cpu(|| {
        let base = away(&own, || empty(&own, path))?;
        pin(base.as_fd(), ground)?;
        Ok(base)
    });
    if made.as_ref().is_err_and(is_refused) {
        file(&mark()?)?;
    }
    made
}

/// Whether the kernel has refused the pin.
fn is_refused(failed: &Failed) -> bool {
    failed.call == Call::MoveMount && matches!(failed.errno, Errno::ELOOP | Errno::EINVAL)
}

/// Tries on this CPU, and while the kernel refuses the pin, on the other CPUs.
fn on_some_cpu<T>(attempt: impl Fn() -> Result<T, Failed>) -> Result<T, Failed> {
    let mut made = attempt();
    let this = Pid::from_raw(0);
    let Ok(own) = sched_getaffinity(this) else {
        return made;
    };
    for cpu in (0..CpuSet::count()).filter(|cpu| own.is_set(*cpu) == Ok(true)) {
        if !made.as_ref().is_err_and(is_refused) {
            break;
        }
        let mut one = CpuSet::new();
        if one.set(cpu).is_ok() && sched_setaffinity(this, &one).is_ok() {
            made = attempt();
            // It was so a moment ago.
            let _restored = sched_setaffinity(this, &own);
        }
    }
    made
}

/// Does `work` in a copy of this mount namespace, and comes back.
fn away<T>(own: &Own, work: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    unshare(NamespaceFlags::MOUNT).map_err(Failed::of(Call::Unshare))?;
    let done = work();
    own.back()?;
    done
}

/// The directories that have the pin below them, by device and inode.
#[derive(Debug)]
pub(crate) struct Above(Vec<(u64, u64)>);

impl Above {
    pub(crate) fn look() -> Self {
        let found = Path::new(BASE).ancestors().filter_map(|path| {
            let path = CString::new(path.as_os_str().as_bytes()).ok()?;
            let stat = fs::stat_at(CWD, &path).ok()?;
            Some((stat.device, stat.inode))
        });
        Self(found.collect())
    }

    /// Replaces a tree that may have the pin in it by one that `open` makes where there is none:
    /// in a copy of this mount namespace.
    pub(crate) fn without_pin(
        &self,
        tree: OwnedFd,
        open: impl FnOnce() -> Result<OwnedFd, Failed>,
    ) -> Result<OwnedFd, Failed> {
        match self.0.contains(&identity(tree.as_fd())?) {
            true => away(&Own::note()?, open),
            false => Ok(tree),
        }
    }
}

/// Removes all mounts from this mount namespace, which is a copy, except a new root.
fn empty(own: &Own, path: &CStr) -> Result<OwnedFd, Failed> {
    Change::propagation(Depth::Tree, Propagation::Private).apply_at(CWD, c"/")?;
    let root = tmpfs(MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC)?;
    for name in [c"root", c"proc", c"sys"] {
        mkdirat(root.as_fd(), name, Mode::from_bits_truncate(0o755))
            .map_err(Failed::of(Call::Mkdir))?;
    }
    Change::set(Depth::Top, MountAttr::RDONLY).apply(root.as_fd())?;
    attach(root.as_fd(), CWD, path)?;
    fchdir(root.as_fd()).map_err(Failed::of(Call::Chdir))?;
    mount::pivot_root_here().map_err(Failed::of(Call::PivotRoot))?;
    mount::detach(c".").map_err(Failed::of(Call::Umount))?;
    own.current()
}

fn pin(base: BorrowedFd<'_>, ground: BorrowedFd<'_>) -> Result<(), Failed> {
    let file =
        mount::clone_tree(base, c"", Depth::Top, Follow::No).map_err(Failed::of(Call::OpenTree))?;
    attach(file.as_fd(), ground, PIN)
}
