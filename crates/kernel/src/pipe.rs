//! Pipes and other streams.

use crate::errno::Errno;
use crate::fs;
use crate::path::{self, OpenFlags};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    pipe2(OFlag::O_CLOEXEC).map(|(read, write)| Pipe { read, write })
}

/// Makes reads and writes through this open file fail with EAGAIN instead of waiting.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // A new pipe end has no other status flags to keep.
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
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
    let file = path::open(name, OpenFlags::WRITE)?;
    match fs::write(file.as_fd(), bytes)? {
        count if count == bytes.len() => Ok(()),
        _short => Err(Errno::EIO),
    }
}
