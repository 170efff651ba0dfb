//! Pairs of sequenced-packet sockets: one message is one frame.

use crate::errno::{Errno, ret, ret_number};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A connected pair, both close-on-exec. See unix(7).
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for both descriptors.
    ret(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    // SAFETY: the call has just made both, and nobody else knows them.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((first, second))
}

/// Sends one whole frame, without SIGPIPE. Tries again on EINTR.
///
/// # Errors
/// EPIPE: the other end is gone. EMSGSIZE: the frame was cut.
pub fn send(socket: BorrowedFd<'_>, frame: &[u8]) -> Result<(), Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let sent = unsafe {
            libc::send(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        match ret_number(sent as libc::c_long) {
            Ok(count) if count == frame.len() as u64 => return Ok(()),
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one frame and gives its length; 0 says that the other end is closed. A frame longer than
/// `buffer` gives its real length, which the caller must refuse. Tries again on EINTR.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let got = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
            )
        };
        match usize::try_from(got) {
            Ok(length) => return Ok(length),
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    }
}
