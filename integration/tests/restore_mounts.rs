//! `restore`: the mounts of an image. What CRIU makes and binds is what the configuration has, and
//! no link leads it out. A program in the place of CRIU writes the requests down.

use std::fs;
use std::os::unix::fs::symlink;

use integration::criu::{Criu, ImageMount, Restorable, write_image};
use integration::sandbox;
use serde_json::json;

/// The kinds of file systems of an image: proc, sysfs, tmpfs, devpts, cgroup2, and what CRIU calls
/// auto and overlayfs.
const PROC: u8 = 1;
const SYSFS: u8 = 2;
const TMPFS: u8 = 5;
const DEVPTS: u8 = 6;
const CGROUP2: u8 = 23;
const AUTO: u8 = 16;
const OVERLAY: u8 = 17;

/// CVE-2026-119101, CVE-2026-119614: between checkpoint and restore a mount point becomes a link.
/// CRIU would follow it and bind outside of the root.
#[test]
fn cve_2026_119614_a_link_at_a_mount_point_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let more = given.more(s, &["/way/more", "/data/sub"]);
        let given = given;
        let outside = s.dir.join("outside");
        fs::create_dir(&outside).expect("outside");
        let root = given.bundle.root();
        let refused = |point: &str| {
            let count = criu.heard().len();
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&[point, "a link is on the way"]);
            let asked = criu.heard()[count..].to_vec();
            assert!(
                asked.iter().all(|entry| entry["type"] == "VERSION"),
                "{asked:?}"
            );
            assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
        };
        for target in [outside.to_str().expect("UTF-8"), "/etc", "/tmp"] {
            symlink(target, root.join("data")).expect("link");
            refused("/data");
            fs::remove_file(root.join("data")).expect("unlink");
        }
        // A directory above it.
        symlink(&outside, root.join("way")).expect("link");
        given.mounts(&[ImageMount::external("/way/more", &more[0], false)]);
        refused("/way/more");
        // Below a volume, where the container can write.
        symlink(&outside, s.dir.join("data/sub")).expect("link");
        given.mounts(&[ImageMount::external("/data/sub", &more[1], false)]);
        refused("/data/sub");
    });
}

/// What the host has is not changed: a mount point in a volume must be there.
#[test]
fn no_mount_point_is_made_in_a_volume() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let more = given.more(s, &["/read/sub"]);
        given.mounts(&[ImageMount::external("/read/sub", &more[0], false)]);
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/read/sub", "missing in the volume"]);
        assert!(!s.dir.join("read/sub").exists());
    });
}

/// CVE-2026-119101: an image has only mounts of the configuration, under the names that they had at
/// the checkpoint, and no less restricted.
#[test]
fn cve_2026_119101_foreign_mounts_of_an_image_are_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let plain = |kind, point: &'static str| ImageMount::made(kind, point, 0);
        let root = s.dir.to_str().expect("UTF-8");
        for (mount, words) in [
            (
                ImageMount::external("/host", "/etc", false),
                "no mount of its name",
            ),
            (
                ImageMount::external("/host", root, false),
                "no mount of its name",
            ),
            (
                ImageMount::external("/more", &given.names[0], false),
                "two of them",
            ),
            (plain(AUTO, "/disk"), "neither a volume"),
            (plain(OVERLAY, "/over"), "neither a volume"),
            (plain(0, "/etc"), "neither a volume"),
            (plain(PROC, "/../proc"), "plain absolute path"),
            (ImageMount::ROOT, "one root"),
        ] {
            given.mounts(&[mount]);
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["refused", words]);
        }
        write_image(
            &given.image,
            &[
                ImageMount::ROOT,
                ImageMount::external("/read", &given.names[1], false),
            ],
        );
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/read", "writable, but the configuration has it read-only"]);
        assert!(criu.heard().iter().all(|entry| entry["type"] == "VERSION"));
    });
}

/// An engine may write the configuration of a restore in another order, as Podman does when it
/// imports a checkpoint. Each mount of the image still gets its own source.
#[test]
fn the_order_of_the_configuration_may_be_another_one() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        fs::write(given.bundle.root().join("secret"), "").expect("secret");
        given.mounts(&[ImageMount::external("/secret", "mask-file-/secret", true)]);
        let mounts = given.bundle.config["mounts"].as_array_mut();
        let mounts = mounts.expect("mounts");
        let last = mounts.len() - 1;
        mounts.swap(last - 1, last);
        let masks = json!(["/none", "/secret", "/other"]);
        given.bundle.set("/linux/maskedPaths", masks).write();
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).ok();
    });
}

/// The checks compare the mounts with each other: an image of a hundred thousand would take hours.
#[test]
fn an_image_of_very_many_mounts_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let file = given.image.join("mountpoints-12.img");
        let mut bytes = fs::read(&file).expect("mounts");
        bytes.extend([0; 4 * 4096]);
        fs::write(&file, bytes).expect("mounts");
        let outcome = given.restore(s, &criu, "", &["--detach"]);
        outcome.fails_with(&["mountpoints-12.img", "more than 4096 mounts"]);
    });
}

/// What CRIU makes is where the configuration has it, as restricted, and no copy of anything else.
#[test]
fn mounts_that_criu_makes_are_those_of_the_configuration() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let made = ImageMount::made;
        let (proc, dev) = (made(PROC, "/proc", 0), made(TMPFS, "/dev", 2));
        let pts = made(DEVPTS, "/dev/pts", 10);
        let part = |kind, point: &'static str, root: &'static str, like| ImageMount {
            root,
            like: Some(like),
            ..made(kind, point, 1)
        };
        let sys = part(PROC, "/proc/sys", "/sys", "/proc");
        let console = part(DEVPTS, "/dev/console", "/0", "/dev/pts");
        let good = [proc, sys, dev, pts, console, made(SYSFS, "/sys", 15)];
        given.mounts(&good);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).ok();
        let count = criu.heard().len();
        let none = "the configuration has no such mount there";
        let shows = "it shows a part of a file system";
        let binds = "CRIU would bind it from";
        let nearest = "not in the mount that is nearest";
        let groups = match s.is_v2() {
            true => none,
            false => "all groups of the host",
        };
        let like = |mount, point| ImageMount {
            like: Some(point),
            ..mount
        };
        let deep = |root| ImageMount { root, ..sys };
        let peer = ImageMount { master: 7, ..dev };
        let outer = ImageMount {
            parent: Some("/"),
            ..sys
        };
        let cases: [(&[ImageMount<'_>], &str, &str); 14] = [
            (&[made(PROC, "/tmp", 0)], "/tmp", none),
            (&[made(SYSFS, "/sys", 14)], "/sys", none),
            (&[made(TMPFS, "/dev", 0)], "/dev", none),
            (
                &[made(CGROUP2, "/sys/fs/cgroup", 14)],
                "/sys/fs/cgroup",
                groups,
            ),
            (&[proc, deep("/../../etc")], "/proc/sys", shows),
            (&[proc, deep("/sys/../../etc")], "/proc/sys", shows),
            (&[proc, deep("/bus")], "/proc/sys", shows),
            (&[proc, ImageMount { flags: 0, ..sys }], "/proc/sys", shows),
            (&[proc, like(sys, "/data")], "/proc/sys", shows),
            (&[like(dev, "/data")], "/dev", binds),
            (&[like(dev, "/")], "/dev", binds),
            (
                &[dev, part(TMPFS, "/dev/shm", "/..", "/dev")],
                "/dev/shm",
                shows,
            ),
            (&[peer, ImageMount { master: 7, ..proc }], "/dev", binds),
            (&[proc, outer], "/proc/sys", shows),
        ];
        for (mounts, point, words) in cases {
            given.mounts(mounts);
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["refused", point, words]);
        }
        given.mounts(&[
            dev,
            ImageMount {
                parent: Some("/"),
                ..pts
            },
        ]);
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/dev/pts", nearest]);
        let asked = criu.heard()[count..].to_vec();
        assert!(asked.iter().all(|entry| entry["type"] == "VERSION"));
    });
}

/// An image that leaves out a mask, or has a read-only path writable, makes no process.
#[test]
fn masks_that_an_image_leaves_out_are_missed() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        fs::write(given.bundle.root().join("secret"), "").expect("secret");
        let masks = json!(["/none", "/secret"]);
        given.bundle.set("/linux/maskedPaths", masks).write();
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/secret", "does not mask it"]);
        let mask = ImageMount::external("/secret", "mask-file-/secret", true);
        given.mounts(&[mask]);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).ok();
        given.bundle.set("/linux/readonlyPaths", json!(["/data"]));
        given.bundle.write();
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/data", "is not ro"]);
    });
}

/// CRIU gives mounts the flags of the image, and binds some by paths of the host. A volume or a
/// root that is not as configured is refused before a process runs.
#[test]
fn a_volume_that_is_not_as_configured_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let volume = given.bundle.config["mounts"]
            .as_array()
            .expect("mounts")
            .len()
            - 2;
        let options = json!(["bind", "nosuid", "nodev", "noexec"]);
        given
            .bundle
            .set(&format!("/mounts/{volume}/options"), options)
            .write();
        for (mode, words) in [
            ("elsewhere", "\"/data\" that is not the volume"),
            ("writable", "\"/data\" that is not nosuid"),
            ("writable-read", "\"/read\" that is not ro"),
            ("writable-root", "\"/\" that is not ro"),
        ] {
            given
                .restore(s, &criu, mode, &["--detach"])
                .fails_with(&["the restored process has a mount at", words]);
        }
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
    });
}

/// CRIU binds a volume from the stage, where its ids are mapped already.
#[test]
fn the_ids_of_a_volume_stay_mapped() {
    sandbox::host(|s| {
        if s.lacks_linux((6, 3), "id maps on tmpfs") {
            return;
        }
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let mounts = given.bundle.config["mounts"].as_array().expect("mounts");
        let volume = format!("/mounts/{}", mounts.len() - 2);
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
        for maps in ["uidMappings", "gidMappings"] {
            given.bundle.set(&format!("{volume}/{maps}"), map.clone());
        }
        given.bundle.write();
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit $(($(stat -c %u /data) / 100))");
        s.finish(command, None).exits(10);
        given
            .restore(s, &criu, "elsewhere", &["--detach"])
            .fails_with(&["the restored process has a mount at \"/data\""]);
    });
}

/// With mntns-compat-mode CRIU mounts by paths of the host: a link in the tmpfs of an image leads
/// it to a directory of the host, and a program `tar` of the image runs there as root.
#[test]
fn criu_must_not_mount_by_paths_of_the_host() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        s.tool("mount", &["-t", "tmpfs", "tmpfs", "/etc"]);
        symlink("/proc/self/mounts", "/etc/mtab").expect("link");
        fs::create_dir("/etc/criu").expect("etc");
        for name in ["runc.conf", "default.conf"] {
            let path = format!("/etc/criu/{name}");
            for line in [
                &b"mntns-compat-mode\n"[..],
                b"log-level 4\n --mntns-compat-mode\n",
                b"# not UTF-8: \xff\nmntns-compat-mode\n",
            ] {
                fs::write(&path, line).expect("conf");
                given.restore(s, &criu, "", &["--detach"]).fails_with(&[
                    &*path,
                    "mntns-compat-mode",
                    "remove it",
                ]);
            }
            fs::write(&path, "# mntns-compat-mode\n").expect("conf");
        }
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
        s.tool("umount", &["/etc"]);
    });
}
