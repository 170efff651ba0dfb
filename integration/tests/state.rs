//! The state of a container: runtime.md "State" and "Query State", and the `list` that engines
//! read.

use std::fs;
use std::process::Command;

use integration::{Sandbox, sandbox};
use serde_json::{Value, json};

/// "ociVersion ... id ... status ... pid ... bundle (REQUIRED)"; "annotations (map, OPTIONAL)".
#[test]
fn state_has_what_the_specification_lists() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/annotations", json!({ "org.example.key": "value" }));
        let container = s.create(&bundle);
        let state = container.state();
        assert!(
            state["ociVersion"]
                .as_str()
                .expect("ociVersion")
                .starts_with("1."),
            "{state}"
        );
        assert_eq!(state["id"], container.id.as_str());
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], json!(bundle.path));
        assert_eq!(state["annotations"]["org.example.key"], "value");
        let created = state["created"].as_str().expect("created");
        assert!(created.contains('T') && created.ends_with('Z'), "{created}");
        container.remove();
    });
}

/// "pid (int, REQUIRED when status is created or running on Linux) is the ID of the container
/// process ... the value is the pid as seen by the runtime namespace".
#[test]
fn the_pid_is_that_of_the_runtimes_namespace() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1234"]);
        let container = s.started(&bundle);
        let line = || fs::read(format!("/proc/{}/cmdline", container.pid())).expect("cmdline");
        assert!(
            sandbox::eventually(|| line() == b"sleep\x001234\x00"),
            "{:?}",
            line()
        );
        container.remove();
    });
}

/// "stopped: the container process has exited"; then the pid is no more.
#[test]
fn a_stopped_container_has_no_pid() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle());
        container.wait_for("stopped");
        let pid = container.state().get("pid").cloned();
        assert!(pid.is_none() || pid == Some(json!(0)), "{pid:?}");
        container.delete().ok();
    });
}

/// list --format json is one array of states; -q prints ids; the table starts with ID PID STATUS
/// BUNDLE CREATED OWNER.
#[test]
fn list_shows_every_container() {
    sandbox::host(|s| {
        let one = s.create(&s.bundle());
        let two = s.create(&s.bundle());
        two.start().ok();
        two.wait_for("stopped");
        let list = s.runtime(&["list", "--format", "json"]).ok();
        let list: Value = serde_json::from_str(&list.stdout).expect("JSON");
        let found = |id: &str| {
            list.as_array()
                .expect("array")
                .iter()
                .find(|c| c["id"] == id)
                .cloned()
        };
        assert_eq!(found(&one.id).expect("the first")["status"], "created");
        assert_eq!(found(&two.id).expect("the second")["status"], "stopped");
        let quiet = s.runtime(&["list", "-q"]).ok();
        let mut ids: Vec<_> = quiet.stdout.lines().collect();
        ids.sort_unstable();
        assert_eq!(ids, [one.id.as_str(), two.id.as_str()]);
        let table = s.runtime(&["list"]).ok();
        let header: Vec<_> = table
            .stdout
            .lines()
            .next()
            .expect("header")
            .split_whitespace()
            .collect();
        assert_eq!(
            header,
            ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
        );
        one.remove();
        two.remove();
    });
}

/// list passes over what is no container: crun#1373 was a crash on a stray file.
#[test]
fn list_passes_over_stray_files() {
    sandbox::host(|s| {
        fs::write(s.state.join("stray"), "x").expect("write");
        fs::create_dir(s.state.join("empty")).expect("mkdir");
        s.tool("mkfifo", &[s.state.join("fifo").to_str().expect("UTF-8")]);
        let container = s.create(&s.bundle());
        for args in [&["list", "-q"][..], &["list"]] {
            let list = s.runtime(args).ok();
            let ids = list.stdout.lines().map(|line| line.split(' ').next());
            let ids: Vec<_> = ids.flatten().filter(|id| *id != "ID").collect();
            assert!(
                ids.contains(&container.id.as_str()),
                "{}",
                list.describe("wanted the id")
            );
            for stray in ["stray", "fifo"] {
                let named = ids.contains(&stray) || list.stderr.contains(stray);
                assert!(!named, "{}", list.describe("wanted containers only"));
            }
        }
        container.remove();
        fs::remove_file(s.state.join("stray")).expect("rm");
        fs::remove_file(s.state.join("fifo")).expect("rm");
        fs::remove_dir(s.state.join("empty")).expect("rmdir");
    });
}

/// The state directory is for its owner alone.
#[test]
fn the_state_of_a_container_is_private() {
    use std::os::unix::fs::PermissionsExt;
    sandbox::host(|s| {
        let container = s.create(&s.bundle());
        let folder = s.state.join(&container.id);
        let mode = |path| fs::metadata(path).expect("stat").permissions().mode();
        assert_eq!(
            mode(folder.clone()) & 0o066,
            0,
            "nobody else may list or write it"
        );
        assert_eq!(mode(folder.join("state.json")) & 0o077, 0);
        container.remove();
    });
}

/// The runtime, for which every such call on `path` fails.
fn with_fault(s: &Sandbox, path: &str, call: &str, error: &str) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["--quiet=all", "--output=/dev/null", "--trace-path", path]);
    strace.arg(format!("--inject={call}:error={error}"));
    strace.arg(&s.subject.program).arg("--root").arg(&s.state);
    strace
}

/// A process that lives and cannot be looked at is not an ended one: `delete` would remove the
/// state of a container that runs.
#[test]
fn a_process_that_cannot_be_looked_at_does_not_count_as_ended() {
    sandbox::host(|s| {
        if s.is_control("how locule knows a process") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let stat = format!("/proc/{}/stat", container.pid());
        for (call, error, text) in [
            ("openat", "EMFILE", "too many open files"),
            ("openat", "ENOENT", "no such file or directory"),
            ("read", "EIO", "input/output error"),
        ] {
            for args in [&["delete"][..], &["delete", "--force"], &["state"]] {
                let mut command = with_fault(s, &stat, call, error);
                command.args(args).arg(&container.id);
                let words = ["look at the first process of container", text];
                s.finish(command, None).exits(1).fails_with(&words);
            }
        }
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// A creation that cannot read the id of the boot does not make a record of another boot.
#[test]
fn an_unknown_boot_is_not_another_one() {
    sandbox::host(|s| {
        if s.is_control("how locule knows a process") {
            return;
        }
        let bundle = s.bundle();
        let id = s.id();
        let boot = "/proc/sys/kernel/random/boot_id";
        let mut command = with_fault(s, boot, "openat", "EMFILE");
        command.args(["create", "--bundle"]).arg(bundle.write());
        command.arg(&id);
        s.finish(command, Some(&bundle)).ok();
        s.runtime(&["state", &id]).ok().contains("\"created\"");
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// A hierarchy that cannot be opened is not one that is no longer mounted: `delete` would leave the
/// container's processes and groups.
#[test]
fn a_hierarchy_that_cannot_be_opened_does_not_count_as_gone() {
    sandbox::host(|s| {
        if s.is_control("how locule finds a group") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let name = if s.is_v2() { "" } else { "freezer" };
        let path = format!("/sys/fs/cgroup/{name}");
        for args in [&["delete", "--force"][..], &["kill", "--all"]] {
            let mut command = with_fault(s, &path, "openat", "EMFILE");
            command.args(args).arg(&container.id);
            let words = ["open cgroup \"/sys/fs/cgroup", "too many open files"];
            s.finish(command, None).exits(1).fails_with(&words);
        }
        assert_eq!(container.status(), "running");
        container.remove();
    });
}
