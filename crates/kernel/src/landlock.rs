//! Landlock: rulesets with which a process restricts itself and its descendants. See landlock(7).

use crate::errno::{Errno, ret, ret_fd, ret_number};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The rights that a ruleset denies unless a rule allows them: `struct landlock_ruleset_attr` of
/// linux/landlock.h, without the fields after ABI 6. A kernel that does not know a field accepts it
/// if it is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handled {
    /// LANDLOCK_ACCESS_FS_*.
    pub fs: u64,
    /// LANDLOCK_ACCESS_NET_*; ABI 4.
    pub net: u64,
    /// LANDLOCK_SCOPE_*; ABI 6.
    pub scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which the kernel declares packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

bitflags::bitflags! {
    /// How a ruleset is enforced. See landlock_restrict_self(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RestrictFlags: u32 {
        /// Denials go to the audit log also after an execve(2); ABI 7.
        const LOG_NEW_EXEC_ON = 1 << 1;
    }
}

const CREATE_RULESET_VERSION: libc::c_uint = 1;
const RULE_PATH_BENEATH: libc::c_uint = 1;
const RULE_NET_PORT: libc::c_uint = 2;

/// The newest ABI that this kernel has, at least 1.
///
/// # Errors
/// ENOSYS: built without Landlock, or before Linux 5.13. EOPNOTSUPP: off since boot (`lsm=`).
pub fn abi() -> Result<u32, Errno> {
    // SAFETY: with this flag the kernel requires a null pointer and a size of zero.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Handled>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    ret_number(answer).map(|abi| u32::try_from(abi).unwrap_or(u32::MAX))
}

/// Makes a ruleset that denies the handled rights; the descriptor is close-on-exec. Linux 5.13.
///
/// # Errors
/// EINVAL: an unknown right. E2BIG: a field that this kernel does not have is not zero. ENOMSG: no
/// right is handled.
pub fn create_ruleset(handled: Handled) -> Result<OwnedFd, Errno> {
    // SAFETY: the pointer refers to a whole structure of the given size; the kernel only reads it.
    ret_fd(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const handled,
            size_of_val(&handled),
            0_u32,
        )
    })
}

/// Allows `allowed` (LANDLOCK_ACCESS_FS_*) at `parent` and beneath it; an O_PATH handle is enough.
/// Linux 5.13.
///
/// # Errors
/// EINVAL: `allowed` is not handled, or applies to directories and `parent` is not one. ENOMSG: no
/// right is allowed. EBADFD: `parent` is on a file system without names.
pub fn allow_beneath(
    ruleset: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    allowed: u64,
) -> Result<(), Errno> {
    let rule = PathBeneath {
        allowed,
        parent: parent.as_raw_fd(),
    };
    add_rule(ruleset, RULE_PATH_BENEATH, &rule)
}

/// Allows `allowed` (LANDLOCK_ACCESS_NET_*) for one port. Linux 6.7.
///
/// # Errors
/// EINVAL: `allowed` is not handled. EAFNOSUPPORT: a kernel without TCP/IP.
pub fn allow_port(ruleset: BorrowedFd<'_>, port: u16, allowed: u64) -> Result<(), Errno> {
    let rule = NetPort {
        allowed,
        port: port.into(),
    };
    add_rule(ruleset, RULE_NET_PORT, &rule)
}

fn add_rule<T>(ruleset: BorrowedFd<'_>, kind: u32, rule: &T) -> Result<(), Errno> {
    let number = libc::SYS_landlock_add_rule;
    // SAFETY: both callers give the structure of their kind, which the kernel only reads.
    ret(unsafe { libc::syscall(number, ruleset.as_raw_fd(), kind, &raw const *rule, 0_u32) })
}

/// Restricts this thread and its future children to the ruleset. This cannot be undone. Linux 5.13.
///
/// # Errors
/// EPERM: neither no_new_privs nor CAP_SYS_ADMIN in the user namespace. E2BIG: 16 rulesets are
/// active already. EINVAL: an unknown flag.
pub fn restrict_self(ruleset: BorrowedFd<'_>, flags: RestrictFlags) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for the call.
    ret(unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            ruleset.as_raw_fd(),
            flags.bits(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_structure_has_the_size_of_the_kernels() {
        assert_eq!(size_of::<Handled>(), 24);
        assert_eq!(size_of::<PathBeneath>(), 12);
        assert_eq!(size_of::<NetPort>(), 16);
    }

    #[test]
    fn a_ruleset_takes_rules_for_what_it_handles_alone() {
        let handled = Handled {
            fs: 1 << 2,
            ..Handled::default()
        };
        let Ok(abi) = abi() else {
            let refused = create_ruleset(handled).unwrap_err();
            assert!(matches!(refused, Errno::ENOSYS | Errno::EOPNOTSUPP));
            return;
        };
        assert!(abi >= 1);
        let root = File::open("/").unwrap();
        let ruleset = create_ruleset(handled).unwrap();
        let allow = |allowed| allow_beneath(ruleset.as_fd(), root.as_fd(), allowed);
        assert_eq!(allow(1 << 2), Ok(()));
        assert_eq!(allow(1 << 1), Err(Errno::EINVAL));
        assert_eq!(allow(0), Err(Errno::ENOMSG));
        assert_eq!(
            create_ruleset(Handled::default()).err(),
            Some(Errno::ENOMSG)
        );
    }
}
