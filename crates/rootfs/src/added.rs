//! Mounts that are added to a running container, and removed from it.
//!
//! An element of `mounts` becomes the same step as at a creation, and its source is opened with the
//! rights of the runtime. A process of its own then enters the container's mount namespace and
//! attaches the mount on a descriptor below the root, so no link of the container leads elsewhere.
//! In a user namespace the kernel first locks the flags of what comes from the host: it does so
//! when a mount namespace is copied into that user namespace.

use crate::failure::{Failure, List};
use crate::ground::{Ground, Why, tmpfs};
use crate::handles::Handles;
use crate::lower::{Error, PORTION, Request};
use crate::lower_mount::{Element, MountContext, elements};
use crate::mount::{self, Action, Change, Inherit, Keep};
use crate::pivot::Way;
use crate::plan::{Opener, Plan};
use crate::root::{LINKS_INSIDE, RootFd, look_up};
use kernel::clone::namespace_owner;
use kernel::fs;
use kernel::mount::{Depth, MountAttr, Propagation, detach, move_mount};
use kernel::path::{self, CWD, OpenFlags, Resolve, openat2};
use kernel::process::without_umask;
use kernel::{Call, Errno, Failed};
use nix::unistd::fchdir;
use serde::{Deserialize, Serialize};
use spec::container::{Container, NamespaceKind, clean};
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The own descriptors of a process, as /proc shows them; opened before it enters a container.
#[derive(Debug)]
pub struct Descriptors {
    process: OwnedFd,
    files: OwnedFd,
    info: OwnedFd,
}

/// A mount that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// As the container sees it.
    pub destination: PathBuf,
    /// The number of the mount, as in mountinfo.
    pub id: u64,
}

impl Plan {
    /// Makes the plan for the mounts of `request.container`, and for nothing else.
    ///
    /// # Errors
    /// The first property that is not possible; a mount that is neither a bind mount nor a tmpfs,
    /// or that is above a masked or read-only path.
    pub fn lower_added(request: &Request<'_>) -> Result<Self, Error> {
        let elements = elements(request.container)?;
        let mut context = MountContext::new(request, &elements);
        for element in &elements {
            hides_no_mask(element, request.container)?;
            let before = context.steps().len();
            context.lower(element)?;
            for step in &mut context.steps()[before..] {
                check(&step.action, element)?;
                step.keep = Keep::Yes;
            }
        }
        let user = request.container.namespaces[NamespaceKind::User].is_own();
        let opener = match (request.host.privileged, user) {
            (false, _) => Opener::Init,
            (true, true) => Opener::Staged,
            (true, false) => Opener::Runtime,
        };
        if opener == Opener::Staged
            && let Some(element) = elements.get(PORTION)
        {
            let message = format!(
                "only {PORTION} mounts can be added at once to a container in a user namespace"
            );
            let problem = Diagnostic::new(Code::Unsupported, element.pointer.clone(), message);
            return Err(problem.hint("add them in several steps").into());
        }
        let (steps, _, taken) = context.finish();
        Ok(Self {
            way: Way::Chroot(c"/".to_owned()),
            sources: taken.sources,
            opener,
            ground: Ground::Host(Why::NotNew),
            id_maps: taken.id_maps,
            steps,
            nodes: Vec::new(),
            links: Vec::new(),
            readonly_paths: Vec::new(),
            masked_paths: Vec::new(),
            readonly_root: false,
            final_propagation: None,
            sysctls: Vec::new(),
            own_procfs: false,
        })
    }

    /// Where the mounts go, in the order of the plan.
    pub fn destinations(&self) -> impl Iterator<Item = &PathBuf> {
        self.steps.iter().map(|step| &step.destination)
    }

    /// Whether the sources must be attached where the kernel locks them: [`Plan::stage_added`].
    pub fn stages_added(&self) -> bool {
        self.opener == Opener::Staged
    }

    /// Attaches the sources where the kernel will lock them. This process is in a mount namespace
    /// of its own, a copy of the host's.
    pub fn stage_added(&self, handles: &mut Handles) -> Result<(), Failure> {
        self.stage(handles).map_err(Failure::at(List::Attach, 0))
    }

    fn stage(&self, handles: &mut Handles) -> Result<(), Failed> {
        // Nothing of this appears on the host.
        Change::propagation(Depth::Tree, Propagation::Private).apply_at(CWD, c"/")?;
        let stage = tmpfs(MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC)?;
        let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
        let slash = path::open(c"/", flags).map_err(Failed::of(Call::Openat2))?;
        move_mount(stage.as_fd(), slash.as_fd()).map_err(Failed::of(Call::MoveMount))?;
        handles.set_stage(stage)?;
        handles.attach_open(&self.sources)?;
        handles.enter_stage()
    }

    /// Takes the sources that are staged, and opens those that the runtime may not open. This
    /// process is in a copy of the host's mount namespace, in the container's user namespace.
    pub fn take_added(&self, handles: &mut Handles) -> Result<(), Failure> {
        if self.opener == Opener::Staged {
            let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
            let place = path::open(c".", flags);
            let taken = place.map_err(Failed::of(Call::Openat2)).and_then(|place| {
                handles.use_stage(&place)?;
                handles.take_staged()
            });
            taken.map_err(Failure::at(List::Attach, 0))?;
        }
        handles
            .open_rest(&self.sources)
            .map_err(|(index, failed)| Failure::at(List::Source, index)(failed))
    }

    /// Attaches the mounts below the container's root, and returns their numbers. This process is
    /// in the container's mount namespace. After a failure none of them is left.
    pub fn add(
        &self,
        handles: &mut Handles,
        root: &RootFd,
        own: &Descriptors,
    ) -> Result<Vec<u64>, Failure> {
        let ready = handles.refuse_peers(own).map_err(Failed::of(Call::Dup));
        ready.map_err(Failure::at(List::Mount, 0))?;
        let added = without_umask(|| {
            (0..self.steps.len()).try_fold(Vec::new(), |mut numbers, index| {
                let number = self.add_one(index, handles, root, own);
                numbers.push(number.map_err(Failure::at(List::Mount, index))?);
                Ok(numbers)
            })
        });
        let added = added.map_err(Failed::of(Call::Umask));
        let added = added.map_err(Failure::at(List::Mount, 0)).flatten();
        let failure = match added {
            Ok(numbers) => return Ok(numbers),
            Err(place) => place,
        };
        self.undo_added(handles, own);
        Err(failure)
    }

    /// Unmounts what [`Plan::add`] has made. This process is where that was.
    pub fn undo_added(&self, handles: &Handles, own: &Descriptors) {
        for index in (0..self.steps.len()).rev() {
            if let Some(mount) = handles.placed(index) {
                // One that was not attached yet is gone with its descriptor.
                let _detached = own.detach(mount);
            }
        }
    }

    fn add_one(
        &self,
        index: usize,
        handles: &mut Handles,
        root: &RootFd,
        own: &Descriptors,
    ) -> Result<u64, Failed> {
        let missing = Failed::of(Call::Verify)(Errno::EBADF);
        let step = self.steps.get(index).ok_or(missing)?;
        mount::apply(step, index, handles, root)?;
        let placed = handles.placed(index).ok_or(missing)?;
        if !step.late.is_empty() {
            Change::set(Depth::Top, step.late).apply(placed)?;
        }
        own.number(placed).map_err(Failed::of(Call::Stat))
    }
}

/// A mount above a masked or read-only path would hide the mask: a procfs on /proc shows all files
/// again.
fn hides_no_mask(element: &Element<'_>, container: &Container) -> Result<(), Diagnostic> {
    let mut sealed = container
        .masked_paths
        .iter()
        .chain(&container.readonly_paths);
    let below = sealed.find(|path| clean(path).starts_with(&element.destination));
    let Some(below) = below else {
        return Ok(());
    };
    let shown = &element.mount.destination;
    let message = format!("a mount on {shown:?} would hide that {below:?} is masked or read-only");
    Err(element.problem(Code::Conflict, "destination", message))
}

/// What can be removed again: a bind mount or a tmpfs.
fn check(action: &Action, element: &Element<'_>) -> Result<(), Diagnostic> {
    let (property, message) = match action {
        Action::New(new) if new.kind.as_c_str() == c"tmpfs" => match new.inherit {
            Inherit::Nothing | Inherit::Mode => return Ok(()),
            Inherit::Content | Inherit::ModeAndContent => (
                "options",
                "tmpcopyup would copy files while the running container changes them; leave it out",
            ),
        },
        Action::Bind { link: None, .. } | Action::BindInside { .. } if element.mount.is_bind() => {
            return Ok(());
        }
        Action::Remount(_) => ("options", "a mount that exists cannot be changed"),
        Action::Symlink { .. } | Action::Bind { link: Some(_), .. } => {
            ("options", "a link cannot be added")
        }
        Action::New(_) | Action::Bind { .. } | Action::BindInside { .. } => {
            ("type", "only bind mounts and tmpfs can be added")
        }
    };
    Err(element
        .problem(Code::Unsupported, property, message.to_owned())
        .hint("create the container again with this mount"))
}

impl Added {
    /// Unmounts it, if it is still the topmost mount at its destination. It is no error if it was
    /// unmounted already: by the container, or by a removal that was killed before it was recorded.
    /// This process is in the container's mount namespace.
    ///
    /// # Errors
    /// EBUSY: another mount covers it, or it was moved. The errors of the look-up.
    pub fn remove(&self, root: &RootFd, own: &Descriptors) -> Result<(), Errno> {
        use std::os::unix::ffi::OsStrExt;
        let path = self.destination.as_os_str().as_bytes();
        let path = CString::new(path).map_err(|_nul| Errno::EINVAL)?;
        let found = look_up(root.as_fd(), &path, OpenFlags::PATH, LINKS_INSIDE);
        if let Ok(mount) = &found
            && own.number(mount.as_fd())? == self.id
        {
            return own.detach(mount.as_fd());
        }
        match own.line_of(self.id)? {
            None => Ok(()),
            Some(_) => Err(found.err().unwrap_or(Errno::EBUSY)),
        }
    }
}

impl Descriptors {
    /// Those of this process, which must not fork afterwards.
    ///
    /// # Errors
    /// The kernel's answer: there is no /proc.
    pub fn open() -> Result<Self, Errno> {
        let open = |path| {
            let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
            let fd = path::open(path, flags)?;
            match fs::filesystem_magic(fd.as_fd())? {
                fs::PROC_MAGIC => Ok(fd),
                _ => Err(Errno::ENOTDIR),
            }
        };
        Ok(Self {
            process: open(c"/proc/self")?,
            files: open(c"/proc/self/fd")?,
            info: open(c"/proc/self/fdinfo")?,
        })
    }

    /// Whether the mount namespace that this process is in belongs to its user namespace.
    pub fn owns_mounts(&self) -> Result<bool, Errno> {
        let open = |name| {
            let flags = OpenFlags::empty();
            openat2(self.process.as_fd(), name, flags, 0, Resolve::empty())
        };
        let owner = match namespace_owner(open(c"ns/mnt")?.as_fd()) {
            Err(Errno::EPERM) => return Ok(false),
            owner => fs::stat(owner?.as_fd())?,
        };
        let user = fs::stat(open(c"ns/user")?.as_fd())?;
        Ok((owner.device, owner.inode) == (user.device, user.inode))
    }

    /// The same descriptors once more.
    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|_full| Errno::last());
        Ok(Self {
            process: copy(&self.process)?,
            files: copy(&self.files)?,
            info: copy(&self.info)?,
        })
    }

    /// Whether the mount that a descriptor is on has peers, or could have: what is mounted on it
    /// appears on them too.
    pub(crate) fn is_shared(&self, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
        let line = self.line_of(self.number(fd)?)?;
        let tags = line.as_ref().and_then(|line| line.split(" - ").next());
        Ok(tags.is_none_or(|tags| {
            let mut tags = tags.split(' ').skip(6);
            tags.any(|tag| tag.starts_with("shared:"))
        }))
    }

    /// The line of a mount in the table of this process' mount namespace.
    fn line_of(&self, number: u64) -> Result<Option<String>, Errno> {
        let flags = OpenFlags::empty();
        let directory = self.process.as_fd();
        let file = openat2(directory, c"mountinfo", flags, 0, Resolve::BENEATH)?;
        let mut table = Vec::new();
        let read = File::from(file).read_to_end(&mut table);
        read.map_err(|_failed| Errno::last())?;
        let table = String::from_utf8_lossy(&table);
        let number = number.to_string();
        let mut lines = table.lines();
        let line = lines.find(|line| line.split(' ').next() == Some(&number));
        Ok(line.map(str::to_owned))
    }

    /// The number of the mount that a descriptor is on.
    fn number(&self, fd: BorrowedFd<'_>) -> Result<u64, Errno> {
        let mut bytes = [0; 1024];
        let flags = OpenFlags::empty();
        let file = openat2(self.info.as_fd(), &name(fd)?, flags, 0, Resolve::BENEATH)?;
        let length = fs::read_start(file.as_fd(), &mut bytes)?;
        let text = str::from_utf8(&bytes[..length]).map_err(|_odd| Errno::EINVAL)?;
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix("mnt_id:"));
        number
            .and_then(|number| number.trim().parse().ok())
            .ok_or(Errno::EINVAL)
    }

    /// Unmounts the mount behind a descriptor. No name of the container is used.
    fn detach(&self, mount: BorrowedFd<'_>) -> Result<(), Errno> {
        fchdir(&self.files)?;
        detach(&name(mount)?)
    }
}

/// The name of a descriptor in /proc.
fn name(fd: BorrowedFd<'_>) -> Result<CString, Errno> {
    CString::new(fd.as_raw_fd().to_string()).map_err(|_nul| Errno::EINVAL)
}

/// The root of the mount namespace that this process is in.
pub fn root_of_this_process() -> Result<RootFd, Errno> {
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    let slash: &CStr = c"/";
    path::open(slash, flags).map(RootFd::new)
}
