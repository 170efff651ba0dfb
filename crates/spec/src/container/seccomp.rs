//! `linux.seccomp`: the filter of system calls.

use std::path::PathBuf;

/// An operator of `seccomp.syscalls[].args`, unsigned 64-bit.
pub use oci_spec::runtime::LinuxSeccompOperator as SeccompOp;
/// `seccomp.architectures` and `seccomp.flags`.
pub use oci_spec::runtime::{Arch as SeccompArch, LinuxSeccompFilterFlag as SeccompFlag};

/// `linux.seccomp`, with numbers instead of words. System calls keep their names, since each
/// architecture has its own table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seccomp {
    /// `defaultAction` with `defaultErrnoRet`.
    pub default_action: SeccompAction,
    /// `architectures`, without repetition; the compiler adds the native one.
    pub architectures: Vec<SeccompArch>,
    /// `flags`; `None` when the property is absent, which differs from an empty list.
    pub flags: Option<Vec<SeccompFlag>>,
    /// `listenerPath`, absolute.
    pub listener_path: Option<PathBuf>,
    pub listener_metadata: Option<String>,
    /// `syscalls`, in order.
    pub syscalls: Vec<SeccompRule>,
}

/// The answer of a filter to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeccompAction {
    KillProcess,
    /// SCMP_ACT_KILL and SCMP_ACT_KILL_THREAD.
    KillThread,
    Trap,
    /// SCMP_ACT_ERRNO with its number, EPERM when absent.
    Errno(u16),
    /// SCMP_ACT_TRACE with its number, EPERM when absent.
    Trace(u16),
    Log,
    Allow,
    Notify,
}

/// One element of `seccomp.syscalls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompRule {
    /// `names`: at least one.
    pub names: Vec<String>,
    /// `action` with `errnoRet`.
    pub action: SeccompAction,
    /// `args`; all must hold.
    pub args: Vec<SeccompArg>,
}

/// One element of `args`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeccompArg {
    /// `index`: 0 to 5.
    pub index: u8,
    pub op: SeccompOp,
    /// `value`; the mask of MASKED_EQ.
    pub value: u64,
    /// `valueTwo`; the value that the masked argument is compared with.
    pub value_two: u64,
}
