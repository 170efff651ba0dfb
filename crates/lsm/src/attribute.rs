//! One attribute of a thread, below /proc/thread-self/attr.
//!
//! A thread writes only its own attributes. It reads each value back at once and compares: the
//! write also succeeds if no policy is loaded, and the kernel may understand another label than
//! intended.

use crate::{apparmor, selinux};
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::{Call, Errno, Failed, fs};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// The longest value that every kernel accepts in one write: the smallest page. It would cut a
/// longer one. See proc_pid_attr_write() of fs/proc/base.c.
pub(crate) const LIMIT: usize = 4096;

/// An attribute that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// The AppArmor profile of the next program. AppArmor has its own directory since Linux 5.8;
    /// `attr/exec` belongs to the first module.
    ApparmorExec,
    /// The SELinux context of the next program.
    SelinuxExec,
    /// The SELinux context of keys that the thread makes.
    SelinuxKey,
}

impl Attribute {
    /// The path below the root of a procfs. The first component is a link to the thread's
    /// directory.
    fn path(self) -> &'static CStr {
        match self {
            Self::ApparmorExec => c"thread-self/attr/apparmor/exec",
            Self::SelinuxExec => c"thread-self/attr/exec",
            Self::SelinuxKey => c"thread-self/attr/keycreate",
        }
    }

    /// JSON pointer of the property that it comes from.
    pub(crate) fn pointer(self) -> &'static str {
        match self {
            Self::ApparmorExec => "/process/apparmorProfile",
            Self::SelinuxExec | Self::SelinuxKey => "/process/selinuxLabel",
        }
    }

    fn same(self, written: &[u8], held: &[u8]) -> bool {
        match self {
            Self::ApparmorExec => apparmor::same(written, held),
            Self::SelinuxExec | Self::SelinuxKey => selinux::same(written, held),
        }
    }
}

/// A value for an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) attribute: Attribute,
    pub(crate) value: Vec<u8>,
}

impl Write {
    /// Writes it, below the given procfs, and verifies it.
    pub(crate) fn apply(&self, procfs: BorrowedFd<'_>, index: usize) -> Result<(), Failed> {
        let at = |call| Failed::at(call, index);
        let path = self.attribute.path();
        let resolve = Resolve::BENEATH | Resolve::NO_MAGICLINKS | Resolve::NO_XDEV;
        let file =
            openat2(procfs, path, OpenFlags::READ_WRITE, 0, resolve).map_err(at(Call::Openat2))?;
        put(file.as_fd(), &self.value).map_err(at(Call::Attribute))?;
        let mut held = [0; LIMIT];
        let length = fs::read_start(file.as_fd(), &mut held).map_err(at(Call::Read))?;
        let held = held.get(..length).unwrap_or_default();
        if self.attribute.same(&self.value, held) {
            Ok(())
        } else {
            Err(at(Call::Verify)(Errno::EPERM))
        }
    }

    /// Undoes the write: the kernel uses its own choice again.
    pub(crate) fn reset(&self, procfs: BorrowedFd<'_>, index: usize) -> Result<(), Failed> {
        let resolve = Resolve::BENEATH | Resolve::NO_MAGICLINKS | Resolve::NO_XDEV;
        let file = openat2(procfs, self.attribute.path(), OpenFlags::WRITE, 0, resolve)
            .map_err(Failed::at(Call::Openat2, index))?;
        put(file.as_fd(), b"\n").map_err(Failed::at(Call::Attribute, index))
    }
}

/// In one call, since the kernel treats each write as a whole value.
fn put(file: BorrowedFd<'_>, value: &[u8]) -> Result<(), Errno> {
    if fs::write(file, value)? == value.len() {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}
