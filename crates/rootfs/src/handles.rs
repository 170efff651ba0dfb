//! What must be opened before a plan can be carried out.

#![expect(
    clippy::disallowed_methods,
    reason = "paths of the host, before the clone; what is opened is kept by descriptor"
)]

use crate::lower::{Error, errno_of};
use crate::mount::Names;
use crate::pivot::{Pivot, Way};
use crate::place::Fault;
use crate::plan::{Opener, Plan};
use crate::tree::{Bind, Role, Source, Tree};
use crate::{Reason, procfs};
use kernel::mount::unescape;
use kernel::mount::{AttrChange, Depth, Follow, MountAttr, mount_setattr};
use kernel::path::{CWD, OpenFlags, Resolve, openat2};
use kernel::{Call, Errno};
use spec::{Code, Diagnostic};
use std::ffi::{CString, OsStr};
use std::fs;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The descriptors that a plan is carried out with, and what could only be known by opening. Made by
/// [`Plan::open`] before the clone; init adds those of the mounts that it makes.
#[derive(Debug)]
pub struct Handles {
    /// As many as the plan has sources.
    sources: Vec<Handle>,
    id_maps: Vec<OwnedFd>,
    /// The mounts that init has made and needs again, as many as the plan has steps.
    placed: Vec<Option<OwnedFd>>,
    procfs: Option<OwnedFd>,
    /// Procfs and sysfs mounts of the host that a moved root would not hide, the last one first.
    pub(crate) exposed: Vec<CString>,
}

/// What a source turned out to be.
#[derive(Debug)]
enum Handle {
    /// Init opens it.
    Closed,
    /// A detached tree.
    Tree(OwnedFd),
    /// A symbolic link to be copied, and what it says.
    Link(CString),
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
    /// Opens what the plan takes from the host, as far as this process may. An id map wants a short-lived process.
    ///
    /// # Errors
    /// The first thing that cannot be opened, or is not what it must be.
    pub fn open(&self) -> Result<Handles, Error> {
        let id_maps = self.id_maps.iter().map(|map| {
            map.user_namespace().map_err(|source| Error::IdMap {
                destination: map.destination.clone(),
                source,
            })
        });
        let id_maps = id_maps.collect::<Result<Vec<_>, _>>()?;
        let sources = self.sources.iter().map(|tree| match self.opener {
            Opener::Runtime => open(tree, &id_maps),
            Opener::Init => look_at(tree),
        });
        Ok(Handles {
            sources: sources.collect::<Result<_, _>>()?,
            id_maps,
            placed: self.steps.iter().map(|_| None).collect(),
            procfs: None,
            exposed: match &self.way {
                Way::Attached(way) if way.pivot == Pivot::Move => exposed(&way.path),
                Way::Attached(_) | Way::Chroot(_) => Vec::new(),
            },
        })
    }
}

impl Handles {
    /// Opens every source that is not open yet. The number of a failure is that of the source.
    pub(crate) fn open_rest(&mut self, sources: &[Tree]) -> Result<(), (usize, Fault)> {
        for (index, (handle, tree)) in self.sources.iter_mut().zip(sources).enumerate() {
            if let Handle::Closed = handle {
                *handle = Handle::Tree(tree.open().map_err(|fault| (index, fault))?);
            }
        }
        Ok(())
    }

    /// Gives a source away. Each is used once.
    pub(crate) fn take(&mut self, source: Source) -> Result<Taken, Fault> {
        let handle = self.sources.get_mut(source.0);
        match handle.map(|handle| mem::replace(handle, Handle::Taken)) {
            Some(Handle::Tree(fd)) => Ok(Taken::Tree(fd)),
            Some(Handle::Link(text)) => Ok(Taken::Link(text)),
            Some(Handle::Closed | Handle::Taken) | None => {
                Err(Fault::of(Call::Verify)(Errno::EBADF))
            }
        }
    }

    /// Gives a source away that is no link to be copied.
    pub(crate) fn take_tree(&mut self, source: Source) -> Result<OwnedFd, Fault> {
        match self.take(source)? {
            Taken::Tree(fd) => Ok(fd),
            Taken::Link(_) => Err(Fault::of(Call::Verify)(Errno::ELOOP)),
        }
    }

    /// The user namespace of one of the plan's id maps.
    pub(crate) fn id_map(&self, index: usize) -> Result<BorrowedFd<'_>, Fault> {
        let map = self.id_maps.get(index).map(OwnedFd::as_fd);
        map.ok_or(Fault::of(Call::Verify)(Errno::EBADF))
    }

    /// The mount that a step has made, if it has kept it.
    pub(crate) fn placed(&self, step: usize) -> Option<BorrowedFd<'_>> {
        self.placed.get(step)?.as_ref().map(OwnedFd::as_fd)
    }

    /// Keeps the mount that a step has made.
    pub(crate) fn keep(&mut self, step: usize, mount: OwnedFd) {
        if let Some(place) = self.placed.get_mut(step) {
            *place = Some(mount);
        }
    }

    /// The private procfs, if there is one.
    pub fn procfs(&self) -> Option<BorrowedFd<'_>> {
        self.procfs.as_ref().map(OwnedFd::as_fd)
    }

    /// Makes the private procfs, once.
    pub(crate) fn make_procfs(&mut self) -> Result<(), Fault> {
        if self.procfs.is_none() {
            self.procfs = Some(procfs::make()?);
        }
        Ok(())
    }
}

/// Opens a source with the rights of the host.
fn open(tree: &Tree, id_maps: &[OwnedFd]) -> Result<Handle, Error> {
    let bind = match &tree.role {
        Role::Group => return Ok(Handle::Closed),
        Role::Root | Role::Node(..) => None,
        Role::Bind(bind) => Some(bind),
    };
    if let Some(link) = bind.and_then(|bind| link_to_copy(tree, bind)) {
        return Ok(Handle::Link(link));
    }
    let fd = tree.open().map_err(|fault| error_of(tree, fault.errno))?;
    if let Some(bind) = bind {
        keep_locked_flags(tree, bind, fd.as_fd())?;
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

/// In a user namespace the flags of the host's mounts are locked. This tree is opened outside, so the kernel would not know:
/// to name one of them to be cleared is an error here, as it is there.
fn keep_locked_flags(tree: &Tree, bind: &Bind, mount: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = |errno| error_of(tree, errno);
    if bind.locked.is_empty() {
        return Ok(());
    }
    let flags = || kernel::fs::mount_flags(mount).map_err(failed);
    let before = flags()? & bind.locked;
    if before.is_empty() {
        return Ok(());
    }
    // A read-only file system shows that too, whatever its mount does: what goes away is the mount's.
    let change = AttrChange {
        clear: before,
        ..AttrChange::default()
    };
    mount_setattr(mount, c"", Depth::Top, change).map_err(failed)?;
    let lost = before.difference(flags()?);
    if lost.is_empty() {
        return Ok(());
    }
    let message = format!(
        "clear {} of {:?}, which has it on the host: that is locked in a user namespace",
        Names(lost),
        path_of(tree)
    );
    let pointer = format!("{}/options", bind.pointer);
    Err(Diagnostic::new(Code::Conflict, pointer, message).into())
}

/// What an ordinary user can say of a source that init will open: whether it is there.
fn look_at(tree: &Tree) -> Result<Handle, Error> {
    let Role::Bind(bind) = &tree.role else {
        return Ok(Handle::Closed);
    };
    if let Some(link) = link_to_copy(tree, bind) {
        return Ok(Handle::Link(link));
    }
    if bind.procfs {
        let fd = openat2(CWD, &tree.path, OpenFlags::PATH, 0, Resolve::empty())
            .map_err(|errno| error_of(tree, errno))?;
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
        // What this process may not look at, init looks at.
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
                format!("{path:?} is no procfs, and nothing else may be mounted on /proc");
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
fn exposed(root: &Path) -> Vec<CString> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<CString> = table
        .lines()
        .filter_map(|line| {
            let (fields, rest) = line.split_once(" - ")?;
            let kind = rest.split(' ').next()?;
            let point = fields.split(' ').nth(4)?;
            let wanted = matches!(kind, "proc" | "sysfs") && !Path::new(point).starts_with(root);
            wanted.then(|| CString::new(unescape(point)).ok())?
        })
        .collect();
    found.reverse();
    found
}
