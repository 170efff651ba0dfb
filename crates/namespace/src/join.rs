//! Namespaces given by path: opened once, checked on the handle, joined by the handle.

use crate::{Error, Kind, kind};
use kernel::clone::{namespace_of, namespace_type, pidfd_open};
use kernel::errno::errno_of;
use nix::unistd::getpid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// A namespace that will be joined; its type has been checked.
#[derive(Debug)]
pub struct Joined {
    /// Its kind.
    pub kind: Kind,
    /// Its handle, close-on-exec.
    pub fd: OwnedFd,
    /// Its identity: the inode number in the kernel's nsfs.
    pub inode: u64,
}

impl Joined {
    /// Opens the namespace of `kind` at `path`, a path of the host.
    pub fn open(kind: Kind, path: &Path) -> Result<Self, Error> {
        let pointer = || format!("/linux/namespaces ({})", kind.name());
        let failed = |error: &io::Error| Error::Open {
            pointer: pointer(),
            path: path.to_owned(),
            errno: errno_of(error),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a path of the host, from the engine"
        )]
        let file = File::open(path).map_err(|error| failed(&error))?;
        let found = match namespace_type(file.as_fd()) {
            Ok(found) => found,
            Err(_not_nsfs) => {
                let wanted = kind.file();
                return Err(Error::NoNamespace {
                    pointer: pointer(),
                    path: path.to_owned(),
                    wanted,
                });
            }
        };
        if found != kind::flag(kind) {
            let found = kind::from_flag(found).map_or_else(
                || format!("{:#x}", found.bits()),
                |kind| kind.name().to_owned(),
            );
            let (pointer, path, wanted) = (pointer(), path.to_owned(), kind.name());
            return Err(Error::WrongType {
                pointer,
                path,
                found,
                wanted,
            });
        }
        let inode = file.metadata().map_err(|error| failed(&error))?.ino();
        Ok(Self {
            kind,
            fd: file.into(),
            inode,
        })
    }
}

/// The identity of the namespace of `kind` that this process is in; `None` if the kernel does not
/// have this kind. Asked once: this program leaves its own namespaces only for a moment, or after a
/// clone.
pub fn own_inode(kind: Kind) -> Option<u64> {
    static OWN: OnceLock<Vec<(Kind, u64)>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let own = pidfd_open(getpid().as_raw());
        let inode = |kind| match &own {
            Ok(own) => inode_behind(own.as_fd(), "self", kind),
            Err(_no_descriptors) => inode_of("self", kind),
        };
        let known = |kind| Some((kind, inode(kind).ok()?));
        Kind::ALL.into_iter().filter_map(known).collect()
    });
    let found = own.iter().find(|(other, _)| *other == kind);
    found.map(|(_, inode)| *inode)
}

/// The identity of the namespace of `kind` that the process behind `pidfd` is in. `pid`: its number
/// in /proc, where a kernel before Linux 6.11 is asked. For a process that is new in /proc, this
/// look-up costs several times as much.
pub(crate) fn inode_behind(pidfd: BorrowedFd<'_>, pid: &str, kind: Kind) -> io::Result<u64> {
    match namespace_of(pidfd, kind::flag(kind)) {
        Ok(found) => Ok(File::from(found).metadata()?.ino()),
        Err(_unknown) => inode_of(pid, kind),
    }
}

/// The identity of the namespace of `kind` that process `pid` is in, from the host's /proc.
pub fn inode_of(pid: &str, kind: Kind) -> io::Result<u64> {
    let path = format!("/proc/{pid}/ns/{}", kind.file());
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's own /proc, never a container's"
    )]
    let link = std::fs::read_link(path)?;
    let number = link
        .to_str()
        .and_then(|text| text.split_once(":[")?.1.strip_suffix(']'));
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespaces_are_recognised() {
        for kind in Kind::ALL {
            let path = format!("/proc/self/ns/{}", kind.file());
            let joined = Joined::open(kind, Path::new(&path)).unwrap();
            assert_eq!(own_inode(kind), Some(joined.inode), "{kind:?}");
            assert_eq!(inode_of("self", kind).unwrap(), joined.inode, "{kind:?}");
        }
    }

    #[test]
    fn a_wrong_type_is_named() {
        let error = Joined::open(Kind::Uts, Path::new("/proc/self/ns/ipc")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/linux/namespaces (uts): \"/proc/self/ns/ipc\" is a namespace of type ipc, wanted uts"
        );
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let error = Joined::open(Kind::Network, Path::new("/proc/self/status")).unwrap_err();
        assert!(error.to_string().contains("is not a namespace"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named_with_its_reason() {
        let error = Joined::open(Kind::Network, Path::new("/run/netns/missing-here")).unwrap_err();
        assert!(
            error.to_string().ends_with("no such file or directory"),
            "{error}"
        );
    }
}
