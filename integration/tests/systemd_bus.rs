//! systemd and the ways to it: units of the same name, a runtime that was killed, ordinary users,
//! sockets that hang or are not there.
//!
//! What needs systemd as process 1 runs in the virtual machine (`just vm-test systemd_bus`); a bus
//! that hangs, and none, are tested anywhere.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use integration::sandbox::{self, USER};
use integration::scope::{bundle, create, is_gone, no_state_is_left, show, started, systemctl};
use serde_json::json;

/// A living unit of that name belongs to another service: it is refused, and left alone, wherever
/// its group is.
#[test]
fn a_living_unit_of_the_name_is_left_alone() {
    sandbox::systemd(|s| {
        for slice in ["system.slice", "locule-other.slice"] {
            let (bundle, id) = bundle(s, slice);
            let unit = format!("p-{id}.scope");
            let mut other = Command::new("systemd-run");
            other.args(["--scope", "--quiet", "--unit", &unit, "sleep", "1000"]);
            // Nobody waits for what it may print after a failed test.
            other.stdout(Stdio::null()).stderr(Stdio::null());
            let mut other = other.spawn().expect("systemd-run");
            assert!(sandbox::eventually(
                || show(s, &unit)["ActiveState"] == "active"
            ));
            let told = if slice == "system.slice" {
                "occupied"
            } else {
                "systemd already has a unit"
            };
            create(s, &bundle, &id).fails_with(&[told, &unit]);
            assert_eq!(show(s, &unit)["ActiveState"], "active");
            assert!(other.try_wait().expect("wait").is_none());
            systemctl(s, &["stop", &unit]).ok();
            other.wait().expect("wait");
            no_state_is_left(s);
        }
    });
}

/// What a failed unit of that name has left in systemd is no obstacle.
#[test]
fn a_failed_unit_of_the_name_is_replaced() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        let unit = format!("p-{id}.scope");
        let mut other = Command::new("systemd-run");
        other.args(["--scope", "--quiet", "--unit", &unit]);
        other.args(["-p", "RuntimeMaxSec=100ms", "sleep", "1000"]);
        let _killed = other.status().expect("systemd-run");
        assert!(sandbox::eventually(
            || show(s, &unit)["ActiveState"] == "failed"
        ));
        let scope = started(s, &bundle, &id);
        scope.shows(&[("ActiveState", "active")]);
        scope.remove();
    });
}

/// The runtime is killed while the scope is there and the state is not complete: the journal names
/// the unit.
#[test]
fn delete_by_force_ends_the_scope_of_a_killed_runtime() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        let unit = format!("p-{id}.scope");
        bundle.set(
            "/hooks/createRuntime",
            json!([{ "path": "/bin/sleep", "args": ["sleep", "1000"] }]),
        );
        let mut command = s.command();
        command.args(["--systemd-cgroup", "create", "--bundle"]);
        command.arg(bundle.write()).arg(&id);
        let running = s.spawn(command, Some(&bundle));
        let hook = || {
            s.tool(
                "sh",
                &["-c", &format!("pgrep -P {} sleep || :", running.pid())],
            )
        };
        assert!(sandbox::eventually(|| !hook().is_empty()));
        assert_eq!(show(s, &unit)["ActiveState"], "active");
        let hook = hook();
        s.tool("kill", &["-9", &running.pid().to_string()]);
        s.tool("kill", &["-9", hook.trim()]);
        let _killed = running.wait();
        s.runtime(&["delete", "--force", &id]).ok();
        is_gone(s, &unit);
        no_state_is_left(s);
    });
}

/// The record is damaged and there is no journal: the form of the path tells whose the group is,
/// whatever `delete` is told.
#[test]
fn delete_by_force_ends_the_scope_of_a_damaged_record() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        let scope = started(s, &bundle, &id);
        let pid = scope.pid();
        fs::write(s.state.join(&id).join("state.json"), "{").expect("write");
        fs::remove_file(s.state.join(&id).join("journal.json")).expect("rm");
        s.runtime(&["delete", "--force", &id]).ok();
        is_gone(s, &scope.unit);
        assert!(!Path::new("/proc").join(pid.to_string()).exists());
        no_state_is_left(s);
    });
}

/// An ordinary user's container is a scope of the user's own systemd, with the controllers that it
/// was given.
#[test]
fn a_user_has_scopes_of_their_own() {
    sandbox::systemd_user(|s| {
        let (mut bundle, id) = bundle(s, "");
        bundle.set(
            "/linux/resources",
            json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 30 } }),
        );
        let scope = started(s, &bundle, &id);
        let path = format!(
            "/user.slice/user-{USER}.slice/user@{USER}.service/user.slice/{}",
            scope.unit
        );
        assert_eq!(scope.path(), path);
        scope.shows(&[
            ("ActiveState", "active"),
            ("MemoryMax", "67108864"),
            ("TasksMax", "30"),
        ]);
        let files = [("memory.max", "67108864"), ("pids.max", "30")];
        scope.has(&files);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&files);
        scope.command(&["update", "--pids-limit", "40"]).ok();
        scope.has(&[("pids.max", "40")]);
        scope.command(&["pause"]).ok();
        assert!(scope.is("paused"));
        scope.command(&["resume"]).ok();
        scope.remove();
        no_state_is_left(s);
    });
}

/// `exec` from another session of the user, whose group the user may not take processes out of:
/// systemd moves the process.
#[test]
fn a_user_enters_a_container_from_another_session() {
    sandbox::systemd_user(|s| {
        if s.is_control("runc 1.1 does not ask systemd") {
            return;
        }
        let (bundle, id) = bundle(s, "");
        let scope = started(s, &bundle, &id);
        let user = USER.to_string();
        let exec = |options: &[&str], script: &str| {
            let mut command = Command::new("systemd-run");
            command.args(["--scope", "--quiet", "--collect"]);
            command.arg(format!("--slice=user-{user}.slice"));
            command.args([
                "setpriv",
                "--reuid",
                &user,
                "--regid",
                &user,
                "--clear-groups",
            ]);
            command.arg(&s.subject.program).arg("--root").arg(&s.state);
            command
                .arg("exec")
                .args(options)
                .args([&id, "sh", "-c", script]);
            command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
            s.finish(command, None)
        };
        // In the container's cgroup namespace.
        exec(&[], "cat /proc/self/cgroup").prints("0::/");
        fs::create_dir(format!("/sys/fs/cgroup{}/below", scope.path())).expect("a sub-group");
        exec(&["--cgroup", "below"], "cat /proc/self/cgroup").prints("0::/below");
        exec(&["--cgroup", "absent"], "true")
            .exits(255)
            .fails_with(&["absent"]);
        scope.remove();
        no_state_is_left(s);
    });
}

/// As an engine calls without privileges: from within a user namespace, where the user is 0, and
/// with next to no environment.
#[test]
fn a_user_is_known_from_within_a_user_namespace() {
    sandbox::systemd_user(|s| {
        let (mut bundle, id) = bundle(s, "");
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        bundle
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
        // Twice: with the directory that engines name, and with an empty name.
        for directory in [format!("/run/user/{USER}"), String::new()] {
            let user = USER.to_string();
            let runtime = |args: &[&str]| {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
                command.args(["unshare", "--user", "--map-root-user", "--"]);
                command.arg(&s.subject.program).arg("--root").arg(&s.state);
                command
                    .args(args)
                    .env_clear()
                    .env("XDG_RUNTIME_DIR", &directory);
                command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
                s.finish(command, Some(&bundle))
            };
            let path = bundle.write().to_str().expect("UTF-8");
            runtime(&["--systemd-cgroup", "create", "--bundle", path, &id]).ok();
            let unit = format!("p-{id}.scope");
            assert_eq!(show(s, &unit)["ActiveState"], "active");
            runtime(&["start", &id]).ok();
            runtime(&["delete", "--force", &id]).ok();
            is_gone(s, &unit);
        }
    });
}

/// Where systemd's own socket takes nobody, the message bus is asked; so it is with the later
/// commands.
#[test]
fn the_message_bus_is_the_second_way() {
    sandbox::systemd(|s| {
        let real = "/run/systemd/private";
        let file = s.dir.join("nobody");
        fs::write(&file, "").expect("file");
        s.tool("mount", &["--bind", file.to_str().expect("UTF-8"), real]);
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set("/linux/resources", json!({ "pids": { "limit": 60 } }));
        let scope = started(s, &bundle, &id);
        scope.has(&[("pids.max", "60")]);
        scope.command(&["update", "--pids-limit", "70"]).ok();
        scope.has(&[("pids.max", "70")]);
        scope.command(&["delete", "--force"]).prints("");
        s.tool("umount", &[real]);
        is_gone(s, &scope.unit);
        no_state_is_left(s);
    });
}

/// systemd hangs: creating ends at its deadline and leaves nothing, deleting goes on without it.
/// What hangs is a socket of the test's in the place of systemd's own, for this test alone.
#[test]
fn a_stuck_systemd_holds_nobody_up_for_ever() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        let scope = started(s, &bundle, &id);
        let (second, other) = self::bundle(s, "system.slice");
        let stuck = s.dir.join("stuck");
        let listener = UnixListener::bind(&stuck).expect("socket");
        let real = "/run/systemd/private";
        s.tool("mount", &["--bind", stuck.to_str().expect("UTF-8"), real]);
        let begin = Instant::now();
        let created = create(s, &second, &other);
        let after_create = begin.elapsed();
        let deleted = scope.command(&["delete", "--force"]);
        let after_delete = begin.elapsed() - after_create;
        s.tool("umount", &[real]);
        drop(listener);
        created.fails_with(&["did not answer within 30s", real]);
        assert!(after_create < Duration::from_secs(45), "{after_create:?}");
        let deleted = deleted.ok();
        assert!(
            deleted.stderr.contains("did not answer within 10s"),
            "{}",
            deleted.stderr
        );
        assert!(after_delete < Duration::from_secs(25), "{after_delete:?}");
        no_state_is_left(s);
        // The real one has seen the end of the last process.
        assert!(sandbox::eventually(
            || show(s, &scope.unit)["LoadState"] == "not-found"
        ));
        is_gone(s, &scope.unit);
    });
}

/// What systemd leaves below `/run`, which is the sandbox's own; goes with it.
struct Pretended;

impl Pretended {
    fn make() -> Self {
        fs::create_dir_all("/run/systemd/system").expect("/run/systemd/system");
        Self
    }
}

impl Drop for Pretended {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all("/run/systemd");
    }
}

/// Where systemd does not run, the error says so and what to do instead; here or anywhere.
#[test]
fn without_systemd_the_way_out_is_named() {
    sandbox::pure_v2(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        create(s, &bundle, &id).fails_with(&["/run/systemd/system", "--cgroup-manager cgroupfs"]);
        no_state_is_left(s);
        // systemd is there, and its sockets are not.
        let _systemd = Pretended::make();
        create(s, &bundle, &id)
            .fails_with(&["/run/systemd/private", "/run/dbus/system_bus_socket"]);
        no_state_is_left(s);
    });
}

/// A bus that accepts and says nothing, one that closes, and one that raves: an error that names
/// it, in time, and nothing is left.
#[test]
fn a_bus_that_does_not_work_is_named() {
    sandbox::pure_v2(|s| {
        let _systemd = Pretended::make();
        let socket = Path::new("/run/systemd/private");
        let (bundle, id) = bundle(s, "system.slice");
        for (says, told) in [
            (Some(&b""[..]), "did not answer within 30s (greeting)"),
            (Some(b"REJECTED\r\n"), "refuses this user"),
            (
                Some(b"OK 0\r\nwhat is this, a message?"),
                "an invalid message",
            ),
            (None, "closed the connection"),
        ] {
            let listener = UnixListener::bind(socket).expect("socket");
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("accept");
                says.map(|says| {
                    std::io::Write::write_all(&mut stream, says).expect("write");
                    stream
                })
            });
            let begin = Instant::now();
            create(s, &bundle, &id).fails_with(&[told, "unix:path=/run/systemd/private"]);
            assert!(begin.elapsed() < Duration::from_secs(45));
            drop(server.join().expect("server"));
            fs::remove_file(socket).expect("socket");
            no_state_is_left(s);
        }
    });
}

/// A host with v1 hierarchies is refused by name.
#[test]
fn a_host_with_v1_is_refused() {
    sandbox::host(|s| {
        if s.is_v2() {
            s.skip("cgroup v2 alone here; covered where the machine has v1, in environment host");
            return;
        }
        let _systemd = Pretended::make();
        let socket = UnixListener::bind("/run/systemd/private").expect("socket");
        let (bundle, id) = bundle(s, "system.slice");
        create(s, &bundle, &id).fails_with(&["only cgroup v2", "--cgroup-manager cgroupfs"]);
        drop(socket);
        no_state_is_left(s);
    });
}
