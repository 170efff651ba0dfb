//! Errors of a bus.

use kernel::Errno;
use std::time::Duration;

/// Bytes that are not a D-Bus message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) &'static str);

/// An error of a connection or a call.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("bus address {text:?} names no Unix socket")]
    Address { text: String },
    #[error("connect to bus {bus}")]
    Connect {
        bus: String,
        #[source]
        source: Errno,
    },
    #[error("bus {bus} refuses this user: it answers {answer:?}")]
    Refused { bus: String, answer: String },
    #[error("bus {bus} did not answer within {waited:?} ({what})")]
    Stuck {
        bus: String,
        what: String,
        waited: Duration,
    },
    #[error("bus {bus} closed the connection ({what})")]
    Closed { bus: String, what: String },
    #[error("talk to bus {bus}")]
    Socket {
        bus: String,
        #[source]
        source: Errno,
    },
    #[error("bus {bus} sent an invalid message: {why}")]
    Malformed { bus: String, why: Malformed },
    #[error("{message} ({name})")]
    Answer {
        /// The error's name, as "org.freedesktop.DBus.Error.Failed".
        name: String,
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
