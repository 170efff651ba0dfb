//! One group's directory, held by descriptor.
//!
//! Names are resolved with openat2(2) below a directory that is known to be of a cgroup file
//! system, and the resolution may not leave it, cross a mount or follow a link: a container that
//! owns a sub-tree chooses the names in it. This module does not decide what the files mean.

use kernel::Errno;
use kernel::attribute::{attribute, set_attribute};
use kernel::fs::read_whole;
use nix::NixPath;
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::sys::uio::pread;
use nix::unistd::{AccessFlags, Uid, UnlinkatFlags, faccessat, fchownat, unlinkat, write};
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::tour::is_gone;
use crate::{Error, Version};

/// A directory of a cgroup hierarchy. The path is for messages only.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// The extended attribute that names the creation a group belongs to.
const MARK: &CStr = c"trusted.locule";
const MARK_OF_USER: &CStr = c"user.locule";

/// An id of 255 bytes, a slash and 16 digits.
const LONGEST_MARK: usize = 272;

/// Who can have written a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// A process with CAP_SYS_ADMIN in the initial user namespace.
    Privileged,
    /// The owner of the group too, which may be the container.
    Anyone,
}

/// Whether a directory was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    New,
    Existing,
}

/// Opens `name` below `from`. Tries again if a concurrent rename disturbed the look-up.
fn open<P: ?Sized + NixPath>(
    from: BorrowedFd<'_>,
    name: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve);
    for _attempt in 0..32 {
        match openat2(from, name, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::EAGAIN)
}

/// Writes in one call, as these files require.
fn write_whole(fd: &OwnedFd, value: &str) -> Result<(), Errno> {
    loop {
        match write(fd, value.as_bytes()) {
            Ok(count) if count == value.len() => return Ok(()),
            Ok(_short) => return Err(Errno::EIO),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn beneath() -> ResolveFlag {
    ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS
}

impl Directory {
    /// Uses `fd` as a hierarchy's root if its file system is a cgroup one; else `None`.
    pub(crate) fn root(fd: OwnedFd, path: &Path) -> Result<Option<(Self, Version)>, Errno> {
        let version = match fstatfs(&fd)?.filesystem_type() {
            CGROUP2_SUPER_MAGIC => Version::V2,
            CGROUP_SUPER_MAGIC => Version::V1,
            _ => return Ok(None),
        };
        let path = path.to_owned();
        Ok(Some((Self { fd, path }, version)))
    }

    /// Opens the group `relative` (names joined by `/`; empty: this one), for reading if the caller
    /// may: a mark needs that.
    pub(crate) fn open_below(&self, relative: &str) -> Result<Self, Errno> {
        let name = if relative.is_empty() { "." } else { relative };
        let open = |access| open(self.fd(), name, access | OFlag::O_DIRECTORY, beneath());
        let fd = match open(OFlag::O_RDONLY) {
            Err(Errno::EACCES | Errno::EPERM) => open(OFlag::O_PATH),
            answer => answer,
        };
        Ok(Self {
            fd: fd?,
            path: if relative.is_empty() {
                self.path.clone()
            } else {
                self.path.join(relative)
            },
        })
    }

    /// Opens the sub-group `name`.
    pub(crate) fn child(&self, name: &OsStr) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Ok(Self {
            fd: open(self.fd(), name, flags, beneath())?,
            path: self.path.join(name),
        })
    }

    /// Opens the group above, which must have this inode number: no group moves to another one, and
    /// this is the only way that leads up.
    pub(crate) fn above(&self, inode: u64) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let mut path = self.path.clone();
        path.pop();
        let fd = open(self.fd(), "..", flags, resolve)?;
        let above = Self { fd, path };
        match above.inode()? == inode {
            true => Ok(above),
            false => Err(Errno::ESTALE),
        }
    }

    /// Makes the sub-group `name`.
    pub(crate) fn make(&self, name: &str) -> Result<Made, Errno> {
        match mkdirat(self.fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => Ok(Made::New),
            Err(Errno::EEXIST) => Ok(Made::Existing),
            Err(errno) => Err(errno),
        }
    }

    /// Removes the sub-group `name`, which must have no processes and no sub-groups.
    pub(crate) fn remove<P: ?Sized + NixPath>(&self, name: &P) -> Result<(), Errno> {
        unlinkat(self.fd(), name, UnlinkatFlags::RemoveDir)
    }

    /// The whole content of `file`.
    pub(crate) fn read(&self, file: &str) -> Result<String, Errno> {
        let fd = open(self.fd(), file, OFlag::O_RDONLY, beneath())?;
        Ok(String::from_utf8_lossy(&read_whole(fd.as_fd())?).into_owned())
    }

    /// Writes `value` to `file` in one call.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        let fd = open(self.fd(), file, OFlag::O_WRONLY, beneath())?;
        write_whole(&fd, value)
    }

    /// Writes each of `values` to `file`, one call each. An error has the index of the refused
    /// value.
    pub(crate) fn write_each(&self, file: &str, values: &[String]) -> Result<(), (usize, Errno)> {
        let fd = open(self.fd(), file, OFlag::O_WRONLY, beneath()).map_err(|errno| (0, errno))?;
        for (index, value) in values.iter().enumerate() {
            write_whole(&fd, value).map_err(|errno| (index, errno))?;
        }
        Ok(())
    }

    /// Writes `value` to `file` and returns the content afterwards; `None` if it cannot be read.
    pub(crate) fn write_and_read(&self, file: &str, value: &str) -> Result<Option<String>, Errno> {
        let fd = match open(self.fd(), file, OFlag::O_RDWR, beneath()) {
            Err(Errno::EACCES) => return self.write(file, value).map(|()| None),
            answer => answer?,
        };
        write_whole(&fd, value)?;
        let mut buffer = [0; 4096];
        let count = pread(&fd, &mut buffer, 0).ok();
        Ok(count.map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned()))
    }

    /// Opens `file` for reading and for waiting on it with poll(2).
    pub(crate) fn open_file(&self, file: &str) -> Result<OwnedFd, Errno> {
        open(self.fd(), file, OFlag::O_RDONLY, beneath())
    }

    /// Whether `file` exists.
    #[cfg(test)]
    pub(crate) fn has(&self, file: &str) -> bool {
        faccessat(self.fd(), file, AccessFlags::F_OK, AtFlags::empty()).is_ok()
    }

    /// Whether the caller may write `name` (empty: may create sub-groups here).
    pub(crate) fn may_write(&self, name: &str) -> bool {
        let name = if name.is_empty() { "." } else { name };
        faccessat(self.fd(), name, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
    }

    /// Makes `uid` the owner of `file` (empty: of the group itself).
    pub(crate) fn chown(&self, file: &str, uid: u32) -> Result<(), Errno> {
        let flags = if file.is_empty() {
            AtFlags::AT_EMPTY_PATH
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };
        fchownat(self.fd(), file, Some(Uid::from_raw(uid)), None, flags)
    }

    /// The names of the sub-groups.
    pub(crate) fn children(&self) -> Result<Vec<OsString>, Errno> {
        let mut directory = Dir::from_fd(self.readable()?)?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let is_directory = matches!(entry.file_type(), Some(nix::dir::Type::Directory));
            if is_directory && name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// For calls that need a directory descriptor; it may be opened with O_PATH.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The directory's inode number. No other directory of the hierarchy gets it while the host
    /// runs.
    pub(crate) fn inode(&self) -> Result<u64, Errno> {
        fstat(&self.fd).map(|stat| stat.st_ino)
    }

    /// Records which creation the group belongs to, until the group is removed. Only the host's
    /// root can do this, or on cgroup v2 the group's owner.
    pub(crate) fn set_mark(&self, mark: &str) -> Result<(), Errno> {
        let set = |name| set_attribute(self.fd(), name, mark.as_bytes());
        set(MARK).or_else(|errno| set(MARK_OF_USER).map_err(|_second| errno))
    }

    /// The mark that [`Self::set_mark`] has recorded. `None`: there is none, or the group is gone.
    /// A longer one is none: only a container writes it.
    pub(crate) fn mark(&self) -> Result<Option<(String, Author)>, Errno> {
        let mut buffer = [0; LONGEST_MARK];
        for (name, author) in [(MARK, Author::Privileged), (MARK_OF_USER, Author::Anyone)] {
            match attribute(self.fd(), name, &mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    return Ok(Some((text, author)));
                }
                Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ERANGE) => {}
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(None)
    }

    fn readable(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        open(self.fd(), ".", flags, beneath())
    }

    /// For messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// [`Self::read`] with an error that names the file.
    pub(crate) fn read_named(&self, file: &str) -> Result<String, Error> {
        self.read(file).map_err(|source| Error::Read {
            path: self.path.join(file),
            source,
        })
    }

    /// [`Self::write`] with an error that names the file and the value.
    pub(crate) fn write_named(&self, file: &str, value: &str) -> Result<(), Error> {
        self.write(file, value).map_err(|source| Error::WriteFile {
            file: self.path.join(file),
            value: value.to_owned(),
            source,
        })
    }

    /// An [`Error::Directory`] about this directory.
    pub(crate) fn failed(&self, action: &'static str) -> impl Fn(Errno) -> Error {
        Error::about(action, &self.path)
    }
}
