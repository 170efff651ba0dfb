//! The file systems that containers expect: what their types mean, and what replaces them.
//!
//! proc and sysfs need namespaces of the container's own; without them, the host's are bound.
//! `cgroup` is one cgroup2 mount or a tmpfs with a directory per v1 hierarchy. A tmpfs takes the
//! mode of what it covers. A devpts group that does not exist in the user namespace is left out.

use crate::classic::Classic;
use crate::copyup::Given;
use crate::label::{self, Label};
use crate::lower::{CgroupHierarchy, CgroupView, Error, absolute};
use crate::lower_mount::{Element, MountContext, add, wants_id_map};
use crate::mount::{Action, Change, Inherit, NewMount};
use crate::options::Param;
use crate::root::Form;
use crate::tree::{Bind, Role, Source, Tree};
use kernel::mount::{Depth, Follow, MountAttr};
use spec::container::{IdMapping, Namespace, NamespaceKind};
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lowers a mount that is no bind mount.
pub(crate) fn lower(context: &mut MountContext<'_>, element: &Element<'_>) -> Result<(), Error> {
    let kind = element.mount.kind.as_deref().unwrap_or("none");
    match kind {
        "none" => {
            let destination = &element.mount.destination;
            let message = format!("the mount on {destination:?} names no file system");
            Err(element
                .problem(Code::Missing, "type", message)
                .hint("a bind mount has the option bind or rbind")
                .into())
        }
        "cgroup" => cgroup(context, element),
        "cgroup2" => cgroup2(context, element),
        _ => {
            let action = new(context, element, kind)?;
            let Some(action) = action else {
                return host_view(context, element, kind);
            };
            let late = match &action {
                // Mount points and devices will be made on it later, or its root will be labelled.
                Action::New(new) if kind == "tmpfs" || new.label.is_some() => {
                    new.attributes & MountAttr::RDONLY
                }
                _ => MountAttr::empty(),
            };
            let action = match action {
                Action::New(new) => Action::New(NewMount {
                    attributes: new.attributes.difference(late),
                    ..new
                }),
                other => other,
            };
            let destination = element.destination.clone();
            Ok(context.push_at(element, &destination, action, Some(Form::Directory), late)?)
        }
    }
}

fn c_string(element: &Element<'_>, property: &str, text: &[u8]) -> Result<CString, Diagnostic> {
    let problem = |message: &str| element.problem(Code::Range, property, message.to_owned());
    if text.len() > 4095 {
        return Err(problem(
            "is longer than the 4095 bytes that the kernel accepts",
        ));
    }
    CString::new(text).map_err(|_nul| problem("contains a NUL byte"))
}

/// A file system of its own. `None`: the host's replaces it, and this is known before the mount.
fn new(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    kind: &str,
) -> Result<Option<Action>, Error> {
    let fallback = match host_stand_in(context, kind) {
        StandIn::Always => return Ok(None),
        StandIn::WhenRefused => Some(host_tree(context, element, kind)),
        StandIn::Never => None,
    };
    let source = element.mount.source.as_deref().unwrap_or(Path::new(kind));
    let source = c_string(element, "source", source.as_os_str().as_bytes())?;
    let mut params = vec![Param::new(c"source", source)];
    params.extend(element.options.superblock.iter().cloned());
    let data = element.options.data.iter().map(|(_, param)| param);
    let gids = (kind == "devpts").then(|| group_map(context)).flatten();
    params.extend(
        data.filter(|param| has_group(param, gids.as_deref()))
            .cloned()
            .map(label::bare),
    );
    let attributes = element.options.attributes();
    // A device that cannot be written needs a superblock that is read-only; the kernel's own file
    // systems share theirs, so there only the mount is.
    let shares = matches!(
        kind,
        "proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "devtmpfs"
    );
    if attributes.contains(MountAttr::RDONLY) && !shares {
        params.push(Param::flag(c"ro"));
    }
    let label = match Label::lower(context.request.container, kind, element)? {
        Label::None => None,
        Label::Parameter(param) => {
            params.push(param);
            None
        }
        Label::Root(label) => Some(label),
    };
    let id_map = match wants_id_map(element) {
        true => Some(context.id_map(element)?),
        false => None,
    };
    let c_kind = c_string(element, "type", kind.as_bytes())?;
    Ok(Some(Action::New(NewMount {
        classic: Classic::lower(element, kind, &params)?,
        inherit: inherit(element, kind),
        given: given(element),
        id_map,
        label,
        fallback,
        ..plain(context, element, &c_kind, params)
    })))
}

/// A file system with these parameters, and the attributes and propagation of its options.
fn plain(
    context: &MountContext<'_>,
    element: &Element<'_>,
    kind: &CStr,
    params: Vec<Param>,
) -> NewMount {
    NewMount {
        kind: kind.into(),
        params,
        attributes: element.options.attributes(),
        after: context.propagation(&element.options, Depth::Top),
        inherit: Inherit::Nothing,
        given: Given::default(),
        classic: None,
        id_map: None,
        label: None,
        fallback: None,
    }
}

/// What the options say of the root directory.
fn given(element: &Element<'_>) -> Given {
    let has = |key| element.options.data.iter().any(|(_, param)| param.is(key));
    Given {
        mode: has(c"mode"),
        uid: has(c"uid"),
        gid: has(c"gid"),
    }
}

/// The properties that a mount copies from the directory that it covers.
fn inherit(element: &Element<'_>, kind: &str) -> Inherit {
    let own_mode = given(element).mode;
    match (kind == "tmpfs" && !own_mode, element.options.copy_up) {
        (false, false) => Inherit::Nothing,
        (true, false) => Inherit::Mode,
        (false, true) => Inherit::Content,
        (true, true) => Inherit::ModeAndContent,
    }
}

/// Whether the host's mount replaces one of the container's own.
enum StandIn {
    Never,
    /// The kernel decides.
    WhenRefused,
    /// The kernel would refuse.
    Always,
}

fn host_stand_in(context: &MountContext<'_>, kind: &str) -> StandIn {
    let namespaces = &context.request.container.namespaces;
    let needed = match kind {
        "sysfs" => &namespaces[NamespaceKind::Network],
        "proc" => &namespaces[NamespaceKind::Pid],
        _ => return StandIn::Never,
    };
    match (needed, namespaces[NamespaceKind::User].is_own()) {
        (Namespace::Inherit, true) => StandIn::Always,
        (Namespace::Join(_), true) => StandIn::WhenRefused,
        // The runtime is in a user namespace that another program made: the owner of the other
        // namespace is not known.
        (Namespace::Inherit | Namespace::Join(_), false) if context.request.host.user_namespace => {
            StandIn::WhenRefused
        }
        _ => StandIn::Never,
    }
}

fn host_path(kind: &str) -> &'static CStr {
    if kind == "proc" { c"/proc" } else { c"/sys" }
}

/// The host's mount with all mounts below, with the attributes of the options. A sysfs is always
/// read-only, so that the cgroups in it are not writable (CVE-2023-25809).
fn host_tree(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    kind: &str,
) -> (Source, Vec<Change>) {
    let tree = Tree {
        path: host_path(kind).into(),
        depth: Depth::Tree,
        follow: Follow::Yes,
        role: Role::Bind(Bind {
            pointer: element.pointer.clone(),
            destination: element.mount.destination.clone(),
            copy_link: false,
            procfs: false,
            id_map: None,
        }),
    };
    let (mut changes, _) = context.bind_changes(&element.options, Depth::Tree);
    for change in &mut changes {
        change.depth = Depth::Tree;
        // What the host's mounts forbid stays forbidden.
        change.clear &= MountAttr::ATIME;
    }
    if kind == "sysfs" {
        // The configuration has a sysfs of the container's own. The host's sysfs includes its
        // cgroups and debugfs.
        add(&mut changes, Change::set(Depth::Tree, MountAttr::RDONLY));
    }
    (context.shared.take(tree), changes)
}

fn host_view(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    kind: &str,
) -> Result<(), Error> {
    let (source, changes) = host_tree(context, element, kind);
    let action = Action::Bind {
        source,
        changes,
        after: context.propagation(&element.options, Depth::Tree),
        link: None,
    };
    Ok(context.push(element, action, Some(Form::Directory))?)
}

/// The group map for a devpts; `None`: every group exists, or the map is not known.
fn group_map(context: &MountContext<'_>) -> Option<Vec<IdMapping>> {
    let container = context.request.container;
    if container.namespaces[NamespaceKind::User].is_own() {
        let map = &container.gid_mappings;
        return (!map.is_empty()).then(|| map.clone());
    }
    context.request.host.gid_map.clone()
}

/// Whether the parameter is something other than `gid=` with a group that is not in the map.
fn has_group(param: &Param, map: Option<&[IdMapping]>) -> bool {
    let (true, Some(map)) = (param.is(c"gid"), map) else {
        return true;
    };
    let value = param.value.as_ref().and_then(|value| value.to_str().ok());
    let Some(gid) = value.and_then(|value| value.parse::<u32>().ok()) else {
        return true;
    };
    IdMapping::host_id(map, gid).is_some()
}

fn no_cgroups(element: &Element<'_>) -> Diagnostic {
    let kind = element.mount.kind.as_deref().unwrap_or("cgroup");
    let message = format!("the host has no cgroups that a mount of type {kind:?} could show");
    element.problem(Code::Host, "type", message)
}

fn cgroup(context: &mut MountContext<'_>, element: &Element<'_>) -> Result<(), Error> {
    let view = context.request.cgroup;
    match view {
        CgroupView::Absent => Err(no_cgroups(element).into()),
        CgroupView::V2 { group } => one_cgroup2(context, element, &element.destination, group),
        CgroupView::V1 {
            hierarchies,
            unified,
        } => {
            cgroup_v1(context, element, hierarchies)?;
            match unified {
                None => Ok(()),
                Some(group) => one_cgroup2(
                    context,
                    element,
                    &element.destination.join("unified"),
                    group,
                ),
            }
        }
    }
}

fn cgroup2(context: &mut MountContext<'_>, element: &Element<'_>) -> Result<(), Error> {
    let view = context.request.cgroup;
    match view {
        CgroupView::V2 { group }
        | CgroupView::V1 {
            unified: Some(group),
            ..
        } => one_cgroup2(context, element, &element.destination, group),
        CgroupView::Absent | CgroupView::V1 { unified: None, .. } => {
            Err(no_cgroups(element).into())
        }
    }
}

/// The container's group as the root of a mount: by its cgroup namespace, else by a bind mount. A
/// cgroup2 mount outside a new cgroup namespace would also set the options of the whole host anew.
fn one_cgroup2(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    destination: &Path,
    group: &Path,
) -> Result<(), Error> {
    let action = if context.request.container.namespaces[NamespaceKind::Cgroup] == Namespace::New {
        let source = element
            .mount
            .source
            .as_deref()
            .unwrap_or(Path::new("cgroup"));
        let source = c_string(element, "source", source.as_os_str().as_bytes())?;
        let params = vec![Param::new(c"source", source)];
        Action::New(plain(context, element, c"cgroup2", params))
    } else {
        group_bind(context, element, group)?
    };
    let form = Some(Form::Directory);
    Ok(context.push_at(element, destination, action, form, MountAttr::empty())?)
}

/// The container's own group, which does not exist yet: init opens it.
fn group_bind(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    group: &Path,
) -> Result<Action, Error> {
    let path = absolute(group, "/linux/cgroupsPath")?;
    let (changes, after) = context.bind_changes(&element.options, Depth::Top);
    let source = context.shared.take(Tree {
        path,
        depth: Depth::Top,
        follow: Follow::Yes,
        role: Role::Group,
    });
    Ok(Action::Bind {
        source,
        changes,
        after,
        link: None,
    })
}

/// A tmpfs with one directory per hierarchy and one link per controller of a joint one. Whatever
/// the options say, nothing in it is a device or a program, as with runc.
fn cgroup_v1(
    context: &mut MountContext<'_>,
    element: &Element<'_>,
    hierarchies: &[CgroupHierarchy],
) -> Result<(), Error> {
    let wanted = element.options.attributes();
    let mut params = vec![
        Param::new(c"source", c"tmpfs"),
        Param::new(c"mode", c"0755"),
        Param::new(c"nr_inodes", c"1024"),
        Param::new(c"size", c"65536"),
    ];
    if let Label::Parameter(label) = Label::lower(context.request.container, "tmpfs", element)? {
        params.push(label);
    }
    let ground = Action::New(NewMount {
        attributes: wanted.difference(MountAttr::RDONLY)
            | MountAttr::NOSUID
            | MountAttr::NODEV
            | MountAttr::NOEXEC,
        ..plain(context, element, c"tmpfs", params)
    });
    let late = wanted & MountAttr::RDONLY;
    let form = Some(Form::Directory);
    context.push_ground(element, ground, late)?;
    for CgroupHierarchy {
        name,
        options,
        group,
    } in hierarchies
    {
        let destination = element.destination.join(name);
        let action =
            if context.request.container.namespaces[NamespaceKind::Cgroup] == Namespace::New {
                hierarchy_mount(context, element, options)?
            } else {
                group_bind(context, element, group)?
            };
        context.push_at(element, &destination, action, form, MountAttr::empty())?;
        for controller in name.split(',').filter(|controller| *controller != name) {
            let destination = element.destination.join(controller);
            let action = Action::Symlink {
                spot: context.spot(&destination, &element.pointer)?,
                text: c_string(element, "type", name.as_bytes())?,
            };
            context.push_at(element, &destination, action, None, MountAttr::empty())?;
        }
    }
    Ok(())
}

fn hierarchy_mount(
    context: &MountContext<'_>,
    element: &Element<'_>,
    options: &str,
) -> Result<Action, Error> {
    let mut params = vec![Param::new(c"source", c"cgroup")];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let param = Param::parse(option).map_err(|_nul| {
            element.problem(
                Code::Host,
                "type",
                format!("hierarchy {options:?} contains a NUL byte"),
            )
        })?;
        params.push(param);
    }
    Ok(Action::New(plain(context, element, c"cgroup", params)))
}
