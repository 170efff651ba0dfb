//! The way of the root: propagation, pivot, chroot, and a great many masks.

use crate::Fact;
use crate::facts::{options_at, view};
use crate::stage::{
    container, enter, mount, mount_at, request, scratch, start, template, try_start,
};
use kernel::clone::{NamespaceFlags, setns, unshare};
use kernel::mount::Depth;
use kernel::path::CWD;
use rootfs::{CgroupView, Pivot, Plan};
use spec::container::{Namespace, NamespaceKind, Propagation, PropagationKind};
use std::fs;
use std::os::fd::AsFd;

pub(crate) const FACTS: &[Fact] = &[
    (
        "a shared root and a shared mount are shared at the end",
        propagation,
    ),
    (
        "mounts go through to the host only where they are shared",
        through,
    ),
    (
        "without pivot_root the host's proc is out of reach",
        moved_root,
    ),
    ("without a mount namespace it is a chroot", chroot),
    ("many masks share two file systems", many_masks),
];

/// 500 masked directories: one superblock, and no room in it to fill.
fn many_masks() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.masked_paths.clear();
    for number in 0..500 {
        let name = format!("/masked/{number}");
        std::fs::create_dir_all(root.join(&name[1..])).unwrap();
        container.masked_paths.push(name.into());
    }
    let view = CgroupView::V2 {
        group: "/sys/fs/cgroup/unified".into(),
    };
    let plan = Plan::lower(&request(&container, &view)).unwrap();
    enter(&plan, plan.open().unwrap()).unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let devices: std::collections::BTreeSet<_> = table
        .lines()
        .filter(|line| line.contains("/masked/"))
        .map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(devices.len(), 1);
    assert!(std::fs::write("/masked/7/file", "x").is_err());
}

fn propagation() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.rootfs_propagation = Some(Propagation {
        kind: PropagationKind::Shared,
        recursive: false,
    });
    container
        .mounts
        .push(mount("/shared", "bind", "/mnt/host", &["rbind", "rshared"]));
    container.mounts.push(mount(
        "/private",
        "bind",
        "/mnt/host",
        &["rbind", "rprivate"],
    ));
    container.mounts.push(mount(
        "/slave",
        "bind",
        "/mnt/host",
        &["rbind", "shared", "slave"],
    ));
    start(&container);
    assert!(options_at("/").contains("shared:"));
    assert!(options_at("/shared").contains("shared:"));
    assert!(!options_at("/private").contains("shared:"));
    assert!(!options_at("/slave").contains("shared:"));
}

/// The host's namespace is the one that this process starts in, the container's one that it makes.
fn through() {
    for (kind, option, expected) in [
        (None, "rshared", false),
        (Some(PropagationKind::Slave), "rslave", false),
        (Some(PropagationKind::Shared), "rprivate", false),
        (Some(PropagationKind::Shared), "rshared", true),
    ] {
        let root = scratch().join("root");
        let shared = kernel::mount::AttrChange {
            propagation: Some(kernel::mount::Propagation::Shared),
            ..kernel::mount::AttrChange::default()
        };
        kernel::mount::mount_setattr(CWD, c"/", Depth::Tree, shared).unwrap();
        let mut container = template(&root);
        container.rootfs_propagation = kind.map(|kind| Propagation {
            kind,
            recursive: true,
        });
        let options = ["rbind", option];
        container
            .mounts
            .push(mount("/volume", "bind", "/mnt/host", &options));
        // A mount that init makes on the volume.
        container
            .mounts
            .push(mount("/volume/new", "tmpfs", "tmpfs", &[]));
        let before = mount_lines();
        let view = view();
        let plan = Plan::lower(&request(&container, &view)).unwrap();
        let handles = plan.open().unwrap();
        let host = fs::File::open("/proc/self/ns/mnt").unwrap();
        unshare(NamespaceFlags::MOUNT).unwrap();
        enter(&plan, handles)
            .map_err(|place| plan.describe(&place))
            .unwrap();
        setns(host.as_fd(), NamespaceFlags::MOUNT).unwrap();
        assert_eq!(
            mount_at("/mnt/host/new").is_some(),
            expected,
            "{kind:?} {option}"
        );
        // Nothing of the host was taken away, and nothing else was added.
        let added = mount_lines() - before;
        assert_eq!(added, usize::from(expected), "{kind:?} {option}");
    }
}

fn mount_lines() -> usize {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .count()
}

fn moved_root() {
    let root = scratch().join("root");
    let container = template(&root);
    let view = view();
    let mut request = request(&container, &view);
    request.pivot = Pivot::Move;
    try_start(&request).unwrap();
    assert!(!fs::exists("/mnt/host").unwrap());
    assert_eq!(fs::read("/proc/keys").unwrap(), b"");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let procs = table
        .lines()
        .filter(|line| line.contains("- proc "))
        .count();
    // /proc itself, its read-only parts, and nothing of the host's.
    assert!(procs <= 6, "{table}");
}

fn chroot() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.namespaces[NamespaceKind::Mount] = Namespace::Inherit;
    fs::write(root.join("here"), "").unwrap();
    start(&container);
    assert!(fs::exists("/here").unwrap());
    assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/"));
    assert_eq!(fs::read_dir("/").unwrap().count(), 2);
}
