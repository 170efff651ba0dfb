//! Which arguments the kernel reads as 32 bits.
//!
//! A filter sees 64 bits of every argument. If the kernel reads only the lower half, a caller can
//! set bits of the upper half: the call does the same, but a comparison of all 64 bits gives
//! another result (CVE-2026-123876). This module decides which comparisons a caller can evade in
//! this way. The table has the calls that profiles have conditions on; there is no warning for
//! other calls.

use spec::container::{SeccompAction, SeccompArg, SeccompOp};

/// Calls and their arguments of type `int`, `unsigned int`, `pid_t`, `uid_t`, `mode_t` and the
/// like, in Linux 6.12. `personality`, for one, has `unsigned int`, but `clone`, `mmap` and
/// `ptrace` have `unsigned long`.
const NARROW: &[(&str, &[u8])] = &[
    ("accept4", &[0, 3]),
    ("arch_prctl", &[0]),
    ("bpf", &[0, 2]),
    ("chown", &[1, 2]),
    ("clock_adjtime", &[0]),
    ("clock_settime", &[0]),
    ("epoll_ctl", &[0, 1, 2]),
    ("fchown", &[0, 1, 2]),
    ("fcntl", &[0, 1]),
    ("fsconfig", &[0, 1, 4]),
    ("fsopen", &[1]),
    ("futex", &[1, 2]),
    ("getpriority", &[0, 1]),
    ("getsockopt", &[0, 1, 2]),
    ("io_uring_register", &[0, 1, 3]),
    ("io_uring_setup", &[0]),
    ("ioctl", &[0, 1]),
    ("iopl", &[0]),
    ("ioprio_set", &[0, 1, 2]),
    ("kcmp", &[0, 1, 2]),
    ("keyctl", &[0]),
    ("kill", &[0, 1]),
    ("lchown", &[1, 2]),
    ("madvise", &[2]),
    ("memfd_create", &[1]),
    ("mknod", &[1, 2]),
    ("mknodat", &[0, 2, 3]),
    ("mlockall", &[0]),
    ("modify_ldt", &[0]),
    ("mount_setattr", &[0, 2]),
    ("move_mount", &[0, 2, 4]),
    ("open", &[1, 2]),
    ("open_by_handle_at", &[0, 2]),
    ("open_tree", &[0, 2]),
    ("openat", &[0, 2, 3]),
    ("perf_event_open", &[1, 2, 3]),
    ("personality", &[0]),
    ("pidfd_getfd", &[0, 1, 2]),
    ("pidfd_open", &[0, 1]),
    ("pidfd_send_signal", &[0, 1, 3]),
    ("prctl", &[0]),
    ("prlimit64", &[0, 1]),
    ("quotactl", &[0]),
    ("sched_setscheduler", &[0, 1]),
    ("seccomp", &[0, 1]),
    ("setfsgid", &[0]),
    ("setfsuid", &[0]),
    ("setgid", &[0]),
    ("setns", &[0, 1]),
    ("setpriority", &[0, 1, 2]),
    ("setregid", &[0, 1]),
    ("setresgid", &[0, 1, 2]),
    ("setresuid", &[0, 1, 2]),
    ("setreuid", &[0, 1]),
    ("setrlimit", &[0]),
    ("setsockopt", &[0, 1, 2, 4]),
    ("setuid", &[0]),
    ("socket", &[0, 1, 2]),
    ("socketcall", &[0]),
    ("socketpair", &[0, 1, 2]),
    ("syslog", &[0, 2]),
    ("tgkill", &[0, 1, 2]),
    ("timerfd_create", &[0, 1]),
    ("tkill", &[0, 1]),
    ("umount2", &[1]),
    ("unlinkat", &[0, 2]),
];

/// Whether a caller of `syscall` can evade the rule by setting bits that the kernel does not read.
/// A rule that permits is evaded if it then holds; a rule that forbids is evaded if it no longer
/// holds.
pub(crate) fn is_evaded(syscall: &str, arg: &SeccompArg, action: SeccompAction) -> bool {
    let is_narrow = NARROW
        .binary_search_by_key(&syscall, |(name, _)| *name)
        .is_ok_and(|at| NARROW[at].1.contains(&arg.index));
    let permits = matches!(action, SeccompAction::Allow | SeccompAction::Log);
    is_narrow
        && match arg.op {
            SeccompOp::ScmpCmpNe | SeccompOp::ScmpCmpGt | SeccompOp::ScmpCmpGe => permits,
            SeccompOp::ScmpCmpEq | SeccompOp::ScmpCmpLt | SeccompOp::ScmpCmpLe => !permits,
            SeccompOp::ScmpCmpMaskedEq => !permits && arg.value > u64::from(u32::MAX),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::Syscall;

    #[test]
    fn the_table_is_sorted_and_has_calls_that_exist() {
        assert!(NARROW.is_sorted_by(|one, two| one.0 < two.0));
        for (name, args) in NARROW {
            assert!(Syscall::named(name).is_some(), "{name}");
            assert!(args.iter().all(|index| *index < 6), "{name}");
        }
    }

    #[test]
    fn what_upper_bits_change_in_the_callers_favour_is_an_evasion() {
        use SeccompAction::{Allow, Errno};
        use SeccompOp::{ScmpCmpEq as Eq, ScmpCmpGt as Gt, ScmpCmpLt as Lt, ScmpCmpNe as Ne};
        let evaded = |name, index, op, action| {
            let arg = SeccompArg {
                index,
                op,
                value: 40,
                value_two: 0,
            };
            is_evaded(name, &arg, action)
        };
        assert!(evaded("socket", 0, Ne, Allow) && !evaded("socket", 0, Ne, Errno(1)));
        assert!(evaded("socket", 0, Eq, Errno(1)) && !evaded("socket", 0, Eq, Allow));
        assert!(evaded("prctl", 0, Gt, Allow) && evaded("prctl", 0, Lt, Errno(1)));
        // The kernel reads all 64 bits of these.
        assert!(!evaded("clone", 0, Ne, Allow) && !evaded("prctl", 1, Eq, Errno(1)));
        let masked = |mask| SeccompArg {
            index: 0,
            op: SeccompOp::ScmpCmpMaskedEq,
            value: mask,
            value_two: 40,
        };
        assert!(!is_evaded("socket", &masked(0xffff_ffff), Errno(1)));
        assert!(is_evaded("socket", &masked(u64::MAX), Errno(1)));
    }
}
