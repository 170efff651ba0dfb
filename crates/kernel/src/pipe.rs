//! Pipes, and reads and writes of small pieces.

use crate::errno::{Errno, ret, ret_fd};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The two ends of a pipe, close-on-exec.
#[derive(Debug)]
pub struct Pipe {
    /// Where the bytes come out.
    pub read: OwnedFd,
    /// Where they go in.
    pub write: OwnedFd,
}

/// Makes a pipe. See pipe(7).
pub fn pipe() -> Result<Pipe, Errno> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for both descriptors.
    ret(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the call has just made both, and nobody else knows them.
    let read = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok(Pipe { read, write })
}

/// Makes reads and writes through this open file answer EAGAIN instead of waiting.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed. The status flags of a fresh pipe end hold nothing else to keep.
    ret(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }.into())
}

/// Reads at most `buffer.len()` bytes; 0 is the end. Tries again on EINTR.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let count = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    }
}

/// Writes some of `bytes` and says how many. Tries again on EINTR.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let count = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    }
}

/// Gives the pipe, fifo or socket behind `fd` to another owner. Nothing happens to other kinds of files,
/// which belong to somebody else, or when the owner is right already. See fchown(2).
pub fn give_stream_to(fd: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    // SAFETY: a C structure for which all zeroes are valid.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is a whole stat.
    ret(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) }.into())?;
    let is_stream = matches!(stat.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK);
    if !is_stream || stat.st_uid == uid {
        return Ok(());
    }
    // SAFETY: no memory is passed; -1 leaves the group.
    ret(unsafe { libc::fchown(fd.as_raw_fd(), uid, libc::gid_t::MAX) }.into())
}

/// Opens the existing file `path` and writes `bytes` in one call: for files of the kernel that take their
/// text once. Not for names that a container controls.
pub fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the path is a C string.
    let file =
        ret_fd(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) }.into())?;
    match write(file.as_fd(), bytes)? {
        count if count == bytes.len() => Ok(()),
        _short => Err(Errno::EIO),
    }
}
