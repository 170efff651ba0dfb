//! The identity of the calling process: its ids, its five capability sets, its user namespace.
//!
//! Several crates use these facts. So they are collected once, before any decision, and passed to
//! each crate. This crate only collects facts about this process; it decides nothing. See
//! credentials(7), capabilities(7), user_namespaces(7).

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

use kernel::Errno;
use kernel::clone::{NamespaceFlags, namespace_of, namespace_owner, pidfd_open};
use kernel::ids;
use kernel::process::{DESCRIPTORS, rlimit};
use nix::unistd::{getegid, geteuid, getpid};
use serde::{Deserialize, Serialize};
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The inode of the initial user namespace: PROC_USER_INIT_INO of linux/proc_ns.h. A full identity
/// map does not turn another namespace into the initial one.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The identity of the calling process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The capability sets.
    pub capabilities: Capabilities,
    /// The user namespace.
    pub user_namespace: UserNamespace,
    /// PATH of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Whether the mount namespace belongs to the user namespace: only then does CAP_SYS_ADMIN
    /// apply there.
    pub owns_mounts: bool,
    /// Its soft and hard limit on descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<(u64, u64)>,
}

/// Sets of capabilities: bit n is capability number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// All capabilities that this kernel knows.
    #[serde(with = "hex")]
    pub known: u64,
    /// The bounding set.
    #[serde(with = "hex")]
    pub bounding: u64,
    /// The permitted set.
    #[serde(with = "hex")]
    pub permitted: u64,
    /// The effective set.
    #[serde(with = "hex")]
    pub effective: u64,
    /// The inheritable set.
    #[serde(with = "hex")]
    pub inheritable: u64,
    /// The ambient set.
    #[serde(with = "hex")]
    pub ambient: u64,
}

/// A user namespace, as this process is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserNamespace {
    /// Its identity, the inode number in the kernel's nsfs. 0: unknown, since there is no /proc.
    pub inode: u64,
    /// Whether setgroups(2) is permitted in it.
    pub setgroups: bool,
    /// The extents of its user map, each as inside id, outside id, count. Empty in the initial
    /// namespace, which maps each id to itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_map: Vec<[u32; 3]>,
    /// The extents of its group map, in the same form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_map: Vec<[u32; 3]>,
}

impl Caller {
    /// Collects the facts about this process from the kernel.
    ///
    /// # Errors
    /// The kernel's error instead of a capability set.
    pub fn probe() -> Result<Self, Errno> {
        let user_namespace = UserNamespace::probe();
        Ok(Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            capabilities: Capabilities::probe()?,
            path: env::var_os("PATH").map(PathBuf::from),
            owns_mounts: mounts_owner() == Some(user_namespace.inode),
            descriptors: rlimit(DESCRIPTORS).ok(),
            user_namespace,
        })
    }

    /// Whether it has the rights of the host's root: user 0 of the initial user namespace.
    pub fn is_host_root(&self) -> bool {
        self.uid == 0 && self.user_namespace.is_initial()
    }

    /// Whether the effective set has all of these capabilities, given by their numbers.
    pub fn has<const N: usize>(&self, numbers: [u8; N]) -> bool {
        let is_there = |number: u8| self.capabilities.effective >> number & 1 == 1;
        numbers.into_iter().all(is_there)
    }
}

impl Capabilities {
    fn probe() -> Result<Self, Errno> {
        let (mut known, mut bounding) = (0, 0);
        for number in 0..64 {
            match ids::bounding_has(number) {
                Ok(has) => {
                    known |= 1 << number;
                    bounding |= u64::from(has) << number;
                }
                Err(Errno::EINVAL) => break,
                Err(errno) => return Err(errno),
            }
        }
        let sets = ids::capget()?;
        let mut ambient = 0;
        // The kernel keeps the ambient set a subset of these two; see capabilities(7).
        let candidates = sets.permitted & sets.inheritable;
        for number in (0..64).filter(|number| candidates >> number & 1 == 1) {
            ambient |= u64::from(ids::ambient_has(number)?) << number;
        }
        Ok(Self {
            known,
            bounding,
            permitted: sets.permitted,
            effective: sets.effective,
            inheritable: sets.inheritable,
            ambient,
        })
    }
}

/// Whether this process is in the initial user namespace.
pub fn is_in_initial_user_namespace() -> bool {
    own_user_namespace() == INITIAL_USER_NAMESPACE
}

/// Asked once: this program never enters another one without a clone.
fn own_user_namespace() -> u64 {
    static INODE: OnceLock<u64> = OnceLock::new();
    *INODE.get_or_init(|| {
        let own = own_namespace(NamespaceFlags::USER, "/proc/self/ns/user");
        own.and_then(|file| file.metadata())
            .map_or(0, |file| file.ino())
    })
}

/// The namespace of one type that this process is in. `path`: where it is in /proc, for a kernel
/// older than Linux 6.11. A look-up in /proc costs several times as much.
#[expect(clippy::disallowed_methods, reason = "the process' own /proc")]
fn own_namespace(kind: NamespaceFlags, path: &str) -> io::Result<File> {
    let own = pidfd_open(getpid().as_raw());
    match own.and_then(|own| namespace_of(own.as_fd(), kind)) {
        Ok(found) => Ok(found.into()),
        Err(_unknown) => File::open(path),
    }
}

impl UserNamespace {
    #[expect(clippy::disallowed_methods, reason = "the process' own /proc")]
    fn probe() -> Self {
        let inode = own_user_namespace();
        if inode == INITIAL_USER_NAMESPACE {
            // Its maps and its permission never change after the start of the kernel.
            return Self {
                inode,
                setgroups: true,
                uid_map: Vec::new(),
                gid_map: Vec::new(),
            };
        }
        let read = |name: &str| fs::read(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            inode,
            setgroups: !read("setgroups").starts_with(b"deny"),
            uid_map: extents(&read("uid_map")),
            gid_map: extents(&read("gid_map")),
        }
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.inode == INITIAL_USER_NAMESPACE
    }
}

/// The extents of a uid_map or gid_map file, as inside id, outside id, count. Other lines are left
/// out.
pub fn extents(text: &[u8]) -> Vec<[u32; 3]> {
    let text = String::from_utf8_lossy(text);
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    };
    text.lines().filter_map(extent).collect()
}

/// The inode of the user namespace that this process' mount namespace belongs to.
fn mounts_owner() -> Option<u64> {
    let mounts = own_namespace(NamespaceFlags::MOUNT, "/proc/self/ns/mnt").ok()?;
    let owner = File::from(namespace_owner(mounts.as_fd()).ok()?);
    Some(owner.metadata().ok()?.ino())
}

/// Sets in the form of /proc/PID/status: 16 hexadecimal digits.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(crate) fn serialize<S: Serializer>(set: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{set:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let digits = String::deserialize(from)?;
        u64::from_str_radix(&digits, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_at_least_the_capabilities_of_linux_5_14() {
        let caller = Caller::probe().unwrap();
        let sets = caller.capabilities;
        assert_eq!(sets.known >> 40 & 1, 1);
        assert_eq!(sets.bounding & !sets.known, 0);
        assert_eq!(sets.ambient & !(sets.permitted & sets.inheritable), 0);
    }

    #[test]
    fn the_sets_are_those_of_the_status_file() {
        let sets = Caller::probe().unwrap().capabilities;
        let status = fs::read_to_string("/proc/self/status").unwrap();
        for (key, set) in [
            ("CapBnd", sets.bounding),
            ("CapPrm", sets.permitted),
            ("CapEff", sets.effective),
            ("CapInh", sets.inheritable),
            ("CapAmb", sets.ambient),
        ] {
            let line = format!("{key}:\t{set:016x}");
            assert!(status.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn a_map_is_read_line_by_line() {
        let map = b"         0       1000          1\n         1     100000      65536\n";
        assert_eq!(extents(map), [[0, 1000, 1], [1, 100_000, 65536]]);
        assert_eq!(extents(b"nonsense\n0 1\n"), [[0; 3]; 0]);
    }
}
