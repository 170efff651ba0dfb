//! Lowers one element of `mounts` to steps: options, destination, source, id maps, propagation.

use crate::default_mounts;
use crate::device::Spot;
use crate::idmapped::{IdMap, Maps};
use crate::lower::{
    Dev, Error, Request, Shared, absolute, inherited_propagation, inside, is_empty,
};
use crate::mount::{Action, Base, Change, Keep, Links, Step, Target};
use crate::options::{self, Attributes, Options};
use crate::path::{relative, split};
use crate::root::Form;
use crate::tree::{Bind, Role, Tree};
use kernel::mount::{Depth, Follow, MountAttr, Propagation};
use spec::container::{Mount, NamespaceKind, clean};
use spec::{Code, Container, Diagnostic};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Below /proc, only these files may be covered: file systems such as lxcfs emulate them.
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

/// The mounts that are lowered so far, and the data that the next ones depend on.
pub(crate) struct MountContext<'a> {
    pub(crate) request: &'a Request<'a>,
    steps: Vec<Step>,
    dev: Dev,
    /// The step of the tmpfs that the other steps of this element fill, and its destination.
    ground: Option<(usize, PathBuf)>,
    /// The first change of a tree from the host: its propagation. `None`: it stays a peer.
    inherited: Option<Propagation>,
    /// Whether a mount point may be shared, which would make a mount on it shared too.
    any_shared: bool,
    pub(crate) shared: Shared,
}

/// One element of `mounts`, read.
pub(crate) struct Element<'a> {
    pub(crate) pointer: String,
    pub(crate) mount: &'a Mount,
    /// Cleaned.
    pub(crate) destination: PathBuf,
    pub(crate) options: Options,
}

/// Reads the elements of `mounts`.
///
/// # Errors
/// An option with a NUL byte.
pub(crate) fn elements(container: &Container) -> Result<Vec<Element<'_>>, Diagnostic> {
    let mounts = container.mounts.iter().enumerate();
    let elements = mounts.map(|(index, mount)| {
        let pointer = format!("/mounts/{index}");
        let options = options::read(&mount.options).map_err(|word| {
            let pointer = format!("{pointer}/options/{word}");
            Diagnostic::new(Code::Range, pointer, "contains a NUL byte")
        })?;
        Ok(Element {
            pointer,
            mount,
            destination: clean(&mount.destination),
            options,
        })
    });
    elements.collect()
}

impl Element<'_> {
    /// A problem with one of its properties.
    pub(crate) fn problem(&self, code: Code, property: &str, message: String) -> Diagnostic {
        Diagnostic::new(code, format!("{}/{property}", self.pointer), message)
    }
}

impl<'a> MountContext<'a> {
    pub(crate) fn new(request: &'a Request<'a>, elements: &[Element<'_>]) -> Self {
        let kind = request.container.rootfs_propagation;
        let kind = kind.map(|given| given.kind);
        let is_shared = |(_, kind): &(Depth, Propagation)| *kind == Propagation::Shared;
        let inherited = inherited_propagation(kind);
        Self {
            request,
            steps: Vec::new(),
            dev: Dev::Old,
            ground: None,
            inherited: (inherited != Propagation::Shared).then_some(inherited),
            any_shared: elements
                .iter()
                .any(|element| element.options.propagation.iter().any(is_shared)),
            shared: Shared::default(),
        }
    }

    /// The steps so far.
    pub(crate) fn steps(&mut self) -> &mut [Step] {
        &mut self.steps
    }

    pub(crate) fn finish(self) -> (Vec<Step>, Dev, Shared) {
        (self.steps, self.dev, self.shared)
    }

    /// Lowers one element to one step or more.
    pub(crate) fn lower(&mut self, element: &Element<'_>) -> Result<(), Error> {
        check(element)?;
        self.ground = None;
        if element.options.remount {
            let mut changes = attribute_changes(&element.options, Depth::Tree);
            changes.extend(self.propagation(&element.options, Depth::Tree));
            return Ok(self.push(element, Action::Remount(changes), None)?);
        }
        if element.mount.is_bind() {
            return self.lower_bind(element);
        }
        default_mounts::lower(self, element)
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

    /// Appends the tmpfs that the next steps of this element fill, and attributes for the end.
    pub(crate) fn push_ground(
        &mut self,
        element: &Element<'_>,
        action: Action,
        late: MountAttr,
    ) -> Result<(), Diagnostic> {
        let form = Some(Form::Directory);
        self.push_at(element, &element.destination, action, form, late)?;
        if let Some(step) = self.steps.last_mut() {
            step.keep = Keep::Yes;
        }
        self.ground = Some((self.steps.len() - 1, element.destination.clone()));
        Ok(())
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
                (Action::Bind { .. }, false) if element.mount.is_bind() => Dev::Bound,
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
        });
        Ok(())
    }

    /// The step that is known to be the parent directory of `destination`: an empty /dev, or the
    /// tmpfs of the same element.
    fn base(&self, destination: &Path, property: &str) -> Result<Option<Base>, Diagnostic> {
        let Some((parent, name)) = split(destination) else {
            return Ok(None);
        };
        let step = match (self.dev, &self.ground) {
            (Dev::Fresh(step), _) if parent == Path::new("dev") => step,
            (_, Some((step, ground))) if parent == ground => *step,
            _ => return Ok(None),
        };
        let name = CString::new(name.as_bytes())
            .map_err(|_nul| Diagnostic::new(Code::Path, property, "contains a NUL byte"))?;
        Ok(Some(Base { step, name }))
    }

    fn lower_bind(&mut self, element: &Element<'_>) -> Result<(), Error> {
        let Some(source) = &element.mount.source else {
            let message = "is missing; a bind mount needs one".to_owned();
            return Err(element.problem(Code::Missing, "source", message).into());
        };
        let depth = element.options.bind.unwrap_or(Depth::Top);
        if let Some(below) = self.below_a_mount(element, source, depth) {
            return self.lower_bind_inside(element, &below, depth);
        }
        let copy_link = element.options.copy_symlink;
        let bind = Bind {
            pointer: element.pointer.clone(),
            destination: element.mount.destination.clone(),
            copy_link,
            procfs: element.destination == Path::new("proc"),
            id_map: self.id_map_of_bind(element)?,
        };
        let source = self.shared.take(Tree {
            path: absolute(source, &format!("{}/source", element.pointer))?,
            depth,
            follow: element.options.source,
            role: Role::Bind(bind),
        });
        let link = match copy_link {
            true => Some(self.spot(&element.destination, &element.pointer)?),
            false => None,
        };
        let (changes, after) = self.flag_changes(element, depth);
        let action = Action::Bind {
            source,
            changes,
            after,
            link,
        };
        Ok(self.push(element, action, None)?)
    }

    /// The changes of a bind mount of the configuration.
    fn flag_changes(&self, element: &Element<'_>, depth: Depth) -> (Vec<Change>, Vec<Change>) {
        let (mut changes, after) = self.bind_changes(&element.options, depth);
        if element.options.names_flags
            && !self.request.container.namespaces[NamespaceKind::User].is_own()
        {
            clear_what_is_not_named(&mut changes, &element.options);
        }
        (changes, after)
    }

    /// The source below the root, if an earlier mount covers it or a part of it. The source is then
    /// the tree that the container sees at this point.
    fn below_a_mount(&self, element: &Element<'_>, source: &Path, depth: Depth) -> Option<PathBuf> {
        let below = source.strip_prefix(&self.request.container.root.path);
        let below = relative(below.ok()?);
        if below.components().any(|part| part == Component::ParentDir) || wants_id_map(element) {
            return None;
        }
        let covered = |step: &Step| {
            let destination = relative(&step.destination);
            below.starts_with(&destination)
                || depth == Depth::Tree && destination.starts_with(&below)
        };
        self.steps.iter().any(covered).then_some(below)
    }

    fn lower_bind_inside(
        &mut self,
        element: &Element<'_>,
        below: &Path,
        depth: Depth,
    ) -> Result<(), Error> {
        let (changes, after) = self.flag_changes(element, depth);
        let action = Action::BindInside {
            path: inside(below, &format!("{}/source", element.pointer))?,
            depth,
            follow: element.options.source,
            changes,
            after,
        };
        Ok(self.push(element, action, None)?)
    }

    /// Where a link goes. `destination` is cleaned and not the root.
    pub(crate) fn spot(&self, destination: &Path, pointer: &str) -> Result<Spot, Diagnostic> {
        let property = format!("{pointer}/destination");
        let nul = |_nul| Diagnostic::new(Code::Path, &property, "contains a NUL byte");
        let (parent, name) = split(destination).unwrap_or((Path::new(""), OsStr::new("")));
        Ok(Spot {
            parent: inside(parent, &property)?,
            name: CString::new(name.as_bytes()).map_err(nul)?,
            base: self.base(destination, &property)?,
        })
    }

    fn id_map_of_bind(&mut self, element: &Element<'_>) -> Result<Option<(Depth, usize)>, Error> {
        if !wants_id_map(element) {
            return Ok(None);
        }
        if !self.request.host.privileged {
            let message = "ids can be mapped by a privileged runtime only".to_owned();
            return Err(element
                .problem(Code::Unsupported, "options", message)
                .into());
        }
        let depth = element.options.id_map.unwrap_or(Depth::Top);
        Ok(Some((depth, self.id_map(element)?)))
    }

    /// The changes of a bind mount before and after it is attached, in as few calls as possible.
    pub(crate) fn bind_changes(
        &self,
        options: &Options,
        depth: Depth,
    ) -> (Vec<Change>, Vec<Change>) {
        let mut before = attribute_changes(options, depth);
        let own = self.propagation(options, depth);
        let first = own.first();
        let covers = first.is_some_and(|first| {
            first.depth == depth && first.propagation != Some(Propagation::Shared)
        });
        let kind = match first.and_then(|first| first.propagation) {
            // What was made private has no master any more.
            Some(Propagation::Slave) => self.inherited.and(Some(Propagation::Slave)),
            _ => self.inherited,
        };
        if let Some(kind) = kind
            && (!covers || self.any_shared)
        {
            add(&mut before, Change::propagation(depth, kind));
        }
        if self.any_shared {
            return (before, own);
        }
        for change in own {
            add(&mut before, change);
        }
        (before, Vec::new())
    }

    /// `private` and its relatives, in order. On a single mount the r-forms are the same as the
    /// others.
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

    /// The number of the id map that has the element's mappings, or else the container's.
    pub(crate) fn id_map(&mut self, element: &Element<'_>) -> Result<usize, Error> {
        let wanted = Maps::of(self.request.container, element.mount).ok_or_else(|| {
            let message =
                "an id-mapped mount needs uidMappings and gidMappings, its own or the container's";
            element.problem(Code::Missing, "uidMappings", message.to_owned())
        })?;
        let maps = &mut self.shared.id_maps;
        let known = maps.iter().position(|known| known.maps == wanted);
        Ok(known.unwrap_or_else(|| {
            maps.push(IdMap {
                maps: wanted,
                destination: element.mount.destination.clone(),
            });
            maps.len() - 1
        }))
    }
}

/// The flags that a bind mount loses when its options name other flags but not these.
const REPLACED: MountAttr = MountAttr::RDONLY
    .union(MountAttr::NOSUID)
    .union(MountAttr::NODEV)
    .union(MountAttr::NOEXEC)
    .union(MountAttr::NOSYMFOLLOW);

/// The first change of a bind mount whose options name flags: it clears those that are not named.
/// The field of access times is cleared as a whole, when a value in it is set.
fn clear_what_is_not_named(changes: &mut Vec<Change>, options: &Options) {
    const TIMES: MountAttr = MountAttr::ATIME.union(MountAttr::NODIRATIME);
    let replaced = match options.top.set.intersects(TIMES) {
        true => REPLACED.union(TIMES),
        false => REPLACED,
    };
    let clear_unlocked = replaced.difference(options.top.set.union(options.top.clear));
    let first = Change {
        clear_unlocked,
        ..Change::set(Depth::Top, MountAttr::empty())
    };
    changes.insert(0, first);
    let rest = changes.split_off(1);
    for change in rest {
        add(changes, change);
    }
}

/// Whether ids are mapped: by an option, or by mappings alone.
pub(crate) fn wants_id_map(element: &Element<'_>) -> bool {
    element.options.id_map.is_some() || !element.mount.uid_mappings.is_empty()
}

/// Options of a tmpfs that documents have on bind mounts too. They have no effect there, with peers
/// neither; the reader of the document warns.
const OF_A_TMPFS: [&CStr; 6] = [c"mode", c"size", c"uid", c"gid", c"nr_inodes", c"nr_blocks"];

/// The errors of an element that do not depend on its type.
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
            Some("") => is_proc || element.mount.is_bind() || element.options.remount,
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
    let takes_no_data = element.mount.is_bind() || element.options.remount;
    for (index, param) in &element.options.data {
        let word = element.mount.options.get(*index).map_or("", String::as_str);
        let property = format!("options/{index}");
        if param.is(c"idmap") || param.is(c"ridmap") {
            let message = format!("unsupported option {word:?}");
            return Err(element
                .problem(Code::Unsupported, &property, message)
                .hint("give the mappings as uidMappings and gidMappings of the mount"));
        }
        if element.mount.is_bind() && OF_A_TMPFS.iter().any(|name| param.is(name)) {
            continue;
        }
        if takes_no_data {
            let message = format!(
                "unknown option {word:?}, and a bind mount takes no data for a file system"
            );
            return Err(element.problem(Code::UnknownValue, &property, message));
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
        clear_unlocked: MountAttr::empty(),
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
pub(crate) fn add(changes: &mut Vec<Change>, change: Change) {
    if let Some(last) = changes.last_mut()
        && last.depth == change.depth
        && (last.propagation.is_none() || change.propagation.is_none())
    {
        last.set = last.set.difference(change.clear).union(change.set);
        last.clear = last.clear.difference(change.set).union(change.clear);
        last.clear_unlocked = last
            .clear_unlocked
            .difference(change.set.union(change.clear));
        last.propagation = last.propagation.or(change.propagation);
        return;
    }
    changes.push(change);
}
