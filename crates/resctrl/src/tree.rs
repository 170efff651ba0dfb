//! The resctrl file system, held by descriptor. Look-ups stay below it and follow no link.

use crate::MOUNT;
use kernel::attribute::{attribute, set_attribute};
use kernel::{Errno, fs};
use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// RDTGROUP_SUPER_MAGIC of linux/magic.h.
const MAGIC: i64 = 0x0765_5821;
/// The extended attribute that names the creation a group belongs to.
const MARK: &CStr = c"trusted.locule";
/// An id of 255 bytes, a slash and 16 digits.
const LONGEST_MARK: usize = 272;

/// The mounted file system.
#[derive(Debug)]
pub(crate) struct Tree(OwnedFd);

impl Tree {
    /// Opens [`MOUNT`].
    ///
    /// # Errors
    /// ENODEV: another file system is there.
    pub(crate) fn open() -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat2(AT_FDCWD, MOUNT, OpenHow::new().flags(flags))?;
        match fs::filesystem_magic(fd.as_fd())? {
            MAGIC => Ok(Self(fd)),
            _other => Err(Errno::ENODEV),
        }
    }

    /// A directory in its place, for tests.
    #[cfg(test)]
    pub(crate) fn stand_in(directory: OwnedFd) -> Self {
        Self(directory)
    }

    fn look_up(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let path = if path.is_empty() { "." } else { path };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC);
        openat2(&self.0, path, how.resolve(resolve))
    }

    /// The directory `path`; empty: this one.
    pub(crate) fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.look_up(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// Makes the group `path`, whose last part is its name.
    pub(crate) fn make(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        mkdirat(
            self.directory(parent)?,
            name,
            Mode::from_bits_truncate(0o755),
        )
    }

    /// Removes the group `path`.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        unlinkat(self.directory(parent)?, name, UnlinkatFlags::RemoveDir)
    }

    /// The content of a file.
    pub(crate) fn read(&self, path: &str) -> Result<String, Errno> {
        let file = self.look_up(path, OFlag::O_RDONLY)?;
        let content = fs::read_whole(file.as_fd())?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Writes to a file in one call, as these files require.
    pub(crate) fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        let file = self.look_up(path, OFlag::O_WRONLY)?;
        match write(&file, value.as_bytes())? {
            count if count == value.len() => Ok(()),
            _short => Err(Errno::EIO),
        }
    }

    /// The names of the directories in `path`, sorted.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.directory(path)?)?.iter() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Records which creation the group `path` belongs to.
    pub(crate) fn set_mark(&self, path: &str, mark: &str) -> Result<(), Errno> {
        set_attribute(self.directory(path)?.as_fd(), MARK, mark.as_bytes())
    }

    /// Whether [`Self::set_mark`] has recorded `mark`.
    pub(crate) fn has_mark(&self, path: &str, mark: &str) -> Result<bool, Errno> {
        let mut buffer = [0; LONGEST_MARK];
        match attribute(self.directory(path)?.as_fd(), MARK, &mut buffer) {
            Ok(length) => Ok(buffer.get(..length) == Some(mark.as_bytes())),
            Err(Errno::ENODATA | Errno::ERANGE) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}
