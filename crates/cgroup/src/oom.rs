//! Reports processes that were killed because their group reached its memory limit.
//!
//! v2 counts them in memory.events, a file that poll(2) can wait on. v1 signals an eventfd that was
//! registered in cgroup.event_control, and signals it once more when the group is removed. Sources:
//! the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, section 10.

use kernel::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::uio::pread;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::directory::Directory;
use crate::kills::counter;
use crate::{Error, Location, Version};

/// How long after a removal its signal may arrive, in milliseconds.
const REMOVAL: u16 = 100;

/// The events since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Quiet,
    /// One or more processes were killed.
    Killed,
    /// The group was removed: there is nothing more to wait for.
    Gone,
}

/// Waits for kills in one group.
#[derive(Debug)]
pub struct OomWatch(Source);

#[derive(Debug)]
enum Source {
    /// v2: memory.events, and the number of kills it last reported.
    Counter { events: OwnedFd, seen: u64 },
    /// v1: the eventfd, and the group to tell its two signals apart.
    Notifier { event: EventFd, group: Directory },
}

impl Location {
    /// Starts to watch for kills; on v2 also in the groups below. `None`: the container's groups
    /// have no controller for memory, or are gone.
    ///
    /// # Errors
    /// v1: the caller may not write cgroup.event_control.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>, Error> {
        let group = match self.open_with("memory")? {
            Some((group, Version::V1)) => return Ok(Some(OomWatch(notifier(group)?))),
            Some((group, Version::V2)) => group,
            None => return Ok(None),
        };
        match group.open_file("memory.events") {
            Ok(events) => {
                // poll reports changes only after this first read.
                let seen = kills(&events).unwrap_or(0);
                Ok(Some(OomWatch(Source::Counter { events, seen })))
            }
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(source) => Err(Error::Read {
                path: group.path().join("memory.events"),
                source,
            }),
        }
    }
}

impl OomWatch {
    /// The descriptor and events for poll(2) before the next [`Self::look`].
    pub fn poll_fd(&self) -> PollFd<'_> {
        match &self.0 {
            Source::Counter { events, .. } => PollFd::new(events.as_fd(), PollFlags::POLLPRI),
            Source::Notifier { event, .. } => PollFd::new(event.as_fd(), PollFlags::POLLIN),
        }
    }

    /// Returns the events so far; does not wait.
    pub fn look(&mut self) -> News {
        match &mut self.0 {
            Source::Counter { events, seen } => match kills(events) {
                Err(_gone) => News::Gone,
                Ok(now) if now > *seen => {
                    *seen = now;
                    News::Killed
                }
                Ok(_same) => News::Quiet,
            },
            Source::Notifier { event, group } => {
                let signals = signals(event);
                if group.read("memory.oom_control").is_ok() {
                    return if signals > 0 {
                        News::Killed
                    } else {
                        News::Quiet
                    };
                }
                // The last signal is the one for the removal.
                let mut fds = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
                if signals == 1 && poll(&mut fds, PollTimeout::from(REMOVAL)).is_ok() {
                    let more = self::signals(event);
                    return if more > 0 { News::Killed } else { News::Gone };
                }
                if signals > 1 {
                    News::Killed
                } else {
                    News::Gone
                }
            }
        }
    }
}

/// How often the eventfd was signalled since the last read.
fn signals(event: &EventFd) -> u64 {
    // EAGAIN: it was not signalled.
    event.read().unwrap_or(0)
}

fn notifier(group: Directory) -> Result<Source, Error> {
    const FILE: &str = "cgroup.event_control";
    let failed = |source| Error::WriteFile {
        file: group.path().join(FILE),
        value: "memory.oom_control".to_owned(),
        source,
    };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let event = EventFd::from_value_and_flags(0, flags).map_err(failed)?;
    let control = group.open_file("memory.oom_control").map_err(failed)?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    group.write(FILE, &line).map_err(failed)?;
    Ok(Source::Notifier { event, group })
}

/// `oom_kill` of memory.events. An error means that the group is gone.
fn kills(events: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = [0; 1024];
    let count = pread(events, &mut buffer, 0)?;
    Ok(counter(
        &String::from_utf8_lossy(&buffer[..count]),
        "oom_kill",
    ))
}
