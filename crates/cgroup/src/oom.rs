//! Out of memory: how often the limit has killed, and news of it.

use kernel::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::{Error, Location, Version};

/// What the memory limit has done to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Processes killed for it so far.
    pub kills: u64,
    /// The limit in bytes; `None` is no limit.
    pub limit: Option<u64>,
    /// The most bytes that were in use, or are where the kernel does not keep that (v2 before Linux 5.19).
    pub peak: u64,
}

/// News of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomEvent {
    /// The limit was hit, and what memory could be had back was not enough.
    OutOfMemory,
    /// The group is gone; nothing more will come.
    Gone,
}

/// Waits for a group to run out of memory.
#[derive(Debug)]
pub struct OomWatch {
    group: Directory,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// memory.events, and the sum of its counters of interest.
    V2 { events: OwnedFd, seen: u64 },
    /// The kernel adds to the counter; it wants memory.oom_control open for as long.
    V1 { counter: EventFd, _control: OwnedFd },
}

/// The counter `name` of a file of names and numbers.
fn counter(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// How often v2's group was out of memory, with or without a victim.
fn events_of(text: &str) -> u64 {
    counter(text, "oom") + counter(text, "oom_kill")
}

impl Location {
    /// The group that has a memory controller.
    fn memory(&self) -> Result<Option<(Directory, Version)>, Error> {
        let Some(place) = self.v1("memory").or_else(|| self.unified()) else {
            return Ok(None);
        };
        Ok(place.open()?.map(|group| (group, place.version)))
    }

    /// What the memory limit has done so far. `None` without a memory controller, or if the group is gone.
    pub fn out_of_memory(&self) -> Result<Option<OutOfMemory>, Error> {
        let Some((group, version)) = self.memory()? else {
            return Ok(None);
        };
        let number = |file: &str| -> Option<u64> { group.read(file).ok()?.trim_end().parse().ok() };
        Ok(match version {
            Version::V2 => group.read("memory.events").ok().map(|text| OutOfMemory {
                kills: counter(&text, "oom_kill"),
                limit: number("memory.max"),
                peak: number("memory.peak")
                    .or_else(|| number("memory.current"))
                    .unwrap_or(0),
            }),
            Version::V1 => group
                .read("memory.oom_control")
                .ok()
                .map(|text| OutOfMemory {
                    kills: counter(&text, "oom_kill"),
                    // No limit is the largest multiple of a page.
                    limit: number("memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
                    peak: number("memory.max_usage_in_bytes").unwrap_or(0),
                }),
        })
    }

    /// Starts to watch for the memory limit.
    ///
    /// # Errors
    /// [`Error::NoGroup`] if no group has a memory controller.
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        let (group, version) = self.memory()?.ok_or(Error::NoGroup)?;
        let failed = |file: &str| {
            let file = group.path().join(file);
            move |source: Errno| Error::ReadFile { file, source }
        };
        let source = match version {
            Version::V2 => {
                let events = group
                    .open_file("memory.events")
                    .map_err(failed("memory.events"))?;
                let seen = events_of(&group.read_named("memory.events")?);
                Source::V2 { events, seen }
            }
            Version::V1 => {
                let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
                let counter = EventFd::from_flags(flags).map_err(failed("memory.oom_control"))?;
                let control = group
                    .open_file("memory.oom_control")
                    .map_err(failed("memory.oom_control"))?;
                let request = format!("{} {}", counter.as_fd().as_raw_fd(), control.as_raw_fd());
                group.write_named("cgroup.event_control", &request)?;
                Source::V1 {
                    counter,
                    _control: control,
                }
            }
        };
        Ok(OomWatch { group, source })
    }
}

impl OomWatch {
    /// The next news, or `None` if there is none within `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Option<OomEvent> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(event) = self.look() {
                return Some(event);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            // The end of a v2 group wakes nobody: look again from time to time.
            let wait = left.min(Duration::from_millis(250));
            let (fd, flags) = match &self.source {
                Source::V2 { events, .. } => (events.as_fd(), PollFlags::POLLPRI),
                Source::V1 { counter, .. } => (counter.as_fd(), PollFlags::POLLIN),
            };
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
            let _news = poll(&mut [PollFd::new(fd, flags)], wait);
        }
    }

    fn look(&mut self) -> Option<OomEvent> {
        match &mut self.source {
            Source::V2 { seen, .. } => {
                let Ok(text) = self.group.read("memory.events") else {
                    return Some(OomEvent::Gone);
                };
                let now = events_of(&text);
                let is_news = now > *seen;
                *seen = now;
                is_news.then_some(OomEvent::OutOfMemory)
            }
            Source::V1 { counter, .. } => {
                let is_news = counter.read().is_ok();
                // The end of the group is counted too.
                if self.group.read("memory.oom_control").is_err() {
                    return Some(OomEvent::Gone);
                }
                is_news.then_some(OomEvent::OutOfMemory)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(counter(text, "oom_kill"), 1);
        assert_eq!(counter(text, "oom"), 2);
        assert_eq!(counter(text, "absent"), 0);
        assert_eq!(events_of(text), 3);
    }
}
