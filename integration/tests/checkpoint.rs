//! `checkpoint`: what CRIU is asked, and what becomes of the container. A program in the place of
//! CRIU writes the requests down. The chapter `criu` has CRIU itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use integration::criu::{Criu, ImageMount, path, write_image};
use integration::sandbox::eventually;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

/// A container that waits, with a volume.
fn waiting(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    let volume = s.dir.join("volume");
    fs::create_dir_all(&volume).expect("volume");
    bundle.args(&["sleep", "1000"]);
    bundle.bind(&volume, "/data", &["bind", "ro"]);
    bundle
}

/// The request has what the command line asks for; the container is deleted, as with runc.
#[test]
fn a_checkpoint_asks_for_a_dump_and_deletes_the_container() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let bundle = waiting(s);
        let container = s.started(&bundle);
        let pid = container.pid();
        criu.checkpoint(
            "",
            &container,
            &["--image-path", "image", "--work-path", "work"],
        )
        .ok();
        let request = criu.request("DUMP");
        let options = &request["options"];
        assert_eq!(options["pid"], pid);
        assert_eq!(options["root"], bundle.root().to_str().expect("UTF-8"));
        assert_eq!(options["log_file"], "dump.log");
        assert_eq!(options["notify_scripts"], 1);
        assert_eq!(options["manage_cgroups"], 1);
        assert_eq!(options["cgroup_mode"], 6);
        assert_eq!(options["empty_namespaces"], 0x4000_0000);
        for absent in [
            "leave_running",
            "tcp_established",
            "lazy_pages",
            "parent_images",
            "shell_job",
            // Without a terminal of its own the container could be in that of a shell. CRIU would
            // save that too, but not restore it.
            "orphan_pts_master",
        ] {
            assert_eq!(options[absent], Value::Null, "{absent}");
        }
        let mounts = options["external_mounts"].as_array().expect("mounts");
        assert!(
            mounts.contains(&json!(["/data", "mount-/data"])),
            "{mounts:?}"
        );
        assert!(
            mounts.iter().any(|pair| pair[0] == "/proc/keys"),
            "{mounts:?}"
        );
        assert_eq!(
            request["images"],
            s.dir.join("image").to_str().expect("UTF-8")
        );
        for directory in ["image", "work"] {
            let mode = fs::metadata(s.dir.join(directory))
                .expect("made")
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o700, "{directory}");
        }
        let streams = fs::read_to_string(s.dir.join("image/descriptors.json")).expect("streams");
        let streams: Vec<String> = serde_json::from_str(&streams).expect("JSON");
        assert_eq!(streams.len(), 3);
        assert!(
            streams.iter().all(|name| name.starts_with("file[")),
            "{streams:?}"
        );
        assert_eq!(options["external"], json!(streams));
        container
            .command(&["state"])
            .fails_with(&["does not exist"]);
    });
}

/// Each option reaches CRIU.
#[test]
fn every_option_reaches_criu() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        fs::create_dir_all(s.dir.join("first")).expect("first");
        let options = [
            "--leave-running",
            "--tcp-established",
            "--tcp-skip-in-flight",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--link-remap",
            "--auto-dedup",
            "--lazy-pages",
            "--page-server",
            "[::1]:27",
            "--manage-cgroups-mode",
            "strict",
            "--empty-ns",
            "network",
            "--parent-path",
            "../first",
            "--image-path",
            "second",
        ];
        criu.checkpoint("", &container, &options).ok();
        let found = &criu.request("DUMP")["options"];
        for flag in [
            "leave_running",
            "tcp_established",
            "tcp_skip_in_flight",
            "ext_unix_sk",
            "shell_job",
            "file_locks",
            "link_remap",
            "auto_dedup",
            "lazy_pages",
            "track_memory",
        ] {
            assert_eq!(found[flag], 1, "{flag}");
        }
        assert_eq!(found["page_server"], json!(["::1", 27]));
        assert_eq!(found["cgroup_mode"], 5);
        assert_eq!(found["parent_images"], "../first");
        assert_eq!(container.status(), "running");
        for (mode, number) in [("soft", 3), ("full", 4), ("ignore", 0)] {
            let options = ["--leave-running", "--manage-cgroups-mode", mode];
            criu.checkpoint("", &container, &options).ok();
            assert_eq!(
                criu.request("DUMP")["options"]["cgroup_mode"],
                number,
                "{mode}"
            );
        }
        container.remove();
    });
}

/// A pre-dump saves memory only. The container runs on.
#[test]
fn a_pre_dump_leaves_the_container_alone() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        criu.checkpoint("", &container, &["--pre-dump"]).ok();
        let request = criu.request("PRE_DUMP");
        assert_eq!(request["options"]["track_memory"], 1);
        assert_eq!(request["options"]["external_mounts"], Value::Null);
        assert_eq!(
            request["images"],
            s.dir.join("checkpoint").to_str().expect("UTF-8")
        );
        assert!(!s.dir.join("checkpoint/descriptors.json").exists());
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// With --lazy-pages a byte of 0 on the status descriptor says that memory can be asked for.
#[test]
fn the_status_descriptor_is_told_once() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let told = s.dir.join("told");
        let script = format!(
            "exec \"$@\" --lazy-pages --leave-running --status-fd 7 {} 7> {}",
            container.id,
            told.display()
        );
        let runtime = criu.command("");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh"])
            .arg(runtime.get_program());
        command.args(runtime.get_args()).arg("checkpoint");
        command.current_dir(&s.dir);
        for (name, value) in runtime.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        s.finish(command, None).ok();
        assert_eq!(fs::read(&told).expect("told"), [0]);
        for (number, words) in [
            ("77", "invalid --status-fd argument 77"),
            ("x", "--status-fd"),
        ] {
            let options = ["--lazy-pages", "--leave-running", "--status-fd", number];
            let outcome = criu.checkpoint("", &container, &options).fails();
            assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        }
        // As in runc, it has no effect without --lazy-pages.
        let options = ["--leave-running", "--status-fd", "1"];
        let outcome = criu.checkpoint("", &container, &options).ok();
        assert_eq!(outcome.stdout, "");
        container.remove();
    });
}

/// A failure of CRIU is told in runc's words, with the last error of its log and where the log is.
/// The container runs on.
#[test]
fn a_failure_of_criu_is_explained() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let options = ["--image-path", "image", "--work-path", "work"];
        criu.checkpoint("fails", &container, &options).fails_with(&[
            "criu failed: type DUMP errno 95",
            "Error (criu/a.c:7): no such thing",
            "\"work/dump.log\"",
        ]);
        for (said, hint) in [
            (
                "tty: Found slave peer index 0 without correspond master peer",
                "use --shell-job",
            ),
            (
                "unix: Unix socket 7 without peer 8",
                "another network namespace",
            ),
            (
                "page-pipe: tee: 65536: Operation not permitted",
                "pipe-max-size",
            ),
        ] {
            let mut command = criu.command("fails");
            command
                .env("CRIU_ERROR", said)
                .args(["checkpoint", &container.id]);
            s.finish(command, None).fails_with(&[said, hint]);
        }
        criu.checkpoint("dies", &container, &[]).fails_with(&[
            "criu failed: type DUMP",
            "ended without an answer",
            "signal: 9",
        ]);
        criu.checkpoint("foreign", &container, &[])
            .fails_with(&["criu failed: type DUMP", "not one of its protocol"]);
        criu.checkpoint("old", &container, &["--pre-dump"])
            .fails_with(&["--pre-dump needs the tracking of changed memory"]);
        criu.checkpoint("old", &container, &["--lazy-pages"])
            .fails_with(&["--lazy-pages needs userfaultfd"]);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// On cgroup v1 CRIU waits forever for a process that is stopped and frozen: it stops the processes
/// one by one then.
#[test]
fn a_stopped_process_is_not_frozen_too() {
    sandbox::host(|s| {
        if s.lacks_v1(&["freezer"]) {
            return;
        }
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let is_frozen = || {
            criu.checkpoint("", &container, &["--leave-running"]).ok();
            criu.request("DUMP")["options"]["freeze_cgroup"].is_string()
        };
        assert!(is_frozen());
        container.exec_shell(&[], "sleep 1000 & kill -STOP $!").ok();
        assert!(eventually(|| !is_frozen()));
        container.remove();
    });
}

/// CRIU that dies has left the container frozen: it is thawed.
#[test]
fn a_container_is_not_left_frozen() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let mut command = criu.command("dies");
        // The second start, after the question for the version, freezes as CRIU would.
        let script = format!(
            "#!/bin/sh\nif test -e asked; then cd {}; echo FROZEN > freezer.state || echo 1 > cgroup.freeze; fi\n\
             touch asked; exec {} \"$@\"\n",
            freezer(container.pid()),
            criu.bin.join("criu").display(),
        );
        let bin = s.dir.join("freezing");
        fs::create_dir(&bin).expect("bin");
        fs::write(bin.join("criu"), script).expect("criu");
        fs::set_permissions(bin.join("criu"), Permissions::from_mode(0o755)).expect("chmod");
        command
            .env("PATH", path(&bin))
            .args(["checkpoint", &container.id]);
        s.finish(command, None)
            .fails_with(&["ended without an answer"]);
        let status = container.status();
        if status != "running" {
            // Processes that are frozen outlive the sandbox.
            container.command(&["resume"]).ok();
        }
        assert_eq!(status, "running");
        container.remove();
    });
}

/// The group of the container that has its freezer.
fn freezer(pid: i64) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
    let of = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (controllers == wanted).then(|| path.to_owned())
        })
    };
    match of("freezer") {
        Some(path) => format!("/sys/fs/cgroup/freezer{path}"),
        None => format!("/sys/fs/cgroup{}", of("").expect("a v2 group")),
    }
}

/// A checkpoint that `restore` would refuse does not cost the container; with --leave-running it is
/// made.
#[test]
fn a_container_is_not_lost_to_a_checkpoint_that_cannot_be_restored() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let overlay = ImageMount::made(17, "/more", 0);
        let image = s.dir.join("checkpoint");
        write_image(&image, &[ImageMount::ROOT, overlay]);
        fs::rename(image.join("mountpoints-12.img"), image.join("dumped.img")).expect("mounts");
        criu.checkpoint("", &container, &[]).fails_with(&[
            "the container runs on",
            "--leave-running",
            "\"/more\"",
            "neither a volume",
        ]);
        assert_eq!(container.status(), "running");
        criu.checkpoint("", &container, &["--leave-running"]).ok();
        container.remove();
        let mut bundle = waiting(s);
        let rules = json!({"handledAccessFs": ["make_dir"]}).to_string();
        bundle.set("/annotations", json!({ "dev.locule.landlock": rules }));
        let container = s.started(&bundle);
        let count = criu.heard().len();
        criu.checkpoint("", &container, &["--image-path", "other"])
            .fails_with(&["the container runs on", "/annotations/dev.locule.landlock"]);
        assert_eq!(criu.heard().len(), count);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// CRIU numbers the files of mounts by namespaces, so those of an earlier image would stay.
#[test]
fn an_image_directory_can_be_used_again() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let image = s.dir.join("checkpoint");
        write_image(&image, &[ImageMount::ROOT]);
        fs::rename(
            image.join("mountpoints-12.img"),
            image.join("mountpoints-3.img"),
        )
        .expect("mounts");
        criu.checkpoint("", &container, &[]).ok();
        assert!(!image.join("mountpoints-3.img").exists());
    });
}

/// CRIU must be installed, and not older than 3.17.
#[test]
fn criu_must_be_there_and_new_enough() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.started(&waiting(s));
        let mut command = s.command();
        command.env("PATH", "/nowhere");
        command.args(["checkpoint", &container.id]);
        s.finish(command, None)
            .fails_with(&["`criu` is not in PATH", "3.17"]);
        let mut command = criu.command("");
        command
            .env("CRIU_VERSION", "3.16.1")
            .args(["checkpoint", &container.id]);
        s.finish(command, None)
            .fails_with(&["version 3.16.1", "3.17", "update"]);
        // The default image directory of both.
        assert!(!s.dir.join("checkpoint").exists(), "a directory is left");
        container.remove();
    });
}

/// Before version 3.19 CRIU does not save no_new_privs.
#[test]
fn a_criu_that_loses_no_new_privs_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let checkpoint = |options: &[&str], id: &str| {
            let mut command = criu.command("");
            command.env("CRIU_VERSION", "3.18.0");
            command.arg("checkpoint").args(options).arg(id);
            s.finish(command, None)
        };
        let mut bundle = waiting(s);
        let container = s.started(&bundle);
        let pointer = "/process/noNewPrivileges";
        checkpoint(&[], &container.id).fails_with(&[
            "the container runs on",
            pointer,
            "3.19",
            "update",
        ]);
        assert_eq!(container.status(), "running");
        let saved = checkpoint(&["--leave-running"], &container.id).ok();
        assert!(saved.stderr.contains(pointer), "{}", saved.stderr);
        container.remove();
        bundle.set(pointer, json!(false));
        let container = s.started(&bundle);
        checkpoint(&[], &container.id).ok();
    });
}

/// Only what runs can be saved, and only to a directory; nothing is asked of CRIU otherwise.
#[test]
fn wrong_uses_are_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let container = s.create(&waiting(s));
        criu.checkpoint("", &container, &[])
            .fails_with(&["Container cannot be checkpointed in created state"]);
        container.start().ok();
        fs::write(s.dir.join("file"), "").expect("file");
        for (options, words) in [
            (&["--image-path", "file"][..], &["--image-path", "file"][..]),
            (
                &["--parent-path", "/abs"],
                &["--parent-path must be relative"],
            ),
            (
                &["--parent-path", "../none"],
                &["invalid --parent-path", "none"],
            ),
            (&["--manage-cgroups-mode", "hard"], &[]),
            (&["--empty-ns", "mount"], &[]),
            (&["--page-server", "1.2.3.4"], &[]),
        ] {
            let outcome = criu.checkpoint("", &container, options).fails();
            for word in words {
                assert!(
                    outcome.last_line().contains(word),
                    "{}",
                    outcome.describe(word)
                );
            }
        }
        assert!(criu.heard().iter().all(|entry| entry["type"] == "VERSION"));
        let mut other = criu.command("");
        other.args(["checkpoint", "nobody"]);
        s.finish(other, None).fails_with(&["does not exist"]);
        container.remove();
    });
}

/// A file with options of CRIU can have programs that CRIU runs as root (R20): only those below
/// /etc/criu count.
#[test]
fn options_of_criu_come_from_its_directory_only() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let evil = s.dir.join("evil.conf");
        fs::write(&evil, "action-script /bin/evil\n").expect("evil");
        s.tool("mount", &["-t", "tmpfs", "tmpfs", "/etc"]);
        symlink("/proc/self/mounts", "/etc/mtab").expect("link");
        fs::create_dir("/etc/criu").expect("etc");
        symlink(&evil, "/etc/criu/link.conf").expect("link");
        fs::write("/etc/criu/own.conf", "").expect("conf");
        fs::write("/etc/criu/runc.conf", "").expect("conf");
        for (annotations, wanted) in [
            (
                json!({"org.criu.config": "/etc/criu/own.conf"}),
                json!("/etc/criu/own.conf"),
            ),
            (json!({"org.criu.config": ""}), Value::Null),
            (json!({}), json!("/etc/criu/runc.conf")),
        ] {
            let mut bundle = waiting(s);
            bundle.set("/annotations", annotations);
            let container = s.started(&bundle);
            criu.checkpoint("", &container, &[]).ok();
            assert_eq!(criu.request("DUMP")["options"]["config_file"], wanted);
        }
        let count = criu.heard().len();
        for given in [
            evil.to_str().expect("UTF-8"),
            "evil.conf",
            "/etc/criu/link.conf",
            "/etc/criu/none.conf",
            "/etc/criu/../criu/../passwd",
            "/etc/criu",
            "/etc/criu/",
        ] {
            let mut bundle = waiting(s);
            bundle.set("/annotations", json!({"org.criu.config": given}));
            let container = s.started(&bundle);
            criu.checkpoint("", &container, &[])
                .fails_with(&["/annotations/org.criu.config", "/etc/criu"]);
            container.remove();
        }
        let asked = &criu.heard()[count..];
        assert!(
            asked.iter().all(|entry| entry["type"] == "VERSION"),
            "{asked:?}"
        );
        s.tool("umount", &["/etc"]);
    });
}

/// CVE-2026-119101: the container moves the directories above a volume, so that its destination
/// leads to another volume. A name would then stand for the wrong directory of the host.
#[test]
fn cve_2026_119101_a_moved_destination_is_not_named() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut bundle = s.bundle();
        bundle.writable();
        let root = bundle.root();
        for (index, name) in ["one", "two"].into_iter().enumerate() {
            let volume = s.dir.join(name);
            fs::create_dir_all(&volume).expect("volume");
            fs::create_dir_all(root.join(format!("v{index}/x"))).expect("mount point");
        }
        symlink("/v0", root.join("way")).expect("link");
        bundle.bind(&s.dir.join("one"), "/way/x", &["bind", "ro"]);
        bundle.bind(&s.dir.join("two"), "/v1/x", &["bind"]);
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        // A link on the way is fine as long as it leads to the right mount.
        criu.checkpoint("", &container, &["--leave-running"]).ok();
        let mounts = criu.request("DUMP")["options"]["external_mounts"].clone();
        let last = bundle.config["mounts"].as_array().expect("mounts").len() - 1;
        let wanted = json!(["/v0/x", "mount-/way/x"]);
        assert!(
            mounts.as_array().expect("mounts").contains(&wanted),
            "{mounts}"
        );
        let count = criu.heard().len();
        container
            .exec(&[], &["sh", "-c", "rm /way && ln -s /v1 /way"])
            .ok();
        criu.checkpoint("", &container, &["--leave-running"])
            .fails_with(&[
                &format!("/mounts/{}", last - 1),
                "/way/x",
                "wrong directory",
            ]);
        assert!(
            criu.heard()[count..]
                .iter()
                .all(|entry| entry["type"] == "VERSION")
        );
        container.remove();
    });
}

/// A first process that has changed its root sees other names: the error says so.
#[test]
fn a_first_process_in_another_root_is_named() {
    sandbox::host(|s| {
        if s.is_control("the message is locule's") {
            return;
        }
        let criu = Criu::make(s);
        let mut bundle = waiting(s);
        let (bin, jail) = (bundle.root().join("bin"), bundle.root().join("jail"));
        fs::create_dir(&jail).expect("mkdir");
        let jail = jail.to_str().expect("UTF-8");
        s.tool("cp", &["-a", bin.to_str().expect("UTF-8"), jail]);
        let sets = ["bounding", "effective", "permitted"];
        bundle.capabilities(&sets, &["CAP_SYS_CHROOT"]);
        bundle.args(&["chroot", "/jail", "sleep", "1000"]);
        let container = s.started(&bundle);
        let root = format!("/proc/{}/root/jail", container.pid());
        assert!(eventually(|| !Path::new(&root).exists()));
        criu.checkpoint("", &container, &["--leave-running"])
            .exits(1)
            .fails_with(&["changed its root directory"]);
        container.remove();
    });
}

/// CRIU needs root. An ordinary user is told so before anything else that is missing, and nothing
/// is made.
#[test]
fn an_ordinary_user_is_told_that_criu_needs_root() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let image = s.dir.join("image");
        let given = ["--image-path", image.to_str().expect("UTF-8")];
        let refused = |arguments: &[&str]| {
            let outcome = s.runtime(&[&arguments[..1], &given, &arguments[1..]].concat());
            outcome.fails_with(&["CRIU needs the rights of the host's root", "as root"]);
            assert!(!image.exists());
        };
        for options in [&["--pre-dump"][..], &["--leave-running"], &[]] {
            refused(&[&["checkpoint"], options, &[&container.id]].concat());
        }
        let id = s.id();
        let path = bundle.path.to_str().expect("UTF-8");
        refused(&["restore", "--detach", "--bundle", path, &id]);
        s.runtime(&["state", &id]).fails_with(&["does not exist"]);
        container.exec(&[], &["true"]).ok();
        s.runtime(&["delete", "--force", &container.id]).ok();
    });
}
