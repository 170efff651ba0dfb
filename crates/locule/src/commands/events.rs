//! `events`: what resources a container uses, and when it runs out of memory.
//!
//! One JSON object a line, in the form that engines parse. Without `--stats` it goes on until the
//! reader closes the pipe, or until the container's first process has ended and its cgroup is
//! empty.

use super::{Env, own_group};
use crate::args;
use crate::error::{Error, Reader, print_part};
use crate::exit::ExitCode;
use crate::process::Process;
use crate::state::Lock;
use crate::status::Action;
use cgroup::stats::{CacheUse, IntelRdt, MemoryTraffic, Stats};
use cgroup::{Location, News, OomWatch};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often it checks for remaining processes. Nothing reports their end.
const LOOK: Duration = Duration::from_secs(1);

/// One line.
#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

impl Event<'_> {
    fn line(&self) -> Result<String, Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// Follows one container.
pub(crate) fn run(args: &args::Events, env: &Env) -> Result<ExitCode, Error> {
    let (entry, record, observed) = env.find(args.id(), Lock::None, Action::Watch)?;
    let group = own_group(&record, entry.id(), "watch")?;
    let mut watch = Watch {
        id: entry.id().as_str(),
        group,
        shares: record.shares(),
        process: observed.process,
        oom: None,
    };
    if args.stats {
        watch.tell("stats", Some(&watch.stats()?))?;
        return Ok(ExitCode::SUCCESS);
    }
    watch.oom = group.watch_oom().unwrap_or_else(|error| {
        let error = Error::from(error);
        tracing::warn!(
            code = error.code(),
            "events of type oom are not available: {}",
            error.chain()
        );
        None
    });
    watch.follow(args.interval)?;
    Ok(ExitCode::SUCCESS)
}

/// The counters in the form that engines parse. A counter that the processor lacks is 0.
fn intel_rdt(counters: &resctrl::Counters) -> IntelRdt {
    let domains = counters.domains.iter();
    IntelRdt {
        l3_cache_schema: counters.l3_schema.clone(),
        mem_bw_schema: counters.memory_schema.clone(),
        mbm_stats: domains
            .clone()
            .map(|domain| MemoryTraffic {
                mbm_total_bytes: domain.total_bytes.unwrap_or_default(),
                mbm_local_bytes: domain.local_bytes.unwrap_or_default(),
            })
            .collect(),
        cmt_stats: domains
            .map(|domain| CacheUse {
                llc_occupancy: domain.occupancy.unwrap_or_default(),
            })
            .collect(),
    }
}

/// A container that is followed.
#[derive(Debug)]
struct Watch<'a> {
    id: &'a str,
    group: &'a Location,
    /// Its groups of resctrl.
    shares: Option<&'a resctrl::Location>,
    /// The first process, until it has ended.
    process: Option<Process>,
    /// `None` when no more events can come.
    oom: Option<OomWatch>,
}

impl Watch<'_> {
    /// Prints until the end.
    fn follow(&mut self, interval: Duration) -> Result<(), Error> {
        let mut due = Instant::now() + interval;
        loop {
            if self.wait(due) == Reader::Gone {
                return Ok(());
            }
            // Before the check whether it has ended: this may be the reason.
            if self.tell_oom()? == Reader::Gone || self.has_ended()? {
                return Ok(());
            }
            let now = Instant::now();
            if now < due {
                continue;
            }
            due = now.max(due + interval);
            match self.stats() {
                Ok(stats) if self.tell("stats", Some(&stats))? == Reader::Gone => return Ok(()),
                Ok(_) => {}
                // The group was removed after the check above.
                Err(_gone) if self.has_ended()? => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// What the container uses now.
    fn stats(&self) -> Result<Stats, Error> {
        let mut stats = self.group.stats()?;
        if let Some(shares) = self.shares {
            stats.intel_rdt = intel_rdt(&shares.counters()?);
        }
        Ok(stats)
    }

    /// Waits until something may have happened, `due` at the latest.
    fn wait(&self, due: Instant) -> Reader {
        let stdout = io::stdout();
        // No event is requested: poll(2) always reports a closed reader.
        let mut fds = vec![PollFd::new(stdout.as_fd(), PollFlags::empty())];
        fds.extend(self.oom.as_ref().map(OomWatch::poll_fd));
        let mut left = due.saturating_duration_since(Instant::now());
        match &self.process {
            Some(process) => fds.push(PollFd::new(process.pidfd(), PollFlags::POLLIN)),
            None => left = left.min(LOOK),
        }
        // Whole milliseconds, rounded up, so that the last one is not spent in a busy loop.
        let left = left + Duration::from_millis(1);
        // An interruption leads to one more check.
        let _woken = poll(
            &mut fds,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        );
        match fds.first().and_then(PollFd::any) {
            Some(true) => Reader::Gone,
            Some(false) | None => Reader::Present,
        }
    }

    fn tell_oom(&mut self) -> Result<Reader, Error> {
        match self.oom.as_mut().map(OomWatch::look) {
            Some(News::Killed) => self.tell("oom", None),
            Some(News::Gone) => {
                self.oom = None;
                Ok(Reader::Present)
            }
            Some(News::Quiet) | None => Ok(Reader::Present),
        }
    }

    fn tell(&self, kind: &'static str, data: Option<&Stats>) -> Result<Reader, Error> {
        let id = self.id;
        print_part(&Event { kind, id, data }.line()?)
    }

    /// Whether neither the first process nor any other is left.
    fn has_ended(&mut self) -> Result<bool, Error> {
        let lives = |process: &Process| !process.has_ended(Duration::ZERO);
        if self.process.as_ref().is_some_and(lives) {
            return Ok(false);
        }
        self.process = None;
        Ok(self.group.pids()?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_type_id_and_data() {
        let oom = Event {
            kind: "oom",
            id: "box",
            data: None,
        };
        assert_eq!(oom.line().unwrap(), "{\"type\":\"oom\",\"id\":\"box\"}\n");
        let stats = Event {
            kind: "stats",
            id: "box",
            data: Some(&Stats::default()),
        };
        let line = stats.line().unwrap();
        let front = "{\"type\":\"stats\",\"id\":\"box\",\"data\":{\"cpu\":{\"usage\":{";
        assert!(line.starts_with(front), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn it_ends_with_a_process_whose_group_is_gone() {
        let mut watch = Watch {
            id: "box",
            group: &Location {
                unit: None,
                manager: cgroup::Manager::Cgroupfs,
                groups: Vec::new(),
                inherited: Vec::new(),
            },
            shares: None,
            process: None,
            oom: None,
        };
        watch.follow(Duration::from_secs(1000)).unwrap();
    }
}
