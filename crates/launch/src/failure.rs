//! A failure of init: a few bytes in init, a sentence in the runtime.

use crate::hooks::{Cause, HookFailed, Tail};
use kernel::{Call, Errno, Failed};

/// The step of the setup that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// On the way into the namespaces.
    Entry = 1,
    /// In the file system tree.
    Rootfs,
    /// At the createContainer hooks.
    CreateContainer,
    /// At names, ids, limits, working directory.
    Process,
    /// At the look-up of the program.
    Lookup,
    /// At the comparison of what the kernel says with the plan.
    Verify,
    /// At the startContainer hooks.
    StartContainer,
    /// At the exec.
    Exec,
    /// At the system call filter.
    Seccomp,
    /// At the resource limits.
    Limits,
    /// At the keyring, the profile and the labels.
    Label,
    /// At the Landlock ruleset.
    Landlock,
    /// At the terminal.
    Terminal,
}

impl Place {
    const ALL: [Self; 13] = [
        Self::Entry,
        Self::Rootfs,
        Self::CreateContainer,
        Self::Process,
        Self::Lookup,
        Self::Verify,
        Self::StartContainer,
        Self::Exec,
        Self::Seccomp,
        Self::Limits,
        Self::Label,
        Self::Landlock,
        Self::Terminal,
    ];

    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|place| *place as u8 == number)
    }
}

/// The message that init sends to the runtime before it exits.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Where.
    pub place: Place,
    /// Which call.
    pub call: Call,
    /// On which element of the place's list.
    pub index: u16,
    /// Why.
    pub cause: Cause,
    /// Bytes that only the place understands.
    pub detail: [u8; 8],
    /// The last bytes that a hook wrote.
    pub tail: Tail,
}

impl Failure {
    /// A failed call: `.map_err(Failure::at(Place::Process))`.
    pub fn at(place: Place) -> impl Fn(Failed) -> Self {
        move |failed| Self {
            place,
            call: failed.call,
            index: failed.index,
            cause: Cause::Call(failed.errno),
            detail: [0; 8],
            tail: Tail::of(&[]),
        }
    }

    /// A failed hook.
    pub fn of_hook(place: Place) -> impl Fn(HookFailed) -> Self {
        move |failed| Self {
            place,
            call: Call::Hook,
            index: u16::try_from(failed.index).unwrap_or(u16::MAX),
            cause: failed.cause,
            detail: [0; 8],
            tail: failed.tail,
        }
    }

    /// The kernel's answer, where a call failed.
    pub fn errno(&self) -> Errno {
        match self.cause {
            Cause::Call(errno) => errno,
            Cause::Exit(_) | Cause::Timeout | Cause::Interrupted(_) => Errno::UnknownErrno,
        }
    }

    /// The failed call.
    pub fn failed(&self) -> Failed {
        Failed {
            call: self.call,
            index: self.index,
            errno: self.errno(),
        }
    }

    /// The failed hook.
    pub fn hook(&self) -> HookFailed {
        HookFailed {
            index: self.index.into(),
            cause: self.cause,
            tail: self.tail,
        }
    }
}
