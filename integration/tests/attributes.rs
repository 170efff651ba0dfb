//! How the process is scheduled and where its memory is: config.md "Linux Process", config-linux.md
//! "Memory Policy".

use std::process::Command;

use integration::{Bundle, Outcome, Sandbox, sandbox};
use serde_json::{Value, json};

/// Nice value, real-time priority and policy of a process, as /proc/PID/stat has them.
const STAT: [&str; 4] = ["cut", "-d ", "-f19,40,41", "/proc/self/stat"];

/// The nice value of the caller, which a process has unless its configuration says otherwise.
fn own_nice(s: &Sandbox) -> String {
    s.tool("nice", &[]).trim().to_owned()
}

/// `run` of a container with `value` at `pointer`.
fn with(s: &Sandbox, pointer: &str, value: &Value, args: &[&str]) -> Bundle {
    let mut bundle = s.bundle();
    bundle.set(pointer, value.clone()).args(args);
    bundle
}

/// "scheduler (object, OPTIONAL) is an object describing the scheduler properties for the process."
/// Without cgroup v1: its cpu controller gives a new group no real-time bandwidth.
#[test]
fn the_scheduler_is_as_configured() {
    sandbox::pure_v2(|s| {
        let own = own_nice(s);
        for (scheduler, nice, stat) in [
            (json!({"policy": "SCHED_OTHER", "nice": 7}), "7", "0 0"),
            (json!({"policy": "SCHED_OTHER", "nice": -7}), "-7", "0 0"),
            (json!({"policy": "SCHED_BATCH", "nice": 1}), "1", "0 3"),
            (json!({"policy": "SCHED_IDLE"}), &own, "0 5"),
            // "nice" has no effect for it: sched(7).
            (json!({"policy": "SCHED_IDLE", "nice": 3}), &own, "0 5"),
            (
                json!({"policy": "SCHED_FIFO", "priority": 11}),
                &own,
                "11 1",
            ),
            (json!({"policy": "SCHED_RR", "priority": 99}), &own, "99 2"),
        ] {
            let bundle = with(s, "/process/scheduler", &scheduler, &STAT);
            s.run(&bundle).prints(&format!("{nice} {stat}"));
        }
    });
}

/// "flags": a child of a real-time process is an ordinary one, and SCHED_DEADLINE takes its times.
#[test]
fn flags_and_deadlines_are_as_configured() {
    sandbox::pure_v2(|s| {
        let reset =
            json!({"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        let both = "cut -d ' ' -f41 /proc/1/stat; cut -d ' ' -f41 /proc/self/stat; true";
        let bundle = with(s, "/process/scheduler", &reset, &["sh", "-c", both]);
        s.run(&bundle).prints("1\n0");
        let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 5_000_000, "period": 10_000_000});
        let bundle = with(s, "/process/scheduler", &deadline, &STAT);
        s.run(&bundle).prints(&format!("{} 0 6", own_nice(s)));
    });
}

/// In a user namespace the process has no privileges for it; the runtime that has them sets it from
/// outside.
#[test]
fn a_user_namespace_does_not_forbid_what_its_maker_may() {
    sandbox::pure_v2(|s| {
        if s.is_control("runc's process sets it and may not") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .user_namespace(&[(0, 100_000, 65536)])
            .set(
                "/process/scheduler",
                json!({"policy": "SCHED_RR", "priority": 4}),
            )
            .set(
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_RT", "priority": 2}),
            )
            .args(&["sh", "-c", "cut -d ' ' -f40,41 /proc/1/stat; ionice -p 1"]);
        s.run(&bundle).prints("4 2\nrealtime: prio 2");
        // The same for a process that enters it.
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let script = "cut -d ' ' -f40,41 /proc/$$/stat; ionice -p $$";
        s.runtime(&["exec", &container.id, "sh", "-c", script])
            .prints("4 2\nrealtime: prio 2");
        container.remove();
    });
}

/// "ioPriority (object, OPTIONAL) configures the I/O priority settings for the container's
/// processes".
#[test]
fn the_io_priority_is_as_configured() {
    sandbox::host(|s| {
        for (class, priority, told) in [
            ("IOPRIO_CLASS_RT", 0, "realtime: prio 0"),
            ("IOPRIO_CLASS_BE", 3, "best-effort: prio 3"),
            ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ] {
            let value = json!({"class": class, "priority": priority});
            let bundle = with(s, "/process/ioPriority", &value, &["ionice", "-p", "1"]);
            s.run(&bundle).prints(told);
        }
    });
}

/// "memoryPolicy (object, OPTIONAL) sets the NUMA memory policy for the container."
/// /proc/PID/numa_maps names it for each mapping.
#[test]
fn the_memory_policy_is_as_configured() {
    sandbox::host(|s| {
        if s.is_control("runc before 1.4 ignores it") {
            return;
        }
        for (mode, nodes, flags, told) in [
            ("MPOL_DEFAULT", "", json!([]), " default"),
            ("MPOL_LOCAL", "", json!([]), " local"),
            ("MPOL_PREFERRED", "0", json!([]), " prefer:0"),
            ("MPOL_PREFERRED", "", json!([]), " local"),
            ("MPOL_PREFERRED_MANY", "0", json!([]), " prefer (many):0"),
            ("MPOL_BIND", "0", json!([]), " bind:0"),
            (
                "MPOL_BIND",
                "0-5",
                json!(["MPOL_F_STATIC_NODES"]),
                " bind=static:0",
            ),
            (
                "MPOL_BIND",
                "0",
                json!(["MPOL_F_NUMA_BALANCING"]),
                " bind=balancing:0",
            ),
            (
                "MPOL_INTERLEAVE",
                "0",
                json!(["MPOL_F_RELATIVE_NODES"]),
                " interleave=relative:0",
            ),
        ] {
            has_policy(s, mode, nodes, &flags, told);
        }
    });
}

/// The mode that is newer than the others.
#[test]
fn memory_is_interleaved_by_weight() {
    sandbox::host(|s| {
        let mode = "MPOL_WEIGHTED_INTERLEAVE";
        if s.is_control("runc before 1.4 ignores it") || s.lacks_linux((6, 9), mode) {
            return;
        }
        has_policy(s, mode, "0", &json!([]), " weighted interleave:0");
    });
}

#[track_caller]
fn has_policy(s: &Sandbox, mode: &str, nodes: &str, flags: &Value, told: &str) {
    let value = json!({"mode": mode, "nodes": nodes, "flags": flags});
    let show = ["cat", "/proc/self/numa_maps"];
    let bundle = with(s, "/linux/memoryPolicy", &value, &show);
    s.run(&bundle).ok().contains(told);
}

/// `exec` gives a further process what the configuration says, or the file of `--process` alone.
#[test]
fn a_further_process_has_the_attributes_too() {
    sandbox::host(|s| {
        if s.is_control("runc 1.2 gives the policy of a file only") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set(
                "/process/scheduler",
                json!({"policy": "SCHED_BATCH", "nice": 2}),
            )
            .set(
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
            )
            .set(
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "0"}),
            )
            .set(
                "/process/execCPUAffinity",
                json!({"initial": "0", "final": "1,1024-8191"}),
            )
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let id = container.id.as_str();
        let exec = |args: &[&str]| s.runtime(&[&["exec", id], args].concat());
        exec(&STAT).prints("2 0 3");
        // Pid 1 is the container's first process, so of a shell its own.
        exec(&["sh", "-c", "ionice -p $$"]).prints("best-effort: prio 6");
        exec(&["cat", "/proc/self/numa_maps"])
            .ok()
            .contains(" bind:0");
        let cpus = |outcome: Outcome| {
            let text = outcome.ok().stdout;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.unwrap_or_default().trim().to_owned()
        };
        assert_eq!(cpus(exec(&["cat", "/proc/self/status"])), "1");
        // The first process has its whole cpuset.
        assert_ne!(cpus(exec(&["cat", "/proc/1/status"])), "1");
        // Neither of what follows is in the file.
        bundle.file(
            "/process.json",
            json!({"cwd": "/", "args": STAT, "env": ["PATH=/bin"]}).to_string(),
            0o644,
        );
        let file = bundle.root().join("process.json");
        let file = file.to_str().expect("UTF-8");
        s.runtime(&["exec", "--process", file, id])
            .prints(&format!("{} 0 0", own_nice(s)));
        container.remove();
    });
}

/// CPUs that are not there: the error names which of the two lists, and nothing is left.
#[test]
fn cpus_that_are_not_there_are_an_error_of_exec() {
    sandbox::host(|s| {
        if s.is_control("the texts are locule's own") {
            return;
        }
        for key in ["initial", "final"] {
            let mut bundle = s.bundle();
            bundle.set("/process/execCPUAffinity", json!({key: "1024-1030,8191"}));
            bundle.args(&["sleep", "1000"]);
            let container = s.started(&bundle);
            let pointer = format!("/process/execCPUAffinity/{key}");
            let words = [
                &*pointer,
                "CPUs 1024-1030,8191",
                "invalid argument",
                "online",
            ];
            s.runtime(&["exec", &container.id, "true"])
                .fails_with(&words);
            container.remove();
        }
    });
}

/// What the kernel refuses is told with pointer, value and what it takes.
#[test]
fn what_the_kernel_refuses_is_named() {
    sandbox::host(|s| {
        if s.is_control("the texts are locule's own") {
            return;
        }
        let iso = json!({"policy": "SCHED_ISO"});
        let words = [
            "/process/scheduler",
            "SCHED_ISO",
            "invalid argument",
            "no released kernel",
        ];
        s.try_create(
            &with(s, "/process/scheduler", &iso, &["true"]),
            &s.id(),
            &[],
        )
        .fails_with(&words);
        let far = json!({"mode": "MPOL_BIND", "nodes": "1000"});
        let words = [
            "/linux/memoryPolicy",
            "MPOL_BIND nodes 1000",
            "invalid argument",
            "cpuset.mems",
        ];
        s.try_create(
            &with(s, "/linux/memoryPolicy", &far, &["true"]),
            &s.id(),
            &[],
        )
        .fails_with(&words);
        let real_time = json!({"policy": "SCHED_FIFO", "priority": 1});
        without_nice(s, &with(s, "/process/scheduler", &real_time, &["true"])).fails_with(&[
            "/process/scheduler",
            "SCHED_FIFO nice 0 priority 1",
            "operation not permitted",
            "CAP_SYS_NICE",
        ]);
        let class = json!({"class": "IOPRIO_CLASS_RT", "priority": 1});
        let mut bundle = with(s, "/process/ioPriority", &class, &["true"]);
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        without_nice(s, &bundle).fails_with(&[
            "/process/ioPriority",
            "IOPRIO_CLASS_RT 1",
            "operation not permitted",
            "CAP_SYS_NICE",
        ]);
    });
}

/// `create` by a root without CAP_SYS_NICE.
fn without_nice(s: &Sandbox, bundle: &Bundle) -> Outcome {
    let inner = s.command();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--"]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(&s.dir);
    command
        .args(["create", "--bundle"])
        .arg(bundle.write())
        .arg(s.id());
    s.finish(command, Some(bundle))
}

/// `locule plan` says who sets what; `execCPUAffinity` is not about the first process.
#[test]
fn a_plan_names_the_attributes_and_who_sets_them() {
    sandbox::host(|s| {
        if s.is_control("the command plan") {
            return;
        }
        let mut bundle = s.bundle();
        let scheduler =
            json!({"policy": "SCHED_RR", "priority": 4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        bundle
            .set("/process/scheduler", scheduler)
            .set(
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
            )
            .set(
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]}),
            )
            .set("/process/execCPUAffinity", json!({"final": "0"}));
        let scheduler = "scheduler SCHED_RR nice 0 priority 4 flags 0x1\n";
        let priority = "I/O priority IOPRIO_CLASS_IDLE 0\n";
        let policy = "memory policy MPOL_BIND nodes 0,2-3 MPOL_F_STATIC_NODES\n";
        for setter in ["process", "runtime"] {
            if setter == "runtime" {
                bundle.user_namespace(&[(0, 100_000, 65536)]);
            }
            let mut command = Command::new(&s.subject.program);
            command.arg("plan").arg("--bundle").arg(bundle.write());
            let plan = s.finish(command, Some(&bundle)).ok();
            assert!(!plan.stdout.contains("CPUs"), "{}", plan.stdout);
            plan.contains(&format!("{setter}: {scheduler}"))
                .contains(&format!("{setter}: {priority}"))
                .contains(&format!("process: {policy}"));
        }
    });
}
