//! The conversation with one CRIU process.
//!
//! `criu swrk N` serves one request from the socket N, which it inherits. At certain points it
//! sends a notice and waits for an answer.

use crate::error::Error;
use crate::request::{self, Options, Task};
use crate::response::{NOTIFY, Notice, Response};
use kernel::clone::pidfd_open;
use kernel::process::{POLL_IN, in_monotonic_ms, monotonic_ms, poll, poll_in, set_close_on_exec};
use kernel::signal::SignalFd;
use kernel::{Errno, socket};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The oldest version that makes the mounts of an image apart from the host's, so that no link of
/// the image leads there.
pub(crate) const MINIMUM: Version = Version {
    major: 3,
    minor: 17,
    patch: 0,
};

/// The oldest version that saves no_new_privs.
pub const SAVES_NO_NEW_PRIVILEGES: Version = Version {
    major: 3,
    minor: 19,
    patch: 0,
};

/// No answer of CRIU is longer.
const LONGEST: usize = 64 << 10;

/// How long CRIU may take for what it does at once: to say its version, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A version of CRIU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.patch {
            0 => Ok(()),
            patch => write!(f, ".{patch}"),
        }
    }
}

/// A CRIU process that waits for its request.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// Tells the end of the child. The socket does not: processes that CRIU makes inherit it.
    pidfd: OwnedFd,
    socket: OwnedFd,
}

impl Worker {
    /// Starts one. It inherits the standard streams and, under their numbers, `inherited`. Other
    /// descriptors must be close-on-exec.
    ///
    /// # Errors
    /// [`Error::Missing`]: PATH has no `criu`. [`Error::Run`], [`Error::Link`].
    pub fn start(inherited: &[BorrowedFd<'_>]) -> Result<Self, Error> {
        Self::start_with(inherited, Stdio::inherit)
    }

    fn start_with(inherited: &[BorrowedFd<'_>], output: fn() -> Stdio) -> Result<Self, Error> {
        let link = |errno| Error::Link { errno };
        let (own, other) = socket::pair().map_err(link)?;
        for fd in inherited.iter().copied().chain([other.as_fd()]) {
            set_close_on_exec(fd, false).map_err(link)?;
        }
        let child = Command::new("criu")
            .arg("swrk")
            .arg(other.as_raw_fd().to_string())
            .stdin(output())
            .stdout(output())
            .stderr(output())
            .spawn();
        for fd in inherited {
            set_close_on_exec(*fd, true).map_err(link)?;
        }
        match child {
            Ok(mut child) => match pidfd_open(child.id().cast_signed()) {
                Ok(pidfd) => Ok(Self {
                    child,
                    pidfd,
                    socket: own,
                }),
                Err(errno) => {
                    let _ended_already = child.kill().and_then(|()| child.wait());
                    Err(Error::Link { errno })
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Missing),
            Err(error) => Err(Error::Run(error)),
        }
    }

    /// Its pid in this process's PID namespace.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Has the task done, and waits until CRIU has ended. `serve` is called for every notice, with
    /// the descriptor that came with it; when it fails, CRIU undoes its work. A signal at
    /// `interrupts` ends CRIU. Returns the pid of the restored process.
    ///
    /// # Errors
    /// The error of `serve`, or why CRIU has failed.
    pub fn ask<E: From<Error>>(
        mut self,
        task: Task,
        options: &Options,
        interrupts: Option<&SignalFd>,
        mut serve: impl FnMut(&Notice, Option<OwnedFd>) -> Result<(), E>,
    ) -> Result<Option<i32>, E> {
        let request = request::with_options(task, options);
        self.send(&request, task, interrupts)?;
        let mut refused = None;
        let done = self.converse(task, interrupts, |notice, fd| {
            let served = serve(notice, fd);
            let answer = request::noticed(served.is_ok());
            refused = refused.take().or(served.err());
            answer
        });
        // A refusal may have ended CRIU.
        if let Some(error) = refused {
            return Err(error);
        }
        let done = done?;
        if !done.success {
            return Err(failed(task, &done).into());
        }
        self.finish(task, interrupts)?;
        Ok(done.restored)
    }

    /// Answers notices until the last response comes.
    fn converse(
        &mut self,
        task: Task,
        interrupts: Option<&SignalFd>,
        mut serve: impl FnMut(&Notice, Option<OwnedFd>) -> Vec<u8>,
    ) -> Result<Response, Error> {
        loop {
            let (response, fd) = self.receive(task, interrupts, None)?;
            match (response.kind, &response.notice) {
                (NOTIFY, Some(notice)) => {
                    let answer = serve(notice, fd);
                    self.send(&answer, task, interrupts)?;
                }
                (kind, _) if kind == task.number() || !response.success => return Ok(response),
                _ => return Err(Error::Malformed { task }),
            }
        }
    }

    fn send(
        &mut self,
        request: &[u8],
        task: Task,
        interrupts: Option<&SignalFd>,
    ) -> Result<(), Error> {
        match socket::send(self.socket.as_fd(), request) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.died(task, interrupts)),
            Err(errno) => Err(Error::Link { errno }),
        }
    }

    /// Waits for a response, at most `limit` (`None`: no limit).
    fn receive(
        &mut self,
        task: Task,
        interrupts: Option<&SignalFd>,
        limit: Option<Duration>,
    ) -> Result<(Response, Option<OwnedFd>), Error> {
        let deadline = limit.map(in_monotonic_ms);
        // What it has sent before its end counts.
        if !self.wait(task, interrupts, deadline, true)? {
            return Err(self.died(task, interrupts));
        }
        let mut buffer = vec![0; LONGEST];
        match socket::receive_with_fd(self.socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Err(self.died(task, interrupts)),
            Ok((length, fd)) => {
                let bytes = buffer.get(..length).ok_or(Error::Malformed { task })?;
                let response = Response::read(bytes).map_err(|_bytes| Error::Malformed { task })?;
                Ok((response, fd))
            }
            Err(errno) => Err(Error::Link { errno }),
        }
    }

    /// Waits until CRIU has ended, or, if it `may_speak`, until there is something to read. Returns
    /// whether there is.
    fn wait(
        &self,
        task: Task,
        interrupts: Option<&SignalFd>,
        deadline: Option<u64>,
        may_speak: bool,
    ) -> Result<bool, Error> {
        let number = |signals: &SignalFd| signals.as_fd().as_raw_fd();
        // poll(2) skips negative numbers.
        let socket = if may_speak {
            self.socket.as_raw_fd()
        } else {
            -1
        };
        let mut fds = [
            poll_in(socket),
            poll_in(interrupts.map_or(-1, number)),
            poll_in(self.pidfd.as_raw_fd()),
        ];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(monotonic_ms()));
            let count = match poll(&mut fds, left) {
                Err(Errno::EINTR) => continue,
                polled => polled.map_err(|errno| Error::Link { errno })?,
            };
            if let Some(Ok(Some(signal))) = interrupts.map(SignalFd::next) {
                return Err(Error::Interrupted { signal });
            }
            if fds[0].revents & POLL_IN != 0 {
                return Ok(true);
            }
            if fds[0].revents | fds[2].revents != 0 {
                return Ok(false);
            }
            if count == 0 {
                let seconds = PATIENCE.as_secs();
                return Err(Error::Hangs { task, seconds });
            }
        }
    }

    /// Waits a moment for its end; it has nothing to do any more.
    fn ended(&mut self, task: Task, interrupts: Option<&SignalFd>) -> Result<ExitStatus, Error> {
        let deadline = Some(in_monotonic_ms(PATIENCE));
        self.wait(task, interrupts, deadline, false)?;
        self.child.wait().map_err(Error::Run)
    }

    /// It has closed its socket, or has ended.
    fn died(&mut self, task: Task, interrupts: Option<&SignalFd>) -> Error {
        match self.ended(task, interrupts) {
            Ok(status) => Error::Died { task, status },
            Err(error) => error,
        }
    }

    /// Waits for its end. After a pre-dump it would wait for the next request.
    fn finish(&mut self, task: Task, interrupts: Option<&SignalFd>) -> Result<(), Error> {
        if task == Task::PreDump {
            self.child.kill().map_err(Error::Run)?;
        }
        let status = self.ended(task, interrupts)?;
        match task == Task::PreDump || status.success() {
            true => Ok(()),
            false => Err(Error::Died { task, status }),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After an error. Nothing happens to a process that was waited for.
        let _ended_already = self.child.kill();
        let _waited_already = self.child.wait();
    }
}

fn failed(task: Task, response: &Response) -> Error {
    let message = response.message.as_deref().unwrap_or_default().trim();
    // Its own limits are no cause. The log has the cause.
    let message = if message.contains("rlimit:") {
        ""
    } else {
        message
    };
    Error::Failed {
        task,
        errno: response.errno,
        reason: match message {
            "" => String::new(),
            message => format!(": {message}"),
        },
    }
}

/// Checks the version of CRIU, which it returns, and that the kernel has what the options need.
/// CRIU has ten seconds for each answer; a signal at `interrupts` ends it.
///
/// # Errors
/// [`Error::TooOld`], [`Error::NoFeature`]; [`Error::Missing`]; [`Error::Hangs`].
pub fn require(
    tracks_memory: Option<&'static str>,
    is_lazy: bool,
    interrupts: Option<&SignalFd>,
) -> Result<Version, Error> {
    let question = request::plain(Task::Version);
    let version = answer(Task::Version, &question, interrupts)?.version;
    let found = version.ok_or(Error::Malformed {
        task: Task::Version,
    })?;
    if found < MINIMUM {
        return Err(Error::TooOld { found });
    }
    if tracks_memory.is_none() && !is_lazy {
        return Ok(found);
    }
    let features = answer(Task::Features, &request::features(), interrupts)?;
    if let Some(option) = tracks_memory
        && !features.tracks_memory
    {
        let feature = "the tracking of changed memory (CONFIG_MEM_SOFT_DIRTY)";
        return Err(Error::NoFeature { option, feature });
    }
    if is_lazy && !features.has_lazy_pages {
        let feature = "userfaultfd for other processes' memory (CONFIG_USERFAULTFD)";
        let option = "--lazy-pages";
        return Err(Error::NoFeature { option, feature });
    }
    Ok(found)
}

/// Has one question without options answered.
fn answer(task: Task, request: &[u8], interrupts: Option<&SignalFd>) -> Result<Response, Error> {
    let mut worker = Worker::start_with(&[], Stdio::null)?;
    worker.send(request, task, interrupts)?;
    let (response, _none) = worker.receive(task, interrupts, Some(PATIENCE))?;
    match response.success && response.kind == task.number() {
        true => Ok(response),
        false => Err(failed(task, &response)),
    }
}
