//! A small D-Bus client.
//!
//! One connection over a Unix socket: method calls with their replies, and signals. No threads, no
//! event loop: every wait is a poll(2) with a deadline, because a bus that hangs must not block its
//! caller. Received data is checked before it is used: lengths, depth, padding and strings. This
//! crate does not decide which methods are called. Source: the D-Bus specification, version 0.43.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod address; // where a bus is
mod connection; // calls and signals with deadlines
mod decode; // bytes to values
mod encode; // values to bytes
mod error; // what can go wrong
#[cfg(any(test, feature = "fake"))]
pub mod fake; // a bus for tests
mod message; // header and body
mod signature; // types as text
mod value; // the values

pub use address::Address;
pub use connection::{Call, Connection, Deadline, Peer, Signal};
pub use error::{Error, Malformed};
pub use message::{Header, Kind, Message};
pub use signature::Signature;
pub use value::Value;
