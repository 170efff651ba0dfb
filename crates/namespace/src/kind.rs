//! The table of namespace kinds.

use kernel::clone::NamespaceFlags;
use serde::{Deserialize, Serialize};
use spec::container::{Namespace, Namespaces};

/// A kind of namespace, in the order in which several are joined: the mount namespace last, since
/// joining it changes the root directory. The user namespace has its own place in the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the name says it")]
pub enum Kind {
    User,
    Ipc,
    Uts,
    Network,
    Pid,
    Cgroup,
    Time,
    Mount,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Ipc,
        Self::Uts,
        Self::Network,
        Self::Pid,
        Self::Cgroup,
        Self::Time,
        Self::Mount,
    ];

    /// The flag of clone(2), setns(2) and ioctl_ns(2).
    pub fn flag(self) -> NamespaceFlags {
        match self {
            Self::User => NamespaceFlags::USER,
            Self::Ipc => NamespaceFlags::IPC,
            Self::Uts => NamespaceFlags::UTS,
            Self::Network => NamespaceFlags::NETWORK,
            Self::Pid => NamespaceFlags::PID,
            Self::Cgroup => NamespaceFlags::CGROUP,
            Self::Time => NamespaceFlags::TIME,
            Self::Mount => NamespaceFlags::MOUNT,
        }
    }

    /// The specification's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
            Self::Mount => "mount",
        }
    }

    /// The file below /proc/PID/ns.
    pub fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            Self::User | Self::Ipc | Self::Uts | Self::Pid | Self::Cgroup | Self::Time => {
                self.name()
            }
        }
    }

    /// What the configuration says about this kind.
    pub fn of(self, namespaces: &Namespaces) -> &Namespace {
        match self {
            Self::User => &namespaces.user,
            Self::Ipc => &namespaces.ipc,
            Self::Uts => &namespaces.uts,
            Self::Network => &namespaces.network,
            Self::Pid => &namespaces.pid,
            Self::Cgroup => &namespaces.cgroup,
            Self::Time => &namespaces.time,
            Self::Mount => &namespaces.mount,
        }
    }

    /// The kind with this flag.
    pub fn from_flag(flag: NamespaceFlags) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.flag() == flag)
    }
}
