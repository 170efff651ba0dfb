//! `tmpcopyup`: the content of the covered directory, copied into the tmpfs.
//!
//! Directories, regular files and symbolic links with owner, permission bits and times; devices, FIFOs and
//! sockets are left out. Works on descriptors, allocates nothing, never follows a link.

use crate::place::Fault;
use kernel::fs::{self, Entries, FileKind, FileStat};
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::{Call, Errno};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Deeper trees are refused: each level costs stack and two descriptors.
const MAX_DEPTH: usize = 64;

/// Copies the content of directory `from` into directory `to`.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Fault> {
    let from = open(from, c".", OpenFlags::DIRECTORY)?;
    let to = open(to, c".", OpenFlags::DIRECTORY)?;
    copy_directory(from.as_fd(), to.as_fd(), MAX_DEPTH)
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OpenFlags) -> Result<OwnedFd, Fault> {
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS;
    openat2(directory, name, flags, 0o600, resolve).map_err(Fault::of(Call::Copy))
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Fault> {
    let fault = Fault::of(Call::Copy);
    let mut buffer = [0_u8; 2048];
    loop {
        let length = fs::read_directory(from, &mut buffer).map_err(&fault)?;
        if length == 0 {
            break;
        }
        for name in Entries(buffer.get(..length).unwrap_or_default()) {
            copy_entry(from, to, name, depth)?;
        }
    }
    let stat = fs::stat(from).map_err(&fault)?;
    finish(to, &stat)
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
) -> Result<(), Fault> {
    let fault = Fault::of(Call::Copy);
    let stat = fs::stat_at(from, name).map_err(&fault)?;
    match stat.kind {
        FileKind::Directory => {
            let depth = depth.checked_sub(1).ok_or(Errno::ELOOP).map_err(&fault)?;
            fs::mkdir_at(to, name, 0o700).map_err(&fault)?;
            let flags = OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
            let from = open(from, name, flags)?;
            let to = open(to, name, flags)?;
            copy_directory(from.as_fd(), to.as_fd(), depth)
        }
        FileKind::Regular => {
            let from = open(from, name, OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK)?;
            let flags = OpenFlags::CREATE_NEW | OpenFlags::NOFOLLOW | OpenFlags::WRITE;
            let to = open(to, name, flags)?;
            copy_bytes(from.as_fd(), to.as_fd())?;
            finish(to.as_fd(), &stat)
        }
        FileKind::Symlink => {
            let mut text = [0_u8; 4096];
            let length = fs::readlink_at(from, name, &mut text).map_err(&fault)?;
            let text = text
                .get(..=length)
                .and_then(|text| CStr::from_bytes_with_nul(text).ok())
                .ok_or(Errno::ENAMETOOLONG)
                .map_err(&fault)?;
            fs::symlink_at(text, to, name).map_err(&fault)?;
            fs::chown_at(to, name, stat.uid, stat.gid).map_err(&fault)?;
            fs::set_times_at(to, name, stat.accessed, stat.modified).map_err(&fault)
        }
        FileKind::Char | FileKind::Block | FileKind::Fifo | FileKind::Socket => Ok(()),
    }
}

fn copy_bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Fault> {
    let fault = Fault::of(Call::Copy);
    let mut buffer = [0_u8; 8192];
    loop {
        let length = fs::read(from, &mut buffer).map_err(&fault)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let taken = fs::write(to, rest).map_err(&fault)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// Owner before permission bits: a change of owner clears set-id bits.
fn finish(to: BorrowedFd<'_>, stat: &FileStat) -> Result<(), Fault> {
    let fault = Fault::of(Call::Copy);
    fs::chown(to, stat.uid, stat.gid).map_err(&fault)?;
    fs::chmod(to, stat.mode).map_err(&fault)?;
    fs::set_times_at(to, c"", stat.accessed, stat.modified).map_err(&fault)
}
