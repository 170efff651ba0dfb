//! Whom a command tells of its process: `--pid-file` and `--pidfd-socket`.

use super::pid_file::PidFile;
use crate::error::Error;
use kernel::{Errno, socket};
use launch::Created;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What the message with the pidfd says, as with runc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The container's first process.
    First,
    /// One more.
    Further,
}

/// Those who are told. Everything is open before there is a process.
#[derive(Debug)]
pub(super) struct Told {
    file: Option<PidFile>,
    socket: Option<(PathBuf, OwnedFd)>,
}

impl Told {
    /// Opens the directory of the pid file and connects to the socket.
    pub(super) fn of(file: Option<&Path>, socket: Option<&Path>) -> Result<Self, Error> {
        let connect = |path: &Path| match launch::terminal::connect(path) {
            Ok(connection) => Ok((path.to_owned(), connection)),
            Err(source) => Err(failed(path, "connect")(source)),
        };
        Ok(Self {
            file: file.map(PidFile::at).transpose()?,
            socket: socket.map(connect).transpose()?,
        })
    }

    /// Tells of a process that waits. The descriptor is its own, whatever becomes of its number.
    pub(super) fn tell(&self, created: &Created, role: Role) -> Result<(), Error> {
        if let Some((path, connection)) = &self.socket {
            let text: &[u8] = match role {
                Role::First => b"standard",
                Role::Further => b"setns",
            };
            socket::send_fds(connection.as_fd(), text, &[created.pidfd()])
                .map_err(failed(path, "send the pidfd"))?;
        }
        self.tell_pid(created.pid())
    }

    /// Writes the pid file alone.
    pub(super) fn tell_pid(&self, pid: i32) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(pid))
    }

    /// Removes the pid file of a process that did not come to be; absent is fine.
    pub(super) fn undo(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

fn failed(path: &Path, action: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error::PidfdSocket {
        path: path.to_owned(),
        action,
        source,
    }
}
