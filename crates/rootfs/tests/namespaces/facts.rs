//! What a container finds.

use crate::Fact;
use crate::stage::{
    HOST, container, default_mounts, mount, mount_at, request, scratch, start, template, try_start,
};
use kernel::clone::{NamespaceFlags, unshare};
use rootfs::{CgroupHierarchy, CgroupView, Host, Plan, Request};
use spec::container::{Device, DeviceKind, IdMapping, Namespace, NamespaceKind};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};

pub(crate) const FACTS: &[Fact] = &[
    ("the template's mounts are there", template_mounts),
    ("default devices and links are there", default_devices),
    ("binds take files and directories with their options", binds),
    (
        "recursive options reach the mounts below",
        recursive_options,
    ),
    ("a read-only root keeps its other flags", readonly_root),
    (
        "a read-only tmpfs gets its mount points first",
        late_readonly,
    ),
    ("a tmpfs takes the mode of what it covers", tmpfs_mode),
    ("tmpcopyup keeps owners, modes, times and links", copy_up),
    ("ids are mapped by a mount's own mappings", id_mapped),
    ("configured devices have mode and owner", configured_devices),
    ("cgroup v1 is a tmpfs with hierarchies and links", cgroup_v1),
    ("sysctls are written", sysctls),
    ("copy-symlink makes a link", copied_link),
    ("dest-nofollow mounts on the link itself", mount_on_link),
    ("remount changes the mount that is there", remount),
    (
        "a new user namespace binds the host's devices",
        user_namespace,
    ),
    ("an unknown option of a file system is named", bad_option),
    (
        "a missing source names source and destination",
        missing_source,
    ),
    (
        "what cannot be is refused before anything is done",
        refused_early,
    ),
];

pub(crate) fn view() -> CgroupView {
    CgroupView::V2 {
        group: "/sys/fs/cgroup/unified".into(),
    }
}

pub(crate) fn options_at(path: &str) -> String {
    mount_at(path)
        .unwrap_or_else(|| panic!("no mount at {path}"))
        .0
}

fn template_mounts() {
    let root = scratch().join("root");
    start(&template(&root));
    for (path, kind, source) in [
        ("/proc", "proc", "proc"),
        ("/dev", "tmpfs", "tmpfs"),
        ("/dev/pts", "devpts", "devpts"),
        ("/dev/shm", "tmpfs", "shm"),
        ("/dev/mqueue", "mqueue", "mqueue"),
        ("/sys", "sysfs", "sysfs"),
        ("/sys/fs/cgroup", "cgroup2", "cgroup"),
    ] {
        let found = mount_at(path).unwrap_or_else(|| panic!("no mount at {path}"));
        assert_eq!((found.1.as_str(), found.2.as_str()), (kind, source));
    }
    assert!(options_at("/sys").starts_with("ro,nosuid,nodev,noexec"));
    assert!(!fs::exists("/mnt/host").unwrap());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(table.lines().count() < 40, "host mounts are left:\n{table}");
    assert_eq!(fs::read("/proc/keys").unwrap(), b"");
    assert!(fs::write("/proc/sys/kernel/domainname", "x").is_err());
    for masked in ["/proc/acpi", "/sys/firmware"] {
        assert_eq!(
            fs::read_dir(masked).map_or(0, Iterator::count),
            0,
            "{masked}"
        );
    }
}

fn default_devices() {
    let root = scratch().join("root");
    start(&template(&root));
    for (name, number) in [
        ("null", (1, 3)),
        ("zero", (1, 5)),
        ("full", (1, 7)),
        ("random", (1, 8)),
        ("urandom", (1, 9)),
        ("tty", (5, 0)),
    ] {
        let stat = fs::metadata(format!("/dev/{name}")).unwrap();
        assert!(stat.file_type().is_char_device());
        assert_eq!((stat.rdev() >> 8, stat.rdev() & 0xff), number, "{name}");
        assert_eq!(stat.mode() & 0o7777, 0o666, "{name}");
    }
    assert_eq!(
        fs::read_link("/dev/ptmx").unwrap().to_str(),
        Some("pts/ptmx")
    );
    assert_eq!(
        fs::read_link("/dev/fd").unwrap().to_str(),
        Some("/proc/self/fd")
    );
}

fn binds() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.mounts.push(mount(
        "/etc/file",
        "bind",
        "/mnt/host/file",
        &[
            "rbind",
            "rprivate",
            "ro",
            "nosuid",
            "nodev",
            "noexec",
            "noatime",
            "nosymfollow",
        ],
    ));
    container
        .mounts
        .push(mount("a/b/c", "none", "/mnt/host", &["bind", "ro", "rw"]));
    start(&container);
    assert_eq!(fs::read("/etc/file").unwrap(), b"canary");
    assert!(fs::write("/etc/file", "x").is_err());
    let options = options_at("/etc/file");
    assert!(
        options.starts_with("ro,nosuid,nodev,noexec,noatime,nosymfollow"),
        "{options}"
    );
    fs::write("/a/b/c/file", "written").unwrap();
    assert_eq!(fs::read("/etc/file").unwrap(), b"written");
}

fn recursive_options() {
    let root = scratch().join("root");
    fs::create_dir_all("/mnt/host/below").unwrap();
    let mut outer = container(&root);
    outer.mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/top", "bind", "/mnt/root/x", &["rbind", "ro"]),
        mount(
            "/tree",
            "bind",
            "/mnt/root/x",
            &["rbind", "rro", "rnoatime"],
        ),
    ];
    // A mount below the source, in this namespace.
    fs::create_dir_all(root.join("x/below")).unwrap();
    let mut first = container(&root);
    first
        .mounts
        .push(mount("/x/below", "tmpfs", "tmpfs", &["strictatime"]));
    let none = CgroupView::Absent;
    let plan = Plan::lower(&request(&first, &none)).unwrap();
    let mut handles = plan.open().unwrap();
    let fd = plan.attach(&mut handles).unwrap();
    plan.mount(&mut handles, &fd).unwrap();
    start(&outer);
    assert!(options_at("/top").starts_with("ro,"));
    assert!(options_at("/top/below").starts_with("rw"));
    assert!(options_at("/tree").starts_with("ro,noatime"));
    assert!(options_at("/tree/below").starts_with("ro,noatime"));
}

fn readonly_root() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.root.readonly = true;
    start(&container);
    let error = fs::write("/file", "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::write("/dev/shm/file", "x").unwrap();
}

fn late_readonly() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = default_mounts();
    container.mounts[1].options.push("ro".to_owned());
    container
        .mounts
        .push(mount("/run", "tmpfs", "tmpfs", &["ro", "mode=700"]));
    container
        .mounts
        .push(mount("/run/a/b", "bind", "/mnt/host", &["bind"]));
    start(&container);
    assert!(options_at("/dev").starts_with("ro,nosuid"));
    assert!(options_at("/run").starts_with("ro"));
    assert_eq!(fs::read("/run/a/b/file").unwrap(), b"canary");
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

fn tmpfs_mode() {
    let root = scratch().join("root");
    fs::create_dir(root.join("old")).unwrap();
    fs::set_permissions(root.join("old"), fs::Permissions::from_mode(0o1751)).unwrap();
    let mut container = container(&root);
    container.mounts = vec![
        mount("/old", "tmpfs", "tmpfs", &[]),
        mount("/given", "tmpfs", "tmpfs", &["mode=0711"]),
        mount("/new", "tmpfs", "tmpfs", &[]),
    ];
    start(&container);
    let mode = |path: &str| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(
        [mode("/old"), mode("/given"), mode("/new")],
        [0o1751, 0o711, 0o1777]
    );
}

fn copy_up() {
    let root = scratch().join("root");
    fs::create_dir_all(root.join("var/deep/er")).unwrap();
    fs::write(root.join("var/deep/file"), vec![7; 20_000]).unwrap();
    fs::set_permissions(
        root.join("var/deep/file"),
        fs::Permissions::from_mode(0o4750),
    )
    .unwrap();
    chown(root.join("var/deep"), Some(12), Some(34)).unwrap();
    symlink("/mnt/host/file", root.join("var/link")).unwrap();
    let before = fs::metadata(root.join("var/deep/file")).unwrap();
    let mut container = container(&root);
    container.mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/var", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]),
    ];
    start(&container);
    let after = fs::metadata("/var/deep/file").unwrap();
    assert_eq!(fs::read("/var/deep/file").unwrap(), vec![7; 20_000]);
    assert_eq!(after.mode(), before.mode());
    assert_eq!(
        (after.mtime(), after.mtime_nsec()),
        (before.mtime(), before.mtime_nsec())
    );
    let deep = fs::metadata("/var/deep").unwrap();
    assert_eq!((deep.uid(), deep.gid()), (12, 34));
    assert!(fs::metadata("/var/deep/er").unwrap().is_dir());
    assert_eq!(
        fs::read_link("/var/link").unwrap().to_str(),
        Some("/mnt/host/file")
    );
    assert!(options_at("/var").starts_with("ro"));
}

fn id_mapped() {
    let root = scratch().join("root");
    chown("/mnt/host/file", Some(0), Some(0)).unwrap();
    let mut container = container(&root);
    let mapping = IdMapping {
        container: 0,
        host: 100_000,
        size: 1000,
    };
    for (name, options) in [("own", &["bind"][..]), ("option", &["bind", "idmap"])] {
        let mut element = mount(&format!("/{name}"), "bind", "/mnt/host", options);
        element.uid_mappings = vec![mapping];
        element.gid_mappings = vec![mapping];
        container.mounts.push(element);
    }
    start(&container);
    for name in ["own", "option"] {
        let stat = fs::metadata(format!("/{name}/file")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (100_000, 100_000), "{name}");
    }
}

fn configured_devices() {
    let root = scratch().join("root");
    let mut container = template(&root);
    let device = |path: &str, kind, major, minor, uid| Device {
        path: path.into(),
        kind,
        major,
        minor,
        mode: 0o640,
        uid,
        gid: 9,
    };
    container.devices = vec![
        device("/dev/fuse", DeviceKind::Char, 10, 229, 7),
        device("/dev/net/tun", DeviceKind::Char, 10, 200, 0),
        device("/elsewhere/pipe", DeviceKind::Fifo, 0, 0, 0),
        device("/dev/null", DeviceKind::Char, 1, 3, 0),
    ];
    start(&container);
    let stat = fs::metadata("/dev/fuse").unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (7, 9, 0o640)
    );
    assert_eq!(fs::metadata("/dev/net/tun").unwrap().rdev(), 0xac8);
    assert!(
        fs::metadata("/elsewhere/pipe")
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert_eq!(fs::metadata("/dev/null").unwrap().mode() & 0o7777, 0o640);
}

fn cgroup_v1() {
    let root = scratch().join("root");
    for namespace in [Namespace::Inherit, Namespace::New] {
        let mut container = container(&root);
        container.namespaces[NamespaceKind::Cgroup] = namespace.clone();
        container.mounts = default_mounts();
        let hierarchy = |name: &str, options: &str, group: &str| CgroupHierarchy {
            name: name.to_owned(),
            options: options.to_owned(),
            group: group.into(),
        };
        // Two names for one hierarchy would need a host that has them: links are made of the name
        // alone.
        let view = CgroupView::V1 {
            hierarchies: vec![
                hierarchy("pids,extra", "pids", "/sys/fs/cgroup/pids"),
                hierarchy("systemd", "none,name=systemd", "/sys/fs/cgroup/systemd"),
            ],
            unified: Some("/sys/fs/cgroup/unified".into()),
        };
        let plan = Plan::lower(&request(&container, &view)).unwrap();
        let mut handles = plan.open().unwrap();
        let fd = plan.attach(&mut handles).unwrap();
        plan.mount(&mut handles, &fd)
            .map_err(|place| plan.describe(&place))
            .unwrap();
        plan.seal(&handles, &fd).unwrap();
        let at = |path: &str| format!("/mnt/root/sys/fs/cgroup{path}");
        assert!(options_at(&at("")).starts_with("ro,"), "{namespace:?}");
        let pids = mount_at(&at("/pids,extra")).unwrap();
        assert_eq!(pids.1, "cgroup");
        assert!(pids.0.starts_with("ro,nosuid,nodev,noexec"), "{pids:?}");
        assert!(fs::exists(at("/pids/cgroup.procs")).unwrap());
        assert_eq!(
            fs::read_link(at("/extra")).unwrap().to_str(),
            Some("pids,extra")
        );
        assert_eq!(mount_at(&at("/unified")).unwrap().1, "cgroup2");
    }
}

fn sysctls() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.sysctl = vec![
        ("net.ipv4.ip_forward".to_owned(), "1".to_owned()),
        ("kernel.domainname".to_owned(), "some.where".to_owned()),
    ];
    start(&container);
    assert_eq!(fs::read("/proc/sys/net/ipv4/ip_forward").unwrap(), b"1\n");
    assert_eq!(
        fs::read("/proc/sys/kernel/domainname").unwrap(),
        b"some.where\n"
    );
}

fn copied_link() {
    let root = scratch().join("root");
    symlink("../some/where", "/mnt/host/link").unwrap();
    let mut container = container(&root);
    container.mounts = vec![
        mount(
            "/etc/link",
            "bind",
            "/mnt/host/link",
            &["bind", "copy-symlink"],
        ),
        mount(
            "/etc/file",
            "bind",
            "/mnt/host/file",
            &["bind", "copy-symlink"],
        ),
    ];
    start(&container);
    assert_eq!(
        fs::read_link("/etc/link").unwrap().to_str(),
        Some("../some/where")
    );
    assert_eq!(fs::read("/etc/file").unwrap(), b"canary");
}

fn mount_on_link() {
    let root = scratch().join("root");
    symlink("target", root.join("link")).unwrap();
    fs::write(root.join("target"), "below").unwrap();
    let mut container = container(&root);
    container.mounts = vec![mount(
        "/link",
        "bind",
        "/mnt/host/file",
        &["bind", "dest-nofollow"],
    )];
    start(&container);
    assert_eq!(fs::read("/link").unwrap(), b"canary");
    assert_eq!(fs::read("/target").unwrap(), b"below");
}

fn remount() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/x", "tmpfs", "tmpfs", &["nosuid"]),
        mount("/x", "none", "none", &["remount", "ro", "noexec"]),
    ];
    start(&container);
    let options = options_at("/x");
    assert!(options.starts_with("ro,nosuid,noexec"), "{options}");
}

/// Root of a user namespace in which only root exists, with the trees of a privileged parent.
fn user_namespace() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.namespaces[NamespaceKind::User] = Namespace::New;
    container.namespaces[NamespaceKind::Network] = Namespace::Inherit;
    let only_root = IdMapping {
        container: 0,
        host: 0,
        size: 1,
    };
    container.uid_mappings = vec![only_root];
    container.gid_mappings = vec![only_root];
    container.mounts[2].options.push("gid=5".to_owned());
    container.mounts.remove(6);
    let view = CgroupView::Absent;
    let mut request = request(&container, &view);
    let host = Host {
        user_namespace: true,
        ..HOST
    };
    request.host = &host;
    let plan = Plan::lower(&request).unwrap();
    assert!(plan.to_string().contains("bind tree \"/sys\""), "{plan}");
    unshare(NamespaceFlags::USER | NamespaceFlags::MOUNT | NamespaceFlags::IPC).unwrap();
    fs::write("/proc/self/uid_map", "0 0 1").unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/gid_map", "0 0 1").unwrap();
    // The PID namespace is not of this user namespace: take the host's view of /proc along too.
    let mut inherited = container.clone();
    inherited.namespaces[NamespaceKind::Pid] = Namespace::Inherit;
    request.container = &inherited;
    let host = Host {
        privileged: false,
        user_namespace: true,
        ..HOST
    };
    request.host = &host;
    try_start(&request).unwrap();
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    fs::write("/dev/null", "x").unwrap();
    assert_eq!(fs::read("/proc/keys").unwrap_or_default(), b"");
    assert!(options_at("/sys").starts_with("ro,"));
    assert_eq!(mount_at("/dev/pts").unwrap().1, "devpts");
}

fn bad_option() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = vec![mount("/x", "tmpfs", "tmpfs", &["nosuid", "sise=1\x1b[k"])];
    let said = try_start(&request(&container, &view())).unwrap_err();
    assert_eq!(
        said,
        r#"/mounts/0: mount "tmpfs" on "/x": option "sise=1\u{1b}[k": fsconfig: EINVAL: invalid argument (the file system does not accept this option or its value)"#
    );
}

fn missing_source() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = vec![mount("/x", "bind", "/mnt/none", &["bind"])];
    let view = view();
    for privileged in [true, false] {
        let host = Host { privileged, ..HOST };
        let request = Request {
            host: &host,
            ..request(&container, &view)
        };
        let said = try_start(&request).unwrap_err();
        assert_eq!(
            said,
            r#"/mounts/0/source: bind mount of "/mnt/none" on "/x": ENOENT: no such file or directory"#
        );
    }
}

fn refused_early() {
    let root = scratch().join("root");
    for (element, pointer) in [
        (
            mount("/", "bind", "/mnt/host", &["bind"]),
            "/mounts/0/destination",
        ),
        (
            mount("/proc/sys", "tmpfs", "x", &[]),
            "/mounts/0/destination",
        ),
        (
            mount("/x/../proc/./1", "bind", "/mnt/host", &["bind"]),
            "/mounts/0/destination",
        ),
        (
            mount("/proc", "bind", "/mnt/host", &["bind"]),
            "/mounts/0/source",
        ),
        (
            mount("/x", "bind", "/mnt/host", &["bind", "colour=1"]),
            "/mounts/0/options/1",
        ),
        (
            mount("/x", "bind", "/mnt/host", &["idmap=uids=0-1-2"]),
            "/mounts/0/options/0",
        ),
        (
            mount("/x", "bind", "/mnt/host", &["idmap"]),
            "/mounts/0/uidMappings",
        ),
        (
            mount("/x", "proc", "proc", &["tmpcopyup"]),
            "/mounts/0/options",
        ),
        (mount("/x", "none", "none", &[]), "/mounts/0/type"),
    ] {
        let mut container = container(&root);
        container.mounts = vec![element.clone()];
        let view = view();
        let plan = Plan::lower(&request(&container, &view));
        match plan.and_then(|plan| plan.open()) {
            Err(rootfs::Error::Config(problem)) => assert_eq!(problem.pointer, pointer),
            other => panic!("{element:?}: {other:?}"),
        }
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}
