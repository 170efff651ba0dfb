//! `mounts`: config.md "Mounts", "Linux mount options", and what config-linux.md says of default
//! file systems.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use integration::mount_table::{line, tmpfs};
use integration::{Bundle, sandbox};
use serde_json::json;

/// Row S32: "mounts (array of objects, OPTIONAL) specifies additional mounts beyond root. The
/// runtime MUST mount entries in the listed order."
#[test]
fn every_file_system_of_the_configuration_is_mounted() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .mount(tmpfs("/tmp", &[]))
            .mount(tmpfs("/run", &["mode=755"]));
        bundle.args(&["cat", "/proc/self/mountinfo"]);
        let outcome = s.run(&bundle).ok();
        for (destination, kind) in [
            ("/proc", "proc"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/shm", "tmpfs"),
            ("/dev/mqueue", "mqueue"),
            ("/sys", "sysfs"),
            ("/tmp", "tmpfs"),
            ("/run", "tmpfs"),
        ] {
            let line = outcome
                .stdout
                .lines()
                .find(|l| l.split(' ').nth(4) == Some(destination));
            let line = line.unwrap_or_else(|| panic!("{destination}: {}", outcome.stdout));
            let shown = line.split(" - ").nth(1).expect("type").split(' ').next();
            assert_eq!(shown, Some(kind), "{line}");
        }
    });
}

/// "The runtime MUST mount entries in the listed order": the later covers the earlier.
#[test]
fn later_mounts_cover_earlier_ones() {
    sandbox::host(|s| {
        let (one, two) = (s.dir.join("one"), s.dir.join("two"));
        for (folder, name) in [(&one, "first"), (&two, "second")] {
            fs::create_dir(folder).expect("mkdir");
            fs::write(folder.join(name), "").expect("write");
        }
        let mut bundle = s.bundle();
        bundle
            .bind(&one, "/mnt", &[])
            .bind(&two, "/mnt", &[])
            .args(&["ls", "/mnt"]);
        s.run(&bundle).prints("second");
    });
}

/// Rows S33, S25: single files over /etc; the content is the host's, and a write reaches it unless
/// the mount is `ro`.
#[test]
fn single_files_are_bound() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        for (name, option) in [("hostname", "ro"), ("hosts", "rw"), ("resolv.conf", "rw")] {
            let file = s.dir.join(name);
            fs::write(&file, format!("{name} of the host\n")).expect("write");
            bundle.bind(&file, &format!("/etc/{name}"), &[option]);
        }
        bundle.writable().shell("cat /etc/hostname /etc/hosts /etc/resolv.conf; echo more >> /etc/hosts; echo no >> /etc/hostname");
        let outcome = s.run(&bundle).exits(1);
        assert_eq!(
            outcome.stdout,
            "hostname of the host\nhosts of the host\nresolv.conf of the host\n"
        );
        assert_eq!(
            fs::read_to_string(s.dir.join("hosts")).expect("hosts"),
            "hosts of the host\nmore\n"
        );
        assert_eq!(
            fs::read_to_string(s.dir.join("hostname")).expect("hostname"),
            "hostname of the host\n"
        );
    });
}

/// Row S34: a directory seen from both sides, and no new line in the host's mount table (the leak
/// check compares it).
#[test]
fn a_directory_is_shared_with_the_host() {
    sandbox::host(|s| {
        let folder = s.dir.join("volume");
        fs::create_dir(&folder).expect("mkdir");
        fs::write(folder.join("from-host"), "h").expect("write");
        let mut bundle = s.bundle();
        bundle
            .bind(&folder, "/mnt", &["rw"])
            .shell("cat /mnt/from-host; echo c > /mnt/from-container");
        s.run(&bundle).prints("h");
        assert_eq!(
            fs::read_to_string(folder.join("from-container")).expect("file"),
            "c\n"
        );
    });
}

/// Row S35: mount points that the root file system lacks are made, a file for a file and a
/// directory for a directory, below a read-only root too.
#[test]
fn missing_mount_points_are_made() {
    sandbox::host(|s| {
        let (folder, file) = (s.dir.join("folder"), s.dir.join("file"));
        fs::create_dir(&folder).expect("mkdir");
        fs::write(&file, "f\n").expect("write");
        let mut bundle = s.bundle();
        bundle
            .bind(&folder, "/new/a/b", &[])
            .bind(&file, "/new/c/file", &[]);
        bundle.shell("test -d /new/a/b && cat /new/c/file && stat -c %a /new /new/a");
        s.run(&bundle).prints("f\n755\n755");
    });
}

/// Row S36: an overlay mount: the upper directory takes the writes.
#[test]
fn an_overlay_is_mounted() {
    sandbox::host(|s| {
        for name in ["lower", "upper", "work"] {
            fs::create_dir(s.dir.join(name)).expect("mkdir");
        }
        fs::write(s.dir.join("lower/file"), "lower\n").expect("write");
        let data =
            ["lower", "upper", "work"].map(|n| format!("{n}dir={}", s.dir.join(n).display()));
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/mnt", "type": "overlay", "source": "overlay", "options": data }));
        bundle.shell("cat /mnt/file; echo changed > /mnt/file");
        s.run(&bundle).prints("lower");
        assert_eq!(
            fs::read_to_string(s.dir.join("lower/file")).expect("lower"),
            "lower\n"
        );
        assert_eq!(
            fs::read_to_string(s.dir.join("upper/file")).expect("upper"),
            "changed\n"
        );
    });
}

/// An overlay whose parameters are longer than the 255 bytes of fsconfig(2): six lower directories
/// in one option, long names of the others, all options in one string, and commas in names behind a
/// backslash.
#[test]
fn a_long_overlay_is_mounted() {
    sandbox::host(|s| {
        let long = "x".repeat(200);
        let lower: Vec<_> = (0..6)
            .map(|index| s.dir.join(format!("{long}{index}")))
            .collect();
        for (index, folder) in lower.iter().enumerate() {
            fs::create_dir(folder).expect("mkdir");
            fs::write(folder.join(format!("file{index}")), "").expect("write");
        }
        let lower: Vec<_> = lower
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let lower = lower.join(":");
        for (index, comma) in ["", ","].iter().enumerate() {
            let deep = s.dir.join(format!("{index}{comma}/{long}"));
            let (upper, work) = (deep.join("upper"), deep.join("work"));
            for folder in [&upper, &work] {
                fs::create_dir_all(folder).expect("mkdir");
            }
            let shown = |path: &std::path::Path| path.display().to_string().replace(',', "\\,");
            let words = [
                format!("lowerdir={lower}"),
                format!("upperdir={}", shown(&upper)),
                format!("workdir={}", shown(&work)),
            ];
            for options in [words.to_vec(), vec![words.join(",")]] {
                let mut bundle = s.bundle();
                let mut all = vec!["nosuid".to_owned()];
                all.extend(options);
                bundle.mount(json!({ "destination": "/mnt", "type": "overlay", "source": "o".repeat(300), "options": all }));
                bundle.shell("ls /mnt; echo new > /mnt/new; grep ' /mnt ' /proc/self/mountinfo | cut -d' ' -f6; grep -c -v ' overlay ' /proc/self/mountinfo > /dev/null; pwd");
                let outcome = s.run(&bundle).ok();
                let files = (0..6)
                    .map(|index| format!("file{index}\n"))
                    .collect::<String>();
                assert_eq!(outcome.stdout, format!("{files}rw,nosuid,relatime\n/\n"));
                let new = upper.join("new");
                assert_eq!(fs::read_to_string(&new).expect("upper"), "new\n");
                fs::remove_file(new).expect("rm");
            }
        }
        let (mut bundle, page) = (s.bundle(), s.page_size());
        bundle.mount(
            json!({ "destination": "/mnt", "type": "overlay", "source": "overlay",
                             "options": [format!("lowerdir={}", "/y".repeat(page / 2))] }),
        );
        let outcome = s.run(&bundle);
        if s.subject.is_locule() {
            outcome.fails_with(&["/mounts/7/options", &(page - 1).to_string()]);
        } else {
            outcome.fails();
        }
    });
}

/// The same for an ordinary user, and nothing of how it is made stays.
#[test]
fn a_long_overlay_is_mounted_for_a_user() {
    sandbox::user(|s| {
        let long = s.dir.join("x".repeat(200));
        let lower = (0..2).map(|index| long.join(index.to_string()));
        let lower: Vec<_> = lower.collect();
        for folder in &lower {
            fs::create_dir_all(folder).expect("mkdir");
        }
        fs::write(lower[0].join("file"), "").expect("write");
        let lower: Vec<_> = lower
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut bundle = s.bundle();
        bundle.mount(
            json!({ "destination": "/mnt", "type": "overlay", "source": "overlay",
                             "options": ["ro", format!("lowerdir={}", lower.join(":"))] }),
        );
        bundle.shell("ls /mnt; cut -d' ' -f5 /proc/self/mountinfo | grep -c -e '^/$' -e mount$");
        s.run(&bundle).prints("file\n1");
    });
}

/// One string may hold several options, as mount(8) writes them.
#[test]
fn one_string_may_hold_several_options() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(tmpfs("/mnt", &["size=1m,nr_inodes=10,mode=700"]));
        let line = line(s, &mut bundle, "/mnt");
        for wanted in ["size=1024k", "nr_inodes=10", "mode=700"] {
            assert!(line.contains(wanted), "{line}");
        }
    });
}

/// The propagation options: "private, shared, slave, unbindable" and their recursive forms.
#[test]
fn mounts_have_the_propagation_asked_for() {
    sandbox::host(|s| {
        for (option, wanted) in [
            ("shared", "shared:"),
            ("rshared", "shared:"),
            ("slave", "master:"),
            ("rslave", "master:"),
            ("unbindable", "unbindable"),
            ("private", ""),
            ("rprivate", ""),
        ] {
            let folder = s.dir.join(option);
            fs::create_dir(&folder).expect("mkdir");
            let mut bundle = s.bundle();
            bundle.bind(&folder, "/mnt", &[option]);
            let line = line(s, &mut bundle, "/mnt");
            let tags = line
                .split(" - ")
                .next()
                .expect("fields")
                .split(' ')
                .skip(6)
                .collect::<Vec<_>>()
                .join(" ");
            assert!(
                if wanted.is_empty() {
                    tags.is_empty()
                } else {
                    tags.contains(wanted)
                },
                "{option}: {line}"
            );
        }
    });
}

/// A slave mount sees what the host mounts later; a private one does not.
#[test]
fn a_slave_mount_follows_the_host() {
    sandbox::host(|s| {
        for (option, seen) in [("rslave", "yes"), ("rprivate", "no")] {
            let folder = s.dir.join(option);
            fs::create_dir(&folder).expect("mkdir");
            let place = folder.to_str().expect("UTF-8");
            s.tool("mount", &["--bind", place, place]);
            fs::create_dir(folder.join("later")).expect("mkdir");
            let mut bundle = s.bundle();
            bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": folder, "options": ["rbind", option] }));
            bundle.shell("trap 'test -e /mnt/later/file && echo yes || echo no; exit' USR1; echo ready; while :; do sleep 0.01; done");
            let container = s.started(&bundle);
            container.wait_output("ready");
            let later = folder.join("later");
            let later = later.to_str().expect("UTF-8");
            s.tool("mount", &["-t", "tmpfs", "tmpfs", later]);
            fs::write(folder.join("later/file"), "").expect("write");
            container.kill("USR1").ok();
            assert_eq!(container.finish(), format!("ready\n{seen}\n"), "{option}");
            s.tool("umount", &["--recursive", place]);
        }
    });
}

/// A tmpfs without `mode=` takes the mode of the directory that it covers.
#[test]
fn a_tmpfs_inherits_the_mode_it_covers() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        fs::create_dir(bundle.root().join("odd")).expect("mkdir");
        fs::set_permissions(
            bundle.root().join("odd"),
            fs::Permissions::from_mode(0o1751),
        )
        .expect("chmod");
        bundle
            .mount(tmpfs("/odd", &[]))
            .args(&["stat", "-c", "%a", "/odd"]);
        s.run(&bundle).prints("1751");
        bundle.unmount("/odd");
        bundle.mount(tmpfs("/odd", &["mode=700"]));
        if !s.subject.is_locule() {
            return; // runc 1.1 lets the covered directory win
        }
        s.run(&bundle).prints("700");
    });
}

/// "If the option is not listed, it SHOULD be passed to the filesystem": and the file system may
/// refuse, which is an error that names it.
#[test]
fn unknown_options_go_to_the_file_system() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(tmpfs("/mnt", &["size=4k", "nr_inodes=10"]));
        let line = line(s, &mut bundle, "/mnt");
        assert!(
            line.contains("size=4k") && line.contains("nr_inodes=10"),
            "{line}"
        );
        bundle
            .unmount("/mnt")
            .mount(tmpfs("/mnt", &["no-such-option"]));
        s.try_create(&bundle, &s.id(), &[]).fails_with(&["/mnt"]);
    });
}

/// A source that is not there is an error that names it; nothing is made.
#[test]
fn a_missing_bind_source_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let missing = s.dir.join("missing");
        bundle.bind(&missing, "/mnt", &[]);
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["missing", "no such file"]);
        assert!(!missing.exists());
    });
}

/// "source ... bind: ... relative to the bundle."
#[test]
fn a_relative_source_counts_from_the_bundle() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        fs::create_dir(bundle.path.join("data")).expect("mkdir");
        fs::write(bundle.path.join("data/file"), "x\n").expect("write");
        bundle.mount(
            json!({ "destination": "/mnt", "type": "bind", "source": "data", "options": ["bind"] }),
        );
        bundle.args(&["cat", "/mnt/file"]);
        s.run(&bundle).prints("x");
    });
}

/// "destination ... If it is relative, it MUST be interpreted as relative to /."
#[test]
fn a_relative_destination_counts_from_the_root() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(tmpfs("mnt/inner", &[]));
        line(s, &mut bundle, "/mnt/inner");
    });
}

/// sysfs is the business of the owner of the network namespace; `ro` in the default configuration
/// holds.
#[test]
fn the_default_sysfs_is_read_only() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("touch /sys/kernel/x");
        s.run(&bundle).fails_with(&["Read-only"]);
    });
}

/// copy-symlink of crun: a source that is a symlink arrives as that symlink.
#[test]
fn copy_symlink_copies_the_link_itself() {
    sandbox::host(|s| {
        if s.is_control("an option of crun") {
            return;
        }
        let link = s.dir.join("link");
        symlink("/target/of/link", &link).expect("symlink");
        let mut bundle = s.bundle();
        bundle
            .writable()
            .bind(&link, "/mnt/link", &["copy-symlink"])
            .args(&["readlink", "/mnt/link"]);
        s.run(&bundle).prints("/target/of/link");
    });
}

/// `rbind` and `bind` together, in either order, are recursive.
#[test]
fn rbind_and_bind_are_recursive() {
    sandbox::host(|s| {
        let folder = s.dir.join("volume");
        fs::create_dir_all(folder.join("below")).expect("mkdir");
        let below = folder.join("below");
        let below = below.to_str().expect("UTF-8");
        s.tool("mount", &["-t", "tmpfs", "tmpfs", below]);
        for words in [["rbind", "bind"], ["bind", "rbind"]] {
            let mut bundle = s.bundle();
            bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": folder, "options": words }));
            line(s, &mut bundle, "/mnt/below");
        }
        s.tool("umount", &[below]);
    });
}

/// rootfsPropagation may be private or unbindable: a volume with `rslave` is a slave of the host's
/// mount all the same.
#[test]
fn a_slave_volume_stays_one_whatever_the_root_is() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 makes it private") {
            return;
        }
        let all = "private rprivate unbindable runbindable slave rshared";
        for propagation in all.split(' ') {
            for word in ["slave", "rslave"] {
                let folder = s.dir.join(format!("{propagation}-{word}"));
                fs::create_dir(&folder).expect("mkdir");
                let mut bundle = s.bundle();
                bundle.set("/linux/rootfsPropagation", json!(propagation));
                bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": folder, "options": ["rbind", word] }));
                let line = line(s, &mut bundle, "/mnt");
                assert!(line.contains(" master:"), "{propagation} {word}: {line}");
                let shared = propagation == "rshared"; // with the mounts of the container alone
                assert_eq!(
                    line.contains(" shared:"),
                    shared,
                    "{propagation} {word}: {line}"
                );
            }
        }
    });
}

/// A source below the container's own root is what earlier mounts have made of it: below one, and
/// above one.
#[test]
fn a_source_below_the_root_shows_earlier_mounts() {
    sandbox::host(|s| {
        let volume = s.dir.join("volume");
        fs::create_dir_all(volume.join("deep")).expect("mkdir");
        fs::write(volume.join("deep/file"), "").expect("write");
        let mut bundle = s.bundle();
        fs::create_dir_all(bundle.root().join("over/at/deep")).expect("mkdir");
        bundle.file("/over/at/deep/hidden", "", 0o644);
        let root = bundle.root();
        bundle.bind(&volume, "/over/at", &["rw"]);
        bundle.bind(&root.join("over/at/deep"), "/one", &[]);
        bundle.mount(json!({ "destination": "/two", "type": "bind", "source": root.join("over"), "options": ["rbind", "ro"] }));
        bundle
            .shell("ls /one /two/at/deep; touch /one/new; touch /two/new 2> /dev/null || echo ro");
        s.run(&bundle)
            .prints("/one:\nfile\n\n/two/at/deep:\nfile\nro");
    });
}

/// A directory on a file and the reverse: engines look for "not a directory".
#[test]
fn a_mount_of_another_type_than_its_mount_point_is_named() {
    sandbox::host(|s| {
        let (folder, file) = (s.dir.join("folder"), s.dir.join("file"));
        fs::create_dir(&folder).expect("mkdir");
        fs::write(&file, "").expect("write");
        let bind = |source, destination: &str| json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind"] });
        for (mount, destination) in [
            (bind(&folder, "/etc/passwd"), "/etc/passwd"),
            (bind(&file, "/etc"), "/etc"),
            (tmpfs("/etc/passwd", &[]), "/etc/passwd"),
            (
                json!({ "destination": "/etc/passwd", "type": "mqueue", "source": "mqueue" }),
                "/etc/passwd",
            ),
        ] {
            let mut bundle = s.bundle();
            let index = bundle.config["mounts"].as_array().expect("mounts").len();
            bundle.mount(mount);
            let outcome = s.run(&bundle);
            if s.subject.is_locule() {
                outcome.fails_with(&["not a directory", destination, &format!("/mounts/{index}")]);
            } else {
                outcome.fails();
            }
        }
    });
}

/// As many bind mounts as a full host has, by a caller with the usual soft limit on descriptors.
/// The program gets the caller's limit, or that of its configuration.
#[test]
fn many_binds_need_no_more_descriptors_than_the_hard_limit() {
    sandbox::host(|s| {
        let run = |bundle: &Bundle| {
            let mut command = std::process::Command::new("prlimit");
            command.arg("--nofile=1024:4096");
            s.run_by(command, bundle)
        };
        let mut bundle = s.bundle();
        let source = s.dir.join("source");
        fs::write(&source, "").expect("write");
        for number in 0..1500 {
            bundle.file(&format!("/many/{number}"), "", 0o644);
            bundle.bind(&source, &format!("/many/{number}"), &[]);
        }
        bundle.remove("/process/rlimits");
        bundle.shell("grep -c /many/ /proc/self/mountinfo; ulimit -Sn; ulimit -Hn");
        run(&bundle).prints("1500\n1024\n4096");
        let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        let mut bundle = s.bundle();
        bundle
            .set("/process/rlimits", limit)
            .shell("ulimit -Sn; ulimit -Hn");
        run(&bundle).prints("100\n200");
    });
}

/// The device of a file system is named when it cannot be mounted.
#[test]
fn a_missing_device_is_named() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(
            json!({ "destination": "/mnt", "type": "ext4", "source": "/dev/absent", "options": ["ro"] }),
        );
        s.run(&bundle)
            .fails_with(&["/dev/absent", "/mnt", "no such file or directory"]);
    });
}

/// A volume without `type` and without the option bind, as people write it first.
#[test]
fn a_mount_that_names_no_file_system_is_named() {
    sandbox::host(|s| {
        if s.is_control("runc prints the errno alone") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/mounts", json!([]));
        bundle.mount(json!({ "destination": "/data", "source": s.dir.to_str() }));
        s.run(&bundle)
            .fails_with(&["/mounts/0/type", "/data", "bind or rbind"]);
    });
}

/// mount_namespaces(7), user_namespaces(7): what the kernel refuses in a user namespace has the
/// reason, since its errno is the same for all of them.
#[test]
fn what_a_user_namespace_cannot_mount_is_explained() {
    sandbox::host(|s| {
        if s.is_control("runc prints the errno alone") {
            return;
        }
        let fails = |kind: &str, options: &[&str], said: &str| {
            let mut bundle = s.bundle();
            bundle.user_namespace(&[(0, 100_000, 65_536)]);
            bundle.inherit("ipc").set("/mounts", json!([]));
            bundle.mount(
                json!({ "destination": "/mnt", "type": kind, "source": kind, "options": options }),
            );
            s.run(&bundle).fails_with(&["/mounts/0", kind, said]);
        };
        fails("mqueue", &[], "an IPC namespace of its own");
        fails("debugfs", &[], "root of the initial user namespace");
        fails(
            "tmpfs",
            &["uid=70000"],
            "the user namespace does not map it",
        );
        s.tool("mount", &["--bind", "/dev/null", "/proc/uptime"]);
        fails("proc", &[], "only where a complete one is visible");
        s.tool("umount", &["/proc/uptime"]);
    });
}
