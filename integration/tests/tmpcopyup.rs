//! The option `tmpcopyup`: what a tmpfs copies from the directory that it covers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use integration::mount_table::tmpfs;
use integration::sandbox;
use serde_json::json;

/// "tmpcopyup: copy up the contents to a tmpfs", attributes and links kept.
#[test]
fn tmpcopyup_copies_what_it_covers() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/data/deep/file", "content\n", 0o640);
        chown(bundle.root().join("data/deep/file"), Some(7), Some(8)).expect("chown");
        symlink("deep/file", bundle.root().join("data/link")).expect("symlink");
        bundle.mount(tmpfs("/data", &["tmpcopyup"]));
        bundle.shell("cat /data/link; stat -c '%a %u %g' /data/deep/file; readlink /data/link; echo new > /data/deep/file");
        bundle.capabilities(
            &["bounding", "effective", "permitted"],
            &["CAP_DAC_OVERRIDE"],
        );
        s.run(&bundle).prints("content\n640 7 8\ndeep/file");
        let below = fs::read_to_string(bundle.root().join("data/deep/file")).expect("file");
        assert_eq!(below, "content\n", "the root file system is as it was");
    });
}

/// tmpcopyup takes mode, owner and group from the covered directory; what the mount's own options
/// say wins.
#[test]
fn options_win_over_what_tmpcopyup_copies() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 copies no owner of the covered directory") {
            return;
        }
        for (options, shown) in [
            (vec!["tmpcopyup"], "750 7 8"),
            (vec!["tmpcopyup", "mode=1711"], "1711 7 8"),
            (vec!["tmpcopyup", "uid=5"], "750 5 8"),
            (vec!["tmpcopyup", "mode=700", "uid=5", "gid=6"], "700 5 6"),
        ] {
            let mut bundle = s.bundle();
            bundle.file("/data/file", "", 0o644);
            let data = bundle.root().join("data");
            fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).expect("chmod");
            chown(&data, Some(7), Some(8)).expect("chown");
            bundle.mount(tmpfs("/data", &options));
            bundle.args(&["stat", "-c", "%a %u %g", "/data"]);
            s.run(&bundle).prints(shown);
        }
    });
}

/// CVE-2026-133553: the destination of a tmpfs with tmpcopyup is looked up once: what is copied is
/// what is covered, also while a neighbour changes what a link says.
#[test]
fn cve_2026_133553_tmpcopyup_copies_what_it_covers() {
    sandbox::host(|s| {
        for _ in 0..30 {
            let mut bundle = s.bundle();
            for name in ["one", "two"] {
                bundle.file(&format!("/{name}/{name}"), "", 0o644);
            }
            let root = bundle.root();
            symlink("one", root.join("flip")).expect("symlink");
            bundle.mount(json!({ "destination": "/flip", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
            bundle.shell("ls /one /two");
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for target in ["two", "one"].iter().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        symlink(target, root.join("next")).expect("symlink");
                        fs::rename(root.join("next"), root.join("flip")).expect("rename");
                    }
                });
                let outcome = s.run(&bundle);
                stop.store(true, Ordering::Relaxed);
                outcome.prints("/one:\none\n\n/two:\ntwo");
            });
            fs::remove_dir_all(&bundle.path).expect("rm");
        }
    });
}

/// tmpcopyup takes owner, mode and content of a file from one look at it: a neighbour that swaps
/// files gets no set-uid file with a content of its own. Every look-up is delayed, so that a swap
/// happens between two.
#[test]
fn tmpcopyup_does_not_mix_two_files() {
    sandbox::host(|s| {
        for _ in 0..3 {
            let mut bundle = s.bundle();
            let root = bundle.root();
            bundle.file("/program", "set-uid root", 0o4755);
            let mine = bundle.file("/mine", "x", 0o644);
            chown(&mine, Some(1000), Some(1000)).expect("chown");
            fs::create_dir(root.join("data")).expect("mkdir");
            let name = |index: usize| root.join(format!("data/{index}"));
            for index in 0..8 {
                fs::hard_link(&mine, name(index)).expect("link");
            }
            bundle.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
            bundle.shell("stat -c '%a %u %s' /data/* | sort -u");
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for source in ["program", "mine"].iter().cycle() {
                        for index in 0..8 {
                            if stop.load(Ordering::Relaxed) {
                                return;
                            }
                            fs::hard_link(root.join(source), root.join("next")).expect("link");
                            fs::rename(root.join("next"), name(index)).expect("rename");
                            // It is still there where both were one file.
                            let _ = fs::remove_file(root.join("next"));
                        }
                    }
                });
                let mut command = Command::new("strace");
                command.args([
                    "--follow-forks",
                    "--output",
                    "/dev/null",
                    "--trace",
                    "openat2",
                ]);
                command.args(["--inject", "openat2:delay_enter=3000"]);
                let outcome = s.run_by(command, &bundle);
                stop.store(true, Ordering::Relaxed);
                for line in outcome.ok().stdout.lines() {
                    assert!(matches!(line, "4755 0 12" | "644 1000 1"), "a mix: {line}");
                }
            });
            fs::remove_dir_all(&bundle.path).expect("rm");
        }
    });
}

/// tmpcopyup opens no device and no FIFO: it leaves them out, and `create` does not hang.
#[test]
fn tmpcopyup_leaves_devices_and_fifos_out() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/data/file", "", 0o644);
        let path = |name: &str| bundle.root().join("data").join(name);
        s.tool("mkfifo", &[path("fifo").to_str().expect("UTF-8")]);
        for (name, kind, minor) in [("null", "c", "3"), ("disk", "b", "0")] {
            let path = path(name);
            s.tool("mknod", &[path.to_str().expect("UTF-8"), kind, "1", minor]);
        }
        bundle.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
        bundle.args(&["ls", "/data"]);
        s.run(&bundle).prints("file");
    });
}
