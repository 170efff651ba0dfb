//! Limits that cannot be: `linux.resources` with values that are wrong in themselves, that the host
//! cannot carry out, or that the kernel refuses.

use std::fs;

use integration::group::limited;
use integration::{Group, Limit, Sandbox, sandbox};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// "unified (object, OPTIONAL)": files of cgroup v2; where the controller is not in v2 they cannot
/// be had.
#[test]
fn a_unified_key_without_its_controller_is_an_error() {
    sandbox::host(|s| {
        if s.lacks_v1(&["memory"]) {
            return;
        }
        let bundle = limited(s, json!({ "unified": { "memory.high": "1000000" } }));
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&[
                "/linux/resources/unified/memory.high: ",
                "controller memory",
            ]);
        }
    });
}

/// A limit whose controller is missing is an error that names both.
#[test]
fn a_missing_controller_is_an_error() {
    sandbox::pure_v2(|s| {
        if s.is_control("runc 1.1 words it otherwise") {
            return;
        }
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("list");
        let has = |name: &str| controllers.split_whitespace().any(|found| found == name);
        if ["memory", "cpu", "cpuset", "pids", "io"]
            .into_iter()
            .all(has)
        {
            return s.skip("every controller is here; covered where v2 has hugetlb alone");
        }
        for (limits, pointer, controller) in [
            (
                json!({ "memory": { "limit": 64 * MIB } }),
                "/memory/limit",
                "memory",
            ),
            (json!({ "cpu": { "shares": 512 } }), "/cpu/shares", "cpu"),
            (json!({ "cpu": { "quota": 5000 } }), "/cpu/", "cpu"),
            (json!({ "cpu": { "cpus": "0" } }), "/cpu/cpus", "cpuset"),
            (json!({ "pids": { "limit": 5 } }), "/pids/limit", "pids"),
            (
                json!({ "blockIO": { "weight": 500 } }),
                "/blockIO/weight",
                "io",
            ),
            (
                json!({ "unified": { "memory.high": "1000000" } }),
                "/unified/memory.high",
                "memory",
            ),
        ] {
            if has(controller) {
                continue;
            }
            let pointer = format!("/linux/resources{pointer}");
            let name = format!("controller {controller} ");
            s.try_create(&limited(s, limits), &s.id(), &[])
                .fails_with(&[&pointer, &name, "not available"]);
        }
    });
}

/// Issue 4, bad input: "Wrong types, negative or overflowing numbers, unknown hugepage size,
/// unified key with `/` or newline, unified on v1, swap below limit, quota below the kernel's
/// minimum ...: each an error with JSON pointer ..., and the group is as before."
#[test]
fn a_bad_limit_is_refused_with_its_place() {
    sandbox::host(|s| {
        refuses_bad_limits(s);
    });
}

fn of_memory_cpu_and_pids() -> Vec<(Value, &'static str)> {
    vec![
        (json!([]), ""),
        (json!({ "memory": 5 }), "/memory"),
        (json!({ "memory": { "limit": "1G" } }), "/memory/limit"),
        (json!({ "memory": { "limit": -2 } }), "/memory/limit"),
        (json!({ "memory": { "limit": u64::MAX } }), "/memory/limit"),
        (json!({ "memory": { "limit": 0.5 } }), "/memory/limit"),
        (
            json!({ "memory": { "limit": 64 * MIB, "swap": 32 * MIB } }),
            "/memory",
        ),
        (
            json!({ "memory": { "swappiness": 101 } }),
            "/memory/swappiness",
        ),
        (json!({ "memory": { "limit": true } }), "/memory/limit"),
        (
            json!({ "memory": { "limit": 9_223_372_036_854_775_808_u64 } }),
            "/memory/limit",
        ),
        (
            json!({ "memory": { "reservation": -2 } }),
            "/memory/reservation",
        ),
        (json!({ "memory": { "swap": -2 } }), "/memory/swap"),
        (json!({ "memory": { "swap": 64 * MIB } }), "/memory/swap"),
        (
            json!({ "memory": { "limit": -1, "swap": 64 * MIB } }),
            "/memory/swap",
        ),
        (
            json!({ "memory": { "disableOOMKiller": "yes" } }),
            "/memory/disableOOMKiller",
        ),
        (
            json!({ "memory": { "checkBeforeUpdate": 1 } }),
            "/memory/checkBeforeUpdate",
        ),
        (json!({ "cpu": { "shares": -1 } }), "/cpu/shares"),
        (json!({ "cpu": { "period": -1 } }), "/cpu/period"),
        (json!({ "cpu": { "burst": -1 } }), "/cpu/burst"),
        (json!({ "cpu": { "idle": true } }), "/cpu/idle"),
        (json!({ "cpu": { "cpus": 0 } }), "/cpu/cpus"),
        (json!({ "cpu": { "mems": "0\n1" } }), "/cpu/mems"),
        (
            json!({ "cpu": { "realtimePeriod": -1 } }),
            "/cpu/realtimePeriod",
        ),
        (json!({ "pids": { "limit": "5" } }), "/pids/limit"),
        (
            json!({ "pids": { "limit": 9_223_372_036_854_775_808_u64 } }),
            "/pids/limit",
        ),
        (json!({ "cpu": { "quota": 1e30 } }), "/cpu/quota"),
        (json!({ "cpu": { "cpus": "zero" } }), "/cpu/cpus"),
        (json!({ "cpu": { "idle": 2 } }), "/cpu/idle"),
        (json!({ "pids": {} }), "/pids"),
        (json!({ "pids": { "limit": -2 } }), "/pids/limit"),
    ]
}

fn of_block_io_and_huge_pages() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "blockIO": { "weight": 1001 } }), "/blockIO/weight"),
        (json!({ "blockIO": { "weight": 65546 } }), "/blockIO/weight"),
        (
            json!({ "blockIO": { "weightDevice": [{ "major": 7, "minor": 0 }] } }),
            "/blockIO/weightDevice/0",
        ),
        (
            json!({ "blockIO": { "weightDevice": [{ "minor": 0, "weight": 100 }] } }),
            "/blockIO/weightDevice/0",
        ),
        (
            json!({ "blockIO": { "throttleWriteBpsDevice": [{ "major": 7, "minor": 0, "rate": -1 }] } }),
            "/blockIO/throttleWriteBpsDevice/0/rate",
        ),
        (
            json!({ "blockIO": { "throttleReadIOPSDevice": [{ "major": -7, "minor": 0, "rate": 1 }] } }),
            "/blockIO/throttleReadIOPSDevice/0/major",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": -1 }] }),
            "/hugepageLimits/0/limit",
        ),
        (
            json!({ "hugepageLimits": [{ "limit": 1 }] }),
            "/hugepageLimits/0",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "../2MB", "limit": 1 }] }),
            "/hugepageLimits/0/pageSize",
        ),
        (json!({ "blockIO": { "weight": 5 } }), "/blockIO/weight"),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 7 }] } }),
            "/blockIO/throttleReadBpsDevice/0",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 1 }] }),
            "/hugepageLimits/0/pageSize",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "64TB", "limit": 1 }] }),
            "/hugepageLimits/0/pageSize",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "4KB", "limit": 1 }] }),
            "/hugepageLimits/0/pageSize",
        ),
    ]
}

fn of_names_and_rules() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({ "network": { "classID": 4_294_967_296_u64 } }),
            "/network/classID",
        ),
        (
            json!({ "network": { "priorities": [{ "priority": 1 }] } }),
            "/network/priorities/0",
        ),
        (
            json!({ "network": { "priorities": [{ "name": "lo", "priority": -1 }] } }),
            "/network/priorities/0/priority",
        ),
        (
            json!({ "rdma": { "mlx5_1": { "hcaHandles": -1 } } }),
            "/rdma/mlx5_1/hcaHandles",
        ),
        (
            json!({ "rdma": { "two words": { "hcaHandles": 1 } } }),
            "/rdma/two words",
        ),
        (
            json!({ "unified": { "memory/high": "1" } }),
            "/unified/memory~1high",
        ),
        (
            json!({ "unified": { "../memory.high": "1" } }),
            "/unified/..~1memory.high",
        ),
        (
            json!({ "unified": { "memory.high\n": "1" } }),
            "/unified/memory.high",
        ),
        (json!({ "unified": { "": "1" } }), "/unified/"),
        (json!({ "unified": { "memory": "1" } }), "/unified/memory"),
        (
            json!({ "unified": { "memory.high\u{0}": "1" } }),
            "/unified/memory.high",
        ),
        (
            json!({ "unified": { "cgroup.kill": "1" } }),
            "/unified/cgroup.kill",
        ),
        (
            json!({ "unified": { "cgroup.procs": "1" } }),
            "/unified/cgroup.procs",
        ),
        (
            json!({ "unified": { "memory.high": 5 } }),
            "/unified/memory.high",
        ),
        (
            json!({ "devices": [{ "allow": false, "type": "x" }] }),
            "/devices/0/type",
        ),
        (
            json!({ "devices": [{ "allow": true, "access": "q" }] }),
            "/devices/0/access",
        ),
        (
            json!({ "devices": vec![json!({ "allow": true, "major": 7 }); 8193] }),
            "/devices: the list has 8193 rules",
        ),
    ]
}

fn refuses_bad_limits(s: &Sandbox) {
    if s.is_control("the pointers are locule's") {
        return;
    }
    let mut bundle = s.bundle();
    bundle.in_group(s);
    let all = [
        of_memory_cpu_and_pids(),
        of_block_io_and_huge_pages(),
        of_names_and_rules(),
    ];
    for (limits, pointer) in all.concat() {
        bundle.set("/linux/resources", limits.clone());
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        let pointer = format!("/linux/resources{pointer}");
        outcome.fails_with(&[&pointer]);
        assert!(!Group::of_test(s).exists(), "{limits}");
    }
}

/// What only the kernel refuses is an error with the place as well, and the groups are gone.
#[test]
fn a_limit_that_the_kernel_refuses_leaves_no_group() {
    sandbox::host(|s| {
        if s.lacks(&["cpu", "cpuset", "memory", "io"]) || s.is_control("the pointers are locule's")
        {
            return;
        }
        let device = json!([{ "major": 99, "minor": 0, "rate": 5 }]);
        for (limits, pointer) in [
            (json!({ "cpu": { "quota": 500 } }), "/cpu/quota"),
            (
                json!({ "cpu": { "quota": 5000, "period": 10 } }),
                "/cpu/period",
            ),
            (json!({ "cpu": { "period": 2_000_000 } }), "/cpu/period"),
            (
                json!({ "cpu": { "quota": 5000, "burst": 6000 } }),
                "/cpu/burst",
            ),
            (json!({ "cpu": { "cpus": "4000" } }), "/cpu/cpus"),
            (json!({ "cpu": { "cpus": "1000" } }), "/cpu/cpus"),
            (json!({ "cpu": { "cpus": "1-0" } }), "/cpu/cpus"),
            (json!({ "cpu": { "mems": "400" } }), "/cpu/mems"),
            (
                json!({ "blockIO": { "throttleReadBpsDevice": device } }),
                "/blockIO/throttleReadBpsDevice/0",
            ),
            (
                json!({ "blockIO": { "throttleWriteIOPSDevice": device } }),
                "/blockIO/throttleWriteIOPSDevice/0",
            ),
        ] {
            let pointer = format!("/linux/resources{pointer}: ");
            let bundle = limited(s, limits);
            s.try_create(&bundle, &s.id(), &[]).fails_with(&[&pointer]);
            assert!(!Group::of_test(s).exists(), "{pointer}");
        }
    });
}

/// What v1 has and v2 has not: "If the runtime cannot set it, it MUST generate an error".
#[test]
fn what_v2_cannot_express_is_refused_there() {
    sandbox::host(|s| {
        if s.lacks_v2(&["cpu", "io", "rdma"]) || s.is_control("the pointers are locule's") {
            return;
        }
        let leaf = json!([{ "major": 7, "minor": 0, "leafWeight": 100 }]);
        for (limits, pointer) in [
            (
                json!({ "cpu": { "realtimeRuntime": 950_000 } }),
                "/cpu/realtimeRuntime",
            ),
            (
                json!({ "cpu": { "realtimePeriod": 1_000_000 } }),
                "/cpu/realtimePeriod",
            ),
            (
                json!({ "blockIO": { "leafWeight": 100 } }),
                "/blockIO/leafWeight",
            ),
            (
                json!({ "blockIO": { "weightDevice": leaf } }),
                "/blockIO/weightDevice/0/leafWeight",
            ),
            (
                json!({ "rdma": { "nosuch0": { "hcaHandles": 5 } } }),
                "/rdma/nosuch0",
            ),
            (
                json!({ "unified": { "memory.nosuch": "5" } }),
                "/unified/memory.nosuch",
            ),
            (
                json!({ "unified": { "memory.high": "many" } }),
                "/unified/memory.high",
            ),
            (
                json!({ "unified": { "nosuch.high": "1" } }),
                "/unified/nosuch.high",
            ),
        ] {
            let pointer = format!("/linux/resources{pointer}: ");
            let bundle = limited(s, limits);
            s.try_create(&bundle, &s.id(), &[]).fails_with(&[&pointer]);
            assert!(!Group::of_test(s).exists(), "{pointer}");
        }
    });
}

/// Options of `update`, and what the error names: themselves, or the place of what the kernel
/// refuses.
const BAD_OPTIONS: &[(&str, &str)] = &[
    ("--memory=9223372036854775808", "--memory"),
    ("--memory=64 m", "--memory"),
    ("--memory-swap=1m", "/memory/swap"),
    ("--cpu-share=-1", "--cpu-share"),
    ("--cpu-quota=500", "/cpu/quota"),
    ("--cpu-quota=1e3", "--cpu-quota"),
    ("--cpu-period=10", "/cpu/period"),
    ("--cpu-period=-1", "--cpu-period"),
    ("--cpu-burst=60000", "/cpu/burst"),
    ("--cpu-idle=2", "--cpu-idle"),
    ("--cpuset-cpus=1000", "/cpu/cpus"),
    ("--cpuset-cpus=zero", "--cpuset-cpus"),
    ("--cpuset-mems=400", "/cpu/mems"),
    ("--blkio-weight=5", "--blkio-weight"),
    ("--pids-limit=-2", "--pids-limit"),
    ("--memory=-2", "--memory"),
    ("--memory-swap=-3", "--memory-swap"),
    ("--memory-reservation=-2", "--memory-reservation"),
];

fn bad_documents() -> Vec<(Value, &'static str)> {
    vec![
        (json!([]), "object"),
        (json!({ "pids": { "limit": "x" } }), "/pids/limit"),
        (json!({ "memory": { "limit": -2 } }), "/memory/limit"),
        (
            json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } }),
            "/memory/limit",
        ),
        (json!({ "cpu": { "quota": 500 } }), "/cpu/quota"),
        (
            json!({ "unified": { "memory/high": "1" } }),
            "/unified/memory~1high",
        ),
        (
            json!({ "unified": { "memory.high\n": "1" } }),
            "/unified/memory.high",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 1 }] }),
            "/hugepageLimits/0/pageSize",
        ),
    ]
}

/// An update that cannot be says where it is wrong, and the group is as before: by options and by
/// documents.
#[test]
fn a_bad_update_names_its_option_or_place_and_changes_nothing() {
    sandbox::host(|s| {
        if s.lacks(&["cpu", "cpuset", "memory", "pids", "io"])
            || s.is_control("the words are locule's")
        {
            return;
        }
        let mut bundle = limited(
            s,
            json!({
                "memory": { "limit": 64 * MIB },
                "cpu": { "quota": 50_000, "period": 100_000 },
                "pids": { "limit": 50 }
            }),
        );
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let group = Group::of_test(s);
        let limits = || {
            let all = [
                Limit::Memory,
                Limit::Reservation,
                Limit::Quota,
                Limit::Period,
                Limit::Pids,
                Limit::Cpus,
                Limit::Mems,
            ];
            all.map(|limit| group.limit(limit))
        };
        let before = limits();
        for (option, word) in BAD_OPTIONS {
            // What stands before it is taken back, or never set.
            let mut args = vec!["update", "--memory-reservation=32m"];
            args.push(option);
            container.command(&args).fails_with(&[word]);
            assert_eq!(limits(), before, "{option}");
        }
        let file = s.dir.join("update.json");
        for (document, pointer) in bad_documents() {
            fs::write(&file, document.to_string()).expect("write");
            let path = file.to_str().expect("a path");
            container
                .command(&["update", "-r", path])
                .fails_with(&[pointer]);
            assert_eq!(limits(), before, "{document}");
        }
        container.kill("KILL").ok();
        container.wait_for("stopped");
        container
            .command(&["update", "--pids-limit", "5"])
            .fails_with(&["container not running"]);
        container.delete().ok();
    });
}
