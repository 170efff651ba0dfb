//! Files that the caller names, on the host: the one way to write them.
//!
//! The directory is opened once, and everything after that goes by its descriptor. Decides which
//! links are followed: the directory may belong to another user, who can put links under every name
//! in it. A new file is made exclusively, under a name that cannot be guessed. For a file to append
//! to, only links that root or this user has made are followed.

use crate::state::is_host_root;
use kernel::attribute::random;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How many links are followed, as in path_resolution(7).
const LINKS: u32 = 40;

/// One name in one directory of the host.
#[derive(Debug)]
pub(crate) struct HostFile {
    directory: OwnedFd,
    name: OsString,
}

impl HostFile {
    /// Opens the directory of `path`, close-on-exec. Relative paths start at the working directory.
    ///
    /// # Errors
    /// The directory cannot be opened; EISDIR: the path ends with no name.
    pub(crate) fn at(path: &Path) -> Result<Self, Errno> {
        Self::below(AT_FDCWD, path)
    }

    /// The same for a path that starts at an open directory.
    pub(crate) fn below(from: impl AsFd, path: &Path) -> Result<Self, Errno> {
        let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let above = match path.parent() {
            Some(above) if above != Path::new("") => above,
            Some(_) | None => Path::new("."),
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(from, above, flags, Mode::empty())?;
        Ok(Self { directory, name })
    }

    /// The kind of what has this name now, if a file must not replace it. A caller who names
    /// /dev/null, or the link /dev/stdout, does not want to lose it.
    pub(crate) fn special(&self) -> Option<&'static str> {
        let found = fstatat(&self.directory, &*self.name, AtFlags::empty()).ok()?;
        match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => return Some("directory"),
            SFlag::S_IFIFO => return Some("FIFO"),
            SFlag::S_IFSOCK => return Some("socket"),
            SFlag::S_IFCHR | SFlag::S_IFBLK => return Some("device"),
            _ => {}
        }
        let target = readlinkat(&self.directory, &*self.name).ok()?;
        let is_procs = Path::new(&target).starts_with("/proc");
        is_procs.then_some("link into /proc")
    }

    /// Replaces the file of this name, whatever it is, by one with this content. Readers see the
    /// old or the new file, whole. Links are neither followed nor kept. Mode 0666 less the umask.
    ///
    /// # Errors
    /// The errno of the call that failed; nothing is left then.
    pub(crate) fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.temporary()?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(
            &self.directory,
            &*temporary,
            flags,
            Mode::from_bits_truncate(0o666),
        )?;
        let mut file = File::from(file);
        let written = file.write_all(bytes).and_then(|()| {
            let (directory, name) = (&self.directory, &*self.name);
            Ok(renameat(directory, &*temporary, directory, name)?)
        });
        written.inspect_err(|_error| {
            let _first_error_counts =
                unlinkat(&self.directory, &*temporary, UnlinkatFlags::NoRemoveDir);
        })
    }

    /// A temporary name in the same directory. It is short enough for any file name.
    fn temporary(&self) -> Result<OsString, Errno> {
        Ok(format!(".locule-{:016x}", random()?).into())
    }

    /// Removes the name; absent is fine.
    pub(crate) fn remove(&self) {
        let _best_effort = unlinkat(&self.directory, &*self.name, UnlinkatFlags::NoRemoveDir);
    }

    /// Opens the file for appending, and makes it if it is absent, mode 0644. A FIFO without a
    /// reader is refused instead of waited for.
    ///
    /// # Errors
    /// ELOOP: a link that another user has made, or too many of them. ENXIO: the FIFO has no
    /// reader.
    pub(crate) fn append(self) -> Result<File, Errno> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_APPEND
            | OFlag::O_CREAT
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let mut at = self;
        for _link in 0..LINKS {
            // Other users cannot make links in procfs, and /dev/stderr leads there.
            if fstatfs(&at.directory)?.filesystem_type() == PROC_SUPER_MAGIC {
                let flags = flags - OFlag::O_CREAT;
                return Ok(openat(&at.directory, &*at.name, flags, mode)?.into());
            }
            match openat(&at.directory, &*at.name, flags | OFlag::O_NOFOLLOW, mode) {
                Err(Errno::ELOOP) => at = at.follow()?,
                answer => return Ok(answer?.into()),
            }
        }
        Err(Errno::ELOOP)
    }

    /// The target of the link of this name, if it may be followed.
    fn follow(&self) -> Result<Self, Errno> {
        // By descriptor, so that the link that was checked is the link that is read.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = openat(&self.directory, &*self.name, flags, Mode::empty())?;
        let found = fstat(&link)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
            return Err(Errno::EAGAIN);
        }
        if !is_trusted(&found, &fstat(&self.directory)?) {
            return Err(Errno::ELOOP);
        }
        let target = PathBuf::from(readlinkat(&link, "")?);
        Self::below(&self.directory, &target)
    }
}

/// Whether a link may be followed: root or this user has made it. In a user namespace the host's
/// root has no user id, so an ordinary user also follows a link of the directory's owner, where no
/// other user can have put it: there all of them have one id.
fn is_trusted(link: &FileStat, directory: &FileStat) -> bool {
    let own = link.st_uid == 0 || link.st_uid == geteuid().as_raw();
    let is_shared = directory.st_mode & 0o022 != 0;
    own || (!is_host_root() && !is_shared && link.st_uid == directory.st_uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Directory;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    #[test]
    fn a_file_replaces_links_and_files_and_follows_none() {
        let directory = Directory::new();
        let precious = directory.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = directory.path().join("pid");
        for _ in 0..2 {
            let _absent = fs::remove_file(&path);
            symlink(&precious, &path).unwrap();
            HostFile::at(&path).unwrap().replace(b"4711").unwrap();
            HostFile::at(&path).unwrap().replace(b"4712").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "4712");
        }
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_file_is_told_from_files_and_links_to_them() {
        let directory = Directory::new();
        let named = |name: &str| HostFile::at(&directory.path().join(name)).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        for (name, target, special) in [
            ("plain", "file", None),
            ("dangling", "absent", None),
            ("null", "/dev/null", Some("device")),
            ("above", ".", Some("directory")),
            ("own", "/proc/self/status", Some("link into /proc")),
        ] {
            symlink(target, directory.path().join(name)).unwrap();
            assert_eq!(named(name).special(), special, "{name}");
        }
        assert_eq!(named("file").special(), None);
        assert_eq!(named("absent").special(), None);
        let null = HostFile::at(Path::new("/dev/null")).unwrap();
        assert_eq!(null.special(), Some("device"));
    }

    #[test]
    fn what_cannot_be_replaced_leaves_nothing() {
        let directory = Directory::new();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        let file = HostFile::at(&path).unwrap();
        assert!(file.replace(b"x").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        for path in ["/", "..", "/nonsense/name"] {
            assert!(HostFile::at(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn the_directory_is_the_one_that_was_opened() {
        let directory = Directory::new();
        let (own, other) = (directory.path().join("own"), directory.path().join("other"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("pid"), "precious").unwrap();
        let file = HostFile::at(&own.join("pid")).unwrap();
        fs::rename(&own, directory.path().join("moved")).unwrap();
        symlink(&other, &own).unwrap();
        file.replace(b"1").unwrap();
        file.remove();
        assert_eq!(fs::read_to_string(other.join("pid")).unwrap(), "precious");
    }

    #[test]
    fn a_log_follows_the_links_of_root_alone() {
        if !geteuid().is_root() {
            return;
        }
        let directory = Directory::new();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let (link, target) = (
            directory.path().join("link"),
            directory.path().join("target"),
        );
        symlink("target", &link).unwrap();
        let mut log = HostFile::at(&link).unwrap().append().unwrap();
        log.write_all(b"one").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "one");
        lchown(&link, Some(12345), Some(12345)).unwrap();
        let error = HostFile::at(&link).unwrap().append().unwrap_err();
        assert_eq!(error, Errno::ELOOP);
        let circle = directory.path().join("circle");
        symlink("circle", &circle).unwrap();
        let error = HostFile::at(&circle).unwrap().append().unwrap_err();
        assert_eq!(error, Errno::ELOOP);
    }

    #[test]
    fn standard_error_is_a_log_too() {
        for path in ["/dev/stderr", "/proc/self/fd/2"] {
            // Skip if stderr is closed, a socket or the terminal of another user: it cannot be
            // opened.
            match HostFile::at(Path::new(path)).unwrap().append() {
                Ok(_log) => {}
                Err(errno) => assert!(matches!(errno, Errno::ENXIO | Errno::EACCES), "{errno}"),
            }
        }
    }
}
