//! The content of the annotation `dev.locule.landlock`.
//!
//! The specification has no property for Landlock yet; until then one annotation holds a JSON
//! document in the words of the kernel. This module has the types and the words. The crate
//! `landlock` decides which kernel knows which right. Described in docs/landlock.md; source of the
//! rights: landlock(7), linux/landlock.h of Linux 7.2 (ABI 10).

use std::path::PathBuf;

/// The name of the annotation.
pub const ANNOTATION: &str = "dev.locule.landlock";

/// The prefix of every annotation that locule itself defines.
pub(crate) const OWN: &str = "dev.locule.";

/// The newest ABI whose rights have a word here.
pub const NEWEST_ABI: u32 = 10;

/// Where problems of the document are: a pointer into the configuration, `#`, and a pointer into
/// the annotation's own document.
pub fn pointer(inner: &str) -> String {
    format!("/annotations/{ANNOTATION}#{inner}")
}

/// The validated document: it restricts something, and it allows nothing that it does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landlock {
    /// `mode`; strict when absent.
    pub mode: Mode,
    /// `handledAccessFs`: what is denied except below [`Self::path_beneath`], as bits of
    /// LANDLOCK_ACCESS_FS_*. When it is absent: read, write and execute if there are rules, and
    /// nothing if there are none.
    pub handled_fs: u64,
    /// `pathBeneath`, in order.
    pub path_beneath: Vec<PathBeneath>,
    /// Ports that may be used; `None`: any. Element n belongs to bit n of LANDLOCK_ACCESS_NET_*,
    /// named by [`PORT_KEYS`].
    pub ports: [Option<Vec<u16>>; PORT_KEYS.len()],
    /// `scoped`: bits of LANDLOCK_SCOPE_*.
    pub scoped: u64,
    /// `audit`: whether denials go to the audit log.
    pub audit: bool,
}

/// What happens if the kernel does not know a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An error.
    Strict,
    /// The right is left out with a warning.
    BestEffort,
}

/// One element of `pathBeneath`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathBeneath {
    /// `paths`: absolute, in the container; at least one.
    pub paths: Vec<PathBuf>,
    /// `allowedAccess`: bits of LANDLOCK_ACCESS_FS_*, all of them handled; at least one.
    pub allowed: u64,
    /// The rights of `allowed` that the document gives by their own name, not by the name of a
    /// group. They must apply to the file that is found. From a group, only the rights that apply
    /// are taken.
    pub named: u64,
    /// `optional`: whether a path that does not exist is skipped.
    pub optional: bool,
}

/// Words of `mode`.
pub(crate) const MODES: [(&str, Mode); 2] =
    [("strict", Mode::Strict), ("bestEffort", Mode::BestEffort)];

const READ: u64 = 1 << 2 | 1 << 3;
const WRITE: u64 = 1 << 1 | 0x7ff0;
const EXECUTE: u64 = 1 << 0;

/// The handled rights when there are rules but no `handledAccessFs`.
pub const DEFAULT_HANDLED_FS: u64 = READ | WRITE | EXECUTE;

/// Words of `handledAccessFs` and `allowedAccess`: the kernel's names in lower case, and two
/// groups.
pub const FS: [(&str, u64); 19] = [
    ("execute", EXECUTE),
    ("write_file", 1 << 1),
    ("read_file", 1 << 2),
    ("read_dir", 1 << 3),
    ("remove_dir", 1 << 4),
    ("remove_file", 1 << 5),
    ("make_char", 1 << 6),
    ("make_dir", 1 << 7),
    ("make_reg", 1 << 8),
    ("make_sock", 1 << 9),
    ("make_fifo", 1 << 10),
    ("make_block", 1 << 11),
    ("make_sym", 1 << 12),
    ("refer", 1 << 13),
    ("truncate", 1 << 14),
    ("ioctl_dev", 1 << 15),
    ("resolve_unix", 1 << 16),
    ("read", READ),
    ("write", WRITE),
];

/// The properties that list ports, in the order of the bits of LANDLOCK_ACCESS_NET_*.
pub const PORT_KEYS: [&str; 4] = ["bindTcp", "connectTcp", "bindUdp", "connectSendUdp"];

/// Words of `scoped`.
pub const SCOPES: [(&str, u64); 2] = [("abstract_unix_socket", 1 << 0), ("signal", 1 << 1)];

/// The kernel's name of one right of a file.
pub fn fs_name(bit: u64) -> &'static str {
    let row = FS.iter().find(|(_, bits)| *bits == bit);
    row.map_or("a right without a name", |(name, _)| name)
}
