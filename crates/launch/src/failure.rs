//! A failure of init: a few bytes in init, a sentence in the runtime.

use crate::hooks::{Cause, HookFailed, Tail};
use kernel::{Call, Errno, Failed, numbered};

numbered! {
    /// The phase of init that failed.
    pub enum Phase {
        /// On the way into the namespaces.
        Entry,
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
}

/// The message that init sends to the runtime before it exits.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// In which phase.
    pub phase: Phase,
    /// Which call.
    pub call: Call,
    /// On which element of the phase's plan.
    pub index: u16,
    /// Why.
    pub cause: Cause,
    /// Bytes that only the phase understands.
    pub detail: [u8; 8],
    /// The last bytes that a hook wrote.
    pub tail: Tail,
}

impl Failure {
    /// A failed call: `.map_err(Failure::at(Phase::Process))`.
    pub fn at(phase: Phase) -> impl Fn(Failed) -> Self {
        move |failed| Self {
            phase,
            call: failed.call,
            index: failed.index,
            cause: Cause::Call(failed.errno),
            detail: [0; 8],
            tail: Tail::of(&[]),
        }
    }

    /// The same in one step: `.map_err(Failure::of(Phase::Process, Call::Prctl))`.
    pub fn of(phase: Phase, call: Call) -> impl Fn(Errno) -> Self {
        move |errno| Self::at(phase)(Failed::of(call)(errno))
    }

    /// A failed hook.
    pub fn of_hook(phase: Phase) -> impl Fn(HookFailed) -> Self {
        move |failed| Self {
            phase,
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
