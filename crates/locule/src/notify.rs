//! NOTIFY_SOCKET: a container that tells its unit of systemd that it is ready. See [sd_notify(3)].
//!
//! The container gets a socket of its own: in the directory `notify` of its state entry, bound
//! read-only to /run/notify. This process forwards only one message to the caller's socket: that
//! the container is ready, with the pid that the unit shall watch. The runtime decides the pid.
//! Descriptors that come with a message are dropped.
//!
//! [sd_notify(3)]: https://man7.org/linux/man-pages/man3/sd_notify.3.html

use crate::commands::create::INTERRUPTS;
use crate::error::Error;
use kernel::process::{PollFd, poll_in, poll_out};
use kernel::signal::SignalFd;
use kernel::{Errno, pipe, socket};
use nix::poll::{self, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use spec::Container;
use spec::container::Mount;
use std::env;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, absolute};
use std::time::Duration;

/// The directory in the state entry, and in /run of the container.
const DIRECTORY: &str = "notify";
/// The socket in it.
const SOCKET: &str = "notify.sock";
/// Where a container finds it, as with runc.
const INSIDE: &str = "/run/notify";

/// The longest message that is read, bytes. A readiness message is shorter.
const LONGEST: usize = 4096;

/// How long systemd may take to read the message.
const PATIENCE: Duration = Duration::from_secs(30);

/// The caller's socket.
#[derive(Debug)]
pub(crate) struct Host(OsString);

/// Forwards the message that a container is ready.
#[derive(Debug)]
pub(crate) struct Proxy {
    host: Host,
    /// Connected to the caller's socket.
    unit: OwnedFd,
    /// The container's.
    container: OwnedFd,
    /// Whether the container has said that it is ready.
    is_ready: bool,
}

impl Host {
    /// What NOTIFY_SOCKET names, if it is set.
    pub(crate) fn of_caller() -> Option<Self> {
        env::var_os("NOTIFY_SOCKET")
            .filter(|name| !name.is_empty())
            .map(Self)
    }

    fn connect(&self) -> Result<OwnedFd, Errno> {
        match self.0.as_bytes() {
            [b'@', name @ ..] => socket::connect_datagrams(name, true, PATIENCE),
            [b'/', ..] => socket::connect_datagrams(self.0.as_bytes(), false, PATIENCE),
            // A socket of another kind (vsock), which is for virtual machines.
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> Error {
        let socket = self.0.clone();
        move |source| Error::Notify {
            socket: socket.clone(),
            action,
            source,
        }
    }
}

/// Makes the directory of the socket in the entry `entry` at `path`, and adds its mount to the
/// container.
pub(crate) fn offer(
    host: &Host,
    entry: BorrowedFd<'_>,
    path: &Path,
    container: &mut Container,
) -> Result<(), Error> {
    let failed = host.failed("make a directory for the container's socket");
    let Some(process) = &mut container.process else {
        return Ok(());
    };
    // Independent of the umask: the container's user must find the socket.
    let mode = Mode::from_bits_truncate(0o755);
    mkdirat(entry, DIRECTORY, mode).map_err(&failed)?;
    fchmodat(entry, DIRECTORY, mode, FchmodatFlags::FollowSymlink).map_err(&failed)?;
    let source = absolute(path.join(DIRECTORY)).map_err(|_no_directory| failed(Errno::ENOENT))?;
    process
        .env
        .retain(|entry| !entry.starts_with("NOTIFY_SOCKET="));
    process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    let options = ["bind", "nosuid", "nodev", "noexec", "ro"];
    container.mounts.push(Mount {
        destination: INSIDE.into(),
        kind: Some("bind".to_owned()),
        source: Some(source),
        options: options.map(str::to_owned).to_vec(),
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
    });
    Ok(())
}

impl Proxy {
    /// Makes the socket in `entry`, if [`offer`] was called. `None`: it was not.
    ///
    /// # Errors
    /// The caller's socket has no receiver, or the container's socket cannot be made.
    pub(crate) fn listen(host: Host, entry: BorrowedFd<'_>) -> Result<Option<Self>, Error> {
        let directory = match crate::state::subdirectory(entry, DIRECTORY) {
            Ok(directory) => directory,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => {
                return Err(host.failed("open the directory of the container's socket")(
                    errno,
                ));
            }
        };
        let unit = host.connect().map_err(host.failed("connect to it"))?;
        let make = || {
            // It is from a start that has failed.
            match unlinkat(&directory, SOCKET, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
            let container = socket::receive_at(directory.as_fd(), SOCKET)?;
            // The container's user has another id.
            let mode = Mode::from_bits_truncate(0o777);
            fchmodat(&directory, SOCKET, mode, FchmodatFlags::FollowSymlink)?;
            Ok(container)
        };
        let container = make().map_err(host.failed("make the container's socket"))?;
        Ok(Some(Self {
            host,
            unit,
            container,
            is_ready: false,
        }))
    }

    /// What [`Proxy::advance`] waits for: a message of the container, then room for that to the
    /// unit.
    pub(crate) fn awaits(&self) -> PollFd {
        match self.is_ready {
            false => poll_in(self.container.as_raw_fd()),
            true => poll_out(self.unit.as_raw_fd()),
        }
    }

    /// Forwards the message that the container is ready, as far as that is possible without a wait:
    /// the caller of `run` must not wait for a unit that does not read. `pid` is the process that
    /// the unit shall watch. Returns whether the message is sent.
    pub(crate) fn advance(&mut self, pid: u32) -> Result<bool, Error> {
        self.is_ready = self.is_ready || self.takes_ready()?;
        if !self.is_ready {
            return Ok(false);
        }
        match socket::send_now(self.unit.as_fd(), message(pid).as_bytes()) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(self.host.failed(REPORT)(errno)),
        }
    }

    /// Reads one message, if there is one. Returns whether it says that the container is ready.
    fn takes_ready(&self) -> Result<bool, Error> {
        let mut message = [0; LONGEST];
        match socket::receive(self.container.as_fd(), &mut message) {
            Ok(length) => Ok(message.get(..length).is_some_and(says_ready)),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(self.host.failed("read the container's message")(errno)),
        }
    }

    /// Reports to the unit that the container is ready, and that `pid` is the process to watch.
    ///
    /// # Errors
    /// The caller's socket does not accept the message in time.
    fn tell(&self, pid: u32) -> Result<(), Error> {
        socket::send(self.unit.as_fd(), message(pid).as_bytes()).map_err(self.host.failed(REPORT))
    }

    /// Waits until the container is ready or `process`, whose pid is `pid`, has ended. Reports
    /// readiness, and waits until systemd has read the message: systemd ignores the message of a
    /// process that has ended.
    ///
    /// # Errors
    /// As [`Proxy::takes_ready`] and [`Proxy::tell`]; EINTR: a signal has ended the wait, and the
    /// container runs on.
    pub(crate) fn until_ready(self, process: BorrowedFd<'_>, pid: u32) -> Result<(), Error> {
        // `run` has blocked these signals while it made the container.
        let interrupts = SignalFd::block(&INTERRUPTS).map_err(Error::Harden)?;
        loop {
            let mut fds = [self.container.as_fd(), process, interrupts.as_fd()]
                .map(|fd| poll::PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.host.failed("wait for the container")(errno)),
            }
            let [news, ended, interrupted] = fds.map(|fd| fd.any() == Some(true));
            if news && self.takes_ready()? {
                self.tell(pid)?;
                return self.barrier();
            }
            if ended && !news {
                return Ok(());
            }
            if interrupted && let Ok(Some(_signal)) = interrupts.next() {
                return Err(self.host.failed("wait for the container")(Errno::EINTR));
            }
        }
    }

    /// BARRIER=1: systemd closes the descriptor when it has read all that came before.
    fn barrier(&self) -> Result<(), Error> {
        let failed = self.host.failed("wait until the message is read");
        let pipe = pipe::pipe().map_err(&failed)?;
        socket::send_fds(self.unit.as_fd(), b"BARRIER=1", &[pipe.write.as_fd()])
            .map_err(&failed)?;
        drop(pipe.write);
        let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        let mut fds = [poll::PollFd::new(pipe.read.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => Err(failed(Errno::ETIMEDOUT)),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// What is done with the message, for an error.
const REPORT: &str = "report that the container is ready";

fn message(pid: u32) -> String {
    format!("MAINPID={pid}\nREADY=1\n")
}

/// Whether one of the assignments is that the service is ready.
fn says_ready(message: &[u8]) -> bool {
    message
        .split(|byte| *byte == b'\n')
        .any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_ready_on_a_line_of_its_own() {
        for message in ["READY=1", "READY=1\n", "STATUS=up\nREADY=1\nMAINPID=1"] {
            assert!(says_ready(message.as_bytes()), "{message:?}");
        }
        for message in [
            "",
            "READY=0",
            "READY=10",
            "XREADY=1",
            "STATUS=READY=1",
            "READY=1 ",
        ] {
            assert!(!says_ready(message.as_bytes()), "{message:?}");
        }
    }
}
