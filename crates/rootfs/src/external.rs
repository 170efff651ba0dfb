//! The mounts that a checkpoint does not save: binds, masks, device nodes of the host, cgroups.
//!
//! CRIU calls them external: at a checkpoint each mount point gets a name, at a restore each name
//! gets a source. The names come from the configuration, never from a path of the container, whose
//! links may lead a path to another mount by now (CVE-2026-119101). So a mount is looked up by the
//! destination, and is accepted only if it shows the configured source; no mount gets two names.

#![expect(
    clippy::disallowed_methods,
    reason = "the host's /proc, and sources as the configuration names them"
)]

use crate::device::DEFAULT_NODES;
use crate::host_mounts::number_of;
use crate::idmapped::{IdMap, Maps};
use crate::mount_table::mounts_of;
use crate::options;
use crate::root::{Form, NO_LINKS, RootFd, look_up, make};
use kernel::Errno;
use kernel::errno::{errno_of, words};
use kernel::fs::FileKind;
use kernel::mount::{Depth, MountAttr};
use kernel::path::OpenFlags;
use spec::Container;
use spec::container::{Mount, NamespaceKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why the mounts of a running container cannot be named.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ExternalError {
    #[error("{pointer}: {action} {path:?}: {}", words(*errno))]
    Read {
        pointer: String,
        action: &'static str,
        path: PathBuf,
        errno: Errno,
    },
    #[error(
        "{pointer}: what the container has at {destination:?} is not the bind mount of {source_path:?}: the container or the host has changed the names on the way there, and a restore could bind the wrong directory"
    )]
    Moved {
        pointer: String,
        destination: PathBuf,
        source_path: PathBuf,
    },
    #[error(
        "the first process of the container has changed its root directory (chroot or pivot_root), so its mounts cannot be found by the names of the configuration; a checkpoint needs a first process that keeps its root"
    )]
    OtherRoot,
    #[error("the container has a mount at {point:?}, which is not UTF-8")]
    NotText { point: PathBuf },
}

/// A mount of the container.
#[derive(Debug)]
struct Mounted {
    point: PathBuf,
    kind: String,
}

/// The mounts of one container, and their names.
struct Names {
    root: RootFd,
    table: BTreeMap<u64, Mounted>,
    named: BTreeMap<u64, String>,
}

/// Names the external mounts of the container that process `pid` runs in: pairs of a mount point as
/// the container sees it and a name.
///
/// # Errors
/// A mount is not what the configuration says, or cannot be read.
pub fn external_mounts(
    container: &Container,
    pid: i32,
) -> Result<Vec<(String, String)>, ExternalError> {
    let mut names = Names::of(pid)?;
    names
        .of_mounts(container)
        .map_err(|error| match names.is_elsewhere(container) {
            true => ExternalError::OtherRoot,
            false => error,
        })?;
    names.devices(container);
    if !container.namespaces[NamespaceKind::Cgroup].is_own() {
        names.cgroups();
    }
    let pairs = names.named.iter().map(|(id, name)| {
        let point = &names.table[id].point;
        let text = point.to_str().map(|point| (point.to_owned(), name.clone()));
        let point = point.clone();
        text.ok_or(ExternalError::NotText { point })
    });
    pairs.collect()
}

impl Names {
    fn of(pid: i32) -> Result<Self, ExternalError> {
        let path = PathBuf::from(format!("/proc/{pid}/mountinfo"));
        let read = failed("/mounts", "read", &path);
        let mounts = mounts_of(&pid.to_string()).map_err(|errno| read(errno.into()))?;
        let table = mounts.into_iter().map(|line| {
            let (point, kind) = (line.point, line.kind);
            (line.id, Mounted { point, kind })
        });
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let fd = File::open(&root).map_err(failed("/mounts", "read", &root))?;
        Ok(Self {
            root: RootFd::new(fd.into()),
            table: table.collect(),
            named: BTreeMap::new(),
        })
    }

    fn of_mounts(&mut self, container: &Container) -> Result<(), ExternalError> {
        for (index, mount) in container.mounts.iter().enumerate() {
            if mount.is_bind() {
                self.bind(index, mount, bind_name(container, index, mount))?;
            }
        }
        for (index, path) in container.masked_paths.iter().enumerate() {
            self.mask(index, path)?;
        }
        Ok(())
    }

    /// Whether the root of the process is another directory than that of the configuration.
    fn is_elsewhere(&self, container: &Container) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let wanted = fs::metadata(&container.root.path).map(identity);
        let found = kernel::fs::stat(self.root.as_fd());
        matches!((wanted, found), (Ok(wanted), Ok(found)) if wanted != (found.device, found.inode))
    }

    fn bind(&mut self, index: usize, mount: &Mount, name: String) -> Result<(), ExternalError> {
        let pointer = format!("/mounts/{index}");
        let source = mount.source.as_deref().unwrap_or(Path::new(""));
        let failed = |action, path| failed(&pointer, action, path);
        let wanted = fs::metadata(source).map_err(failed("look at the source", source))?;
        let destination = &mount.destination;
        let found = self.open(destination);
        let found = found.map_err(failed("open the destination", destination))?;
        let id = number_of(found.as_fd());
        let shown = found.metadata();
        let shown = shown.map_err(failed("look at the destination", destination))?;
        let same = (wanted.dev(), wanted.ino()) == (shown.dev(), shown.ino());
        match id.filter(|id| same && self.table.contains_key(id) && !self.named.contains_key(id)) {
            Some(id) => {
                self.named.insert(id, name);
                Ok(())
            }
            None => Err(ExternalError::Moved {
                pointer,
                destination: destination.clone(),
                source_path: source.to_owned(),
            }),
        }
    }

    /// A path that was absent at the creation has no mask.
    fn mask(&mut self, index: usize, path: &Path) -> Result<(), ExternalError> {
        let pointer = format!("/linux/maskedPaths/{index}");
        let failed = failed(&pointer, "open", path);
        let found = match self.open(path) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let shown = found.metadata().map_err(failed)?;
        let Some(id) = number_of(found.as_fd()) else {
            return Ok(());
        };
        let is_cover = |line: &Mounted| matches!(&*line.kind, "tmpfs" | "devtmpfs");
        if self.table.get(&id).is_some_and(is_cover) && !self.named.contains_key(&id) {
            self.named.insert(id, mask_name(path, shown.is_dir()));
        }
        Ok(())
    }

    /// Nodes that could not be made, so the host's are bound.
    fn devices(&mut self, container: &Container) {
        for path in device_paths(container) {
            let point = |(id, line): (&u64, &Mounted)| (line.point == path).then_some(*id);
            if let Some(id) = self.table.iter().find_map(point) {
                self.named.entry(id).or_insert_with(|| device_name(&path));
            }
        }
    }

    /// Without a cgroup namespace they show parts of the host's hierarchies.
    fn cgroups(&mut self) {
        for (id, line) in &self.table {
            if let ("cgroup" | "cgroup2", Some(name)) = (&*line.kind, line.point.file_name()) {
                let name = cgroup_name(&name.to_string_lossy());
                self.named.entry(*id).or_insert(name);
            }
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
        Ok(self.root.open(&path, OpenFlags::PATH)?.into())
    }
}

fn failed(pointer: &str, action: &'static str, path: &Path) -> impl Fn(io::Error) -> ExternalError {
    move |error| ExternalError::Read {
        pointer: pointer.to_owned(),
        action,
        path: path.to_owned(),
        errno: errno_of(&error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(errno_of(error), Errno::ENOENT | Errno::ENOTDIR)
}

/// By the destination, not by the index: Podman writes the mounts of an imported checkpoint in
/// another order. A further mount at the same destination has its number.
fn bind_name(container: &Container, index: usize, mount: &Mount) -> String {
    let name = format!("mount-{}", word(&mount.destination));
    let is_same = |other: &&Mount| other.is_bind() && other.destination == mount.destination;
    match container.mounts.iter().take(index).filter(is_same).count() {
        0 => name,
        earlier => format!("{name}#{earlier}"),
    }
}

fn mask_name(path: &Path, is_directory: bool) -> String {
    match is_directory {
        true => format!("mask-directory-{}", word(path)),
        false => format!("mask-file-{}", word(path)),
    }
}

fn device_name(path: &Path) -> String {
    format!("device-{}", word(path))
}

/// A path as a part of a name. CRIU ends a name at a bracket.
fn word(path: &Path) -> String {
    let spelled = |&byte: &u8| match byte {
        b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    };
    path.as_os_str().as_bytes().iter().map(spelled).collect()
}

fn cgroup_name(directory: &str) -> String {
    format!("cgroup-{directory}")
}

fn device_paths(container: &Container) -> BTreeSet<PathBuf> {
    let default = DEFAULT_NODES.iter();
    let default = default.map(|(name, _, _)| Path::new("/dev").join(name));
    let own = container.devices.iter().map(|device| device.path.clone());
    default.chain(own).collect()
}

/// What a name stands for at a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The name, the same as at the checkpoint.
    pub name: String,
    /// What is bound.
    pub source: ExternalSource,
    /// The restrictions that it must have: read-only, nosuid, nodev, noexec.
    pub restrictions: MountAttr,
    /// Where the configuration has it.
    pub destination: PathBuf,
    /// The map of its ids.
    pub id_map: Option<IdMap>,
}

/// What is bound for an external mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalSource {
    /// A path of the host, as the configuration names it, with or without what is mounted below.
    Host(PathBuf, Depth),
    /// A null device.
    Null,
    /// An empty directory.
    Empty,
}

/// The names that an image of this configuration can have, and their sources. `cgroups` are the
/// names of the hierarchies' mount points and the container's groups.
pub fn externals(container: &Container, cgroups: &[(String, PathBuf)]) -> Vec<External> {
    let external = |name, source, restrictions, destination: &Path| External {
        name,
        source,
        restrictions,
        destination: destination.to_owned(),
        id_map: None,
    };
    let cover = MountAttr::RDONLY | MountAttr::NOSUID | MountAttr::NOEXEC;
    let none = MountAttr::empty();
    let host = |path: &Path| ExternalSource::Host(path.to_owned(), Depth::Top);
    let binds = container.mounts.iter().enumerate();
    let binds = binds
        .filter(|(_, mount)| mount.is_bind())
        .map(|(i, mount)| {
            let source = host(mount.source.as_deref().unwrap_or(Path::new("")));
            External {
                id_map: id_map(container, mount),
                ..external(
                    bind_name(container, i, mount),
                    source,
                    restrictions(mount),
                    &mount.destination,
                )
            }
        });
    let masks = container.masked_paths.iter().flat_map(|path| {
        let name = |is_directory| mask_name(path, is_directory);
        [
            external(name(false), ExternalSource::Null, cover, path),
            external(name(true), ExternalSource::Empty, cover, path),
        ]
    });
    let devices = device_paths(container);
    let devices = devices
        .iter()
        .map(|path| external(device_name(path), host(path), none, path));
    // A cgroup namespace has mounts of its own. Without a mount of the configuration there is none.
    let mount = container.mounts.iter().find(|mount| mount.is_cgroup());
    let mount = mount.filter(|_| !container.namespaces[NamespaceKind::Cgroup].is_own());
    let cgroups = mount.into_iter().flat_map(|mount| {
        cgroups.iter().map(|(directory, group)| {
            let destination = match mount.destination.file_name() {
                Some(name) if name.as_bytes() == directory.as_bytes() => mount.destination.clone(),
                _ => mount.destination.join(directory),
            };
            let name = cgroup_name(directory);
            external(name, host(group), restrictions(mount), &destination)
        })
    });
    binds.chain(masks).chain(devices).chain(cgroups).collect()
}

/// The restrictions that the options of a mount ask for: read-only, nosuid, nodev, noexec. All of
/// them if the options cannot be read.
pub fn restrictions(mount: &Mount) -> MountAttr {
    let all = MountAttr::RDONLY | MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    let read = options::read(&mount.options);
    read.map_or(all, |options| options.attributes() & all)
}

/// The map of a mount whose ids are mapped.
pub fn id_map(container: &Container, mount: &Mount) -> Option<IdMap> {
    let has_option = || options::read(&mount.options).is_ok_and(|read| read.id_map.is_some());
    let is_mapped = !mount.uid_mappings.is_empty() || has_option();
    let maps = is_mapped.then(|| Maps::of(container, mount))??;
    Some(IdMap {
        maps,
        destination: mount.destination.clone(),
    })
}

impl RootFd {
    /// Opens the mount point `path`, and makes what is missing of it. A link is an error: CRIU
    /// would follow it, out of the root (CVE-2026-119614).
    ///
    /// # Errors
    /// ELOOP: a link is on the way. EROFS and others: it is missing and cannot be made.
    pub fn make_mount_point(&self, path: &CStr, kind: FileKind) -> Result<(), Errno> {
        let (form, flags) = form_of(kind);
        match make(self.as_fd(), path, form, flags, NO_LINKS) {
            Ok(_made) => Ok(()),
            Err(failed) => Err(failed.errno),
        }
    }

    /// Opens the mount point `path` where nothing may be made. A link is an error.
    ///
    /// # Errors
    /// ELOOP: a link is on the way. ENOENT, ENOTDIR: it is missing.
    pub fn find_mount_point(&self, path: &CStr, kind: FileKind) -> Result<(), Errno> {
        let flags = form_of(kind).1 | OpenFlags::PATH;
        look_up(self.as_fd(), path, flags, NO_LINKS).map(|_found| ())
    }
}

/// Without O_NOFOLLOW: with it, the kernel would open a link as the last component.
fn form_of(kind: FileKind) -> (Form, OpenFlags) {
    match kind {
        FileKind::Directory => (Form::Directory, OpenFlags::DIRECTORY),
        _ => (Form::File, OpenFlags::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::load::{Host, parse};

    fn names(mounts: &str, masks: &str) -> BTreeMap<String, ExternalSource> {
        let text = format!(
            r#"{{"ociVersion": "1.2.1", "root": {{"path": "rootfs"}}, "mounts": [{mounts}],
                "process": {{"cwd": "/", "user": {{"uid": 0, "gid": 0}}, "args": ["sh"]}},
                "linux": {{"namespaces": [{{"type": "mount"}}], "maskedPaths": [{masks}]}}}}"#
        );
        let loaded = parse(text.as_bytes(), Path::new("/none"), Host::Ignore);
        let container = loaded.unwrap().container;
        let externals = externals(&container, &[]).into_iter();
        let externals = externals.filter(|it| !it.name.starts_with("device-"));
        externals.map(|it| (it.name, it.source)).collect()
    }

    fn bind(destination: &str, source: &str) -> String {
        format!(
            r#"{{"destination": "{destination}", "type": "bind", "source": "{source}", "options": ["bind"]}}"#
        )
    }

    #[test]
    fn a_name_does_not_depend_on_the_order_of_the_configuration() {
        let (one, two) = (bind("/one", "/a"), bind("/two", "/b"));
        let named = names(&format!("{one}, {two}"), r#""/x", "/y""#);
        assert_eq!(named, names(&format!("{two}, {one}"), r#""/y", "/x""#));
        let host = |path: &str| ExternalSource::Host(path.into(), Depth::Top);
        assert_eq!(named["mount-/one"], host("/a"));
        assert_eq!(named["mask-directory-/x"], ExternalSource::Empty);
        let named = names(&format!("{one}, {}", bind("/one", "/b")), "");
        assert_eq!(named["mount-/one"], host("/a"));
        assert_eq!(named["mount-/one#1"], host("/b"));
    }

    #[test]
    fn a_name_has_no_character_that_criu_reads() {
        let named = names(&bind("/a]:b#1 %ä", "/a"), "");
        let name = named.keys().next().unwrap();
        assert_eq!(name, "mount-/a%5d%3ab%231%20%25%c3%a4");
    }
}
