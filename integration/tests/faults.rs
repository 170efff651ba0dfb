//! Faults: the runtime is killed at a system call, races itself, finds its state directory full,
//! read-only or corrupted.
//!
//! The specification: "an error MUST leave the environment as if never attempted". After a SIGKILL,
//! which nobody can handle, one `delete --force` does that, and `create` with the same id works
//! again. `LOCULE_FAULTS=all` takes every system call, a number takes that many of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::faults::{self, Point};
use integration::runtime::{Running, children};
use integration::{Bundle, Sandbox, leak, sandbox};
use serde_json::json;

/// `create` below strace with these options. Where init is followed, strace ends only with it: this
/// returns when the container is created or the command is over, whichever comes first.
fn traced(s: &Sandbox, bundle: &Bundle, id: &str, options: &[&str]) -> Running {
    let mut command = Command::new("strace");
    command
        .args(options)
        .arg(&s.subject.program)
        .arg("--root")
        .arg(&s.state);
    command
        .arg("create")
        .arg("--bundle")
        .arg(bundle.write())
        .arg(id);
    let mut running = s.spawn(command, Some(bundle));
    let created = || s.runtime(&["state", id]).stdout.contains("\"created\"");
    sandbox::eventually(|| running.is_over() || created());
    running
}

/// Every system call of a create, in both stages or in the parent alone, as strace saw it.
fn points(s: &Sandbox, bundle: &Bundle, follow: bool) -> Vec<Point> {
    let trace = s.dir.join("trace");
    let id = s.id();
    let mut options = vec!["--output", trace.to_str().expect("UTF-8")];
    if follow {
        options.push("--follow-forks");
    }
    let running = traced(s, bundle, &id, &options);
    s.runtime(&["delete", "--force", &id]).ok();
    running.wait();
    let text = String::from_utf8_lossy(&fs::read(&trace).expect("trace")).into_owned();
    faults::points(&text)
}

/// Kills a create at one point and requires that one `delete --force` restores the host and the id.
fn die_and_recover(s: &Sandbox, bundle: &Bundle, follow: bool, (call, number): &Point) {
    let id = s.id();
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let mut options = vec!["--output", "/dev/null", "-e", &inject];
    if follow {
        options.push("--follow-forks");
    }
    let running = traced(s, bundle, &id, &options);
    let first = s.runtime(&["delete", "--force", &id]);
    let status = running.wait().status;
    let at = format!("killed at {call} number {number} (follow {follow}), {status}");
    assert!(
        first.status.success(),
        "{at}: {}",
        first.describe("delete --force")
    );
    let clean = || {
        let state = s.state.join(&id).exists();
        !state && leak::processes().is_empty() && leak::cgroups(&id).is_empty()
    };
    assert!(
        sandbox::eventually(clean),
        "{at}: processes {:?}, cgroups {:?}, state {}",
        leak::processes(),
        leak::cgroups(&id),
        s.state.join(&id).exists()
    );
    s.try_create(bundle, &id, &[]).ok();
    s.runtime(&["start", &id]).ok();
    s.runtime(&["delete", "--force", &id]).ok();
}

fn sweep(s: &Sandbox, follow: bool) {
    sweep_of(s, &s.bundle(), follow);
}

fn sweep_of(s: &Sandbox, bundle: &Bundle, follow: bool) {
    let before = leak::mounts();
    for point in faults::sample(points(s, bundle, follow), 16) {
        die_and_recover(s, bundle, follow, &point);
        assert_eq!(leak::mounts(), before, "{point:?}");
    }
}

/// "delete --force" after a SIGKILL of the command at any system call; init dies with it.
#[test]
fn create_killed_at_any_call_is_cleaned_by_one_delete() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves processes and state behind") {
            return;
        }
        sweep(s, false);
    });
}

/// The same with the container's init counted too: the process that comes first to the n-th call
/// of a kind dies.
#[test]
fn init_killed_at_any_call_is_cleaned_by_one_delete() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves processes and state behind") {
            return;
        }
        sweep(s, true);
    });
}

/// A container without a mount namespace of its own mounts in its maker's: nothing stays there
/// either.
#[test]
fn mounts_of_a_killed_create_are_cleaned_by_one_delete() {
    sandbox::host(|s| {
        if s.is_control("runc leaves the mounts behind") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.inherit("mount");
        bundle
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths");
        bundle.writable();
        sweep_of(s, &bundle, true);
    });
}

/// A created container whose init was killed: start says so, delete cleans.
#[test]
fn start_of_a_container_whose_init_died_is_an_error() {
    sandbox::host(|s| {
        let container = s.create(&s.bundle());
        s.tool("kill", &["-9", &container.pid().to_string()]);
        container.wait_for("stopped");
        container.start().fails();
        container.delete().ok();
    });
}

/// A `create` that is asked to stop while a hook hangs stops it, and leaves nothing behind.
#[test]
fn a_create_with_a_hanging_hook_can_be_stopped() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 waits for the hook") {
            return;
        }
        let (id, create) = s.create_that_hangs("createRuntime");
        s.tool("kill", &["-TERM", &create.pid().to_string()]);
        create.wait().fails_with(&["signal 15"]);
        assert!(!s.state.join(&id).exists());
    });
}

/// A `create` that is killed takes init with it, also while a hook of the container hangs, for
/// which init waits.
#[test]
fn init_ends_with_a_create_that_is_killed() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves its init to delete") {
            return;
        }
        let (id, create) = s.create_that_hangs("createContainer");
        let made = children(create.pid());
        assert_eq!(made.len(), 1, "init alone");
        s.tool("kill", &["-KILL", &create.pid().to_string()]);
        create.wait();
        let init = Path::new("/proc").join(made[0].to_string());
        assert!(sandbox::eventually(|| !init.exists()), "init lives on");
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// While a startContainer hook hangs, nobody is kept from deleting the container; the `start` that
/// waits says that its program was never reached.
#[test]
fn a_start_with_a_hanging_hook_is_ended_by_delete() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 says nothing of it") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["echo", "program"]);
        bundle.set(
            "/hooks/startContainer/-",
            json!({ "path": "/bin/sleep", "args": ["sleep", "1000"] }),
        );
        let container = s.create(&bundle);
        let mut command = s.command();
        command.args(["start", &container.id]);
        let start = s.spawn(command, None);
        assert!(sandbox::eventually(|| container.status() == "running"));
        s.runtime(&["delete", "--force", &container.id]).ok();
        start.wait().fails_with(&["before its program ran"]);
        assert!(!s.state.join(&container.id).exists());
    });
}

/// Issue 9, A10: neither a createRuntime hook that hangs nor a listener that says nothing keeps
/// anybody from deleting the container that is being made.
#[test]
fn a_create_that_hangs_is_ended_by_delete() {
    sandbox::host(|s| {
        if s.is_control("runc's create says nothing of it") {
            return;
        }
        let marker = s.dir.join("hook-runs");
        let line = format!("touch {}; exec sleep 1000", marker.display());
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let mut bundle = s.bundle();
            bundle.set(
                &format!("/hooks/{kind}/-"),
                json!({ "path": "/bin/sh", "args": ["sh", "-c", line] }),
            );
            let id = s.id();
            let mut command = s.command();
            command
                .args(["create", "--bundle"])
                .arg(bundle.write())
                .arg(&id);
            let create = s.spawn(command, Some(&bundle));
            assert!(sandbox::eventually(|| marker.exists()), "no hook");
            s.runtime(&["delete", "--force", &id]).ok();
            create.wait().fails_with(&["signal 15"]);
            assert!(!s.state.join(&id).exists());
            fs::remove_file(&marker).expect("the marker");
        }
    });
}

/// A `run` whose startContainer hook hangs keeps nobody from deleting the container either, and
/// stops when it is asked to.
#[test]
fn a_run_with_a_hanging_hook_is_ended_by_delete_and_by_signals() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 waits for the hook") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["echo", "program"]);
        bundle.set(
            "/hooks/startContainer/-",
            json!({ "path": "/bin/sleep", "args": ["sleep", "1000"] }),
        );
        for ended_by in ["delete", "signal"] {
            let id = s.id();
            let mut command = s.command();
            command
                .args(["run", "--bundle"])
                .arg(bundle.write())
                .arg(&id);
            let run = s.spawn(command, None);
            let state = s.state.join(&id).join("state.json");
            assert!(sandbox::eventually(|| state.exists()), "no container");
            if ended_by == "delete" {
                s.runtime(&["delete", "--force", &id]).ok();
                run.wait().fails_with(&["killed by signal 9"]);
            } else {
                s.tool("kill", &["-TERM", &run.pid().to_string()]);
                run.wait().fails_with(&["signal 15"]);
            }
            assert!(!s.state.join(&id).exists());
        }
    });
}

/// A `start` that is killed while a startContainer hook runs: the container runs on, is no longer
/// "created" and not deleted without force.
#[test]
fn a_killed_start_leaves_a_container_that_counts_as_running() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "sleep 0.5; exit 0"] });
        bundle
            .set("/hooks/startContainer/-", hook)
            .shell("echo program; exec sleep 1000");
        let container = s.create(&bundle);
        let mut command = s.command();
        command.args(["start", &container.id]);
        let start = s.spawn(command, None);
        let children = format!("/proc/{0}/task/{0}/children", container.pid());
        let hook_runs = || fs::read_to_string(&children).is_ok_and(|text| !text.is_empty());
        assert!(sandbox::eventually(hook_runs), "no hook");
        s.tool("kill", &["-9", &start.pid().to_string()]);
        start.wait();
        container.wait_output("program\n");
        assert_eq!(container.status(), "running");
        container.delete().fails_with(&["running"]);
        container.remove();
    });
}

/// A caller that ignores SIGCHLD hands that down. Hooks and the container are waited for all the
/// same.
#[test]
fn an_ignored_sigchld_of_the_caller_changes_nothing() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        for kind in ["createRuntime", "poststop"] {
            let hook = json!({ "path": "/bin/true" });
            bundle.set(&format!("/hooks/{kind}/-"), hook);
        }
        bundle.shell("exit 7");
        let mut command = Command::new("timeout");
        command.args(["60", "env", "--ignore-signal=CHLD"]);
        let outcome = s.run_by(command, &bundle).exits(7);
        assert_eq!(outcome.stderr, "");
    });
}

/// "the ID is unique": of many creates of one id exactly one wins, and the losers leave it alone.
#[test]
fn of_concurrent_creates_exactly_one_wins() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 looks before it makes the directory") {
            return;
        }
        for _ in 0..5 {
            let id = s.id();
            let bundles: Vec<_> = (0..4).map(|_| s.bundle()).collect();
            let running: Vec<_> = bundles
                .iter()
                .map(|bundle| {
                    let mut command = s.command();
                    command
                        .arg("create")
                        .arg("--bundle")
                        .arg(bundle.write())
                        .arg(&id);
                    s.spawn(command, Some(bundle))
                })
                .collect();
            let outcomes: Vec<_> = running.into_iter().map(Running::wait).collect();
            let won = outcomes.iter().filter(|o| o.status.success()).count();
            assert_eq!(won, 1, "{outcomes:#?}");
            s.runtime(&["start", &id]).ok();
            s.runtime(&["delete", "--force", &id]).ok();
        }
    });
}

/// Different containers do not hinder each other.
#[test]
fn concurrent_runs_all_succeed() {
    sandbox::host(|s| {
        let bundles: Vec<_> = (0..8).map(|_| s.bundle()).collect();
        let running: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                let mut command = s.command();
                command
                    .arg("run")
                    .arg("--bundle")
                    .arg(bundle.write())
                    .arg(s.id());
                s.spawn(command, Some(bundle))
            })
            .collect();
        for outcome in running {
            outcome.wait().ok();
        }
    });
}

/// A state directory without room: a clear error, nothing left; or it just fits and works.
#[test]
fn a_full_state_directory_leaves_nothing_behind() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves an empty directory") {
            return;
        }
        let small = s.dir.join("small");
        fs::create_dir(&small).expect("mkdir");
        let place = small.to_str().expect("UTF-8");
        for inodes in 1..10 {
            s.tool(
                "mount",
                &[
                    "-t",
                    "tmpfs",
                    "-o",
                    &format!("size=4k,nr_inodes={inodes}"),
                    "tmpfs",
                    place,
                ],
            );
            let bundle = s.bundle();
            let id = s.id();
            let mut command = Command::new(&s.subject.program);
            command
                .args(["--root", place, "create", "--bundle"])
                .arg(bundle.write())
                .arg(&id);
            let outcome = s.finish(command, Some(&bundle));
            if outcome.status.success() {
                let mut command = Command::new(&s.subject.program);
                command.args(["--root", place, "delete", "--force", &id]);
                s.finish(command, None).ok();
            } else {
                outcome.fails_with(&["no space left"]);
            }
            assert_eq!(
                fs::read_dir(&small).expect("list").count(),
                0,
                "{inodes} inodes"
            );
            assert!(
                sandbox::eventually(|| leak::processes().is_empty()),
                "{inodes} inodes: {:?}",
                leak::processes()
            );
            s.tool("umount", &[place]);
        }
    });
}

/// A read-only state directory: a clear error.
#[test]
fn a_readonly_state_directory_is_an_error() {
    sandbox::host(|s| {
        let fixed = s.dir.join("fixed");
        fs::create_dir(&fixed).expect("mkdir");
        let place = fixed.to_str().expect("UTF-8");
        s.tool("mount", &["-t", "tmpfs", "-o", "ro", "tmpfs", place]);
        let bundle = s.bundle();
        let mut command = Command::new(&s.subject.program);
        command
            .args(["--root", place, "create", "--bundle"])
            .arg(bundle.write())
            .arg(s.id());
        s.finish(command, Some(&bundle))
            .fails_with(&["read-only file system"]);
        s.tool("umount", &[place]);
    });
}

/// A caller with a limit on the size of files: no half-made entry is left, whatever could not be
/// written.
#[test]
fn a_limit_on_file_sizes_leaves_nothing_half_made() {
    sandbox::host(|s| {
        if s.is_control("runc is ended by the signal") {
            return;
        }
        let bundle = s.bundle();
        for bytes in ["0", "100"] {
            let mut command = Command::new("prlimit");
            command
                .arg(format!("--fsize={bytes}"))
                .arg("--core=0")
                .arg(&s.subject.program)
                .arg("--root")
                .arg(&s.state)
                .args(["create", "--bundle"])
                .arg(bundle.write())
                .arg(s.id());
            // Its output would be a file too.
            let output = command.output().expect("prlimit");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("file too large"), "{text}");
            assert_eq!(fs::read_dir(&s.state).expect("state").count(), 0, "{bytes}");
        }
    });
}

/// Damages state.json of a running container by `damage`, then requires that a forced delete ends
/// its process and removes its cgroup.
fn deleted_in_spite_of(s: &Sandbox, damage: impl FnOnce(&Path)) {
    let mut bundle = s.bundle();
    bundle
        .args(&["sleep", "4444"])
        .set("/linux/cgroupsPath", json!(format!("/{}-group", s.token)));
    let container = s.started(&bundle);
    let file = s.state.join(&container.id).join("state.json");
    assert!(file.is_file(), "{}", file.display());
    damage(&file);
    container.remove();
    assert!(
        sandbox::eventually(|| leak::processes().is_empty()),
        "{:?}",
        leak::processes()
    );
    assert!(
        leak::cgroups(&s.token).is_empty(),
        "{:?}",
        leak::cgroups(&s.token)
    );
    assert!(!s.state.join(&container.id).exists());
}

/// A truncated record.
#[test]
fn truncated_state_is_cleaned_all_the_same() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves the process") {
            return;
        }
        for keep in [0, 1, 10, 50, 200] {
            deleted_in_spite_of(s, |file| {
                let bytes = fs::read(file).expect("read");
                fs::write(file, &bytes[..keep.min(bytes.len() - 1)]).expect("write");
            });
        }
    });
}

/// A missing record.
#[test]
fn missing_state_is_cleaned_all_the_same() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves the process") {
            return;
        }
        deleted_in_spite_of(s, |file| fs::remove_file(file).expect("rm"));
    });
}

/// No record and no journal: the configuration says where the cgroup is.
#[test]
fn state_without_record_and_journal_is_cleaned_by_its_configuration() {
    sandbox::host(|s| {
        if s.is_control("runc has one file") {
            return;
        }
        deleted_in_spite_of(s, |file| {
            fs::remove_file(file).expect("rm");
            fs::write(file.with_file_name("journal.json"), "{").expect("write");
        });
    });
}

/// A runtime that died before it wrote a record has made nothing: what is at the configuration's
/// cgroup path is another's, and lives on.
#[test]
fn a_container_that_never_was_takes_no_other_with_it() {
    sandbox::host(|s| {
        if s.is_control("how locule keeps its state") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/cgroupsPath", json!(format!("/{}", s.id())))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let id = s.id();
        let state = s.state.join(&id);
        fs::create_dir(&state).expect("mkdir");
        fs::copy(
            s.state.join(&container.id).join("config.json"),
            state.join("config.json"),
        )
        .expect("copy");
        let deleted = s.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(deleted.stderr, "", "nothing was lost");
        assert!(!state.exists());
        assert_eq!(container.status(), "running");
        container.remove();
    });
}

/// A record with a flipped byte is not believed.
#[test]
fn flipped_state_is_cleaned_all_the_same() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no checksum") {
            return;
        }
        for place in [2, 20, 60, 120] {
            deleted_in_spite_of(s, |file| {
                let mut bytes = fs::read(file).expect("read");
                let place = place.min(bytes.len() - 1);
                bytes[place] ^= 1;
                fs::write(file, bytes).expect("write");
            });
        }
    });
}

/// A record that is a directory.
#[test]
fn a_directory_as_state_is_cleaned_all_the_same() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves the process") {
            return;
        }
        deleted_in_spite_of(s, |file| {
            fs::remove_file(file).expect("rm");
            fs::create_dir(file).expect("mkdir");
        });
    });
}

/// A directory without any record: what a create leaves that dies first of all.
#[test]
fn an_empty_directory_of_an_id_is_removed() {
    sandbox::host(|s| {
        let id = s.id();
        fs::create_dir(s.state.join(&id)).expect("mkdir");
        s.runtime(&["delete", "--force", &id]).ok();
        assert!(!s.state.join(&id).exists());
        s.try_create(&s.bundle(), &id, &[]).ok();
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// The record is from before a reboot, and another process has the pid now: it is never signalled.
#[test]
fn a_recycled_pid_is_left_alone() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let pid = container.pid();
        s.tool("kill", &["-9", &pid.to_string()]);
        container.wait_for("stopped");
        assert!(sandbox::eventually(
            || !Path::new(&format!("/proc/{pid}")).exists()
        ));
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("ns_last_pid");
        let mut other = Command::new("sleep").arg("1000").spawn().expect("sleep");
        if i64::from(other.id()) == pid {
            assert_eq!(container.status(), "stopped");
            container.kill("KILL").fails();
            container.remove();
            assert!(
                other.try_wait().expect("wait").is_none(),
                "the other process was killed"
            );
        } else {
            container.remove();
            s.skip("another process took the pid; the test passes on most runs");
        }
        other.kill().expect("kill");
        other.wait().expect("wait");
    });
}
