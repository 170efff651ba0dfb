//! Each property as the limits of both interfaces, with the specification's own examples.

use super::*;
use serde_json::json;
use spec::container::{Rdma, ThrottleDevice, WeightDevice};

fn v2() -> Controllers {
    let names = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    Controllers {
        v1: Vec::new(),
        v2: names.map(str::to_owned).to_vec(),
        unified: Some(0),
        page_sizes: vec!["2MB".to_owned(), "64KB".to_owned()],
    }
}

fn v1() -> Controllers {
    let names = [
        "memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "rdma",
    ];
    Controllers {
        v1: names.map(|name| (name.to_owned(), 0)).to_vec(),
        v2: Vec::new(),
        unified: None,
        page_sizes: vec!["2MB".to_owned(), "64KB".to_owned()],
    }
}

fn resources(change: impl FnOnce(&mut Resources)) -> Resources {
    let mut resources = Resources::default();
    change(&mut resources);
    resources
}

/// The limits as "file=value" words.
fn on(controllers: &Controllers, resources: &Resources) -> Vec<String> {
    let lowered = lower(resources, controllers).unwrap();
    let words = lowered
        .limits
        .iter()
        .map(|limit| format!("{}={}", limit.file, limit.value));
    words.collect()
}

fn refused(controllers: &Controllers, resources: &Resources) -> Diagnostic {
    lower(resources, controllers).unwrap_err()
}

/// config-linux.md#memory: the example.
fn memory_example() -> Resources {
    resources(|r| {
        r.memory.limit = Some(536_870_912);
        r.memory.reservation = Some(536_870_912);
        r.memory.swap = Some(536_870_912);
        r.memory.kernel = Some(-1);
        r.memory.kernel_tcp = Some(-1);
        r.memory.swappiness = Some(0);
        r.memory.disable_oom_killer = Some(false);
    })
}

#[test]
fn the_memory_example_on_v1() {
    let expected = [
        "memory.limit_in_bytes=536870912",
        "memory.memsw.limit_in_bytes=536870912",
        "memory.soft_limit_in_bytes=536870912",
        "memory.kmem.limit_in_bytes=-1",
        "memory.kmem.tcp.limit_in_bytes=-1",
        "memory.swappiness=0",
        "memory.oom_control=0",
    ];
    assert_eq!(on(&v1(), &memory_example()), expected);
}

#[test]
fn the_memory_example_on_v2() {
    let expected = [
        "memory.swap.max=0",
        "memory.max=536870912",
        "memory.low=536870912",
    ];
    assert_eq!(on(&v2(), &memory_example()), expected);
    let lowered = lower(&memory_example(), &v2()).unwrap();
    let warned: Vec<_> = lowered
        .warnings
        .iter()
        .map(|warning| &*warning.pointer)
        .collect();
    let expected = ["kernel", "kernelTCP", "swappiness"];
    assert_eq!(
        warned,
        expected.map(|name| format!("/linux/resources/memory/{name}"))
    );
}

#[test]
fn swap_is_memory_and_swap_together() {
    let cases: [(Option<i64>, Option<i64>, &[&str]); 6] = [
        (
            Some(100),
            Some(300),
            &["memory.swap.max=200", "memory.max=100"],
        ),
        (
            Some(100),
            Some(-1),
            &["memory.swap.max=max", "memory.max=100"],
        ),
        (Some(100), None, &["memory.max=100"]),
        (
            Some(-1),
            Some(-1),
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (Some(-1), None, &["memory.max=max"]),
        (None, Some(-1), &["memory.swap.max=max"]),
    ];
    for (limit, swap, expected) in cases {
        let asked = resources(|r| {
            r.memory.limit = limit;
            r.memory.swap = swap;
        });
        assert_eq!(on(&v2(), &asked), expected, "{limit:?} {swap:?}");
    }
    for (limit, swap) in [(Some(200), 100), (None, 100), (Some(-1), 100)] {
        let asked = resources(|r| {
            r.memory.limit = limit;
            r.memory.swap = Some(swap);
        });
        for controllers in [v1(), v2()] {
            assert_eq!(
                refused(&controllers, &asked).pointer,
                "/linux/resources/memory/swap"
            );
        }
    }
}

#[test]
fn an_unlimited_update_of_memory_unlimits_swap() {
    let change = resources(|r| r.memory.limit = Some(-1));
    let whole = companions(&change, &merge(&Resources::default(), &change));
    let expected = ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"];
    assert_eq!(on(&v1(), &whole), expected);
    assert_eq!(on(&v2(), &whole), ["memory.swap.max=max", "memory.max=max"]);
}

/// config-linux.md#cpu: the example, and the newer properties.
#[test]
fn the_cpu_example() {
    let asked = resources(|r| {
        r.cpu.shares = Some(1024);
        r.cpu.quota = Some(1_000_000);
        r.cpu.burst = Some(1_000_000);
        r.cpu.period = Some(500_000);
        r.cpu.cpus = Some("2-3".to_owned());
        r.cpu.mems = Some("0-7".to_owned());
        r.cpu.idle = Some(0);
    });
    let expected = [
        "cpu.idle=0",
        "cpu.weight=100",
        "cpu.max=1000000 500000",
        "cpu.max.burst=1000000",
        "cpuset.cpus=2-3",
        "cpuset.mems=0-7",
    ];
    assert_eq!(on(&v2(), &asked), expected);
    let mut realtime = asked;
    realtime.cpu.realtime_runtime = Some(950_000);
    realtime.cpu.realtime_period = Some(1_000_000);
    let expected = [
        "cpu.idle=0",
        "cpu.shares=1024",
        "cpu.cfs_period_us=500000",
        "cpu.cfs_quota_us=1000000",
        "cpu.cfs_burst_us=1000000",
        "cpu.rt_period_us=1000000",
        "cpu.rt_runtime_us=950000",
        "cpuset.cpus=2-3",
        "cpuset.mems=0-7",
    ];
    assert_eq!(on(&v1(), &realtime), expected);
    let problem = refused(&v2(), &realtime);
    assert_eq!(problem.pointer, "/linux/resources/cpu/realtimePeriod");
}

#[test]
fn quota_and_period_share_a_file_on_v2() {
    let cases = [
        (Some(50_000), None, "cpu.max=50000 100000"),
        (Some(-1), None, "cpu.max=max 100000"),
        (Some(-7), Some(20_000), "cpu.max=max 20000"),
        (None, Some(20_000), "cpu.max=max 20000"),
    ];
    for (quota, period, expected) in cases {
        let asked = resources(|r| {
            r.cpu.quota = quota;
            r.cpu.period = period;
        });
        assert_eq!(on(&v2(), &asked), [expected]);
    }
}

#[test]
fn an_idle_group_gets_no_shares() {
    let asked = resources(|r| {
        r.cpu.shares = Some(1024);
        r.cpu.idle = Some(1);
    });
    assert_eq!(on(&v1(), &asked), ["cpu.idle=1"]);
    assert_eq!(on(&v2(), &asked), ["cpu.idle=1"]);
}

/// config-linux.md#pids: the example; -1 is no limit; 0 is the smallest limit.
#[test]
fn pids_limits() {
    let cases = [
        (32_771, "pids.max=32771"),
        (0, "pids.max=1"),
        (-1, "pids.max=max"),
    ];
    for (limit, expected) in cases {
        let asked = resources(|r| r.pids_limit = Some(limit));
        assert_eq!(on(&v1(), &asked), [expected]);
        assert_eq!(on(&v2(), &asked), [expected]);
    }
}

/// config-linux.md#block-io: the example, without leafWeight for v2.
#[test]
fn the_block_io_example() {
    let throttle = |minor, rate| {
        vec![ThrottleDevice {
            major: 8,
            minor,
            rate,
        }]
    };
    let mut asked = resources(|r| {
        r.block_io.weight = Some(10);
        r.block_io.weight_device = vec![
            WeightDevice {
                major: 8,
                minor: 0,
                weight: Some(500),
                leaf_weight: None,
            },
            WeightDevice {
                major: 8,
                minor: 16,
                weight: Some(500),
                leaf_weight: None,
            },
        ];
        r.block_io.throttle_read_bps = throttle(0, 600);
        r.block_io.throttle_write_iops = throttle(16, 300);
    });
    let lowered = lower(&asked, &v2()).unwrap();
    let second = |index: usize| match &lowered.limits[index].missing {
        Missing::Otherwise(file, value) => format!("{file}={value}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(second(0), "io.weight=default 1");
    assert_eq!(second(1), "io.weight=8:0 4950");
    let expected = [
        "io.bfq.weight=10",
        "io.bfq.weight=8:0 500",
        "io.bfq.weight=8:16 500",
        "io.max=8:0 rbps=600",
        "io.max=8:16 wiops=300",
    ];
    assert_eq!(on(&v2(), &asked), expected);

    asked.block_io.leaf_weight = Some(10);
    asked.block_io.weight_device[0].leaf_weight = Some(300);
    let expected = [
        "blkio.weight=10",
        "blkio.leaf_weight=10",
        "blkio.weight_device=8:0 500",
        "blkio.weight_device=8:16 500",
        "blkio.leaf_weight_device=8:0 300",
        "blkio.throttle.read_bps_device=8:0 600",
        "blkio.throttle.write_iops_device=8:16 300",
    ];
    assert_eq!(on(&v1(), &asked), expected);
    assert_eq!(
        refused(&v2(), &asked).pointer,
        "/linux/resources/blockIO/leafWeight"
    );

    let unthrottled = resources(|r| r.block_io.throttle_read_bps = throttle(0, 0));
    assert_eq!(on(&v2(), &unthrottled), ["io.max=8:0 rbps=max"]);
}

/// config-linux.md#huge-page-limits: the example.
#[test]
fn the_huge_page_example() {
    let mut asked = resources(|r| {
        r.hugepage_limits = vec![
            ("2MB".to_owned(), 209_715_200),
            ("64KB".to_owned(), 1_000_000),
        ];
    });
    let expected = [
        "hugetlb.2MB.max=209715200",
        "hugetlb.64KB.max=1000000",
        "hugetlb.2MB.rsvd.max=209715200",
        "hugetlb.64KB.rsvd.max=1000000",
    ];
    assert_eq!(on(&v2(), &asked), expected);
    assert_eq!(on(&v1(), &asked)[0], "hugetlb.2MB.limit_in_bytes=209715200");
    for size in ["3MB", "../x", "2MB/..", ""] {
        asked.hugepage_limits[1].0 = size.to_owned();
        let problem = refused(&v2(), &asked);
        assert_eq!(
            problem.pointer,
            "/linux/resources/hugepageLimits/1/pageSize"
        );
        assert!(problem.message.contains("2MB, 64KB"), "{problem}");
    }
}

/// config-linux.md#network: the example.
#[test]
fn the_network_example() {
    let asked = resources(|r| {
        r.network.class_id = Some(1_048_577);
        r.network.priorities = vec![("eth0".to_owned(), 500), ("eth1".to_owned(), 1000)];
    });
    let expected = [
        "net_cls.classid=1048577",
        "net_prio.ifpriomap=eth0 500",
        "net_prio.ifpriomap=eth1 1000",
    ];
    assert_eq!(on(&v1(), &asked), expected);
    let lowered = lower(&asked, &v2()).unwrap();
    assert_eq!((lowered.limits.len(), lowered.warnings.len()), (0, 2));
}

/// config-linux.md#rdma: the example.
#[test]
fn the_rdma_example() {
    let asked = resources(|r| {
        let both = Rdma {
            hca_handles: Some(3),
            hca_objects: Some(10_000),
        };
        let objects = Rdma {
            hca_handles: None,
            hca_objects: Some(0),
        };
        r.rdma.insert("mlx5_1".to_owned(), both);
        r.rdma.insert("mlx4_0".to_owned(), objects);
        r.rdma.insert("rxe3".to_owned(), Rdma::default());
    });
    let expected = [
        "rdma.max=mlx4_0 hca_object=0",
        "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
    ];
    assert_eq!(on(&v1(), &asked), expected);
    assert_eq!(on(&v2(), &asked), expected);
}

/// config-linux.md#unified: the example.
#[test]
fn the_unified_example() {
    let mut asked = resources(|r| {
        let files = [
            (
                "io.max",
                "259:0 rbps=2097152 wiops=120\n253:0 rbps=2097152 wiops=120",
            ),
            ("hugetlb.1GB.max", "1073741824"),
        ];
        r.unified = files
            .map(|(file, value)| (file.to_owned(), value.to_owned()))
            .into();
    });
    let expected = [
        "hugetlb.1GB.max=1073741824",
        "io.max=259:0 rbps=2097152",
        "io.max=259:0 wiops=120",
        "io.max=253:0 rbps=2097152",
        "io.max=253:0 wiops=120",
    ];
    assert_eq!(on(&v2(), &asked), expected);
    let problem = refused(&v1(), &asked);
    assert_eq!(problem.pointer, "/linux/resources/unified/hugetlb.1GB.max");
    asked.unified = [("misc.max".to_owned(), "a 1".to_owned())].into();
    assert!(refused(&v2(), &asked).message.contains("controller misc"));
}

/// config-linux.md#unified: "The runtime MUST generate an error when the configuration refers to a
/// cgroup controller that is not present or that cannot be enabled."
#[test]
fn unified_files_cannot_be_had_on_v1() {
    let asked = resources(|r| r.unified = [("memory.high".to_owned(), "1".to_owned())].into());
    let problem = refused(&v1(), &asked);
    assert_eq!(problem.pointer, "/linux/resources/unified/memory.high");
    assert!(problem.message.contains("cgroup v1 only"), "{problem}");
}

#[test]
fn unified_names_are_names_of_files() {
    let names = [
        "../memory.max",
        "memory.max/..",
        "memory",
        ".max",
        "memory.",
        "a/b.c",
        "memory.m\nx",
        "memory.max\0",
        "",
        "Memory.max",
        "cgroup.procs",
        "cgroup.kill",
        "cgroup.freeze",
        "cgroup.threads",
        "cgroup.type",
        "cgroup.subtree_control",
    ];
    for name in names {
        let asked = resources(|r| r.unified = [(name.to_owned(), "1".to_owned())].into());
        assert!(
            refused(&v2(), &asked)
                .pointer
                .starts_with("/linux/resources/unified/"),
            "{name:?}"
        );
    }
}

#[test]
fn what_engines_send_for_nothing_needs_no_controller() {
    let none = Controllers {
        v2: Vec::new(),
        ..v2()
    };
    // docker 20.10, without any limit.
    let asked = resources(|r| {
        r.memory.disable_oom_killer = Some(false);
        r.pids_limit = Some(-1);
    });
    assert!(on(&none, &asked).is_empty());
    assert_eq!(on(&v1(), &asked), ["memory.oom_control=0", "pids.max=max"]);
    assert!(!is_limited(&asked));
    assert!(is_limited(&resources(|r| r.pids_limit = Some(5))));
    assert!(is_limited(&memory_example()));
    assert!(is_limited(&resources(
        |r| r.unified = [("misc.max".to_owned(), "a 1".to_owned())].into()
    )));
}

#[test]
fn a_missing_controller_is_named_with_what_to_do() {
    let none = Controllers {
        v2: vec!["hugetlb".to_owned()],
        ..v2()
    };
    let asked = resources(|r| r.memory.limit = Some(1 << 20));
    let problem = refused(&none, &asked);
    assert_eq!(problem.pointer, "/linux/resources/memory/limit");
    assert!(
        problem.to_string().contains("cgroup_enable=memory"),
        "{problem}"
    );
    let hybrid = Controllers {
        v1: vec![("pids".to_owned(), 1)],
        ..none
    };
    let problem = refused(&hybrid, &asked);
    assert!(
        problem.to_string().contains("/sys/fs/cgroup/memory"),
        "{problem}"
    );
}

#[test]
fn a_hybrid_host_takes_from_v2_what_v1_lacks() {
    let mut hybrid = v1();
    hybrid.v1.retain(|(name, _group)| name != "hugetlb");
    hybrid.v2 = vec!["hugetlb".to_owned()];
    hybrid.unified = Some(7);
    let asked = resources(|r| {
        r.hugepage_limits = vec![("2MB".to_owned(), 4 << 20)];
        r.pids_limit = Some(5);
    });
    let lowered = lower(&asked, &hybrid).unwrap();
    let places: Vec<_> = lowered
        .limits
        .iter()
        .map(|limit| (limit.group, &*limit.file))
        .collect();
    let expected = [
        (0, "pids.max"),
        (7, "hugetlb.2MB.max"),
        (7, "hugetlb.2MB.rsvd.max"),
    ];
    assert_eq!(places, expected);
}

/// What a user writes for a file is typed where systemd has a property, and stays what it is
/// elsewhere.
#[test]
fn a_line_of_a_user_is_typed_and_written_with_the_same_meaning() {
    let table = [
        ("memory.high", "64M", "67108864"),
        ("memory.high", "max", "max"),
        ("memory.high", "many", "many"),
        ("memory.high", "1kB", "1kB"),
        ("pids.max", "1k", "1k"),
        ("io.max", "8:0 rbps=1M", "8:0 rbps=1M"),
        ("cpu.max", "5000 10000", "5000 10000"),
        ("cpu.max", "5000", "5000"),
        ("cpu.max", "max", "max"),
        ("cpu.max", "5 0", "5 0"),
        ("cpuset.cpus", "0-31:2/4", "0-31:2/4"),
        ("io.weight", "default 50", "default 50"),
        ("io.weight", "50", "50"),
        ("io.weight", "8:0 50", "8:0 50"),
        ("io.weight", "8:0 default", "8:0 default"),
        ("io.max", "8:0 riops=max", "8:0 riops=max"),
        ("io.max", "8:0 rbps=5 odd=6", "8:0 rbps=5 odd=6"),
        ("io.max", "8:0", "8:0"),
        ("io.latency", "8:0 target=75", "8:0 target=75"),
        ("io.bfq.weight", "8:0 7", "8:0 7"),
    ];
    for (file, line, written) in table {
        let values = Value::parse(file, line);
        let [value] = &values[..] else {
            panic!("{file} {line}: {values:?}");
        };
        assert_eq!(value.to_string(), written, "{file} {line}");
    }
}

/// The pointers of everything that is no object, or an empty one.
fn leaves(pointer: &str, value: &serde_json::Value) -> Vec<String> {
    match value.as_object().filter(|object| !object.is_empty()) {
        None => vec![pointer.to_owned()],
        Some(object) => object
            .iter()
            .flat_map(|(key, value)| leaves(&format!("{pointer}/{key}"), value))
            .collect(),
    }
}

/// A limit without a row would be accepted and never set.
#[test]
fn every_field_has_a_row() {
    let samples = json!([
        7,
        true,
        "7",
        [["2MB", 7]],
        [{"major": 8, "minor": 0, "rate": 7}],
        [{"major": 8, "minor": 0, "weight": 70, "leaf_weight": 70}],
        {"mlx5_1": {"hca_handles": 7, "hca_objects": 7}},
    ]);
    // Other files of the crate read these.
    let elsewhere = ["/devices", "/memory/check_before_update", "/unified"];
    let empty = serde_json::to_value(Resources::default()).unwrap();
    for pointer in leaves("", &empty) {
        let mut set = samples.as_array().unwrap().iter().filter_map(|sample| {
            let mut document = empty.clone();
            *document.pointer_mut(&pointer)? = sample.clone();
            serde_json::from_value::<Resources>(document).ok()
        });
        let has_row = |resources: Resources| {
            let mut rows = table::ROWS.iter();
            rows.any(|row| !(row.of)(&resources, Version::V1).is_empty())
        };
        let found = set.any(has_row);
        assert!(found != elsewhere.contains(&&*pointer), "{pointer}");
    }
}
