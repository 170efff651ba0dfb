//! The lines of /proc/PID/mountinfo. See [proc_pid_mountinfo(5)].
//!
//! [proc_pid_mountinfo(5)]: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html

use kernel::mount::unescape;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'text> {
    /// Its number.
    pub(crate) id: u64,
    /// Its mount point, from the root of the process.
    pub(crate) point: PathBuf,
    /// The kind of its file system.
    pub(crate) kind: &'text str,
}

impl<'text> Line<'text> {
    /// Reads one line; `None` if it has another form.
    pub(crate) fn parse(text: &'text str) -> Option<Self> {
        let (before, after) = text.split_once(" - ")?;
        let mut fields = before.split(' ');
        Some(Self {
            id: fields.next()?.parse().ok()?,
            point: OsString::from_vec(unescape(fields.nth(3)?)).into(),
            kind: after.split(' ').next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_number_a_point_and_a_kind() {
        let line = "36 35 98:0 /mnt1 /m\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let expected = Line {
            id: 36,
            point: PathBuf::from("/m 2"),
            kind: "ext3",
        };
        assert_eq!(Line::parse(line), Some(expected));
        assert_eq!(Line::parse("36 35 98:0 /mnt1 /mnt2 rw"), None);
    }
}
