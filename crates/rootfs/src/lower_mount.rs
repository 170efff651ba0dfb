//! One element of `mounts` to steps: options, destination, source, id maps, propagation.

#![expect(
    clippy::disallowed_methods,
    reason = "paths of the host, before the clone; what is opened is kept by descriptor"
)]

use crate::Reason;
use crate::default_mounts;
use crate::idmapped;
use crate::lower::{
    Dev, Error, Request, absolute, any_shared, errno_of, inherited_propagation, inside, is_empty,
};
use crate::mount::{Action, Base, Change, Keep, Links, Step, Target, form_of};
use crate::options::{self, Attributes, Options};
use crate::path::{clean, split};
use crate::root::Form;
use crate::tree::Tree;
use kernel::mount::{self, AttrChange, Depth, Follow, MountAttr, Propagation};
use kernel::path::{CWD, OpenFlags, Resolve, openat2};
use spec::container::{IdMapping, Mount};
use spec::{Code, Diagnostic};
use std::cell::OnceCell;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Below /proc, these and nothing else may be covered: what a file system such as lxcfs emulates.
const PROC_ALLOWED: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// The mounts lowered so far, and what the next ones depend on.
pub(crate) struct MountContext<'a> {
    pub(crate) request: &'a Request<'a>,
    steps: Vec<Step>,
    dev: Dev,
    /// What a tree from the host becomes before anything else; `None`: it stays a peer.
    inherited: Option<Propagation>,
    /// Whether a mount point may be shared, which would make a mount on it shared too.
    shared: bool,
    user_namespaces: Vec<(Vec<IdMapping>, Vec<IdMapping>, OwnedFd)>,
}

/// One element of `mounts`, read.
pub(crate) struct Element<'a> {
    pub(crate) pointer: String,
    pub(crate) mount: &'a Mount,
    /// Cleaned.
    pub(crate) destination: PathBuf,
    pub(crate) options: Options,
}

impl Element<'_> {
    /// A problem with one of its properties.
    pub(crate) fn problem(&self, code: Code, property: &str, message: String) -> Diagnostic {
        Diagnostic::new(code, format!("{}/{property}", self.pointer), message)
    }

    /// Whether it binds.
    fn is_bind(&self) -> bool {
        self.options.bind.is_some() || self.mount.kind.as_deref() == Some("bind")
    }
}

impl<'a> MountContext<'a> {
    pub(crate) fn new(request: &'a Request<'a>) -> Self {
        let container = request.container;
        let kind = container.rootfs_propagation.map(|given| given.kind);
        let inherited = inherited_propagation(kind);
        Self {
            request,
            steps: Vec::new(),
            dev: Dev::Old,
            inherited: (inherited != Propagation::Shared).then_some(inherited),
            shared: any_shared(container),
            user_namespaces: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> (Vec<Step>, Dev) {
        (self.steps, self.dev)
    }

    /// Lowers element `index` of `mounts` to one step or more.
    pub(crate) fn lower(&mut self, index: usize) -> Result<(), Error> {
        let Some(mount) = self.request.container.mounts.get(index) else {
            return Ok(());
        };
        let pointer = format!("/mounts/{index}");
        let options = options::read(&mount.options).map_err(|word| {
            let pointer = format!("{pointer}/options/{word}");
            Diagnostic::new(Code::Range, pointer, "holds a NUL byte")
        })?;
        let element = Element {
            pointer,
            mount,
            destination: clean(&mount.destination),
            options,
        };
        check(&element)?;
        if element.options.remount {
            let mut changes = attribute_changes(&element.options, Depth::Tree);
            changes.extend(self.propagation(&element.options, Depth::Tree));
            return Ok(self.push(&element, Action::Remount(changes), None)?);
        }
        if element.is_bind() {
            return self.lower_bind(&element);
        }
        default_mounts::lower(self, &element)
    }

    /// Appends a step. `base` names an earlier step that is the destination's parent.
    pub(crate) fn push(
        &mut self,
        element: &Element<'_>,
        action: Action,
        form: Option<Form>,
    ) -> Result<(), Diagnostic> {
        let destination = element.destination.clone();
        self.push_at(element, &destination, action, form, MountAttr::empty())
    }

    /// Appends a step for a destination of its own, and attributes for the end.
    pub(crate) fn push_at(
        &mut self,
        element: &Element<'_>,
        destination: &Path,
        action: Action,
        form: Option<Form>,
        late: MountAttr,
    ) -> Result<(), Diagnostic> {
        let property = format!("{}/destination", element.pointer);
        let real = ["proc", "sys", "dev"]
            .iter()
            .any(|name| destination == Path::new(name))
            || matches!(element.mount.kind.as_deref(), Some("proc" | "sysfs"));
        let links = match element.options.destination {
            _ if real => Links::Refused,
            Follow::No => Links::NotTheLast,
            Follow::Yes => Links::Inside,
        };
        let step = self.steps.len();
        let is_dev = destination == Path::new("dev");
        let keep = is_dev && is_empty(&action);
        let base = self.base(destination, &property)?;
        if is_dev {
            self.dev = match (&action, keep) {
                (_, true) => Dev::Fresh(step),
                (Action::Bind { .. }, false) if element.is_bind() => Dev::Bound,
                (Action::Remount(_), false) => self.dev,
                (_, false) => Dev::Old,
            };
        }
        self.steps.push(Step {
            pointer: element.pointer.clone(),
            destination: Path::new("/").join(destination),
            target: Target {
                path: inside(destination, &property)?,
                form,
                links,
                base,
            },
            action,
            late,
            keep: if keep || !late.is_empty() {
                Keep::Yes
            } else {
                Keep::No
            },
            placed: OnceCell::new(),
        });
        Ok(())
    }

    /// The step that is known to be the parent directory of `destination`: an empty /dev, or an earlier step of
    /// the same element.
    fn base(&self, destination: &Path, property: &str) -> Result<Option<Base>, Diagnostic> {
        let (Dev::Fresh(step), Some((parent, name))) = (self.dev, split(destination)) else {
            return Ok(None);
        };
        if parent != Path::new("dev") {
            return Ok(None);
        }
        let name = CString::new(name.as_bytes())
            .map_err(|_nul| Diagnostic::new(Code::Path, property, "holds a NUL byte"))?;
        Ok(Some(Base { step, name }))
    }

    fn lower_bind(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let Some(source) = &element.mount.source else {
            let message = "is missing; a bind mount needs one".to_owned();
            return Err(element.problem(Code::Missing, "source", message).into());
        };
        if element.options.copy_symlink
            && let Ok(text) = fs::read_link(source)
        {
            return self.lower_symlink(element, &text);
        }
        let depth = element.options.bind.unwrap_or(Depth::Top);
        let path = absolute(source, &format!("{}/source", element.pointer))?;
        let tree = Tree::new(path, depth, element.options.source);
        let form = if self.request.privileged {
            let mount = tree
                .open()
                .map_err(|fault| source_error(element, source, fault.errno))?;
            if element.destination == Path::new("proc") {
                require_procfs(element, mount)?;
            }
            self.map_ids(element, mount)?;
            form_of(mount).ok()
        } else {
            self.look_at_source(element, source)?
        };
        let (changes, after) = self.bind_changes(&element.options, depth);
        let action = Action::Bind {
            tree,
            changes,
            after,
        };
        Ok(self.push(element, action, form)?)
    }

    /// What an unprivileged parent can say of a source. What it may not look at, init looks at.
    fn look_at_source(&self, element: &Element<'_>, source: &Path) -> Result<Option<Form>, Error> {
        if wants_id_map(element) {
            let message = "ids can be mapped by a privileged runtime only".to_owned();
            return Err(element
                .problem(Code::Unsupported, "options", message)
                .into());
        }
        let metadata = match element.options.source {
            Follow::Yes => fs::metadata(source),
            Follow::No => fs::symlink_metadata(source),
        };
        if element.destination == Path::new("proc") {
            let path = absolute(source, &format!("{}/source", element.pointer))?;
            let fd = openat2(CWD, &path, OpenFlags::PATH, 0, Resolve::empty())
                .map_err(|errno| source_error(element, source, errno))?;
            require_procfs(element, fd.as_fd())?;
        }
        match metadata {
            Ok(metadata) if metadata.is_dir() => Ok(Some(Form::Directory)),
            Ok(_) => Ok(Some(Form::File)),
            Err(error) => match errno_of(&error) {
                kernel::Errno::EACCES => Ok(None),
                errno => Err(source_error(element, source, errno)),
            },
        }
    }

    fn lower_symlink(&mut self, element: &Element<'_>, text: &Path) -> Result<(), Error> {
        let property = format!("{}/destination", element.pointer);
        let Some((parent, name)) = split(&element.destination) else {
            return Ok(());
        };
        let action = Action::Symlink {
            parent: inside(parent, &property)?,
            name: CString::new(name.as_bytes())
                .map_err(|_nul| Diagnostic::new(Code::Path, &property, "holds a NUL byte"))?,
            text: absolute(text, &format!("{}/source", element.pointer))?,
        };
        Ok(self.push(element, action, None)?)
    }

    /// The changes of a bind mount before and after it is attached, as few calls as can be.
    pub(crate) fn bind_changes(
        &self,
        options: &Options,
        depth: Depth,
    ) -> (Vec<Change>, Vec<Change>) {
        let mut before = attribute_changes(options, depth);
        let own = self.propagation(options, depth);
        let covers = own.first().is_some_and(|first| {
            first.depth == depth
                && (first.propagation != Some(Propagation::Shared)
                    && (first.propagation != Some(Propagation::Slave)
                        || self.inherited != Some(Propagation::Private)))
        });
        if let Some(kind) = self.inherited
            && (!covers || self.shared)
        {
            add(&mut before, Change::propagation(depth, kind));
        }
        if self.shared {
            return (before, own);
        }
        for change in own {
            add(&mut before, change);
        }
        (before, Vec::new())
    }

    /// `private` and its relatives, in order. On a single mount the r-forms are the same as the others.
    pub(crate) fn propagation(&self, options: &Options, depth: Depth) -> Vec<Change> {
        let reach = |wanted| match depth {
            Depth::Top => Depth::Top,
            Depth::Tree => wanted,
        };
        options
            .propagation
            .iter()
            .map(|(wanted, kind)| Change::propagation(reach(*wanted), *kind))
            .collect()
    }

    fn map_ids(&mut self, element: &Element<'_>, mount: BorrowedFd<'_>) -> Result<(), Error> {
        if !wants_id_map(element) {
            return Ok(());
        }
        let depth = element.options.id_map.unwrap_or(Depth::Top);
        let user_namespace = self.user_namespace(element)?;
        let change = AttrChange {
            set: MountAttr::IDMAP,
            id_map: Some(user_namespace),
            ..AttrChange::default()
        };
        mount::mount_setattr(mount, c"", depth, change).map_err(|errno| Error::IdMapped {
            path: element.mount.source.clone().unwrap_or_default(),
            destination: element.mount.destination.clone(),
            source: Reason(errno),
        })
    }

    /// A user namespace with the element's maps, or else with the container's.
    pub(crate) fn user_namespace(
        &mut self,
        element: &Element<'_>,
    ) -> Result<BorrowedFd<'_>, Error> {
        let container = self.request.container;
        let (uids, gids) = if element.mount.uid_mappings.is_empty() {
            (&container.uid_mappings, &container.gid_mappings)
        } else {
            (&element.mount.uid_mappings, &element.mount.gid_mappings)
        };
        if uids.is_empty() || gids.is_empty() {
            let message =
                "an id-mapped mount needs uidMappings and gidMappings, its own or the container's";
            return Err(element
                .problem(Code::Missing, "uidMappings", message.to_owned())
                .into());
        }
        let known = self
            .user_namespaces
            .iter()
            .position(|(known_uids, known_gids, _)| (known_uids, known_gids) == (uids, gids));
        let index = match known {
            Some(index) => index,
            None => {
                let fd = idmapped::user_namespace(uids, gids).map_err(|source| Error::IdMap {
                    destination: element.mount.destination.clone(),
                    source,
                })?;
                self.user_namespaces.push((uids.clone(), gids.clone(), fd));
                self.user_namespaces.len() - 1
            }
        };
        Ok(self.user_namespaces[index].2.as_fd())
    }
}

/// Whether ids are to be mapped: by option, or by mappings alone.
pub(crate) fn wants_id_map(element: &Element<'_>) -> bool {
    element.options.id_map.is_some() || !element.mount.uid_mappings.is_empty()
}

fn source_error(element: &Element<'_>, path: &Path, errno: kernel::Errno) -> Error {
    Error::Source {
        pointer: element.pointer.clone(),
        path: path.to_path_buf(),
        destination: element.mount.destination.clone(),
        source: Reason(errno),
    }
}

fn require_procfs(element: &Element<'_>, source: BorrowedFd<'_>) -> Result<(), Diagnostic> {
    if kernel::fs::filesystem_magic(source) == Ok(kernel::fs::PROC_MAGIC) {
        return Ok(());
    }
    let message = format!(
        "{:?} is no procfs, and nothing else may be mounted on /proc",
        element.mount.source
    );
    Err(element.problem(Code::Conflict, "source", message))
}

/// What is wrong with an element before its kind is looked at.
fn check(element: &Element<'_>) -> Result<(), Diagnostic> {
    let destination = &element.destination;
    let shown = &element.mount.destination;
    if destination.as_os_str().is_empty() {
        let message = format!("{shown:?} is the root itself, which root.path gives");
        return Err(element.problem(Code::Path, "destination", message));
    }
    if let Ok(below) = destination.strip_prefix("proc") {
        let is_proc = element.mount.kind.as_deref() == Some("proc");
        let allowed = match below.to_str() {
            Some("") => is_proc || element.is_bind() || element.options.remount,
            Some(below) => PROC_ALLOWED.contains(&below),
            None => false,
        };
        if !allowed {
            let message = format!("{shown:?} would cover a part of /proc");
            return Err(element.problem(Code::Path, "destination", message).hint(
                "only procfs may be on /proc, and below it only files such as /proc/cpuinfo",
            ));
        }
    }
    let takes_no_data = element.is_bind() || element.options.remount;
    for (index, param) in &element.options.data {
        let word = element.mount.options.get(*index).map_or("", String::as_str);
        let property = format!("options/{index}");
        if param.is(c"idmap") || param.is(c"ridmap") {
            let message = format!("unsupported option {word:?}");
            return Err(element
                .problem(Code::Unsupported, &property, message)
                .hint("give the mappings as uidMappings and gidMappings of the mount"));
        }
        if takes_no_data {
            let message = format!(
                "unknown option {word:?}, and a bind mount takes no data for a file system"
            );
            return Err(element.problem(Code::UnknownValue, &property, message));
        }
        if param
            .value
            .as_ref()
            .is_some_and(|value| value.count_bytes() > 255)
        {
            let message =
                format!("option {word:?} is longer than the 255 bytes that the kernel takes");
            return Err(element.problem(Code::Range, &property, message));
        }
    }
    if element.options.copy_up && element.mount.kind.as_deref() != Some("tmpfs") {
        let message = "tmpcopyup is for mounts of type tmpfs only".to_owned();
        return Err(element.problem(Code::Conflict, "options", message));
    }
    Ok(())
}

/// The changes of attributes: the mount's own, then those of all below.
pub(crate) fn attribute_changes(options: &Options, depth: Depth) -> Vec<Change> {
    let mut changes = Vec::new();
    let change = |depth, attributes: Attributes| Change {
        depth,
        set: attributes.set,
        clear: attributes.clear,
        propagation: None,
    };
    if !options.top.is_empty() {
        add(&mut changes, change(Depth::Top, options.top));
    }
    if !options.tree.is_empty() {
        add(&mut changes, change(depth, options.tree));
    }
    changes
}

/// Appends a change, within the last call if one can do both.
fn add(changes: &mut Vec<Change>, change: Change) {
    if let Some(last) = changes.last_mut()
        && last.depth == change.depth
        && (last.propagation.is_none() || change.propagation.is_none())
    {
        last.set = last.set.difference(change.clear).union(change.set);
        last.clear = last.clear.difference(change.set).union(change.clear);
        last.propagation = last.propagation.or(change.propagation);
        return;
    }
    changes.push(change);
}
