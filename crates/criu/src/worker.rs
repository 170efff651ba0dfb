//! The conversation with one CRIU process.
//!
//! `criu swrk N` serves one request from the socket N, which it inherits. At certain points it
//! sends a notice and waits for an answer.

use crate::error::Error;
use crate::request::{self, Options, Task};
use crate::response::{NOTIFY, Notice, Response};
use kernel::process::{POLL_IN, poll, poll_in, set_close_on_exec};
use kernel::signal::SignalFd;
use kernel::{Errno, socket};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

/// The oldest version whose requests have everything that is asked for: 3.16 can be told the
/// profile and the mount context of security modules.
pub const MINIMUM: Version = Version {
    major: 3,
    minor: 16,
    patch: 0,
};

/// No answer of CRIU is longer.
const LONGEST: usize = 64 << 10;

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
            Ok(child) => Ok(Self { child, socket: own }),
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
        self.send(&request, task)?;
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
        self.finish(task)?;
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
            let (response, fd) = self.receive(task, interrupts)?;
            match (response.kind, &response.notice) {
                (NOTIFY, Some(notice)) => {
                    let answer = serve(notice, fd);
                    self.send(&answer, task)?;
                }
                (kind, _) if kind == task.number() || !response.success => return Ok(response),
                _ => return Err(Error::Malformed { task }),
            }
        }
    }

    fn send(&mut self, request: &[u8], task: Task) -> Result<(), Error> {
        match socket::send(self.socket.as_fd(), request) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.died(task)),
            Err(errno) => Err(Error::Link { errno }),
        }
    }

    fn receive(
        &mut self,
        task: Task,
        interrupts: Option<&SignalFd>,
    ) -> Result<(Response, Option<OwnedFd>), Error> {
        let number = |signals: &SignalFd| signals.as_fd().as_raw_fd();
        loop {
            let mut fds = [
                poll_in(self.socket.as_raw_fd()),
                poll_in(interrupts.map_or(-1, number)),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Link { errno }),
            }
            if let Some(Ok(Some(signal))) = interrupts.map(SignalFd::next) {
                return Err(Error::Interrupted { signal });
            }
            if fds[0].revents & POLL_IN != 0 {
                break;
            }
            if fds[0].revents != 0 {
                return Err(self.died(task));
            }
        }
        let mut buffer = vec![0; LONGEST];
        match socket::receive_with_fd(self.socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Err(self.died(task)),
            Ok((length, fd)) => {
                let bytes = buffer.get(..length).ok_or(Error::Malformed { task })?;
                let response = Response::read(bytes).map_err(|_bytes| Error::Malformed { task })?;
                Ok((response, fd))
            }
            Err(errno) => Err(Error::Link { errno }),
        }
    }

    /// It has closed its socket.
    fn died(&mut self, task: Task) -> Error {
        match self.child.wait() {
            Ok(status) => Error::Died { task, status },
            Err(error) => Error::Run(error),
        }
    }

    /// Waits for its end. After a pre-dump it would wait for the next request.
    fn finish(&mut self, task: Task) -> Result<(), Error> {
        let status = if task == Task::PreDump {
            self.child.kill().and_then(|()| self.child.wait())
        } else {
            self.child.wait()
        };
        let status = status.map_err(Error::Run)?;
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
    Error::Failed {
        task,
        errno: response.errno,
        reason: match message {
            "" => String::new(),
            message => format!(": {message}"),
        },
    }
}

/// Checks the version of CRIU, and that the kernel has what the options need.
///
/// # Errors
/// [`Error::TooOld`], [`Error::NoFeature`]; [`Error::Missing`].
pub fn require(tracks_memory: Option<&'static str>, is_lazy: bool) -> Result<(), Error> {
    let version = answer(Task::Version, &request::plain(Task::Version))?.version;
    let found = version.ok_or(Error::Malformed {
        task: Task::Version,
    })?;
    if found < MINIMUM {
        return Err(Error::TooOld { found });
    }
    if tracks_memory.is_none() && !is_lazy {
        return Ok(());
    }
    let features = answer(Task::Features, &request::features())?;
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
    Ok(())
}

/// Has one question without options answered.
fn answer(task: Task, request: &[u8]) -> Result<Response, Error> {
    let mut worker = Worker::start_with(&[], Stdio::null)?;
    worker.send(request, task)?;
    let (response, _none) = worker.receive(task, None)?;
    match response.success && response.kind == task.number() {
        true => Ok(response),
        false => Err(failed(task, &response)),
    }
}
