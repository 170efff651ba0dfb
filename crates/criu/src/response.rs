//! What CRIU answers: the message `criu_resp` of its protocol.

use crate::wire::{Malformed, Reader};
use crate::worker::Version;

/// The type of a notice, among those of requests.
pub(crate) const NOTIFY: u64 = 6;

/// A point that CRIU has reached. It waits until the notice is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The name: `post-dump`, `setup-namespaces`, `post-restore`, `orphan-pts-master` ...
    pub script: String,
    /// The first process of the tree, where there is one.
    pub pid: Option<i32>,
}

/// One answer. Absent fields have the values of an empty message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) kind: u64,
    pub(crate) success: bool,
    pub(crate) errno: i32,
    pub(crate) message: Option<String>,
    /// The restored process.
    pub(crate) restored: Option<i32>,
    pub(crate) notice: Option<Notice>,
    pub(crate) tracks_memory: bool,
    pub(crate) has_lazy_pages: bool,
    pub(crate) version: Option<Version>,
}

impl Response {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut response = Self::default();
        for field in Reader::new(bytes) {
            let (number, value) = field?;
            match number {
                1 => response.kind = value.number(),
                2 => response.success = value.number() != 0,
                4 => response.restored = Some(number_at(value.bytes(), 1)?.unwrap_or(0)),
                5 => response.notice = Some(notice(value.bytes())?),
                7 => response.errno = value.signed(),
                8 => {
                    let feature = |field| Ok(number_at(value.bytes(), field)?.unwrap_or(0) != 0);
                    response.tracks_memory = feature(1)?;
                    response.has_lazy_pages = feature(2)?;
                }
                9 => response.message = Some(value.text()),
                10 => response.version = Some(version(value.bytes())?),
                _ => {}
            }
        }
        Ok(response)
    }
}

/// The number in one field of a message.
fn number_at(bytes: &[u8], wanted: u32) -> Result<Option<i32>, Malformed> {
    let mut found = None;
    for field in Reader::new(bytes) {
        let (number, value) = field?;
        if number == wanted {
            found = Some(value.signed());
        }
    }
    Ok(found)
}

fn notice(bytes: &[u8]) -> Result<Notice, Malformed> {
    let mut script = String::new();
    for field in Reader::new(bytes) {
        if let (1, value) = field? {
            script = value.text();
        }
    }
    let pid = number_at(bytes, 2)?;
    Ok(Notice { script, pid })
}

fn version(bytes: &[u8]) -> Result<Version, Malformed> {
    let part = |field| {
        let number = number_at(bytes, field)?.unwrap_or(0);
        Ok(u32::try_from(number).unwrap_or(0))
    };
    Ok(Version {
        major: part(1)?,
        minor: part(2)?,
        patch: part(4)?,
    })
}
