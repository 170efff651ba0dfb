//! `exec` of a program that ends at once, in a container that waits: how long it takes, and what it costs all processes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::measure::{median, timed};
use crate::subject::Subject;
use crate::table::Row;

/// Wall time, and the processor time of the command and of all its children, of an `exec` of /bin/true. `floor` is the program of exec.c: it
/// enters the container of the first runtime.
pub(crate) fn rows(subjects: &[Subject], long: &Path, floor: &Path, count: usize) -> Vec<Row> {
    let containers: Vec<_> = subjects
        .iter()
        .map(|subject| {
            let id = crate::name();
            (!subject.is_floor).then(|| {
                timed(&mut subject.create(long, &id));
                let pid = subject.pid(&id);
                timed(&mut subject.command(&["start", &id]));
                (id, pid)
            })
        })
        .collect();
    let (_, first) = containers.iter().flatten().next().expect("a runtime");
    let group = group_of(*first);
    let command = |index: usize| {
        if let Some((id, _)) = &containers[index] {
            return subjects[index].command(&["exec", id, "/bin/true"]);
        }
        let mut command = Command::new(floor);
        command.arg(first.to_string()).arg(&group).arg("/bin/true");
        command
    };
    let mut wall = vec![Vec::new(); subjects.len()];
    let mut busy = vec![Vec::new(); subjects.len()];
    for round in 0..count + 5 {
        for index in 0..subjects.len() {
            let before = processor_time();
            let elapsed = timed(&mut command(index));
            if round >= 5 {
                wall[index].push(elapsed);
                busy[index].push(processor_time() - before);
            }
        }
    }
    for (subject, container) in subjects.iter().zip(&containers) {
        if let Some((id, _)) = container {
            timed(&mut subject.command(&["delete", "--force", id]));
        }
    }
    let mean = |samples: &Vec<Duration>| {
        let sum: Duration = samples.iter().sum();
        sum.as_secs_f64() * 1e6 / f64::from(u32::try_from(samples.len()).unwrap_or(u32::MAX))
    };
    vec![
        (
            "exec of /bin/true",
            "us",
            wall.iter().map(|samples| median(samples)).collect(),
        ),
        (
            "processor time of that exec, all processes (mean)",
            "us",
            busy.iter().map(mean).collect(),
        ),
    ]
}

/// The directory of a process' cgroup, of version 2.
fn group_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    format!("/sys/fs/cgroup{}", path.expect("a v2 group"))
}

/// What the children of this process, and theirs, have used: those that were waited for.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    let usage = usage.expect("getrusage");
    let time = |value: TimeVal| {
        let seconds = u64::try_from(value.tv_sec()).expect("seconds");
        let rest = u64::try_from(value.tv_usec()).expect("microseconds");
        Duration::from_secs(seconds) + Duration::from_micros(rest)
    };
    time(usage.user_time()) + time(usage.system_time())
}
