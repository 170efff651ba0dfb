//! Controllers of cgroup v2 reach a group only if every group above passes them on.
//!
//! Controllers that limits need are enabled from the top down. Controllers that only account (cpu,
//! io, memory, pids) are enabled where possible, since engines read their files of every container.

use kernel::Errno;
use std::path::PathBuf;

use crate::directory::Directory;
use crate::name::levels;
use crate::resources::Limit;
use crate::{Error, Place};

/// Enabled for every group where possible; a failure is not an error.
const ACCOUNTING: &[&str] = &["cpu", "io", "memory", "pids"];

/// The controller that a file belongs to.
fn controller(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

/// Makes the controllers that `limits` need, out of `available` ones, work in the group at `place`.
pub(crate) fn enable<'a>(
    root: &Directory,
    place: &Place,
    group: &Directory,
    available: &[String],
    limits: impl Iterator<Item = &'a Limit> + Clone,
) -> Result<(), Error> {
    let needed = limits.clone().map(|limit| controller(&limit.file));
    let mut wanted: Vec<&str> = needed.chain(ACCOUNTING.iter().copied()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted.retain(|name| available.iter().any(|available| available == name));
    if wanted.is_empty() {
        return Ok(());
    }
    let mut missing = missing_in(&group.read_named("cgroup.controllers")?, &wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let refused = walk_down(root, place, &missing)?;
    missing = missing_in(&group.read_named("cgroup.controllers")?, &wanted);
    let mut limits = limits;
    let lacking = limits.find(|limit| missing.contains(&controller(&limit.file)));
    let Some(limit) = lacking else {
        return Ok(());
    };
    let name = controller(&limit.file);
    let found = refused
        .into_iter()
        .find(|refusal| refusal.controller == name);
    let (above, source) = found.map_or_else(
        || (root.path().to_owned(), Errno::ENOENT),
        |refusal| (refusal.above, refusal.errno),
    );
    Err(Error::NotEnabled {
        pointer: limit.pointer.clone(),
        controller: name.to_owned(),
        group: group.path().to_owned(),
        above,
        source,
    })
}

fn missing_in<'a>(list: &str, wanted: &[&'a str]) -> Vec<&'a str> {
    let is_missing = |name: &&str| !list.split_whitespace().any(|found| found == *name);
    wanted.iter().copied().filter(is_missing).collect()
}

/// A controller that a group did not pass on.
struct Refusal {
    controller: String,
    above: PathBuf,
    errno: Errno,
}

/// Whether a group other than the root has its own processes. Such a group cannot pass a domain
/// controller on (EBUSY). It could pass on a threaded one, such as cpu, but then the groups below
/// it could not be domains, and the container's group would be invalid.
fn is_inhabited(group: &Directory) -> bool {
    let is_root = group.read("cgroup.type").is_err();
    !is_root
        && group
            .read("cgroup.procs")
            .is_ok_and(|list| !list.is_empty())
}

/// Enables `wanted` in every group from the root to the one above `place`, all together or else one
/// by one. Returns the refused ones.
fn walk_down(root: &Directory, place: &Place, wanted: &[&str]) -> Result<Vec<Refusal>, Error> {
    let mut refused = Vec::new();
    let above = levels(place.split().0).filter(|path| !path.is_empty());
    for path in [""].into_iter().chain(above) {
        let level = root.open_below(path).map_err(root.failed("open"))?;
        let missing = missing_in(&level.read_named("cgroup.subtree_control")?, wanted);
        if missing.is_empty() {
            continue;
        }
        if is_inhabited(&level) {
            refused.extend(missing.iter().map(|name| Refusal {
                controller: (*name).to_owned(),
                above: level.path().to_owned(),
                errno: Errno::EBUSY,
            }));
            continue;
        }
        let all: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
        if level
            .write("cgroup.subtree_control", &all.join(" "))
            .is_ok()
        {
            continue;
        }
        for (name, word) in missing.iter().zip(&all) {
            if let Err(errno) = level.write("cgroup.subtree_control", word) {
                tracing::debug!("enable {name} in {:?}: {errno}", level.path());
                refused.push(Refusal {
                    controller: (*name).to_owned(),
                    above: level.path().to_owned(),
                    errno,
                });
            }
        }
    }
    Ok(refused)
}
