//! A group before its limits are set: what init could not run in is refused, controllers and CPUs
//! come down from above, and the container may own the group.

#![expect(
    clippy::disallowed_methods,
    reason = "a list that the kernel publishes"
)]

use kernel::Errno;
use std::fs;

use super::Plan;
use crate::control;
use crate::directory::{Directory, Made};
use crate::enable::enable;
use crate::name::levels;
use crate::{Error, Place, Version};

impl Plan {
    /// Prepares a group before its device rules and limits are set.
    pub(super) fn prepare(
        &self,
        index: usize,
        (place, root): (&Place, &Directory),
        directory: &Directory,
        made: Made,
    ) -> Result<(), Error> {
        match place.version {
            Version::V1 => check_v1(place, directory, made)?,
            Version::V2 => {
                check_v2(directory, made)?;
                let limits = self.limits.iter().filter(|limit| limit.group == index);
                enable(root, place, directory, &self.available, limits)?;
            }
        }
        if place.has_controller("cpuset") {
            inherit_cpuset(root, place, directory, made)?;
        }
        if let Some(uid) = self.owner.filter(|_uid| place.version == Version::V2) {
            delegate(directory, uid)?;
        }
        Ok(())
    }
}

/// The controllers that work on threads: a group with processes may pass them on. Source:
/// cgroup-v2.rst, "Threads".
const THREADED: &[&str] = &["cpu", "cpuset", "perf_event", "pids"];

/// Refuses a group that init could not run in. A new group may be frozen too, by one above it.
pub(super) fn check_v2(group: &Directory, made: Made) -> Result<(), Error> {
    let kind = group.read_named("cgroup.type")?;
    if kind.trim_end() != "domain" && kind.trim_end() != "domain threaded" {
        return Err(Error::Threaded {
            group: group.path().to_owned(),
            kind: kind.trim_end().to_owned(),
        });
    }
    let events = group.read_named("cgroup.events")?;
    if events.lines().any(|line| line == "frozen 1") {
        return Err(Error::Frozen {
            group: group.path().to_owned(),
        });
    }
    if made == Made::New {
        return Ok(());
    }
    if events.lines().any(|line| line == "populated 1") {
        return Err(occupied(group));
    }
    let control = group.read_named("cgroup.subtree_control")?;
    let passed_on = control.split_whitespace();
    let domain: Vec<&str> = passed_on.filter(|name| !THREADED.contains(name)).collect();
    if !domain.is_empty() {
        return Err(Error::PassesOn {
            group: group.path().to_owned(),
            controllers: domain.join(" "),
        });
    }
    Ok(())
}

pub(super) fn check_v1(place: &Place, group: &Directory, made: Made) -> Result<(), Error> {
    if place.has_controller("freezer") {
        let state = group.read_named("freezer.state")?;
        if state.trim_end() != "THAWED" {
            return Err(Error::Frozen {
                group: group.path().to_owned(),
            });
        }
    }
    if made == Made::Existing && !control::is_empty(group)? {
        return Err(occupied(group));
    }
    Ok(())
}

fn occupied(group: &Directory) -> Error {
    Error::Occupied {
        group: group.path().to_owned(),
        pids: control::some_pids(group),
    }
}

/// A new v1 cpuset has no CPUs and no memory nodes, and accepts no process until it has them: each
/// level gets those of the level above.
fn inherit_cpuset(
    root: &Directory,
    place: &Place,
    directory: &Directory,
    made: Made,
) -> Result<(), Error> {
    let [cpus, mems] = CPUSET;
    let mut above = [root.read_named(cpus)?, root.read_named(mems)?];
    for path in levels(place.split().0) {
        let group = root.open_below(path).map_err(root.failed("open"))?;
        fill_cpuset(&group, Made::Existing, &mut above)?;
    }
    fill_cpuset(directory, made, &mut above)
}

const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Gives the group the values of the level above, or replaces those by its own.
fn fill_cpuset(group: &Directory, made: Made, above: &mut [String; 2]) -> Result<(), Error> {
    for (file, value) in CPUSET.into_iter().zip(above) {
        let own = match made {
            // Nothing, or what cgroup.clone_children has copied from the level above.
            Made::New => String::new(),
            Made::Existing => group.read_named(file)?,
        };
        if own.trim_end().is_empty() {
            group.write_named(file, value.trim_end())?;
        } else {
            *value = own;
        }
    }
    Ok(())
}

/// The files whose owner changes with that of a group, as the kernel lists them.
fn delegated_files() -> Vec<String> {
    match fs::read_to_string("/sys/kernel/cgroup/delegate") {
        Ok(list) => list.lines().map(str::to_owned).collect(),
        Err(_absent) => ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]
            .map(str::to_owned)
            .to_vec(),
    }
}

pub(super) fn delegate(group: &Directory, uid: u32) -> Result<(), Error> {
    group
        .chown("", uid)
        .map_err(group.failed("change the owner of"))?;
    for file in delegated_files() {
        match group.chown(&file, uid) {
            // The list has the files of every controller.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(group.failed("change the owner of files of")(errno)),
        }
    }
    Ok(())
}
