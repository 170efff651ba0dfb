//! `restore`: what CRIU is asked, what is refused of an image, and what becomes of the container. A
//! program in the place of CRIU writes the requests down. The chapter `criu` has CRIU itself, and
//! `restore_mounts` the mounts of an image.

use std::fs;
use std::os::unix::fs::symlink;

use integration::criu::{Criu, Restorable};
use integration::runtime::children;
use integration::sandbox::{self, eventually};
use serde_json::{Value, json};

/// A restored container is like a started one: state, pid file, kill and delete.
#[test]
fn a_restored_container_runs() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let id = s.id();
        let options = [
            "--detach",
            "--pid-file",
            "pid",
            "--work-path",
            "work",
            "--no-pivot",
            "--tcp-established",
            "--tcp-close",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--auto-dedup",
            "--lsm-mount-context",
            "c:t",
            "--manage-cgroups-mode",
            "full",
            "--empty-ns",
            "network",
            "--lazy-pages",
            "--no-subreaper",
        ];
        s.finish(given.command(&criu, "", &options, &id), Some(&given.bundle))
            .ok();
        let state: Value =
            serde_json::from_str(&s.runtime(&["state", &id]).ok().stdout).expect("JSON");
        assert_eq!(state["status"], "running");
        assert_eq!(
            fs::read_to_string(s.dir.join("pid")).expect("pid"),
            state["pid"].to_string()
        );
        let request = criu.request("RESTORE");
        let options = &request["options"];
        for flag in [
            "restore_sibling",
            "evasive_devices",
            "notify_scripts",
            "tcp_established",
            "tcp_close",
            "ext_unix_sk",
            "shell_job",
            "file_locks",
            "auto_dedup",
            "lazy_pages",
        ] {
            assert_eq!(options[flag], 1, "{flag}");
        }
        assert_eq!(options["log_file"], "restore.log");
        assert_eq!(options["cgroup_mode"], 4);
        assert_eq!(options["empty_namespaces"], 0x4000_0000);
        assert_eq!(options["lsm_mount_context"], "c:t");
        assert_eq!(options["inherited"], json!([["pipe:[7]", 1]]));
        // Sources are where no name of a container or an image leads.
        let stage = s.state.join(&id);
        let stage = stage.to_str().expect("UTF-8");
        assert_eq!(options["root"], format!("{stage}/root"));
        let sources =
            [0, 1].map(|index| json!([given.names[index], format!("{stage}/source-{index}")]));
        assert_eq!(options["external_mounts"], json!(sources));
        // CRIU works in the container's group, which becomes the root of the groups of the image.
        let group = request["group"].as_str().expect("text");
        assert!(group.contains(&id), "{group}");
        let roots = options["cgroup_roots"].to_string();
        assert!(roots.contains(&id), "{roots}");
        // Nothing of the stage is left, and the host never saw it.
        assert!(!s.state.join(&id).join("criu").exists());
        s.runtime(&["kill", &id, "KILL"]).ok();
        assert!(eventually(|| s
            .runtime(&["state", &id])
            .stdout
            .contains("stopped")));
        s.runtime(&["delete", &id]).ok();
    });
}

/// Attached, the exit status is the program's, and the container is deleted at its end.
#[test]
fn an_attached_restore_has_the_status_of_the_program() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let id = s.id();
        let mut command = given.command(&criu, "", &[], &id);
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, Some(&given.bundle)).exits(7);
        s.runtime(&["state", &id]).fails_with(&["does not exist"]);
    });
}

/// The terminal of a restored process comes from CRIU. Attached, the command serves it.
#[test]
fn a_restored_terminal_is_served() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        given.bundle.set("/process/terminal", json!(true)).write();
        let mut command = given.command(&criu, "terminal", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).contains("restored");
        let options = &criu.request("RESTORE")["options"];
        assert_eq!(options["orphan_pts_master"], 1);
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["setting console socket"]);
    });
}

/// The hooks of the specification run: prestart and createRuntime with the namespaces of the
/// restored process, poststart when it runs, poststop at the end.
#[test]
fn hooks_run_as_at_a_start() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let log = s.dir.join("hooks");
        for name in ["prestart", "createRuntime", "poststart", "poststop"] {
            let script = format!("(echo {name}; cat; echo) >> {}", log.display());
            let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            given.bundle.set(&format!("/hooks/{name}"), hook);
        }
        given.bundle.write();
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "sleep 0.5");
        s.finish(command, Some(&given.bundle)).ok();
        let heard = fs::read_to_string(&log).expect("hooks");
        let names: Vec<_> = heard
            .lines()
            .filter(|line| !line.starts_with('{'))
            .collect();
        let names: Vec<_> = names.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            names,
            ["prestart", "createRuntime", "poststart", "poststop"],
            "{heard}"
        );
        assert!(heard.contains("\"status\":\"creating\""), "{heard}");
    });
}

/// CVE-2026-94603, CVE-2026-53489: an image is a directory of plain files.
#[test]
fn links_and_other_things_in_an_image_are_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let mounts = given.image.join("mountpoints-12.img");
        let streams = given.image.join("descriptors.json");
        let refused = |words: &[&str]| {
            given.restore(s, &criu, "", &["--detach"]).fails_with(words);
            fs::remove_dir_all(&given.image).expect("image");
            given.mounts(&[]);
        };
        symlink("/etc/passwd", given.image.join("pages-1.img")).expect("link");
        refused(&["pages-1.img", "a link"]);
        fs::rename(&streams, s.dir.join("elsewhere")).expect("rename");
        symlink(s.dir.join("elsewhere"), &streams).expect("link");
        refused(&["descriptors.json", "a link"]);
        fs::remove_file(&mounts).expect("unlink");
        s.tool("mkfifo", &[mounts.to_str().expect("UTF-8")]);
        refused(&["mountpoints-12.img", "not a regular file"]);
        fs::write(&mounts, b"CRIU").expect("mounts");
        refused(&["mountpoints-12.img", "damaged"]);
        fs::remove_file(&mounts).expect("unlink");
        refused(&["without a mount namespace"]);
        fs::copy(&mounts, given.image.join("mountpoints-13.img")).expect("copy");
        refused(&["several mount namespaces"]);
        fs::remove_file(&streams).expect("unlink");
        refused(&["descriptors.json", "no such file"]);
        for (kind, name) in [
            ("p", "pages-1.img"),
            ("b", "tty.img"),
            ("c", "parent/pages-1.img"),
        ] {
            let first = given.image.join("../first");
            fs::create_dir_all(&first).expect("parent");
            symlink("../first", given.image.join("parent")).expect("link");
            let path = given.image.join(name);
            let mut arguments = vec![path.to_str().expect("UTF-8"), kind];
            if kind != "p" {
                arguments.extend(["1", "3"]);
            }
            s.tool("mknod", &arguments);
            refused(&[name, "not a regular file"]);
            fs::remove_dir_all(first).expect("parent");
        }
        // The memory of the host's disk is not to be had by way of a parent either.
        let first = given.image.join("../first");
        fs::create_dir(&first).expect("parent");
        symlink("/dev/null", first.join("pages-1.img")).expect("link");
        symlink("../first", given.image.join("parent")).expect("link");
        refused(&["parent/pages-1.img", "a link"]);
        fs::remove_file(first.join("pages-1.img")).expect("unlink");
        for (target, words) in [
            ("/etc", "an absolute link"),
            ("../other/x", "another link"),
            ("../first", "more than 64"),
        ] {
            let other = given.image.join("../other");
            symlink("first", &other).expect("link");
            symlink(target, given.image.join("parent")).expect("link");
            symlink("../first", first.join("parent")).expect("link");
            refused(&["parent", words]);
            fs::remove_file(first.join("parent")).expect("unlink");
            fs::remove_file(other).expect("unlink");
        }
        fs::remove_dir(first).expect("parent");
        // CRIU makes this one itself.
        symlink("../first", given.image.join("parent")).expect("link");
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, None).ok();
    });
}

/// The image decides what a process is. One that is confined less than configured does not run.
#[test]
fn a_process_that_is_confined_less_than_configured_does_not_run() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let mark = s.dir.join("data/mark");
        let refused = |given: &Restorable, mode: &str, options: &[&str], words: &str| {
            let mut command = given.command(&criu, mode, options, &s.id());
            command.env("CRIU_PROGRAM", "touch /data/mark");
            s.finish(command, None)
                .fails_with(&["the restored process", words]);
            assert!(!mark.exists(), "{mode}");
        };
        for (mode, words) in [
            ("host", "is not in the configured"),
            ("unfiltered", "more capabilities in its bounding set"),
            ("capable", "more capabilities in its permitted set"),
            ("thread", "can get new privileges"),
            ("child", "can get new privileges"),
            // Their names are not UTF-8.
            ("odd", "more capabilities in its permitted set"),
            ("odd-child", "can get new privileges"),
        ] {
            refused(&given, mode, &[], words);
        }
        let labels = [
            ("apparmor:own", "not \"own\""),
            ("selinux:a:b:c", "not \"a:b:c\""),
        ];
        for (label, words) in labels {
            refused(&given, "", &["--lsm-profile", label], words);
            assert_eq!(criu.request("RESTORE")["options"]["lsm_profile"], label);
        }
        let mut filtered = Restorable::make(s);
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        filtered.bundle.set("/linux/seccomp", filter).write();
        refused(&filtered, "unfiltered", &[], "has no system call filter");
        // The mark would be there.
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "touch /data/mark");
        s.finish(command, None).ok();
        assert!(mark.exists());
    });
}

/// CRIU does not end the processes that are refused. It is ended with them, before it can let one
/// of them run.
#[test]
fn a_refusal_ends_criu_and_all_processes() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        given
            .restore(s, &criu, "child", &["--detach"])
            .fails_with(&["the restored process can get new privileges"]);
        let of_script = |entry: &Value| entry["script"] == "pre-resume";
        assert!(!criu.heard().iter().any(of_script), "CRIU had the answer");
        given
            .restore(s, &criu, "hasty", &["--detach"])
            .fails_with(&["the restored process was not checked"]);
    });
}

/// The restored processes inherit the session keyring of CRIU, which is not the caller's.
#[test]
fn the_session_keyring_is_not_the_callers() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
        let heard = criu.heard();
        let of = |kind| heard.iter().find(|entry| entry["type"] == kind);
        let [asked, restored] =
            ["VERSION", "RESTORE"].map(|kind| &of(kind).expect(kind)["keyring"]);
        assert!(asked.is_number() && asked != restored, "{heard:?}");
    });
}

/// CRIU saves neither what Landlock denies nor who answers for a filter.
#[test]
fn what_criu_does_not_save_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let refused = |pointer: &str, value: Value, words: &str| {
            let mut given = Restorable::make(s);
            given.bundle.set(pointer, value).write();
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["the container cannot be restored", words]);
        };
        let rules = json!({"handledAccessFs": ["make_dir"]}).to_string();
        let annotation = json!({ "dev.locule.landlock": rules });
        refused(
            "/annotations",
            annotation,
            "/annotations/dev.locule.landlock",
        );
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/listener"});
        refused("/linux/seccomp", filter, "/linux/seccomp/listenerPath");
        assert!(criu.heard().is_empty());
    });
}

/// The ids of a new user namespace are those of the configuration, not those of the image.
#[test]
fn a_process_with_other_ids_does_not_run() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Restorable::make(s);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        let user = json!({"type": "user"});
        let run = |given: &Restorable, map: Option<&str>| {
            let mut command = given.command(&criu, "", &[], &s.id());
            command.env("CRIU_PROGRAM", "exit 7");
            if let Some(map) = map {
                command.env("CRIU_MAP", map);
            }
            s.finish(command, None)
        };
        run(&given, Some("0 100000 1000")).fails_with(&[
            "the restored process",
            "is not in the configured user namespace",
        ]);
        given.bundle.set("/linux/uidMappings", map.clone());
        given.bundle.set("/linux/gidMappings", map);
        given.bundle.set("/linux/namespaces/-", user).write();
        for foreign in ["0 0 1000", "0 100000 1001", "0 100000 1000\n1000 0 1"] {
            run(&given, Some(foreign))
                .fails_with(&["the restored process has another uid_map than configured"]);
        }
        run(&given, None).fails_with(&["is not in the configured user namespace"]);
        run(&given, Some("0 100000 1000")).exits(7);
    });
}

/// A failure is explained and leaves nothing.
#[test]
fn a_failed_restore_leaves_nothing() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let options = ["--detach", "--work-path", "work"];
        given.restore(s, &criu, "fails", &options).fails_with(&[
            "criu failed: type RESTORE errno 95",
            "Error (criu/a.c:7): no such thing",
            "\"work/restore.log\"",
        ]);
        given
            .restore(s, &criu, "dies", &options)
            .fails_with(&["criu failed: type RESTORE", "ended without an answer"]);
        given
            .restore(s, &criu, "outlived", &options)
            .fails_with(&["criu failed: type RESTORE", "ended without an answer"]);
        given
            .restore(s, &criu, "foreign", &options)
            .fails_with(&["criu failed: type RESTORE", "not one of its protocol"]);
        given
            .restore(s, &criu, "", &["--detach", "--pid-file", "none/pid"])
            .fails_with(&["none/pid"]);
        let mut elsewhere = given.command(&criu, "", &["--detach"], &s.id());
        elsewhere.arg("--image-path").arg("none");
        s.finish(elsewhere, None).fails();
        let mut bundle = given.bundle;
        bundle.set("/linux/netDevices", json!({"eth9": {}}));
        let mut other = criu.command("");
        other.args(["restore", "--bundle"]).arg(bundle.write());
        other.arg("--image-path").arg(&given.image).arg(s.id());
        s.finish(other, None)
            .fails_with(&["/linux/netDevices", "cannot be restored"]);
    });
}

/// Before version 3.19 CRIU does not restore no_new_privs: nothing is made with it.
#[test]
fn a_criu_that_loses_no_new_privs_restores_nothing() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let mut restore = given.command(&criu, "", &["--detach"], &s.id());
        restore.env("CRIU_VERSION", "3.18.0");
        s.finish(restore, None)
            .fails_with(&["/process/noNewPrivileges", "3.19"]);
        assert!(criu.heard().iter().all(|heard| heard["type"] != "RESTORE"));
    });
}

/// A signal ends a restore, also while CRIU does not say its version.
#[test]
fn a_signal_ends_a_restore_that_hangs() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Restorable::make(s);
        let restore = given.command(&criu, "mute", &["--detach"], &s.id());
        let restore = s.spawn(restore, None);
        assert!(eventually(|| !children(restore.pid()).is_empty()));
        s.tool("kill", &["-TERM", &restore.pid().to_string()]);
        restore.wait().fails_with(&["interrupted by signal 15"]);
    });
}
