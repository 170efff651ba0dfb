//! seccomp(2): load a classic BPF filter.

use crate::errno::{Errno, ret, ret_fd, ret_number};
use std::os::fd::OwnedFd;

bitflags::bitflags! {
    /// How a filter is installed. See seccomp(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct FilterFlags: u32 {
        /// For every thread of the process; Linux 3.17.
        const TSYNC = 1;
        /// Every action but ALLOW is logged; Linux 4.14.
        const LOG = 1 << 1;
        /// No speculative store bypass mitigation; Linux 4.17.
        const SPEC_ALLOW = 1 << 2;
        /// The call returns a descriptor for notifications; Linux 5.0.
        const NEW_LISTENER = 1 << 3;
        /// While a received notification is answered, only a fatal signal interrupts the caller;
        /// Linux 5.19, with a listener.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

/// One instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// The number of instructions that a jump skips if its test is true.
    pub jt: u8,
    /// The number that it skips otherwise.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

const SET_MODE_FILTER: libc::c_uint = 1;

/// Installs `program` in addition to the existing filters of this process. Returns the descriptor
/// for notifications (close-on-exec) if and only if `flags` has NEW_LISTENER. See seccomp(2).
///
/// # Errors
/// EINVAL: more than 4096 instructions, or the kernel's checker refuses them. EACCES: neither
/// no_new_privs nor CAP_SYS_ADMIN. EBUSY: a filter of this process has a listener already. ENOMEM:
/// all filters together are too long.
pub fn load(program: &[Instruction], flags: FilterFlags) -> Result<Option<OwnedFd>, Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_too_long| Errno::EINVAL)?;
    let fprog = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the pointer and the length are those of one slice whose elements have the layout of
    // `struct sock_filter`; the kernel only reads them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            &raw const fprog,
        )
    };
    if flags.contains(FilterFlags::NEW_LISTENER) {
        return ret_fd(answer).map(Some);
    }
    // With TSYNC a positive result is a failure too: the id of a thread that could not get the
    // filter.
    match ret_number(answer)? {
        0 => Ok(None),
        _thread => Err(Errno::ESRCH),
    }
}

/// Whether this kernel knows the flags. A load with an invalid address fails with EINVAL if the
/// kernel does not know them; any other error has another cause.
pub fn flags_available(flags: FilterFlags) -> bool {
    // SAFETY: the kernel refuses a null program before it installs anything.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    ret(answer) != Err(Errno::EINVAL)
}
