//! Membership in control groups: config-linux.md "Control groups", `cgroupsPath`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Container, Group, Outcome, Sandbox, leak, mount_table, sandbox};
use serde_json::json;

/// Every directory of the host's hierarchies that is called `name`.
fn groups(name: &str) -> Vec<PathBuf> {
    leak::cgroups(name)
        .into_iter()
        .filter(|p| p.ends_with(name))
        .collect()
}

/// Every hierarchy of the host with a cgroup of the path `name`, by the process's own view.
fn membership(pid: i64) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    text.lines().map(str::to_owned).collect()
}

fn path(s: &Sandbox) -> String {
    format!("/{}-group", s.token)
}

/// "cgroupsPath ... Runtimes ... If the value is absolute (begins with /), the runtime MUST take
/// the path to be relative to the cgroups mount point."
#[test]
fn the_process_is_in_the_group_of_the_configuration() {
    sandbox::host(|s| {
        is_in_the_group(s);
    });
}

fn is_in_the_group(s: &Sandbox) {
    let mut bundle = s.bundle();
    let name = path(s);
    bundle
        .set("/linux/cgroupsPath", json!(name))
        .args(&["sleep", "1000"]);
    let container = s.started(&bundle);
    let lines = membership(container.pid());
    assert!(lines.iter().any(|line| line.ends_with(&name)), "{lines:?}");
    if s.is_v2() {
        let v2 = lines
            .iter()
            .find(|line| line.starts_with("0::"))
            .expect("v2");
        assert!(v2.ends_with(&name), "{lines:?}");
    }
    container.remove();
    assert_eq!(groups(&name[1..]), Vec::<PathBuf>::new());
}

/// Nested and new parents are made; the group itself is removed with the container, parents with
/// other groups stay.
#[test]
fn a_nested_group_is_made() {
    sandbox::host(|s| {
        let parent = path(s);
        let mut bundle = s.bundle();
        bundle
            .set("/linux/cgroupsPath", json!(format!("{parent}/inner/leaf")))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let lines = membership(container.pid());
        assert!(
            lines.iter().any(|line| line.ends_with("/inner/leaf")),
            "{lines:?}"
        );
        container.remove();
        let leaves = leak::cgroups(&s.token)
            .into_iter()
            .filter(|p| p.ends_with("leaf"))
            .count();
        assert_eq!(leaves, 0);
        leak::remove_cgroups(&leak::cgroups(&s.token));
    });
}

/// Without cgroupsPath the group is named after the container, so that two containers never share
/// one.
#[test]
fn a_container_without_a_path_has_a_group_of_its_own() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let lines = membership(container.pid());
        assert!(
            lines.iter().any(|line| line.contains(&container.id)),
            "{lines:?}"
        );
        container.remove();
    });
}

/// A group with processes in it is not the container's: create refuses and leaves them alone.
#[test]
fn an_occupied_group_is_refused() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/linux/cgroupsPath", json!(path(s)))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        if s.subject.is_locule() || !outcome.status.success() {
            outcome.fails();
        } else {
            s.skip("runc 1.1 only warns; locule refuses");
        }
        assert_eq!(container.status(), "running");
        for entry in fs::read_dir(&s.state).expect("state").flatten() {
            s.runtime(&["delete", "--force", entry.file_name().to_str().expect("id")])
                .ok();
        }
    });
}

/// A create that is killed before it has refused an occupied group has nothing there that `delete
/// --force` may kill.
#[test]
fn a_create_that_dies_early_does_not_claim_an_occupied_group() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 only warns") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/cgroupsPath", json!(path(s)))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        bundle.write();
        for (call, count) in [("renameat", 1..=4), ("mkdirat", 1..=2)] {
            for number in count {
                let mut command = std::process::Command::new("strace");
                command
                    .args(["--output", "/dev/null", "-e"])
                    .arg(format!("inject={call}:signal=KILL:when={number}"))
                    .arg(&s.subject.program)
                    .arg("--root")
                    .arg(&s.state)
                    .args(["create", "--bundle"])
                    .arg(&bundle.path);
                let id = s.id();
                command.arg(&id);
                let outcome = s.finish(command, Some(&bundle));
                assert!(!outcome.status.success(), "{outcome:?}");
                s.runtime(&["delete", "--force", &id]).ok();
                assert_eq!(container.status(), "running", "{call} {number}");
            }
        }
        container.remove();
    });
}

/// A child of the container is in the group as well, and forced deletion ends it though it left the
/// process group.
#[test]
fn delete_ends_every_process_of_the_group() {
    sandbox::host(|s| {
        if s.is_v2() && s.is_control("runc 1.1 gives up on a busy v2 group") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.inherit("pid");
        bundle.shell("setsid sleep 3333 & setsid sh -c 'sleep 3334 & sleep 3335' & sleep 0.1; echo ready; exec sleep 3336");
        let container = s.started(&bundle);
        container.wait_output("ready");
        container.remove();
        assert!(sandbox::eventually(|| leak::processes().is_empty()));
    });
}

/// A cgroup namespace hides the host's path: the process sees itself at the root.
#[test]
fn a_cgroup_namespace_hides_the_path() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle();
        bundle
            .namespace("cgroup")
            .args(&["cat", "/proc/self/cgroup"]);
        let outcome = s.run(&bundle).ok();
        assert!(
            outcome.stdout.lines().any(|line| line == "0::/"),
            "{}",
            outcome.stdout
        );
        assert!(!outcome.stdout.contains(&s.token), "{}", outcome.stdout);
    });
}

/// The cgroup mount shows the container's own group, read-only when so asked.
#[test]
fn the_cgroup_mount_shows_the_containers_group() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle();
        bundle
            .namespace("cgroup")
            .shell("grep -c . /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x");
        let outcome = s.run(&bundle).fails_with(&["read-only file system"]);
        assert_ne!(
            outcome.stdout.trim(),
            "0",
            "the process is in the group that it sees"
        );
    });
}

/// A v1 host: each hierarchy at its place, each showing the container's own group.
#[test]
fn the_cgroup_mount_shows_every_v1_hierarchy() {
    sandbox::host(|s| {
        if s.is_v2() {
            return s.skip(
                "no v1 hierarchies here; covered where the machine has them, in environment host",
            );
        }
        let mut bundle = s.bundle();
        bundle.shell("ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/cgroup.procs /sys/fs/cgroup/devices/cgroup.procs | grep -c .");
        let outcome = s.run(&bundle).ok();
        for name in ["cpu", "pids", "devices", "freezer"] {
            if Path::new("/sys/fs/cgroup").join(name).exists() {
                assert!(
                    outcome.stdout.lines().any(|line| line == name),
                    "{name}: {}",
                    outcome.stdout
                );
            }
        }
        let count: u32 = outcome
            .text()
            .lines()
            .last()
            .expect("count")
            .parse()
            .expect("number");
        assert!(count >= 2, "{}", outcome.stdout);
    });
}

/// The tmpfs above the v1 hierarchies has no devices, programs or set-uid files, whatever the
/// options of the mount are; runc makes it so.
#[test]
fn nothing_above_the_v1_hierarchies_is_a_program_or_a_device() {
    sandbox::host(|s| {
        if s.is_v2() {
            return s.skip(
                "no v1 hierarchies here; covered where the machine has them, in environment host",
            );
        }
        for options in [json!([]), json!(["suid", "dev", "exec"])] {
            let mut bundle = s.bundle();
            bundle.unmount("/sys/fs/cgroup").mount(json!({
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": options
            }));
            let line = mount_table::line(s, &mut bundle, "/sys/fs/cgroup");
            let flags = mount_table::options(&line);
            for flag in ["nosuid", "nodev", "noexec"] {
                assert!(flags.contains(&flag), "{flag}, {options}: {line}");
            }
        }
    });
}

/// `..` in cgroupsPath leads nowhere else.
#[test]
fn a_path_that_climbs_is_refused() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 cleans the path silently") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/linux/cgroupsPath", json!(format!("/{}/../../x", s.token)));
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/linux/cgroupsPath"]);
    });
}

/// cgroup manager `disabled` touches no group at all.
#[test]
fn no_group_is_touched_when_disabled() {
    sandbox::host(|s| {
        if s.is_control("an option of crun") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let id = s.id();
        let mut command = s.command();
        command
            .args([
                "--cgroup-manager",
                "disabled",
                "run",
                "--detach",
                "--bundle",
            ])
            .arg(bundle.write())
            .arg(&id);
        s.finish(command, Some(&bundle)).ok();
        assert_eq!(leak::cgroups(&s.token), Vec::<PathBuf>::new());
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// The runtime with this soft limit on descriptors.
fn with_descriptors(s: &Sandbox, limit: u32, args: &[&str]) -> Outcome {
    let script = format!("ulimit -Sn {limit}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(&s.subject.program);
    command.arg("--root").arg(&s.state).args(args);
    s.finish(command, None)
}

/// The groups in which a container that owns them makes others: that of cgroup v2, and on v1 the
/// one whose list of processes is read.
fn tops(s: &Sandbox, container: &Container<'_>) -> Vec<PathBuf> {
    let group = Group::of(s, container);
    let names: &[&str] = if s.is_v2() {
        &[""]
    } else {
        &["freezer", "unified"]
    };
    let tops = names.iter().map(|name| group.path(name));
    tops.filter(|path| path.exists()).collect()
}

/// `make` makes the sub-groups of one group; one `delete` removes them all.
fn are_deleted(s: &Sandbox, make: impl Fn(&Path)) {
    if s.is_control("a runtime may need a descriptor for each group") {
        return;
    }
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "1000"]);
    let container = s.started(&bundle);
    let tops = tops(s, &container);
    assert!(!tops.is_empty());
    tops.iter().for_each(|top| make(top));
    let outcome = with_descriptors(s, 1024, &["delete", "--force", &container.id]);
    let left = leak::cgroups(&container.id).len();
    for top in tops.iter().filter(|top| top.exists()) {
        // The paths are too long for the tidying after a failure.
        let mut find = Command::new("find");
        find.arg(top)
            .args(["-mindepth", "1", "-type", "d", "-delete"]);
        find.status().expect("find");
    }
    outcome.ok();
    assert_eq!(left, 0);
}

/// More sub-groups beside each other than the runtime may open descriptors.
#[test]
fn a_container_with_very_many_groups_is_deleted() {
    sandbox::host(|s| {
        are_deleted(s, |top| {
            for number in 0..1100 {
                fs::create_dir(top.join(format!("g{number}"))).expect("group");
            }
        });
    });
}

/// More sub-groups below each other than the runtime may open descriptors, and a longer path than
/// a system call takes.
#[test]
fn a_container_with_very_deep_groups_is_deleted() {
    sandbox::host(|s| {
        are_deleted(s, |top| {
            let before = env::current_dir().expect("a directory");
            env::set_current_dir(top).expect("the group");
            for _ in 0..1100 {
                fs::create_dir("group").expect("group");
                env::set_current_dir("group").expect("group");
            }
            env::set_current_dir(before).expect("back");
        });
    });
}

/// A signal for all reaches more processes than the runtime may open descriptors.
#[test]
fn a_signal_reaches_very_many_processes() {
    sandbox::host(|s| {
        if s.is_control("a runtime may need a descriptor for each process") {
            return;
        }
        let mut bundle = s.bundle();
        let many = "n=0; while [ $n -lt 300 ]; do sleep 1000 & n=$((n+1)); done";
        bundle.shell(&format!("{many}; echo ready; wait; sleep 1000"));
        let container = s.started(&bundle);
        container.wait_output("ready");
        let tops = tops(s, &container);
        let count = || {
            let list = fs::read_to_string(tops[0].join("cgroup.procs"));
            list.expect("cgroup.procs").lines().count()
        };
        assert!(count() > 300);
        with_descriptors(s, 128, &["kill", "--all", &container.id, "TERM"]).ok();
        assert!(sandbox::eventually(|| count() < 3), "{} processes", count());
        container.remove();
    });
}
