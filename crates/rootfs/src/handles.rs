//! What must be opened before a plan can be carried out.

#![expect(
    clippy::disallowed_methods,
    reason = "paths of the host, before the clone; what is opened is kept by descriptor"
)]

use crate::added::Descriptors;
use crate::base::{self, Above};
use crate::device::give;
use crate::ground::{Ground, attach, tmpfs};
use crate::lower::{Error, PORTION};
use crate::mount_table::{Line, mounts_of};
use crate::pivot::{Pivot, Way, identity};
use crate::plan::{Opener, Plan};
use crate::tree::{Bind, NodeForm, Role, Source, Tree};
use crate::{Reason, procfs};
use kernel::errno::errno_of;
use kernel::fs::{Digits, FileKind, mknod_at, stat};
use kernel::mount::{AttrChange, Depth, Follow, MountAttr, clone_tree, mount_setattr};
use kernel::path::{self, OpenFlags};
use kernel::{Call, Errno, Failed};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The descriptors that a plan is carried out with, and the facts that only an open can tell.
/// [`Plan::open`] makes them before the clone; init adds those of the mounts that it makes.
#[derive(Debug)]
pub struct Handles {
    /// As many as the plan has sources.
    sources: Vec<Handle>,
    id_maps: Vec<OwnedFd>,
    /// The mounts that init has made and needs again, as many as the plan has steps.
    placed: Vec<Option<OwnedFd>>,
    procfs: Option<OwnedFd>,
    /// The base that init starts in; `None`: it starts in the host's mount table.
    base: Option<OwnedFd>,
    /// Why the base of the plan is not used.
    refused: Option<base::Refused>,
    stage: Option<Stage>,
    /// Of the process that adds mounts to a running container.
    own: Option<Descriptors>,
    /// Procfs and sysfs mounts of the host that a moved root would not hide, the last one first.
    pub(crate) exposed: Vec<CString>,
}

/// A tmpfs that the sources are attached on, by number.
#[derive(Debug)]
struct Stage {
    /// In the mount namespace of the process that uses it.
    mount: OwnedFd,
    identity: (u64, u64),
}

/// What a source turned out to be.
#[derive(Debug)]
enum Handle {
    /// Init opens it.
    Closed,
    /// A detached tree.
    Tree(OwnedFd),
    /// A device node that the host lacks: it is made on the stage.
    Missing(NodeForm),
    /// A symbolic link to be copied, and what it says.
    Link(CString),
    /// It is on the stage. This is how much of its tree is used.
    Staged(Depth),
    /// Init has used it.
    Taken,
}

/// A source as init uses it.
pub(crate) enum Taken {
    /// A detached tree.
    Tree(OwnedFd),
    /// The text of a symbolic link.
    Link(CString),
}

impl Plan {
    /// Opens the sources of the host that this process may open. An id map needs a short-lived
    /// process.
    ///
    /// # Errors
    /// The first source that cannot be opened, or has the wrong type.
    pub fn open(&self) -> Result<Handles, Error> {
        let id_maps = self.id_maps.iter().map(|map| {
            map.user_namespace().map_err(|source| Error::IdMap {
                destination: map.destination.clone(),
                source,
            })
        });
        let id_maps = id_maps.collect::<Result<Vec<_>, _>>()?;
        let (base, refused) = match &self.ground {
            Ground::Host(_) => (None, None),
            Ground::Base(path) => match base::open(path) {
                Ok(base) => (Some(base), None),
                Err(refused) => (None, Some(refused)),
            },
        };
        let above = Above::look();
        let sources = self.sources.iter().enumerate();
        let sources = sources.map(|(index, tree)| match self.opener {
            Opener::Staged if index >= PORTION => Ok(Handle::Closed),
            Opener::Staged => open_or_make(tree, &id_maps, &above),
            Opener::Runtime => open(tree, &id_maps, &above, tree.depth),
            Opener::Init => look_at(tree),
        });
        Ok(Handles {
            sources: sources.collect::<Result<_, _>>()?,
            base,
            refused,
            stage: None,
            own: None,
            id_maps,
            placed: self.steps.iter().map(|_| None).collect(),
            procfs: match self.own_procfs {
                true => Some(procfs::own().map_err(|errno| Error::Procfs(Reason(errno)))?),
                false => None,
            },
            exposed: match &self.way {
                Way::Attached(way) if way.pivot == Pivot::Move => exposed(&way.path)?,
                Way::Attached(_) | Way::Chroot(_) => Vec::new(),
            },
        })
    }
}

impl Handles {
    /// Opens every source that is not open yet. The number of a failure is that of the source.
    pub(crate) fn open_rest(&mut self, sources: &[Tree]) -> Result<(), (usize, Failed)> {
        for (index, (handle, tree)) in self.sources.iter_mut().zip(sources).enumerate() {
            if let Handle::Closed = handle {
                let fd = tree.open(tree.depth).map_err(|failed| (index, failed))?;
                *handle = Handle::Tree(fd);
            }
        }
        Ok(())
    }

    /// Opens the container's cgroups, which init would not find in the base.
    pub(crate) fn open_groups(&mut self, sources: &[Tree]) -> Result<(), Failed> {
        for (handle, tree) in self.sources.iter_mut().zip(sources) {
            if tree.role == Role::Group {
                *handle = Handle::Tree(tree.open(tree.depth)?);
            }
        }
        Ok(())
    }

    /// Gives a source away. Each is used once.
    pub(crate) fn take(&mut self, source: Source) -> Result<Taken, Failed> {
        let handle = self.sources.get_mut(source.0);
        match handle.map(|handle| mem::replace(handle, Handle::Taken)) {
            Some(Handle::Tree(fd)) => Ok(Taken::Tree(fd)),
            Some(Handle::Link(text)) => Ok(Taken::Link(text)),
            Some(Handle::Staged(depth)) => self.clone_staged(source, depth).map(Taken::Tree),
            Some(Handle::Closed | Handle::Missing(_) | Handle::Taken) | None => {
                Err(Failed::of(Call::Verify)(Errno::EBADF))
            }
        }
    }

    /// Moves a source out, if it is not a link to copy.
    pub(crate) fn take_tree(&mut self, source: Source) -> Result<OwnedFd, Failed> {
        match self.take(source)? {
            Taken::Tree(fd) => Ok(fd),
            Taken::Link(_) => Err(Failed::of(Call::Verify)(Errno::ELOOP)),
        }
    }

    fn clone_staged(&self, source: Source, depth: Depth) -> Result<OwnedFd, Failed> {
        let missing = Failed::of(Call::Verify)(Errno::EBADF);
        let stage = self.stage.as_ref().ok_or(missing)?;
        let name = Digits::of(source.0);
        clone_tree(stage.mount.as_fd(), name.as_c_str(), depth, Follow::No)
            .map_err(Failed::of(Call::OpenTree))
    }

    /// Clones all sources from the stage.
    pub(crate) fn take_staged(&mut self) -> Result<(), Failed> {
        for index in 0..self.sources.len() {
            if let Handle::Staged(depth) = self.sources[index] {
                self.sources[index] = Handle::Tree(self.clone_staged(Source(index), depth)?);
            }
        }
        Ok(())
    }

    /// Borrows a source that is a detached tree.
    pub(crate) fn peek(&self, source: Source) -> Result<BorrowedFd<'_>, Failed> {
        match self.sources.get(source.0) {
            Some(Handle::Tree(fd)) => Ok(fd.as_fd()),
            _ => Err(Failed::of(Call::Verify)(Errno::EBADF)),
        }
    }

    /// The base, if init starts in it.
    pub(crate) fn base(&self) -> Option<BorrowedFd<'_>> {
        self.base.as_ref().map(OwnedFd::as_fd)
    }

    /// Why the base is not used, although the plan uses it.
    pub fn refused(&self) -> Option<&base::Refused> {
        self.refused.as_ref()
    }

    /// The identity of the stage, if there is one.
    pub(crate) fn stage(&self) -> Option<(u64, u64)> {
        self.stage.as_ref().map(|stage| stage.identity)
    }

    /// The runtime's: sources will be attached on this.
    pub(crate) fn set_stage(&mut self, mount: OwnedFd) -> Result<(), Failed> {
        let identity = identity(mount.as_fd())?;
        self.stage = Some(Stage { mount, identity });
        Ok(())
    }

    /// Makes the stage the working directory.
    pub(crate) fn enter_stage(&self) -> Result<(), Failed> {
        let stage = self.stage.as_ref();
        let stage = stage.ok_or(Failed::of(Call::Verify)(Errno::EBADF))?;
        fchdir(stage.mount.as_fd()).map_err(Failed::of(Call::Chdir))
    }

    /// Init's: the stage in its own mount namespace, a copy of the runtime's.
    pub(crate) fn use_stage(&mut self, place: &OwnedFd) -> Result<(), Failed> {
        if let Some(stage) = &mut self.stage {
            stage.mount = place
                .try_clone()
                .map_err(|_error| Failed::of(Call::Dup)(Errno::last()))?;
        }
        Ok(())
    }

    /// Attaches the sources that are open on the stage, and closes them.
    pub(crate) fn attach_open(&mut self, trees: &[Tree]) -> Result<(), Failed> {
        let missing = Failed::of(Call::Verify)(Errno::EBADF);
        let stage = self.stage.as_ref().ok_or(missing)?.mount.as_fd();
        for (index, (handle, tree)) in self.sources.iter_mut().zip(trees).enumerate() {
            if let Handle::Missing(form) = handle {
                let place = Digits::of(index + trees.len());
                *handle = Handle::Tree(make_node(stage, place.as_c_str(), tree, *form)?);
            }
            let Handle::Tree(fd) = handle else { continue };
            let name = Digits::of(index);
            let name = name.as_c_str();
            match stat(fd.as_fd()).map_err(Failed::of(Call::Stat))?.kind {
                FileKind::Directory => mkdirat(stage, name, Mode::from_bits_truncate(0o755)),
                _ => mknod_at(stage, name, FileKind::Fifo, (0, 0), 0o600),
            }
            .map_err(Failed::of(Call::Mknod))?;
            attach(fd.as_fd(), stage, name)?;
            *handle = Handle::Staged(tree.depth);
        }
        Ok(())
    }

    /// Opens the next sources that the runtime may open. Returns whether there were any.
    pub(crate) fn open_next(&mut self, trees: &[Tree]) -> Result<(), Error> {
        let above = Above::look();
        let closed = self.sources.iter_mut().zip(trees);
        let closed = closed.filter(|(handle, tree)| is_next(handle, tree));
        for (handle, tree) in closed.take(PORTION) {
            *handle = open_or_make(tree, &self.id_maps, &above)?;
        }
        Ok(())
    }

    /// Whether there are sources that the runtime may open and has not opened.
    pub(crate) fn has_more(&self, trees: &[Tree]) -> bool {
        let mut all = self.sources.iter().zip(trees);
        all.any(|(handle, tree)| is_next(handle, tree))
    }

    /// The user namespace of one of the plan's id maps.
    pub(crate) fn id_map(&self, index: usize) -> Result<BorrowedFd<'_>, Failed> {
        let map = self.id_maps.get(index).map(OwnedFd::as_fd);
        map.ok_or(Failed::of(Call::Verify)(Errno::EBADF))
    }

    /// The mount that a step has made, if it has kept it.
    pub(crate) fn placed(&self, step: usize) -> Option<BorrowedFd<'_>> {
        self.placed.get(step)?.as_ref().map(OwnedFd::as_fd)
    }

    /// From now on no link may lead to a mount with peers.
    pub(crate) fn refuse_peers(&mut self, own: &Descriptors) -> Result<(), Errno> {
        self.own = Some(own.try_clone()?);
        Ok(())
    }

    /// Whether it matters that what is mounted at `target` also appears elsewhere, and it does.
    pub(crate) fn leads_to_peers(&self, target: BorrowedFd<'_>) -> Result<bool, Errno> {
        self.own
            .as_ref()
            .map_or(Ok(false), |own| own.is_shared(target))
    }

    /// Keeps the mount that a step has made.
    pub(crate) fn keep(&mut self, step: usize, mount: OwnedFd) {
        if let Some(place) = self.placed.get_mut(step) {
            *place = Some(mount);
        }
    }

    /// All descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let trees = self.sources.iter().filter_map(|handle| match handle {
            Handle::Tree(fd) => Some(fd),
            _ => None,
        });
        let stage = self.stage.as_ref().map(|stage| &stage.mount);
        let others = [self.procfs.as_ref(), self.base.as_ref(), stage];
        let placed = self.placed.iter().map(Option::as_ref);
        let others = others.into_iter().chain(placed).flatten();
        trees.chain(&self.id_maps).chain(others).map(AsFd::as_fd)
    }

    /// The procfs that is trusted, if there is one.
    pub fn procfs(&self) -> Option<BorrowedFd<'_>> {
        self.procfs.as_ref().map(OwnedFd::as_fd)
    }

    /// Makes the private procfs if there is none yet.
    pub(crate) fn make_procfs(&mut self) -> Result<(), Failed> {
        if self.procfs.is_none() {
            self.procfs = Some(procfs::make()?);
        }
        Ok(())
    }
}

fn is_next(handle: &Handle, tree: &Tree) -> bool {
    matches!(handle, Handle::Closed) && tree.role != Role::Group
}

/// As [`open`]; a device node that the host lacks is to be made.
fn open_or_make(tree: &Tree, id_maps: &[OwnedFd], above: &Above) -> Result<Handle, Error> {
    match (&tree.role, tree.open(Depth::Tree)) {
        (Role::Node(_, _, Some(form)), Err(failed))
            if matches!(failed.errno, Errno::ENOENT | Errno::ENXIO) =>
        {
            Ok(Handle::Missing(*form))
        }
        (Role::Node(..), Ok(fd)) => Ok(Handle::Tree(fd)),
        _ => open(tree, id_maps, above, Depth::Tree),
    }
}

/// Makes a device node on a tmpfs of its own, which is attached at `place` below the stage, and
/// returns a detached mount of the node. The stage itself does not permit devices.
fn make_node(
    stage: BorrowedFd<'_>,
    place: &CStr,
    tree: &Tree,
    form: NodeForm,
) -> Result<OwnedFd, Failed> {
    let Role::Node(kind, numbers, _) = &tree.role else {
        return Err(Failed::of(Call::Verify)(Errno::EBADF));
    };
    mkdirat(stage, place, Mode::from_bits_truncate(0o700)).map_err(Failed::of(Call::Mkdir))?;
    let files = tmpfs(MountAttr::NOSUID | MountAttr::NOEXEC)?;
    attach(files.as_fd(), stage, place)?;
    let (files, name) = (files.as_fd(), c"node");
    mknod_at(files, name, *kind, *numbers, form.mode).map_err(Failed::of(Call::Mknod))?;
    give(files, name, form.owner).map_err(Failed::of(Call::Chown))?;
    clone_tree(files, name, Depth::Top, Follow::No).map_err(Failed::of(Call::OpenTree))
}

/// Opens a source with the rights of the host.
fn open(tree: &Tree, id_maps: &[OwnedFd], above: &Above, depth: Depth) -> Result<Handle, Error> {
    let bind = match &tree.role {
        Role::Group => return Ok(Handle::Closed),
        Role::Root | Role::Node(..) => None,
        Role::Bind(bind) => Some(bind),
    };
    if let Some(link) = bind.and_then(|bind| link_to_copy(tree, bind)) {
        return Ok(Handle::Link(link));
    }
    let refused = |failed: Failed| error_of(tree, failed.errno);
    let mut fd = tree.open(depth).map_err(refused)?;
    if depth == Depth::Tree {
        fd = above
            .without_pin(fd, || tree.open(depth))
            .map_err(refused)?;
    }
    if let Some((depth, map)) = bind.and_then(|bind| bind.id_map) {
        let change = AttrChange {
            set: MountAttr::IDMAP,
            id_map: id_maps.get(map).map(OwnedFd::as_fd),
            ..AttrChange::default()
        };
        mount_setattr(fd.as_fd(), c"", depth, change).map_err(|errno| Error::IdMapped {
            path: path_of(tree),
            destination: bind.map_or_else(PathBuf::new, |bind| bind.destination.clone()),
            source: Reason(errno),
        })?;
    }
    Ok(Handle::Tree(fd))
}

/// What an ordinary user can check of a source that init will open: whether it exists.
fn look_at(tree: &Tree) -> Result<Handle, Error> {
    let Role::Bind(bind) = &tree.role else {
        return Ok(Handle::Closed);
    };
    if let Some(link) = link_to_copy(tree, bind) {
        return Ok(Handle::Link(link));
    }
    if bind.procfs {
        let fd = path::open(&tree.path, OpenFlags::PATH).map_err(|errno| error_of(tree, errno))?;
        if kernel::fs::filesystem_magic(fd.as_fd()) != Ok(kernel::fs::PROC_MAGIC) {
            return Err(error_of(tree, Errno::EMEDIUMTYPE));
        }
    }
    let path = path_of(tree);
    let found = match tree.follow {
        Follow::Yes => fs::metadata(path),
        Follow::No => fs::symlink_metadata(path),
    };
    match found.map_err(|error| errno_of(&error)) {
        // If this process may not look at it, init does.
        Ok(_) | Err(Errno::EACCES) => Ok(Handle::Closed),
        Err(errno) => Err(error_of(tree, errno)),
    }
}

fn link_to_copy(tree: &Tree, bind: &Bind) -> Option<CString> {
    if !bind.copy_link {
        return None;
    }
    let text = fs::read_link(path_of(tree)).ok()?;
    CString::new(text.into_os_string().into_vec()).ok()
}

fn path_of(tree: &Tree) -> PathBuf {
    OsStr::from_bytes(tree.path.to_bytes()).into()
}

fn error_of(tree: &Tree, errno: Errno) -> Error {
    let path = path_of(tree);
    let source = Reason(errno);
    match &tree.role {
        Role::Root | Role::Group => Error::Root { path, source },
        Role::Node(..) => Error::Device { path, source },
        Role::Bind(bind) if errno == Errno::EMEDIUMTYPE => {
            let message =
                format!("{path:?} is not a procfs, and nothing else may be mounted on /proc");
            let pointer = format!("{}/source", bind.pointer);
            Diagnostic::new(Code::Conflict, pointer, message).into()
        }
        Role::Bind(bind) => Error::Source {
            pointer: bind.pointer.clone(),
            path,
            destination: bind.destination.clone(),
            source,
        },
    }
}

/// The host's procfs and sysfs mounts outside the root, the last one first.
fn exposed(root: &Path) -> Result<Vec<CString>, Error> {
    let mounts = mounts_of("self").map_err(|errno| Error::Procfs(Reason(errno)))?;
    let wanted = mounts
        .into_iter()
        .rev()
        .filter(|line| matches!(&*line.kind, "proc" | "sysfs") && !line.point.starts_with(root));
    let path = |line: Line| CString::new(line.point.into_os_string().into_vec()).ok();
    Ok(wanted.filter_map(path).collect())
}
