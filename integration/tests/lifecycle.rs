//! The lifecycle: runtime.md, "Lifecycle" and "Operations".

use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;
use std::{fs, thread};

use integration::{leak, sandbox};
use serde_json::json;

/// "Any changes made to the config.json file after this operation will not have an effect on the
/// container"; "The user-specified program (from process) MUST NOT be run at this time".
#[test]
fn create_does_not_run_the_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("echo ran");
        let container = s.create(&bundle);
        assert_eq!(container.status(), "created");
        assert_eq!(container.output(), "");
        container.start().ok();
        assert_eq!(container.finish(), "ran\n");
    });
}

/// "Any changes made to the config.json file after this operation will not have an effect on the
/// container."
#[test]
fn later_changes_of_the_configuration_have_no_effect() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("echo first");
        let container = s.create(&bundle);
        bundle.shell("echo second").write();
        container.start().ok();
        assert_eq!(container.finish(), "first\n");
    });
}

/// "created ... running ... stopped": the values of `status`, in that order.
#[test]
fn status_follows_the_process() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.create(&bundle);
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        container.wait_for("stopped");
        container.delete().ok();
    });
}

/// "Attempting to start a container that is not created MUST have no effect on the container and
/// MUST generate an error."
#[test]
fn start_of_a_running_container_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        container
            .start()
            .exits(1)
            .fails_with(&["cannot start", "running"]);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// "Attempting to start a container that is not created MUST ... generate an error."
#[test]
fn start_of_a_stopped_container_is_an_error() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle());
        container.wait_for("stopped");
        container
            .start()
            .exits(1)
            .fails_with(&["cannot start", "stopped"]);
        container.delete().ok();
    });
}

/// "This operation MUST generate an error if it is not provided the container ID": and one that
/// nobody has.
#[test]
fn an_unknown_container_is_an_error() {
    sandbox::host(|s| {
        for command in ["start", "state", "kill", "delete"] {
            s.runtime(&[command, &s.id()])
                .exits(1)
                .fails_with(&["does not exist"]);
        }
    });
}

/// "Attempting to send a signal to a container that is neither created nor running MUST have no
/// effect on the container and MUST generate an error." The text is matched by containerd.
#[test]
fn kill_of_a_stopped_container_is_an_error() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle());
        container.wait_for("stopped");
        container
            .kill("TERM")
            .exits(1)
            .fails_with(&["container not running"]);
        container.command(&["kill", "--all"]).ok();
        container.delete().ok();
    });
}

/// "This operation MUST send the specified signal to the container process"; created counts.
#[test]
fn kill_reaches_a_created_container() {
    sandbox::host(|s| {
        let container = s.create(&s.bundle());
        container.kill("KILL").ok();
        container.wait_for("stopped");
        container.delete().ok();
    });
}

/// The same for the signals that ask a process to end: the kernel keeps them from the first process
/// of a PID namespace that does not handle them, and an engine would wait for its time limit.
#[test]
fn a_created_container_ends_when_it_is_asked_to() {
    sandbox::host(|s| {
        for signal in ["TERM", "INT", "HUP", "QUIT"] {
            let container = s.create(&s.bundle());
            container.kill("USR1").ok();
            assert_eq!(container.status(), "created");
            container.kill(signal).ok();
            container.wait_for("stopped");
            container.start().fails();
            container.delete().ok();
        }
    });
}

/// What a created container does at a signal is over when its program runs.
#[test]
fn a_program_has_the_default_actions_of_signals() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; exec sleep 1000");
        let container = s.started(&bundle);
        container.wait_output("SigCgt");
        let none = "0000000000000000";
        assert_eq!(
            container.output(),
            format!("SigBlk:\t{none}\nSigIgn:\t{none}\nSigCgt:\t{none}\n")
        );
        container.remove();
    });
}

/// kill takes names with and without SIG in any case, and numbers.
#[test]
fn kill_knows_names_and_numbers() {
    sandbox::host(|s| {
        for signal in ["USR1", "SIGUSR1", "usr1", "10"] {
            let mut bundle = s.bundle();
            bundle.shell("trap 'echo got; exit' USR1; echo ready; while :; do sleep 0.01; done");
            let container = s.started(&bundle);
            container.wait_output("ready");
            container.kill(signal).ok();
            assert_eq!(container.finish(), "ready\ngot\n", "{signal}");
        }
    });
}

/// `--regex` of crun: one signal, and one deletion, for all containers that match. What does not
/// match stays, and a container that refuses is named while the others follow.
#[test]
fn a_pattern_names_several_containers() {
    sandbox::host(|s| {
        if s.is_control("only crun has --regex") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let [first, second, other] = [(); 3].map(|()| s.started(&bundle));
        let both = format!("^({}|{})$", first.id, second.id);
        s.runtime(&["delete", "--regex", &both])
            .exits(1)
            .fails_with(&[&second.id, "not stopped"]);
        s.runtime(&["kill", "--regex", &first.id, "KILL"]).ok();
        first.wait_for("stopped");
        // One has stopped: the signal is for the other.
        s.runtime(&["kill", "-r", &both, "KILL"]).ok();
        second.wait_for("stopped");
        let outcome = s.runtime(&["delete", "-r", "no-such-name"]).ok();
        assert!(
            outcome.stderr.contains("no-such-name"),
            "{}",
            outcome.stderr
        );
        for pattern in ["", "("] {
            let named = format!("--regex {pattern:?}: ");
            for command in [
                &["kill", "-r", pattern, "KILL"][..],
                &["delete", "-fr", pattern],
            ] {
                s.runtime(command).exits(1).fails_with(&[&named]);
            }
        }
        assert_eq!(other.status(), "running");
        s.runtime(&["delete", "--regex", &both]).ok();
        for gone in [&first.id, &second.id] {
            s.runtime(&["state", gone]).exits(1);
        }
        s.runtime(&["delete", "--force", "--regex", &other.id]).ok();
        s.runtime(&["list", "-q"]).prints("");
    });
}

/// An unknown signal is an error that names it, and no signal is sent.
#[test]
fn kill_refuses_unknown_signals() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        container.kill("NOSUCH").fails_with(&["signal", "NOSUCH"]);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// kill --all reaches every process of the container.
#[test]
fn kill_all_reaches_every_process() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.inherit("pid");
        bundle.shell("sleep 1001 & sleep 1002 & trap '' TERM; echo ready; wait; echo children gone; exec sleep 1003");
        let container = s.started(&bundle);
        container.wait_output("ready");
        container.command(&["kill", "--all"]).ok();
        container.wait_output("children gone");
        container.remove();
    });
}

/// "Attempting to delete a container that is not stopped MUST have no effect on the container and
/// MUST generate an error."
#[test]
fn delete_of_a_running_container_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        container
            .delete()
            .exits(1)
            .fails_with(&["not stopped", "running"]);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// "Deleting a container MUST delete the resources that were created during the create step": the
/// leak check looks; "Once a container is deleted its ID MAY be used by a subsequent container."
#[test]
fn an_id_can_be_used_again_after_delete() {
    sandbox::host(|s| {
        let id = s.id();
        for _ in 0..2 {
            s.try_create(&s.bundle(), &id, &[]).ok();
            s.runtime(&["start", &id]).ok();
            s.runtime(&["delete", "--force", &id]).ok();
        }
    });
}

/// delete --force kills what runs, and is content when there is nothing.
#[test]
fn forced_delete_always_ends_well() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("trap '' TERM INT HUP; echo ready; while :; do sleep 1; done");
        let container = s.started(&bundle);
        container.wait_output("ready");
        container.remove();
        container.remove();
    });
}

/// delete of a created container: engines tidy up with it after a failed start.
#[test]
fn delete_takes_a_created_container() {
    sandbox::host(|s| {
        let container = s.create(&s.bundle());
        container.delete().ok();
        container
            .command(&["state"])
            .fails_with(&["does not exist"]);
    });
}

/// "The runtime MUST NOT create the container if the ID is not unique": "the runtime MUST generate
/// an error ... and a new container MUST NOT be created."
#[test]
fn create_with_a_used_id_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let second = s.try_create(&s.bundle(), &container.id, &[]);
        second
            .exits(1)
            .fails_with(&["container with given id already exists"]);
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// "If the runtime cannot apply a property as specified in the configuration, it MUST generate an
/// error and a new container MUST NOT be created." Nothing stays: the leak check looks.
#[test]
fn a_failed_create_leaves_nothing() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/x", "type": "no-such-fs", "source": "none" }));
        bundle.writable();
        let id = s.id();
        s.try_create(&bundle, &id, &[]).fails();
        s.runtime(&["state", &id]).fails_with(&["does not exist"]);
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// The program is looked for at create. The text is matched by podman, docker and containerd.
#[test]
fn create_reports_a_missing_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["no-such-program"]);
        let words = ["exec: \"no-such-program\": executable file not found in $PATH"];
        s.try_create(&bundle, &s.id(), &[]).fails_with(&words);
    });
}

/// A path with a slash is not searched for.
#[test]
fn create_reports_a_missing_path() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["/bin/no-such-program"]);
        let words = ["/bin/no-such-program", "no such file or directory"];
        s.try_create(&bundle, &s.id(), &[]).fails_with(&words);
    });
}

/// A file without the execute bit is found and refused.
#[test]
fn create_reports_a_program_without_permission() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/bin/plain", "#!/bin/sh\n", 0o644);
        bundle.args(&["/bin/plain"]);
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/bin/plain", "permission denied"]);
    });
}

/// A directory is no program.
#[test]
fn create_reports_a_directory_as_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["/etc"]);
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        let line = outcome.last_line();
        assert!(
            line.contains("is a directory") || line.contains("permission denied"),
            "{line}"
        );
    });
}

/// run: the exit status of the program is that of the command.
#[test]
fn run_passes_the_exit_status() {
    sandbox::host(|s| {
        for code in [0, 1, 42, 255] {
            let mut bundle = s.bundle();
            bundle.shell(&format!("exit {code}"));
            s.run(&bundle).exits(code);
        }
    });
}

/// run: a program killed by signal n is status 128 + n.
#[test]
fn run_reports_a_signal_as_128_and_its_number() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("sleep 1000 & echo ready; wait");
        let mut command = s.command();
        let id = s.id();
        command
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(&id);
        let running = s.spawn(command, Some(&bundle));
        assert!(sandbox::eventually(|| running.stdout().contains("ready")));
        s.runtime(&["kill", &id, "KILL"]).ok();
        running.wait().exits(137);
    });
}

/// run forwards the signals that it gets to the container's process.
#[test]
fn run_forwards_signals() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell(
            "for n in HUP INT TERM USR1 USR2; do trap \"echo $n\" $n; done; trap 'exit 7' QUIT; \
                      echo ready; while :; do sleep 0.01; done",
        );
        let mut command = s.command();
        command
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        let running = s.spawn(command, Some(&bundle));
        assert!(sandbox::eventually(|| running.stdout().contains("ready")));
        for signal in ["HUP", "INT", "TERM", "USR1", "USR2"] {
            s.tool("kill", &["-s", signal, &running.pid().to_string()]);
            let seen = sandbox::eventually(|| running.stdout().lines().any(|line| line == signal));
            assert!(seen, "{signal}: {:?}", running.stdout());
        }
        s.tool("kill", &["-s", "QUIT", &running.pid().to_string()]);
        running.wait().exits(7);
    });
}

/// run --detach returns when the program runs, and the container stays until it is deleted.
#[test]
fn run_detached_returns_at_once() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let id = s.id();
        let mut command = s.command();
        command
            .args(["run", "--detach", "--bundle"])
            .arg(bundle.write())
            .arg(&id);
        s.finish(command, Some(&bundle)).ok();
        s.runtime(&["state", &id]).ok().contains("\"running\"");
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// run --keep leaves the stopped container to be looked at.
#[test]
fn run_keeps_the_container_when_asked() {
    sandbox::host(|s| {
        let help = s.runtime(&["run", "--help"]);
        if !help.stdout.contains("--keep") {
            return s.skip("this control has no run --keep");
        }
        let bundle = s.bundle();
        let id = s.id();
        let mut command = s.command();
        command
            .args(["run", "--keep", "--bundle"])
            .arg(bundle.write())
            .arg(&id);
        s.finish(command, Some(&bundle)).ok();
        s.runtime(&["state", &id]).ok().contains("\"stopped\"");
        s.runtime(&["delete", &id]).ok();
    });
}

/// run deletes the container that it has made, not one that has got the name since.
#[test]
fn run_leaves_a_new_container_of_the_same_name_alone() {
    sandbox::host(|s| {
        if s.is_control("runc deletes by name") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let id = s.id();
        let mut command = s.command();
        command
            .args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(&id);
        let running = s.spawn(command, Some(&bundle));
        let status = || s.runtime(&["state", &id]).stdout;
        assert!(sandbox::eventually(|| status().contains("\"running\"")));
        let run = running.pid().to_string();
        s.tool("kill", &["-STOP", &run]);
        s.runtime(&["delete", "--force", &id]).ok();
        s.runtime(&[
            "create",
            "--bundle",
            bundle.path.to_str().expect("UTF-8"),
            &id,
        ])
        .ok();
        s.tool("kill", &["-CONT", &run]);
        running.wait().exits(137);
        assert!(status().contains("\"created\""), "{}", status());
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// Row S7: `run` is the subreaper: it reaps orphans of the container's processes and passes the
/// status of the first.
#[test]
fn run_reaps_orphans_and_passes_the_status() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.inherit("pid");
        bundle.shell("(sleep 0.05 &) ; (true &); sleep 0.1; exit 3");
        s.run(&bundle).exits(3);
        assert!(
            sandbox::eventually(|| leak::processes().is_empty()),
            "{:?}",
            leak::processes()
        );
    });
}

/// The pid file holds the decimal number alone, and is there when create returns.
#[test]
fn the_pid_file_holds_the_pid_of_the_process() {
    sandbox::host(|s| {
        let file = s.dir.join("pid");
        let container = s.create_with(&s.bundle(), &["--pid-file", "pid"]);
        let text = fs::read_to_string(&file).expect("pid file");
        assert_eq!(text, container.pid().to_string());
        container.remove();
    });
}

/// A pid file replaces what has its name. `--pid-file /dev/null` must not replace the device, and
/// `/dev/stdout` not the link, whether the creation succeeds or not.
#[test]
fn a_pid_file_does_not_replace_a_device() {
    sandbox::host(|s| {
        if s.is_control("runc replaces /dev/null") {
            return;
        }
        // As /dev/stdout is; and a FIFO stands for /dev/null, which belongs to the whole machine.
        symlink("/proc/self/status", s.dir.join("link")).expect("symlink");
        s.tool("mkfifo", &[s.dir.join("fifo").to_str().expect("UTF-8")]);
        for name in ["fifo", "link"] {
            let place = s.dir.join(name);
            let before = fs::symlink_metadata(&place).expect("lstat").ino();
            let outcome = s.try_create(&s.bundle(), &s.id(), &["--pid-file", name]);
            outcome.fails_with(&["--pid-file", name, "which a file would replace"]);
            let after = fs::symlink_metadata(&place).expect("lstat").ino();
            assert_eq!(before, after, "{name}");
        }
    });
}

/// create and start print nothing on standard output; the bundle is the current directory when none
/// is given.
#[test]
fn create_and_start_are_silent_and_take_the_current_directory() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        let id = s.id();
        let mut command = s.command();
        command.current_dir(bundle.write()).args(["create", &id]);
        s.finish(command, Some(&bundle)).prints("");
        s.runtime(&["start", &id]).prints("");
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// "run" passes signals on from the start of the program, also while poststart hooks run.
#[test]
fn a_signal_during_a_poststart_hook_reaches_the_program() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 runs poststart hooks in create") {
            return;
        }
        let mut bundle = s.bundle();
        let sign = s.dir.join("sign");
        let script = format!(
            "sign={}; echo > $sign; while test -e $sign; do sleep 0.1; done",
            sign.display()
        );
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] });
        bundle
            .set("/hooks/poststart/-", hook)
            .shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done");
        let mut command = s.command();
        command.args(["run", "--bundle"]).arg(bundle.write());
        command.arg(s.id());
        let run = s.spawn(command, Some(&bundle));
        let is_ready = || sign.exists() && run.stdout() == "ready\n";
        assert!(sandbox::eventually(is_ready), "no hook");
        s.tool("kill", &["-USR1", &run.pid().to_string()]);
        fs::remove_file(&sign).expect("rm");
        run.wait().exits(9);
    });
}

/// The end of a killed process takes time: `delete` after `kill ID KILL` waits for it. In the
/// freezer of cgroup v1 a killed process lives until it is thawed.
#[test]
fn delete_waits_for_a_process_that_was_killed() {
    sandbox::host(|s| {
        if s.lacks_v1(&["freezer"]) {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        container.command(&["pause"]).ok();
        let pid = container.pid().to_string();
        s.tool("kill", &["-9", &pid]);
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("groups");
        let path = groups.lines().find_map(|line| line.split_once(":freezer:"));
        let (_, path) = path.expect("the freezer");
        let state = format!("/sys/fs/cgroup/freezer{path}/freezer.state");
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(500));
                fs::write(&state, "THAWED").expect("the freezer");
            });
            container.delete().prints("");
        });
        container
            .command(&["state"])
            .fails_with(&["does not exist"]);
    });
}
