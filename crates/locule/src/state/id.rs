//! Names of containers.

use super::Error;
use std::fmt;

/// A checked name: `[A-Za-z0-9_+.-]+`, at most 255 bytes (a file name), neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContainerId(String);

impl ContainerId {
    /// Checks a name.
    pub(crate) fn new(id: &str) -> Result<Self, Error> {
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        let reason = if id.is_empty() {
            "it is empty"
        } else if id.len() > 255 {
            "it is longer than 255 bytes"
        } else if id == "." || id == ".." {
            "it is a name of every directory"
        } else if !id.bytes().all(permitted) {
            "only letters, digits and _ + - . are permitted"
        } else {
            return Ok(Self(id.to_owned()));
        };
        Err(Error::Id {
            id: id.chars().take(64).collect(),
            reason,
        })
    }

    /// As typed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
