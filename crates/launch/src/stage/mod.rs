//! The two stages of a creation, one function each.

pub(crate) mod init;
pub(crate) mod runtime;
