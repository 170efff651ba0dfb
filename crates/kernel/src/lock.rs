//! Locks on files. See flock(2).

use crate::errno::{Errno, ret};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Who else may have the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Other holders of a shared lock.
    Shared,
    /// No other holder.
    Exclusive,
}

/// A locked file. Dropping it releases the lock at once, even while a child still has a copy of the
/// descriptor. If the kernel refuses that, the last close of the descriptor releases it.
#[derive(Debug)]
pub struct Locked(OwnedFd);

impl Locked {
    /// Takes the lock, without waiting for it.
    ///
    /// # Errors
    /// The file, and EWOULDBLOCK: another open file has the lock. EINTR: try again.
    pub fn take(file: OwnedFd, sharing: Sharing) -> Result<Self, (OwnedFd, Errno)> {
        let how = match sharing {
            Sharing::Shared => libc::LOCK_SH,
            Sharing::Exclusive => libc::LOCK_EX,
        };
        match flock(file.as_fd(), how | libc::LOCK_NB) {
            Ok(()) => Ok(Self(file)),
            Err(errno) => Err((file, errno)),
        }
    }

    /// Releases the lock and keeps the file. It needs no further descriptor, so it cannot fail
    /// where the caller has already done what the lock was for.
    pub fn release(self) -> OwnedFd {
        let locked = ManuallyDrop::new(self);
        locked.unlock();
        // SAFETY: `locked` is never dropped, so the descriptor has no other owner.
        unsafe { OwnedFd::from_raw_fd(locked.0.as_raw_fd()) }
    }

    fn unlock(&self) {
        let _released_by_close = flock(self.0.as_fd(), libc::LOCK_UN);
    }
}

impl AsFd for Locked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.unlock();
    }
}

fn flock(file: BorrowedFd<'_>, how: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open during the call.
    ret(unsafe { libc::flock(file.as_raw_fd(), how) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn open() -> OwnedFd {
        File::open(std::env::temp_dir()).unwrap().into()
    }

    #[test]
    fn a_lock_ends_when_it_is_dropped_or_released() {
        let first = Locked::take(open(), Sharing::Shared).unwrap();
        let second = Locked::take(open(), Sharing::Shared).unwrap();
        let (file, errno) = Locked::take(open(), Sharing::Exclusive).unwrap_err();
        assert_eq!(errno, Errno::EWOULDBLOCK);
        // A copy of the descriptor does not keep the lock.
        let _copy = first.0.try_clone().unwrap();
        drop(first);
        let number = second.as_fd().as_raw_fd();
        let kept = second.release();
        assert_eq!(kept.as_raw_fd(), number, "no further descriptor");
        kept.try_clone().unwrap();
        Locked::take(file, Sharing::Exclusive).unwrap();
    }
}
