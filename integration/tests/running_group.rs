//! What the commands on a running container's control groups promise: pause, resume, ps.

use std::fs;

use integration::{Container, Sandbox, sandbox};
use serde_json::Value;

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

/// The same where cgroup v2 is all there is.
#[test]
fn a_paused_container_stands_still_in_v2() {
    sandbox::pure_v2(|s| {
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

/// What is paused before its start keeps it from being started; a paused container is deleted by force.
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
fn pids(container: &Container<'_>) -> Vec<i64> {
    let outcome = container.command(&["ps", "--format", "json"]).ok();
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "");
    let list: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
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

/// The same where cgroup v2 is all there is.
#[test]
fn ps_shows_every_process_of_the_container_in_v2() {
    sandbox::pure_v2(|s| {
        shows_every_process(s);
    });
}

fn shows_every_process(s: &Sandbox) {
    let mut bundle = s.bundle();
    bundle.shell("sleep 3337 & echo ready; wait");
    let container = s.started(&bundle);
    container.wait_output("ready");
    let found = pids(&container);
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
    assert_eq!(pids(&container), Vec::<i64>::new());
    container.delete().ok();
}

fn first_number(line: &str) -> i64 {
    let word = line.split_whitespace().next().expect("a word");
    word.parse().expect("a number")
}
