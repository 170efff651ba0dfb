//! Descriptors that the caller has left open.
//!
//! Engines leak descriptors: containerd's shim leaves a listening socket at 3, conmon a pipe.
//! Decides which descriptors reach the container's program (those that `--preserve-fds` and socket
//! activation ask for) and marks all others close-on-exec, before anything else is opened.

use kernel::Errno;
use kernel::process::{Closing, close_range, duplicate, is_open};
use nix::unistd::close;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

/// The first number that is not one of stdin, stdout and stderr.
const FIRST: u32 = 3;

/// How many descriptors of the caller the program inherits, from 3 on: first those of socket
/// activation, then those of `--preserve-fds`. All are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Preserved {
    /// LISTEN_FDS of sd_listen_fds(3).
    pub(crate) listening: u32,
    /// `--preserve-fds`.
    pub(crate) asked: u32,
}

impl Preserved {
    /// All of them.
    pub(crate) fn count(self) -> u32 {
        self.listening.saturating_add(self.asked)
    }
}

/// Descriptors that cannot be preserved. The first words are runc's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unpreserved {
    #[error(
        "unable to stat preserved-fd {index} (of {count}): the caller has not opened descriptor {number}; open it or give --preserve-fds a smaller number"
    )]
    Asked { index: u32, count: u32, number: u32 },
    #[error(
        "LISTEN_FDS is {count}, but the caller has not opened descriptor {number}; open it or unset LISTEN_FDS"
    )]
    Listening { count: u32, number: u32 },
    #[error("LISTEN_FDS is {value:?}, which is not a number of descriptors")]
    Number { value: OsString },
}

/// The descriptors that --preserve-fds and the environment ask for. Call it before anything is
/// opened.
///
/// # Errors
/// One of them is not open, or LISTEN_FDS is not a number.
pub(crate) fn preserved(asked: u32) -> Result<Preserved, Unpreserved> {
    let pid = env::var_os("LISTEN_PID");
    let count = env::var_os("LISTEN_FDS");
    let listening = listening(std::process::id(), pid.as_deref(), count.as_deref())?;
    check(Preserved { listening, asked }, is_open)
}

/// The descriptors that --preserve-fds alone asks for. Call it before anything is opened.
pub(crate) fn asked(asked: u32) -> Result<Preserved, Unpreserved> {
    let listening = 0;
    check(Preserved { listening, asked }, is_open)
}

/// How many descriptors the caller has passed to the process `own`: sd_listen_fds(3). If LISTEN_PID
/// is absent or has another pid, they are not for this process.
fn listening(own: u32, pid: Option<&OsStr>, count: Option<&OsStr>) -> Result<u32, Unpreserved> {
    let number = |text: &OsStr| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let (Some(pid), Some(count)) = (pid, count) else {
        return Ok(0);
    };
    if number(pid) != Some(own) {
        return Ok(0);
    }
    number(count).ok_or_else(|| Unpreserved::Number {
        value: count.to_owned(),
    })
}

/// Takes a descriptor that an option names; it is then closed under its number. Call it before
/// anything is opened.
///
/// # Errors
/// EBADF: it is not open.
pub(crate) fn take(number: u32) -> Result<OwnedFd, Errno> {
    let number = i32::try_from(number).map_err(|_too_large| Errno::EBADF)?;
    let own = duplicate(number)?;
    if number > 2 {
        let _it_was_open = close(number);
    }
    Ok(own)
}

fn check(preserved: Preserved, is_open: impl Fn(u32) -> bool) -> Result<Preserved, Unpreserved> {
    for index in 0..preserved.count() {
        let number = FIRST.saturating_add(index);
        if is_open(number) {
            continue;
        }
        return Err(match index.checked_sub(preserved.listening) {
            Some(index) => Unpreserved::Asked {
                index,
                count: preserved.asked,
                number,
            },
            None => Unpreserved::Listening {
                count: preserved.listening,
                number,
            },
        });
    }
    Ok(preserved)
}

/// Marks every descriptor after the preserved ones close-on-exec.
pub(crate) fn mark_leaked(preserved: Preserved) -> Result<(), Errno> {
    match FIRST.checked_add(preserved.count()) {
        Some(first) => close_range(first, u32::MAX, Closing::OnExec),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_passed_to_the_process_that_is_named() {
        let count = |pid: Option<&str>, count: Option<&str>| {
            listening(7, pid.map(OsStr::new), count.map(OsStr::new))
        };
        assert_eq!(count(Some("7"), Some("3")), Ok(3));
        assert_eq!(count(Some("7"), None), Ok(0));
        for pid in [None, Some("8"), Some(""), Some("x"), Some("-7"), Some("70")] {
            assert_eq!(count(pid, Some("3")), Ok(0), "{pid:?}");
            assert_eq!(count(pid, Some("x")), Ok(0), "{pid:?}");
        }
        for number in ["", "x", "-1", "99999999999"] {
            assert!(count(Some("7"), Some(number)).is_err(), "{number}");
        }
    }

    #[test]
    fn the_first_descriptor_that_is_not_open_is_named() {
        let open = |number| number < 6;
        let check = |listening, asked| check(Preserved { listening, asked }, open);
        assert_eq!(check(1, 2).map(Preserved::count), Ok(3));
        let (index, count, number) = (2, 3, 6);
        let missing = Unpreserved::Asked {
            index,
            count,
            number,
        };
        assert_eq!(check(1, 3), Err(missing));
        assert_eq!(
            check(4, 1),
            Err(Unpreserved::Listening { count: 4, number })
        );
        assert!(check(u32::MAX, u32::MAX).is_err());
    }
}
