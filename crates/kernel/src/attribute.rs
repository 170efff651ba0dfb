//! Extended attributes of files, and random numbers as unique ids.

use crate::errno::{Errno, ret};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets the extended attribute `name` of an open file. See fsetxattr(2); not for O_PATH
/// descriptors.
///
/// # Errors
/// EPERM: names below `trusted.` need CAP_SYS_ADMIN in the initial user namespace. ENOTSUP: the
/// file system has no such names.
pub fn set_attribute(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name is a C string; the pointer and the length are those of one slice.
    ret(unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    }
    .into())
}

/// Reads the extended attribute `name` of an open file into `buffer`; returns its length. See
/// fgetxattr(2).
///
/// # Errors
/// ENODATA: there is none, or the caller may not see it. ERANGE: the buffer is too short.
pub fn attribute(fd: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the name is a C string; the pointer and the length are those of one slice.
    let length = unsafe {
        libc::fgetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_negative| Errno::last())
}

/// A random number that cannot be guessed. See getrandom(2).
///
/// # Errors
/// EINTR: a signal came before the kernel had collected enough, early in its boot.
pub fn random() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    // SAFETY: the pointer and the length are those of one array.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(length) {
        // The kernel always returns up to 256 bytes at once.
        Ok(_whole) => Ok(u64::from_ne_bytes(bytes)),
        Err(_negative) => Err(Errno::last()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_random_numbers_differ() {
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
