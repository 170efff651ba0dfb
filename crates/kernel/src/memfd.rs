//! Files in memory that cannot change any more, and how this program was found.

use crate::errno::{Errno, ret, ret_fd, ret_number};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

bitflags::bitflags! {
    /// What can no longer be done to a file in memory. See fcntl(2), file sealing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Seals: i32 {
        /// Add a seal.
        const SEAL = libc::F_SEAL_SEAL;
        /// Make it shorter.
        const SHRINK = libc::F_SEAL_SHRINK;
        /// Make it longer.
        const GROW = libc::F_SEAL_GROW;
        /// Write to it.
        const WRITE = libc::F_SEAL_WRITE;
    }
}

/// Makes an empty, executable file in memory that can be sealed; close-on-exec. `name` is only for looking at.
/// See memfd_create(2).
///
/// # Errors
/// EACCES: the sysctl vm.memfd_noexec is 2. EMFILE, ENFILE, ENOMEM.
pub fn memfd_create(name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match memfd_create_raw(name, flags | libc::MFD_EXEC) {
        // Before Linux 6.3 every such file is executable and the flag is unknown.
        Err(Errno::EINVAL) => memfd_create_raw(name, flags),
        result => result,
    }
}

fn memfd_create_raw(name: &CStr, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a C string.
    ret_fd(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
}

/// Adds seals.
///
/// # Errors
/// EBUSY: the file is mapped for writing where WRITE is wanted. EPERM: sealed against it, or not open for writing.
pub fn add_seals(fd: BorrowedFd<'_>, seals: Seals) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for the call and the argument is a number.
    ret(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals.bits()) }.into())
}

/// The seals of a file.
///
/// # Errors
/// EINVAL: not a file in memory. EBADF: opened with O_PATH.
pub fn seals(fd: BorrowedFd<'_>) -> Result<Seals, Errno> {
    // SAFETY: the request takes no argument.
    let bits = ret_number(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) }.into())?;
    let bits = i32::try_from(bits).map_err(|_too_large| Errno::ERANGE)?;
    Ok(Seals::from_bits_truncate(bits))
}

/// Whether this program was executed through a descriptor (execveat with an empty path, fexecve): the kernel
/// then calls it /dev/fd/N. See getauxval(3), AT_EXECFN.
pub fn executed_by_descriptor() -> bool {
    // SAFETY: no memory is passed.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let name =
        std::ptr::with_exposed_provenance::<libc::c_char>(usize::try_from(address).unwrap_or(0));
    if name.is_null() {
        return false;
    }
    // SAFETY: the kernel has put a C string there, on the stack's end, where it stays.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_bytes().starts_with(b"/dev/fd/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_sealed_file_cannot_be_written() {
        let mut file = File::from(memfd_create(c"test").unwrap());
        file.write_all(b"once").unwrap();
        assert_eq!(seals(file.as_fd()), Ok(Seals::empty()));
        add_seals(file.as_fd(), Seals::all()).unwrap();
        assert_eq!(seals(file.as_fd()), Ok(Seals::all()));
        let error = file.write_all(b"again").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert_eq!(add_seals(file.as_fd(), Seals::WRITE), Err(Errno::EPERM));
    }

    #[test]
    fn other_files_have_no_seals() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(seals(reader.as_fd()), Err(Errno::EINVAL));
    }

    #[test]
    fn a_program_that_was_named_was_not_executed_by_descriptor() {
        assert!(!executed_by_descriptor());
    }
}
