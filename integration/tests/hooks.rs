//! Hooks: config.md "POSIX-platform Hooks" and runtime.md "Lifecycle".

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

/// A hook that appends `name` and what `script` prints to the sandbox's log.
fn hook(s: &Sandbox, bundle: &mut Bundle, kind: &str, script: &str) {
    let log = log(s);
    let line = format!("exec >> {}; echo {kind}; {script}", log.display());
    let entry =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin"] });
    bundle.set(&format!("/hooks/{kind}/-"), entry);
}

fn log(s: &Sandbox) -> PathBuf {
    s.dir.join("log")
}

fn logged(s: &Sandbox) -> String {
    fs::read_to_string(log(s)).unwrap_or_default()
}

/// A hook of the container's side: there the log is bound to /mnt.
fn inner_hook(s: &Sandbox, bundle: &mut Bundle, kind: &str, script: &str) {
    let folder = s.dir.join("inner");
    fs::create_dir_all(&folder).expect("mkdir");
    bundle.bind(&folder, "/mnt", &["rw"]);
    let line = format!("exec >> /mnt/log; echo {kind}; {script}");
    bundle.set(
        &format!("/hooks/{kind}/-"),
        json!({ "path": "/bin/sh", "args": ["sh", "-c", line] }),
    );
}

/// "prestart ... createRuntime ... createContainer ... startContainer ... poststart ... poststop":
/// runtime.md lists the order; "Hooks MUST be called in the listed order."
#[test]
fn hooks_run_in_the_order_of_the_lifecycle() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 runs poststart hooks in create") {
            return;
        }
        let mut bundle = s.bundle();
        for kind in [
            "prestart",
            "createRuntime",
            "createContainer",
            "poststart",
            "poststop",
        ] {
            hook(s, &mut bundle, kind, "true");
            hook(s, &mut bundle, kind, "echo again");
        }
        bundle.args(&["sleep", "1000"]);
        let container = s.create(&bundle);
        let created = "prestart\nprestart\nagain\ncreateRuntime\ncreateRuntime\nagain\n\
                       createContainer\ncreateContainer\nagain\n";
        assert_eq!(logged(s), created);
        container.start().ok();
        let started = format!("{created}poststart\npoststart\nagain\n");
        assert_eq!(logged(s), started);
        container.remove();
        assert_eq!(logged(s), format!("{started}poststop\npoststop\nagain\n"));
    });
}

/// The same where a second process takes the place of the first: each answer is for one question.
#[test]
fn a_process_that_is_born_again_waits_for_the_hooks_too() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no time namespaces") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .namespace("time")
            .set("/linux/timeOffsets", json!({ "monotonic": { "secs": 9 } }))
            .set("/process/oomScoreAdj", json!(77))
            .shell("cat /proc/self/oom_score_adj");
        for _ in 0..5 {
            s.run(&bundle).prints("77");
        }
        hook(s, &mut bundle, "createRuntime", "sleep 0.3; echo done");
        hook(s, &mut bundle, "createContainer", "true");
        s.run(&bundle).ok();
        assert_eq!(logged(s), "createRuntime\ndone\ncreateContainer\n");
    });
}

/// A PID namespace whose init has ended takes no process, but the hooks that follow are not meant
/// for it.
#[test]
fn poststop_hooks_run_after_a_pid_namespace_could_not_be_joined() {
    sandbox::host(|s| {
        let ended = s.dir.join("pid");
        fs::write(&ended, "").expect("write");
        let ended = ended.to_str().expect("UTF-8");
        s.tool("mount", &["--bind", ended, ended]);
        s.tool("mount", &["--make-private", ended]);
        let option = format!("--pid={ended}");
        s.tool("unshare", &[&option, "--fork", "true"]);
        let mut bundle = s.bundle();
        bundle.join("pid", ended);
        hook(s, &mut bundle, "poststop", "true");
        s.try_create(&bundle, &s.id(), &[]).fails_with(&["pid"]);
        assert_eq!(logged(s), "poststop\n");
        s.tool("umount", &[ended]);
        s.tool("umount", &[ended]);
    });
}

/// "The startContainer hooks ... are called after the start operation is called but before the
/// user-specified program command is executed"; "path MUST resolve in the container namespace".
#[test]
fn start_container_hooks_run_inside_before_the_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        inner_hook(s, &mut bundle, "startContainer", "hostname; pwd");
        bundle.shell("echo program >> /mnt/log");
        let container = s.create(&bundle);
        let log = s.dir.join("inner/log");
        assert!(!log.exists(), "not before start");
        container.start().ok();
        container.finish();
        assert_eq!(
            fs::read_to_string(log).expect("log"),
            "startContainer\ncontainer\n/\nprogram\n"
        );
    });
}

/// "The createContainer hooks ... MUST execute in the container namespace"; "the path MUST resolve
/// in the runtime namespace".
#[test]
fn create_container_hooks_run_in_the_namespaces_on_the_hosts_files() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        hook(
            s,
            &mut bundle,
            "createContainer",
            "readlink /proc/self/ns/mnt; pwd; test -e /run/sandbox && echo host",
        );
        let own = fs::read_link("/proc/self/ns/mnt").expect("ns");
        let container = s.create(&bundle);
        let text = logged(s);
        let lines: Vec<_> = text.lines().collect();
        assert_ne!(Path::new(lines[1]), own, "another mount namespace: {text}");
        assert_eq!(Path::new(lines[2]), bundle.root());
        assert_eq!(lines[3], "host");
        container.remove();
    });
}

/// "The state of the container MUST be passed to hooks over stdin".
#[test]
fn hooks_read_the_state() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 runs poststart hooks in create") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/annotations", json!({ "a": "b" }))
            .args(&["sleep", "1000"]);
        for kind in ["createRuntime", "poststart", "poststop"] {
            hook(s, &mut bundle, kind, "cat; echo");
        }
        let container = s.create(&bundle);
        let pid = container.pid();
        container.start().ok();
        container.remove();
        let text = logged(s);
        let states: Vec<Value> = text
            .lines()
            .filter(|l| l.starts_with('{'))
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect();
        assert_eq!(states.len(), 3, "{text}");
        for (state, status) in states.iter().zip(["creat", "running", "stopped"]) {
            assert!(
                state["status"]
                    .as_str()
                    .expect("status")
                    .starts_with(status),
                "{state}"
            );
            assert_eq!(state["id"], container.id.as_str());
            assert_eq!(state["bundle"], json!(bundle.path));
            assert_eq!(state["annotations"]["a"], "b");
        }
        assert_eq!(states[0]["pid"], pid);
        assert_eq!(states[1]["pid"], pid);
    });
}

/// A hook that does not read its stdin is no error: EPIPE is the hook's right.
#[test]
fn hooks_need_not_read_the_state() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/annotations", json!({ "long": "x".repeat(200_000) }));
        bundle.set("/hooks/createRuntime/-", json!({ "path": "/bin/true" }));
        s.run(&bundle).ok();
    });
}

/// "env (array of strings, OPTIONAL)" is the whole environment: nothing of the runtime's own,
/// nothing of the container's.
#[test]
fn hooks_get_exactly_their_environment() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let line = format!("env > {}", log(s).display());
        bundle.set("/hooks/createRuntime/-", json!({
            "path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin", "ONE=1"]
        }));
        bundle.set("/process/env/-", json!("LD_PRELOAD=./evil.so"));
        let mut command = s.command();
        command
            .env("SECRET", "of the caller")
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        s.finish(command, Some(&bundle)).ok();
        let text = logged(s);
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|l| l.split_once('='))
            .map(|(n, _)| n)
            .collect();
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["ONE", "PATH"], "{text}");
    });
}

/// CVE-2025-23266: without `env` a hook on the host's files inherits nothing of the container's
/// environment, and of the runtime's PATH alone, and that only in the runtime's namespaces (ADR 9).
#[test]
fn hooks_without_env_inherit_nothing_but_the_path() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 gives every hook its own environment") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/process/env/-", json!("LD_PRELOAD=./evil.so"))
            .args(&["sleep", "1000"]);
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            let line = format!("echo {kind} >> {0}; /usr/bin/env >> {0}", log(s).display());
            let entry = json!({ "path": "/bin/sh", "args": ["sh", "-c", line] });
            bundle.set(&format!("/hooks/{kind}/-"), entry);
        }
        bundle.write();
        let id = s.id();
        let path = std::env::var("PATH").expect("PATH");
        let commands: [&[&str]; 3] = [
            &[
                "create",
                "--bundle",
                bundle.path.to_str().expect("UTF-8"),
                &id,
            ],
            &["start", &id],
            &["delete", "--force", &id],
        ];
        for arguments in commands {
            let mut command = s.command();
            command.env("SECRET", "caller").args(arguments);
            s.finish(command, Some(&bundle)).ok();
        }
        let expected = format!(
            "createRuntime\nPATH={path}\ncreateContainer\npoststart\nPATH={path}\npoststop\nPATH={path}\n"
        );
        assert_eq!(without_those_of_the_shell(&logged(s)), expected);
    });
}

/// The lines but for variables that shells add.
fn without_those_of_the_shell(text: &str) -> String {
    let added = ["PWD=", "SHLVL=", "_=", "OLDPWD="];
    let lines = text
        .lines()
        .filter(|line| !added.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}

/// A startContainer hook runs inside: without `env` it has the environment of the container's
/// process, as with runc.
#[test]
fn start_container_hooks_without_env_have_that_of_the_process() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user(1000, 1000);
        bundle.set("/process/env", json!(["PATH=/bin", "ONE=1"]));
        let folder = s.dir.join("inner");
        fs::create_dir_all(&folder).expect("mkdir");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
        bundle.bind(&folder, "/mnt", &["rw"]);
        for env in [json!(null), json!(["TWO=2"])] {
            let mut entry =
                json!({ "path": "/bin/sh", "args": ["sh", "-c", "/bin/env >> /mnt/log"] });
            if !env.is_null() {
                entry["env"] = env;
            }
            bundle.set("/hooks/startContainer/-", entry);
        }
        s.run(&bundle).ok();
        let text = fs::read_to_string(folder.join("log")).expect("log");
        let text = without_those_of_the_shell(&text);
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("PATH=/sbin"))
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, ["HOME=/home/user", "ONE=1", "PATH=/bin", "TWO=2"]);
    });
}

/// createContainer hooks start in the container's root: the bundle need not be open to the mapped
/// root.
#[test]
fn create_container_hooks_do_not_enter_the_bundle() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65_536)]);
        let root = s.dir.join("elsewhere");
        fs::rename(bundle.root(), &root).expect("rename");
        bundle.writable().set("/root/path", json!(root));
        chown(&root, Some(100_000), Some(100_000)).expect("chown");
        let entry = json!({ "path": "/bin/sh", "args": ["sh", "-c", "id -u > made; test -e /run/sandbox && echo host >> made"] });
        bundle.set("/hooks/createContainer/-", entry);
        bundle.write();
        fs::set_permissions(&bundle.path, fs::Permissions::from_mode(0o700)).expect("chmod");
        s.run(&bundle).ok();
        let made = fs::read_to_string(root.join("made")).expect("made");
        assert_eq!(made, "0\nhost\n");
    });
}

/// "If any prestart hook fails, the runtime MUST generate an error, stop the container, and
/// continue the lifecycle at step 12"; the same for createRuntime and createContainer. Step 13:
/// "The poststop hooks MUST be invoked".
#[test]
fn a_failing_hook_of_create_ends_the_container() {
    sandbox::host(|s| {
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let mut bundle = s.bundle();
            bundle.set(&format!("/hooks/{kind}/-"), json!({ "path": "/bin/false" }));
            bundle.set(
                &format!("/hooks/{kind}/-"),
                json!({ "path": "/bin/touch", "args": ["touch", s.dir.join(kind)] }),
            );
            let id = s.id();
            s.try_create(&bundle, &id, &[]).fails_with(&["hook"]);
            assert!(
                !s.dir.join(kind).exists(),
                "the hooks after {kind} do not run"
            );
            s.runtime(&["state", &id]).fails_with(&["does not exist"]);
        }
    });
}

/// "If any createRuntime hook fails ... continue the lifecycle at step 12": "13. The poststop hooks
/// MUST be invoked".
#[test]
fn poststop_hooks_run_after_a_failed_create() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 does not") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/hooks/createRuntime/-", json!({ "path": "/bin/false" }));
        hook(s, &mut bundle, "poststop", "true");
        s.try_create(&bundle, &s.id(), &[]).fails();
        assert_eq!(logged(s), "poststop\n");
    });
}

/// "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and
/// continue the lifecycle at step 12."
#[test]
fn a_failing_start_container_hook_stops_the_container() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/hooks/startContainer/-", json!({ "path": "/bin/false" }));
        bundle.shell("echo ran");
        let container = s.create(&bundle);
        let start = container.start();
        if s.subject.is_locule() {
            start.fails_with(&["hook"]);
        }
        container.wait_for("stopped");
        assert_eq!(
            container.output().matches("ran\n").count(),
            0,
            "{}",
            container.output()
        );
        container.remove();
    });
}

/// "If any poststart hook fails, the runtime MUST generate an error, stop the container, and
/// continue the lifecycle at step 12."
#[test]
fn a_failing_poststart_hook_stops_the_container() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 runs poststart hooks in create") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .args(&["sleep", "1000"])
            .set("/hooks/poststart/-", json!({ "path": "/bin/false" }));
        let container = s.create(&bundle);
        container.start().fails_with(&["hook"]);
        let gone = || {
            let state = container.command(&["state"]);
            !state.status.success() || state.stdout.contains("\"stopped\"")
        };
        assert!(sandbox::eventually(gone), "still runs");
        container.remove();
    });
}

/// "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and
/// lifecycle continue as if the hook had succeeded."
#[test]
fn a_failing_poststop_hook_is_a_warning() {
    sandbox::host(|s| {
        if s.is_control("runc stops at the first and returns the error") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/hooks/poststop/-", json!({ "path": "/bin/false" }));
        hook(s, &mut bundle, "poststop", "true");
        let container = s.started(&bundle);
        container.wait_for("stopped");
        let outcome = container.delete().ok();
        assert!(
            outcome.stderr.contains("hook"),
            "{}",
            outcome.describe("wanted a warning")
        );
        assert_eq!(logged(s), "poststop\n");
    });
}

/// "timeout (int, OPTIONAL) is the number of seconds before aborting the hook."
#[test]
fn a_hook_past_its_timeout_is_killed() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set(
            "/hooks/createRuntime/-",
            json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }),
        );
        let start = Instant::now();
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails_with(&["hook"]);
        let line = outcome.last_line();
        assert!(
            line.contains("timed out") || line.contains("timeout"),
            "{line}"
        );
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    });
}

/// What a failing hook printed is in the error, or nobody will ever know.
#[test]
fn the_error_shows_what_the_hook_printed() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let args = ["sh", "-c", "echo the reason >&2; exit 4"];
        bundle.set(
            "/hooks/createRuntime/-",
            json!({ "path": "/bin/sh", "args": args }),
        );
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["hook", "4", "the reason"]);
    });
}

/// A hook that is not there has written nothing, and engines look for the errno in lower case.
#[test]
fn a_missing_hook_is_named() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/hooks/createRuntime/-", json!({ "path": "/no/such/hook" }));
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        let line = outcome.last_line();
        assert!(line.contains("/no/such/hook"), "{line}");
        assert!(line.contains(": no such file or directory"), "{line}");
        assert!(!line.contains("wrote"), "{line}");
    });
}

/// Row S22: a createRuntime hook gets the pid on stdin and moves one end of a veth pair in, renamed
/// eth0.
#[test]
fn a_hook_can_move_an_interface_into_the_container() {
    sandbox::host(|s| {
        s.tool(
            "ip",
            &[
                "link", "add", "outer0", "type", "veth", "peer", "name", "inner0",
            ],
        );
        s.tool("ip", &["address", "add", "10.99.0.1/24", "dev", "outer0"]);
        s.tool("ip", &["link", "set", "outer0", "up"]);
        let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); ip link set inner0 netns $pid name eth0";
        let mut bundle = s.bundle();
        let line = json!(["sh", "-c", script]);
        let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        bundle.set(
            "/hooks/createRuntime/-",
            json!({ "path": "/bin/sh", "args": line, "env": env }),
        );
        bundle.capabilities(
            &["bounding", "effective", "permitted"],
            &["CAP_NET_ADMIN", "CAP_NET_RAW"],
        );
        bundle.shell("ip addr add 10.99.0.2/24 dev eth0 && ip link set eth0 up && ip addr show eth0 && ping -c 1 -W 5 10.99.0.1");
        s.run(&bundle).ok().contains("10.99.0.2/24");
    });
}

/// Init runs the createContainer hooks without a word to the runtime before: what the runtime does
/// beside has to be done by then.
#[test]
fn create_container_hooks_find_the_link_up_and_the_devices_restricted() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle();
        let node = s.dir.join("node");
        // Loop control: no container may use it, anybody may who is none.
        let script = format!(
            "ip link show lo; mknod {0} c 10 237; if (: < {0}) 2> /dev/null; then echo opened; else echo refused; fi",
            node.display()
        );
        hook(s, &mut bundle, "createContainer", &script);
        for _ in 0..5 {
            s.run(&bundle).ok();
            fs::remove_file(&node).expect("node");
        }
        let log = logged(s);
        assert_eq!(log.matches("LOOPBACK,UP").count(), 5, "{log}");
        assert_eq!(log.matches("refused").count(), 5, "{log}");
    });
}

/// What runs `run --bundle` of a bundle with the usual limits on descriptors.
fn run_with_the_usual_limit(s: &Sandbox, bundle: &Bundle) -> std::process::Command {
    let mut command = std::process::Command::new("prlimit");
    command.arg("--nofile=1024:4096").arg(&s.subject.program);
    command
        .arg("--root")
        .arg(&s.state)
        .args(["run", "--bundle"]);
    command.arg(bundle.write()).arg(s.id());
    command
}

/// The runtime raises its own limit on descriptors. Hooks on the host's files get the caller's,
/// those of the container its own.
#[test]
fn hooks_get_the_limit_on_descriptors_that_is_theirs() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
        bundle.set("/process/rlimits", limit);
        let kinds = [
            "prestart",
            "createRuntime",
            "createContainer",
            "poststart",
            "poststop",
        ];
        for kind in kinds {
            hook(s, &mut bundle, kind, "ulimit -Sn; ulimit -Hn");
        }
        inner_hook(s, &mut bundle, "startContainer", "ulimit -Sn; ulimit -Hn");
        bundle.shell("ulimit -Sn; ulimit -Hn");
        s.finish(run_with_the_usual_limit(s, &bundle), Some(&bundle))
            .prints("100\n200");
        let wanted = kinds.map(|kind| format!("{kind}\n1024\n4096\n"));
        assert_eq!(logged(s), wanted.concat());
        let inner = fs::read_to_string(s.dir.join("inner/log")).expect("log");
        assert_eq!(inner, "startContainer\n100\n200\n");
    });
}

/// A limit on descriptors that is lower than what a hook and the start take: it is set last, and
/// the hook has it too.
#[test]
fn a_low_limit_on_descriptors_leaves_the_start_and_hooks_alone() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 needs more descriptors itself") {
            return;
        }
        for (soft, hard) in [(5, 5), (5, 64)] {
            let mut bundle = s.bundle();
            let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": soft, "hard": hard }]);
            bundle.set("/process/rlimits", limit);
            let folder = s.dir.join("inner");
            fs::create_dir_all(&folder).expect("mkdir");
            bundle.bind(&folder, "/mnt", &["rw"]);
            let entry =
                json!({ "path": "/bin/cp", "args": ["cp", "/proc/self/limits", "/mnt/limits"] });
            bundle.set("/hooks/startContainer/-", entry);
            bundle.shell("ulimit -Sn; ulimit -Hn");
            let numbers = format!("{soft}\n{hard}");
            s.run(&bundle).prints(&numbers);
            // It is read-only, as its source.
            fs::remove_file(folder.join("limits")).expect("limits");
            let container = s.create(&bundle);
            container.start().ok();
            assert_eq!(container.finish().trim(), numbers);
            container.remove();
            let limits = fs::read_to_string(folder.join("limits")).expect("limits");
            let line = limits
                .lines()
                .find(|line| line.starts_with("Max open files"));
            let fields: Vec<_> = line.expect("line").split_whitespace().collect();
            assert_eq!(fields[3..5].join("\n"), numbers);
            fs::remove_file(folder.join("limits")).expect("limits");
        }
    });
}
