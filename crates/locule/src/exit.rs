//! The status that a command ends with.

use kernel::process::exit_now;

/// A status of exit(2). That of the standard library does not give its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitCode(u8);

impl ExitCode {
    /// Done.
    pub(crate) const SUCCESS: Self = Self(0);
    /// Any error.
    pub(crate) const FAILURE: Self = Self(1);

    /// Ends this process at once. Everything that is printed is flushed, and the kernel frees the
    /// rest; exit handlers would only unmap memory first.
    pub(crate) fn exit(self) -> ! {
        exit_now(self.0)
    }
}

impl From<u8> for ExitCode {
    fn from(status: u8) -> Self {
        Self(status)
    }
}
