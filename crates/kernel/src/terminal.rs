//! Pseudo-terminals: their two ends, their size, the session that they control.
//!
//! No call here opens a name: the peer comes from the master. See [ioctl_tty(2)] and [pty(7)].
//!
//! [ioctl_tty(2)]: https://man7.org/linux/man-pages/man2/ioctl_tty.2.html
//! [pty(7)]: https://man7.org/linux/man-pages/man7/pty.7.html

use crate::errno::{Errno, ret, ret_fd};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The size of a terminal's window in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines; 0: unknown.
    pub height: u16,
    /// Columns; 0: unknown.
    pub width: u16,
}

/// Unlocks the peer of a new master, so that it can be opened (TIOCSPTLCK).
///
/// # Errors
/// ENOTTY: not a master.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let locked: libc::c_int = 0;
    // SAFETY: the call reads one number, which lives until the call returns.
    ret(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into())
}

/// Opens the peer of an unlocked master (TIOCGPTPEER), for reading and writing, close-on-exec. It
/// does not become the controlling terminal. Linux 4.13.
///
/// # Errors
/// ENOTTY: not a master. EIO: still locked.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is a number.
    ret_fd(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// The name of the peer in its file system (TIOCGPTN).
///
/// # Errors
/// ENOTTY: not a master.
pub fn number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the call writes one number into a place of that type.
    ret(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) }.into())?;
    Ok(number)
}

/// Makes this the controlling terminal of the process' session (TIOCSCTTY). The process must lead
/// the session, and the session must not have a terminal yet.
///
/// # Errors
/// EPERM: one of these is not true, or the terminal belongs to another session.
pub fn control(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the argument is a number.
    ret(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())
}

/// The size of the window.
///
/// # Errors
/// ENOTTY: not a terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size, Errno> {
    let mut size = winsize(Size {
        height: 0,
        width: 0,
    });
    // SAFETY: the call fills a whole structure.
    ret(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(Size {
        height: size.ws_row,
        width: size.ws_col,
    })
}

/// Sets the size of the window, on either end. A change sends SIGWINCH to the foreground process
/// group.
///
/// # Errors
/// ENOTTY: not a terminal.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<(), Errno> {
    let size = winsize(size);
    // SAFETY: the call reads a whole structure.
    ret(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}

fn winsize(size: Size) -> libc::winsize {
    libc::winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
