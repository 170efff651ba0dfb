//! What an image, or a volume shared with another container, may have planted. Each fact names its
//! class; the canary directory of the host must stay as it was.

use crate::Fact;
use crate::stage::{
    container, default_mounts, mount, mount_at, request, scratch, template, try_start,
};
use kernel::fs::{FileKind, mknod_at};
use kernel::path::CWD;
use rootfs::CgroupView;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

pub(crate) const FACTS: &[Fact] = &[
    (
        "CVE-2019-19921: /proc, /sys, /dev as links are refused",
        linked_system_directories,
    ),
    (
        "CVE-2021-30465: a linked parent stays inside the root",
        linked_parent,
    ),
    (
        "CVE-2024-45310: missing mount points are made inside the root",
        missing_below_link,
    ),
    ("a dangling link is followed inside the root", dangling_link),
    ("links in a circle are an error", circle),
    (
        "CVE-2019-16884: no link leads a mount into /proc",
        link_into_proc,
    ),
    ("CVE-2025-31133: masks do not trust /dev/null", planted_null),
    ("a device name that is a link is an error", planted_device),
    ("a linked source of a link is not followed", linked_ptmx),
    ("a masked path through a link stays inside", linked_mask),
    ("a root that was exchanged is refused", exchanged_root),
];

/// What is known of the canary directory.
fn canary() -> Vec<(String, u64, u32, i64, Vec<u8>)> {
    let mut list: Vec<_> = fs::read_dir("/mnt/host")
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let bytes = fs::read(&path).unwrap_or_default();
            let name = path.display().to_string();
            (name, stat.ino(), stat.mode(), stat.mtime(), bytes)
        })
        .collect();
    list.sort();
    list
}

/// What a start that must fail says.
fn refused(container: &spec::Container) -> String {
    let view = CgroupView::Absent;
    try_start(&request(container, &view)).unwrap_err()
}

fn linked_system_directories() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("x/y")).unwrap();
    let before = canary();
    for (name, mount_of) in [("proc", 0), ("sys", 5), ("dev", 1)] {
        for text in [
            "/x",
            "x",
            "/x/../x/y",
            "/missing",
            "../../host",
            name,
            "/mnt/host",
        ] {
            symlink(text, root.join(name)).unwrap();
            for spelling in [
                format!("/{name}"),
                format!("//{name}/"),
                format!("/./x/../{name}"),
            ] {
                let mut element = default_mounts().swap_remove(mount_of);
                element.destination = spelling.into();
                let mut container = container(&root);
                container.mounts = vec![element];
                let said = refused(&container);
                assert!(
                    said.contains("must be mounted on ordinary directory"),
                    "{name} -> {text}: {said}"
                );
            }
            fs::remove_file(root.join(name)).unwrap();
        }
    }
    assert_eq!(canary(), before);
    for made in ["x/y", "missing"] {
        assert_eq!(
            fs::read_dir(root.join(made)).map_or(0, Iterator::count),
            0,
            "{made}"
        );
    }
}

/// Starts with one bind mount of /mnt/host/file, without pivot, so that the root can be looked at.
fn bind_file(root: &Path, destination: &str) -> Result<(), String> {
    let mut container = container(root);
    container.mounts = vec![mount(
        destination,
        "bind",
        "/mnt/host/file",
        &["bind", "ro"],
    )];
    let view = CgroupView::Absent;
    let plan = rootfs::Plan::lower(&request(&container, &view)).unwrap();
    let mut handles = plan.open().unwrap();
    let fd = plan.attach(&mut handles).unwrap();
    plan.mount(&mut handles, &fd)
        .map_err(|place| plan.describe(&place))
}

fn linked_parent() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("mnt/host")).unwrap();
    symlink("/mnt/host", root.join("volume")).unwrap();
    symlink("../../../../mnt/host", root.join("other")).unwrap();
    let before = canary();
    bind_file(&root, "/volume/a").unwrap();
    bind_file(&root, "/other/b").unwrap();
    assert_eq!(canary(), before);
    for inside in ["mnt/host/a", "mnt/host/b"] {
        assert!(fs::exists(root.join(inside)).unwrap(), "{inside}");
    }
}

fn missing_below_link() {
    let root = scratch().join("root");
    symlink("/mnt/host", root.join("volume")).unwrap();
    let before = canary();
    bind_file(&root, "/volume/x/y/z").unwrap();
    assert_eq!(canary(), before);
    assert_eq!(fs::read("/mnt/root/mnt/host/x/y/z").unwrap(), b"canary");
}

fn dangling_link() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    symlink("../run/resolve/stub.conf", root.join("etc/resolv.conf")).unwrap();
    symlink("/mnt/host/new", root.join("etc/hosts")).unwrap();
    let before = canary();
    bind_file(&root, "/etc/resolv.conf").unwrap();
    assert_eq!(
        fs::read("/mnt/root/run/resolve/stub.conf").unwrap(),
        b"canary"
    );
    bind_file(&root, "/etc/hosts").unwrap();
    assert_eq!(canary(), before);
}

fn circle() {
    let root = scratch().join("root");
    symlink("b", root.join("a")).unwrap();
    symlink("a", root.join("b")).unwrap();
    let said = bind_file(&root, "/a/x").unwrap_err();
    assert!(
        said.contains("ELOOP: too many levels of symbolic links"),
        "{said}"
    );
}

fn link_into_proc() {
    let root = scratch().join("root");
    symlink("/proc/self/attr", root.join("attr")).unwrap();
    let mut container = container(&root);
    container.mounts = default_mounts();
    container.mounts.truncate(1);
    container.mounts.push(mount("/attr", "tmpfs", "tmpfs", &[]));
    let said = refused(&container);
    assert!(
        said.contains("leads into /proc") || said.contains("ELOOP"),
        "{said}"
    );
}

/// Every kind of thing that /dev/null may be, in a /dev that is a volume.
fn planted_null() {
    for kind in 0..6 {
        let scratch = scratch();
        let volume = scratch.join("volume");
        fs::create_dir_all(&volume).unwrap();
        let null = volume.join("null");
        let node = |kind, numbers| {
            let path = std::ffi::CString::new("/mnt/volume/null").unwrap();
            mknod_at(CWD, &path, kind, numbers, 0o666).unwrap();
        };
        match kind {
            0 => symlink("/proc/sys/kernel/core_pattern", &null).unwrap(),
            1 => node(FileKind::Fifo, (0, 0)),
            2 => fs::write(&null, "content").unwrap(),
            3 => node(FileKind::Char, (1, 5)),
            4 => fs::create_dir(&null).unwrap(),
            _ => {}
        }
        let mut container = template(&scratch.join("root"));
        container.mounts.truncate(1);
        container
            .mounts
            .push(mount("/dev", "bind", "/mnt/volume", &["bind"]));
        let view = CgroupView::Absent;
        let view_request = request(&container, &view);
        let plan = rootfs::Plan::lower(&view_request).unwrap();
        let mut handles = plan.open().unwrap();
        let fd = plan.attach(&mut handles).unwrap();
        plan.mount(&mut handles, &fd).unwrap();
        // Seen from outside, since a pivot happens once.
        plan.seal(&handles, &fd).unwrap();
        let stat = fs::metadata("/mnt/root/proc/keys").unwrap();
        assert!(stat.file_type().is_char_device(), "kind {kind}");
        assert_eq!(stat.rdev(), 0x103, "kind {kind}");
        assert!(
            mount_at("/mnt/root/proc/keys")
                .unwrap()
                .0
                .starts_with("ro,")
        );
    }
}

fn planted_device() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("dev")).unwrap();
    symlink("/mnt/host/file", root.join("dev/zero")).unwrap();
    let before = canary();
    let said = refused(&container(&root));
    assert!(
        said.starts_with(r#"device "/dev/zero": mknod: EEXIST"#),
        "{said}"
    );
    assert_eq!(canary(), before);
}

fn linked_ptmx() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("dev")).unwrap();
    symlink("/mnt/host/file", root.join("dev/ptmx")).unwrap();
    let before = canary();
    let view = CgroupView::Absent;
    let container = container(&root);
    let plan = rootfs::Plan::lower(&request(&container, &view)).unwrap();
    let mut handles = plan.open().unwrap();
    let fd = plan.attach(&mut handles).unwrap();
    plan.mount(&mut handles, &fd).unwrap();
    assert_eq!(
        fs::read_link(root.join("dev/ptmx")).unwrap().to_str(),
        Some("pts/ptmx")
    );
    assert_eq!(canary(), before);
}

fn linked_mask() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("mnt/host")).unwrap();
    fs::write(root.join("mnt/host/file"), "inside").unwrap();
    symlink("/mnt/host/file", root.join("secret")).unwrap();
    let mut container = container(&root);
    container.masked_paths = vec!["/secret".into(), "/mnt/host/file/none".into()];
    let before = canary();
    let view = CgroupView::Absent;
    let plan = rootfs::Plan::lower(&request(&container, &view)).unwrap();
    let mut handles = plan.open().unwrap();
    let fd = plan.attach(&mut handles).unwrap();
    plan.mount(&mut handles, &fd).unwrap();
    plan.seal(&handles, &fd).unwrap();
    assert_eq!(fs::read(root.join("mnt/host/file")).unwrap(), b"");
    assert_eq!(canary(), before);
}

fn exchanged_root() {
    let root = scratch().join("root");
    let container = container(&root);
    let view = CgroupView::Absent;
    let plan = rootfs::Plan::lower(&request(&container, &view)).unwrap();
    let mut handles = plan.open().unwrap();
    fs::rename(&root, "/mnt/old").unwrap();
    symlink("/mnt/host", &root).unwrap();
    let place = plan.attach(&mut handles).unwrap_err();
    let said = plan.describe(&place);
    assert!(said.contains("ESTALE"), "{said}");
    assert!(mount_at("/mnt/host").is_none());
}
