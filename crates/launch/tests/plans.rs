//! What engines send, planned for six hosts that are written down.
//!
//! `plans/SAMPLE.txt` has the whole plan for the first host, and for each other host the lines that
//! differ from it. A plan needs no root, no namespaces and no such host. After a wanted change,
//! `LOCULE_BLESS=1 cargo test -p launch --test plans` writes the files anew; the difference is then
//! to be read like code.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its own files, and may fail"
)]

use launch::{Facts, Keyring, Plan, Request};
use serde_json::Value;
use spec::load::{Host, parse};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first is what the others are compared with.
const HOSTS: [&str; 6] = [
    "v2",
    "v1",
    "hybrid",
    "rootless",
    "rootless-single",
    "systemd",
];

/// A process that an engine sent to `exec`, and the container that it was for.
const PROCESSES: [(&str, &str); 3] = [
    ("docker28-exec-process", "docker28-systemd"),
    ("podman58-exec-process", "podman58-rootful-systemd"),
    ("podman58-exec-tty-process", "podman58-rootful-systemd"),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn facts(host: &str) -> Facts {
    let text = fs::read(directory().join(format!("hosts/{host}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn sample(name: &str) -> Value {
    let samples = directory().join("../../spec/tests/samples");
    let text = fs::read(samples.join(format!("{name}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The names of all samples.
fn samples() -> Vec<String> {
    let samples = fs::read_dir(directory().join("../../spec/tests/samples")).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = samples.map(|entry| name(entry.unwrap().path())).collect();
    names.sort();
    names
}

/// The plan of a document on a host.
fn lower(document: &Value, host: &str) -> Result<(Box<Plan>, Vec<String>), String> {
    let facts = facts(host);
    let bytes = document.to_string().into_bytes();
    let loaded = parse(&bytes, Path::new("/bundle"), Host::Ignore);
    let loaded = loaded.map_err(|report| report.to_string())?;
    let request = Request {
        container: &loaded.container,
        id: "box",
        manager: match host {
            "systemd" => cgroup::Manager::Systemd,
            _ => cgroup::Manager::Cgroupfs,
        },
        pivot: rootfs::Pivot::PivotRoot,
        keyring: Keyring::New,
        keep_fds: 0,
        listen_fds: 0,
        rootless: !facts.caller.is_host_root(),
    };
    let _looks = fs::metadata(BEGIN);
    let lowered = Plan::lower(&request, &facts);
    let _looks = fs::metadata(END);
    lowered.map_err(|error| error.to_string())
}

/// Paths that stand in a trace for the begin and the end of a lowering.
const BEGIN: &str = "/begin-of-lowering";
const END: &str = "/end-of-lowering";

/// The plan's lines, or why there is none.
fn plan(document: &Value, host: &str) -> Vec<String> {
    let (plan, warnings) = match lower(document, host) {
        Ok(lowered) => lowered,
        Err(error) => return vec![format!("error: {error}")],
    };
    let again = lower(document, host).unwrap();
    assert_eq!((&plan, &warnings), (&again.0, &again.1), "the same again");
    let json = plan.to_json();
    let rooms = json.as_object().unwrap().values();
    let lines: usize = rooms.map(|room| room.as_array().unwrap().len()).sum();
    assert_eq!(
        lines,
        plan.to_string().lines().count(),
        "JSON has all lines"
    );
    let warnings = warnings.iter().map(|warning| format!("warning: {warning}"));
    let lines = plan.to_string();
    warnings.chain(lines.lines().map(str::to_owned)).collect()
}

/// Lowering is pure: whatever an engine sends, and for whatever host, it asks the kernel for
/// nothing but memory.
#[test]
fn lowering_makes_no_system_call() {
    const NAME: &str = "lowering_makes_no_system_call";
    if env::var_os("LOCULE_TEST_TRACED").is_some() {
        for name in samples().iter().filter(|name| !name.contains("process")) {
            let document = sample(name);
            for host in HOSTS {
                let _plan_or_refusal = lower(&document, host);
            }
        }
        return;
    }
    let trace = env::temp_dir().join(format!("locule-lowering-{}", std::process::id()));
    let status = Command::new("strace")
        .arg("-f")
        .arg("--output")
        .arg(&trace)
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("LOCULE_TEST_TRACED", "1")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let first = text.lines().find(|line| line.contains(BEGIN)).unwrap();
    let thread = first.split(' ').next().unwrap();
    let (mut within, mut count, mut calls) = (false, 0, Vec::new());
    for line in text
        .lines()
        .filter(|line| line.split(' ').next() == Some(thread))
    {
        let is_memory = [
            "brk(",
            "mmap(",
            "munmap(",
            "mremap(",
            "madvise(",
            "mprotect(",
        ]
        .iter()
        .any(|call| line.contains(call));
        if line.contains(BEGIN) {
            within = true;
            count += 1;
        } else if line.contains(END) {
            within = false;
        } else if within && !is_memory {
            calls.push(line);
        }
    }
    assert!(count > 60, "{count}");
    assert_eq!(calls, [""; 0]);
}

/// The lines that have gone and come, in order.
fn difference(old: &[String], new: &[String]) -> Vec<String> {
    // The length of the longest common part of what is left of both.
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = match line == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            found.push(format!("- {}", old[i]));
            i += 1;
        } else {
            found.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    found
}

fn golden(name: &str) -> String {
    match PROCESSES.iter().find(|(process, _)| *process == name) {
        Some((process, container)) => golden_process(process, container),
        None => golden_container(&sample(name)),
    }
}

/// A process in the place of its container's own: what differs then.
fn golden_process(process: &str, container: &str) -> String {
    let mut document = sample(container);
    let own = plan(&document, HOSTS[0]);
    document["process"] = sample(process);
    let other = plan(&document, HOSTS[0]);
    format!("{container}\n{}\n", difference(&own, &other).join("\n"))
}

fn golden_container(document: &Value) -> String {
    let first = plan(document, HOSTS[0]);
    let mut text = format!("host {}\n{}\n", HOSTS[0], first.join("\n"));
    for host in &HOSTS[1..] {
        let lines = plan(document, host);
        // Why there is none is not compared with a plan.
        let lines = match &lines[..] {
            [only] if only.starts_with("error: ") => lines,
            _ => difference(&first, &lines),
        };
        if lines.is_empty() {
            text.push_str(&format!("\nhost {host}: the same\n"));
        } else {
            text.push_str(&format!("\nhost {host}\n{}\n", lines.join("\n")));
        }
    }
    text
}

#[test]
fn what_engines_send_is_planned_as_it_was_reviewed() {
    let samples = samples();
    assert_eq!(samples.len(), 15);
    let mut changed = Vec::new();
    for name in samples {
        let path = directory().join(format!("plans/{name}.txt"));
        let text = golden(&name);
        if env::var_os("LOCULE_BLESS").is_some() {
            fs::write(&path, text).unwrap();
            continue;
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let difference = difference(&lines(&reviewed), &lines(&text));
        if !difference.is_empty() {
            changed.push(format!("{name}:\n{}", difference.join("\n")));
        }
    }
    assert!(
        changed.is_empty(),
        "plans have changed; LOCULE_BLESS=1 writes them anew\n{}",
        changed.join("\n\n")
    );
}

/// `locule facts` writes what `locule plan --facts` reads.
#[test]
fn facts_survive_their_json_form() {
    for facts in HOSTS.map(facts).into_iter().chain(Facts::probe()) {
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    }
}
