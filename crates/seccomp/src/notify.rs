//! The listener of SCMP_ACT_NOTIFY: the message for it, and how it is sent.
//!
//! The runtime connects to `listenerPath` and sends one message, the container process state of the
//! specification, together with the descriptor that seccomp(2) returned. Lowering writes all of the
//! message except the process id. The runtime does not wait for an answer of the listener: if the
//! listener ends, the kernel answers the calls with ENOSYS. Source:
//! config-linux.md#containerprocessstate.

use kernel::{Errno, socket};
use serde_json::Value;
use spec::VERSION;
use spec::state::StateText;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the descriptor in `fds`.
pub(crate) const FD_NAME: &str = "seccompFd";

/// The longest path of a socket, in bytes. See unix(7).
const PATH_MAX: usize = 107;

/// The receiver of the descriptor, and the message that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    path: PathBuf,
    /// The message around the container's pid and the process's pid.
    parts: [String; 3],
}

/// Why the descriptor did not reach the listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SendError {
    #[error("failed to connect with seccomp agent {path:?}")]
    Connect {
        path: PathBuf,
        #[source]
        source: Errno,
    },
    #[error("send the seccomp descriptor to the listener {path:?}")]
    Send {
        path: PathBuf,
        #[source]
        source: Errno,
    },
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

impl Listener {
    /// Writes the message.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the path.
    pub fn new(path: PathBuf, metadata: Option<&str>, state: &StateText) -> Result<Self, String> {
        if !path.is_absolute() {
            return Err(format!("the listener's path {path:?} is not absolute"));
        }
        let length = path.as_os_str().len();
        if length > PATH_MAX {
            return Err(format!(
                "the path of a socket has at most {PATH_MAX} bytes, not {length}"
            ));
        }
        let metadata =
            metadata.map_or_else(String::new, |text| format!("\"metadata\":{},", json(text)));
        let version = json(VERSION);
        let StateText { prefix, suffix } = state;
        let head = format!(
            "{{\"ociVersion\":{version},\"fds\":[\"{FD_NAME}\"],{metadata}\"state\":{prefix}"
        );
        Ok(Self {
            path,
            parts: [head, format!("{suffix},\"pid\":"), "}".into()],
        })
    }

    /// The path of the listener's socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The message for a process of a container; both ids as the runtime sees them.
    pub fn message(&self, container: i32, process: i32) -> String {
        let [head, middle, tail] = &self.parts;
        format!("{head}{container}{middle}{process}{tail}")
    }

    /// Hands `fd` to the listener, in the runtime. Waits at most `timeout` for the connection, and
    /// again for the message. The caller closes its own copy in every case.
    pub fn send(
        &self,
        fd: BorrowedFd<'_>,
        (container, process): (i32, i32),
        timeout: Duration,
    ) -> Result<(), SendError> {
        let path = || self.path.clone();
        let connection =
            socket::connect_within(&self.path, timeout).map_err(|source| SendError::Connect {
                path: path(),
                source,
            })?;
        let message = self.message(container, process);
        socket::send_fds(connection.as_fd(), message.as_bytes(), &[fd]).map_err(|source| {
            SendError::Send {
                path: path(),
                source,
            }
        })
    }
}
