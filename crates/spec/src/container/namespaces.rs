//! `linux.namespaces`, id maps and time offsets.

use crate::words;
use serde::{Deserialize, Serialize};
use std::ops::{Index, IndexMut};
use std::path::PathBuf;

/// A kind of namespace, in the order in which several are joined: the mount namespace last, since
/// joining it changes the root directory. The user namespace has its own place in the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the name says it")]
pub enum NamespaceKind {
    User,
    Ipc,
    Uts,
    Network,
    Pid,
    Cgroup,
    Time,
    Mount,
}

impl NamespaceKind {
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

    /// The specification's word.
    pub fn name(self) -> &'static str {
        words::of(self)
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
}

/// `linux.namespaces`: what happens with each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces([Namespace; NamespaceKind::ALL.len()]);

impl Index<NamespaceKind> for Namespaces {
    type Output = Namespace;

    fn index(&self, kind: NamespaceKind) -> &Namespace {
        &self.0[kind as usize]
    }
}

impl IndexMut<NamespaceKind> for Namespaces {
    fn index_mut(&mut self, kind: NamespaceKind) -> &mut Namespace {
        &mut self.0[kind as usize]
    }
}

/// What happens with one kind of namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Namespace {
    /// The type is not listed: the container inherits the runtime's namespace.
    #[default]
    Inherit,
    /// Listed without a path: the runtime makes a new one.
    New,
    /// Listed with a path: the container joins that one. The path is absolute and of the host.
    Join(PathBuf),
}

impl Namespace {
    /// Whether the container leaves the runtime's namespace.
    pub fn is_own(&self) -> bool {
        !matches!(self, Self::Inherit)
    }
}

/// One extent of an id map. Neither range wraps around; `size` is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// `containerID`: the first id inside.
    pub container: u32,
    /// `hostID`: the first id outside.
    pub host: u32,
    /// `size`: how many.
    pub size: u32,
}

impl IdMapping {
    /// The id outside of a user namespace with this map for `id` inside.
    pub fn host_id(map: &[Self], id: u32) -> Option<u32> {
        map.iter().find_map(|extent| {
            let offset = id.checked_sub(extent.container)?;
            (offset < extent.size).then(|| extent.host.checked_add(offset))?
        })
    }

    /// The text of a map, as uid_map and gid_map expect it.
    pub fn text(map: &[Self]) -> String {
        let line = |extent: &Self| {
            let Self {
                container,
                host,
                size,
            } = extent;
            format!("{container} {host} {size}\n")
        };
        map.iter().map(line).collect()
    }
}

/// `linux.timeOffsets`. Seconds and nanoseconds (0 to 999,999,999), as the kernel takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeOffsets {
    /// CLOCK_MONOTONIC.
    pub monotonic: Option<(i64, u32)>,
    /// CLOCK_BOOTTIME.
    pub boottime: Option<(i64, u32)>,
}
