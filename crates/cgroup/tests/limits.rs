//! The limits that the kernel reports after the writes, on this host's real v1 controllers and on
//! v2.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use cgroup::stats::Stats;
use cgroup::{Error, News, OomWatch, Version};
use fixture::{DEADLINE, Name, Sleeper, content, in_v2_view, is_possible};
use spec::container::{Resources, ThrottleDevice};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Whether this host has these v1 controllers; prints if not.
fn has_v1(controllers: &[&str]) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let has = |name: &&str| {
        own.contains(&format!(":{name}:")) && Path::new("/sys/fs/cgroup").join(name).is_dir()
    };
    let all = is_possible() && controllers.iter().all(has);
    if !all {
        println!("skipped: needs the v1 controllers {controllers:?}");
    }
    all
}

fn resources(change: impl FnOnce(&mut Resources)) -> Resources {
    let mut resources = Resources::default();
    change(&mut resources);
    resources
}

#[test]
fn v1_files_hold_what_was_asked() {
    if !has_v1(&["memory", "cpu", "cpuset", "pids"]) {
        return;
    }
    let name = Name::new();
    let asked = resources(|r| {
        r.memory.limit = Some(64 << 20);
        r.memory.swap = Some(128 << 20);
        r.memory.reservation = Some(32 << 20);
        r.memory.swappiness = Some(10);
        r.memory.disable_oom_killer = Some(true);
        r.memory.kernel = Some(32 << 20);
        r.memory.kernel_tcp = Some(16 << 20);
        r.memory.use_hierarchy = Some(true);
        r.cpu.shares = Some(512);
        r.cpu.quota = Some(20_000);
        r.cpu.period = Some(50_000);
        r.cpu.burst = Some(10_000);
        r.cpu.cpus = Some("0".to_owned());
        r.cpu.mems = Some("0".to_owned());
        r.pids_limit = Some(33);
    });
    let group = name.plan(asked).unwrap().create().unwrap();
    let location = group.location();
    let cases = [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "134217728"),
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.swappiness", "10"),
        ("memory.kmem.tcp.limit_in_bytes", "16777216"),
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "20000"),
        ("cpu.cfs_period_us", "50000"),
        ("cpu.cfs_burst_us", "10000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "33"),
    ];
    for (file, value) in cases {
        assert_eq!(content(location, file), value, "{file}");
    }
    assert!(content(location, "memory.oom_control").contains("oom_kill_disable 1"));
    location.remove(DEADLINE).unwrap();
}

#[test]
fn v1_realtime_runtime_comes_down_through_new_groups() {
    if !has_v1(&["cpu"]) || !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return;
    }
    let name = Name::new();
    let mut container = fixture::container();
    container.cgroups_path = Some(format!("{}/middle/leaf", name.path()));
    container.resources.cpu.realtime_period = Some(1_000_000);
    container.resources.cpu.realtime_runtime = Some(5000);
    let group = fixture::lower(&container).unwrap().create().unwrap();
    assert_eq!(content(group.location(), "cpu.rt_runtime_us"), "5000");
    group.location().remove(DEADLINE).unwrap();
    for place in &group.location().groups {
        let middle = place.host_path().parent().unwrap().to_owned();
        fs::remove_dir(&middle).unwrap();
        fs::remove_dir(middle.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_refused_limit_names_property_file_value_and_leaves_nothing() {
    if !has_v1(&["cpu", "cpuset", "blkio"]) {
        return;
    }
    let throttle = ThrottleDevice {
        major: 4095,
        minor: 1,
        rate: 5,
    };
    let cases = [
        (
            resources(|r| r.cpu.quota = Some(5)),
            "/linux/resources/cpu/quota",
            "1000 microseconds",
        ),
        (
            resources(|r| r.cpu.cpus = Some("9999".to_owned())),
            "/linux/resources/cpu/cpus",
            "9999",
        ),
        (
            resources(|r| r.cpu.mems = Some("x".to_owned())),
            "/linux/resources/cpu/mems",
            "not a list",
        ),
        (
            resources(|r| r.block_io.throttle_read_bps = vec![throttle]),
            "/linux/resources/blockIO/throttleReadBpsDevice/0",
            "no device with these numbers",
        ),
    ];
    for (asked, pointer, words) in cases {
        let name = Name::new();
        let error = name.plan(asked).unwrap().create().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(pointer) && text.contains(words), "{text}");
        assert!(text.contains(&name.0), "{text}");
    }
}

#[test]
fn an_update_merges_and_orders_memory_and_swap_both_ways() {
    if !has_v1(&["memory", "cpu"]) {
        return;
    }
    let name = Name::new();
    let stored = resources(|r| {
        r.memory.limit = Some(64 << 20);
        r.memory.swap = Some(64 << 20);
        r.cpu.shares = Some(512);
    });
    let group = name.plan(stored.clone()).unwrap().create().unwrap();
    let location = group.location();
    let both = |megabytes: i64| {
        resources(|r| {
            r.memory.limit = Some(megabytes << 20);
            r.memory.swap = Some(megabytes << 20);
        })
    };
    let larger = location.update(&stored, &both(256)).unwrap();
    assert_eq!(
        content(location, "memory.memsw.limit_in_bytes"),
        (256 << 20).to_string()
    );
    let smaller = location.update(&larger, &both(32)).unwrap();
    assert_eq!(
        content(location, "memory.limit_in_bytes"),
        (32 << 20).to_string()
    );
    assert_eq!(
        content(location, "memory.memsw.limit_in_bytes"),
        (32 << 20).to_string()
    );
    assert_eq!(smaller.cpu.shares, Some(512));
    let unlimited = location
        .update(&smaller, &resources(|r| r.memory.limit = Some(-1)))
        .unwrap();
    assert_eq!(unlimited.memory.swap, Some(-1));
    let page_counter_max = "9223372036854771712";
    assert_eq!(
        content(location, "memory.memsw.limit_in_bytes"),
        page_counter_max
    );
    location.remove(DEADLINE).unwrap();
}

#[test]
fn a_refused_update_leaves_every_file_as_it_was() {
    if !has_v1(&["memory", "cpu", "pids", "cpuset"]) {
        return;
    }
    let name = Name::new();
    let stored = resources(|r| {
        r.memory.limit = Some(64 << 20);
        r.cpu.quota = Some(20_000);
        r.pids_limit = Some(10);
    });
    let group = name.plan(stored.clone()).unwrap().create().unwrap();
    let location = group.location();
    let files = [
        "memory.limit_in_bytes",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "cpu.shares",
        "pids.max",
        "cpuset.cpus",
    ];
    let before = files.map(|file| content(location, file));
    let change = resources(|r| {
        r.memory.limit = Some(128 << 20);
        r.cpu.quota = Some(90_000);
        r.cpu.period = Some(200_000);
        r.cpu.shares = Some(77);
        r.pids_limit = Some(20);
        r.cpu.cpus = Some("0-9999".to_owned());
    });
    let error = location.update(&stored, &change).unwrap_err();
    assert!(
        matches!(&error, Error::Limit { pointer, .. } if pointer == "/linux/resources/cpu/cpus")
    );
    assert_eq!(files.map(|file| content(location, file)), before);
    location.remove(DEADLINE).unwrap();
}

#[test]
fn check_before_update_spares_the_processes() {
    if !has_v1(&["memory"]) {
        return;
    }
    let name = Name::new();
    let group = name.create();
    let location = group.location();
    // The shell's memory is charged to the group, since the shell enters the group before it
    // allocates.
    let script = "read line; x=$(head -c 4000000 /dev/zero | tr '\\0' a); sleep 1000";
    let shell = std::process::Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = Sleeper(shell);
    group.join(shell.pid()).unwrap();
    drop(shell.0.stdin.take());
    let used = || {
        content(location, "memory.usage_in_bytes")
            .parse::<u64>()
            .unwrap()
    };
    let end = std::time::Instant::now() + DEADLINE;
    while used() < 4_000_000 && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let change = resources(|r| {
        r.memory.limit = Some(1 << 20);
        r.memory.check_before_update = Some(true);
    });
    let error = location.update(&Resources::default(), &change).unwrap_err();
    assert!(error.to_string().contains("checkBeforeUpdate"), "{error}");
    location.signal_all(9).unwrap();
    assert_eq!(shell.signal(), Some(9));
    location.remove(DEADLINE).unwrap();
}

/// The one test that passes a controller on from the root: hugetlb, which the v2 view has.
#[test]
fn v2_controllers_are_enabled_from_the_top_and_files_hold_what_was_asked() {
    const NAME: &str = "v2_controllers_are_enabled_from_the_top_and_files_hold_what_was_asked";
    in_v2_view(NAME, || {
        let root = Path::new("/sys/fs/cgroup");
        let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap();
        if !available.contains("hugetlb")
            || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir()
        {
            println!("skipped: needs hugetlb");
            return;
        }
        let passed = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap();
        let name = Name::new();
        let mut container = fixture::container();
        container.cgroups_path = Some(format!("{}/middle/leaf", name.path()));
        container.resources.hugepage_limits = vec![("2MB".to_owned(), 8 << 20)];
        let unified = [("cgroup.max.descendants".to_owned(), "5".to_owned())];
        container.resources.unified = unified.into();
        let group = fixture::lower(&container).unwrap().create().unwrap();
        let location = group.location();
        assert_eq!(content(location, "hugetlb.2MB.max"), (8 << 20).to_string());
        assert_eq!(content(location, "cgroup.max.descendants"), "5");

        let change = resources(|r| r.hugepage_limits = vec![("2MB".to_owned(), 2 << 20)]);
        let merged = location.update(&container.resources, &change).unwrap();
        assert_eq!(content(location, "hugetlb.2MB.max"), (2 << 20).to_string());
        assert_eq!(merged.unified.len(), 1);

        // A group with its own processes passes no controller on.
        let middle = location.groups[0].host_path().parent().unwrap().to_owned();
        location.remove(DEADLINE).unwrap();
        fs::write(middle.join("cgroup.subtree_control"), "-hugetlb").unwrap();
        let sleeper = Sleeper::new();
        fs::write(middle.join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
        let error = fixture::lower(&container).unwrap().create().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NotEnabled { .. }), "{text}");
        assert!(
            text.contains("hugetlb") && text.contains("middle"),
            "{text}"
        );
        drop(sleeper);
        remove_when_empty(&middle);
        remove_when_empty(middle.parent().unwrap());
        if !passed.contains("hugetlb") {
            fs::write(root.join("cgroup.subtree_control"), "-hugetlb").unwrap();
        }
    });
}

fn remove_when_empty(group: &Path) {
    let end = std::time::Instant::now() + DEADLINE;
    while fs::remove_dir(group).is_err() {
        assert!(std::time::Instant::now() < end, "{group:?} stays");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn a_controller_that_the_host_lacks_is_named_before_anything_is_made() {
    in_v2_view(
        "a_controller_that_the_host_lacks_is_named_before_anything_is_made",
        || {
            let available = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
            if available.contains("memory") {
                println!("skipped: this host has the memory controller");
                return;
            }
            let name = Name::new();
            let error = name
                .plan(resources(|r| r.memory.limit = Some(1 << 20)))
                .unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("/linux/resources/memory/limit")
                    && text.contains("controller memory")
            );
        },
    );
}

#[test]
fn the_v2_group_of_a_hybrid_host_is_part_of_the_location() {
    if !has_v1(&["memory"]) || !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        return;
    }
    let name = Name::new();
    let group = name.create();
    let versions: Vec<_> = group
        .location()
        .groups
        .iter()
        .map(|place| place.version)
        .collect();
    assert_eq!(versions[0], Version::V2);
    assert!(group.clone_into().is_some());
    group.location().remove(DEADLINE).unwrap();
}

#[test]
fn counters_of_v1_are_those_of_the_groups_processes() {
    if !has_v1(&["memory", "cpuacct", "pids", "cpuset"]) {
        return;
    }
    let name = Name::new();
    let asked = resources(|r| {
        r.memory.limit = Some(64 << 20);
        r.pids_limit = Some(9);
    });
    let group = name.plan(asked).unwrap().create().unwrap();
    let location = group.location();
    let before = location.stats().unwrap();
    assert_eq!((before.pids.current, before.pids.limit), (0, 9));
    assert_eq!(before.memory.usage.limit, 64 << 20);
    assert!(!before.cpuset.cpus.is_empty() && !before.memory.raw.is_empty());

    let script = "read line; x=$(head -c 2000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000";
    let shell = std::process::Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = Sleeper(shell);
    group.join(shell.pid()).unwrap();
    drop(shell.0.stdin.take());
    let end = std::time::Instant::now() + DEADLINE;
    let mut after = location.stats().unwrap();
    let is_seen =
        |stats: &Stats| stats.cpu.usage.total >= 5_000_000 && stats.memory.usage.usage > 1_000_000;
    while !is_seen(&after) && std::time::Instant::now() < end {
        after = location.stats().unwrap();
    }
    assert!(is_seen(&after), "{after:?}");
    assert!(after.pids.current >= 1);
    location.signal_all(9).unwrap();
    shell.signal();
    location.remove(DEADLINE).unwrap();
    assert!(location.stats().is_err());
}

#[test]
fn counters_of_v2_hold_time_and_pressure() {
    in_v2_view("counters_of_v2_hold_time_and_pressure", || {
        let name = Name::new();
        let group = name.create();
        let location = group.location();
        let mut endless = std::process::Command::new("sh");
        endless.args(["-c", "while :; do :; done"]);
        let mut counter = Sleeper(endless.spawn().unwrap());
        group.join(counter.pid()).unwrap();
        let end = std::time::Instant::now() + DEADLINE;
        let mut stats = location.stats().unwrap();
        while stats.cpu.usage.total == 0 && std::time::Instant::now() < end {
            stats = location.stats().unwrap();
        }
        assert!(stats.cpu.usage.total > 0);
        assert_eq!(
            stats.cpu.usage.total % 1000,
            0,
            "microseconds become nanoseconds"
        );
        let root = Path::new("/sys/fs/cgroup");
        assert_eq!(stats.cpu.psi.is_some(), root.join("cpu.pressure").exists());
        location.signal_all(9).unwrap();
        counter.signal();
        location.remove(DEADLINE).unwrap();
    });
}

#[test]
fn a_memory_limit_kills_and_says_so() {
    if !has_v1(&["memory"]) {
        return;
    }
    let name = Name::new();
    let group = name
        .plan(resources(|r| r.memory.limit = Some(8 << 20)))
        .unwrap()
        .create()
        .unwrap();
    let location = group.location();
    let before = location.out_of_memory().unwrap().unwrap();
    assert_eq!((before.kills, before.limit), (0, Some(8 << 20)));
    let mut watch = location.watch_oom().unwrap().unwrap();
    assert_eq!(watch.look(), News::Quiet);

    let script = "read line; exec dd if=/dev/zero of=/dev/null bs=64M count=1";
    let hog = std::process::Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut hog = Sleeper(hog);
    group.join(hog.pid()).unwrap();
    drop(hog.0.stdin.take());
    assert_eq!(hog.signal(), Some(9));
    assert_eq!(news(&mut watch), News::Killed);
    let after = location.out_of_memory().unwrap().unwrap();
    assert_eq!(after.kills, 1);
    assert!(after.peak > 7 << 20, "{after:?}");
    assert_eq!(group.out_of_memory().unwrap(), Some(after));
    // A process that joins now is not blamed for the kill before.
    assert_eq!(location.open().unwrap().out_of_memory().unwrap(), None);
    location.remove(DEADLINE).unwrap();
    assert_eq!(news(&mut watch), News::Gone);
    assert_eq!(location.out_of_memory().unwrap(), None);
}

#[test]
fn a_pids_limit_stops_forks() {
    if !has_v1(&["pids"]) {
        return;
    }
    let name = Name::new();
    let group = name
        .plan(resources(|r| r.pids_limit = Some(3)))
        .unwrap()
        .create()
        .unwrap();
    // The shell and two more; the fourth is refused.
    let script = "read line; sleep 1000 & sleep 1000 & sleep 1000 & wait";
    let shell = std::process::Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut shell = Sleeper(shell);
    group.join(shell.pid()).unwrap();
    drop(shell.0.stdin.take());
    let status = shell.0.wait().unwrap();
    assert_eq!(status.code(), Some(2), "the shell could not fork");
    assert_eq!(group.location().pids().unwrap().len(), 2);
    group.location().signal_all(9).unwrap();
    group.location().remove(DEADLINE).unwrap();
}

/// The next event; it must come within the deadline.
fn news(watch: &mut OomWatch) -> News {
    let end = Instant::now() + DEADLINE;
    loop {
        match watch.look() {
            News::Quiet if Instant::now() < end => sleep(Duration::from_millis(5)),
            news => return news,
        }
    }
}
