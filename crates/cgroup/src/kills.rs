//! The effects of limits: how often the memory limit has killed, and which process limit is
//! reached.

use std::path::PathBuf;

use crate::directory::Directory;
use crate::name::levels;
use crate::{Error, Location, Version};

/// The effects of the memory limit on a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Processes that it has killed so far.
    pub kills: u64,
    /// The limit in bytes; `None` is no limit.
    pub limit: Option<u64>,
    /// The peak use in bytes, or the current use if the kernel does not record the peak (v2 before
    /// Linux 5.19).
    pub peak: u64,
}

/// A limit on processes that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLimit {
    /// The directory of the group that has the limit: the container's, or one above.
    pub group: PathBuf,
    /// The number of processes that it allows.
    pub limit: u64,
}

/// A file with one number; `None`: it has another word, or does not exist.
fn number(group: &Directory, file: &str) -> Option<u64> {
    group.read(file).ok()?.trim_end().parse().ok()
}

/// The counter `name` of a file of names and numbers.
pub(crate) fn counter(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// How often the memory limit has killed in the group; `None` without a memory controller, or if
/// the group is gone.
pub(crate) fn kills(group: &Directory, version: Version) -> Option<u64> {
    let text = match version {
        Version::V2 => group.read("memory.events"),
        Version::V1 => group.read("memory.oom_control"),
    };
    Some(counter(&text.ok()?, "oom_kill"))
}

impl Location {
    /// The limit on processes that is reached, of the container's group or of the nearest group
    /// above. If a process has ended since, the number of processes no longer shows it; then the
    /// group's count of refusals does.
    pub fn process_limit(&self) -> Option<ProcessLimit> {
        let place = self.with_controller("pids")?;
        let root = place.root().ok()??;
        levels(place.relative()).rev().find_map(|path| {
            let group = root.open_below(path).ok()?;
            let number = |file| number(&group, file);
            let limit = number("pids.max")?;
            let events = group.read("pids.events").unwrap_or_default();
            let is_reached = number("pids.current").is_some_and(|now| now >= limit)
                || counter(&events, "max") > 0;
            is_reached.then(|| ProcessLimit {
                group: group.path().to_owned(),
                limit,
            })
        })
    }

    /// The effects of the memory limit so far. `None` without a memory controller, or if the group
    /// is gone.
    pub fn out_of_memory(&self) -> Result<Option<OutOfMemory>, Error> {
        let Some((group, version)) = self.open_with("memory")? else {
            return Ok(None);
        };
        let number = |file| number(&group, file);
        Ok(kills(&group, version).map(|kills| match version {
            Version::V2 => OutOfMemory {
                kills,
                limit: number("memory.max"),
                peak: number("memory.peak")
                    .or_else(|| number("memory.current"))
                    .unwrap_or(0),
            },
            Version::V1 => OutOfMemory {
                kills,
                // "No limit" is the largest multiple of a page.
                limit: number("memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
                peak: number("memory.max_usage_in_bytes").unwrap_or(0),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(counter(text, "oom_kill"), 1);
        assert_eq!(counter(text, "absent"), 0);
    }
}
