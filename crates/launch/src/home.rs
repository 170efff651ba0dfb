//! The home directory of the container's user, from the container's own passwd file.
//!
//! The file belongs to the container and is not trusted: a line without seven fields is skipped,
//! and at most 1 MiB is read. Init reads it, so nothing is allocated.

use kernel::fs;
use std::os::fd::{AsFd, OwnedFd};

/// Room for a path of this many bytes behind `HOME=`.
pub(crate) const ROOM: usize = 256;
/// The size up to which the container's passwd file is read, bytes.
const PASSWD_LIMIT: usize = 1 << 20;

/// The home directory of one user, from a passwd file that is read in pieces.
pub(crate) struct Home {
    text: [u8; ROOM + 5],
    length: usize,
}

impl Default for Home {
    fn default() -> Self {
        let mut home = Self {
            text: [0; ROOM + 5],
            length: 0,
        };
        home.set(b"/");
        home
    }
}

impl Home {
    /// `HOME=` and the directory.
    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Takes `directory` if there is room for it.
    fn set(&mut self, directory: &[u8]) {
        for (at, part) in [(0, b"HOME=".as_slice()), (5, directory)] {
            let Some(place) = self.text.get_mut(at..at + part.len()) else {
                return;
            };
            place.copy_from_slice(part);
        }
        self.length = 5 + directory.len();
    }

    /// Looks for the first line of `uid`. A line without seven fields, or longer than the buffer,
    /// is skipped: the file belongs to the container.
    pub(crate) fn read(&mut self, passwd: &OwnedFd, uid: u32) {
        let mut buffer = [0_u8; 2048];
        let mut filled = 0;
        let mut left = PASSWD_LIMIT;
        loop {
            let Some(room) = buffer.get_mut(filled..) else {
                return;
            };
            let count = match fs::read(passwd.as_fd(), room) {
                Ok(0) | Err(_) => {
                    self.line(buffer.get(..filled).unwrap_or_default(), uid);
                    return;
                }
                Ok(count) => count,
            };
            filled += count;
            let Some(after) = left.checked_sub(count) else {
                return;
            };
            left = after;
            while let Some(end) = buffer.iter().take(filled).position(|byte| *byte == b'\n') {
                if self.line(buffer.get(..end).unwrap_or_default(), uid) {
                    return;
                }
                buffer.copy_within(end + 1..filled, 0);
                filled -= end + 1;
            }
            if filled == buffer.len() {
                filled = 0;
            }
        }
    }

    /// Takes the directory of this line if the line is that of `uid`. Returns whether it is.
    fn line(&mut self, line: &[u8], uid: u32) -> bool {
        let mut fields = line.split(|byte| *byte == b':');
        let (number, home) = (fields.nth(2), fields.nth(2));
        if number.and_then(decimal) != Some(uid) {
            return false;
        }
        if let Some(home) = home.filter(|home| home.starts_with(b"/")) {
            self.set(home);
        }
        true
    }
}

/// A number as passwd files have it: digits only, below 2^32.
fn decimal(text: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(*byte - b'0'));
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u32, |number, byte| {
        number.checked_mul(10)?.checked_add(digit(byte)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn home_of(uid: u32, passwd: &[u8]) -> String {
        let pipe = kernel::pipe::pipe().unwrap();
        let mut write = std::fs::File::from(pipe.write);
        let passwd = passwd.to_vec();
        let writer = std::thread::spawn(move || write.write_all(&passwd));
        let mut home = Home::default();
        home.read(&pipe.read, uid);
        drop(pipe.read);
        let _closed_early = writer.join();
        String::from_utf8(home.text().to_vec()).unwrap()
    }

    #[test]
    fn home_is_the_sixth_field_of_the_first_line_of_the_user() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nme:x:5:5::/home/me:\nme2:x:5:5::/other:\n";
        assert_eq!(home_of(0, passwd), "HOME=/root");
        assert_eq!(home_of(5, passwd), "HOME=/home/me");
        assert_eq!(home_of(6, passwd), "HOME=/");
    }

    #[test]
    fn a_numeric_name_is_never_a_user_id() {
        assert_eq!(home_of(1000, b"1000:x:0:0::/root:\n"), "HOME=/");
    }

    #[test]
    fn malformed_passwd_lines_are_skipped() {
        let mut passwd = vec![b'x'; 10_000];
        passwd.extend(b"\n\n:::\na:b:+7:0::/plus:\na:b:4294967303:0::/wrapped:\nme:x:7:7::/seven");
        assert_eq!(home_of(7, &passwd), "HOME=/seven");
    }

    #[test]
    fn a_home_that_has_no_room_or_is_relative_is_the_root_directory() {
        let long = format!("me:x:7:7::/{}:\n", "h".repeat(ROOM));
        assert_eq!(home_of(7, long.as_bytes()), "HOME=/");
        assert_eq!(home_of(7, b"me:x:7:7::relative:\n"), "HOME=/");
    }
}
