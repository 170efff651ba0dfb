//! Descriptors that the caller has left open.
//!
//! Engines leak: containerd's shim leaves a listening socket at 3, conmon a pipe. Decides which numbers
//! reach the container's program (those that `--preserve-fds` and socket activation ask for) and marks
//! all others close-on-exec, before anything else is opened.

use kernel::Errno;
use kernel::process::{Closing, close_range};
use std::ffi::OsStr;

/// The first number that is not one of stdin, stdout and stderr.
const FIRST: u32 = 3;

/// How many descriptors from 3 on the program inherits: `--preserve-fds`, and LISTEN_FDS of sd_listen_fds(3),
/// whose LISTEN_PID engines set to whatever process they mean.
pub(crate) fn preserved(preserve_fds: u32, listen_fds: Option<&OsStr>) -> u32 {
    let listening = listen_fds
        .and_then(OsStr::to_str)
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(0);
    preserve_fds.saturating_add(listening)
}

/// Marks every descriptor from 3 + `preserved` on close-on-exec.
pub(crate) fn mark_leaked(preserved: u32) -> Result<(), Errno> {
    match FIRST.checked_add(preserved) {
        Some(first) => close_range(first, u32::MAX, Closing::OnExec),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preserved_descriptors_are_those_asked_for_and_those_listened_on() {
        assert_eq!(preserved(0, None), 0);
        assert_eq!(preserved(2, None), 2);
        assert_eq!(preserved(2, Some(OsStr::new("3"))), 5);
        assert_eq!(preserved(2, Some(OsStr::new("x"))), 2);
        assert_eq!(preserved(u32::MAX, Some(OsStr::new("1"))), u32::MAX);
    }
}
