//! Devices: config-linux.md "Devices" and "Default Devices", runtime-linux.md "Dev symbolic links".

use std::fs;

use integration::{Sandbox, sandbox};
use serde_json::json;

const DEFAULTS: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

fn listing(s: &Sandbox, user_namespace: bool) -> String {
    let mut bundle = s.bundle();
    if user_namespace {
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        s.tool(
            "chown",
            &[
                "-R",
                "100000:100000",
                bundle.root().to_str().expect("UTF-8"),
            ],
        );
    }
    bundle.shell("for n in null zero full random urandom tty; do stat -c '%n %F %t %T %a' /dev/$n; done; echo x > /dev/null && echo writable");
    s.run(&bundle).ok().stdout
}

/// Row S38: "the runtime MUST also supply the following default devices: /dev/null /dev/zero
/// /dev/full /dev/random /dev/urandom /dev/tty".
#[test]
fn the_default_devices_exist() {
    sandbox::host(|s| {
        for user_namespace in [false, true] {
            let text = listing(s, user_namespace);
            for (name, major, minor) in DEFAULTS {
                let wanted = format!("/dev/{name} character special file {major:x} {minor:x} 666");
                assert!(
                    text.contains(&wanted),
                    "user namespace {user_namespace}, {name}: {text}"
                );
            }
            assert!(text.ends_with("writable\n"), "{text}");
        }
    });
}

/// Row S38: "/dev/ptmx: A bind-mount or symlink of the container's /dev/pts/ptmx"; "While creating
/// the container, runtimes MUST create the following symlinks if the source file exists after
/// processing mounts".
#[test]
fn the_links_of_dev_exist() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done");
        s.run(&bundle)
            .prints("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx");
    });
}

/// "devices (array of objects, OPTIONAL) lists devices that MUST be available in the container":
/// type, numbers, mode, owner; "u" is "c".
#[test]
fn devices_are_made_as_listed() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        for device in [
            json!({ "path": "/dev/own-null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8 }),
            json!({ "path": "/dev/deep/zero", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0 }),
            json!({ "path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 0, "gid": 0 }),
            json!({ "path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2 }),
        ] {
            bundle.set("/linux/devices/-", device);
        }
        bundle.shell(
            "stat -c '%n %F %t %T %a %u %g' /dev/own-null /dev/deep/zero /dev/block /dev/pipe",
        );
        s.run(&bundle).prints(
            "/dev/own-null character special file 1 3 640 7 8\n/dev/deep/zero character special file 1 5 666 0 0\n\
             /dev/block block special file 7 c8 600 0 0\n/dev/pipe fifo 0 0 622 1 2",
        );
    });
}

/// In a user namespace no node can be made. One whose name the host lacks is made outside of it,
/// with the mode and the owner of the list, and it works.
#[test]
fn a_node_that_the_host_lacks_is_made_for_a_user_namespace() {
    sandbox::host(|s| {
        if s.is_control("runc binds the host's node, and fails where there is none") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65_536)]);
        for device in [
            json!({ "path": "/dev/own-zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8 }),
            json!({ "path": "/dev/deep/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0 }),
        ] {
            bundle.set("/linux/devices/-", device);
        }
        bundle
            .set("/process/capabilities/effective/-", json!("CAP_DAC_OVERRIDE"))
            .set("/process/capabilities/permitted/-", json!("CAP_DAC_OVERRIDE"))
            .set("/process/capabilities/bounding/-", json!("CAP_DAC_OVERRIDE"))
            .shell(
                "stat -c '%n %F %t %T %a %u %g' /dev/own-zero /dev/deep/null; head -c 3 /dev/own-zero | wc -c; \
                 echo x > /dev/deep/null && echo written; ls /",
            );
        let outcome = s.run(&bundle).ok();
        assert!(
            outcome.stdout.starts_with(
                "/dev/own-zero character special file 1 5 640 7 8\n\
                 /dev/deep/null character special file 1 3 666 0 0\n3\nwritten\n"
            ),
            "{}",
            outcome.describe("wanted both devices")
        );
    });
}

/// A default device that is listed has the mode of the list.
#[test]
fn a_listed_default_device_takes_the_lists_mode() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let device = json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 4 });
        bundle
            .set("/linux/devices/-", device)
            .args(&["stat", "-c", "%a %u %g", "/dev/zero"]);
        s.run(&bundle).prints("600 3 4");
    });
}

/// A /dev that the configuration binds from the host is left alone.
#[test]
fn a_bound_dev_is_left_alone() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 wants a /dev/null in every container") {
            return;
        }
        let folder = s.dir.join("dev");
        fs::create_dir(&folder).expect("mkdir");
        let mut bundle = s.bundle();
        for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(place);
        }
        bundle
            .bind(&folder, "/dev", &["rw"])
            .set("/linux/maskedPaths", json!([]))
            .args(&["ls", "-A", "/dev"]);
        s.run(&bundle).prints("");
        assert_eq!(fs::read_dir(&folder).expect("list").count(), 0);
    });
}

/// Without a mount at /dev the image may have something else in the place of a device. It is not
/// taken for the device.
#[test]
fn a_file_of_the_image_is_not_taken_for_a_device() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves the file there") {
            return;
        }
        let mut bundle = s.bundle();
        for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(place);
        }
        let file = bundle.file("/dev/zero", "x", 0o666);
        s.run(&bundle).fails_with(&["/dev/zero"]);
        fs::remove_file(&file).expect("rm");
        bundle.args(&["stat", "-c", "%F", "/dev/zero"]);
        s.run(&bundle).prints("character special file");
    });
}

/// A /dev whose mount says `ro` is read-only when the program starts, and has its nodes all the
/// same.
#[test]
fn a_readonly_dev_has_its_nodes() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/mounts/1/options/-", json!("ro"))
            .shell("echo x > /dev/null; touch /dev/new");
        s.run(&bundle)
            .exits(1)
            .fails_with(&["read-only file system"]);
    });
}

/// Each container has a devpts of its own: its first terminal is 0.
#[test]
fn the_terminals_are_the_containers_own() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["ls", "/dev/pts"]);
        s.run(&bundle).prints("ptmx");
    });
}

/// The rules for devices hold for the file systems of `mounts` too, however fast init is. There is
/// no such device; but that is found out after the rules were asked.
#[test]
fn a_file_system_on_a_device_is_below_the_rules() {
    sandbox::pure_v2(|s| {
        if s.is_control("runc 1.1 sets the rules after the mounts") {
            return;
        }
        let node = s.dir.join("node");
        let name = node.to_str().expect("UTF-8");
        s.tool("mknod", &[name, "b", "240", "77"]);
        let mut bundle = s.bundle();
        bundle
            .mount(
                json!({ "destination": "/tmp", "type": "ext4", "source": name, "options": ["ro"] }),
            )
            .set(
                "/linux/resources/devices",
                json!([{ "allow": false, "access": "rwm" }]),
            );
        for _ in 0..5 {
            s.run(&bundle)
                .fails_with(&["/mounts/", "operation not permitted"]);
        }
        bundle.set(
            "/linux/resources/devices",
            json!([{ "allow": true, "access": "rwm" }]),
        );
        s.run(&bundle).fails_with(&["/mounts/", "no such device"]);
    });
}

/// `/dev/ptmx` is the link to the container's own terminals; as an element of linux.devices it is
/// passed over, as with runc, in a user namespace too.
#[test]
fn ptmx_as_a_device_is_the_link() {
    sandbox::host(|s| {
        for user_namespace in [false, true] {
            let mut bundle = s.bundle();
            if user_namespace {
                bundle.user_namespace(&[(0, 100_000, 65_536)]);
            }
            bundle.set(
                "/linux/devices",
                json!([{ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 438 }]),
            );
            bundle.args(&["readlink", "/dev/ptmx"]);
            s.run(&bundle).prints("pts/ptmx");
        }
    });
}

/// The /dev that a root brings as a mount may be the host's: nothing in it is removed. In a plain
/// directory the node gives way to the link.
#[test]
fn the_ptmx_of_a_dev_that_came_with_the_root_stays() {
    sandbox::host(|s| {
        if s.is_control("runc and crun remove the host's node") {
            return;
        }
        for mounted in [true, false] {
            let mut bundle = s.bundle();
            bundle.writable().set("/mounts", json!([]));
            let dev = bundle.root().join("dev");
            let name = dev.to_str().expect("UTF-8");
            let node = dev.join("ptmx");
            if mounted {
                s.tool("mount", &["-t", "tmpfs", "tmpfs", name]);
            }
            s.tool(
                "mknod",
                &["-m", "666", node.to_str().expect("UTF-8"), "c", "5", "2"],
            );
            bundle.args(&["true"]);
            s.run(&bundle).exits(0);
            let is_link = fs::symlink_metadata(&node).expect("stat").is_symlink();
            assert_eq!(is_link, !mounted, "/dev is a mount: {mounted}");
            if mounted {
                s.tool("umount", &[name]);
            }
        }
    });
}

/// A mount of the configuration on `/dev/ptmx` stays.
#[test]
fn a_mount_on_ptmx_stays() {
    sandbox::host(|s| {
        if s.is_control("runc removes what is there, and cannot remove a mount") {
            return;
        }
        let file = s.dir.join("file");
        std::fs::write(&file, "bound\n").expect("write");
        let mut bundle = s.bundle();
        bundle.bind(&file, "/dev/ptmx", &["ro"]);
        bundle.args(&["cat", "/dev/ptmx"]);
        s.run(&bundle).prints("bound");
    });
}
