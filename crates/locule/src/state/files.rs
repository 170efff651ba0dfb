//! Files below a directory descriptor: whole reads, replacement by rename, removal of a tree.

use kernel::errno::errno_of;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The record.
pub(super) const STATE: &str = "state.json";
/// The record as it was before the first side effect.
pub(super) const JOURNAL: &str = "journal.json";
/// The configuration, byte for byte as read.
pub(super) const CONFIG: &str = "config.json";

/// The longest file that is read. It is far larger than any useful configuration.
const LONGEST: u64 = 16 << 20;

/// How deep a state directory may be: its own files are on one level, sockets of engines on
/// another.
const DEEPEST: u32 = 8;

/// Opens a directory by name, never through a link.
pub(crate) fn directory(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Whether `name` still is the directory behind `fd`.
pub(super) fn is_same(parent: impl AsFd, name: &str, fd: impl AsFd) -> bool {
    let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
    match (
        fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW),
        fstat(fd),
    ) {
        (Ok(named), Ok(held)) => identity(named) == identity(held),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Whether `name` is there.
pub(super) fn exists(directory: impl AsFd, name: &str) -> Result<bool, Errno> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads a whole regular file. ENOENT: it does not exist. EINVAL: it is not a regular file. EFBIG:
/// it is too long.
pub(super) fn read(directory: impl AsFd, name: &str) -> Result<Vec<u8>, Errno> {
    // Non-blocking: the open of a FIFO in its place would block for ever.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    // Some bytes more: a full buffer would grow before the end of the file is found.
    let expected = u64::try_from(stat.st_size).map_or(0, |size| size.min(LONGEST)) + 64;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| errno_of(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Errno::EFBIG);
    }
    Ok(bytes)
}

/// Writes a file beside `name` and renames it, so that a reader sees the old or the new one, whole.
/// Mode
/// 0600. The caller holds the directory's lock.
pub(super) fn replace(directory: impl AsFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    prepare(&directory, name, bytes)?;
    show(directory, name)
}

/// The first half of [`replace`]: the new file is not visible yet.
pub(super) fn prepare(directory: impl AsFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let directory = directory.as_fd();
    let next = format!("{name}.next");
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let opened = match openat(directory, next.as_str(), flags, mode) {
        // An earlier process was killed between the two steps.
        Err(Errno::EEXIST) => {
            unlinkat(directory, next.as_str(), UnlinkatFlags::NoRemoveDir)?;
            openat(directory, next.as_str(), flags, mode)
        }
        opened => opened,
    };
    let written = File::from(opened?)
        .write_all(bytes)
        .map_err(|error| errno_of(&error));
    written.inspect_err(|_error| forget(directory, &next))
}

/// The second half of [`replace`].
pub(super) fn show(directory: impl AsFd, name: &str) -> Result<(), Errno> {
    let directory = directory.as_fd();
    let next = format!("{name}.next");
    renameat(directory, next.as_str(), directory, name)
        .inspect_err(|_error| forget(directory, &next))
}

/// The first error is the one to report.
fn forget(directory: BorrowedFd<'_>, name: &str) {
    let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
}

/// Removes all that is in `directory`. The record goes last, so that a removal that is cut short
/// can be done again.
pub(super) fn clear(directory: impl AsFd) -> Result<(), Errno> {
    clear_below(&directory, DEEPEST)
}

/// Removes the empty directory `name`; absent is fine.
pub(super) fn remove_directory(parent: impl AsFd, name: &str) -> Result<(), Errno> {
    absent_is_fine(unlinkat(parent, name, UnlinkatFlags::RemoveDir))
}

fn clear_below(parent: &impl AsFd, depth: u32) -> Result<(), Errno> {
    let mut names = names(parent)?;
    names.sort_by_key(|name| (name == JOURNAL, name == STATE));
    for name in names {
        match unlinkat(parent, name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) if depth == 0 => return Err(Errno::ELOOP),
            Err(Errno::EISDIR) => {
                match directory(parent, &name) {
                    Ok(below) => clear_below(&below, depth - 1)?,
                    Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(errno),
                }
                remove_directory(parent, &name)?;
            }
            result => absent_is_fine(result)?,
        }
    }
    Ok(())
}

fn absent_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// The names in a directory. Names that are not UTF-8 are left out: this program does not make
/// them.
pub(super) fn names(directory: impl AsFd) -> Result<Vec<String>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // A description of its own, because the position in the listing belongs to the description.
    let mut listing = Dir::openat(directory, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        if let Ok(name) = entry?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
