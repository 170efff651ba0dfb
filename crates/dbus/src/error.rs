//! What can go wrong with a bus.

use kernel::Errno;
use std::time::Duration;

/// Bytes that are no D-Bus message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

/// A failure of a connection or a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that this client cannot reach.
    #[error("bus address {text:?} names no Unix socket")]
    Address {
        /// As given.
        text: String,
    },
    /// Nobody listens, or not for us.
    #[error("connect to bus {bus}")]
    Connect {
        /// The address.
        bus: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The bus does not take this user.
    #[error("bus {bus} refuses this user: it answers {answer:?}")]
    Refused {
        /// The address.
        bus: String,
        /// What it said.
        answer: String,
    },
    /// Nothing came in time.
    #[error("bus {bus} did not answer within {waited:?} ({what})")]
    Stuck {
        /// The address.
        bus: String,
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// The other end is gone.
    #[error("bus {bus} closed the connection ({what})")]
    Closed {
        /// The address.
        bus: String,
        /// What was waited for.
        what: String,
    },
    /// A system call on the socket failed.
    #[error("talk to bus {bus}")]
    Socket {
        /// The address.
        bus: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// What came is no message.
    #[error("bus {bus} sent an invalid message: {why}")]
    Malformed {
        /// The address.
        bus: String,
        /// What is wrong with it.
        why: Malformed,
    },
    /// The called one refuses.
    #[error("{message} ({name})")]
    Answer {
        /// The error's name, as "org.freedesktop.DBus.Error.Failed".
        name: String,
        /// Its sentence.
        message: String,
    },
}

impl Error {
    /// The name of the error that the called one has answered with.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Answer { name, .. } => Some(name),
            _ => None,
        }
    }
}
