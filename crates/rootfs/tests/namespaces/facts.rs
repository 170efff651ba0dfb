//! What a container finds.

use crate::Fact;
use crate::stage::{mount_at, scratch, start, template};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub(crate) const FACTS: &[Fact] = &[
    ("the template's mounts are there", template_mounts),
    ("default devices and links are there", default_devices),
];

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
    assert!(
        mount_at("/sys")
            .unwrap()
            .0
            .starts_with("ro,nosuid,nodev,noexec")
    );
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
