//! Signals: their actions, which are blocked, and which are read from a descriptor. See
//! signal(7), signalfd(2).
//!
//! With the kernel's own calls: C libraries keep two or three signals for their threads, and not
//! all the same ones, but a container's program may use each signal of the kernel.

use crate::errno::{Errno, ret, ret_fd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

/// The last signal: the kernel's _NSIG.
const LAST: i32 = 64;

/// A set of the kernel: bit n is signal n + 1.
#[derive(Debug, Clone, Copy, Default)]
struct Set(u64);

impl Set {
    /// The kernel's sigsetsize.
    const SIZE: usize = size_of::<u64>();

    fn of(signals: &[i32]) -> Result<Self, Errno> {
        let mut set = Self::default();
        for signal in signals {
            if !(1..=LAST).contains(signal) {
                return Err(Errno::EINVAL);
            }
            set.0 |= 1 << (signal - 1);
        }
        Ok(set)
    }

    /// Blocks these signals, or these alone, or unblocks them. See sigprocmask(2).
    fn block(self, how: libc::c_int) -> Result<(), Errno> {
        let old = ptr::null_mut::<u64>();
        // SAFETY: the set has the size that is passed; the old one is not requested.
        ret(unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                how,
                &raw const self.0,
                old,
                Self::SIZE,
            )
        })
    }
}

/// What happens at a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The signal's own default.
    Default,
    /// Nothing.
    Ignored,
    /// [`end`].
    End,
}

/// Ends this process as a shell reports the signal. A handler: it calls nothing but the kernel.
extern "C" fn end(signal: libc::c_int) {
    crate::process::exit_now(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

fn set_action(signal: i32, action: Action) -> Result<(), Errno> {
    // SA_RESTORER of the kernel: x86 calls no handler without a restorer. `end` does not return,
    // so nothing calls its restorer.
    const WITH_RESTORER: u64 = 0x0400_0000;
    // The kernel's `struct sigaction`: the handler, then flags, restorer (where the architecture
    // has one) and mask. 0 is "nothing".
    let action = match action {
        Action::Default => [libc::SIG_DFL as u64, 0, 0, 0],
        Action::Ignored => [libc::SIG_IGN as u64, 0, 0, 0],
        Action::End => {
            let handler = end as *const () as u64;
            [handler, WITH_RESTORER, handler, 0]
        }
    };
    let old = ptr::null_mut::<u64>();
    // SAFETY: the action is a whole structure, and its handler is safe to call at any moment; the
    // old one is not requested.
    ret(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            old,
            Set::SIZE,
        )
    })
}

/// Sets every signal to its default action and unblocks all, as a new program expects.
pub fn reset_signals() -> Result<(), Errno> {
    reset_actions()?;
    unblock_signals()
}

/// Sets every signal to its default action.
pub fn reset_actions() -> Result<(), Errno> {
    (1..=LAST)
        .filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP))
        .try_for_each(|signal| set_action(signal, Action::Default))
}

/// Unblocks every signal.
pub fn unblock_signals() -> Result<(), Errno> {
    Set::default().block(libc::SIG_SETMASK)
}

/// Makes SIGHUP, SIGINT, SIGQUIT and SIGTERM end this process with status 128 and the number, also
/// if it is the first of its PID namespace, to which they do nothing otherwise. Exec undoes that.
/// See pid_namespaces(7).
pub fn end_when_asked() -> Result<(), Errno> {
    let signals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
    for signal in signals {
        set_action(signal, Action::End)?;
    }
    Set::of(&signals)?.block(libc::SIG_UNBLOCK)
}

/// Sets SIGCHLD to its default action, so that this process can wait for the end of its children.
/// Exec keeps an ignored SIGCHLD, and with it the kernel reaps children at once. See waitid(2).
pub fn notice_children() -> Result<(), Errno> {
    set_action(libc::SIGCHLD, Action::Default)
}

/// Makes a write beyond RLIMIT_FSIZE an error (EFBIG) instead of the end of this process. See
/// setrlimit(2).
pub fn ignore_file_size_signal() -> Result<(), Errno> {
    set_action(libc::SIGXFSZ, Action::Ignored)
}

/// Signals that no longer interrupt this process but wait to be read.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` and makes them readable; close-on-exec, reads never wait.
    ///
    /// # Errors
    /// EINVAL: not a signal. EMFILE, ENFILE.
    pub fn block(signals: &[i32]) -> Result<Self, Errno> {
        let set = Set::of(signals)?;
        set.block(libc::SIG_BLOCK)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set has the size that is passed.
        let fd =
            unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, Set::SIZE, flags) };
        ret_fd(fd).map(Self)
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
    (1..=LAST).filter(move |signal| {
        !faults.contains(signal) && !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_kernel_is_a_signal_and_no_other() {
        let set = Set::of(&[1, 32, 34, 64]).map(|set| set.0);
        assert_eq!(set, Ok(1 | 1 << 31 | 1 << 33 | 1 << 63));
        assert_eq!(Set::of(&[0]).map(|set| set.0), Err(Errno::EINVAL));
        assert_eq!(Set::of(&[65]).map(|set| set.0), Err(Errno::EINVAL));
    }
}
