//! The ground that facts stand on: a scratch directory, configurations, and a container that is set
//! up.

use kernel::errno::chain;
use kernel::mount::{AttrChange, Depth, Propagation, mount_setattr};
use kernel::path::CWD;
use rootfs::{CgroupView, Failure, Handles, Host, Pivot, Plan, Request};
use spec::Container;
use spec::container::{Mount, Namespace, NamespaceKind};
use spec::load;
use std::ffi::CStr;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A tmpfs at a place that exists everywhere, seen by this process only.
pub(crate) fn scratch() -> PathBuf {
    let private = AttrChange {
        propagation: Some(Propagation::Private),
        ..AttrChange::default()
    };
    mount_setattr(CWD, c"/", Depth::Tree, private).unwrap();
    // A /proc of this PID namespace, as a runtime would see.
    cover(c"proc", c"/proc");
    cover(c"tmpfs", c"/mnt");
    fs::create_dir_all("/mnt/root/bin").unwrap();
    fs::create_dir_all("/mnt/host").unwrap();
    fs::write("/mnt/host/file", "canary").unwrap();
    PathBuf::from("/mnt")
}

fn cover(kind: &CStr, place: &CStr) {
    let context = kernel::mount::fsopen(kind).unwrap();
    kernel::mount::fsconfig_create(context.as_fd()).unwrap();
    let mount = kernel::mount::fsmount(context.as_fd(), kernel::mount::MountAttr::empty()).unwrap();
    let flags = kernel::path::OpenFlags::PATH;
    let none = kernel::path::Resolve::empty();
    let place = kernel::path::openat2(CWD, place, flags, 0, none).unwrap();
    kernel::mount::move_mount(mount.as_fd(), place.as_fd()).unwrap();
}

/// One element of `mounts`.
pub(crate) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.to_owned()),
        source: Some(source.into()),
        options: options.iter().map(|word| (*word).to_owned()).collect(),
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
    }
}

/// The seven mounts of a template bundle.
pub(crate) fn default_mounts() -> Vec<Mount> {
    let three = ["nosuid", "noexec", "nodev"];
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &three),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

/// A container with all namespaces of its own, no mounts and an empty root.
pub(crate) fn container(root: &Path) -> Container {
    let document = br#"{"ociVersion": "1.3.0", "root": {"path": "rootfs"}}"#;
    let bundle = root.parent().unwrap();
    let mut container = load::parse(document, bundle, load::Host::Ignore)
        .unwrap()
        .container;
    container.root.path = root.into();
    for kind in NamespaceKind::ALL {
        if !matches!(kind, NamespaceKind::User | NamespaceKind::Time) {
            container.namespaces[kind] = Namespace::New;
        }
    }
    *container
}

/// The paths that a template bundle hides.
pub(crate) fn template(root: &Path) -> Container {
    let list = |names: &[&str]| names.iter().map(PathBuf::from).collect();
    Container {
        mounts: default_mounts(),
        masked_paths: list(&[
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ]),
        readonly_paths: list(&[
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]),
        ..container(root)
    }
}

/// A privileged caller on a plain host.
pub(crate) const HOST: Host = Host {
    privileged: true,
    user_namespace: false,
    enters_mounts: true,
    base: None,
    has_groups: true,
    makes_nodes: true,
    has_kcore: true,
    gid_map: None,
};

/// A privileged request.
pub(crate) fn request<'a>(container: &'a Container, cgroup: &'a CgroupView) -> Request<'a> {
    Request {
        container,
        host: &HOST,
        pivot: Pivot::PivotRoot,
        cgroup,
    }
}

/// All four doors, one after the other.
pub(crate) fn enter(plan: &Plan, mut handles: Handles) -> Result<(), Failure> {
    let root = plan.attach(&mut handles)?;
    plan.mount(&mut handles, &root)?;
    plan.pivot(&handles, &root)?;
    plan.seal(&handles, &root)
}

/// Lowers and enters, or says in words what failed.
pub(crate) fn try_start(request: &Request<'_>) -> Result<(), String> {
    let plan = Plan::lower(request).map_err(|error| chain(&error))?;
    let handles = plan.open().map_err(|error| chain(&error))?;
    enter(&plan, handles).map_err(|place| {
        let copy = Failure::from_bytes(place.to_bytes()).unwrap();
        plan.describe(&copy)
    })
}

/// Enters the container, which must work.
pub(crate) fn start(container: &Container) {
    let view = CgroupView::V2 {
        group: "/sys/fs/cgroup/unified".into(),
    };
    try_start(&request(container, &view)).unwrap();
}

/// The options of the topmost mount at `path`, and its type and source, as mountinfo has them.
pub(crate) fn mount_at(path: &str) -> Option<(String, String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(path))?;
    let (fields, rest) = line.split_once(" - ").unwrap();
    let mut rest = rest.split(' ');
    Some((
        fields.split(' ').skip(5).collect::<Vec<_>>().join(" "),
        rest.next()?.to_owned(),
        rest.next()?.to_owned(),
    ))
}
