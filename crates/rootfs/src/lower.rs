//! Lowers a `Container` to a [`Plan`]: every decision about files. No system call.

use crate::Reason;
use crate::device::{DEFAULT_NODES, LINKS, Link, Node, Spot};
use crate::ground::{Ground, Why};
use crate::idmapped::{IdMap, IdMapError};
use crate::lower_mount::{MountContext, elements};
use crate::mask::Covers;
use crate::mount::{Action, Base, Inherit, Step};
use crate::path::{c_path, relative, split};
use crate::pivot::{Attached, Pivot, Way};
use crate::plan::{Opener, Plan};
use crate::procfs::{Sysctl, path_of};
use crate::tree::{NodeForm, Role, Source, Tree};
use kernel::fs::FileKind;
use kernel::mount::{Depth, Follow, Propagation};
use spec::container::{
    Container, Device, DeviceKind, IdMapping, Namespace, NamespaceKind, PropagationKind, clean,
};
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What lowering needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The configuration.
    pub container: &'a Container,
    /// The host and the caller.
    pub host: &'a Host,
    /// How the root becomes `/`.
    pub pivot: Pivot,
    /// What mounts of type `cgroup` show.
    pub cgroup: &'a CgroupView,
}

/// The facts of the host and of the caller that lowering needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Whether the caller has CAP_SYS_ADMIN over its mount namespace: it then opens all sources
    /// itself.
    pub privileged: bool,
    /// Whether the container's user namespace is not the initial one: no device node can be made.
    pub user_namespace: bool,
    /// Whether the caller has CAP_SYS_CHROOT, which is needed to enter a mount namespace.
    pub enters_mounts: bool,
    /// Where the base is pinned; `None`: there is none for this caller.
    pub base: Option<PathBuf>,
    /// Whether the container's cgroups exist before init does: systemd makes them around a process.
    pub has_groups: bool,
    /// Whether the caller has CAP_MKNOD.
    pub makes_nodes: bool,
    /// Whether there is a `/proc/kcore`.
    pub has_kcore: bool,
    /// The group map of the caller's user namespace; `None`: every group exists, or the map is not
    /// known.
    pub gid_map: Option<Vec<IdMapping>>,
}

/// The host's cgroup layout, as far as mounts show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupView {
    /// Unknown, or there are no cgroups: a mount of type `cgroup` is an error.
    #[default]
    Absent,
    /// cgroup v2 only.
    V2 {
        /// The container's own group; it need not exist yet.
        group: PathBuf,
    },
    /// cgroup v1, or both.
    V1 {
        /// The mounted hierarchies.
        hierarchies: Vec<CgroupHierarchy>,
        /// The container's own group in a v2 hierarchy mounted beside them, at `unified`.
        unified: Option<PathBuf>,
    },
}

/// One cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupHierarchy {
    /// Name of the mount's directory: `cpu,cpuacct`.
    pub name: String,
    /// Mount options: `cpu,cpuacct`, or `none,name=systemd`.
    pub options: String,
    /// The container's own group in it; it need not exist yet.
    pub group: PathBuf,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] Diagnostic),
    #[error("root file system {path:?}")]
    Root {
        /// On the host.
        path: PathBuf,
        #[source]
        source: Reason,
    },
    #[error("{pointer}/source: bind mount of {path:?} on {destination:?}")]
    Source {
        pointer: String,
        /// On the host.
        path: PathBuf,
        /// In the container.
        destination: PathBuf,
        #[source]
        source: Reason,
    },
    #[error("device node {path:?} of the host, to be bound because it cannot be made")]
    Device {
        /// On the host.
        path: PathBuf,
        /// Why; ENXIO: it has other numbers.
        #[source]
        source: Reason,
    },
    #[error("prepare the mount namespace that init starts in: {call}")]
    Ground {
        call: &'static str,
        #[source]
        source: Reason,
    },
    #[error("open /proc, to write sysctls and labels")]
    Procfs(#[source] Reason),
    #[error("mount on {destination:?}")]
    IdMap {
        /// In the container.
        destination: PathBuf,
        #[source]
        source: IdMapError,
    },
    #[error(
        "map the ids of {path:?} on {destination:?} (EINVAL: its file system or this kernel does not support it, or they are mapped already)"
    )]
    IdMapped {
        /// On the host.
        path: PathBuf,
        /// In the container.
        destination: PathBuf,
        #[source]
        source: Reason,
    },
}

/// What the parts of a plan refer to by number.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) sources: Vec<Tree>,
    pub(crate) id_maps: Vec<IdMap>,
}

impl Shared {
    /// Notes what is taken from the host.
    pub(crate) fn take(&mut self, tree: Tree) -> Source {
        self.sources.push(tree);
        Source(self.sources.len() - 1)
    }

    /// Notes a device node that is taken from the host, where `wanted`.
    fn take_node(
        &mut self,
        wanted: bool,
        path: &Path,
        kind: FileKind,
        numbers: (u32, u32),
        form: Option<NodeForm>,
    ) -> Result<Option<Source>, Error> {
        if !wanted {
            return Ok(None);
        }
        Ok(Some(self.take(Tree {
            path: absolute(path, "/linux/devices")?,
            depth: Depth::Top,
            follow: Follow::Yes,
            role: Role::Node(kind, numbers, form),
        })))
    }
}

/// What is known about /dev.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dev {
    /// A directory of the root, or a file system that is not empty.
    Old,
    /// An empty one that this step makes.
    Fresh(usize),
    /// A bind mount of the configuration: nothing is made in it.
    Bound,
}

impl Plan {
    /// Makes the plan. The same request gives the same plan.
    ///
    /// # Errors
    /// The first property that is not possible.
    pub fn lower(request: &Request<'_>) -> Result<Self, Error> {
        let container = request.container;
        check(container)?;
        let own_mounts = container.namespaces[NamespaceKind::Mount].is_own();
        let elements = elements(container)?;
        let mut context = MountContext::new(request, &elements);
        // This comes first: the runtime compares it with the directory at its path.
        let root = match own_mounts {
            true => Some(context.shared.take(root_tree(container)?)),
            false => None,
        };
        for element in &elements {
            context.lower(element)?;
        }
        let (steps, dev, mut taken) = context.finish();
        let bind_nodes = request.host.user_namespace
            || container.namespaces[NamespaceKind::User].is_own()
            || !request.host.makes_nodes;
        let mut devices = Devices {
            request,
            dev,
            bind: bind_nodes,
            taken: &mut taken,
        };
        let (nodes, links) = match (own_mounts, dev) {
            (true, Dev::Bound) => (Vec::new(), Vec::new()),
            (true, Dev::Old | Dev::Fresh(_)) | (false, Dev::Fresh(_)) => {
                (devices.nodes()?, devices.links())
            }
            (false, _) => (devices.configured()?, Vec::new()),
        };
        let way = match root {
            Some(root) => Way::Attached(lower_root(request, root, bind_nodes, &mut taken)?),
            None => Way::Chroot(absolute(&container.root.path, "/root/path")?),
        };
        let ground = ground(request, &steps, &taken);
        Ok(Self {
            way,
            opener: opener(request, &ground, &taken)?,
            ground,
            sources: taken.sources,
            id_maps: taken.id_maps,
            steps,
            nodes,
            links,
            readonly_paths: paths(&container.readonly_paths, "readonlyPaths")?,
            masked_paths: masked_paths(container)?,
            readonly_root: container.root.readonly,
            final_propagation: container.rootfs_propagation.and_then(final_propagation),
            sysctls: sysctls(container)?,
            // The PID namespace that init stays in belongs to another user namespace.
            own_procfs: request.host.user_namespace
                && container.namespaces[NamespaceKind::Pid] == Namespace::Inherit,
        })
    }
}

/// How many sources are open at the same time, at most.
pub(crate) const PORTION: usize = 128;

fn ground(request: &Request<'_>, steps: &[Step], taken: &Shared) -> Ground {
    let Request {
        container, host, ..
    } = request;
    let hooks = &container.hooks;
    let before_pivot = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
    ];
    let binds_group = taken.sources.iter().any(|tree| tree.role == Role::Group);
    let why = if container.namespaces[NamespaceKind::Mount] != Namespace::New {
        Why::NotNew
    } else if !(host.privileged && host.enters_mounts) {
        Why::Unprivileged
    } else if before_pivot.iter().any(|list| !list.is_empty()) {
        Why::Hooks
    } else if request.pivot == Pivot::Move {
        Why::NoPivot
    } else if binds_group && !host.has_groups {
        Why::Group
    } else if steps.iter().any(names_host_files) {
        Why::FileSystem
    } else if let Some(base) = &host.base {
        return Ground::Base(base.clone());
    } else {
        Why::NoBase
    };
    Ground::Host(why)
}

/// Whether a file system of this type is on no device, and its parameters name nothing of the host.
pub(crate) fn is_self_contained(kind: &CStr) -> bool {
    matches!(
        kind.to_bytes(),
        b"cgroup" | b"cgroup2" | b"devpts" | b"mqueue" | b"proc" | b"sysfs" | b"tmpfs"
    )
}

fn names_host_files(step: &Step) -> bool {
    matches!(&step.action, Action::New(new) if !is_self_contained(&new.kind))
}

fn opener(request: &Request<'_>, ground: &Ground, taken: &Shared) -> Result<Opener, Diagnostic> {
    let Request {
        container, host, ..
    } = request;
    if !host.privileged {
        return Ok(Opener::Init);
    }
    // The kernel locks its mounts, but not the trees of the runtime.
    let user = container.namespaces[NamespaceKind::User].is_own();
    let is_new = !matches!(ground, Ground::Host(Why::NotNew | Why::Unprivileged));
    // The offsets are written through /proc.
    let offsets = container.time_offsets != spec::container::TimeOffsets::default();
    let needs_proc = offsets && matches!(ground, Ground::Base(_));
    let many = taken.sources.len() > PORTION;
    if is_new && (user || many || needs_proc) {
        return Ok(Opener::Staged);
    }
    if !user || container.namespaces[NamespaceKind::Mount] == Namespace::Inherit {
        return Ok(Opener::Runtime);
    }
    let mapped = taken.sources.iter().find_map(|tree| match &tree.role {
        Role::Bind(bind) if bind.id_map.is_some() => Some(bind),
        Role::Bind(_) | Role::Root | Role::Node(..) | Role::Group => None,
    });
    match mapped {
        None => Ok(Opener::Init),
        Some(bind) => Err(Diagnostic::new(
            Code::Unsupported,
            format!("{}/options", bind.pointer),
            "ids can be mapped in a user namespace only where the mount namespace is a new one, by a runtime with CAP_SYS_CHROOT",
        )),
    }
}

/// The error for a property that needs a mount namespace, in a container without one.
fn check(container: &Container) -> Result<(), Diagnostic> {
    if container.namespaces[NamespaceKind::Mount] != Namespace::Inherit {
        return Ok(());
    }
    let wanted = [
        // Its own user namespace has no capabilities over an existing mount namespace.
        (
            "/mounts",
            !container.mounts.is_empty() && container.namespaces[NamespaceKind::User].is_own(),
        ),
        ("/root/readonly", container.root.readonly),
        ("/linux/maskedPaths", !container.masked_paths.is_empty()),
        ("/linux/readonlyPaths", !container.readonly_paths.is_empty()),
        (
            "/linux/rootfsPropagation",
            container.rootfs_propagation.is_some(),
        ),
    ];
    match wanted.iter().find(|(_, wanted)| *wanted) {
        None => Ok(()),
        Some((pointer, _)) => Err(Diagnostic::new(
            Code::Conflict,
            *pointer,
            "needs a mount namespace of the container's own",
        )
        .hint("add {\"type\": \"mount\"} to linux.namespaces")),
    }
}

fn nul(pointer: &str) -> Diagnostic {
    Diagnostic::new(Code::Path, pointer, "contains a NUL byte")
}

/// A path of the host in the form for system calls.
pub(crate) fn absolute(path: &Path, pointer: &str) -> Result<CString, Diagnostic> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_nul| nul(pointer))
}

/// A path in the container in the form for system calls.
pub(crate) fn inside(path: &Path, pointer: &str) -> Result<CString, Diagnostic> {
    c_path(path).map_err(|_nul| nul(pointer))
}

/// The kernel resolves `..`: its meaning depends on the links before it.
fn paths(list: &[PathBuf], name: &str) -> Result<Vec<CString>, Diagnostic> {
    list.iter()
        .enumerate()
        .map(|(index, path)| inside(&relative(path), &format!("/linux/{name}/{index}")))
        .collect()
}

fn masked_paths(container: &Container) -> Result<Vec<CString>, Diagnostic> {
    let paths = paths(&container.masked_paths, "maskedPaths")?;
    match paths.iter().position(|path| path.as_c_str() == c".") {
        None => Ok(paths),
        Some(index) => Err(Diagnostic::new(
            Code::Path,
            format!("/linux/maskedPaths/{index}"),
            "is the root itself, which cannot be masked",
        )
        .hint("name the directories below it")),
    }
}

fn sysctls(container: &Container) -> Result<Vec<Sysctl>, Diagnostic> {
    container
        .sysctl
        .iter()
        .map(|(key, value)| {
            let path = path_of(key).ok_or_else(|| {
                let message = format!("{key:?} is not the name of a sysctl");
                Diagnostic::new(Code::Path, "/linux/sysctl", message)
            })?;
            Ok(Sysctl {
                path,
                value: value.clone().into_bytes(),
            })
        })
        .collect()
}

fn root_tree(container: &Container) -> Result<Tree, Diagnostic> {
    Ok(Tree {
        path: absolute(&container.root.path, "/root/path")?,
        depth: Depth::Tree,
        follow: Follow::Yes,
        role: Role::Root,
    })
}

fn lower_root(
    request: &Request<'_>,
    source: Source,
    bind_nodes: bool,
    taken: &mut Shared,
) -> Result<Attached, Error> {
    let container = request.container;
    let path = &container.root.path;
    let kind = container.rootfs_propagation.map(|given| given.kind);
    let inherited = inherited_propagation(kind);
    let ancestors = if inherited == Propagation::Shared {
        path.ancestors()
            .map(|ancestor| absolute(ancestor, "/root/path"))
            .collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    let covers = if container.masked_paths.is_empty() {
        None
    } else {
        let label = container.mount_label.as_deref().map(CString::new);
        Some(Covers {
            null: taken.take_node(
                bind_nodes,
                Path::new("/dev/null"),
                FileKind::Char,
                (1, 3),
                None,
            )?,
            label: label.transpose().map_err(|_nul| nul("/linux/mountLabel"))?,
        })
    };
    Ok(Attached {
        source,
        path: path.clone(),
        inherited,
        // What the host mounts in the directory later is not seen, unless that is asked for.
        own: match kind {
            Some(PropagationKind::Slave) => Propagation::Slave,
            _ => Propagation::Private,
        },
        ancestors,
        covers,
        pivot: request.pivot,
    })
}

/// The propagation of the root when everything is mounted; whatever else it may be was set when it
/// was attached. `rshared` is for all mounts below as well, as with runc and crun, and what is a
/// slave stays one. `runbindable` would end that for volumes with `rslave`, so it is for the root.
fn final_propagation(given: spec::container::Propagation) -> Option<(Depth, Propagation)> {
    match given.kind {
        PropagationKind::Shared if given.recursive => Some((Depth::Tree, Propagation::Shared)),
        PropagationKind::Shared => Some((Depth::Top, Propagation::Shared)),
        PropagationKind::Unbindable => Some((Depth::Top, Propagation::Unbindable)),
        PropagationKind::Private | PropagationKind::Slave => None,
    }
}

/// The propagation of all mounts that a new mount namespace has inherited, and of a tree from the
/// host, where it may have had peers.
pub(crate) fn inherited_propagation(kind: Option<PropagationKind>) -> Propagation {
    match kind {
        None | Some(PropagationKind::Slave) => Propagation::Slave,
        Some(PropagationKind::Shared) => Propagation::Shared,
        // An unbindable mount could not be a source.
        Some(PropagationKind::Private | PropagationKind::Unbindable) => Propagation::Private,
    }
}

struct Devices<'a> {
    request: &'a Request<'a>,
    dev: Dev,
    bind: bool,
    taken: &'a mut Shared,
}

impl Devices<'_> {
    fn spot(&self, path: &Path, pointer: &str) -> Result<Spot, Diagnostic> {
        let path = clean(path);
        let (parent, name) = split(&path).ok_or_else(|| {
            Diagnostic::new(Code::Path, pointer, "is the root, which is not a device")
        })?;
        let name = CString::new(name.as_bytes()).map_err(|_nul| nul(pointer))?;
        let base = match parent == Path::new("dev") {
            true => self.base(&name),
            false => None,
        };
        Ok(Spot {
            parent: inside(parent, pointer)?,
            name,
            base,
        })
    }

    /// The place of a name in /dev, if a step makes that.
    fn base(&self, name: &CStr) -> Option<Base> {
        let Dev::Fresh(step) = self.dev else {
            return None;
        };
        let name = name.into();
        Some(Base { step, name })
    }

    /// The default devices, then those of the configuration, which may replace them.
    fn nodes(&mut self) -> Result<Vec<Node>, Error> {
        let configured = &self.request.container.devices;
        let mut nodes = Vec::new();
        for (name, major, minor) in DEFAULT_NODES {
            let path = Path::new("/dev").join(name);
            if configured
                .iter()
                .any(|device| clean(&device.path) == clean(&path))
            {
                continue;
            }
            let numbers = (major, minor);
            nodes.push(Node {
                spot: self.spot(&path, "/linux/devices")?,
                kind: FileKind::Char,
                numbers,
                mode: 0o666,
                owner: None,
                bind: self
                    .taken
                    .take_node(self.bind, &path, FileKind::Char, numbers, None)?,
            });
        }
        nodes.extend(self.configured()?);
        Ok(nodes)
    }

    /// How the runtime makes a node that the host lacks: with the ids that the container's user
    /// namespace maps to the ones of the configuration.
    fn form(&self, device: &Device) -> Option<NodeForm> {
        let container = self.request.container;
        if !self.request.host.makes_nodes {
            return None;
        }
        let owner = (
            IdMapping::host_id(&container.uid_mappings, device.uid)?,
            IdMapping::host_id(&container.gid_mappings, device.gid)?,
        );
        let mode = device.mode & 0o777;
        Some(NodeForm { mode, owner })
    }

    /// `linux.devices`.
    fn configured(&mut self) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        let linked = self.request.container.namespaces[NamespaceKind::Mount].is_own();
        for (index, device) in self.request.container.devices.iter().enumerate() {
            if linked && is_ptmx(&device.path) {
                // The link to the container's own terminals uses that name.
                continue;
            }
            let pointer = format!("/linux/devices/{index}/path");
            let kind = match device.kind {
                DeviceKind::Char => FileKind::Char,
                DeviceKind::Block => FileKind::Block,
                DeviceKind::Fifo => FileKind::Fifo,
            };
            let numbers = (device.major, device.minor);
            let binds = self.bind && kind != FileKind::Fifo;
            let form = self.form(device);
            nodes.push(Node {
                spot: self.spot(&device.path, &pointer)?,
                kind,
                numbers,
                mode: device.mode & 0o777,
                owner: ((device.uid, device.gid) != (0, 0)).then_some((device.uid, device.gid)),
                bind: self
                    .taken
                    .take_node(binds, &device.path, kind, numbers, form)?,
            });
        }
        Ok(nodes)
    }

    fn links(&self) -> Vec<Link> {
        let mounts = &self.request.container.mounts;
        LINKS
            .iter()
            .filter(|(name, _)| match name.to_bytes() {
                b"core" => self.request.host.has_kcore,
                // A mount there stays: its name cannot be used for the link.
                b"ptmx" => !mounts.iter().any(|mount| is_ptmx(&mount.destination)),
                _ => true,
            })
            .map(|(name, text)| Link {
                spot: Spot {
                    parent: c"dev".into(),
                    name: (*name).into(),
                    base: self.base(name),
                },
                text: (*text).into(),
            })
            .collect()
    }
}

fn is_ptmx(path: &Path) -> bool {
    clean(path) == Path::new("dev/ptmx")
}

/// Whether a tmpfs of this kind starts empty.
pub(crate) fn is_empty(action: &Action) -> bool {
    let Action::New(new) = action else {
        return false;
    };
    let has_content = matches!(new.inherit, Inherit::Content | Inherit::ModeAndContent);
    new.kind.as_c_str() == c"tmpfs" && !has_content
}
