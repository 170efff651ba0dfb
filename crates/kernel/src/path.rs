//! openat2(2): look-ups that cannot leave a root.

use crate::errno::{Errno, ret_fd};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The working directory, for calls that take a directory and a name. An absolute name ignores it.
// SAFETY: AT_FDCWD is no descriptor that anybody could close; the kernel gives it a meaning of its own.
pub const CWD: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

bitflags::bitflags! {
    /// How a file is opened; close-on-exec and O_NOCTTY go without saying. Nothing set: for reading.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenFlags: u64 {
        /// A handle of the place only (O_PATH): no read, no write, no side effect of opening.
        const PATH = libc::O_PATH as u64;
        /// It must be a directory.
        const DIRECTORY = libc::O_DIRECTORY as u64;
        /// A symbolic link as the last component is not followed.
        const NOFOLLOW = libc::O_NOFOLLOW as u64;
        /// For writing.
        const WRITE = libc::O_WRONLY as u64;
        /// For both.
        const READ_WRITE = libc::O_RDWR as u64;
        /// It is made, and must not exist before: O_CREAT and O_EXCL, which belong together here.
        const CREATE_NEW = (libc::O_CREAT | libc::O_EXCL) as u64;
        /// A FIFO or a terminal does not make the open wait.
        const NONBLOCK = libc::O_NONBLOCK as u64;
    }
}

bitflags::bitflags! {
    /// What a look-up must not do. See openat2(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Resolve: u64 {
        /// Cross a mount point: EXDEV.
        const NO_XDEV = 0x01;
        /// Follow a magic link such as /proc/self/fd/3: ELOOP.
        const NO_MAGICLINKS = 0x02;
        /// Follow a symbolic link: ELOOP.
        const NO_SYMLINKS = 0x04;
        /// Leave the directory: EXDEV. Absolute names are such.
        const BENEATH = 0x08;
        /// See anything above the directory: it is `/` for absolute names and links and for `..`.
        const IN_ROOT = 0x10;
    }
}

/// Opens `path` from `directory`. `mode` counts only with [`OpenFlags::CREATE_NEW`]. Linux 5.6.
///
/// # Errors
/// EAGAIN: the kernel could not rule out that a race with a rename led outside; try again. ELOOP, EXDEV: what
/// `resolve` forbids. ENOENT, ENOTDIR, EACCES as for open(2).
pub fn openat2(
    directory: BorrowedFd<'_>,
    path: &CStr,
    flags: OpenFlags,
    mode: u32,
    resolve: Resolve,
) -> Result<OwnedFd, Errno> {
    // SAFETY: a C structure of plain numbers, for which zero is "not given".
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags.bits() | libc::O_CLOEXEC as u64;
    if !flags.contains(OpenFlags::PATH) {
        how.flags |= libc::O_NOCTTY as u64;
    }
    if flags.contains(OpenFlags::CREATE_NEW) {
        how.mode = mode.into();
    }
    how.resolve = resolve.bits();
    // SAFETY: the path is a C string; `how` is a whole structure and its size is said.
    ret_fd(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of_val(&how),
        )
    })
}
