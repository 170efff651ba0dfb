//! Pipes and other streams.

use crate::errno::{Errno, ret};
use crate::fs;
use crate::path::{self, OpenFlags, Resolve};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The two ends of a pipe, close-on-exec.
#[derive(Debug)]
pub struct Pipe {
    /// The end to read from.
    pub read: OwnedFd,
    /// The end to write to.
    pub write: OwnedFd,
}

/// Makes a pipe. See pipe(7).
pub fn pipe() -> Result<Pipe, Errno> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for both descriptors.
    ret(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the call has just made both, and no other owner exists.
    let read = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok(Pipe { read, write })
}

/// Makes reads and writes through this open file fail with EAGAIN instead of waiting.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed. A new pipe end has no other status flags to keep.
    ret(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }.into())
}

/// Standard input, output and error. std's own handles allocate a buffer at their first use.
pub const STANDARD: [BorrowedFd<'static>; 3] = [
    // SAFETY: std's start-up opens the ones that the caller left closed, and no code closes these.
    unsafe { BorrowedFd::borrow_raw(0) },
    // SAFETY: as above.
    unsafe { BorrowedFd::borrow_raw(1) },
    // SAFETY: as above.
    unsafe { BorrowedFd::borrow_raw(2) },
];

/// Opens the existing file `name` and writes `bytes` in one call: for kernel files that accept
/// their text only once. Do not use it for names that a container controls.
pub fn write_file(name: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = path::openat2(path::CWD, name, OpenFlags::WRITE, 0, Resolve::empty())?;
    match fs::write(file.as_fd(), bytes)? {
        count if count == bytes.len() => Ok(()),
        _short => Err(Errno::EIO),
    }
}
