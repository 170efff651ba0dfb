//! The words of the specification and what they stand for.
//!
//! Every table is the one place where its words are spelled; a word that is missing here does not
//! exist for the readers.

use crate::container::{
    Personality, Propagation, PropagationKind, SeccompArch, SeccompFlag, SeccompOp,
};

/// Capability names in the order of their numbers, see linux/capability.h (Linux 5.9 and later).
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// `process.rlimits[].type` and the resource numbers of asm-generic/resource.h.
pub(crate) const RLIMITS: [(&str, u32); 16] = [
    ("RLIMIT_CPU", 0),
    ("RLIMIT_FSIZE", 1),
    ("RLIMIT_DATA", 2),
    ("RLIMIT_STACK", 3),
    ("RLIMIT_CORE", 4),
    ("RLIMIT_RSS", 5),
    ("RLIMIT_NPROC", 6),
    ("RLIMIT_NOFILE", 7),
    ("RLIMIT_MEMLOCK", 8),
    ("RLIMIT_AS", 9),
    ("RLIMIT_LOCKS", 10),
    ("RLIMIT_SIGPENDING", 11),
    ("RLIMIT_MSGQUEUE", 12),
    ("RLIMIT_NICE", 13),
    ("RLIMIT_RTPRIO", 14),
    ("RLIMIT_RTTIME", 15),
];

/// A kind of namespace, as `linux.namespaces[].type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

/// `linux.namespaces[].type`.
pub(crate) const NAMESPACES: [(&str, Kind); 8] = [
    ("pid", Kind::Pid),
    ("network", Kind::Network),
    ("mount", Kind::Mount),
    ("ipc", Kind::Ipc),
    ("uts", Kind::Uts),
    ("user", Kind::User),
    ("cgroup", Kind::Cgroup),
    ("time", Kind::Time),
];

const fn alone(kind: PropagationKind) -> Propagation {
    Propagation {
        kind,
        recursive: false,
    }
}

const fn with_mounts_below(kind: PropagationKind) -> Propagation {
    Propagation {
        kind,
        recursive: true,
    }
}

/// `linux.rootfsPropagation`.
pub(crate) const PROPAGATIONS: [(&str, Propagation); 8] = [
    ("private", alone(PropagationKind::Private)),
    ("rprivate", with_mounts_below(PropagationKind::Private)),
    ("slave", alone(PropagationKind::Slave)),
    ("rslave", with_mounts_below(PropagationKind::Slave)),
    ("shared", alone(PropagationKind::Shared)),
    ("rshared", with_mounts_below(PropagationKind::Shared)),
    ("unbindable", alone(PropagationKind::Unbindable)),
    (
        "runbindable",
        with_mounts_below(PropagationKind::Unbindable),
    ),
];

/// `linux.personality.domain`.
pub(crate) const PERSONALITIES: [(&str, Personality); 2] = [
    ("LINUX", Personality::Linux),
    ("LINUX32", Personality::Linux32),
];

/// A seccomp action before its number is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    KillProcess,
    KillThread,
    Trap,
    Errno,
    Trace,
    Log,
    Allow,
    Notify,
}

/// `seccomp.defaultAction` and `seccomp.syscalls[].action`.
pub(crate) const ACTIONS: [(&str, Action); 9] = [
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_TRAP", Action::Trap),
    ("SCMP_ACT_ERRNO", Action::Errno),
    ("SCMP_ACT_TRACE", Action::Trace),
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_NOTIFY", Action::Notify),
];

/// `seccomp.syscalls[].args[].op`.
pub(crate) const OPERATORS: [(&str, SeccompOp); 7] = [
    ("SCMP_CMP_NE", SeccompOp::NotEqual),
    ("SCMP_CMP_LT", SeccompOp::Less),
    ("SCMP_CMP_LE", SeccompOp::LessOrEqual),
    ("SCMP_CMP_EQ", SeccompOp::Equal),
    ("SCMP_CMP_GE", SeccompOp::GreaterOrEqual),
    ("SCMP_CMP_GT", SeccompOp::Greater),
    ("SCMP_CMP_MASKED_EQ", SeccompOp::MaskedEqual),
];

/// `seccomp.flags`.
pub(crate) const FLAGS: [(&str, SeccompFlag); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", SeccompFlag::Tsync),
    ("SECCOMP_FILTER_FLAG_LOG", SeccompFlag::Log),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SeccompFlag::SpecAllow),
    (
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        SeccompFlag::WaitKillableRecv,
    ),
];

/// `seccomp.architectures`.
pub(crate) const ARCHITECTURES: [(&str, SeccompArch); 23] = [
    ("SCMP_ARCH_X86", SeccompArch::X86),
    ("SCMP_ARCH_X86_64", SeccompArch::X86_64),
    ("SCMP_ARCH_X32", SeccompArch::X32),
    ("SCMP_ARCH_ARM", SeccompArch::Arm),
    ("SCMP_ARCH_AARCH64", SeccompArch::Aarch64),
    ("SCMP_ARCH_MIPS", SeccompArch::Mips),
    ("SCMP_ARCH_MIPS64", SeccompArch::Mips64),
    ("SCMP_ARCH_MIPS64N32", SeccompArch::Mips64N32),
    ("SCMP_ARCH_MIPSEL", SeccompArch::Mipsel),
    ("SCMP_ARCH_MIPSEL64", SeccompArch::Mipsel64),
    ("SCMP_ARCH_MIPSEL64N32", SeccompArch::Mipsel64N32),
    ("SCMP_ARCH_PPC", SeccompArch::Ppc),
    ("SCMP_ARCH_PPC64", SeccompArch::Ppc64),
    ("SCMP_ARCH_PPC64LE", SeccompArch::Ppc64Le),
    ("SCMP_ARCH_S390", SeccompArch::S390),
    ("SCMP_ARCH_S390X", SeccompArch::S390X),
    ("SCMP_ARCH_PARISC", SeccompArch::Parisc),
    ("SCMP_ARCH_PARISC64", SeccompArch::Parisc64),
    ("SCMP_ARCH_RISCV64", SeccompArch::Riscv64),
    ("SCMP_ARCH_LOONGARCH64", SeccompArch::Loongarch64),
    ("SCMP_ARCH_M68K", SeccompArch::M68k),
    ("SCMP_ARCH_SH", SeccompArch::Sh),
    ("SCMP_ARCH_SHEB", SeccompArch::Sheb),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_numbers_are_those_of_the_kernel() {
        let number = |name| CAPABILITIES.iter().position(|known| *known == name);
        let cases = [
            ("CAP_CHOWN", 0),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_MKNOD", 27),
            ("CAP_SETFCAP", 31),
            ("CAP_SYSLOG", 34),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ];
        for (name, expected) in cases {
            assert_eq!(number(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn resource_numbers_are_those_of_this_architecture() {
        let cases = [
            ("RLIMIT_NPROC", u64::from(libc::RLIMIT_NPROC)),
            ("RLIMIT_NOFILE", u64::from(libc::RLIMIT_NOFILE)),
            ("RLIMIT_AS", u64::from(libc::RLIMIT_AS)),
            ("RLIMIT_RTTIME", u64::from(libc::RLIMIT_RTTIME)),
        ];
        for (name, expected) in cases {
            let number = RLIMITS
                .iter()
                .find(|row| row.0 == name)
                .map(|row| u64::from(row.1));
            assert_eq!(number, Some(expected), "{name}");
        }
    }
}
