//! The record of one container.
//!
//! Decides the form of `state.json`: one JSON object whose last key is a checksum of all bytes
//! before it. So other programs can read the file, and a truncated or changed file is detected. The
//! status is not in it, because the kernel has it.

use super::ContainerId;
use crate::moment;
use crate::process::boot_id;
use kernel::Errno;
use rootfs::HostMount;
use serde::{Deserialize, Serialize};
use spec::Container;
use spec::container::{Namespace, NamespaceKind, Resources};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The form that this version writes and the only one that it reads.
const VERSION: u32 = 1;

/// In front of the checksum's 16 hexadecimal digits, and after them.
const BEFORE: &[u8] = b",\"checksum\":\"";
const AFTER: &[u8] = b"\"}\n";
const DIGITS: usize = 16;

/// One container, as `create` recorded it.
///
/// Monitoring programs look for the names `init_process_pid` and `init_process_start`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The form of this record.
    pub(crate) version: u32,
    /// The container's name.
    pub(crate) id: String,
    /// `ociVersion` of the configuration, as written.
    pub(crate) oci_version: String,
    /// The bundle directory, absolute.
    pub(crate) bundle: PathBuf,
    /// The root file system, absolute.
    pub(crate) rootfs: PathBuf,
    /// When the container was made: RFC 3339, nanoseconds, UTC.
    pub(crate) created: String,
    /// The user who created it, in the runtime's user namespace.
    pub(crate) owner: u32,
    /// `annotations` of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Which boot the process belongs to: /proc/sys/kernel/random/boot_id.
    pub(crate) boot_id: String,
    /// The process that becomes the container's program, in the runtime's PID namespace; absent
    /// until it exists.
    #[serde(
        rename = "init_process_pid",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) pid: Option<i32>,
    /// Its start time: field 22 of /proc/PID/stat, clock ticks since boot.
    #[serde(
        rename = "init_process_start",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) start_time: Option<u64>,
    /// Whether the container has its own PID namespace, so that all its processes end with the
    /// first one.
    pub(crate) own_pid_namespace: bool,
    /// Who made the cgroup.
    pub(crate) cgroup_manager: cgroup::Manager,
    /// Where the cgroup is; absent when none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<cgroup::Location>,
    /// The limits since the last `update`; absent while those of the configuration count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Resources>,
    /// args[0] of the configuration's process; absent when there is nothing to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<String>,
    /// The mounts in the mount namespace of the runtime; absent when the container has its own
    /// mount namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host_mounts: Option<HostMounts>,
    /// Its groups of resctrl; absent without `linux.intelRdt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<resctrl::Location>,
    /// What `mounts add` has made in the container's mount namespace, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added_mounts: Vec<rootfs::Added>,
    /// Whether the container's process has kept the session keyring of its creator.
    #[serde(default)]
    pub(crate) keeps_keyring: bool,
    /// Whether the configuration has poststart hooks.
    #[serde(default)]
    pub(crate) has_poststart: bool,
    /// Whether the configuration has poststop hooks.
    #[serde(default)]
    pub(crate) has_poststop: bool,
}

/// A record as it is written: with what follows from it, for monitoring programs.
#[derive(Serialize)]
struct Written<'r> {
    #[serde(flatten)]
    record: &'r Record,
    /// The cgroup's directories by controller ("" for version 2).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cgroup_paths: BTreeMap<&'r str, PathBuf>,
    /// /proc paths of the container's namespaces by name ("NEWPID").
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    namespace_paths: BTreeMap<String, String>,
}

/// Mounts below the root of a container without a mount namespace of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostMounts {
    /// The mounts that existed before.
    before: Vec<HostMount>,
    /// The mounts that the container has made; absent until all are made.
    made: Option<Vec<HostMount>>,
}

impl HostMounts {
    /// The mounts that exist now and did not exist before.
    fn added(&self, rootfs: &Path) -> Result<Vec<HostMount>, Errno> {
        let mut now = rootfs::mounts_below(rootfs)?;
        now.retain(|mount| !self.before.contains(mount));
        Ok(now)
    }
}

impl Record {
    /// The version that [`Record::version`] must have.
    #[cfg(test)]
    pub(crate) const VERSION: u32 = VERSION;

    /// The record of a container before it has a process.
    pub(crate) fn of(id: &ContainerId, container: &Container, cgroup: &cgroup::Location) -> Self {
        let process = container.process.as_ref();
        Self {
            version: VERSION,
            id: id.as_str().to_owned(),
            oci_version: container.version.clone(),
            bundle: container.bundle.clone(),
            rootfs: container.root.path.clone(),
            created: moment::nanoseconds(),
            owner: nix::unistd::geteuid().as_raw(),
            annotations: container.annotations.clone(),
            boot_id: boot_id().unwrap_or_default().to_owned(),
            pid: None,
            start_time: None,
            own_pid_namespace: container.namespaces[NamespaceKind::Pid] == Namespace::New,
            cgroup_manager: cgroup.manager,
            cgroup: Some(cgroup.clone()),
            resources: None,
            program: process.and_then(|process| process.args.first().cloned()),
            host_mounts: match container.namespaces[NamespaceKind::Mount] {
                Namespace::Inherit => {
                    let before = rootfs::mounts_below(&container.root.path);
                    before.ok().map(|before| HostMounts { before, made: None })
                }
                Namespace::New | Namespace::Join(_) => None,
            },
            resctrl: None,
            added_mounts: Vec::new(),
            keeps_keyring: false,
            has_poststart: !container.hooks.poststart.is_empty(),
            has_poststop: !container.hooks.poststop.is_empty(),
        }
    }

    /// Records the container's process.
    pub(crate) fn set_process(&mut self, pid: i32, start_time: u64) {
        self.pid = Some(pid);
        self.start_time = Some(start_time);
    }

    /// Records which mounts the container has made in the runtime's mount namespace.
    pub(crate) fn identify_mounts(&mut self) -> Result<(), Errno> {
        if let Some(mounts) = &mut self.host_mounts {
            mounts.made = Some(mounts.added(&self.rootfs)?);
        }
        Ok(())
    }

    /// Unmounts the container's mounts in the runtime's mount namespace.
    ///
    /// # Errors
    /// The first one that stays, and why.
    pub(crate) fn remove_mounts(&self) -> Result<(), (PathBuf, Errno)> {
        let Some(mounts) = self
            .host_mounts
            .as_ref()
            .filter(|_| !self.is_of_another_boot())
        else {
            return Ok(());
        };
        let made = match &mounts.made {
            Some(made) => made.clone(),
            None => mounts.added(&self.rootfs).or_else(|errno| match errno {
                // The root does not exist any more, so nothing is mounted below it.
                Errno::ENOENT => Ok(Vec::new()),
                errno => Err((self.rootfs.clone(), errno)),
            })?,
        };
        if made.is_empty() {
            return Ok(());
        }
        rootfs::remove_mounts(&self.rootfs, &made)
    }

    /// Notes that the container's first process lives, and may be in the groups.
    pub(crate) fn hold_groups(&mut self, first: i32) -> Result<(), cgroup::Error> {
        match &mut self.cgroup {
            Some(cgroup) => cgroup.hold(first),
            None => Ok(()),
        }
    }

    /// The container's own cgroup. `None` if it stayed in the cgroup of its creator, or is from an
    /// earlier boot.
    pub(crate) fn groups(&self) -> Option<&cgroup::Location> {
        let own = self.cgroup.as_ref().filter(|cgroup| !cgroup.is_empty())?;
        (!self.is_of_another_boot()).then_some(own)
    }

    /// Its groups of resctrl, unless they are from an earlier boot.
    pub(crate) fn shares(&self) -> Option<&resctrl::Location> {
        let shares = self.resctrl.as_ref()?;
        (!self.is_of_another_boot()).then_some(shares)
    }

    /// Whether the host has rebooted since: nothing that the record names exists any more. False if
    /// the boot is unknown, now or when the record was made.
    pub(crate) fn is_of_another_boot(&self) -> bool {
        !self.boot_id.is_empty() && boot_id().is_some_and(|boot| boot != self.boot_id)
    }

    /// The file's content.
    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let groups = self.cgroup.iter().flat_map(|cgroup| &cgroup.groups);
        let mut bytes = serde_json::to_vec(&Written {
            record: self,
            cgroup_paths: groups
                .map(|group| (&*group.controllers, group.host_path()))
                .collect(),
            namespace_paths: self.pid.map(namespace_paths).unwrap_or_default(),
        })?;
        bytes.pop(); // the brace, which comes back behind the checksum
        Ok(Self::sealed(bytes))
    }

    /// A JSON object without its last brace, with a checksum.
    pub(super) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let digits = format!("{:016x}", checksum(&bytes));
        bytes.extend_from_slice(BEFORE);
        bytes.extend_from_slice(digits.as_bytes());
        bytes.extend_from_slice(AFTER);
        bytes
    }

    /// The inverse of [`Record::to_bytes`]; the error says what is wrong.
    pub(super) fn from_bytes(bytes: &[u8], id: &str) -> Result<Self, String> {
        let whole = bytes
            .strip_suffix(AFTER)
            .and_then(|bytes| bytes.split_last_chunk::<DIGITS>())
            .and_then(|(front, digits)| Some((front.strip_suffix(BEFORE)?, digits)));
        let Some((content, digits)) = whole else {
            return Err("it does not end with a checksum".to_owned());
        };
        if format!("{:016x}", checksum(content)).as_bytes() != digits {
            return Err("its checksum does not match".to_owned());
        }
        let record = match serde_json::from_slice::<Self>(bytes) {
            Ok(record) if record.version == VERSION => record,
            other => return Err(wrong_form(bytes, other.err())),
        };
        if record.id != id {
            return Err(format!("it belongs to container {:?}", record.id));
        }
        Ok(record)
    }
}

/// Why a record is not of the form that this version reads. A later form may have other keys.
fn wrong_form(bytes: &[u8], error: Option<serde_json::Error>) -> String {
    #[derive(Deserialize)]
    struct Form {
        version: u32,
    }
    let form = serde_json::from_slice::<Form>(bytes).map(|form| form.version);
    match (form, error) {
        (Ok(VERSION), Some(error)) | (Err(error), _) => error.to_string(),
        (Ok(version), _) => format!("it has version {version}, this program supports {VERSION}"),
    }
}

fn namespace_paths(pid: i32) -> BTreeMap<String, String> {
    let paths = NamespaceKind::ALL.map(|kind| {
        // The flags of clone(2) have the names of the files below /proc/PID/ns, but for one.
        let flag = if kind == NamespaceKind::Mount {
            "NEWNS".to_owned()
        } else {
            format!("NEW{}", kind.file().to_ascii_uppercase())
        };
        (flag, format!("/proc/{pid}/ns/{}", kind.file()))
    });
    paths.into()
}

/// FNV-1a, 64 bits. A change of a single byte always changes it, since every step is reversible.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
