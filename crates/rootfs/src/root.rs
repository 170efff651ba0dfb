//! Safe paths below a root descriptor.
//!
//! Every name that the container's files could influence is looked up here, by openat2(2) with the
//! root as the top directory: `..` and links cannot lead out, magic links are refused. A look-up
//! returns a handle, and the handle is used; no name is looked up twice. Missing files are made by
//! exclusive calls only, which never follow a link. The attacks that this avoids: CVE-2021-30465,
//! CVE-2024-45310, CVE-2019-19921.

use kernel::fs;
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::{Call, Errno, Failed};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest path that the kernel accepts, with its NUL.
const PATH_MAX: usize = 4096;

/// How often a look-up is repeated when it races with renames (EAGAIN), and how many dangling links
/// are followed.
const TRIES: usize = 128;

/// The root directory of the container, and the mounts that masks are cloned from.
#[derive(Debug)]
pub struct RootFd {
    pub(crate) fd: OwnedFd,
    /// A detached mount of a null device of our own.
    pub(crate) null: Option<OwnedFd>,
    /// A detached read-only mount of an empty directory.
    pub(crate) empty: Option<OwnedFd>,
}

impl AsFd for RootFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RootFd {
    /// Uses a directory as the root: for look-ups in the root of a running container, or in tests.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            null: None,
            empty: None,
        }
    }

    /// Opens `path` as the container sees it; an absolute path and a relative one both count from
    /// the root.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EACCES, ELOOP (a magic link, too many links), EAGAIN (renames all the
    /// time).
    pub fn open(&self, path: &CStr, flags: OpenFlags) -> Result<OwnedFd, Errno> {
        look_up(self.as_fd(), path, flags, LINKS_INSIDE)
    }

    /// Makes the directory `path` and the missing ones above it, mode 0755. An existing directory
    /// stays as it is.
    pub fn make_directory(&self, path: &CStr) -> Result<(), Errno> {
        let flags = OpenFlags::DIRECTORY;
        match make(self.as_fd(), path, Form::Directory, flags, LINKS_INSIDE) {
            Ok(_made) => Ok(()),
            Err(failed) => Err(failed.errno),
        }
    }
}

/// Links are followed below the root.
pub(crate) const LINKS_INSIDE: Resolve = Resolve::IN_ROOT.union(Resolve::NO_MAGICLINKS);

/// A link anywhere in the path is an error (ELOOP).
pub(crate) const NO_LINKS: Resolve = LINKS_INSIDE.union(Resolve::NO_SYMLINKS);

/// One look-up, repeated while the kernel answers EAGAIN.
pub(crate) fn look_up(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OpenFlags,
    resolve: Resolve,
) -> Result<OwnedFd, Errno> {
    for _ in 1..TRIES {
        match openat2(root, path, flags, 0, resolve) {
            Err(Errno::EAGAIN) => {}
            answer => return answer,
        }
    }
    openat2(root, path, flags, 0, resolve)
}

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A directory.
    Directory,
    /// Anything else; an empty file where nothing is.
    File,
}

/// Opens `path` below `root` as an O_PATH handle and makes its missing components. Also returns
/// whether the last component is new.
pub(crate) fn make(
    root: BorrowedFd<'_>,
    path: &CStr,
    form: Form,
    flags: OpenFlags,
    resolve: Resolve,
) -> Result<(OwnedFd, Age), Failed> {
    let flags = flags | OpenFlags::PATH;
    match look_up(root, path, flags, resolve) {
        Ok(fd) => Ok((fd, Age::Old)),
        Err(Errno::ENOENT) => make_missing(root, path, form, flags, resolve),
        Err(errno) => Err(Failed::of(Call::Openat2)(errno)),
    }
}

/// Whether something was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was.
    Old,
    /// We made it.
    New,
}

fn make_missing(
    root: BorrowedFd<'_>,
    path: &CStr,
    form: Form,
    flags: OpenFlags,
    resolve: Resolve,
) -> Result<(OwnedFd, Age), Failed> {
    let mut buffer = PathBuffer::new(path).map_err(Failed::of(Call::Openat2))?;
    for _ in 0..TRIES {
        let (parent, start) = longest_prefix(root, &mut buffer, resolve)?;
        match make_rest(root, parent, start, &mut buffer, form)? {
            Some(fd) => return Ok((fd, Age::New)),
            None if resolve.contains(Resolve::NO_SYMLINKS) => {
                return Err(Failed::of(Call::Openat2)(Errno::ELOOP));
            }
            None => {}
        }
        // A dangling link was replaced by its target, or another process has made the name: look
        // again.
        match look_up(root, buffer.whole(), flags, resolve) {
            Ok(fd) => return Ok((fd, Age::Old)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Failed::of(Call::Openat2)(errno)),
        }
    }
    Err(Failed::of(Call::Openat2)(Errno::ELOOP))
}

/// The handle of the longest directory that exists (`None`: the root), and where in the buffer the
/// missing rest begins.
fn longest_prefix(
    root: BorrowedFd<'_>,
    buffer: &mut PathBuffer,
    resolve: Resolve,
) -> Result<(Option<OwnedFd>, usize), Failed> {
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    let mut end = buffer.length;
    loop {
        end = buffer.bytes[..end]
            .iter()
            .rposition(|byte| *byte == b'/')
            .unwrap_or(0);
        if end == 0 {
            return Ok((None, 0));
        }
        match buffer.with_component(0, end, |prefix| look_up(root, prefix, flags, resolve)) {
            Ok(fd) => return Ok((Some(fd), end)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(Failed::of(Call::Openat2)(errno)),
        }
    }
}

/// Makes component after component from `start` of the buffer on, below `parent` or the root.
/// `None`: a name exists already, and the buffer now has the path to look up instead.
fn make_rest(
    root: BorrowedFd<'_>,
    mut parent: Option<OwnedFd>,
    mut start: usize,
    buffer: &mut PathBuffer,
    form: Form,
) -> Result<Option<OwnedFd>, Failed> {
    loop {
        start += buffer.slashes_at(start);
        let end = buffer.component_end(start);
        let last = end + buffer.slashes_at(end) >= buffer.length;
        let form = if last { form } else { Form::Directory };
        let here = parent.as_ref().map_or(root, OwnedFd::as_fd);
        let made = buffer.with_component(start, end, |name| match name.to_bytes() {
            b"." | b"" => Err(Failed::of(Call::Mkdir)(Errno::EINVAL)),
            // `..` below a missing directory: only a link can have it, and it has no sensible
            // meaning.
            b".." => Err(Failed::of(Call::Mkdir)(Errno::ENOENT)),
            _ => make_one(here, name, form),
        })?;
        match made {
            Some(fd) if last => return Ok(Some(fd)),
            Some(fd) => parent = Some(fd),
            None => {
                buffer.follow(here, start, end)?;
                return Ok(None);
            }
        }
        start = end;
    }
}

/// Makes one name and opens it. `None`: the name exists already.
pub(crate) fn make_one(
    parent: BorrowedFd<'_>,
    name: &CStr,
    form: Form,
) -> Result<Option<OwnedFd>, Failed> {
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS;
    match form {
        Form::Directory => match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => {
                let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW | OpenFlags::DIRECTORY;
                look_up(parent, name, flags, resolve)
                    .map(Some)
                    .map_err(Failed::of(Call::Openat2))
            }
            Err(Errno::EEXIST) => Ok(None),
            Err(errno) => Err(Failed::of(Call::Mkdir)(errno)),
        },
        Form::File => {
            let flags = OpenFlags::CREATE_NEW | OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK;
            match openat2(parent, name, flags, 0o644, resolve) {
                Ok(fd) => Ok(Some(fd)),
                Err(Errno::EEXIST) => Ok(None),
                Err(errno) => Err(Failed::of(Call::Open)(errno)),
            }
        }
    }
}

/// A path on the stack: init must not allocate.
struct PathBuffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathBuffer {
    fn new(path: &CStr) -> Result<Self, Errno> {
        let text = path.to_bytes();
        let mut bytes = [0; PATH_MAX];
        bytes
            .get_mut(..text.len())
            .filter(|_| text.len() < PATH_MAX)
            .ok_or(Errno::ENAMETOOLONG)?
            .copy_from_slice(text);
        Ok(Self {
            bytes,
            length: text.len(),
        })
    }

    fn whole(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c".")
    }

    /// Calls with the bytes from `start` to `end`, which are followed by a NUL during the call.
    fn with_component<T>(&mut self, start: usize, end: usize, call: impl FnOnce(&CStr) -> T) -> T {
        let kept = std::mem::replace(&mut self.bytes[end], 0);
        let answer = call(CStr::from_bytes_until_nul(&self.bytes[start..]).unwrap_or(c"."));
        self.bytes[end] = kept;
        answer
    }

    fn slashes_at(&self, start: usize) -> usize {
        self.bytes[start..self.length]
            .iter()
            .take_while(|byte| **byte == b'/')
            .count()
    }

    fn component_end(&self, start: usize) -> usize {
        self.bytes[start..self.length]
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(self.length, |length| start + length)
    }

    /// Replaces the component from `start` to `end`, an existing name in `parent`, by the target of
    /// the link. If it is not a link (any more), nothing changes.
    fn follow(&mut self, parent: BorrowedFd<'_>, start: usize, end: usize) -> Result<(), Failed> {
        let mut target = [0_u8; PATH_MAX];
        let read = self.with_component(start, end, |name| {
            fs::readlink_at(parent, name, &mut target)
        });
        let length = match read {
            Ok(length) => length,
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(Failed::of(Call::Readlink)(errno)),
        };
        let target = &target[..length];
        // An absolute link counts from the root, a relative one from the directory that it is in.
        let start = if target.first() == Some(&b'/') {
            0
        } else {
            start
        };
        let new_length = start + length + (self.length - end);
        if length == PATH_MAX || new_length >= PATH_MAX {
            return Err(Failed::of(Call::Readlink)(Errno::ENAMETOOLONG));
        }
        self.bytes.copy_within(end..self.length, start + length);
        self.bytes[start..start + length].copy_from_slice(target);
        self.bytes[new_length] = 0;
        self.length = new_length;
        // Look-ups start at the root in any case, and the other code expects no leading slash.
        let slashes = self.slashes_at(0);
        self.bytes.copy_within(slashes..=self.length, 0);
        self.length -= slashes;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
