//! `tmpcopyup`: the content of the covered directory, copied into the tmpfs.
//!
//! Directories, regular files and symbolic links with owner, permission bits and times; devices,
//! FIFOs and sockets are left out. Works on descriptors, allocates nothing, never follows a link.
//! Other processes may change the source during the copy. So the copy of a file comes from one
//! descriptor of it, and the source is read through a private mount without devices.

use crate::device::give;
use crate::mount::Change;
use kernel::fs::{self, Entries, FileKind, FileStat};
use kernel::mount::{self, Depth, Follow, MountAttr};
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::{Call, Errno, Failed};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::symlinkat;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Deeper trees are refused: each level costs stack and three descriptors.
const MAX_DEPTH: usize = 64;

/// An owner or group that chown(2) leaves as it is.
const UNCHANGED: u32 = u32::MAX;

/// The root directory as the options of the mount say. This overrides what is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// `mode=`.
    pub(crate) mode: bool,
    /// `uid=`.
    pub(crate) uid: bool,
    /// `gid=`.
    pub(crate) gid: bool,
}

/// Copies the content of the attached directory `from` into directory `to`.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, given: Given) -> Result<(), Failed> {
    let source = mount::clone_tree(from, c"", Depth::Tree, Follow::No)
        .map_err(Failed::of(Call::OpenTree))?;
    // If a file is replaced by a device between the two checks, nothing is opened.
    let forbidden = MountAttr::RDONLY | MountAttr::NODEV | MountAttr::NOSUID | MountAttr::NOEXEC;
    Change::set(Depth::Tree, forbidden).apply(source.as_fd())?;
    let from = open(source.as_fd(), c".", OpenFlags::DIRECTORY)?;
    let to = open(to, c".", OpenFlags::DIRECTORY)?;
    copy_entries(from.as_fd(), to.as_fd(), MAX_DEPTH)?;
    let stat = fs::stat(from.as_fd()).map_err(Failed::of(Call::Copy))?;
    finish(to.as_fd(), &stat, given)
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OpenFlags) -> Result<OwnedFd, Failed> {
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS;
    openat2(directory, name, flags, 0o600, resolve).map_err(Failed::of(Call::Copy))
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Failed> {
    let mut buffer = [0_u8; 2048];
    loop {
        let length = fs::read_directory(from, &mut buffer).map_err(Failed::of(Call::Copy))?;
        if length == 0 {
            return Ok(());
        }
        for name in Entries(buffer.get(..length).unwrap_or_default()) {
            copy_entry(from, to, name, depth)?;
        }
    }
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
) -> Result<(), Failed> {
    let failed = Failed::of(Call::Copy);
    // A handle, by which no device, FIFO or socket is opened.
    let handle = open(from, name, OpenFlags::PATH | OpenFlags::NOFOLLOW)?;
    let handle = handle.as_fd();
    let stat = fs::stat(handle).map_err(&failed)?;
    match stat.kind {
        FileKind::Directory => {
            let depth = depth.checked_sub(1).ok_or(Errno::ELOOP).map_err(&failed)?;
            mkdirat(to, name, Mode::from_bits_truncate(0o700)).map_err(&failed)?;
            let from = open(handle, c".", OpenFlags::DIRECTORY)?;
            let to = open(to, name, OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW)?;
            copy_entries(from.as_fd(), to.as_fd(), depth)?;
            finish(to.as_fd(), &stat, Given::default())
        }
        FileKind::Regular => {
            let file = open(from, name, OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK)?;
            let opened = fs::stat(file.as_fd()).map_err(&failed)?;
            if opened.kind != FileKind::Regular {
                return Err(Failed::of(Call::Copy)(Errno::ESTALE));
            }
            let flags = OpenFlags::CREATE_NEW | OpenFlags::NOFOLLOW | OpenFlags::WRITE;
            let to = open(to, name, flags)?;
            copy_bytes(file.as_fd(), to.as_fd())?;
            finish(to.as_fd(), &opened, Given::default())
        }
        FileKind::Symlink => {
            let mut text = [0_u8; 4096];
            let length = fs::readlink_at(handle, c"", &mut text).map_err(&failed)?;
            let text = text
                .get(..=length)
                .and_then(|text| CStr::from_bytes_with_nul(text).ok())
                .ok_or(Errno::ENAMETOOLONG)
                .map_err(&failed)?;
            symlinkat(text, to, name).map_err(&failed)?;
            give(to, name, (stat.uid, stat.gid)).map_err(&failed)?;
            fs::set_times_at(to, name, stat.accessed, stat.modified).map_err(&failed)
        }
        FileKind::Char | FileKind::Block | FileKind::Fifo | FileKind::Socket => Ok(()),
    }
}

fn copy_bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Failed> {
    let failed = Failed::of(Call::Copy);
    let mut buffer = [0_u8; 8192];
    loop {
        let length = fs::read(from, &mut buffer).map_err(&failed)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let taken = fs::write(to, rest).map_err(&failed)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// Owner before permission bits: a change of owner clears set-id bits.
fn finish(to: BorrowedFd<'_>, stat: &FileStat, given: Given) -> Result<(), Failed> {
    let failed = Failed::of(Call::Copy);
    let uid = if given.uid { UNCHANGED } else { stat.uid };
    let gid = if given.gid { UNCHANGED } else { stat.gid };
    give(to, c"", (uid, gid)).map_err(&failed)?;
    if !given.mode {
        fchmod(to, Mode::from_bits_truncate(stat.mode)).map_err(&failed)?;
    }
    fs::set_times_at(to, c"", stat.accessed, stat.modified).map_err(&failed)
}
