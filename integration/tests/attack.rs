//! Attacks of a hostile image, configuration or neighbour: each CVE that create and run can have,
//! by name.
//!
//! docs/security.md lists CVE, design rule and test. Every test here points the attack at a canary
//! tree in its own sandbox and allows two verdicts: refused with an error, or started and safe.
//! Those for which runc 1.1.5 is no control were seen to fail with it (`LOCULE_UNSKIPPED=1
//! LOCULE_RUNTIME=runc`).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use integration::canary::{Canary, safe_or_refused};
use integration::{Bundle, sandbox};
use serde_json::json;

const HOLE: &str = "runc 1.1.5 has this hole";

/// Replaces a directory of the root file system by a symlink.
fn relink(bundle: &Bundle, name: &str, target: impl AsRef<Path>) {
    let place = bundle.root().join(name);
    fs::remove_dir_all(&place).expect("rm");
    symlink(target, place).expect("symlink");
}

/// The ways in which a link of an image may point at `to` on the host.
fn links(bundle: &Bundle, to: &Path) -> Vec<std::path::PathBuf> {
    let up = Path::new("../../../../../../../..").join(to.strip_prefix("/").expect("absolute"));
    symlink(to, bundle.root().join("hop")).expect("symlink");
    vec![
        to.to_owned(),
        up,
        Path::new("/hop").to_owned(),
        Path::new("hop").to_owned(),
    ]
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: /proc and /sys of the image are
/// links.
#[test]
fn cve_2019_19921_proc_and_sys_are_no_links() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        for name in ["proc", "sys"] {
            for target in [
                "/mnt",
                "/x/../mnt",
                "mnt",
                "/nowhere",
                name,
                canary.path.to_str().expect("UTF-8"),
            ] {
                let bundle = s.bundle();
                relink(&bundle, name, target);
                let outcome = s.run(&bundle);
                if name == "proc" || s.subject.is_locule() {
                    outcome.fails_with(&[name]);
                }
                canary.check();
            }
        }
    });
}

/// CVE-2023-27561: the same link under other spellings of the destination.
#[test]
fn cve_2023_27561_other_spellings_of_proc_are_no_way_around() {
    sandbox::host(|s| {
        for destination in ["/proc/", "//proc", "/./proc", "/x/../proc", "proc"] {
            let mut bundle = s.bundle();
            relink(&bundle, "proc", "/mnt");
            bundle.set("/mounts/0/destination", json!(destination));
            let outcome = s.run(&bundle);
            assert!(
                !outcome.status.success(),
                "{destination}: {}",
                outcome.describe("wanted an error")
            );
        }
    });
}

/// CVE-2019-16884, CVE-2025-52881: nothing but a procfs may cover /proc, and nothing may stand in
/// for the files that the runtime writes.
#[test]
fn cve_2019_16884_mounts_do_not_cover_proc() {
    sandbox::host(|s| {
        let folder = s.dir.join("fake");
        fs::create_dir(&folder).expect("mkdir");
        let file = s.dir.join("file");
        fs::write(&file, "").expect("write");
        for (source, destination) in [
            (&folder, "/proc"),
            (&folder, "/proc/self/attr"),
            (&file, "/proc/self/attr/exec"),
            (&folder, "/proc/sys"),
            (&file, "/proc/self/oom_score_adj"),
            (&folder, "/proc/1"),
            (&file, "/proc/thread-self/attr/exec"),
        ] {
            let mut bundle = s.bundle();
            bundle.bind(source, destination, &[]);
            let outcome = s.run(&bundle);
            assert!(
                !outcome.status.success(),
                "{destination}: {}",
                outcome.describe("wanted an error")
            );
        }
    });
}

/// CVE-2021-30465, CVE-2019-18837: mount destinations through links of the image.
#[test]
fn cve_2021_30465_destinations_through_links_stay_inside() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        for target in links(&s.bundle(), &canary.path.join("folder")) {
            let mut bundle = s.bundle();
            symlink(canary.path.join("folder"), bundle.root().join("hop")).expect("symlink");
            symlink(&target, bundle.root().join("vol")).expect("symlink");
            let source = s.dir.join(format!("source{}", target.components().count()));
            fs::create_dir_all(&source).expect("mkdir");
            bundle
                .writable()
                .mount(json!({ "destination": "/vol/deep", "type": "tmpfs", "source": "tmpfs" }));
            bundle
                .bind(&source, "/vol", &["rw"])
                .shell("touch /vol/deep/x /vol/y; ls / | grep -q '^canary' && echo ESCAPED");
            let outcome = s.run(&bundle);
            // What was mounted elsewhere is not there for the program.
            let started = !outcome.stderr.contains("error: ");
            assert_eq!(
                started,
                source.join("y").exists(),
                "{}",
                outcome.describe("the volume")
            );
            safe_or_refused(outcome);
            canary.check();
        }
    });
}

/// CVE-2021-30465 as a race: a neighbour with a shared volume flips a component between a directory
/// and links out of it.
#[test]
fn cve_2021_30465_a_racing_neighbour_gets_nothing_mounted_outside() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        let volume = s.dir.join("volume");
        fs::create_dir_all(volume.join("inner")).expect("mkdir");
        symlink("inner", volume.join("flip")).expect("symlink");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let targets = [
                    "inner",
                    canary.path.to_str().expect("UTF-8"),
                    "../../../../../../run/sandbox/canary",
                ];
                for target in targets.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    symlink(target, volume.join("next")).expect("symlink");
                    fs::rename(volume.join("next"), volume.join("flip")).expect("rename");
                }
            });
            for round in 0..20 {
                let mut bundle = s.bundle();
                bundle.bind(&volume, "/vol", &["rw"]);
                bundle.mount(json!({ "destination": format!("/vol/flip/made{round}/deep"), "type": "tmpfs", "source": "tmpfs" }));
                bundle.bind(&volume.join("inner"), "/vol/flip/folder", &["rw"]);
                bundle.shell("test -e /vol/flip/secret && echo ESCAPED; true");
                safe_or_refused(s.run(&bundle));
                fs::remove_dir_all(&bundle.path).expect("rm");
            }
            stop.store(true, Ordering::Relaxed);
        });
        canary.check();
    });
}

/// CVE-2021-30465: every source is taken before the first mount is made, so none can lie below a
/// mount that was led astray.
#[test]
fn cve_2021_30465_sources_are_taken_before_the_first_mount() {
    sandbox::host(|s| {
        if s.is_control("the order in which locule works") {
            return;
        }
        let trace = s.dir.join("trace");
        // The first run of a boot makes the base, with mounts of its own.
        s.run(&s.bundle()).ok();
        let mut bundle = s.bundle();
        let sources = ["one", "two", "three"].map(|name| s.dir.join(name));
        for source in &sources {
            fs::create_dir(source).expect("mkdir");
            let name = source.file_name().expect("a name").to_string_lossy();
            bundle.bind(source, &format!("/mnt/{name}"), &[]);
        }
        let mut command = Command::new("strace");
        command.arg("--follow-forks").arg("--output").arg(&trace);
        command.args(["--trace", "open_tree,move_mount"]);
        command.arg(&s.subject.program).arg("--root").arg(&s.state);
        command.arg("run").arg("--bundle").arg(bundle.write());
        command.arg(s.id());
        s.finish(command, Some(&bundle)).ok();
        let text = fs::read_to_string(&trace).expect("trace");
        let first = text.find("move_mount(").expect("a mount");
        for source in &sources {
            let name = format!("\"{}\"", source.display());
            let calls: Vec<_> = text.match_indices(&name).map(|(at, _)| at).collect();
            assert_eq!(calls.len(), 1, "{name}: {text}");
            assert!(calls[0] < first, "{name}: {text}");
        }
    });
}

/// CVE-2024-45310: mount points that are missing are not made outside.
#[test]
fn cve_2024_45310_mount_points_are_not_made_outside() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        let file = s.dir.join("file");
        fs::write(&file, "").expect("write");
        for target in links(&s.bundle(), &canary.path) {
            let mut bundle = s.bundle();
            symlink(&canary.path, bundle.root().join("hop")).expect("symlink");
            symlink(&target, bundle.root().join("vol")).expect("symlink");
            bundle
                .bind(&s.dir.join("state"), "/vol/x/y/z", &[])
                .bind(&file, "/vol/new/file", &[]);
            safe_or_refused(s.run(&bundle));
            canary.check();
        }
    });
}

/// CVE-2025-31133, CVE-2025-62161: /dev/null of the image is something else; every masked path is
/// masked all the same, or nothing runs.
#[test]
fn cve_2025_31133_masks_do_not_borrow_the_images_null() {
    sandbox::host(|s| {
        if s.is_control(HOLE) {
            return;
        }
        let canary = Canary::make(s);
        for variant in ["link", "fifo", "file", "zero", "folder", "missing"] {
            let mut bundle = s.bundle();
            for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                bundle.unmount(place);
            }
            let null = bundle.root().join("dev/null");
            let place = null.to_str().expect("UTF-8").to_owned();
            match variant {
                "link" => symlink(canary.path.join("secret"), &null).expect("symlink"),
                "fifo" => drop(s.tool("mkfifo", &[&place])),
                "file" => fs::write(&null, "content").expect("write"),
                "zero" => drop(s.tool("mknod", &[&place, "c", "1", "5"])),
                "folder" => fs::create_dir(&null).expect("mkdir"),
                _ => {}
            }
            bundle.file("/secret", "masked text", 0o644);
            bundle.bind(&bundle.root().join("dev"), "/dev", &["rw"]);
            bundle.set("/linux/maskedPaths", json!(["/secret", "/proc/keys"]));
            bundle.shell("for p in /secret /proc/keys; do test \"$(stat -c %t:%T $p)\" = 1:3 || echo ESCAPED $p; cat $p; done");
            safe_or_refused(s.run(&bundle));
            canary.check();
        }
    });
}

/// CVE-2026-41579, CVE-2026-47766: /dev of the image is a link to a directory of the host.
#[test]
fn cve_2026_41579_nothing_is_made_or_removed_behind_a_linked_dev() {
    sandbox::host(|s| {
        if s.is_control(HOLE) {
            return;
        }
        let canary = Canary::make(s);
        for mounted in [false, true] {
            for target in links(&s.bundle(), &canary.path) {
                let mut bundle = s.bundle();
                symlink(&canary.path, bundle.root().join("hop")).expect("symlink");
                relink(&bundle, "dev", &target);
                if !mounted {
                    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                        bundle.unmount(place);
                    }
                }
                bundle.writable().set(
                    "/linux/devices",
                    json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }]),
                );
                safe_or_refused(s.run(&bundle));
                canary.check();
            }
        }
    });
}

/// CVE-2026-88265, runc#3674: the stdio of the runtime is never replaced by, nor chowned as, what
/// the image calls /dev/null.
#[test]
fn cve_2026_88265_stdio_is_not_taken_from_the_image() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        for target in [canary.path.join("secret"), canary.path.join("null")] {
            let mut bundle = s.bundle();
            for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                bundle.unmount(place);
            }
            symlink(&target, bundle.root().join("dev/null")).expect("symlink");
            bundle.writable().user(1000, 1000);
            let mut command = s.command();
            command
                .arg("run")
                .arg("--bundle")
                .arg(bundle.write())
                .arg(s.id());
            safe_or_refused(s.finish(command, Some(&bundle)));
            canary.check();
        }
    });
}

/// CVE-2024-21626: a descriptor that the caller or the runtime leaks is no way out, by cwd or by
/// the program's path.
#[test]
fn cve_2024_21626_leaked_descriptors_are_no_way_out() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        for number in 3..24 {
            for base in ["/proc/self/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
                if base != "/proc/self/fd" && number > 9 {
                    continue;
                }
                let mut bundle = s.bundle();
                bundle.set("/process/cwd", json!(format!("{base}/{number}")));
                bundle.shell("test -e secret && echo ESCAPED; test -e ../canary && echo ESCAPED; test -e /proc/self/cwd/../../run/sandbox && echo ESCAPED; true");
                bundle.write();
                let script = format!("exec 7< {}; exec \"$@\"", canary.path.display());
                let mut command = Command::new("sh");
                command
                    .args(["-c", &script, "sh"])
                    .arg(&s.subject.program)
                    .arg("--root")
                    .arg(&s.state);
                command
                    .arg("run")
                    .arg("--bundle")
                    .arg(&bundle.path)
                    .arg(s.id());
                safe_or_refused(s.finish(command, Some(&bundle)));
                fs::remove_dir_all(&bundle.path).expect("rm");
            }
        }
        canary.check();
    });
}

/// CVE-2024-21626: the same through a symlink of the image, and as the program.
#[test]
fn cve_2024_21626_links_to_descriptors_are_no_way_out() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        fs::write(canary.path.join("folder/file"), "#!/bin/sh\necho ESCAPED\n").expect("write");
        for number in 3..12 {
            let mut bundle = s.bundle();
            symlink(format!("/proc/self/fd/{number}"), bundle.root().join("way")).expect("symlink");
            bundle
                .set("/process/cwd", json!("/way"))
                .shell("test -e secret && echo ESCAPED; true")
                .write();
            let script = format!("exec 7< {}; exec \"$@\"", canary.path.display());
            let run = |bundle: &Bundle| {
                let mut command = Command::new("sh");
                command
                    .args(["-c", &script, "sh"])
                    .arg(&s.subject.program)
                    .arg("--root")
                    .arg(&s.state);
                command
                    .arg("run")
                    .arg("--bundle")
                    .arg(bundle.write())
                    .arg(s.id());
                s.finish(command, Some(bundle))
            };
            safe_or_refused(run(&bundle));
            bundle
                .set("/process/cwd", json!("/"))
                .args(&[&format!("/proc/self/fd/{number}/folder/file")]);
            safe_or_refused(run(&bundle));
        }
    });
}

/// CVE-2026-55686 of Podman: a missing cwd below a link is made inside or not at all.
#[test]
fn cve_2026_55686_the_working_directory_is_not_made_outside() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        for target in links(&s.bundle(), &canary.path) {
            let mut bundle = s.bundle();
            symlink(&canary.path, bundle.root().join("hop")).expect("symlink");
            symlink(&target, bundle.root().join("link")).expect("symlink");
            bundle
                .writable()
                .set("/process/cwd", json!("/link/new/deep"));
            safe_or_refused(s.run(&bundle));
            canary.check();
        }
    });
}

/// CVE-2025-24965: no file that a runtime could write is written through a link of the image.
#[test]
fn cve_2025_24965_planted_names_are_not_written() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        let mut bundle = s.bundle();
        for name in [
            "config.json",
            "exec.fifo",
            "state.json",
            ".locule",
            ".krun_config.json",
            "etc/hostname",
            "etc/resolv.conf",
            "dev/console",
        ] {
            symlink(canary.path.join("secret"), bundle.root().join(name)).expect("symlink");
        }
        bundle
            .writable()
            .unmount("/dev")
            .unmount("/dev/pts")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue");
        safe_or_refused(s.run(&bundle));
        canary.check();
    });
}

/// CVE-2023-25809: the host's /sys stands in for one of the container's own, and a group that
/// belongs to the user lies below it. The container cannot write there.
#[test]
fn cve_2023_25809_cgroups_of_the_host_are_not_writable() {
    sandbox::user(|s| {
        let places = ["unified", "pids", "."].map(|name| Path::new("/sys/fs/cgroup").join(name));
        let place = places.iter().find(|p| p.join("cgroup.procs").exists());
        let group = place.expect("cgroups").join(format!("{}-own", s.token));
        fs::create_dir(&group).expect("mkdir");
        s.give(&group);
        let mut bundle = s.bundle();
        bundle
            .inherit("network")
            .set("/linux/maskedPaths", json!([]));
        let group = group.display();
        bundle.shell(&format!(
            "test -O {group} || echo hidden; mkdir {group}/x && echo ESCAPED"
        ));
        let outcome = s.run(&bundle);
        let _made = fs::remove_dir(format!("{group}/x"));
        fs::remove_dir(format!("{group}")).expect("rmdir");
        assert!(
            outcome.stdout.is_empty() && outcome.stderr.contains("Read-only file system"),
            "{}",
            outcome.describe("wanted a refusal")
        );
    });
}

/// CVE-2020-15257: no abstract socket, which a container in the host's network namespace could
/// reach.
#[test]
fn cve_2020_15257_no_abstract_sockets() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.inherit("network").args(&["sleep", "1000"]);
        let container = s.create(&bundle);
        let sockets = fs::read_to_string("/proc/net/unix").expect("unix");
        assert!(!sockets.contains('@'), "{sockets}");
        container.start().ok();
        let sockets = fs::read_to_string("/proc/net/unix").expect("unix");
        assert!(!sockets.contains('@'), "{sockets}");
        container.remove();
    });
}

/// A stage that waits in `created` shows the container nothing of the host: no open directory, no
/// readable memory.
#[test]
fn a_created_container_holds_no_directory_of_the_host() {
    sandbox::host(|s| {
        let container = s.create(&s.bundle());
        let pid = container.pid();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("fds")
            .flatten()
        {
            let Ok(meta) = fs::metadata(entry.path()) else {
                continue;
            };
            let target = fs::read_link(entry.path()).unwrap_or_default();
            assert!(
                !meta.is_dir(),
                "descriptor {:?} is the directory {target:?}",
                entry.file_name()
            );
            let plain =
                meta.is_file() || meta.file_type().is_fifo() || meta.file_type().is_char_device();
            let named = target.to_string_lossy().contains(':');
            assert!(
                plain || named,
                "{target:?} mode {:o} inode {}",
                meta.permissions().mode(),
                meta.ino()
            );
        }
        container.remove();
    });
}

/// The image has a device in place of its passwd file, which the runtime reads for HOME. To open
/// one does something: here a writer wakes up, elsewhere a watchdog starts.
#[test]
fn a_passwd_file_that_is_none_is_not_opened() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 waits for the writer, and reads what it writes") {
            return;
        }
        let mut bundle = s.bundle();
        let passwd = bundle.root().join("etc/passwd");
        let name = passwd.to_str().expect("UTF-8");
        fs::remove_file(&passwd).expect("rm");
        s.tool("mkfifo", &[name]);
        let mut writer = Command::new("sh")
            .args(["-c", "exec 3> \"$0\"", name])
            .spawn()
            .expect("sh");
        // The kernel's function that waits for the other end of a FIFO.
        let path = format!("/proc/{}/wchan", writer.id());
        let waits = || fs::read_to_string(&path).is_ok_and(|call| call == "wait_for_partner");
        assert!(sandbox::eventually(waits), "no writer");
        bundle.args(&["sh", "-c", "echo $HOME"]);
        s.run(&bundle).prints("/");
        thread::sleep(Duration::from_millis(200));
        assert!(waits(), "the runtime has opened it");
        writer.kill().expect("kill");
        writer.wait().expect("wait");
    });
}

/// CVE-2026-115521: a read-only tmpfs is made read-only at the end, by its descriptor. A mount that
/// has taken its name since then is left as it is.
#[test]
fn cve_2026_115521_the_late_read_only_hits_the_right_mount() {
    sandbox::host(|s| {
        if s.is_control("runc remounts what has the name then") {
            return;
        }
        let volume = s.dir.join("volume");
        fs::create_dir(&volume).expect("mkdir");
        let mut bundle = s.bundle();
        bundle.mount(
            json!({ "destination": "/mnt", "type": "tmpfs", "source": "under", "options": ["ro"] }),
        );
        bundle.bind(&volume, "/mnt", &["rw"]);
        bundle.shell("touch /mnt/new && grep ' - tmpfs under' /proc/self/mountinfo");
        let outcome = s.run(&bundle).ok();
        let options = outcome.stdout.split(' ').nth(5).expect("options");
        assert!(options.split(',').any(|o| o == "ro"), "{}", outcome.stdout);
        assert!(volume.join("new").exists());
    });
}

/// Another user has planted links in the directory of the pid file and of the log, under every name
/// that can be guessed.
#[test]
fn planted_links_do_not_lead_the_callers_files_astray() {
    use std::os::unix::fs::lchown;
    sandbox::host(|s| {
        let (place, precious) = (s.dir.join("place"), s.dir.join("precious"));
        fs::create_dir(&place).expect("mkdir");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("chmod");
        fs::write(&precious, "precious").expect("write");
        let names = (1..5000).map(|pid| format!(".pid.{pid}"));
        for name in names.chain(["pid".to_owned(), ".pid".to_owned(), "log".to_owned()]) {
            symlink(&precious, place.join(&name)).expect("link");
            lchown(place.join(&name), Some(12345), Some(12345)).expect("chown");
        }
        let pid_file = place.join("pid");
        let option = pid_file.to_str().expect("text");
        let container = s.create_with(&s.bundle(), &["--pid-file", option]);
        assert_eq!(
            fs::read_to_string(&pid_file).expect("pid file"),
            container.pid().to_string()
        );
        container.remove();
        assert_eq!(fs::read_to_string(&precious).expect("read"), "precious");
        let log = place.join("log");
        let log = log.to_str().expect("text");
        let outcome = s.runtime(&["--log", log, "state", "missing"]).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&["place/log", "links of other users are not followed"]);
            assert_eq!(fs::read_to_string(&precious).expect("read"), "precious");
        }
    });
}
