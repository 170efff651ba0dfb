//! openat2(2): look-ups that cannot leave a root.

use crate::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The working directory, for calls that take a directory and a name. An absolute name ignores it.
// SAFETY: AT_FDCWD is not a real descriptor, so nothing can close it; the kernel gives it a special
// meaning.
pub const CWD: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

bitflags::bitflags! {
    /// How a file is opened. Close-on-exec and O_NOCTTY are always set. An empty value opens for
    /// reading.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenFlags: i32 {
        /// Only a handle (O_PATH): no read, no write, no side effect of opening.
        const PATH = libc::O_PATH;
        /// It must be a directory.
        const DIRECTORY = libc::O_DIRECTORY;
        /// A symbolic link as the last component is not followed.
        const NOFOLLOW = libc::O_NOFOLLOW;
        /// For writing.
        const WRITE = libc::O_WRONLY;
        /// For reading and writing.
        const READ_WRITE = libc::O_RDWR;
        /// The file is created and must not exist before: O_CREAT and O_EXCL together.
        const CREATE_NEW = libc::O_CREAT | libc::O_EXCL;
        /// The open does not wait for a FIFO or a terminal.
        const NONBLOCK = libc::O_NONBLOCK;
    }
}

bitflags::bitflags! {
    /// Restrictions of a look-up. See openat2(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Resolve: u64 {
        /// No crossing of a mount point: EXDEV.
        const NO_XDEV = 0x01;
        /// No magic link such as /proc/self/fd/3: ELOOP.
        const NO_MAGICLINKS = 0x02;
        /// No symbolic link: ELOOP.
        const NO_SYMLINKS = 0x04;
        /// No path out of the directory: EXDEV. This includes absolute names.
        const BENEATH = 0x08;
        /// The directory is the root: it is `/` for absolute names and links and for `..`.
        const IN_ROOT = 0x10;
    }
}

/// Opens `path` as open(2) does: links are followed, and may lead anywhere below this process'
/// root. To stay below a directory, use [`openat2`].
///
/// # Errors
/// Those of open(2).
pub fn open(path: &CStr, flags: OpenFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags, 0, Resolve::empty())
}

/// Opens `path` below `directory`. `mode` counts only with [`OpenFlags::CREATE_NEW`]. Linux 5.6.
///
/// # Errors
/// EAGAIN: a concurrent rename might have led outside; try again. ELOOP, EXDEV: what `resolve`
/// forbids. ENOENT, ENOTDIR, EACCES as for open(2).
pub fn openat2(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OpenFlags,
    mode: u32,
    resolve: Resolve,
) -> Result<OwnedFd, Errno> {
    let mut all = OFlag::from_bits_retain(flags.bits()) | OFlag::O_CLOEXEC;
    if !flags.contains(OpenFlags::PATH) {
        all |= OFlag::O_NOCTTY;
    }
    let mut how = OpenHow::new()
        .flags(all)
        .resolve(ResolveFlag::from_bits_retain(resolve.bits()));
    if flags.contains(OpenFlags::CREATE_NEW) {
        how = how.mode(Mode::from_bits_retain(mode));
    }
    nix::fcntl::openat2(directory, path, how)
}
