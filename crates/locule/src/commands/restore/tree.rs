//! Which processes CRIU has made.

#![expect(clippy::disallowed_methods, reason = "the host's /proc")]

use super::restored::refused;
use crate::error::Error;
use kernel::Errno;
use kernel::clone::{pidfd_open, pidfd_send_signal};
use kernel::fs::read_proc_text;
use kernel::process::SIGKILL;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsFd;

/// A process as /proc has it.
#[derive(Debug, Clone, Copy)]
struct Found {
    parent: i32,
    /// Whether it has ended. CRIU gives such a process no credentials.
    has_ended: bool,
}

/// The restored processes: the first one and what descends from it, and whatever else is in the
/// container's cgroup without being CRIU. The first one is no child of CRIU.
#[derive(Debug)]
pub(super) struct Tree {
    pids: BTreeMap<i32, Found>,
    /// `None`: the container has no cgroup of its own.
    group: Option<BTreeSet<i32>>,
}

impl Tree {
    /// Finds them. They must not run yet.
    pub(super) fn of(
        first: i32,
        criu: i32,
        groups: Option<&cgroup::Location>,
    ) -> Result<Self, Error> {
        let group = groups.map(cgroup::Location::pids).transpose()?;
        let group = group.map(BTreeSet::from_iter);
        let all = processes()?;
        let is_own = |pid: i32| {
            let is_in_group = group.as_ref().is_some_and(|group| group.contains(&pid));
            descends(&all, pid, first) || is_in_group && !descends(&all, pid, criu)
        };
        let pids = all.iter().filter(|(pid, _)| is_own(**pid));
        let pids = pids.map(|(pid, found)| (*pid, *found)).collect();
        Ok(Self { pids, group })
    }

    /// The processes that can run.
    pub(super) fn living(&self) -> impl Iterator<Item = i32> {
        let living = self.pids.iter().filter(|(_, found)| !found.has_ended);
        living.map(|(pid, _)| *pid)
    }

    /// Checks that they are in the container's cgroup.
    pub(super) fn all_in_group(&self) -> Result<(), Error> {
        let is_outside = |pid: &i32| {
            let group = self.group.as_ref();
            group.is_some_and(|group| !group.contains(pid))
        };
        match self.living().find(is_outside) {
            None => Ok(()),
            Some(_) => Err(refused("is not in the container's cgroup")),
        }
    }

    /// Kills them, also those outside of the cgroup. They are stopped, so their numbers stay
    /// theirs.
    pub(super) fn kill(&self) {
        for pid in self.living() {
            if let Ok(pidfd) = pidfd_open(pid) {
                let _ended_already = pidfd_send_signal(pidfd.as_fd(), SIGKILL);
            }
        }
    }
}

/// All processes of the host.
fn processes() -> Result<BTreeMap<i32, Found>, Error> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(Error::Look)? {
        let entry = entry.map_err(Error::Look)?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let status = match read_proc_text(&format!("{pid}/status")) {
            // One of the host has ended by now.
            Err(Errno::ENOENT | Errno::ESRCH) => continue,
            // Without an answer a process would go unchecked.
            answer => answer.map_err(|errno| Error::Look(errno.into()))?,
        };
        let value = |key| status.lines().find_map(|line| line.strip_prefix(key));
        let state = value("State:").unwrap_or_default().trim_start();
        let parent = value("PPid:").and_then(|parent| parent.trim().parse().ok());
        let found = Found {
            parent: parent.unwrap_or(0),
            has_ended: state.starts_with(['Z', 'X']),
        };
        all.insert(pid, found);
    }
    Ok(all)
}

/// Whether `pid` is `above` or descends from it.
fn descends(all: &BTreeMap<i32, Found>, pid: i32, above: i32) -> bool {
    let parent = |pid: &i32| all.get(pid).map(|found| found.parent);
    // No line of parents is longer. The processes may have changed while it was followed.
    let line = std::iter::successors(Some(pid), parent).take(all.len() + 1);
    line.into_iter().any(|pid| pid == above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_first_process_and_its_descendants() {
        // 8 and 9 are each other's parents: the table was read while they changed.
        let parents = [(1, 0), (2, 1), (3, 2), (4, 1), (8, 9), (9, 8)];
        let found = |parent| Found {
            parent,
            has_ended: false,
        };
        let all = parents.map(|(pid, parent)| (pid, found(parent))).into();
        let below = |above| [1, 2, 3, 4, 8, 9].map(|pid| descends(&all, pid, above));
        assert_eq!(below(2), [false, true, true, false, false, false]);
        assert_eq!(below(1), [true, true, true, true, false, false]);
    }
}
