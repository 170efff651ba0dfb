//! The mounts of an image.
//!
//! An image is a directory of files that CRIU has written, or anyone else. `mountpoints-*.img`
//! say what CRIU will mount at a restore, and where; so the caller can check that first.

use crate::wire::Reader;
use kernel::errno::errno_of;
use kernel::path::{OpenFlags, Resolve, openat2};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The first word of image files since CRIU 2.
const COMMON: u32 = 0x5456_4319;

/// The word of the image file of mounts.
const MOUNTS: u32 = 0x5556_3928;

/// The longest image file that is read.
const LONGEST: u64 = 16 << 20;

/// The most mounts of an image: the time to check them grows with the square of their number.
const MOST_MOUNTS: usize = 4096;

/// How many images a `parent` can have behind it.
const MOST_PARENTS: usize = 64;

/// The socket that CRIU's lazy-pages daemon makes in an image.
const LAZY_PAGES: &str = "lazy-pages.socket";

/// The link to the image that has the rest of the memory. CRIU makes it.
const PARENT: &str = "parent";

/// MS_RDONLY of mount(2).
const READ_ONLY: u32 = 1;

/// The numbers of the kinds of file systems.
#[allow(missing_docs, reason = "the names say it")]
pub mod mount_kind {
    pub const PROC: u32 = 1;
    pub const SYSFS: u32 = 2;
    pub const TMPFS: u32 = 5;
    pub const DEVPTS: u32 = 6;
    pub const CGROUP: u32 = 12;
    pub const MQUEUE: u32 = 14;
    pub const CGROUP2: u32 = 23;
}

/// An image that cannot be read, or is not what CRIU writes.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ImageError {
    #[error("read {file:?} of the image: {}", kernel::errno::words(*errno))]
    Read { file: String, errno: Errno },
    #[error("remove {file:?} of an earlier image: {}", kernel::errno::words(*errno))]
    Remove { file: String, errno: Errno },
    #[error("{file:?} of the image is {found}, so this is no image that can be restored")]
    Foreign { file: String, found: &'static str },
}

/// One mount of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountEntry {
    /// The kind of file system: see [`mount_kind`].
    pub kind: u32,
    /// Its number in the image.
    pub id: u32,
    /// The number of the mount that it is in.
    pub parent: u32,
    /// The number of the file system's device. CRIU binds the second mount of one from the first.
    pub device: u32,
    /// Which part of the file system is mounted.
    pub root: String,
    /// Where, below the root of its mount namespace.
    pub point: String,
    /// The name of a mount that CRIU does not make.
    pub external: Option<String>,
    /// The flags of mount(2).
    pub flags: u32,
    /// The numbers of its peer group and of its master, 0 if it has none. CRIU binds a mount from
    /// another one of its group.
    pub sharing: [u32; 2],
    /// Whether its directory was deleted, which CRIU makes again, or a plugin of CRIU mounts it.
    pub is_special: bool,
}

impl MountEntry {
    /// Whether it received mounts of its peers or of a master.
    pub fn is_shared(&self) -> bool {
        self.sharing != [0, 0]
    }
}

/// The directory of an image.
#[derive(Debug)]
pub struct Image<'fd>(BorrowedFd<'fd>);

impl<'fd> Image<'fd> {
    /// Uses an open directory.
    pub fn new(directory: BorrowedFd<'fd>) -> Self {
        Self(directory)
    }

    /// Reads a file of the image. Links are not followed; only a regular file of at most 16 MiB is
    /// read.
    ///
    /// # Errors
    /// The file cannot be read, or is no such file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let failed = |errno| ImageError::Read {
            file: name.to_owned(),
            errno,
        };
        let foreign = |found| ImageError::Foreign {
            file: name.to_owned(),
            found,
        };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(self.0, name, flags, Mode::empty()) {
            Err(Errno::ELOOP) => return Err(foreign("a link")),
            answer => answer.map_err(failed)?,
        };
        let found = fstat(&file).map_err(failed)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(foreign("not a regular file"));
        }
        let mut bytes = Vec::new();
        let read = File::from(file).take(LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| failed(errno_of(&error)))?;
        if bytes.len() as u64 > LONGEST {
            return Err(foreign("longer than 16 MiB"));
        }
        Ok(bytes)
    }

    /// The mounts of the one mount namespace of the image.
    ///
    /// # Errors
    /// The directory has a link other than `parent`, which CRIU itself makes: it would lead CRIU to
    /// another file. It has a FIFO, a device or a foreign socket. `parent` is no relative link, or
    /// this is so in the directory behind it. The file of mounts is damaged or has more than 4096,
    /// or there is none, or there are several.
    pub fn mounts(&self) -> Result<Vec<MountEntry>, ImageError> {
        let mut mounts = None;
        for name in self.names()?.into_iter().filter(|name| has_mounts(name)) {
            let bytes = self.read(&name)?;
            let read = entries(&bytes).map_err(|found| ImageError::Foreign {
                file: name.clone(),
                found,
            })?;
            if mounts.replace(read).is_some() {
                return Err(ImageError::Foreign {
                    file: ".".to_owned(),
                    found: "one of several mount namespaces",
                });
            }
        }
        mounts.ok_or(ImageError::Foreign {
            file: ".".to_owned(),
            found: "without a mount namespace",
        })
    }

    /// Removes the mounts of an earlier image in this directory, before CRIU writes another one:
    /// its files have the numbers of namespaces, so earlier ones would stay beside the new.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not be removed; or as for [`Image::mounts`].
    pub fn forget_mounts(&self) -> Result<(), ImageError> {
        for name in self.names()?.into_iter().filter(|name| has_mounts(name)) {
            unlinkat(self.0, &*name, UnlinkatFlags::NoRemoveDir).map_err(|errno| {
                ImageError::Remove {
                    file: name.clone(),
                    errno,
                }
            })?;
        }
        Ok(())
    }

    /// The names of the files of the image. Those of the images behind `parent` are looked at too:
    /// CRIU reads pages there.
    fn names(&self) -> Result<Vec<String>, ImageError> {
        let names = names_in(self.0, "")?;
        let mut way = String::new();
        let mut parent = parent_of(self.0, &way)?;
        for _ in 0..MOST_PARENTS {
            let Some(directory) = parent else {
                return Ok(names);
            };
            way = format!("{way}{PARENT}/");
            names_in(directory.as_fd(), &way)?;
            parent = parent_of(directory.as_fd(), &way)?;
        }
        match parent {
            None => Ok(names),
            Some(_) => Err(ImageError::Foreign {
                file: PARENT.to_owned(),
                found: "the first of more than 64 images",
            }),
        }
    }
}

/// Whether a file of this name has the mounts of a namespace.
fn has_mounts(name: &str) -> bool {
    let number = name.strip_prefix("mountpoints-");
    number.is_some_and(|number| number.ends_with(".img"))
}

/// The names in a directory that CRIU reads. `way` is for messages.
fn names_in(directory: BorrowedFd<'_>, way: &str) -> Result<Vec<String>, ImageError> {
    let failed = |errno| ImageError::Read {
        file: format!("{way}."),
        errno,
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let own = openat(directory, ".", flags, Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(own).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = fstatat(directory, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let found = found.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK if name != PARENT => "a link",
            // CRIU would wait for the other end of a FIFO.
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => "not a regular file",
            SFlag::S_IFSOCK if name != LAZY_PAGES => "not a regular file",
            _ => {
                names.push(name);
                continue;
            }
        };
        let file = format!("{way}{name}");
        return Err(ImageError::Foreign { file, found });
    }
    Ok(names)
}

/// The image behind `parent`, if there is one. CRIU follows it, so it must be a relative link on
/// whose way there is no other.
fn parent_of(directory: BorrowedFd<'_>, way: &str) -> Result<Option<OwnedFd>, ImageError> {
    let failed = |errno| ImageError::Read {
        file: format!("{way}{PARENT}"),
        errno,
    };
    let foreign = |found| ImageError::Foreign {
        file: format!("{way}{PARENT}"),
        found,
    };
    let target = match readlinkat(directory, PARENT) {
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::EINVAL) => return Err(foreign("not a link")),
        answer => answer.map_err(failed)?,
    };
    if target.as_encoded_bytes().starts_with(b"/") {
        return Err(foreign("an absolute link"));
    }
    let target = CString::new(target.as_encoded_bytes()).map_err(|_nul| failed(Errno::EINVAL))?;
    let flags = OpenFlags::DIRECTORY;
    match openat2(directory, &target, flags, 0, Resolve::NO_SYMLINKS) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP) => Err(foreign("a link to a path with another link")),
        Err(errno) => Err(failed(errno)),
    }
}

/// The entries of a file of mounts: two words, then messages, each after its length. Or what is
/// wrong with it.
fn entries(bytes: &[u8]) -> Result<Vec<MountEntry>, &'static str> {
    let damaged = "damaged";
    let header = word(bytes).and_then(|(common, rest)| Some((common, word(rest)?)));
    let Some((COMMON, (MOUNTS, mut rest))) = header else {
        return Err(damaged);
    };
    let mut mounts = Vec::new();
    while !rest.is_empty() {
        if mounts.len() == MOST_MOUNTS {
            return Err("a list of more than 4096 mounts");
        }
        let (mount, after) = next_entry(rest).ok_or(damaged)?;
        mounts.push(mount);
        rest = after;
    }
    Ok(mounts)
}

/// The first mount, and the bytes after it.
fn next_entry(bytes: &[u8]) -> Option<(MountEntry, &[u8])> {
    let (length, rest) = word(bytes)?;
    let (message, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((entry(message)?, rest))
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

fn entry(message: &[u8]) -> Option<MountEntry> {
    let mut mount = MountEntry::default();
    let mut has_flags_of_superblock = false;
    for field in Reader::new(message) {
        let (number, value) = field.ok()?;
        // Text that is not UTF-8 would not be what CRIU uses.
        let text = || str::from_utf8(value.bytes()).ok().map(str::to_owned);
        let small = || u32::try_from(value.number()).ok();
        match number {
            1 => mount.kind = small()?,
            2 => mount.id = small()?,
            3 => mount.device = small()?,
            4 => mount.parent = small()?,
            5 => mount.flags = small()?,
            6 => mount.root = text()?,
            7 => mount.point = text()?,
            10 => mount.sharing[0] = small()?,
            11 => mount.sharing[1] = small()?,
            12 | 16 => mount.is_special |= value.number() != 0,
            13 if value.number() != 0 => mount.external = mount.external.or(Some(String::new())),
            17 => has_flags_of_superblock = true,
            18 => mount.external = Some(text()?),
            _ => {}
        }
    }
    if !has_flags_of_superblock {
        // CRIU takes it for a flag of the file system then, and the mount becomes writable.
        mount.flags &= !READ_ONLY;
    }
    Some(mount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn file(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [COMMON.to_le_bytes(), MOUNTS.to_le_bytes()].concat();
        for message in messages {
            bytes.extend(u32::try_from(message.len()).unwrap().to_le_bytes());
            bytes.extend(message);
        }
        bytes
    }

    #[test]
    fn mounts_are_read_as_criu_writes_them() {
        let mut writer = Writer::default();
        writer.number(1, 5);
        writer.number(2, 71);
        writer.number(3, 40);
        writer.number(4, 70);
        writer.number(5, 1);
        writer.text(6, "/");
        writer.text(7, "/data");
        writer.text(8, "tmpfs");
        writer.number(11, 3);
        writer.number(17, 0);
        writer.text(18, "mount-0");
        let wanted = MountEntry {
            kind: mount_kind::TMPFS,
            id: 71,
            parent: 70,
            device: 40,
            root: "/".to_owned(),
            point: "/data".to_owned(),
            external: Some("mount-0".to_owned()),
            flags: 1,
            sharing: [0, 3],
            is_special: false,
        };
        assert!(wanted.is_shared());
        assert_eq!(entries(&file(&[writer.finish()])), Ok(vec![wanted]));
    }

    #[test]
    fn a_mount_without_flags_of_its_file_system_is_writable() {
        let mut writer = Writer::default();
        writer.number(5, 3);
        let read = entries(&file(&[writer.finish()])).unwrap();
        assert_eq!(read[0].flags, 2);
    }

    #[test]
    fn a_damaged_file_of_mounts_is_refused() {
        let whole = file(&[vec![0x3a, 2, b'/', b'a']]);
        assert!(entries(&whole).is_ok());
        for end in 1..whole.len() {
            if end != 8 {
                assert_eq!(entries(&whole[..end]), Err("damaged"), "{end}");
            }
        }
        assert_eq!(entries(&file(&[vec![0x3a, 1, 0xff]])), Err("damaged"));
        let mut other = whole;
        other[0] = 0;
        assert_eq!(entries(&other), Err("damaged"));
    }

    #[test]
    fn very_many_mounts_are_refused() {
        let of = |count| entries(&file(&vec![Vec::new(); count])).map(|mounts| mounts.len());
        assert_eq!(of(4096), Ok(4096));
        assert_eq!(of(4097), Err("a list of more than 4096 mounts"));
    }
}
