//! The places of terminals: what an image or the host has at /dev/console and /dev/pts.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use integration::canary::Canary;
use integration::{Bundle, leak, sandbox};
use serde_json::json;

/// CVE-2025-52565, CVE-2026-88264: whatever the image has in the places of terminals, nothing
/// outside is touched, and the terminal is the container's own.
#[test]
fn cve_2025_52565_the_console_of_the_image_is_not_followed() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        let secret = canary.path.join("secret");
        for (index, target) in [
            secret.clone(),
            canary.path.join("new"),
            PathBuf::from("/proc/sysrq-trigger"),
            PathBuf::from("/etc/passwd"),
        ]
        .iter()
        .enumerate()
        {
            for readonly in [false, true] {
                let mut bundle =
                    s.bundle_with_terminal("stat -c %t:%T /dev/console /dev/pts/0; tty");
                bundle
                    .set("/root/readonly", json!(readonly))
                    .unmount("/dev")
                    .unmount("/dev/shm")
                    .unmount("/dev/mqueue");
                let dev = bundle.root().join("dev");
                let _is_there = fs::create_dir(&dev);
                symlink(target, dev.join("console")).expect("symlink");
                let outcome = s.run(&bundle);
                assert!(
                    outcome.status.success() || outcome.last_line().contains("/dev/console"),
                    "{index}: {}",
                    outcome.describe("the terminal or an error")
                );
                if outcome.status.success() {
                    assert_eq!(outcome.stdout, "88:0\n88:0\n/dev/pts/0\n");
                }
                canary.check();
            }
        }
    });
}

/// The same with a FIFO, a file and a directory: no open that waits, no write.
#[test]
fn what_stands_at_dev_console_is_covered() {
    sandbox::host(|s| {
        let script = "stat -c %t:%T /dev/console; echo written > /dev/console";
        let dev = |bundle: &mut Bundle| {
            bundle
                .unmount("/dev")
                .unmount("/dev/shm")
                .unmount("/dev/mqueue");
            let dev = bundle.root().join("dev");
            let _is_there = fs::create_dir(&dev);
            dev.join("console")
        };
        let mut with_fifo = s.bundle_with_terminal(script);
        let place = dev(&mut with_fifo);
        s.tool("mkfifo", &[place.to_str().expect("UTF-8")]);
        assert_eq!(s.run(&with_fifo).ok().stdout, "88:0\nwritten\n");
        let mut with_file = s.bundle_with_terminal(script);
        let place = dev(&mut with_file);
        fs::write(&place, "content").expect("write");
        assert_eq!(s.run(&with_file).ok().stdout, "88:0\nwritten\n");
        assert_eq!(fs::read_to_string(&place).expect("read"), "content");
        let mut with_folder = s.bundle_with_terminal(script);
        fs::create_dir(dev(&mut with_folder)).expect("mkdir");
        s.run(&with_folder)
            .fails_with(&["/process/terminal", "/dev/console", "directory"]);
    });
}

/// Where /dev of the container is a directory of the host, and mounts propagate to the host, the
/// terminal does not appear on the host's console.
#[test]
fn the_console_does_not_propagate_to_the_host() {
    sandbox::host(|s| {
        if s.is_control("runc mounts over the host's file") {
            return;
        }
        let dev = s.dir.join("dev");
        let folder = |name: &str| {
            let path = dev.join(name);
            fs::create_dir(&path).expect("mkdir");
            path.to_str().expect("UTF-8").to_owned()
        };
        fs::create_dir(&dev).expect("mkdir");
        let place = dev.to_str().expect("UTF-8");
        s.tool("mount", &["-t", "tmpfs", "dev", place]);
        s.tool(
            "mount",
            &[
                "-t",
                "devpts",
                "-o",
                "newinstance,ptmxmode=666",
                "pts",
                &folder("pts"),
            ],
        );
        File::create(dev.join("console")).expect("a file");
        let mut on_dev = s.bundle_with_terminal("stat -c %F /dev/console");
        for point in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            on_dev.unmount(point);
        }
        let mut on_console = s.bundle_with_terminal("stat -c %F /dev/console");
        on_dev
            .bind(&dev, "/dev", &["rbind", "rshared"])
            .set("/linux/rootfsPropagation", json!("shared"));
        on_console
            .bind(&dev.join("console"), "/dev/console", &["bind", "shared"])
            .set("/linux/rootfsPropagation", json!("shared"));
        for bundle in [&on_dev, &on_console] {
            let before = leak::mounts();
            let outcome = s.run(bundle).ok();
            assert_eq!(leak::mounts(), before);
            assert_eq!(outcome.text(), "regular empty file");
            let warned = outcome.stderr.contains("not placed at /dev/console");
            assert!(warned, "{}", outcome.stderr);
        }
        // With a /dev of its own the container has its console.
        let mut fresh = s.bundle_with_terminal("stat -c %F /dev/console");
        fresh
            .bind(&dev, "/mnt", &["rbind", "rshared"])
            .set("/linux/rootfsPropagation", json!("shared"));
        let before = leak::mounts();
        assert_eq!(s.run(&fresh).ok().text(), "character special file");
        assert_eq!(leak::mounts(), before);
        s.tool("umount", &["-R", place]);
    });
}

/// What is at /dev/pts must be a devpts: the terminal is made in nothing else, whatever a volume
/// has there.
#[test]
fn a_false_devpts_is_an_error() {
    sandbox::host(|s| {
        // A multiplexer node looks for terminals beside itself: these would be the host's.
        let volume = s.dir.join("volume");
        let pts = volume.join("pts");
        fs::create_dir_all(&pts).expect("mkdir");
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        s.tool(
            "mknod",
            &["-m", "666", &path(&volume.join("ptmx")), "c", "5", "2"],
        );
        s.tool(
            "mount",
            &[
                "-t",
                "devpts",
                "-o",
                "newinstance,ptmxmode=0666",
                "devpts",
                &path(&pts),
            ],
        );
        let mut bound = s.bundle_with_terminal("echo reached");
        bound.unmount("/dev/pts").set(
            "/mounts/-",
            json!({ "destination": "/dev/pts", "type": "bind", "source": volume, "options": ["rbind"] }),
        );
        s.run(&bound)
            .fails_with(&["/process/terminal", "no devpts"]);
        s.tool("umount", &[&path(&pts)]);
        let mut none = s.bundle_with_terminal("true");
        none.unmount("/dev/pts");
        s.run(&none)
            .fails_with(&["/process/terminal", "devpts", "/mounts"]);
    });
}
