//! What the commands on a running container's control groups promise: pause, resume, ps, events.

use std::fs;
use std::process::Command;

use integration::{Container, Sandbox, sandbox};
use serde_json::{Value, json};

/// A container that counts in /tmp/count, as fast as it can.
fn counting(s: &Sandbox) -> Container<'_> {
    let mut bundle = s.bundle();
    bundle
        .writable()
        .shell("i=0; while :; do i=$((i+1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; done");
    s.started(&bundle)
}

/// How far a container of the only bundle has counted.
fn count(s: &Sandbox) -> u64 {
    let found = fs::read_dir(&s.dir).expect("directory").flatten();
    let counts = found.filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("rootfs/tmp/count")).ok()?;
        text.trim().parse().ok()
    });
    counts.max().unwrap_or(0)
}

/// A paused container stands still and says so; resumed it goes on where it was.
#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    sandbox::host(|s| {
        stands_still(s);
    });
}

fn stands_still(s: &Sandbox) {
    let container = counting(s);
    assert!(sandbox::eventually(|| count(s) > 0));
    container.command(&["pause"]).prints("");
    assert_eq!(container.status(), "paused");
    let before = count(s);
    // The count would go on by hundreds within the time of these calls.
    for _call in 0..5 {
        assert_eq!(container.status(), "paused");
    }
    assert_eq!(count(s), before);
    container
        .command(&["pause"])
        .fails_with(&["container not running"]);
    container.command(&["resume"]).prints("");
    assert_eq!(container.status(), "running");
    assert!(sandbox::eventually(|| count(s) > before));
    container
        .command(&["resume"])
        .fails_with(&["container not paused"]);
    container.remove();
}

/// What is paused before its start keeps it from being started; a paused container is deleted by
/// force.
#[test]
fn a_created_container_can_be_paused_and_then_not_started() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.create(&bundle);
        container.command(&["pause"]).ok();
        assert_eq!(container.status(), "paused");
        container.start().fails_with(&["paused"]);
        container.command(&["resume"]).ok();
        assert_eq!(container.status(), "created");
        container.start().ok();
        container.command(&["pause"]).ok();
        container.remove();
    });
}

/// What has stopped has nothing to pause, and what nobody made even less.
#[test]
fn only_what_runs_can_be_paused() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle());
        container.wait_for("stopped");
        container
            .command(&["pause"])
            .fails_with(&["container not running"]);
        container
            .command(&["resume"])
            .fails_with(&["container not paused"]);
        container.delete().ok();
        s.runtime(&["pause", &s.id()])
            .fails_with(&["does not exist"]);
    });
}

/// The process ids that `ps --format json` prints, on one line.
fn pids(s: &Sandbox, container: &Container<'_>) -> Vec<i64> {
    let outcome = container.command(&["ps", "--format", "json"]).ok();
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "");
    let list: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    if list.is_null() && !s.subject.is_locule() {
        return Vec::new(); // the empty list of a Go program
    }
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|pid| pid.as_i64().expect("a pid"))
        .collect()
}

/// `ps` shows the first process and its child, by the ids of the host, and nobody else.
#[test]
fn ps_shows_every_process_of_the_container() {
    sandbox::host(|s| {
        shows_every_process(s);
    });
}

fn shows_every_process(s: &Sandbox) {
    let mut bundle = s.bundle();
    bundle.shell("sleep 3337 & echo ready; wait");
    let container = s.started(&bundle);
    container.wait_output("ready");
    let found = pids(s, &container);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&container.pid()), "{found:?}");

    // The child is a copy of the shell for a moment.
    let lines = || -> Vec<String> {
        let outcome = container.command(&["ps"]).ok();
        outcome.stdout.lines().map(str::to_owned).collect()
    };
    assert!(sandbox::eventually(|| {
        lines().iter().any(|line| line.ends_with("sleep 3337"))
    }));
    assert_eq!(lines().len(), 3, "{:?}", lines());
    assert!(lines()[0].contains("PID"), "{:?}", lines());

    let outcome = s
        .runtime(&["ps", &container.id, "-e", "-o", "pid,comm"])
        .ok();
    let mut shown: Vec<i64> = outcome.stdout.lines().skip(1).map(first_number).collect();
    shown.sort_unstable();
    assert_eq!(shown, found);
    assert_eq!(outcome.stderr, "");

    s.runtime(&["ps", &container.id, "-e", "-o", "comm"])
        .fails_with(&["PID"]);
    container.command(&["ps", "--format", "xml"]).fails();
    container.kill("KILL").ok();
    container.wait_for("stopped");
    assert_eq!(pids(s, &container), Vec::<i64>::new());
    container.delete().ok();
}

fn first_number(line: &str) -> i64 {
    let word = line.split_whitespace().next().expect("a word");
    word.parse().expect("a number")
}

/// The lines that `events` has printed so far.
fn events(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    text.lines().map(line).collect()
}

/// Whether `value` has something at each of these pointers.
#[track_caller]
fn has(value: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert!(value.pointer(pointer).is_some(), "{pointer}: {value:#}");
    }
}

/// One sample: one object on one line, with the names that engines parse.
#[test]
fn events_prints_one_sample_on_one_line() {
    sandbox::host(|s| {
        if s.lacks(&["memory", "pids"]) {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/resources/memory/limit", json!(64 << 20))
            .set("/linux/resources/pids/limit", json!(50))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let outcome = container.command(&["events", "--stats"]).ok();
        assert_eq!(outcome.stderr, "");
        let [event] = &*events(&outcome.stdout) else {
            panic!("{}", outcome.describe("wanted one line"));
        };
        assert_eq!(event["type"], "stats");
        assert_eq!(event["id"], container.id);
        has(
            &event["data"],
            &[
                "/cpu/usage/total",
                "/cpu/usage/kernel",
                "/cpu/usage/user",
                "/cpu/throttling",
                "/cpuset/cpu_exclusive",
                "/cpuset/sched_relax_domain_level",
                "/memory/usage/usage",
                "/memory/usage/failcnt",
                "/memory/swap",
                "/memory/kernel",
                "/memory/kernelTCP",
                "/blkio",
                "/hugetlb",
                "/intel_rdt",
                "/network_interfaces",
            ],
        );
        let of_version: &[&str] = if s.is_v2() {
            &[
                "/memory/raw/anon",
                "/cpu/psi/some/avg10",
                "/memory/psi/full/total",
                "/blkio/psi",
            ]
        } else {
            &["/cpu/usage/percpu/0", "/memory/raw/total_rss"]
        };
        has(&event["data"], of_version);
        assert_eq!(event["data"]["memory"]["usage"]["limit"], 64 << 20);
        assert_eq!(event["data"]["pids"], json!({ "current": 1, "limit": 50 }));
        container.remove();
    });
}

/// Where cgroup v2 is all there is, the shape is the same.
#[test]
fn events_prints_one_sample_in_v2() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle();
        bundle.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000");
        let container = s.started(&bundle);
        container.wait_output("ready");
        let outcome = container.command(&["events", "--stats"]).ok();
        let events = events(&outcome.stdout);
        has(
            &events[0]["data"],
            &["/cpu/usage/total", "/memory/usage", "/network_interfaces"],
        );
        container.remove();
    });
}

/// Samples come at the interval until the container is gone, and then the command ends by itself.
#[test]
fn events_follows_the_container_to_its_end() {
    sandbox::host(|s| {
        follows_to_the_end(s);
    });
}

fn follows_to_the_end(s: &Sandbox) {
    if s.is_control("runc 1.1 goes on until the group is gone") {
        return;
    }
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "1000"]);
    let container = s.started(&bundle);
    let mut command = s.command();
    command.args(["events", "--interval", "20ms", &container.id]);
    let running = s.spawn(command, None);
    assert!(sandbox::eventually(|| running.stdout().lines().count() > 2));
    // Nothing is due for long: only the end can end it.
    let mut command = s.command();
    command.args(["events", "--interval", "1000", &container.id]);
    let waiting = s.spawn(command, None);
    // It has found the first process.
    assert!(sandbox::eventually(|| holds_pidfd(waiting.pid())));
    container.kill("KILL").ok();
    let outcome = running.wait().ok();
    assert!(
        events(&outcome.stdout)
            .iter()
            .all(|event| event["type"] == "stats")
    );
    assert_eq!(outcome.stderr, "");
    container.wait_for("stopped");
    waiting.wait().prints("");
    container
        .command(&["events", "--stats"])
        .fails_with(&["container not running"]);
    container.delete().ok();
}

/// Whether a process has a descriptor of another process.
fn holds_pidfd(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    let links = open
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .map(|link| link.to_string_lossy().into_owned())
        .any(|name| name.contains("[pidfd]") || name.starts_with("pidfd:"))
}

/// What the kernel kills for lack of memory is told at once, long before the next sample.
#[test]
fn events_tells_when_memory_has_run_out() {
    sandbox::host(|s| {
        if s.lacks(&["memory", "pids"]) {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/resources/memory/limit", json!(16 << 20))
            .writable()
            .shell("echo ready; while :; do sleep 0.05; test -e /tmp/go && tail /dev/zero; done");
        let container = s.started(&bundle);
        container.wait_output("ready");
        let mut command = s.command();
        command.args(["events", "--interval", "1000s", &container.id]);
        let running = s.spawn(command, None);
        bundle.file("/tmp/go", "", 0o644);
        assert!(sandbox::eventually(|| !running.stdout().is_empty()));
        container.remove();
        let outcome = running.wait().ok();
        for event in events(&outcome.stdout) {
            assert_eq!(event, json!({ "type": "oom", "id": container.id }));
        }
    });
}

/// A command for the shell, without odd characters in its words.
fn quoted(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words = words.map(|word| format!("'{}'", word.to_str().expect("text")));
    words.collect::<Vec<_>>().join(" ")
}

/// A reader that goes away ends the command, not only its next line.
#[test]
fn events_ends_when_nobody_reads() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 notices at its next line") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let mut command = s.command();
        command.args(["events", "--interval", "1000s", &container.id]);
        let text = format!("{} | true", quoted(&command));
        let mut shell = Command::new("timeout");
        shell.args(["60", "sh", "-c", &text]);
        s.finish(shell, None).ok();
        container.remove();
    });
}
