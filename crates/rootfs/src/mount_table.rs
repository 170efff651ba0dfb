//! The lines of /proc/PID/mountinfo. See [proc_pid_mountinfo(5)].
//!
//! They are bytes: a container, or a user of the host who may mount, chooses the names, and a name
//! that is not UTF-8 must not hide the other mounts.
//!
//! [proc_pid_mountinfo(5)]: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html

use kernel::Errno;
use kernel::fs::read_proc;
use kernel::mount::unescape;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number.
    pub(crate) id: u64,
    /// Its mount point, from the root of the process.
    pub(crate) point: PathBuf,
    /// The kind of its file system.
    pub(crate) kind: String,
}

/// The mounts of the process that /proc calls `process`, in the order of the table.
pub(crate) fn mounts_of(process: &str) -> Result<Vec<Line>, Errno> {
    let table = read_proc(&format!("{process}/mountinfo"))?;
    let lines = table.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(Line::parse).collect())
}

impl Line {
    /// Reads one line; `None` if it has another form.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let point = OsString::from_vec(unescape(fields.nth(3)?)).into();
        // Optional fields are in between.
        fields.find(|field| *field == b"-")?;
        let kind = String::from_utf8_lossy(fields.next()?).into_owned();
        Some(Self { id, point, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_line_has_a_number_a_point_and_a_kind() {
        let line = b"36 35 98:0 /mnt1 /m\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let expected = Line {
            id: 36,
            point: PathBuf::from("/m 2"),
            kind: "ext3".to_owned(),
        };
        assert_eq!(Line::parse(line), Some(expected));
        assert_eq!(Line::parse(b"36 35 98:0 /mnt1 /mnt2 rw"), None);
    }

    #[test]
    fn a_name_can_have_any_byte() {
        let line = Line::parse(b"36 35 98:0 / /\xff rw - fuse.\xff x rw").unwrap();
        assert_eq!(line.point.as_os_str(), OsStr::from_bytes(b"/\xff"));
    }
}
