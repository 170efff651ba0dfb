//! The harness's own environments: that a test finds there what it was promised, and is told of
//! what it leaves.

use std::fs;
use std::process::Command;

use integration::sandbox::{self, USER};
use integration::{Outcome, Sandbox, leak};

/// What a shell says as the user who starts the runtime.
fn shell(s: &Sandbox, script: &str) -> Outcome {
    let runtime = s.command();
    let mut command = Command::new("setpriv");
    if s.environment.is_user() {
        let user = USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.args(["--", "sh", "-c", script]);
    for (name, value) in runtime.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    s.finish(command, None)
}

/// A unit that a test leaves is found by its token, and so are its processes.
fn a_left_unit_is_seen(s: &Sandbox, manager: &str) {
    let unit = format!("{}-left.service", s.token);
    assert!(leak::units(s.environment, &s.token).is_empty());
    let start = format!("systemd-run {manager} --quiet --unit={unit} sleep 1000");
    shell(s, &start).ok();
    let units = leak::units(s.environment, &s.token).join(" ");
    assert!(units.contains(&unit), "{units}");
    let slept = || leak::members(&s.token).join(" ").contains("(sleep)");
    assert!(sandbox::eventually(slept), "{:?}", leak::members(&s.token));
    shell(s, &format!("systemctl {manager} stop {unit}")).ok();
}

#[test]
fn systemd_is_in_reach_of_root() {
    sandbox::systemd(|s| {
        if s.lacks_systemd() {
            return;
        }
        shell(s, "systemctl is-system-running").prints("running");
        let own = fs::read_to_string("/proc/self/cgroup").expect("own group");
        assert!(own.contains(&format!("/{}-test.scope", s.token)), "{own}");
        assert_eq!(
            fs::read_to_string("/proc/1/comm").expect("comm"),
            "systemd\n"
        );
        a_left_unit_is_seen(s, "--system");
    });
}

#[test]
fn the_users_systemd_is_in_reach_of_the_user() {
    sandbox::systemd_user(|s| {
        shell(s, "systemctl --user is-system-running").prints("running");
        let script = "own=/sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup); test -w $own; cat $own/../../cgroup.controllers";
        shell(s, script).prints("cpuset cpu io memory pids");
        a_left_unit_is_seen(s, "--user");
    });
}

/// Another process of the machine may remove a directory on which something is mounted here. A
/// mount that is gone while its mount point is there is a fault all the same.
#[test]
fn a_mount_whose_place_is_removed_elsewhere_is_not_missed() {
    sandbox::host(|s| {
        let none = leak::mounts();
        shell(
            s,
            "mkdir /run/a /run/b; mount -t tmpfs a /run/a; mount -t tmpfs b /run/b",
        )
        .ok();
        let both = leak::mounts();
        assert_ne!(both, none);
        shell(
            s,
            "unshare --mount --propagation private sh -c 'umount /run/b && rmdir /run/b'",
        )
        .ok();
        assert_eq!(leak::mounts(), both);
        shell(s, "umount /run/a").ok();
        assert_ne!(leak::mounts(), both);
        shell(s, "rmdir /run/a").ok();
    });
}

/// The machine of `just vm-test` keeps its promise; anywhere else there is nothing to check.
#[test]
fn the_virtual_machine_has_every_controller() {
    sandbox::host(|s| {
        if s.lacks_v2(&["cpu", "cpuset", "hugetlb", "io", "memory", "pids"]) {
            return;
        }
        assert!(s.is_v2());
    });
}
