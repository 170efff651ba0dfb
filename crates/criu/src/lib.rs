//! CRIU as a service: one request to `criu swrk` over a socket pair.
//!
//! CRIU saves a tree of processes as image files and makes it again from them. This crate has the
//! messages of its protocol, the conversation, and a reader for the image file of mounts. It does
//! not decide what is asked. Sources: `images/rpc.proto` and `images/mnt.proto` of CRIU, and
//! <https://criu.org/RPC>.

#![forbid(unsafe_code)]

mod error; // what can go wrong
mod image; // the mounts of an image
mod request; // what CRIU is asked
mod response; // what CRIU answers
mod wire; // the encoding of Protocol Buffers
mod worker; // the conversation with one CRIU process

pub use error::Error;
pub use image::{Image, ImageError, MountEntry, mount_kind};
pub use request::{CgroupMode, Options, PageServer, Task};
pub use response::Notice;
pub use worker::{SAVES_NO_NEW_PRIVILEGES, Version, Worker, require};
