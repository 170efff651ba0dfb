//! Files below a directory descriptor, reads and writes: the calls that nix lacks, allocates for,
//! or does not repeat after a signal.

use crate::errno::{Errno, again, ret};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{self, Mode, SFlag, fstatat, mknodat};
use nix::sys::statfs::fstatfs;
use nix::sys::uio::pread;
use nix::unistd;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileKind {
    Regular,
    Directory,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

impl FileKind {
    fn of(mode: libc::mode_t) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFCHR => Self::Char,
            libc::S_IFBLK => Self::Block,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            _ => Self::Regular,
        }
    }
}

/// The result of stat(2), as far as locule uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// The type.
    pub kind: FileKind,
    /// Permission bits, 0o7777 at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of the device that holds the file.
    pub device: u64,
    /// Inode number on that device.
    pub inode: u64,
    /// (major, minor) of a device node, else zeroes.
    pub node: (u32, u32),
    /// Access time: seconds and nanoseconds.
    pub accessed: (i64, i64),
    /// Modification time: seconds and nanoseconds.
    pub modified: (i64, i64),
}

impl FileStat {
    fn of(stat: &libc::stat) -> Self {
        Self {
            kind: FileKind::of(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            device: stat.st_dev,
            inode: stat.st_ino,
            node: (libc::major(stat.st_rdev), libc::minor(stat.st_rdev)),
            accessed: (stat.st_atime, stat.st_atime_nsec),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

/// The status of `path` below `directory`. A link as the last component is not followed; an empty
/// path means `directory` itself.
pub fn stat_at(directory: BorrowedFd<'_>, path: &CStr) -> Result<FileStat, Errno> {
    let mut flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    if path.is_empty() {
        flags |= AtFlags::AT_EMPTY_PATH;
    }
    fstatat(directory, path, flags).map(|stat| FileStat::of(&stat))
}

/// The status of the file behind the descriptor.
pub fn stat(fd: BorrowedFd<'_>) -> Result<FileStat, Errno> {
    stat_at(fd, c"")
}

/// The status of `path`; links are followed. Uses stat(2). Do not use it for names that a container
/// controls, except in a process that is confined to the container.
///
/// # Errors
/// ENOENT, ENOTDIR: the file does not exist. EACCES: this process' effective ids may not search a
/// directory of the path.
pub fn stat_path(path: &CStr) -> Result<FileStat, Errno> {
    #[expect(clippy::disallowed_methods, reason = "callers are in the container")]
    stat::stat(path).map(|stat| FileStat::of(&stat))
}

/// The magic number of a procfs, as [`filesystem_magic`] returns it.
pub const PROC_MAGIC: i64 = 0x9fa0;

/// The magic number of a sysfs.
pub const SYSFS_MAGIC: i64 = 0x6265_6572;

/// The magic number of a devpts.
pub const DEVPTS_MAGIC: i64 = 0x1cd1;

/// The magic number of a selinuxfs.
pub const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

/// The magic number of the file system that `fd` is on. See statfs(2).
pub fn filesystem_magic(fd: BorrowedFd<'_>) -> Result<i64, Errno> {
    fstatfs(fd).map(|stat| stat.filesystem_type().0 as _)
}

/// Makes a device node or a FIFO; never follows a link. The umask reduces `mode`.
///
/// # Errors
/// EEXIST: the name exists. EPERM: no CAP_MKNOD in the initial user namespace. EINVAL: `kind` is
/// another type.
pub fn mknod_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    kind: FileKind,
    (major, minor): (u32, u32),
    mode: u32,
) -> Result<(), Errno> {
    let (kind, device) = match kind {
        FileKind::Char => (SFlag::S_IFCHR, libc::makedev(major, minor)),
        FileKind::Block => (SFlag::S_IFBLK, libc::makedev(major, minor)),
        FileKind::Fifo => (SFlag::S_IFIFO, 0),
        FileKind::Regular | FileKind::Directory | FileKind::Symlink | FileKind::Socket => {
            return Err(Errno::EINVAL);
        }
    };
    mknodat(
        directory,
        name,
        kind,
        Mode::from_bits_truncate(mode),
        device,
    )
}

/// Reads the target of the symbolic link into `buffer`; returns its length. A longer target is cut,
/// so a full buffer may be incomplete.
///
/// # Errors
/// EINVAL: not a symbolic link.
pub fn readlink_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: the name is a C string; the pointer and the length are those of one slice.
    let length = unsafe {
        libc::readlinkat(
            directory.as_raw_fd(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_negative| Errno::last())
}

/// Sets access and modification time of `name` (a link is not followed; empty: `directory` itself,
/// which must then not be O_PATH before Linux 5.8).
pub fn set_times_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    accessed: (i64, i64),
    modified: (i64, i64),
) -> Result<(), Errno> {
    let times = [accessed, modified].map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    let mut flags = libc::AT_SYMLINK_NOFOLLOW;
    if name.is_empty() {
        flags = libc::AT_EMPTY_PATH;
    }
    // SAFETY: the name is a C string, the array has the two times that the call reads.
    ret(
        unsafe { libc::utimensat(directory.as_raw_fd(), name.as_ptr(), times.as_ptr(), flags) }
            .into(),
    )
}

/// Reads at most `buffer.len()` bytes; 0 is the end. Tries again on EINTR.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    again(|| unistd::read(fd, buffer))
}

/// The content of /proc/`name` of this host. Large reads, since each of them costs as much as most
/// files there, and no question for the size, which /proc does not have. Allocates: not for init.
///
/// # Errors
/// As for open(2) and read(2). ESRCH: the process has ended.
pub fn read_proc(name: &str) -> Result<Vec<u8>, Errno> {
    let path = format!("/proc/{name}");
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    // open(2) of musl makes a second call for O_CLOEXEC, openat(2) does not.
    let file = again(|| openat(AT_FDCWD, path.as_str(), flags, Mode::empty()))?;
    read_whole(file.as_fd())
}

/// The same as text. Names of programs, groups and mounts in it can have any byte; what is not
/// UTF-8 is replaced, so that a name cannot hide the rest of the file.
///
/// # Errors
/// As for [`read_proc`].
pub fn read_proc_text(name: &str) -> Result<String, Errno> {
    read_proc(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The rest of a file, in reads of 4096 bytes. Allocates: not for init.
pub fn read_whole(file: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = read(file, &mut buffer)?;
        if count == 0 {
            return Ok(content);
        }
        content.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

/// Reads at most `buffer.len()` bytes from the beginning of the file, at any offset of the
/// descriptor. Tries again on EINTR.
pub fn read_start(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    again(|| pread(fd, buffer, 0))
}

/// Writes in one call, and returns the number of written bytes. Tries again on EINTR.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    again(|| unistd::write(fd, bytes))
}

/// Reads entries of a directory into `buffer`; returns the length of the entries, 0 at the end.
/// [`Entries`] parses them. See getdents64(2).
pub fn read_directory(directory: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and the length are those of one slice.
    let length = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_negative| Errno::last())
}

/// The names in the buffer of [`read_directory`], without `.` and `..`.
#[derive(Debug)]
pub struct Entries<'buffer>(pub &'buffer [u8]);

impl<'buffer> Iterator for Entries<'buffer> {
    type Item = &'buffer CStr;

    fn next(&mut self) -> Option<&'buffer CStr> {
        // struct linux_dirent64: inode 8, offset 8, record length 2, type 1, name.
        loop {
            let length = u16::from_ne_bytes(self.0.get(16..18)?.try_into().ok()?);
            let record = self.0.get(..length.into())?;
            self.0 = self.0.get(length.into()..)?;
            let name = CStr::from_bytes_until_nul(record.get(19..)?).ok()?;
            if !matches!(name.to_bytes(), b"." | b"..") {
                return Some(name);
            }
        }
    }
}

/// Changes the working directory.
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string.
    ret(unsafe { libc::chdir(path.as_ptr()) }.into())
}

/// Makes the working directory the root directory of this process.
pub fn chroot_here() -> Result<(), Errno> {
    // SAFETY: the path is a static C string.
    ret(unsafe { libc::chroot(c".".as_ptr()) }.into())
}

/// A number in decimal, on the stack: init must not allocate.
#[derive(Debug)]
pub struct Digits([u8; 21]);

impl Digits {
    /// The digits of `number`.
    pub fn of(mut number: usize) -> Self {
        let mut bytes = [0; 21];
        let mut start = bytes.len() - 1;
        loop {
            start -= 1;
            bytes[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        bytes.copy_within(start.., 0);
        Self(bytes)
    }

    /// As the name of a file.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_digits() {
        for number in [0, 7, 10, 1499, usize::MAX] {
            let digits = Digits::of(number);
            assert_eq!(digits.as_c_str().to_str(), Ok(&*number.to_string()));
        }
    }
}
