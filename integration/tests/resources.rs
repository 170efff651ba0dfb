//! `linux.resources`: config-linux.md "Control groups", "Block IO", "Cpu", "Memory", "Pids", "Unified", "Device allow list".

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

/// The status of a program that SIGKILL has ended.
const KILLED: i32 = 128 + 9;
const MIB: u64 = 1 << 20;

/// A bundle in the test's own group with these limits.
fn bundle(s: &Sandbox, resources: Value) -> Bundle {
    let mut bundle = s.bundle();
    bundle
        .set("/linux/cgroupsPath", json!(format!("/{}-group", s.token)))
        .set("/linux/resources", resources);
    bundle
}

/// A file of the container's group.
fn file(s: &Sandbox, controller: &str, name: &str) -> PathBuf {
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchy = if s.is_v2() {
        root
    } else {
        root.join(controller)
    };
    hierarchy.join(format!("{}-group", s.token)).join(name)
}

fn read(s: &Sandbox, controller: &str, name: &str) -> String {
    let path = file(s, controller, name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim_end().to_owned()
}

/// The number behind a key of a file such as cpu.stat.
fn count(s: &Sandbox, controller: &str, name: &str, key: &str) -> u64 {
    let text = read(s, controller, name);
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let value = line.unwrap_or_else(|| panic!("{key} in {text}"));
    value.trim().parse().expect("a number")
}

/// Whether a controller is in neither version here.
fn lacks(s: &Sandbox, controller: &str) -> bool {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let lacks = s.is_v2() && !list.split_whitespace().any(|name| name == controller);
    if lacks {
        s.skip("no such controller here; covered in environment host, or where v2 has it");
    }
    lacks
}

/// Whether there are no hierarchies of v1, whose files a test reads.
fn lacks_v1(s: &Sandbox) -> bool {
    let lacks = s.is_v2();
    if lacks {
        s.skip("no v1 hierarchies here; covered where the machine has them, in environment host");
    }
    lacks
}

/// "memory ... limit (int64, OPTIONAL) - sets limit of memory usage in bytes": a program that uses more is killed.
#[test]
fn the_memory_limit_ends_a_program_that_uses_more() {
    sandbox::host(|s| {
        if lacks(s, "memory") {
            return;
        }
        let mut bundle = bundle(
            s,
            json!({ "memory": { "limit": 32 * MIB, "swap": 32 * MIB } }),
        );
        bundle.args(&["dd", "if=/dev/zero", "of=/dev/null", "bs=128M", "count=1"]);
        s.run(&bundle).exits(KILLED);
        bundle.args(&["dd", "if=/dev/zero", "of=/dev/null", "bs=4M", "count=1"]);
        s.run(&bundle).ok();
    });
}

/// A limit that is too small for the set-up is said with its numbers, and leaves nothing; half a MiB is enough for a
/// small program.
#[test]
fn a_small_memory_limit_starts_a_small_program_and_a_tiny_one_says_why_not() {
    sandbox::host(|s| {
        if lacks(s, "memory") {
            return;
        }
        let limit = |bytes: u64| json!({ "memory": { "limit": bytes, "swap": bytes } });
        if s.is_control("runc 1.1 does not start with so little, and says less") {
            return;
        }
        let mut small = bundle(s, limit(MIB / 2));
        s.run(small.args(&["true"])).ok();
        let mut tiny = bundle(s, limit(4096));
        s.run(tiny.args(&["true"]))
            .fails_with(&["memory", "4096 bytes"]);
    });
}

/// "pids ... limit (int64, REQUIRED) - specifies the maximum number of tasks in the cgroup".
#[test]
fn the_pids_limit_stops_a_fork_bomb() {
    sandbox::host(|s| {
        if lacks(s, "pids") {
            return;
        }
        let mut bundle = bundle(s, json!({ "pids": { "limit": 12 } }));
        bundle.mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        bundle.shell(
            "(while :; do sleep 1000 & done) 2> /tmp/error; \
             read line < /tmp/error; echo \"$line\"; exec sleep 1000",
        );
        let container = s.started(&bundle);
        container.wait_output("can't fork");
        assert_eq!(read(s, "pids", "pids.max"), "12");
        let current: u32 = read(s, "pids", "pids.current").parse().expect("a number");
        assert!((8..=12).contains(&current), "{current}");
        assert!(count(s, "pids", "pids.events", "max ") > 0);
        container.remove();
    });
}

/// "cpu ... quota (int64, OPTIONAL) - specifies the total amount of time in microseconds for which all tasks in a cgroup can run
/// during one period".
#[test]
fn the_cpu_quota_throttles() {
    sandbox::host(|s| {
        if lacks(s, "cpu") {
            return;
        }
        let mut bundle = bundle(s, json!({ "cpu": { "quota": 2000, "period": 20000 } }));
        bundle.shell("while :; do :; done");
        let container = s.started(&bundle);
        let throttled = || count(s, "cpu", "cpu.stat", "nr_throttled ") > 1;
        assert!(
            sandbox::eventually(throttled),
            "{}",
            read(s, "cpu", "cpu.stat")
        );
        container.remove();
    });
}

/// The values stand in the files as they were given.
#[test]
fn limits_are_read_back() {
    sandbox::host(|s| {
        if lacks_v1(s) {
            return;
        }
        let mut bundle = bundle(
            s,
            json!({
                "memory": {
                    "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB, "swappiness": 10
                },
                "cpu": { "shares": 512, "quota": 50000, "period": 200_000, "cpus": "0", "mems": "0" },
                "pids": { "limit": 100 }
            }),
        );
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        for (controller, name, value) in [
            ("memory", "memory.limit_in_bytes", (64 * MIB).to_string()),
            (
                "memory",
                "memory.soft_limit_in_bytes",
                (32 * MIB).to_string(),
            ),
            (
                "memory",
                "memory.memsw.limit_in_bytes",
                (96 * MIB).to_string(),
            ),
            ("memory", "memory.swappiness", "10".to_owned()),
            ("cpu", "cpu.shares", "512".to_owned()),
            ("cpu", "cpu.cfs_quota_us", "50000".to_owned()),
            ("cpu", "cpu.cfs_period_us", "200000".to_owned()),
            ("cpuset", "cpuset.cpus", "0".to_owned()),
            ("cpuset", "cpuset.mems", "0".to_owned()),
            ("pids", "pids.max", "100".to_owned()),
        ] {
            assert_eq!(read(s, controller, name), value, "{name}");
        }
        container.remove();
    });
}

/// -1 is no limit, and what is left out stays as the kernel has it.
#[test]
fn unlimited_and_absent_values_limit_nothing() {
    sandbox::host(|s| {
        if lacks_v1(s) {
            return;
        }
        for limits in [
            json!({ "memory": { "limit": -1, "swap": -1 }, "cpu": { "quota": -1 }, "pids": { "limit": -1 } }),
            json!({ "memory": {}, "cpu": { "shares": 0 } }),
            json!({}),
        ] {
            let mut bundle = bundle(s, limits);
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            let bytes: u64 = read(s, "memory", "memory.limit_in_bytes")
                .parse()
                .expect("a number");
            assert!(bytes > 1 << 60, "{bytes}");
            assert_eq!(read(s, "cpu", "cpu.cfs_quota_us"), "-1");
            assert_eq!(read(s, "cpu", "cpu.shares"), "1024");
            assert_eq!(read(s, "pids", "pids.max"), "max");
            container.remove();
        }
    });
}

/// A loop device of the host for one test; none where the machine has none to give.
struct Loop {
    path: String,
    minor: u32,
}

impl Loop {
    fn attach(sandbox: &Sandbox) -> Option<Self> {
        let backing = sandbox.dir.join("disk");
        fs::write(&backing, vec![0; 4 << 20]).expect("disk");
        let output = Command::new("losetup")
            .args(["--find", "--show", "--read-only"])
            .arg(&backing)
            .output()
            .expect("losetup");
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let minor = path.strip_prefix("/dev/loop")?.parse().ok()?;
        Some(Self { path, minor })
    }
}

impl Drop for Loop {
    /// The device is the machine's, so it is given back whatever has become of the test.
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .args(["--detach", &self.path])
            .status();
        println!("losetup --detach {}: {detached:?}", self.path);
    }
}

/// "throttleReadBpsDevice ... list of per-device bandwidth rate limits": 1 MiB takes four seconds at 256 KiB a second.
#[test]
fn the_block_rate_is_read_back_and_slows_reading() {
    sandbox::host(|s| {
        if lacks_v1(s) {
            return;
        }
        let Some(device) = Loop::attach(s) else {
            return s.skip("losetup gives no loop device here");
        };
        let minor = device.minor;
        let rate = json!([{ "major": 7, "minor": minor, "rate": MIB / 4 }]);
        let mut bundle = bundle(
            s,
            json!({
                "blockIO": { "throttleReadBpsDevice": rate },
                "devices": [{ "allow": true, "type": "b", "major": 7, "minor": minor, "access": "r" }]
            }),
        );
        bundle
            .set(
                "/linux/devices",
                json!([{ "path": "/dev/disk", "type": "b", "major": 7, "minor": minor }]),
            )
            .shell("dd if=/dev/disk of=/dev/null bs=64k count=16 iflag=direct 2> /dev/null; echo $?; exec sleep 1000");
        let start = Instant::now();
        let container = s.started(&bundle);
        let limit = read(s, "blkio", "blkio.throttle.read_bps_device");
        container.wait_output("0\n");
        let took = start.elapsed();
        container.remove();
        assert_eq!(limit, format!("7:{minor} {}", MIB / 4));
        assert!(took > Duration::from_millis(2500), "{took:?}");
    });
}

/// "devices (array of objects, OPTIONAL) configures the allow list. The runtime MUST apply entries in the listed order."
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
        let mut bundle = bundle(s, json!({ "devices": rules }));
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

/// "unified (object, OPTIONAL)": files of cgroup v2; where the controller is not in v2 they cannot be had.
#[test]
fn a_unified_key_without_its_controller_is_an_error() {
    sandbox::host(|s| {
        if lacks_v1(s) {
            return;
        }
        let bundle = bundle(s, json!({ "unified": { "memory.high": "1000000" } }));
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
                s.skip(&format!(
                    "{controller} is there; covered where v2 has hugetlb alone"
                ));
                continue;
            }
            let pointer = format!("/linux/resources{pointer}");
            let name = format!("controller {controller} ");
            s.try_create(&bundle(s, limits), &s.id(), &[]).fails_with(&[
                &pointer,
                &name,
                "not available",
            ]);
        }
    });
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
            let mut bundle = bundle(s, limits);
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            assert_eq!(read(s, "", "hugetlb.2MB.max"), value.to_string());
            container.remove();
        }
    });
}

/// Issue 4, bad input: "Wrong types, negative or overflowing numbers, unknown hugepage size, unified key with `/` or newline, unified on
/// v1, swap below limit, quota below the kernel's minimum ...: each an error with JSON pointer ..., and the group is as before."
#[test]
fn a_bad_limit_is_refused_with_its_place() {
    sandbox::host(|s| {
        refuses_bad_limits(s);
    });
}

/// The same where cgroup v2 is all there is.
#[test]
fn a_bad_limit_is_refused_with_its_place_in_the_v2_view() {
    sandbox::pure_v2(|s| {
        refuses_bad_limits(s);
    });
}

fn refuses_bad_limits(s: &Sandbox) {
    if s.is_control("the pointers are locule's") {
        return;
    }
    for (limits, pointer) in [
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
        (json!({ "cpu": { "shares": -1 } }), "/cpu/shares"),
        (json!({ "cpu": { "quota": 1e30 } }), "/cpu/quota"),
        (json!({ "cpu": { "cpus": "zero" } }), "/cpu/cpus"),
        (json!({ "cpu": { "idle": 2 } }), "/cpu/idle"),
        (json!({ "pids": {} }), "/pids"),
        (json!({ "pids": { "limit": -2 } }), "/pids/limit"),
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
    ] {
        let bundle = bundle(s, limits.clone());
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        let pointer = format!("/linux/resources{pointer}");
        outcome.fails_with(&[&pointer]);
        assert!(!file(s, "memory", "").exists(), "{limits}");
    }
}

/// What only the kernel refuses is an error with the place as well, and the groups are gone.
#[test]
fn a_limit_that_the_kernel_refuses_leaves_no_group() {
    sandbox::host(|s| {
        if lacks_v1(s) || s.is_control("the pointers are locule's") {
            return;
        }
        for (limits, pointer) in [
            (json!({ "cpu": { "quota": 500 } }), "/cpu/quota"),
            (
                json!({ "cpu": { "quota": 5000, "period": 10 } }),
                "/cpu/period",
            ),
            (json!({ "cpu": { "cpus": "4000" } }), "/cpu/cpus"),
            (json!({ "cpu": { "mems": "400" } }), "/cpu/mems"),
            (
                json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 99, "minor": 0, "rate": 5 }] } }),
                "/blockIO/throttleReadBpsDevice/0",
            ),
        ] {
            let pointer = format!("/linux/resources{pointer}: ");
            s.try_create(&bundle(s, limits), &s.id(), &[])
                .fails_with(&[&pointer]);
            for controller in ["cpu", "memory", "pids", "blkio", "freezer"] {
                assert!(!file(s, controller, "").exists(), "{controller}");
            }
        }
    });
}
