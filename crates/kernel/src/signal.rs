//! Signals that are read from a descriptor. See signalfd(2).

use crate::errno::{Errno, ret, ret_fd};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Signals that no longer interrupt this process but wait to be read.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` and makes them readable; close-on-exec, reads never wait.
    pub fn block(signals: &[i32]) -> Result<Self, Errno> {
        // SAFETY: an empty set is all zeroes.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        for signal in signals {
            // SAFETY: the set is a whole structure; an invalid number is refused.
            ret(unsafe { libc::sigaddset(&raw mut set, *signal) }.into())?;
        }
        let old = std::ptr::null_mut();
        // SAFETY: the set is a whole structure; the old one is not requested.
        ret(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, old) }.into())?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is a whole structure.
        ret_fd(unsafe { libc::signalfd(-1, &raw const set, flags) }.into()).map(Self)
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Result<Option<i32>, Errno> {
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match crate::fs::read(self.0.as_fd(), &mut buffer) {
            Ok(count) if count == buffer.len() => {
                let [a, b, c, d, ..] = buffer;
                Ok(Some(u32::from_ne_bytes([a, b, c, d]).cast_signed()))
            }
            Ok(_) | Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Every signal that a process can catch, except those for its own faults.
pub fn catchable() -> impl Iterator<Item = i32> {
    let faults = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGABRT,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    (1..=64).filter(move |signal| {
        !faults.contains(signal) && !matches!(*signal, libc::SIGKILL | libc::SIGSTOP | 32 | 33)
    })
}
