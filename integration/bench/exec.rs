//! `exec` of a program that ends at once, in a container that waits: how long it takes, and what it
//! costs all processes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::measure::{Costs, timed};
use crate::subject::Subject;
use crate::table::Row;

/// The costs of an `exec` of /bin/true. `floor` is the program of exec.c: it enters the container
/// of the first runtime.
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
    let mut all = vec![Costs::default(); subjects.len()];
    for round in 0..count + 5 {
        for (index, costs) in all.iter_mut().enumerate() {
            let mut command = command(index);
            let mut work = || {
                timed(&mut command);
            };
            match round < 5 {
                true => work(),
                false => costs.sample(work),
            }
        }
    }
    for (subject, container) in subjects.iter().zip(&containers) {
        if let Some((id, _)) = container {
            timed(&mut subject.command(&["delete", "--force", id]));
        }
    }
    let names = ["exec of /bin/true", "its processor time", "its page faults"];
    Costs::rows(&all, names)
}

/// The directory of a process' cgroup, of version 2.
fn group_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    format!("/sys/fs/cgroup{}", path.expect("a v2 group"))
}
