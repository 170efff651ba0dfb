//! `root` and `rootfsPropagation`: config.md "Root", config-linux.md "Rootfs Mount Propagation".

use std::fs;
use std::os::unix::fs::symlink;

use integration::{Bundle, leak, sandbox};
use serde_json::json;

/// Row S37: "readonly (bool, OPTIONAL) If true then the root filesystem MUST be read-only inside
/// the container".
#[test]
fn a_readonly_root_refuses_writes() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("touch /new 2>&1; touch /etc/new 2>&1; ls -A /etc | wc -l; test -e /run/sandbox || echo alone");
        let before = fs::read_dir(bundle.root().join("etc"))
            .expect("etc")
            .count();
        let outcome = s.run(&bundle).ok();
        assert_eq!(
            outcome.stdout.matches("Read-only file system").count(),
            2,
            "{}",
            outcome.stdout
        );
        assert!(
            outcome.stdout.ends_with(&format!("{before}\nalone\n")),
            "{}",
            outcome.stdout
        );
    });
}

/// "readonly ... defaults to false."
#[test]
fn the_root_is_writable_by_default() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.remove("/root/readonly").shell("echo text > /new");
        s.run(&bundle).ok();
        assert_eq!(
            fs::read_to_string(bundle.root().join("new")).expect("file"),
            "text\n"
        );
    });
}

/// A read-only root stays so: `mount -o remount,rw /` is refused without CAP_SYS_ADMIN.
#[test]
fn a_readonly_root_cannot_be_remounted() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("mount -o remount,rw / ; touch /new");
        s.run(&bundle).fails();
    });
}

/// "path (string, REQUIRED) ... is either an absolute path or a relative path to the bundle."
#[test]
fn the_root_may_be_absolute() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let elsewhere = s.dir.join("elsewhere");
        fs::rename(bundle.root(), &elsewhere).expect("rename");
        bundle
            .set("/root/path", json!(elsewhere))
            .shell("echo here");
        s.run(&bundle).prints("here");
    });
}

/// "A directory MUST exist at the path declared by the field."
#[test]
fn a_missing_root_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/root/path", json!("nowhere"));
        s.try_create(&bundle, &s.id(), &[]).fails_with(&["nowhere"]);
    });
}

/// Row S9: the old root is gone after pivot_root: chroot(2) and `..` lead nowhere else.
#[test]
fn there_is_no_way_out_of_the_root() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .writable()
            .capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_CHROOT"]);
        bundle.shell(
            "ls /; cat /proc/self/mountinfo | grep -c ' /run/sandbox'; ls /../../../.. | wc -l; \
             mkdir /jail /jail/bin; cp /bin/busybox /jail/bin; chroot /jail /bin/busybox ls ../../../.. ",
        );
        let outcome = s.run(&bundle).ok();
        assert!(!outcome.stdout.contains("run\n"), "{}", outcome.stdout);
        assert!(
            outcome.stdout.contains("\n0\n"),
            "no mount of the host is named: {}",
            outcome.stdout
        );
        assert!(outcome.stdout.ends_with("bin\n"), "{}", outcome.stdout);
    });
}

/// --no-pivot: the same isolation where pivot_root is impossible.
#[test]
fn the_root_can_be_moved_instead_of_pivoted() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("test -e /run/sandbox || echo alone; ls /proc/1/root/bin/busybox");
        s.run_with(&bundle, &["--no-pivot"])
            .prints("alone\n/proc/1/root/bin/busybox");
    });
}

/// --no-pivot hides procfs mounts of the host, but none that is within the root, whatever its name.
#[test]
fn a_procfs_within_the_root_stays_without_pivot() {
    sandbox::host(|s| {
        for name in ["plain", "with space"] {
            let mut bundle = Bundle::make(s, s.dir.join(name));
            let point = bundle.root().join("inner");
            fs::create_dir_all(&point).expect("inner");
            let place = point.to_str().expect("UTF-8");
            s.tool("mount", &["-t", "proc", "proc", place]);
            bundle.shell("test -e /inner/self/status && echo there");
            s.run_with(&bundle, &["--no-pivot"]).prints("there");
            s.tool("umount", &[place]);
        }
    });
}

/// "rootfsPropagation (string, OPTIONAL) sets the rootfs's mount propagation. Its value is either
/// shared, slave, private or unbindable."
#[test]
fn the_root_has_the_propagation_asked_for() {
    sandbox::host(|s| {
        let old = !s.subject.is_locule();
        for (value, tag) in [
            ("shared", "shared:"),
            ("slave", "master:"),
            ("private", " - "),
            ("unbindable", "unbindable"),
        ] {
            if old && ["shared", "unbindable"].contains(&value) {
                continue; // runc 1.1 loses these two when it pivots
            }
            let mut bundle = s.bundle();
            bundle.set("/linux/rootfsPropagation", json!(value));
            bundle.args(&[
                "grep",
                "-E",
                "^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ",
                "/proc/self/mountinfo",
            ]);
            let outcome = s.run(&bundle).ok();
            if value == "slave" {
                assert!(
                    !outcome.stdout.contains("shared:"),
                    "{value}: {}",
                    outcome.stdout
                );
            } else {
                assert!(outcome.stdout.contains(tag), "{value}: {}", outcome.stdout);
            }
            if value == "private" {
                assert!(
                    !outcome.stdout.contains("shared:") && !outcome.stdout.contains("master:"),
                    "{}",
                    outcome.stdout
                );
            }
        }
    });
}

/// The same sentence: without the property nothing that the host mounts in the directory later is
/// seen in the container, as with runc since 1.2 and with crun. `/` of the sandbox is shared.
#[test]
fn the_root_is_private_unless_the_configuration_says_otherwise() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves it a slave of the host's mount") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["cat", "/proc/self/mountinfo"]);
        for property in [None, Some("private")] {
            if let Some(value) = property {
                bundle.set("/linux/rootfsPropagation", json!(value));
            }
            let table = s.run(&bundle).ok().stdout;
            let root = table
                .lines()
                .find(|line| line.contains(" / / ") || line.contains("rootfs / "));
            let root = root.unwrap_or_else(|| panic!("{table}"));
            assert!(
                !root.contains("master:") && !root.contains("shared:"),
                "{property:?}: {root}"
            );
        }
    });
}

/// The same sentence. "rshared" is mount(8)'s form for a mount and all below it; Kubernetes asks
/// for it with a volume that propagates both ways.
#[test]
fn rshared_is_for_all_mounts_below_the_root_too() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 loses both when it pivots") {
            return;
        }
        for (value, tag, everywhere) in [
            ("rshared", " shared:", true),
            ("shared", " shared:", false),
            ("runbindable", " unbindable ", false),
            ("unbindable", " unbindable ", false),
        ] {
            let mut bundle = s.bundle();
            bundle.set("/linux/rootfsPropagation", json!(value));
            bundle.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" }));
            bundle.args(&["cat", "/proc/self/mountinfo"]);
            let table = s.run(&bundle).ok().stdout;
            for place in ["/proc", "/dev", "/mnt"] {
                let line = table
                    .lines()
                    .find(|line| line.contains(&format!(" / {place} ")));
                let line = line.unwrap_or_else(|| panic!("{place}: {table}"));
                assert_eq!(line.contains(tag), everywhere, "{value}: {line}");
            }
        }
    });
}

/// Row S8: mounts of the container do not reach the host, whose `/` is shared; the leak check
/// compares the whole table again.
#[test]
fn mounts_do_not_leak_to_the_host() {
    sandbox::host(|s| {
        let before = leak::mounts();
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" }));
        bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
        bundle.shell("mount -t tmpfs inner /tmp && echo mounted && sleep 1000");
        let container = s.started(&bundle);
        container.wait_output("mounted");
        assert_eq!(leak::mounts(), before);
        container.remove();
    });
}

/// The bundle may be reached through a symlink; the program finds itself in the root behind it.
#[test]
fn the_bundle_may_be_a_symlink() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("echo here").write();
        let link = s.dir.join("link");
        symlink(&bundle.path, &link).expect("symlink");
        let mut command = s.command();
        command.arg("run").arg("--bundle").arg(&link).arg(s.id());
        s.finish(command, Some(&bundle)).prints("here");
    });
}
