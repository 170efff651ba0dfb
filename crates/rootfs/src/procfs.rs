//! A trusted procfs. Sysctls and labels are written through it.
//!
//! The container's /proc may be covered or be something else (CVE-2025-52881). This instance is
//! made in init, in its own PID namespace, and never attached; names in it are looked up without
//! links and without crossing mounts. In a user namespace the kernel gives a new procfs only while
//! a complete one is visible, so it is made before anything is masked. It gives none for a PID
//! namespace of another user namespace: then the runtime opens its own /proc before the clone.

use crate::ground::detached;
use kernel::fs;
use kernel::mount::MountAttr;
use kernel::path::{self, OpenFlags, Resolve};
use kernel::{Call, Errno, Failed};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Makes the private instance.
pub(crate) fn make() -> Result<OwnedFd, Failed> {
    let attributes = MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    detached(c"proc", [], attributes)
}

/// Opens this process' own /proc, which the container cannot reach. A process in any PID namespace
/// below finds its own entry in it.
///
/// # Errors
/// ENOTDIR: it is not a procfs. Those of open(2).
pub fn own() -> Result<OwnedFd, Errno> {
    let flags = OpenFlags::DIRECTORY;
    let procfs = path::open(c"/proc", flags)?;
    match fs::filesystem_magic(procfs.as_fd())? {
        fs::PROC_MAGIC => Ok(procfs),
        _ => Err(Errno::ENOTDIR),
    }
}

/// One value to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// Below the root of a procfs: `sys/net/ipv4/ip_forward`.
    pub(crate) path: CString,
    pub(crate) value: Vec<u8>,
}

impl Sysctl {
    /// Writes it in one call, since for the kernel each write is a whole value.
    pub(crate) fn apply(&self, procfs: BorrowedFd<'_>) -> Result<(), Failed> {
        let resolve =
            Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_MAGICLINKS | Resolve::NO_XDEV;
        let file = crate::root::look_up(procfs, &self.path, OpenFlags::WRITE, resolve)
            .map_err(Failed::of(Call::Openat2))?;
        let taken = fs::write(file.as_fd(), &self.value).map_err(Failed::of(Call::Sysctl))?;
        if taken == self.value.len() {
            Ok(())
        } else {
            Err(Failed::of(Call::Sysctl)(Errno::EIO))
        }
    }
}

/// The path of a sysctl in dotted form. A slash within a component stands for a dot, as in
/// sysctl(8): `net.ipv4.conf.eth0/1.forwarding`. `None`: it does not name a file below /proc/sys.
pub(crate) fn path_of(key: &str) -> Option<CString> {
    let path = swap(key);
    let sound = |component: &str| !matches!(component, "" | "." | "..");
    if !path.split('/').all(sound) {
        return None;
    }
    CString::new(format!("sys/{path}")).ok()
}

/// The dotted form of a path that [`path_of`] has made.
pub(crate) fn key_of(path: &CStr) -> String {
    let path = path.to_string_lossy();
    swap(path.strip_prefix("sys/").unwrap_or(&path))
}

fn swap(text: &str) -> String {
    let swapped = text.chars().map(|character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_become_directories_and_slashes_dots() {
        assert_eq!(
            path_of("net.ipv4.conf.eth0/1.forwarding").as_deref(),
            Some(c"sys/net/ipv4/conf/eth0.1/forwarding")
        );
    }

    #[test]
    fn no_key_leads_out_of_proc_sys() {
        for key in ["", "net..ipv4", "net.//.x", ".net", "net.", "a./.b", "a\0b"] {
            assert_eq!(path_of(key), None, "{key:?}");
        }
    }
}
