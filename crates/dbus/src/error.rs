//! Errors of a bus.

use kernel::Errno;
use std::time::Duration;

/// Bytes that are not a D-Bus message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

/// An error of a connection or a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that this client cannot reach.
    #[error("bus address {text:?} names no Unix socket")]
    Address {
        /// The address as given.
        text: String,
    },
    /// The connection failed.
    #[error("connect to bus {bus}")]
    Connect {
        /// The address.
        bus: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
    /// The bus refuses this user.
    #[error("bus {bus} refuses this user: it answers {answer:?}")]
    Refused {
        /// The address.
        bus: String,
        /// Its answer.
        answer: String,
    },
    /// No answer came in time.
    #[error("bus {bus} did not answer within {waited:?} ({what})")]
    Stuck {
        /// The address.
        bus: String,
        /// The awaited event.
        what: String,
        /// The time waited.
        waited: Duration,
    },
    /// The other end closed the connection.
    #[error("bus {bus} closed the connection ({what})")]
    Closed {
        /// The address.
        bus: String,
        /// The awaited event.
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
    /// The received bytes are not a message.
    #[error("bus {bus} sent an invalid message: {why}")]
    Malformed {
        /// The address.
        bus: String,
        /// What is wrong with it.
        why: Malformed,
    },
    /// The called service returned an error.
    #[error("{message} ({name})")]
    Answer {
        /// The error's name, as "org.freedesktop.DBus.Error.Failed".
        name: String,
        /// The error's text.
        message: String,
    },
}

impl Error {
    /// The name of the error that the called service returned.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Answer { name, .. } => Some(name),
            _ => None,
        }
    }
}
