//! The flag of each kind of namespace.

use crate::Kind;
use kernel::clone::NamespaceFlags;

/// The flag of clone(2), setns(2) and ioctl_ns(2).
pub(crate) fn flag(kind: Kind) -> NamespaceFlags {
    match kind {
        Kind::User => NamespaceFlags::USER,
        Kind::Ipc => NamespaceFlags::IPC,
        Kind::Uts => NamespaceFlags::UTS,
        Kind::Network => NamespaceFlags::NETWORK,
        Kind::Pid => NamespaceFlags::PID,
        Kind::Cgroup => NamespaceFlags::CGROUP,
        Kind::Time => NamespaceFlags::TIME,
        Kind::Mount => NamespaceFlags::MOUNT,
    }
}

/// The kind with this flag.
pub(crate) fn from_flag(wanted: NamespaceFlags) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| flag(*kind) == wanted)
}
