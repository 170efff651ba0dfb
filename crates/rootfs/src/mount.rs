//! One lowered mount, and how init makes it.
//!
//! Every mount is built detached, gets its attributes while no other process can see it, and is
//! then placed on a descriptor. Later changes go through the descriptor of the mount, never through
//! its name.

use crate::classic::Classic;
use crate::copyup::{self, Given};
use crate::device::Spot;
use crate::handles::{Handles, Taken};
use crate::options::Param;
use crate::root::{self, Age, Form, LINKS_INSIDE, NO_LINKS, RootFd};
use crate::tree::{Shown, Source};
use kernel::attribute::set_attribute;
use kernel::fs::{self, FileKind};
use kernel::mount::{self, AttrChange, Depth, Follow, MountAttr, Propagation};
use kernel::path::{OpenFlags, Resolve};
use kernel::{Call, Errno, Failed};
use nix::unistd::symlinkat;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// One mount of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// JSON pointer of the element of `mounts`.
    pub(crate) pointer: String,
    /// As messages show it.
    pub(crate) destination: PathBuf,
    /// Where it goes.
    pub(crate) target: Target,
    /// What is made.
    pub(crate) action: Action,
    /// Attributes that are set at the end: read-only, if something is made on the mount before.
    pub(crate) late: MountAttr,
    /// Whether the mount's descriptor is needed later.
    pub(crate) keep: Keep,
}

/// Whether a descriptor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is closed.
    No,
    /// It is kept in the handles.
    Yes,
}

/// Where a mount goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Cleaned and relative to the root.
    pub(crate) path: CString,
    /// `None`: what the source is.
    pub(crate) form: Option<Form>,
    /// What links may do.
    pub(crate) links: Links,
    /// A mount made by an earlier step that is known to be the parent directory, and the name in
    /// it.
    pub(crate) base: Option<Base>,
}

/// A name right below a mount that an earlier step has made and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) step: usize,
    pub(crate) name: CString,
}

/// What links may do in a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed below the root.
    Inside,
    /// Nothing: every component must be a real directory.
    Refused,
    /// All but the last component are followed.
    NotTheLast,
}

/// What a step makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A file system.
    New(NewMount),
    /// A copy of a tree.
    Bind {
        /// The source.
        source: Source,
        /// Done before it is attached.
        changes: Vec<Change>,
        /// Done after.
        after: Vec<Change>,
        /// Where the link is made, if the source is a link to copy.
        link: Option<Spot>,
    },
    /// A copy of a tree below the root, as earlier mounts have made it.
    BindInside {
        /// The source, relative to the root.
        path: CString,
        /// How much of it.
        depth: Depth,
        /// Whether the path may end in a link to it.
        follow: Follow,
        /// Done before it is attached.
        changes: Vec<Change>,
        /// Done after.
        after: Vec<Change>,
    },
    /// A symbolic link.
    Symlink {
        /// Where.
        spot: Spot,
        /// What it says.
        text: CString,
    },
    /// New attributes for the mount that is there.
    Remount(Vec<Change>),
}

/// A file system to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewMount {
    /// The type.
    pub(crate) kind: CString,
    /// fsconfig(2) parameters, `source` first.
    pub(crate) params: Vec<Param>,
    /// The arguments of mount(2), which is used if a parameter is too long.
    pub(crate) classic: Option<Classic>,
    /// Of the mount.
    pub(crate) attributes: MountAttr,
    /// Propagation, after it is attached.
    pub(crate) after: Vec<Change>,
    /// The properties that a tmpfs copies from the directory that it covers.
    pub(crate) inherit: Inherit,
    /// What its options say of its root directory.
    pub(crate) given: Given,
    /// Which of the plan's id maps it gets.
    pub(crate) id_map: Option<usize>,
    /// What its root directory is labelled with.
    pub(crate) label: Option<CString>,
    /// The replacement if the kernel answers EPERM.
    pub(crate) fallback: Option<(Source, Vec<Change>)>,
}

/// The properties that a tmpfs copies from the directory that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inherit {
    /// Nothing.
    Nothing,
    /// Its permission bits, if it was there before.
    Mode,
    /// Its content.
    Content,
    /// Both.
    ModeAndContent,
}

/// One call of mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) depth: Depth,
    pub(crate) set: MountAttr,
    pub(crate) clear: MountAttr,
    /// Cleared too, unless the kernel says that the user namespace may not.
    pub(crate) clear_unlocked: MountAttr,
    pub(crate) propagation: Option<Propagation>,
}

impl Change {
    /// Only sets attributes.
    pub(crate) fn set(depth: Depth, set: MountAttr) -> Self {
        Self {
            depth,
            set,
            clear: MountAttr::empty(),
            clear_unlocked: MountAttr::empty(),
            propagation: None,
        }
    }

    /// Only changes the propagation type.
    pub(crate) fn propagation(depth: Depth, kind: Propagation) -> Self {
        Self {
            propagation: Some(kind),
            ..Self::set(depth, MountAttr::empty())
        }
    }

    pub(crate) fn apply(&self, mount: BorrowedFd<'_>) -> Result<(), Failed> {
        self.apply_at(mount, c"")
    }

    pub(crate) fn apply_at(&self, directory: BorrowedFd<'_>, path: &CStr) -> Result<(), Failed> {
        let change = |clear| {
            let change = AttrChange {
                set: self.set,
                clear,
                propagation: self.propagation,
                id_map: None,
            };
            mount::mount_setattr(directory, path, self.depth, change)
        };
        match change(self.clear.union(self.clear_unlocked)) {
            Err(Errno::EPERM) if !self.clear_unlocked.is_empty() => change(self.clear),
            answer => answer,
        }
        .map_err(Failed::of(Call::MountSetattr))
    }
}

fn apply_all(changes: &[Change], mount: BorrowedFd<'_>) -> Result<(), Failed> {
    changes.iter().try_for_each(|change| change.apply(mount))
}

/// Makes mount number `index` of the plan.
pub(crate) fn apply(
    step: &Step,
    index: usize,
    handles: &mut Handles,
    root: &RootFd,
) -> Result<(), Failed> {
    let (mount, changes, after) = match &step.action {
        Action::New(new) => return apply_new(step, index, new, handles, root),
        Action::Bind {
            source,
            changes,
            after,
            link,
        } => match (handles.take(*source)?, link) {
            (Taken::Tree(mount), _) => (mount, changes, after),
            (Taken::Link(text), Some(spot)) => {
                let parent = spot.open(handles, root)?;
                return make_link(parent.as_fd(), &spot.name, &text);
            }
            (Taken::Link(_), None) => return Err(Failed::of(Call::Verify)(Errno::ELOOP)),
        },
        Action::BindInside {
            path,
            depth,
            follow,
            changes,
            after,
        } => {
            let mut flags = OpenFlags::PATH;
            if *follow == Follow::No {
                flags |= OpenFlags::NOFOLLOW;
            }
            let source = root::look_up(root.as_fd(), path, flags, LINKS_INSIDE)
                .map_err(Failed::of(Call::Openat2))?;
            let mount = mount::clone_tree(source.as_fd(), c"", *depth, Follow::No)
                .map_err(Failed::of(Call::OpenTree))?;
            (mount, changes, after)
        }
        Action::Symlink { spot, text } => {
            let parent = spot.open(handles, root)?;
            return make_link(parent.as_fd(), &spot.name, text);
        }
        Action::Remount(changes) => {
            let (target, _) = open_target(&step.target, Form::Directory, handles, root)?;
            return apply_all(changes, target.as_fd());
        }
    };
    apply_all(changes, mount.as_fd())?;
    let form = match step.target.form {
        Some(form) => form,
        None => form_of(mount.as_fd())?,
    };
    let (target, _) = open_target(&step.target, form, handles, root)?;
    place(mount.as_fd(), target.as_fd())?;
    finish(step, index, after, mount, handles)
}

/// Changes a mount that is attached, and keeps it if it is needed later, also after a failure.
fn finish(
    step: &Step,
    index: usize,
    after: &[Change],
    mount: OwnedFd,
    handles: &mut Handles,
) -> Result<(), Failed> {
    let changed = apply_all(after, mount.as_fd());
    if step.keep == Keep::Yes {
        handles.keep(index, mount);
    }
    changed
}

/// Attaches `mount` on `target`.
///
/// # Errors
/// ENOTDIR: one is a directory, the other is not.
pub(crate) fn place(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Failed> {
    let failed = Failed::of(Call::MoveMount);
    match mount::move_mount(mount, target) {
        // The kernel says the same for other reasons.
        Err(Errno::EINVAL) if form_of(mount)? != form_of(target)? => Err(failed(Errno::ENOTDIR)),
        answer => answer.map_err(failed),
    }
}

/// What a mount point for this tree must be.
fn form_of(mount: BorrowedFd<'_>) -> Result<Form, Failed> {
    let stat = fs::stat(mount).map_err(Failed::of(Call::Stat))?;
    Ok(match stat.kind {
        FileKind::Directory => Form::Directory,
        _ => Form::File,
    })
}

/// Makes a symbolic link, or accepts an equal one.
fn make_link(parent: BorrowedFd<'_>, name: &CStr, text: &CStr) -> Result<(), Failed> {
    match symlinkat(text, parent, name) {
        Err(Errno::EEXIST) => {
            let mut there = [0_u8; 4096];
            match fs::readlink_at(parent, name, &mut there) {
                Ok(length) if there.get(..length) == Some(text.to_bytes()) => Ok(()),
                _ => Err(Failed::of(Call::Symlink)(Errno::EEXIST)),
            }
        }
        answer => answer.map_err(Failed::of(Call::Symlink)),
    }
}

/// Opens the mount point, and makes it if it does not exist.
fn open_target(
    target: &Target,
    form: Form,
    handles: &Handles,
    root: &RootFd,
) -> Result<(OwnedFd, Age), Failed> {
    if let Some(base) = &target.base
        && let Some(parent) = handles.placed(base.step)
        && let Some(fd) = root::make_one(parent, &base.name, form)?
    {
        return Ok((fd, Age::New));
    }
    let mut flags = OpenFlags::empty();
    if target.links == Links::NotTheLast {
        flags |= OpenFlags::NOFOLLOW;
    }
    if target.links == Links::Refused {
        flags |= OpenFlags::DIRECTORY;
    }
    match root::make(root.as_fd(), &target.path, form, flags, NO_LINKS) {
        Err(failed) if failed.errno == Errno::ELOOP && target.links != Links::Refused => {}
        answer => return answer,
    }
    let (fd, age) = root::make(root.as_fd(), &target.path, form, flags, LINKS_INSIDE)?;
    // Links were followed, so the destination may lead to another place. It must not be in /proc:
    // the runtime would read or write a covered file there as if it were the kernel's
    // (CVE-2019-16884).
    let magic = fs::filesystem_magic(fd.as_fd()).map_err(Failed::of(Call::Statfs))?;
    if magic == fs::PROC_MAGIC {
        return Err(Failed::of(Call::Verify)(Errno::EPERM));
    }
    if handles
        .leads_to_peers(fd.as_fd())
        .map_err(Failed::of(Call::Stat))?
    {
        return Err(Failed::of(Call::Verify)(Errno::EXDEV));
    }
    Ok((fd, age))
}

fn apply_new(
    step: &Step,
    index: usize,
    new: &NewMount,
    handles: &mut Handles,
    root: &RootFd,
) -> Result<(), Failed> {
    let (target, age) = open_target(&step.target, Form::Directory, handles, root)?;
    let mount = match (new.make(target.as_fd(), age, handles, root), &new.fallback) {
        (Err(failed), Some((source, changes))) if failed.errno == Errno::EPERM => {
            let mount = handles.take_tree(*source)?;
            apply_all(changes, mount.as_fd())?;
            place(mount.as_fd(), target.as_fd())?;
            return finish(step, index, &new.after, mount, handles);
        }
        (made, _) => made?,
    };
    if matches!(new.inherit, Inherit::Content | Inherit::ModeAndContent) && age == Age::Old {
        copyup::copy(target.as_fd(), mount.as_fd(), new.given)?;
    }
    place(mount.as_fd(), target.as_fd())?;
    finish(step, index, &new.after, mount, handles)
}

impl NewMount {
    /// Builds it, detached. A failed parameter's failure carries its index.
    fn make(
        &self,
        target: BorrowedFd<'_>,
        age: Age,
        handles: &Handles,
        root: &RootFd,
    ) -> Result<OwnedFd, Failed> {
        let mount = match &self.classic {
            None => self.make_superblock(target, age)?,
            Some(classic) => classic.make(&self.kind, self.attributes, root)?,
        };
        if let Some(label) = &self.label {
            label_root(mount.as_fd(), label)?;
        }
        if let Some(id_map) = self.id_map {
            let change = AttrChange {
                set: MountAttr::IDMAP,
                id_map: Some(handles.id_map(id_map)?),
                ..AttrChange::default()
            };
            mount::mount_setattr(mount.as_fd(), c"", Depth::Top, change)
                .map_err(Failed::of(Call::MountSetattr))?;
        }
        Ok(mount)
    }

    fn make_superblock(&self, target: BorrowedFd<'_>, age: Age) -> Result<OwnedFd, Failed> {
        let context = mount::fsopen(&self.kind).map_err(Failed::of(Call::Fsopen))?;
        let context = context.as_fd();
        for (index, param) in self.params.iter().enumerate() {
            match &param.value {
                None => mount::fsconfig_flag(context, &param.key),
                Some(value) => mount::fsconfig_string(context, &param.key, value),
            }
            .map_err(Failed::at(Call::FsconfigSet, index))?;
        }
        if matches!(self.inherit, Inherit::Mode | Inherit::ModeAndContent) && age == Age::Old {
            let stat = fs::stat(target).map_err(Failed::of(Call::Stat))?;
            let digit = |shift: u32| b'0' + u8::try_from((stat.mode >> shift) & 7).unwrap_or(0);
            let text = [digit(9), digit(6), digit(3), digit(0), 0];
            let text = CStr::from_bytes_until_nul(&text).unwrap_or(c"0755");
            mount::fsconfig_string(context, c"mode", text)
                .map_err(Failed::at(Call::FsconfigSet, usize::MAX))?;
        }
        mount::fsconfig_create(context).map_err(Failed::of(Call::FsconfigCreate))?;
        mount::fsmount(context, self.attributes).map_err(Failed::of(Call::Fsmount))
    }
}

/// Sets the SELinux label of a mount's root directory.
fn label_root(mount: BorrowedFd<'_>, label: &CStr) -> Result<(), Failed> {
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_XDEV;
    let root = root::look_up(mount, c".", OpenFlags::DIRECTORY, resolve)
        .map_err(Failed::of(Call::Openat2))?;
    set_attribute(root.as_fd(), c"security.selinux", label.to_bytes())
        .map_err(Failed::of(Call::Setxattr))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.depth {
            Depth::Top => "top",
            Depth::Tree => "tree",
        })?;
        if !self.set.is_empty() {
            write!(f, " +{}", Names(self.set))?;
        }
        if !self.clear.is_empty() {
            write!(f, " -{}", Names(self.clear))?;
        }
        if !self.clear_unlocked.is_empty() {
            write!(f, " -{} unless locked", Names(self.clear_unlocked))?;
        }
        if let Some(kind) = self.propagation {
            write!(f, " {kind:?}")?;
        }
        Ok(())
    }
}

/// The names of attributes, joined by `|`; "none" for none.
pub(crate) struct Names(pub(crate) MountAttr);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let mut between = "";
        for (name, _) in self.0.iter_names() {
            write!(f, "{between}{name}")?;
            between = "|";
        }
        Ok(())
    }
}

/// One line for a list of changes.
fn list(f: &mut fmt::Formatter<'_>, title: &str, changes: &[Change]) -> fmt::Result {
    for change in changes {
        write!(f, "\n    {title} {change}")?;
    }
    Ok(())
}

impl fmt::Display for Shown<'_, &Step> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(step, sources) = self;
        write!(f, "mount {:?}", step.target.path)?;
        match &step.target.base {
            Some(base) => write!(f, " in mount {} as {:?}", base.step, base.name)?,
            None => write!(f, " links {:?}", step.target.links)?,
        }
        if let Some(form) = step.target.form {
            write!(f, " {form:?}")?;
        }
        match &step.action {
            Action::New(new) => {
                write!(f, "\n    new {:?}", new.kind)?;
                for Param { key, value } in &new.params {
                    match value {
                        None => write!(f, " {key:?}")?,
                        Some(value) => write!(f, " {key:?}={value:?}")?,
                    }
                }
                if let Some(classic) = &new.classic {
                    write!(f, "\n    by mount(2) with {:?}", classic.data())?;
                }
                write!(f, "\n    attributes {}", Names(new.attributes))?;
                if new.inherit != Inherit::Nothing {
                    write!(f, "\n    inherits {:?}", new.inherit)?;
                }
                if let Some(label) = &new.label {
                    write!(f, "\n    root labelled {label:?}")?;
                }
                if let Some(map) = new.id_map {
                    write!(f, "\n    ids mapped by {map}")?;
                }
                if let Some((source, changes)) = &new.fallback {
                    write!(f, "\n    or bind {}", Shown(*source, sources))?;
                    list(f, "or change", changes)?;
                }
                list(f, "then change", &new.after)?;
            }
            Action::Bind {
                source,
                changes,
                after,
                link: _,
            } => {
                write!(f, "\n    bind {}", Shown(*source, sources))?;
                list(f, "change", changes)?;
                list(f, "then change", after)?;
            }
            Action::BindInside {
                path,
                depth,
                changes,
                after,
                ..
            } => {
                write!(f, "\n    bind {depth:?} of the root's {path:?}")?;
                list(f, "change", changes)?;
                list(f, "then change", after)?;
            }
            Action::Symlink { text, .. } => write!(f, "\n    link to {text:?}")?,
            Action::Remount(changes) => list(f, "change", changes)?,
        }
        if !step.late.is_empty() {
            write!(f, "\n    at the end {}", Names(step.late))?;
        }
        if step.keep == Keep::Yes {
            write!(f, "\n    kept")?;
        }
        Ok(())
    }
}
