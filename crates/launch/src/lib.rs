//! The plan of a container, the two stages that carry it out, and the protocol between them.
//!
//! [`Facts::probe`] collects the facts of this host. [`plan::Plan::lower`] decides everything while
//! a failure is still cheap, and [`plan::Plan::open`] opens the handles of the plan.
//! [`create::launch`] makes one process, init, which carries the plan out ([`stage`]) while the
//! runtime answers its requests. A failure in init is a few bytes ([`failure`]), which the plan
//! turns into a sentence.

#![forbid(unsafe_code)]

pub mod added;
mod attributes;
mod birth;
pub mod create;
pub mod describe;
pub mod exec;
mod facts;
mod failure;
mod home;
pub mod hooks;
mod locks;
mod plan;
mod process;
mod program;
mod protocol;
mod rooms;
mod stage;
pub mod terminal;
mod tree;

pub use create::{Created, START_SOCKET, Started, launch, loopback_up};
pub use facts::Facts;
pub use lsm::Keyring;
pub use plan::{Handles, Plan, Request};

use kernel::Errno;
use kernel::errno::words;
use nix::sys::signal::Signal;
use std::path::PathBuf;

/// Who starts the program when init is ready. `S` is what the command `start` needs: in the runtime
/// the state directory, in init the socket that listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<S> {
    /// The command `start`, which connects to the start socket.
    ByCommand(S),
    /// The runtime that makes the container: [`Created::release`].
    ByRuntime,
}

/// Why a container cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    #[error(transparent)]
    Resctrl(#[from] resctrl::Error),
    #[error(transparent)]
    Network(#[from] network::Error),
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    #[error("unable to apply cgroup configuration")]
    Cgroup(#[source] cgroup::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Config(#[from] spec::Diagnostic),
    #[error("/linux/seccomp/listenerPath: {0}")]
    Listener(String),
    #[error(
        "/linux/seccomp/listenerPath: the listener did not let the container process continue within {} s: the process waits for an answer about a system call that it makes before its program runs; answer all notifications of /linux/seccomp, or see docs/protocol.md for these calls",
        stage::runtime::LISTENER.as_secs()
    )]
    SilentListener,
    #[error("the container process runs without the filter of /linux/seccomp; refused to go on")]
    NoFilter,
    #[error(transparent)]
    HookString(#[from] hooks::NulByte),
    #[error("read {what}: {}", words(*errno))]
    Probe { what: &'static str, errno: Errno },
    #[error("the runtime has more than one thread and must not clone; report this as a bug")]
    Threads,
    #[error("make or connect to {START_SOCKET} in the state directory: {why}")]
    StartSocket { why: String },
    #[error(
        "unable to start container process: make a process with namespaces ({namespaces}): {why}{hint}"
    )]
    Clone {
        namespaces: String,
        why: String,
        hint: String,
    },
    #[error("unable to start container process: {0}")]
    Init(String),
    #[error("unable to start container process: it exited with status {code} while it was set up")]
    InitExited { code: i32 },
    #[error("unable to start container process: it was killed by signal {signal} while it was set up{}", signal_hint(*signal))]
    InitKilled { signal: i32 },
    #[error(
        "unable to start container process: it ran out of memory while it was set up: the limit of its cgroup is {limit} bytes, {peak} were in use; raise /linux/resources/memory/limit"
    )]
    OutOfMemory {
        /// Bytes.
        limit: u64,
        /// Bytes.
        peak: u64,
    },
    #[error("enter the container: {what}: {}", words(*errno))]
    Enter { what: &'static str, errno: Errno },
    #[error("{0}; nothing was added")]
    Added(String),
    #[error("remove the mount at {destination:?}: {}{}", words(*errno), removal_hint(*errno))]
    Removal {
        /// In the container.
        destination: PathBuf,
        /// The kernel's answer; EBUSY: another mount is there, or none.
        errno: Errno,
    },
    #[error("{0}; the mounts of the container may have changed, and none of it is recorded")]
    Unfinished(String),
    #[error("container process is already dead; delete the container")]
    InitGone,
    #[error(
        "container process was killed before its program ran: by `kill` or `delete`, or by the memory limit while its startContainer hooks ran; create the container again"
    )]
    EndedBefore,
    #[error("{0}")]
    Hook(String),
    #[error("interrupted by signal {signal}; nothing is left of the container")]
    Interrupted { signal: i32 },
    #[error("could not exchange messages with the container process: {}", words(*.0))]
    Link(Errno),
    #[error(
        "--console-socket {path:?}: {action}: {why}; it must be a listening stream socket whose owner receives a descriptor"
    )]
    ConsoleSocket {
        path: PathBuf,
        action: &'static str,
        why: String,
    },
    #[error("bring up the loopback link of the new network namespace: {why}")]
    Loopback { why: String },
    #[error("/process/oomScoreAdj: set it to {score}: {why}; lowering it needs CAP_SYS_RESOURCE")]
    OomScore { score: String, why: String },
    #[error(
        "the container process is not in the {kind} namespace of the configuration; refused to go on"
    )]
    WrongNamespace { kind: &'static str },
    #[error("{}; and could not be cleaned up: {left}", kernel::errno::chain(error))]
    Undo { error: Box<Error>, left: String },
}

impl From<cgroup::Error> for Error {
    fn from(error: cgroup::Error) -> Self {
        match error {
            // It names the property.
            cgroup::Error::Config(diagnostic) => Self::Config(diagnostic),
            error => Self::Cgroup(error),
        }
    }
}

fn removal_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EBUSY => "; what was added there is covered by another mount, or was moved",
        _ => "",
    }
}

fn signal_hint(signal: i32) -> &'static str {
    match Signal::try_from(signal) {
        Ok(Signal::SIGKILL) => {
            "; if no process sent it, the memory limit of the cgroup is too small"
        }
        // A process that may not even exit ends by an invalid instruction.
        Ok(Signal::SIGSEGV | Signal::SIGSYS) => {
            "; if /linux/seccomp has a filter, it may forbid a call that the process needs until its program runs, such as execve or exit_group"
        }
        _ => "",
    }
}
