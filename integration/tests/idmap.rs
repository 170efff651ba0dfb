//! User namespaces and id maps: config-linux.md "User namespace mappings"; config.md, `uidMappings`
//! of mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

fn is_other(s: &Sandbox) -> bool {
    s.is_control("runc 1.1 has no idmapped mounts")
}

/// A bundle with its root file system given to `owner` of the host.
fn mapped(s: &Sandbox, maps: &[(u32, u32, u32)], owner: u32) -> Bundle {
    let mut bundle = s.bundle();
    bundle.user_namespace(maps);
    s.tool(
        "chown",
        &[
            "-hR",
            &format!("{owner}:{owner}"),
            bundle.root().to_str().expect("UTF-8"),
        ],
    );
    bundle
}

/// A directory whose mounts take id maps: a tmpfs does since Linux 6.3, disks did before.
fn volume(s: &Sandbox) -> PathBuf {
    let path = match s.has_linux((6, 3)) {
        true => s.dir.join("volume"),
        false => Path::new("/var/tmp").join(s.id()),
    };
    fs::create_dir(&path).expect("mkdir");
    path
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// Row S11: `0 100000 1`: "containerID ... hostID ... size"; a file of the container's root belongs
/// to the mapped id of the host.
#[test]
fn a_single_id_is_mapped() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 1)], 100_000);
        // gid 5 of the terminals has no place in this map.
        bundle.config["mounts"][2]["options"]
            .as_array_mut()
            .expect("options")
            .retain(|o| o != "gid=5");
        bundle
            .writable()
            .shell("cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /tmp/made");
        let outcome = s.run(&bundle).ok();
        assert_eq!(
            words(&outcome.stdout),
            [
                vec!["0", "100000", "1"],
                vec!["0", "100000", "1"],
                vec!["0"]
            ]
        );
        let made = fs::metadata(bundle.root().join("tmp/made")).expect("stat");
        assert_eq!((made.uid(), made.gid()), (100_000, 100_000));
    });
}

/// Row S12: several ranges are shown as they were written.
#[test]
fn ranges_are_mapped() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 256), (256, 300_000, 65280)], 100_000);
        bundle.args(&["cat", "/proc/self/uid_map"]);
        let outcome = s.run(&bundle).ok();
        assert_eq!(
            words(&outcome.stdout),
            [["0", "100000", "256"], ["256", "300000", "65280"]]
        );
    });
}

/// The kernel takes a map of less than a page. A longer one is refused before anything is made.
#[test]
fn a_map_of_many_extents_fills_at_most_a_page() {
    sandbox::host(|s| {
        let maps: Vec<_> = (0..340).map(|n| (n, 100_000 + 2 * n, 1)).collect();
        let length: usize = maps
            .iter()
            .map(|(c, h, n)| format!("{c} {h} {n}\n").len())
            .sum();
        let mut bundle = mapped(s, &maps, 100_000);
        bundle.shell("grep -c . /proc/self/uid_map");
        let outcome = s.run(&bundle);
        if length < s.page_size() {
            outcome.prints("340");
        } else if s.subject.is_locule() {
            outcome.fails_with(&["/linux/uidMappings", "340 extents", "less than 4096"]);
        } else {
            outcome.fails();
        }
    });
}

/// Row S12: the identity map of all ids, which is a user namespace of its own all the same.
#[test]
fn the_identity_is_a_map_too() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .user_namespace(&[(0, 0, 4_294_967_295)])
            .shell("cat /proc/self/uid_map; readlink /proc/self/ns/user");
        let outcome = s.run(&bundle).ok();
        assert_eq!(words(&outcome.stdout)[0], ["0", "0", "4294967295"]);
        let own = fs::read_link("/proc/self/ns/user").expect("ns");
        assert_ne!(words(&outcome.stdout)[1][0], own.to_str().expect("UTF-8"));
    });
}

/// Row S10: an id without a mapping shows as the overflow id.
#[test]
fn unmapped_ids_show_as_nobody() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        let file = bundle.file("/etc/foreign", "", 0o644);
        chown(&file, Some(5), Some(5)).expect("chown");
        bundle.args(&["stat", "-c", "%u %g", "/etc/foreign"]);
        s.run(&bundle).prints("65534 65534");
    });
}

/// Row S13: a map is written once: a second write fails, and the program starts with its map in
/// place.
#[test]
fn a_map_is_written_once() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.capabilities(
            &["bounding", "permitted", "effective"],
            &["CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN"],
        );
        bundle.shell("id -u; echo 0 0 1 > /proc/self/uid_map");
        let outcome = s.run(&bundle).fails();
        assert_eq!(outcome.stdout, "0\n");
    });
}

/// The other namespaces belong to the new user namespace: its root may set the hostname, though not
/// of the host.
#[test]
fn the_user_namespace_owns_the_others() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYS_ADMIN"]);
        bundle.shell("hostname changed && hostname");
        s.run(&bundle).prints("changed");
    });
}

/// "path": a user namespace that exists is joined, with the maps that it has.
#[test]
fn a_user_namespace_is_joined() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.args(&["sleep", "1000"]);
        let first = s.started(&bundle);
        let mut second = s.bundle();
        s.tool(
            "chown",
            &[
                "-hR",
                "100000:100000",
                second.root().to_str().expect("UTF-8"),
            ],
        );
        second.join("user", format!("/proc/{}/ns/user", first.pid()));
        if !s.subject.is_locule() {
            // runc 1.1 wants the maps of the namespace repeated.
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            second
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map);
        }
        second.args(&["readlink", "/proc/self/ns/user"]);
        let shared = fs::read_link(format!("/proc/{}/ns/user", first.pid())).expect("ns");
        s.run(&second).prints(shared.to_str().expect("UTF-8"));
        first.remove();
    });
}

/// User and pid namespace of another container together: the relay case.
#[test]
fn user_and_pid_namespaces_are_joined_together() {
    sandbox::host(|s| {
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.args(&["sleep", "1000"]);
        let first = s.started(&bundle);
        let mut second = s.bundle();
        s.tool(
            "chown",
            &[
                "-hR",
                "100000:100000",
                second.root().to_str().expect("UTF-8"),
            ],
        );
        for (kind, name) in [
            ("user", "user"),
            ("pid", "pid"),
            ("network", "net"),
            ("ipc", "ipc"),
            ("uts", "uts"),
        ] {
            second.join(kind, format!("/proc/{}/ns/{name}", first.pid()));
        }
        if !s.subject.is_locule() {
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            second
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map);
        }
        second
            .remove("/hostname")
            .shell("readlink /proc/self/ns/pid; ps -o args | grep -c '^sleep 1000'");
        let pid = fs::read_link(format!("/proc/{}/ns/pid", first.pid())).expect("ns");
        s.run(&second).prints(&format!("{}\n1", pid.display()));
        first.remove();
    });
}

/// "gidMappings" apart from "uidMappings": each is its own.
#[test]
fn uids_and_gids_are_mapped_apart() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        bundle.set(
            "/linux/gidMappings",
            json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]),
        );
        s.tool(
            "chown",
            &[
                "-hR",
                "100000:200000",
                bundle.root().to_str().expect("UTF-8"),
            ],
        );
        bundle.shell("cat /proc/self/uid_map /proc/self/gid_map");
        let outcome = s.run(&bundle).ok();
        assert_eq!(
            words(&outcome.stdout),
            [["0", "100000", "65536"], ["0", "200000", "65536"]]
        );
    });
}

/// A mount with `idmap` shows files of the host as the container's own and writes them back with
/// the host's ids.
#[test]
fn an_idmapped_mount_translates_owners() {
    sandbox::host_unless(is_other, |s| {
        let volume = volume(s);
        fs::write(volume.join("file"), "").expect("write");
        chown(volume.join("file"), Some(5), Some(6)).expect("chown");
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.bind(&volume, "/mnt", &["idmap"]);
        bundle.shell("stat -c '%u %g' /mnt/file; touch /mnt/made");
        s.run(&bundle).prints("5 6");
        let made = fs::metadata(volume.join("made")).expect("stat");
        assert_eq!((made.uid(), made.gid()), (0, 0));
        fs::remove_dir_all(volume).expect("rm");
    });
}

/// `idmap` without mappings, and the user namespace is another container's: the map is that of the
/// namespace.
#[test]
fn an_idmapped_mount_takes_the_map_of_a_joined_namespace() {
    sandbox::host(|s| {
        if s.is_control("runc wants the mappings in the configuration") {
            return;
        }
        let volume = volume(s);
        chown(&volume, Some(5), Some(6)).expect("chown");
        let mut bundle = mapped(s, &[(0, 100_000, 65536)], 100_000);
        bundle.args(&["sleep", "1000"]);
        let first = s.started(&bundle);
        let mut second = mapped(s, &[(0, 100_000, 65536)], 100_000);
        second
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .join("user", format!("/proc/{}/ns/user", first.pid()));
        for index in 0..2 {
            second.bind(&volume, &format!("/mnt{index}"), &["idmap"]);
        }
        second.args(&["stat", "-c", "%u %g", "/mnt0", "/mnt1"]);
        s.run(&second).prints("5 6\n5 6");
        first.remove();
        fs::remove_dir_all(volume).expect("rm");
    });
}

/// "uidMappings ... gidMappings" of a mount: a map of its own, without a user namespace too.
#[test]
fn a_mount_may_have_a_map_of_its_own() {
    sandbox::host_unless(is_other, |s| {
        let volume = volume(s);
        fs::write(volume.join("file"), "").expect("write");
        chown(volume.join("file"), Some(5), Some(5)).expect("chown");
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": volume, "options": ["bind", "idmap"],
                             "uidMappings": map, "gidMappings": map }));
        bundle.args(&["stat", "-c", "%u %g", "/mnt/file"]);
        s.run(&bundle).prints("1005 1005");
        fs::remove_dir_all(volume).expect("rm");
    });
}

/// `ridmap` reaches the mounts below.
#[test]
fn a_recursive_idmap_reaches_the_mounts_below() {
    let skips = |s: &Sandbox| is_other(s) || s.lacks_linux((6, 3), "id maps on tmpfs");
    sandbox::host_unless(skips, |s| {
        let volume = s.dir.join("volume");
        fs::create_dir_all(&volume).expect("mkdir");
        let place = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        s.tool("mount", &["-t", "tmpfs", "tmpfs", &place(&volume)]);
        fs::create_dir(volume.join("below")).expect("mkdir");
        s.tool(
            "mount",
            &["-t", "tmpfs", "tmpfs", &place(&volume.join("below"))],
        );
        fs::write(volume.join("below/file"), "").expect("write");
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
        for (option, shown) in [("ridmap", "1000"), ("idmap", "0")] {
            let mut bundle = s.bundle();
            bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": volume, "options": ["rbind", option],
                                 "uidMappings": map, "gidMappings": map }));
            bundle.args(&["stat", "-c", "%u", "/mnt/below/file"]);
            s.run(&bundle).prints(shown);
        }
        s.tool("umount", &["--recursive", &place(&volume)]);
    });
}

/// A mount's maps come in pairs.
#[test]
fn a_mount_with_half_a_map_is_an_error() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind", "idmap"],
                             "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 100 }] }));
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["gidMappings"]);
    });
}
