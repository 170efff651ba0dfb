//! `linux.resources`: config-linux.md "Control groups", "Block IO", "Cpu", "Memory", "Pids",
//! "Unified", "Device allow list".

use std::fs;

use integration::group::limited;
use integration::{Group, Limit, Sandbox, sandbox};
use serde_json::{Value, json};

/// The status of a program that SIGKILL has ended.
const KILLED: i32 = 128 + 9;
const MIB: u64 = 1 << 20;

/// "memory ... limit (int64, OPTIONAL) - sets limit of memory usage in bytes": a program that uses
/// more is killed.
#[test]
fn the_memory_limit_ends_a_program_that_uses_more() {
    sandbox::host(|s| {
        if s.lacks(&["memory"]) {
            return;
        }
        let mut bundle = limited(
            s,
            json!({ "memory": { "limit": 32 * MIB, "swap": 32 * MIB } }),
        );
        bundle.args(&["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]);
        s.run(&bundle).exits(KILLED);
        bundle.args(&["dd", "if=/dev/zero", "of=/dev/null", "bs=4M", "count=1"]);
        s.run(&bundle).ok();
    });
}

/// A limit that is too small for the set-up is said with its numbers, and leaves nothing; half a
/// MiB is enough for a small program.
#[test]
fn a_small_memory_limit_starts_a_small_program_and_a_tiny_one_says_why_not() {
    sandbox::host(|s| {
        if s.lacks(&["memory"]) {
            return;
        }
        let limit = |bytes: u64| json!({ "memory": { "limit": bytes, "swap": bytes } });
        if s.is_control("runc 1.1 does not start with so little, and says less") {
            return;
        }
        let mut small = limited(s, limit(MIB / 2));
        s.run(small.args(&["true"])).ok();
        let mut tiny = limited(s, limit(4096));
        s.run(tiny.args(&["true"]))
            .fails_with(&["memory", "4096 bytes"]);
    });
}

/// "pids ... limit (int64, REQUIRED) - specifies the maximum number of tasks in the cgroup".
#[test]
fn the_pids_limit_stops_a_fork_bomb() {
    sandbox::host(|s| {
        if s.lacks(&["pids"]) {
            return;
        }
        let mut bundle = limited(s, json!({ "pids": { "limit": 12 } }));
        bundle.mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        bundle.shell(
            "(while :; do sleep 1000 & done) 2> /tmp/error; \
             read line < /tmp/error; echo \"$line\"; exec sleep 1000",
        );
        let container = s.started(&bundle);
        container.wait_output("can't fork");
        let group = Group::of_test(s);
        assert_eq!(group.limit(Limit::Pids), "12");
        let current: u32 = group
            .read("pids", "pids.current")
            .parse()
            .expect("a number");
        assert!((8..=12).contains(&current), "{current}");
        assert!(group.count("pids", "pids.events", "max") > 0);
        container.remove();
    });
}

/// "cpu ... quota (int64, OPTIONAL) - specifies the total amount of time in microseconds for which
/// all tasks in a cgroup can run during one period".
#[test]
fn the_cpu_quota_throttles() {
    sandbox::host(|s| {
        if s.lacks(&["cpu"]) {
            return;
        }
        let mut bundle = limited(s, json!({ "cpu": { "quota": 2000, "period": 20000 } }));
        bundle.shell("while :; do :; done");
        let container = s.started(&bundle);
        let group = Group::of_test(s);
        let throttled = || group.count("cpu", "cpu.stat", "nr_throttled") > 1;
        let seen = sandbox::eventually(throttled);
        assert!(seen, "{}", group.read("cpu", "cpu.stat"));
        container.remove();
    });
}

/// "cpus (string, OPTIONAL) - list of CPUs the container will run on".
#[test]
fn the_program_runs_on_the_given_cpus() {
    sandbox::host(|s| {
        if s.lacks(&["cpuset"]) {
            return;
        }
        let mut bundle = limited(s, json!({ "cpu": { "cpus": "0", "mems": "0" } }));
        bundle.shell("grep -h -o 'list:.*' /proc/self/status | tr '\\t' ' '");
        s.run(&bundle).prints("list: 0\nlist: 0");
    });
}

/// The values stand in the files as they were given.
#[test]
fn limits_are_read_back() {
    sandbox::host(|s| {
        if s.lacks(&["cpu", "cpuset", "memory", "pids"]) {
            return;
        }
        let mut limits = json!({
            "memory": { "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB },
            "cpu": {
                "shares": 512, "quota": 50000, "period": 200_000, "burst": 10000,
                "cpus": "0", "mems": "0"
            },
            "pids": { "limit": 100 }
        });
        if s.subject.version.starts_with("runc version 1.1") {
            limits["cpu"]["burst"] = json!(0); // it does not know it
        }
        if !s.is_v2() {
            limits["memory"]["swappiness"] = json!(10); // v2 has no such file
        }
        let burst = limits["cpu"]["burst"].to_string();
        let mut bundle = limited(s, limits);
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let group = Group::of_test(s);
        for (limit, value) in [
            (Limit::Memory, &*(64 * MIB).to_string()),
            (Limit::Reservation, &(32 * MIB).to_string()),
            (Limit::Swap, &(96 * MIB).to_string()),
            (Limit::Shares, "512"),
            (Limit::Quota, "50000"),
            (Limit::Period, "200000"),
            (Limit::Burst, &burst),
            (Limit::Cpus, "0"),
            (Limit::Mems, "0"),
            (Limit::Pids, "100"),
        ] {
            assert_eq!(group.limit(limit), value, "{limit:?}");
        }
        if !s.is_v2() {
            assert_eq!(group.read("memory", "memory.swappiness"), "10");
        }
        container.remove();
    });
}

/// -1 is no limit, and what is left out stays as the kernel has it.
#[test]
fn unlimited_and_absent_values_limit_nothing() {
    sandbox::host(|s| {
        if s.lacks(&["cpu", "memory", "pids"]) {
            return;
        }
        for limits in [
            json!({ "memory": { "limit": -1, "swap": -1 }, "cpu": { "quota": -1 }, "pids": { "limit": -1 } }),
            json!({ "memory": {}, "cpu": { "shares": 0 } }),
            json!({}),
        ] {
            let mut bundle = limited(s, limits);
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            let group = Group::of_test(s);
            for limit in [Limit::Memory, Limit::Quota, Limit::Pids] {
                assert_eq!(group.limit(limit), "max", "{limit:?}");
            }
            assert_eq!(group.limit(Limit::Shares), "1024");
            container.remove();
        }
    });
}

/// "unified (object, OPTIONAL) - allows cgroup v2 parameters to be to be set and modified for the
/// container. The key in the map refers to a file in the cgroup unified hierarchy." Each is written
/// as it is given.
#[test]
fn unified_values_are_read_back() {
    sandbox::host(|s| {
        if s.lacks_v2(&["cpu", "memory", "pids"]) {
            return;
        }
        let values = [
            ("memory.high", "33554432"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "77"),
            ("cpu.max", "30000 90000"),
            ("pids.max", "31"),
            ("cgroup.max.depth", "3"),
        ];
        let unified: Value = values
            .iter()
            .map(|(file, value)| ((*file).to_owned(), json!(value)))
            .collect();
        let mut bundle = limited(s, json!({ "unified": unified }));
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        for (file, value) in values {
            assert_eq!(Group::of_test(s).read("", file), value, "{file}");
        }
        container.remove();
    });
}

/// "devices (array of objects, OPTIONAL) configures the allow list. The runtime MUST apply entries
/// in the listed order."
#[test]
fn a_device_rule_refuses_an_open() {
    sandbox::host(|s| {
        devices_are_refused(s);
    });
}

/// The same by a program of eBPF, where cgroup v2 is all there is.
#[test]
fn a_device_program_refuses_an_open() {
    sandbox::pure_v2(|s| {
        devices_are_refused(s);
    });
}

fn devices_are_refused(s: &Sandbox) {
    // No device that every container may use: /dev/loop7, or nothing where the machine has no such.
    let rule = |allow: bool, access: &str| json!({ "allow": allow, "type": "b", "major": 7, "minor": 7, "access": access });
    let all = json!({ "allow": false, "access": "rwm" });
    let node =
        json!([{ "path": "/dev/other", "type": "b", "major": 7, "minor": 7, "fileMode": 0o666 }]);
    for (rules, reads, writes) in [
        (json!([all]), false, false),
        (json!([all, rule(true, "rwm")]), true, true),
        (json!([all, rule(true, "r")]), true, false),
        (
            json!([all, rule(true, "rw"), rule(false, "w")]),
            true,
            false,
        ),
        (
            json!([all, rule(true, "rw"), rule(false, "r")]),
            false,
            true,
        ),
    ] {
        let mut bundle = limited(s, json!({ "devices": rules }));
        bundle.set("/linux/devices", node.clone());
        for (script, works) in [("true < /dev/other", reads), ("true >> /dev/other", writes)] {
            bundle.shell(script);
            let outcome = s.run(&bundle);
            let refused = outcome.stderr.contains("peration not permitted");
            assert_eq!(refused, !works, "{}", outcome.describe(script));
        }
        // The devices of every container stay.
        bundle.shell("head -c 1 /dev/zero | wc -c; echo > /dev/null");
        s.run(&bundle).prints("1");
    }
}

/// "hugepageLimits (array of objects, OPTIONAL)", and the same file by its name.
#[test]
fn huge_pages_are_limited_in_the_v2_view() {
    sandbox::pure_v2(|s| {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("list");
        if s.is_control("runc 1.1 sets the other sizes too") {
            return;
        }
        if !controllers.contains("hugetlb") {
            return s.skip("no hugetlb here; covered on the reference machine");
        }
        for (limits, value) in [
            (
                json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MIB }] }),
                4 * MIB,
            ),
            (
                json!({ "unified": { "hugetlb.2MB.max": "6291456" } }),
                6 * MIB,
            ),
        ] {
            let mut bundle = limited(s, limits);
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            assert_eq!(
                Group::of_test(s).read("", "hugetlb.2MB.max"),
                value.to_string()
            );
            container.remove();
        }
    });
}
