//! Whose a control group is, and what a kill and a deletion reach in it: all groups and processes
//! of the container, and nothing of others.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::{Group, Sandbox, leak, sandbox};
use serde_json::json;

/// Sub-groups that the container made in its own group go with it, occupied, threaded or frozen.
#[test]
fn sub_groups_of_the_container_are_deleted_with_it() {
    sandbox::pure_v2(|s| {
        if s.is_control("runc 1.1 leaves them") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .in_group(s)
            .namespace("cgroup")
            .unmount("/sys/fs/cgroup")
            .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup2", "options": ["rw"] }))
            .shell(
                "cd /sys/fs/cgroup; mkdir -p a/b/c threads frozen empty/x/y || exit; \
                 for group in a a/b/c threads frozen; do sleep 1000 & echo $! > $group/cgroup.procs || exit; done; \
                 mkdir threads/t && echo threaded > threads/t/cgroup.type || exit; \
                 echo 1 > frozen/cgroup.freeze; echo ready; exec sleep 1000",
            );
        for kill_first in [false, true] {
            let container = s.started(&bundle);
            container.wait_output("ready");
            if kill_first {
                container.kill("KILL").ok();
                container.wait_for("stopped");
                container.delete().ok();
            } else {
                container.remove();
            }
            assert!(!Group::of_test(s).exists());
        }
    });
}

/// The same in v1's freezer, whose frozen processes do not even die.
#[test]
fn frozen_sub_groups_of_v1_are_deleted_with_the_container() {
    sandbox::host(|s| {
        if s.lacks_v1(&["freezer"]) || s.is_control("runc 1.1 waits for ever") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .in_group(s)
            .namespace("cgroup")
            .unmount("/sys/fs/cgroup")
            .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] }))
            .shell(
                "cd /sys/fs/cgroup/freezer; mkdir -p a/b c || exit; \
                 for group in a a/b c; do sleep 1000 & echo $! > $group/cgroup.procs || exit; done; \
                 echo FROZEN > a/freezer.state; echo FROZEN > c/freezer.state; echo ready; exec sleep 1000",
            );
        let container = s.started(&bundle);
        container.wait_output("ready");
        container.remove();
        assert!(!Group::of_test(s).exists());
    });
}

/// A second container with the same cgroupsPath lives on when the first, which has stopped, is
/// deleted.
#[test]
fn a_deletion_leaves_the_next_container_of_the_group() {
    sandbox::host(|s| {
        leaves_the_next(s);
    });
}

/// The same where cgroup v2 is all there is.
#[test]
fn a_deletion_leaves_the_next_container_in_v2() {
    sandbox::pure_v2(|s| {
        leaves_the_next(s);
    });
}

fn leaves_the_next(s: &Sandbox) {
    if s.is_control("runc 1.1 kills it") {
        return;
    }
    for (own_first, own_second) in [(true, true), (false, false), (false, true)] {
        let bundles = [own_first, own_second].map(|own| {
            let mut bundle = s.bundle();
            bundle.in_group(s).args(&["sleep", "1000"]);
            if !own {
                bundle.inherit("pid");
            }
            bundle
        });
        for options in [&["delete"][..], &["delete", "--force"]] {
            let first = s.stopped(&bundles[0]);
            let second = s.started(&bundles[1]);
            let outcome = first.command(options).ok();
            assert!(
                outcome.stderr.contains("left alone"),
                "{}",
                outcome.describe("wanted a sentence")
            );
            assert_eq!(second.status(), "running", "{own_first} {own_second}");
            second.remove();
            assert!(!Group::of_test(s).exists());
        }
    }
}

/// A mark that cannot be read proves nothing: the next container lives on, and the deletion says
/// what failed.
#[test]
fn a_deletion_with_an_unreadable_mark_kills_nobody() {
    sandbox::host_unless(
        |s| s.is_control("runc has no marks"),
        |s| {
            let mut bundle = s.bundle();
            bundle.in_group(s).args(&["sleep", "1000"]);
            let first = s.stopped(&bundle);
            let second = s.started(&bundle);
            let mut command = Command::new("strace");
            command
                .args(["--follow-forks", "--output", "/dev/null"])
                .args(["--trace", "fgetxattr", "--inject", "fgetxattr:error=EIO"])
                .arg(&s.subject.program)
                .arg("--root")
                .arg(&s.state)
                .args(["delete", "--force", &first.id]);
            s.finish(command, None)
                .fails_with(&["read the mark of", "input/output error"]);
            assert_eq!(second.status(), "running");
            second.remove();
            first.command(&["delete"]).ok();
        },
    );
}

/// A list of groups that cannot be read does not say that the process is in none.
#[test]
fn groups_that_cannot_be_read_are_an_error() {
    sandbox::host_unless(
        |s| s.is_control("what locule asks the kernel"),
        |s| {
            let mut bundle = s.bundle();
            bundle.in_group(s).args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            let list = format!("/proc/{}/cgroup", container.pid());
            let faulty = |path: &str, arguments: &[&str]| {
                let mut command = Command::new("strace");
                command
                    .args(["--follow-forks", "--output", "/dev/null"])
                    .args(["--trace-path", path, "--trace", "openat,openat2"])
                    .args(["--inject", "openat,openat2:error=EMFILE"])
                    .arg(&s.subject.program)
                    .arg("--root")
                    .arg(&s.state)
                    .args(arguments);
                s.finish(command, None).fails_with(&[path, "too many open"]);
            };
            faulty(&list, &["state", &container.id]);
            let other = s.bundle();
            let path = other.write().to_string_lossy().into_owned();
            faulty("/sys/fs/cgroup", &["create", "--bundle", &path, "other"]);
            container.remove();
        },
    );
}

/// An ordinary user's container that owns its group can change the group's mark. The record still
/// says whose the group is.
#[test]
fn a_container_that_changes_its_mark_is_not_lost() {
    sandbox::user(|s| {
        if s.is_control("locule's mark") {
            return;
        }
        let mount = Path::new("/sys/fs/cgroup");
        let unified = mount.join("unified");
        let root = if unified.exists() { &unified } else { mount };
        let above = root.join(format!("{}-above", s.token));
        let own = above.join("own");
        fs::create_dir_all(&own).expect("group");
        for group in [&above, &own] {
            s.give(group);
            s.give(&group.join("cgroup.procs"));
        }
        let memberships = fs::read_to_string("/proc/self/cgroup").expect("groups");
        let former = memberships
            .lines()
            .find_map(|line| line.strip_prefix("0::/"));
        let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0").expect("enter");
        enter(&own);
        for value in ["b'other/0'", "None"] {
            let mut bundle = s.bundle();
            bundle.set("/linux/cgroupsPath", json!("box"));
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            let group = above.join("box");
            let script = format!(
                "import os; v={value}; p={group:?}\n\
                 os.setxattr(p, 'user.locule', v) if v else os.removexattr(p, 'user.locule')"
            );
            s.tool("python3", &["-c", &script]);
            container.command(&["pause"]).ok();
            assert_eq!(container.status(), "paused", "{value}");
            container.command(&["resume"]).ok();
            s.runtime(&["kill", "--all", &container.id, "KILL"]).ok();
            container.wait_for("stopped");
            container.delete().ok();
            assert!(value != "None" || !group.exists(), "{value}");
            let _left_alone = fs::remove_dir(&group);
        }
        enter(&root.join(former.unwrap_or_default()));
        for group in [&own, &above] {
            fs::remove_dir(group).expect("rmdir");
        }
    });
}

/// SIGKILL for a container without a PID namespace of its own whose first process is gone ends what
/// that one has left behind.
#[test]
fn a_kill_reaches_what_outlives_the_first_process() {
    sandbox::host(|s| {
        kills_the_rest(s);
    });
}

fn kills_the_rest(s: &Sandbox) {
    if s.is_control("runc 1.1 refuses on cgroup v1") {
        return;
    }
    let mut bundle = s.bundle();
    bundle
        .in_group(s)
        .inherit("pid")
        .shell("sleep 1000 & echo ready; exec sleep 1000");
    let container = s.started(&bundle);
    container.wait_output("ready");
    s.tool("kill", &["-9", &container.pid().to_string()]);
    container.wait_for("stopped");
    // Its zombie may take a moment to go.
    assert!(sandbox::eventually(|| leak::processes().len() == 1));
    container
        .kill("TERM")
        .fails_with(&["container not running"]);
    container.kill("KILL").ok();
    assert!(sandbox::eventually(|| leak::processes().is_empty()));
    container
        .kill("KILL")
        .fails_with(&["container not running"]);
    container.delete().ok();
}
