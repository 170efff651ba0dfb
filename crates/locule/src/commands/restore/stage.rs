//! Where CRIU restores: a mount namespace of its own, with one tmpfs for all that it binds.
//!
//! CRIU names everything by paths. So that no path leads through a directory that a container or an
//! image has made, the root and every source are opened once and attached below a private
//! tmpfs, under names that the runtime chooses. Mount points are opened below the root without
//! following links (CVE-2026-119614). The namespace ends with CRIU; nothing of it is seen by the
//! host.
//!
//! CRIU does not give the root its flags, nor two mounts of one file system. So what is attached
//! has the restrictions of the configuration already, and every copy inherits them.

use super::check::Bound;
use crate::error::Error;
use kernel::Errno;
use kernel::clone::{NamespaceFlags, unshare};
use kernel::fs::{self, FileKind};
use kernel::mount::{
    self, AttrChange, Depth, Follow, MountAttr, Propagation, clone_tree, mount_setattr, move_mount,
};
use kernel::path::{self, CWD, OpenFlags, Resolve, openat2};
use nix::sys::stat::{Mode, mkdirat};
use rootfs::{External, ExternalSource, IdMap, Own, RootFd, mount_number};
use spec::container::Root;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where CRIU mounts something.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) path: &'a Path,
    /// Whether it is in a mount that CRIU makes, and with it.
    pub(super) is_in_made: bool,
}

/// What CRIU is told about the stage.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The container's root.
    pub(super) root: String,
    /// Names and sources of the external mounts.
    pub(super) sources: Vec<(String, String)>,
}

/// Calls `start` where the stage is, to start CRIU there. This process is back afterwards. The
/// stage covers the directory `store` of all containers, which only root may search: CRIU also
/// mounts as root of a new user namespace.
///
/// # Errors
/// [`Error::Stage`]: the stage cannot be made. [`Error::ImageMount`]: a mount point is no plain
/// directory or file. The error of `start`.
pub(super) fn within<T>(
    (store, id): (&Path, &str),
    root: &Root,
    points: &[Point<'_>],
    bound: &[Bound<'_>],
    start: impl FnOnce(Paths) -> Result<T, Error>,
) -> Result<T, Error> {
    let own = Own::note().map_err(|at| failed("note", "/proc/self/ns/mnt")(at.errno))?;
    let making = Making {
        store,
        path: store.join(id),
    };
    let done = making.make(root, points, bound).and_then(start);
    own.back()
        .map_err(|at| failed("return from", "the stage")(at.errno))?;
    done
}

fn failed(action: &'static str, what: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Error {
    let path = what.into();
    move |source| Error::Stage {
        action,
        path,
        source,
    }
}

struct Making<'a> {
    store: &'a Path,
    path: PathBuf,
}

impl Making<'_> {
    fn make(&self, root: &Root, points: &[Point<'_>], bound: &[Bound<'_>]) -> Result<Paths, Error> {
        let tmpfs = self.tmpfs().map_err(failed("make", &self.path))?;
        let none = Limits::default();
        self.attach(&tmpfs, c"root", &open(&root.path)?, Depth::Tree, &none)?;
        let mut paths = Paths {
            root: self.name("root"),
            sources: Vec::new(),
        };
        let tree = open(&self.path.join("root"))?;
        let copy = tree.try_clone().map_err(|_none| Errno::EMFILE);
        let below = RootFd::new(copy.map_err(failed("hold", "the root"))?);
        for point in points {
            make_point(&below, point, bound)?;
        }
        if root.readonly {
            restrict(&tree, MountAttr::RDONLY).map_err(failed("make read-only", &root.path))?;
        }
        for (index, bound) in bound.iter().enumerate() {
            let name = format!("source-{index}");
            let limits = Limits::of(bound.external)?;
            let source = match &bound.external.source {
                // In a user namespace masks are the host's device.
                ExternalSource::Null if bound.is_shared => {
                    self.attach_whole(&tmpfs, &name, Path::new("/dev/null"), &limits)?
                }
                ExternalSource::Null => self.name("null"),
                ExternalSource::Empty => self.name("empty"),
                ExternalSource::Host(path, _) if bound.is_shared => {
                    self.attach_whole(&tmpfs, &name, path, &limits)?
                }
                ExternalSource::Host(path, depth) => {
                    let c_name = text(Path::new(&name)).map_err(failed("attach", path))?;
                    self.attach(&tmpfs, &c_name, &open(path)?, *depth, &limits)?;
                    self.name(&name)
                }
            };
            paths.sources.push((bound.external.name.clone(), source));
        }
        // Masks are copies of it.
        restrict(&tmpfs, MountAttr::RDONLY).map_err(failed("make read-only", &self.path))?;
        Ok(paths)
    }

    fn name(&self, file: &str) -> String {
        self.path.join(file).to_string_lossy().into_owned()
    }

    /// The tmpfs, attached in a new mount namespace, with a null device and an empty directory.
    fn tmpfs(&self) -> Result<OwnedFd, Errno> {
        unshare(NamespaceFlags::MOUNT)?;
        let slave = AttrChange {
            propagation: Some(Propagation::Slave),
            ..AttrChange::default()
        };
        mount_setattr(CWD, c"/", Depth::Tree, slave)?;
        let cover = tmpfs_at(self.store)?;
        let name = text(Path::new(self.path.file_name().unwrap_or_default()))?;
        mkdirat(cover.as_fd(), &*name, Mode::S_IRWXU)?;
        let tmpfs = tmpfs_at(&self.path)?;
        mkdirat(tmpfs.as_fd(), c"empty", Mode::from_bits_truncate(0o555))?;
        fs::mknod_at(tmpfs.as_fd(), c"null", FileKind::Char, (1, 3), 0o666)?;
        Ok(tmpfs)
    }

    /// Attaches a copy of the whole mount that `path` is on, and returns the name of `path` there.
    /// CRIU can copy the sharing of a mount only from one that shows as much of the file system as
    /// its peers.
    fn attach_whole(
        &self,
        tmpfs: &OwnedFd,
        name: &str,
        path: &Path,
        limits: &Limits,
    ) -> Result<String, Error> {
        let (whole, rest) = mount_of(path)?;
        let c_name = text(Path::new(name)).map_err(failed("attach", path))?;
        self.attach(tmpfs, &c_name, &whole, Depth::Top, limits)?;
        match rest.to_str() {
            Some("") => Ok(self.name(name)),
            Some(rest) => Ok(format!("{}/{rest}", self.name(name))),
            None => Err(failed("attach", path)(Errno::EILSEQ)),
        }
    }

    /// Attaches a copy of what `from` shows. It receives mounts of the host, as a mount of the
    /// image may: CRIU copies that from it.
    fn attach(
        &self,
        tmpfs: &OwnedFd,
        name: &CStr,
        from: &OwnedFd,
        depth: Depth,
        limits: &Limits,
    ) -> Result<(), Error> {
        let attached = || {
            let tree = clone_tree(from.as_fd(), c"", depth, Follow::No)?;
            restrict(&tree, limits.restrictions)?;
            if let Some(map) = &limits.id_map {
                map_ids(&tree, map)?;
            }
            match fs::stat(from.as_fd())?.kind {
                FileKind::Directory => {
                    mkdirat(tmpfs.as_fd(), name, Mode::from_bits_truncate(0o755))?
                }
                _ => fs::mknod_at(tmpfs.as_fd(), name, FileKind::Fifo, (0, 0), 0o600)?,
            }
            let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
            let place = openat2(tmpfs.as_fd(), name, flags, 0, Resolve::BENEATH)?;
            move_mount(tree.as_fd(), place.as_fd())
        };
        let name = name.to_string_lossy().into_owned();
        attached().map_err(failed("attach", self.path.join(name)))
    }
}

/// Mounts a tmpfs that every user can search.
fn tmpfs_at(path: &Path) -> Result<OwnedFd, Errno> {
    let context = mount::fsopen(c"tmpfs")?;
    mount::fsconfig_string(context.as_fd(), c"mode", c"0755")?;
    mount::fsconfig_create(context.as_fd())?;
    let tmpfs = mount::fsmount(context.as_fd(), MountAttr::NOSUID | MountAttr::NOEXEC)?;
    let place = path::open(&text(path)?, OpenFlags::PATH)?;
    move_mount(tmpfs.as_fd(), place.as_fd())?;
    Ok(tmpfs)
}

/// The root of the mount that `path` is on, and the rest of the path, without links.
fn mount_of(path: &Path) -> Result<(OwnedFd, PathBuf), Error> {
    let found = open(path)?;
    let number = mount_number(found.as_fd());
    let mut buffer = vec![0; 4096];
    let name = CString::new(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap_or_default();
    let length = fs::readlink_at(CWD, &name, &mut buffer).map_err(failed("resolve", path))?;
    buffer.truncate(length);
    let real = PathBuf::from(OsString::from_vec(buffer));
    let mut whole = (found, PathBuf::new());
    for above in real.ancestors().skip(1) {
        let directory = open(above)?;
        if mount_number(directory.as_fd()) != number {
            break;
        }
        let rest = real.strip_prefix(above).unwrap_or(&real);
        whole = (directory, rest.to_owned());
    }
    Ok(whole)
}

/// What a copy of a mount is limited to.
#[derive(Debug, Default)]
struct Limits {
    restrictions: MountAttr,
    /// The user namespace with the map of its ids.
    id_map: Option<OwnedFd>,
}

impl Limits {
    fn of(external: &External) -> Result<Self, Error> {
        let map = external.id_map.as_ref().map(IdMap::user_namespace);
        let id_map = map.transpose().map_err(|source| Error::StageIdMap {
            path: external.destination.clone(),
            source,
        })?;
        Ok(Self {
            restrictions: external.restrictions,
            id_map,
        })
    }
}

/// Shows the ids of one mount by a map.
fn map_ids(mount: &OwnedFd, map: &OwnedFd) -> Result<(), Errno> {
    let change = AttrChange {
        set: MountAttr::IDMAP,
        id_map: Some(map.as_fd()),
        ..AttrChange::default()
    };
    mount_setattr(mount.as_fd(), c"", Depth::Top, change)
}

/// Adds restrictions to one mount.
fn restrict(mount: &OwnedFd, set: MountAttr) -> Result<(), Errno> {
    let change = AttrChange {
        set,
        ..AttrChange::default()
    };
    mount_setattr(mount.as_fd(), c"", Depth::Top, change)
}

/// Opens a path of the host, in this mount namespace.
fn open(path: &Path) -> Result<OwnedFd, Error> {
    let name = text(path).map_err(failed("open", path))?;
    path::open(&name, OpenFlags::PATH).map_err(failed("open", path))
}

fn text(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)
}

/// The external mount that a mount point is below, if any.
fn nearest<'b>(point: &Path, bound: &'b [Bound<'b>]) -> Option<&'b Bound<'b>> {
    let above = bound
        .iter()
        .filter(|bound| bound.point != point && point.starts_with(bound.point));
    above.max_by_key(|bound| bound.point.as_os_str().len())
}

/// Makes a mount point below the container's root. In a volume, or where a mount that CRIU makes
/// will be, it is only looked at. No component may be a link.
fn make_point(root: &RootFd, point: &Point<'_>, bound: &[Bound<'_>]) -> Result<(), Error> {
    let path = point.path;
    let refused = |reason| Error::ImageMount {
        point: path.to_string_lossy().into_owned(),
        reason,
    };
    let failed = |errno| match errno {
        Errno::ELOOP => {
            refused("a link is on the way to its mount point, and CRIU would follow it")
        }
        errno => failed("make the mount point", path)(errno),
    };
    let own = bound.iter().find(|bound| bound.point == path);
    let kind = match own.map(|bound| &bound.external.source) {
        Some(ExternalSource::Null) => FileKind::Char,
        Some(ExternalSource::Host(path, _)) => fs::stat(open(path)?.as_fd()).map_err(failed)?.kind,
        Some(ExternalSource::Empty) | None => FileKind::Directory,
    };
    let above = nearest(path, bound).map(|above| (above.point, &above.external.source));
    let found = match above {
        None if !point.is_in_made => {
            let name = text(path).map_err(failed)?;
            return root.make_mount_point(&name, kind).map_err(failed);
        }
        None => root.find_mount_point(&text(path).map_err(failed)?, kind),
        Some((at, ExternalSource::Host(volume, _))) => {
            let name = text(path.strip_prefix(at).unwrap_or(path)).map_err(failed)?;
            RootFd::new(open(volume)?).find_mount_point(&name, kind)
        }
        Some((_, ExternalSource::Null | ExternalSource::Empty)) => Err(Errno::ENOENT),
    };
    match found {
        Err(Errno::ENOENT | Errno::ENOTDIR) if point.is_in_made => Ok(()),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Err(refused(
            "its mount point is missing in the volume that it is in, where nothing is made",
        )),
        found => found.map_err(failed),
    }
}
