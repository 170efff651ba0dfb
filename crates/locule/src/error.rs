//! Why a command has failed.

use crate::commands::update::Misgiven;
use crate::descriptors::Unpreserved;
use crate::state::ContainerId;
use crate::{log, signal, state, status};
use kernel::Errno;
use kernel::errno::chain;
use spec::Diagnostic;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Every error that ends a command. The messages name the action and the object; sources are
/// chained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Refused(#[from] status::Refusal),
    #[error(transparent)]
    Signal(#[from] signal::Unknown),
    #[error(transparent)]
    Log(#[from] log::Unavailable),
    #[error(transparent)]
    Unpreserved(#[from] Unpreserved),
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    #[error(transparent)]
    Resctrl(#[from] resctrl::Error),
    #[error(transparent)]
    Misgiven(#[from] Misgiven),
    #[error("cannot {action} container {id}: it has no cgroup of its own")]
    NoGroup {
        id: ContainerId,
        action: &'static str,
    },
    #[error(
        "container {id} has no mount namespace of its own; its mounts would be those of its creator"
    )]
    NoMountNamespace { id: ContainerId },
    #[error(
        "{destination:?}: `mounts add` has added nothing there, so `mounts remove` removes nothing"
    )]
    NotAdded { destination: PathBuf },
    #[error("no signal given; name it after the id, such as TERM")]
    NoSignal,
    #[error("could not run `ps`")]
    Ps(#[source] io::Error),
    #[error("`ps` failed, {status}: {text}")]
    PsFailed { status: ExitStatus, text: String },
    #[error("`ps` did not print process ids: {reason}; give it options that print the column PID")]
    PsOdd { reason: String },
    #[error("{action} the first process of container {id}")]
    Process {
        id: ContainerId,
        action: &'static str,
        #[source]
        source: Errno,
    },
    #[error("container {id} does not end: its first process has survived SIGKILL for {seconds} s")]
    Survivor { id: ContainerId, seconds: u64 },
    #[error(
        "could not unmount {point:?} of container {id}, which is in the mount namespace of its creator"
    )]
    Mounted {
        id: String,
        point: PathBuf,
        #[source]
        source: Errno,
    },
    #[error("the state directory {path:?} does not exist")]
    NoRoot { path: PathBuf },
    #[error("{path:?} exists: `spec` does not overwrite files; remove it first")]
    SpecExists { path: PathBuf },
    #[error("--pidfd-socket {path:?}: {action}")]
    PidfdSocket {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: Errno,
    },
    #[error("write {path:?}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--pid-file {path:?}: could not write the process id")]
    PidFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "--pid-file {path:?}: it is a {kind}, which a file would replace; name a file, or leave the option out"
    )]
    PidFileKind { path: PathBuf, kind: &'static str },
    #[error("read {path:?}")]
    Facts {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not write to standard output")]
    Print(#[source] io::Error),
    #[error("could not write the answer as JSON")]
    Compose(#[from] serde_json::Error),
    #[error(transparent)]
    Unsealed(#[from] seal::Unsealed),
    #[error("could not protect this process")]
    Harden(#[source] Errno),
    #[error(transparent)]
    Load(#[from] spec::load::LoadError),
    #[error(transparent)]
    Launch(#[from] launch::Error),
    #[error("the saved configuration of the container: {report}")]
    KeptConfig { report: String },
    #[error(
        "/process: the configuration has no process to start; add one to config.json and create the container again"
    )]
    NoProcess,
    #[error("{path:?}")]
    Filter {
        path: PathBuf,
        #[source]
        source: Diagnostic,
    },
    #[error("system call {name:?} is unknown on every architecture")]
    UnknownSyscall { name: String },
    #[error("system call {name:?} does not exist on {arch}, only on {others}")]
    ForeignSyscall {
        name: String,
        arch: &'static str,
        others: String,
    },
    #[error(
        "no command to run; give one after the id (`locule exec ID COMMAND`) or a file with --process"
    )]
    NoCommand,
    #[error(
        "the container's configuration has no process for the options to change; describe the whole process in a file and give it with --process"
    )]
    NoProcessToChange,
    #[error("container not running: it ended before the command ran")]
    EndedMeanwhile {
        #[source]
        source: Box<Self>,
    },
    #[error("--regex {pattern:?}: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("{option}: expected {expected}, found {given:?}")]
    Option {
        option: &'static str,
        given: String,
        expected: &'static str,
    },
    #[error(
        "--cgroup {given:?}: the container has no cgroup of its own, so no cgroup can be below it"
    )]
    NoSubGroup { given: String },
    #[error("--cgroup {given:?}")]
    SubGroup {
        given: String,
        #[source]
        source: cgroup::Error,
    },
    #[error(
        "NOTIFY_SOCKET is {socket:?}: {action}; unset it if the container must not report that it is ready"
    )]
    Notify {
        socket: OsString,
        action: &'static str,
        #[source]
        source: Errno,
    },
    #[error(
        "cannot allocate tty if runc will detach without setting console socket: give --console-socket PATH, a socket that receives the terminal, or ask for no terminal: set `terminal` of the process to false, leave out --tty of `exec`"
    )]
    NoConsoleSocket,
    #[error(
        "cannot use console socket if runc will not detach or allocate tty: leave out --console-socket, or ask for a terminal (set `terminal` of the process to true, or --tty of `exec`) and detach"
    )]
    UnwantedConsoleSocket,
    #[error(transparent)]
    External(#[from] rootfs::ExternalError),
    #[error(transparent)]
    CriuUnusable(#[from] criu::Error),
    #[error("{failure}{said}; CRIU's log is {log:?}")]
    Criu {
        failure: criu::Error,
        said: String,
        log: PathBuf,
    },
    #[error("CRIU needs the rights of the host's root: run the command as root")]
    CriuNeedsRoot,
    #[error(
        "/annotations/org.criu.config: {given:?}: CRIU runs programs that such a file names, so it must be a regular file below /etc/criu, without links"
    )]
    CriuConfig {
        given: String,
        #[source]
        source: io::Error,
    },
    #[error("{option}: {action} the directory {path:?}")]
    ImageDirectory {
        option: &'static str,
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--parent-path must be relative to --image-path, found {path:?}")]
    AbsoluteParent { path: PathBuf },
    #[error("invalid --parent-path: {path:?} is no directory relative to --image-path")]
    ParentPath {
        path: PathBuf,
        #[source]
        source: Errno,
    },
    #[error(
        "invalid --status-fd argument {number}: the caller has not opened this descriptor for writing"
    )]
    StatusFd {
        number: u32,
        #[source]
        source: Errno,
    },
    #[error("look at the namespaces of the container")]
    Look(#[source] io::Error),
    #[error(transparent)]
    Image(#[from] criu::ImageError),
    #[error("the image has a mount at {point:?} that is refused: {reason}")]
    ImageMount { point: String, reason: &'static str },
    #[error("{pointer}: the container cannot be restored: {reason}")]
    Unrestorable {
        pointer: &'static str,
        reason: &'static str,
    },
    #[error("{action} {path:?} for the restore")]
    Stage {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: Errno,
    },
    #[error(
        "a restore needs Linux 5.15 or newer: on this kernel CRIU would follow links of the image out of the container's root"
    )]
    MountsOutside,
    #[error(
        "{path:?} has the option mntns-compat-mode, with which CRIU would follow links of the image out of the container's root; remove it there"
    )]
    CriuCompatible { path: PathBuf },
    #[error(
        "the container runs on, because its checkpoint could not be restored; --leave-running makes one all the same"
    )]
    WouldBeLost(#[source] Box<Error>),
    #[error("map the ids of {path:?} for the restore")]
    StageIdMap {
        path: PathBuf,
        #[source]
        source: rootfs::IdMapError,
    },
    #[error("the restored process {0}; refused to go on")]
    Restored(String),
    #[error("criu failed: type RESTORE: there is no restored process")]
    NotRestored,
    #[error("`init` is an internal command; make a container with `locule create` or `locule run`")]
    InitByHand,
}

impl Error {
    /// A stable name for logs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::State(error) => error.code(),
            Self::Refused(_) | Self::EndedMeanwhile { .. } => "status",
            Self::Signal(_) => "unknown-signal",
            Self::Log(_) => "log",
            Self::Cgroup(_)
            | Self::NoGroup { .. }
            | Self::NoSubGroup { .. }
            | Self::SubGroup { .. } => "cgroup",
            Self::Resctrl(_) => "resctrl",
            Self::Misgiven(_) => "limit",
            Self::Ps(_) | Self::PsFailed { .. } | Self::PsOdd { .. } => "ps",
            Self::Process { .. } => "process",
            Self::Survivor { .. } => "survivor",
            Self::Mounted { .. } => "mounted",
            Self::NoMountNamespace { .. } | Self::NotAdded { .. } => "mounts",
            Self::NoRoot { .. } => "state-root",
            Self::SpecExists { .. } => "exists",
            Self::Write { .. }
            | Self::PidFile { .. }
            | Self::PidFileKind { .. }
            | Self::PidfdSocket { .. }
            | Self::Print(_) => "write",
            Self::Compose(_) => "compose",
            Self::Load(_)
            | Self::Facts { .. }
            | Self::KeptConfig { .. }
            | Self::NoProcess
            | Self::Unrestorable { .. }
            | Self::CriuConfig { .. } => "config",
            Self::Filter { .. } => "filter",
            Self::UnknownSyscall { .. } | Self::ForeignSyscall { .. } => "unknown-syscall",
            Self::Launch(_) => "launch",
            Self::Notify { .. } => "notify",
            Self::Unsealed(_) | Self::Harden(_) => "harden",
            Self::Criu { .. }
            | Self::CriuUnusable(_)
            | Self::CriuNeedsRoot
            | Self::NotRestored
            | Self::MountsOutside
            | Self::CriuCompatible { .. } => "criu",
            Self::WouldBeLost(why) => why.code(),
            Self::Image(_)
            | Self::ImageMount { .. }
            | Self::Stage { .. }
            | Self::StageIdMap { .. }
            | Self::Restored(_)
            | Self::External(_)
            | Self::ImageDirectory { .. }
            | Self::Look(_) => "image",
            Self::InitByHand
            | Self::AbsoluteParent { .. }
            | Self::ParentPath { .. }
            | Self::StatusFd { .. }
            | Self::Unpreserved(_)
            | Self::NoCommand
            | Self::NoSignal
            | Self::NoConsoleSocket
            | Self::UnwantedConsoleSocket
            | Self::NoProcessToChange
            | Self::Pattern { .. }
            | Self::Option { .. } => "usage",
        }
    }

    /// The whole chain, outermost first.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// Whether the reader of standard output still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It exists, as far as the kernel says.
    Present,
    /// It has closed its end of the pipe.
    Gone,
}

/// Prints an answer on stdout. It is no error if the reader has closed the pipe
/// (`locule list | head -1`).
pub(crate) fn print<T: AsRef<[u8]> + ?Sized>(answer: &T) -> Result<(), Error> {
    print_part(answer).map(|_reader| ())
}

/// Prints a part of an answer on stdout.
pub(crate) fn print_part<T: AsRef<[u8]> + ?Sized>(part: &T) -> Result<Reader, Error> {
    use io::Write;
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(part.as_ref())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::Print(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_answers_is_said_in_the_words_that_engines_look_for() {
        let id = ContainerId::new("box").unwrap();
        let process = Error::Process {
            id,
            action: "signal",
            source: Errno::EPERM,
        };
        assert_eq!(
            process.chain(),
            "signal the first process of container box: operation not permitted"
        );
        let write = Error::Write {
            path: "/x".into(),
            source: io::Error::from_raw_os_error(nix::libc::ENOENT),
        };
        assert_eq!(write.chain(), "write \"/x\": no such file or directory");
        let other = Error::Print(io::Error::other("Odd"));
        assert_eq!(other.chain(), "could not write to standard output: Odd");
    }
}
