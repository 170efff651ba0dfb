//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy`.

use super::{accepted, refuses};
use crate::container::{IoClass, IoPriority, MemoryFlag, MemoryMode, Scheduler, SchedulerPolicy};

#[test]
fn a_scheduler_has_what_its_policy_takes() {
    refuses(
        r#"
        /process/scheduler = []
            -> type /process/scheduler : an object
        /process/scheduler = {}
            -> missing /process/scheduler : `policy`
        /process/scheduler = {"policy": ""}
            -> unknown-value /process/scheduler/policy : not one of
        /process/scheduler = {"policy": "SCHED_FIF0", "priority": 1}
            -> unknown-value /process/scheduler/policy : SCHED_FIFO
        /process/scheduler = {"policy": "sched_other"}
            -> unknown-value /process/scheduler/policy : SCHED_OTHER
        /process/scheduler = {"policy": "SCHED_OTHER", "nice": 20}
            -> range /process/scheduler/nice : from -20 to 19
        /process/scheduler = {"policy": "SCHED_BATCH", "nice": -21}
            -> range /process/scheduler/nice : from -20 to 19
        /process/scheduler = {"policy": "SCHED_OTHER", "nice": "1"}
            -> type /process/scheduler/nice : whole number
        /process/scheduler = {"policy": "SCHED_OTHER", "priority": 1}
            -> conflict /process/scheduler/priority : only SCHED_FIFO and SCHED_RR
        /process/scheduler = {"policy": "SCHED_FIFO", "priority": 100}
            -> range /process/scheduler/priority : from 0 to 99
        /process/scheduler = {"policy": "SCHED_RR"}
            -> missing /process/scheduler : from 1 to 99
        /process/scheduler = {"policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"]}
            -> unknown-value /process/scheduler/flags/0 : SCHED_FLAG_RESET_ON_FORK
        /process/scheduler = {"policy": "SCHED_OTHER", "flags": "SCHED_FLAG_RECLAIM"}
            -> type /process/scheduler/flags : a list
        /process/scheduler = {"policy": "SCHED_IDLE", "runtime": 1}
            -> conflict /process/scheduler/runtime : only SCHED_DEADLINE
        /process/scheduler = {"policy": "SCHED_OTHER", "deadline": 1}
            -> conflict /process/scheduler/deadline : only SCHED_DEADLINE
        /process/scheduler = {"policy": "SCHED_EXT", "period": 1}
            -> conflict /process/scheduler/period : only SCHED_DEADLINE
        /process/scheduler = {"policy": "SCHED_DEADLINE"}
            -> missing /process/scheduler : `runtime` and `deadline`
        /process/scheduler = {"policy": "SCHED_DEADLINE", "runtime": -1, "deadline": 5}
            -> range /process/scheduler/runtime : from 0
        /process/scheduler = {"policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 5}
            -> conflict /process/scheduler/runtime : above the deadline
        /process/scheduler = {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 5, "period": 4}
            -> conflict /process/scheduler/deadline : above the period
        "#,
    );
}

#[test]
fn a_scheduler_is_read() {
    let read = |json| {
        let process = accepted(&[("/process/scheduler", json)]).process;
        process.and_then(|process| process.scheduler).unwrap()
    };
    let plain = Scheduler {
        policy: SchedulerPolicy::Other,
        nice: -3,
        priority: 0,
        flags: 0,
        runtime: 0,
        deadline: 0,
        period: 0,
    };
    // Other programs write zeros and nulls for absent values.
    let nothing = r#"{"policy": "SCHED_OTHER", "nice": -3, "priority": 0, "flags": null, "runtime": 0, "deadline": 0, "period": null}"#;
    assert_eq!(read(nothing), plain);
    let flags = r#"{"policy": "SCHED_RR", "nice": -3, "priority": 99, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"]}"#;
    let expected = Scheduler {
        policy: SchedulerPolicy::Rr,
        priority: 99,
        flags: 0x41,
        ..plain
    };
    assert_eq!(read(flags), expected);
    let deadline =
        r#"{"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 18446744073709551615}"#;
    assert_eq!(read(deadline).deadline, u64::MAX);
}

#[test]
fn an_io_priority_has_a_class_and_a_level() {
    refuses(
        r#"
        /process/ioPriority = {}
            -> missing /process/ioPriority : `class`
        /process/ioPriority = {"class": "IOPRIO_CLASS_NONE", "priority": 0}
            -> unknown-value /process/ioPriority/class : IOPRIO_CLASS_
        /process/ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": 8}
            -> range /process/ioPriority/priority : from 0 to 7
        /process/ioPriority = {"class": "IOPRIO_CLASS_BE", "priority": -1}
            -> range /process/ioPriority/priority : from 0 to 7
        "#,
    );
    let json = r#"{"class": "IOPRIO_CLASS_IDLE", "priority": 7}"#;
    let process = accepted(&[("/process/ioPriority", json)]).process.unwrap();
    let expected = IoPriority {
        class: IoClass::IoprioClassIdle,
        priority: 7,
    };
    assert_eq!(process.io_priority, Some(expected));
}

#[test]
fn cpus_are_lists() {
    refuses(
        r#"
        /process/execCPUAffinity = "0"
            -> type /process/execCPUAffinity : an object
        /process/execCPUAffinity = {"initial": 0}
            -> type /process/execCPUAffinity/initial : a string
        /process/execCPUAffinity = {"initial": "a"}
            -> range /process/execCPUAffinity/initial : neither a number nor a range
        /process/execCPUAffinity = {"final": "3-1"}
            -> range /process/execCPUAffinity/final : goes down
        /process/execCPUAffinity = {"final": "0-8192"}
            -> range /process/execCPUAffinity/final : no kernel has a CPU above 8191
        /process/execCPUAffinity = {"final": ","}
            -> range /process/execCPUAffinity/final : has no CPU
        "#,
    );
    let json = r#"{"initial": "0-3,7", "final": "1500"}"#;
    let container = accepted(&[("/process/execCPUAffinity", json)]);
    let affinity = container.process.unwrap().exec_cpu_affinity;
    assert_eq!(affinity.initial_cpus.unwrap().to_string(), "0-3,7");
    assert_eq!(affinity.final_cpus.unwrap().to_string(), "1500");
    let empty = r#"{"initial": "", "final": null}"#;
    let container = accepted(&[("/process/execCPUAffinity", empty)]);
    let affinity = container.process.unwrap().exec_cpu_affinity;
    assert_eq!(affinity, Default::default());
}

#[test]
fn a_memory_policy_has_the_nodes_that_its_mode_takes() {
    refuses(
        r#"
        /linux/memoryPolicy = {}
            -> missing /linux/memoryPolicy : invalid memory policy mode: the required property `mode`
        /linux/memoryPolicy = {"mode": "MPOL_BINDS", "nodes": "0"}
            -> unknown-value /linux/memoryPolicy/mode : invalid memory policy mode "MPOL_BINDS"; did you mean `MPOL_BIND`
        /linux/memoryPolicy = {"mode": "MPOL_DEFAULT", "nodes": "0-7"}
            -> conflict /linux/memoryPolicy/nodes : mode requires 0 nodes but got 8
        /linux/memoryPolicy = {"mode": "MPOL_LOCAL", "nodes": "0-7"}
            -> conflict /linux/memoryPolicy/nodes : mode requires 0 nodes but got 8
        /linux/memoryPolicy = {"mode": "MPOL_BIND"}
            -> missing /linux/memoryPolicy : requires at least one node but got 0
        /linux/memoryPolicy = {"mode": "MPOL_INTERLEAVE", "nodes": ""}
            -> missing /linux/memoryPolicy : requires at least one node but got 0
        /linux/memoryPolicy = {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": ","}
            -> missing /linux/memoryPolicy : requires at least one node but got 0
        /linux/memoryPolicy = {"mode": "MPOL_PREFERRED_MANY"}
            -> missing /linux/memoryPolicy : requires at least one node but got 0
        /linux/memoryPolicy = {"mode": "MPOL_BIND", "nodes": "x"}
            -> range /linux/memoryPolicy/nodes : invalid memory policy nodes: "x" is neither a number nor a range
        /linux/memoryPolicy = {"mode": "MPOL_BIND", "nodes": "1024"}
            -> range /linux/memoryPolicy/nodes : no kernel has a node above 1023
        /linux/memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC"]}
            -> unknown-value /linux/memoryPolicy/flags/0 : invalid memory policy flag "MPOL_F_STATIC"
        /linux/memoryPolicy = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}
            -> conflict /linux/memoryPolicy/flags : only one
        "#,
    );
    for (json, mode, nodes) in [
        (
            r#"{"mode": "MPOL_DEFAULT", "nodes": ""}"#,
            MemoryMode::MpolDefault,
            "",
        ),
        (
            r#"{"mode": "MPOL_PREFERRED"}"#,
            MemoryMode::MpolPreferred,
            "",
        ),
        (
            r#"{"mode": "MPOL_PREFERRED", "nodes": "1"}"#,
            MemoryMode::MpolPreferred,
            "1",
        ),
        (
            r#"{"mode": "MPOL_PREFERRED_MANY", "nodes": "0,2-3"}"#,
            MemoryMode::MpolPreferredMany,
            "0,2-3",
        ),
    ] {
        let policy = accepted(&[("/linux/memoryPolicy", json)]).memory_policy;
        let policy = policy.unwrap();
        assert_eq!((policy.mode, &*policy.nodes.to_string()), (mode, nodes));
    }
    let json = r#"{"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}"#;
    let policy = accepted(&[("/linux/memoryPolicy", json)]).memory_policy;
    assert_eq!(policy.unwrap().flags, [MemoryFlag::MpolFNumaBalancing]);
}
