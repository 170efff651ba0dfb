//! What is checked about the mounts of an image, before CRIU sees it.
//!
//! Anyone can have written an image. Its mounts must be those of the configuration or of kinds
//! that show nothing of the host. What the processes do is up to the image.

#![expect(
    clippy::disallowed_methods,
    reason = "the container's root and sources as the configuration names them, and the own /proc"
)]

use crate::error::Error;
use criu::{MountEntry, mount_kind};
use kernel::fs::{PROC_MAGIC, SYSFS_MAGIC, filesystem_magic};
use kernel::mount::MountAttr;
use kernel::path::{self, OpenFlags};
use rootfs::{External, ExternalSource, RootFd};
use spec::Container;
use spec::container::{NamespaceKind, clean};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Kinds that CRIU makes anew and that show no file of the host where the configuration has them.
const OWN: [u32; 7] = [
    mount_kind::PROC,
    mount_kind::SYSFS,
    mount_kind::TMPFS,
    mount_kind::DEVPTS,
    mount_kind::CGROUP,
    mount_kind::MQUEUE,
    mount_kind::CGROUP2,
];

/// MS_RDONLY of mount(2).
const READ_ONLY: u32 = 1;

/// One mount of the image that CRIU does not make, and what the configuration says about it.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub(super) point: &'a Path,
    pub(super) external: &'a External,
    /// Whether CRIU copies its sharing from the source.
    pub(super) is_shared: bool,
}

/// Compares the mounts of an image with the configuration. Returns the external ones.
///
/// # Errors
/// [`Error::ImageMount`]: a mount that the configuration does not have, or not like this.
pub(super) fn mounts<'a>(
    container: &'a Container,
    entries: &'a [MountEntry],
    externals: &'a [External],
) -> Result<Vec<Bound<'a>>, Error> {
    let numbers = entries.iter().map(|entry| (entry.id, entry));
    let listed = Listed {
        container,
        entries,
        by_number: numbers.collect(),
        root: Links::of(&container.root.path),
    };
    let mut bound = Vec::new();
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut roots = 0;
    for entry in entries {
        let refused = &refused(&entry.point);
        listed.look(entry).map_err(refused)?;
        match &entry.external {
            None if entry.point == "/" => roots += 1,
            None => listed.made(entry).map_err(refused)?,
            Some(name) => {
                let external = externals.iter().find(|external| external.name == *name);
                let external = external.filter(|_| names.insert(name));
                let external = external.ok_or(refused(
                    "the configuration has no mount of its name, or the image has two of them",
                ))?;
                listed.external(entry, external).map_err(refused)?;
                bound.push(Bound {
                    point: Path::new(&entry.point),
                    external,
                    is_shared: entry.is_shared(),
                });
            }
        }
        if !ids.insert(entry.id) {
            return Err(refused("the image has two mounts of its number"));
        }
    }
    if roots != 1 {
        return Err(refused("/")("an image must have one root"));
    }
    for entry in entries {
        let refused = &refused(&entry.point);
        listed.place(entry, &bound).map_err(refused)?;
    }
    Ok(bound)
}

fn refused(point: &str) -> impl Fn(&'static str) -> Error {
    move |reason| Error::ImageMount {
        point: point.to_owned(),
        reason,
    }
}

/// The mounts of an image beside the configuration. The errors say why a mount is refused.
struct Listed<'a> {
    container: &'a Container,
    entries: &'a [MountEntry],
    by_number: BTreeMap<u32, &'a MountEntry>,
    root: Option<Links>,
}

impl Listed<'_> {
    fn look(&self, entry: &MountEntry) -> Result<(), &'static str> {
        if !is_plain(Path::new(&entry.point)) {
            return Err("its mount point is not a plain absolute path");
        }
        match entry.is_special {
            true => Err("its directory was deleted, or a plugin of CRIU would mount it"),
            false => Ok(()),
        }
    }

    /// A mount that CRIU binds from the host.
    fn external(&self, entry: &MountEntry, external: &External) -> Result<(), &'static str> {
        if external.restrictions.contains(MountAttr::RDONLY) && entry.flags & READ_ONLY == 0 {
            return Err("it is writable, but the configuration has it read-only");
        }
        match self.is_at(&external.destination, Path::new(&entry.point)) {
            true => Ok(()),
            false => Err("the configuration has it elsewhere"),
        }
    }

    /// A mount that CRIU makes.
    fn made(&self, entry: &MountEntry) -> Result<(), &'static str> {
        if !OWN.contains(&entry.kind) {
            return Err(
                "it is neither a volume of the configuration nor of a kind that is made anew",
            );
        }
        let has_groups = self.container.namespaces[NamespaceKind::Cgroup].is_own();
        if is_cgroup(entry.kind) && !has_groups {
            return Err("without a cgroup namespace it would show all groups of the host");
        }
        if entry.root == "/" {
            return match self.is_configured(entry) || self.is_sealed(entry) {
                true => Ok(()),
                false => Err("the configuration has no such mount there, or has it restricted"),
            };
        }
        match is_plain(Path::new(&entry.root)) && (self.is_sealed(entry) || is_console(entry)) {
            true => Ok(()),
            false => Err("it shows a part of a file system that the configuration does not show"),
        }
    }

    /// Whether the configuration has a mount of this kind here, and not more restricted.
    fn is_configured(&self, entry: &MountEntry) -> bool {
        let point = Path::new(&entry.point);
        self.container.mounts.iter().any(|mount| {
            let is_here = || self.is_at(&mount.destination, point);
            let is_hierarchy = || {
                let above = point.parent();
                is_cgroup(entry.kind) && above.is_some_and(|at| self.is_at(&mount.destination, at))
            };
            let is_kind = match mount.kind.as_deref() {
                Some("proc") => entry.kind == mount_kind::PROC && is_here(),
                Some("sysfs") => entry.kind == mount_kind::SYSFS && is_here(),
                Some("tmpfs") => entry.kind == mount_kind::TMPFS && is_here(),
                Some("devpts") => entry.kind == mount_kind::DEVPTS && is_here(),
                Some("mqueue") => entry.kind == mount_kind::MQUEUE && is_here(),
                // The hierarchies of version 1 are in a tmpfs.
                Some("cgroup" | "cgroup2") if entry.kind == mount_kind::TMPFS => is_here(),
                Some("cgroup" | "cgroup2") => {
                    is_cgroup(entry.kind) && (is_here() || is_hierarchy())
                }
                _ => false,
            };
            // These four have the same bits in mount(2).
            let missing = rootfs::restrictions(mount).bits() & !u64::from(entry.flags);
            // CRIU would make it without its map.
            let is_mapped = rootfs::id_map(self.container, mount).is_some();
            is_kind && !mount.is_bind() && missing == 0 && !is_mapped
        })
    }

    /// Whether it is a read-only path of the configuration, and shows what the mount that it is in
    /// has there. The kernel's own file systems only: in others an image makes the links.
    fn is_sealed(&self, entry: &MountEntry) -> bool {
        let point = Path::new(&entry.point);
        let is_listed = |path: &PathBuf| normal(path) == point;
        let shows = |above: &MountEntry| {
            let rest = point.strip_prefix(&above.point);
            rest.is_ok_and(|rest| Path::new(&above.root).join(rest) == Path::new(&entry.root))
        };
        let is_part = |above: &MountEntry| {
            (above.kind, above.device) == (entry.kind, entry.device) && shows(above)
        };
        matches!(entry.kind, mount_kind::PROC | mount_kind::SYSFS)
            && entry.flags & READ_ONLY != 0
            && self.container.readonly_paths.iter().any(is_listed)
            && self.parent(entry).is_some_and(is_part)
    }

    fn parent(&self, entry: &MountEntry) -> Option<&MountEntry> {
        let parent = self.by_number.get(&entry.parent).copied();
        parent.filter(|parent| parent.id != entry.id)
    }

    /// Where CRIU would make it, and from what.
    fn place(&self, entry: &MountEntry, bound: &[Bound<'_>]) -> Result<(), &'static str> {
        if entry.point == "/" {
            return Ok(());
        }
        if !self.is_in_nearest(entry) {
            return Err("it is not in the mount that is nearest above it");
        }
        if entry.external.is_none() && self.is_bound_from_another(entry, bound) {
            return Err("CRIU would bind it from a mount of another kind, or of the host");
        }
        Ok(())
    }

    /// Mounts can also lie on each other.
    fn is_in_nearest(&self, entry: &MountEntry) -> bool {
        let point = Path::new(&entry.point);
        let points = self.entries.iter().map(|other| Path::new(&other.point));
        let above = points.filter(|other| *other != point && point.starts_with(other));
        let nearest = above.max_by_key(|other| other.as_os_str().len());
        let mut parent = self.parent(entry);
        for _ in self.entries {
            match parent {
                Some(below) if below.point == entry.point => parent = self.parent(below),
                other => return other.map(|other| Path::new(&other.point)) == nearest,
            }
        }
        false
    }

    /// CRIU makes only one mount of a file system or of a peer group, and binds the others from it.
    fn is_bound_from_another(&self, entry: &MountEntry, bound: &[Bound<'_>]) -> bool {
        let is_part = entry.root != "/";
        let is_foreign = |other: &MountEntry| {
            let is_hosts = other.external.is_some() || other.point == "/";
            let source = || {
                let of = |bound: &&Bound<'_>| Some(&bound.external.name) == other.external.as_ref();
                bound.iter().find(of)
            };
            let is_real = || source().is_some_and(|bound| is_really(bound.external, entry.kind));
            other.kind != entry.kind || is_hosts && !(is_part && is_real())
        };
        let others = self.entries.iter().filter(|other| other.id != entry.id);
        others
            .filter(|other| is_one_of(other, entry))
            .any(is_foreign)
    }

    /// Whether the configured path `destination` is the mount point: as written, or where the links
    /// of the root lead.
    fn is_at(&self, destination: &Path, point: &Path) -> bool {
        let destination = normal(destination);
        let through = || self.root.as_ref()?.follow(&destination);
        destination == point || through().is_some_and(|path| path == point)
    }
}

/// The root of the container, to follow its links.
struct Links {
    root: RootFd,
    path: PathBuf,
}

impl Links {
    fn of(path: &Path) -> Option<Self> {
        let root = fs::File::open(path).ok()?;
        Some(Self {
            path: path_of(root.as_fd())?,
            root: RootFd::new(root.into()),
        })
    }

    /// Where `path` leads as far as it exists, and the rest of it.
    fn follow(&self, path: &Path) -> Option<PathBuf> {
        path.ancestors().find_map(|above| {
            let name = CString::new(above.as_os_str().as_bytes()).ok()?;
            let found = self.root.open(&name, OpenFlags::PATH).ok()?;
            let found = path_of(found.as_fd())?;
            let inside = Path::new("/").join(found.strip_prefix(&self.path).ok()?);
            Some(inside.join(path.strip_prefix(above).ok()?))
        })
    }
}

fn path_of(file: BorrowedFd<'_>) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Whether the source of an external mount is of this kind: one whose files have no links that a
/// container or an image has made.
fn is_really(external: &External, kind: u32) -> bool {
    let ExternalSource::Host(path, _) = &external.source else {
        return false;
    };
    let found = CString::new(path.as_os_str().as_bytes()).ok();
    let found = found.and_then(|path| {
        let found = path::open(&path, OpenFlags::PATH).ok()?;
        filesystem_magic(found.as_fd()).ok()
    });
    match kind {
        mount_kind::PROC => found == Some(PROC_MAGIC),
        mount_kind::SYSFS => found == Some(SYSFS_MAGIC),
        _ => false,
    }
}

fn is_cgroup(kind: u32) -> bool {
    matches!(kind, mount_kind::CGROUP | mount_kind::CGROUP2)
}

/// The terminal: one file of a devpts.
fn is_console(entry: &MountEntry) -> bool {
    let number = entry.root.strip_prefix('/').unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    entry.kind == mount_kind::DEVPTS && entry.point == "/dev/console" && is_number
}

/// Whether CRIU takes two mounts for the same file system, or for peers.
fn is_one_of(one: &MountEntry, other: &MountEntry) -> bool {
    let mut groups = one.sharing.iter().filter(|number| **number != 0);
    one.device == other.device || groups.any(|number| other.sharing.contains(number))
}

/// An absolute path without `.`, `..` and empty components.
fn normal(path: &Path) -> PathBuf {
    Path::new("/").join(clean(path))
}

/// Absolute, without `.`, `..` and empty components.
fn is_plain(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let again: PathBuf = path.components().collect();
    path.is_absolute() && path.components().all(plain) && again.as_os_str() == path.as_os_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::load::{Host, parse};

    const RO: u32 = READ_ONLY;

    /// What an engine configures: a shared /dev/shm, masks, read-only paths, a read-only volume.
    const CONFIG: &str = r#"{
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sh"]},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev/", "type": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "options": ["nosuid", "noexec"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "options": ["nosuid", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "options": ["nosuid", "noexec", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
            {"destination": "/dev/shm", "type": "bind", "source": "/none/shm", "options": ["bind"]},
            {"destination": "/read", "type": "bind", "source": "/none", "options": ["bind", "ro"]},
            {"destination": "/host", "type": "bind", "source": "/proc", "options": ["bind"]}
        ],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}],
            "maskedPaths": ["/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/host/irq", "/sys/fs/cgroup"]
        }
    }"#;

    fn container(text: &str) -> Container {
        let loaded = parse(text.as_bytes(), Path::new("/none"), Host::Ignore);
        *loaded.unwrap().container
    }

    fn of(kind: u32, id: u32, parent: u32, point: &str) -> MountEntry {
        MountEntry {
            kind,
            id,
            parent,
            device: id,
            root: "/".to_owned(),
            point: point.to_owned(),
            ..MountEntry::default()
        }
    }

    fn part(
        kind: u32,
        (id, parent, device): (u32, u32, u32),
        point: &str,
        root: &str,
    ) -> MountEntry {
        MountEntry {
            device,
            flags: RO,
            root: root.to_owned(),
            ..of(kind, id, parent, point)
        }
    }

    fn named(mut entry: MountEntry, name: &str, flags: u32) -> MountEntry {
        entry.external = Some(name.to_owned());
        entry.flags = flags;
        entry
    }

    fn with_flags(mut entry: MountEntry, flags: u32) -> MountEntry {
        entry.flags = flags;
        entry
    }

    /// As CRIU writes it for a container of this configuration.
    fn honest() -> Vec<MountEntry> {
        use mount_kind::*;
        vec![
            of(0, 1, 90, "/"),
            of(PROC, 2, 1, "/proc"),
            with_flags(of(TMPFS, 3, 1, "/dev"), 2),
            with_flags(of(DEVPTS, 4, 3, "/dev/pts"), 10),
            with_flags(of(MQUEUE, 5, 3, "/dev/mqueue"), 14),
            with_flags(of(SYSFS, 6, 1, "/sys"), 11),
            with_flags(of(CGROUP2, 7, 6, "/sys/fs/cgroup"), RO),
            named(of(TMPFS, 8, 3, "/dev/shm"), "mount-/dev/shm", 0),
            named(of(0, 9, 1, "/read"), "mount-/read", RO),
            named(
                part(TMPFS, (10, 2, 10), "/proc/keys", "/null"),
                "mask-file-/proc/keys",
                RO,
            ),
            named(
                part(TMPFS, (11, 6, 10), "/sys/firmware", "/empty"),
                "mask-directory-/sys/firmware",
                RO,
            ),
            part(PROC, (12, 2, 2), "/proc/sys", "/sys"),
            part(DEVPTS, (13, 3, 4), "/dev/console", "/0"),
            named(of(PROC, 14, 1, "/host"), "mount-/host", 0),
            part(PROC, (15, 14, 14), "/host/irq", "/irq"),
        ]
    }

    fn check(config: &str, entries: &[MountEntry]) -> Result<usize, Error> {
        let container = container(config);
        let groups = [("memory".to_owned(), PathBuf::from("/none/memory"))];
        let externals = rootfs::externals(&container, &groups);
        mounts(&container, entries, &externals).map(|bound| bound.len())
    }

    #[track_caller]
    fn refused(config: &str, entries: &[MountEntry]) {
        let answer = check(config, entries);
        assert!(
            matches!(answer, Err(Error::ImageMount { .. })),
            "{entries:?}"
        );
    }

    /// The honest image with one mount changed.
    #[track_caller]
    fn refused_with(id: u32, change: impl FnOnce(&mut MountEntry)) {
        let mut entries = honest();
        let entry = entries.iter_mut().find(|entry| entry.id == id).unwrap();
        change(entry);
        refused(CONFIG, &entries);
    }

    #[test]
    fn an_image_of_the_configuration_is_accepted() {
        assert_eq!(check(CONFIG, &honest()).unwrap(), 5);
        // Without a cgroup namespace, on a host with hierarchies of version 1.
        let config = CONFIG.replace(r#", {"type": "cgroup"}"#, "");
        let mut entries = honest();
        entries[6].kind = mount_kind::TMPFS;
        let group = of(mount_kind::CGROUP, 20, 7, "/sys/fs/cgroup/memory");
        entries.push(named(group.clone(), "cgroup-memory", RO));
        assert_eq!(check(&config, &entries).unwrap(), 6);
        *entries.last_mut().unwrap() = named(group.clone(), "cgroup-memory", 0);
        refused(&config, &entries);
        *entries.last_mut().unwrap() = with_flags(group, RO);
        refused(&config, &entries);
        assert!(check(CONFIG, &entries).is_ok());
        // With one, no group of the host has a name.
        *entries.last_mut().unwrap() =
            named(of(0, 20, 7, "/sys/fs/cgroup/memory"), "cgroup-memory", RO);
        refused(CONFIG, &entries);
    }

    #[test]
    fn only_mounts_of_the_configuration_are_accepted() {
        let with = |more: MountEntry| {
            let mut entries = honest();
            entries.push(more);
            entries
        };
        for bad in [
            named(of(0, 20, 1, "/data"), "mount-/data", 0),
            named(of(0, 20, 1, "/data"), "", 0),
            named(of(0, 20, 1, "/read"), "mount-/read", RO),
            // The host's disk, an overlay of the host's root, a bind of the root's own files.
            of(16, 20, 1, "/disk"),
            of(17, 20, 1, "/over"),
            of(0, 20, 1, "/etc"),
            of(0, 20, 90, "/"),
            of(mount_kind::PROC, 20, 1, "/tmp"),
            of(mount_kind::PROC, 20, 1, "proc"),
            of(mount_kind::PROC, 20, 1, "/../proc"),
            of(mount_kind::PROC, 20, 1, "/a//b"),
            of(mount_kind::PROC, 20, 1, ""),
            of(mount_kind::TMPFS, 20, 2, "/proc/keys"),
        ] {
            refused(CONFIG, &with(bad));
        }
        refused(CONFIG, &honest()[1..]);
        refused_with(9, |read| read.flags = 0);
        refused_with(9, |read| read.point = "/elsewhere".to_owned());
        refused_with(9, |read| read.is_special = true);
        refused_with(6, |sys| sys.flags = 10);
        refused_with(3, |dev| dev.flags = 0);
        refused_with(3, |dev| dev.kind = mount_kind::PROC);
        refused_with(7, |cgroup| cgroup.flags = 0);
    }

    #[test]
    fn criu_binds_nothing_from_another_mount() {
        for root in ["/sys/../../etc", "/etc", "/sys/", "sys", "", "/"] {
            refused_with(12, |sys| sys.root = root.to_owned());
        }
        refused_with(12, |sys| sys.flags = 0);
        refused_with(12, |sys| sys.device = 9);
        refused_with(15, |irq| irq.root = "/sys".to_owned());
        for root in ["/x", "/", "/../1", "/0/..", ""] {
            refused_with(13, |console| console.root = root.to_owned());
        }
        // The file system or the group of a volume, or of the root.
        for device in [1, 9] {
            refused_with(3, |dev| dev.device = device);
        }
        let mut entries = honest();
        entries[8].kind = mount_kind::PROC;
        entries[1].device = 9;
        entries[11].device = 9;
        refused(CONFIG, &entries);
        let mut entries = honest();
        entries[8].sharing = [3, 0];
        assert!(check(CONFIG, &entries).is_ok());
        entries[1].sharing = [0, 3];
        refused(CONFIG, &entries);
        // What a container has below a volume is no file of the kernel.
        let config = CONFIG.replace("\"/proc\", \"options\"", "\"/none\", \"options\"");
        assert_ne!(config, CONFIG);
        refused(&config, &honest());
    }

    #[test]
    fn mounts_are_in_the_nearest_mount() {
        refused_with(4, |pts| pts.parent = 1);
        refused_with(12, |sys| sys.parent = 6);
        refused_with(3, |dev| dev.parent = 3);
        refused_with(3, |dev| dev.parent = 91);
        refused_with(10, |keys| keys.id = 9);
        let mut entries = honest();
        entries.push(with_flags(of(mount_kind::TMPFS, 20, 3, "/dev"), 2));
        assert!(check(CONFIG, &entries).is_ok(), "one on another");
        entries[2].parent = 20;
        refused(CONFIG, &entries);
    }
}
