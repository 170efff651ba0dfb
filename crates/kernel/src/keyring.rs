//! The session keyring of this process. See keyrings(7), session-keyring(7).

use crate::errno::{Errno, ret};
use std::ffi::c_char;
use std::ptr;

bitflags::bitflags! {
    /// The permissions of a key: one byte each for possessor, owner, group and others. See
    /// keyctl_setperm(3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KeyPermissions: u32 {
        /// A possessor may view, read, write, search, link and change the key.
        const POSSESSOR_ALL = 0x3f00_0000;
    }
}

/// KEY_SPEC_SESSION_KEYRING: the caller's own session keyring, possessed.
const SESSION: libc::c_int = -3;

/// Creates a new, anonymous session keyring for this process. See keyctl_join_session_keyring(3).
///
/// # Errors
/// ENOSYS: this kernel has no keyrings. EDQUOT: the user has as many keys as /proc/sys/kernel/keys
/// permits.
pub fn join_new_session() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name is permitted and means "anonymous".
    ret(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    })
}

/// Sets the permissions of this process' session keyring; permissions that are not named are
/// denied. See keyctl_setperm(3).
pub fn set_session_permissions(permissions: KeyPermissions) -> Result<(), Errno> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    // SAFETY: no memory is passed.
    ret(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_SETPERM,
            SESSION,
            permissions.bits(),
        )
    })
}
