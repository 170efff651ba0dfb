//! Operations on the groups of an existing container: list, signal, freeze and thaw its processes,
//! and remove the groups. Every wait has a deadline.

use kernel::Errno;
use kernel::clone::{pidfd_open, pidfd_send_signal};
use kernel::process::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::directory::Directory;
use crate::location::Owner;
use crate::systemd::Remover;
use crate::tour::{Step, Tour, is_gone};
use crate::{Error, Location, Place, Version};

/// The number of processes that are signalled at once, each by an open descriptor.
const AT_ONCE: usize = 64;

/// The deadline for a freeze that only serves to signal all processes at once.
const FREEZE_TO_SIGNAL: Duration = Duration::from_millis(500);

/// Visits `top` and all groups below it. Groups that disappear during the walk are skipped.
fn walk(
    top: Directory,
    mut look: impl FnMut(&Directory) -> Result<(), Error>,
) -> Result<(), Error> {
    look(&top)?;
    let mut tour = Tour::of(top);
    loop {
        match tour.step() {
            Ok(Some(Step::Into)) => look(tour.group())?,
            Ok(Some(Step::OutOf(_name))) => {}
            Ok(None) => return Ok(()),
            Err(errno) => return Err(tour.group().failed("list")(errno)),
        }
    }
}

/// The processes of `top` and of all groups below it.
fn collect(top: Directory) -> Result<BTreeSet<i32>, Error> {
    let mut pids = BTreeSet::new();
    walk(top, |group| {
        match group.read_named("cgroup.procs") {
            // A pid of 0 is a process outside the caller's PID namespace.
            Ok(list) => pids.extend(list.lines().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(Error::Read { source, .. }) if is_gone(source) => {}
            // A threaded group: the group above lists its processes.
            Err(Error::Read {
                source: Errno::EOPNOTSUPP,
                ..
            }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    Ok(pids)
}

/// Thaws `top` and all groups below it: a container may have frozen a group of its own, and v1's
/// frozen processes do not die.
fn thaw_all(top: Directory) -> Result<(), Error> {
    walk(top, |group| {
        match group.write_named("freezer.state", "THAWED") {
            Err(Error::WriteFile { source, .. }) if is_gone(source) => Ok(()),
            answer => answer,
        }
    })
}

/// Whether neither `group` nor any group below it has a process.
pub(crate) fn is_empty(group: &Directory) -> Result<bool, Error> {
    let top = group.open_below("").map_err(group.failed("open"))?;
    Ok(collect(top)?.is_empty())
}

/// The first few processes of `group`, for a message.
pub(crate) fn some_pids(group: &Directory) -> Vec<i32> {
    let all = group.open_below("").ok().and_then(|top| collect(top).ok());
    all.unwrap_or_default().into_iter().take(5).collect()
}

/// Removes all groups below `top`, the deepest first. Returns the errno that stopped it.
fn remove_below(top: Directory) -> Result<(), Errno> {
    let mut tour = Tour::of(top);
    while let Some(step) = tour.step()? {
        if let Step::OutOf(name) = step
            && let Err(errno) = tour.group().remove(&*name)
            && !is_gone(errno)
        {
            return Err(errno);
        }
    }
    Ok(())
}

/// The outcome of an attempt to remove a group.
enum Removal {
    Done,
    /// It has processes or groups.
    Busy,
    /// Another container has made it or taken it over: it stays.
    Foreign,
}

/// What the answer of rmdir(2) says.
fn removal(answer: Result<(), Errno>) -> Result<Removal, Errno> {
    match answer {
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(Removal::Busy),
        Err(errno) if !is_gone(errno) => Err(errno),
        _removed => Ok(Removal::Done),
    }
}

/// Tries once to remove the group at `place` and all below it.
fn remove_once(place: &Place) -> Result<Removal, Error> {
    place.check()?;
    let Some(root) = place.root()? else {
        return Ok(Removal::Done);
    };
    match place.find_below(&root)? {
        Some(group) if place.owner(&group)? == Owner::Other => return Ok(Removal::Foreign),
        Some(_own) => {}
        None => return Ok(Removal::Done),
    }
    let (above, name) = place.split();
    remove_from(&root, above, name).map_err(Error::about("remove", &place.host_path()))
}

/// Removes the group `name` of the group `above` (empty: of the root), and all below it.
fn remove_from(root: &Directory, above: &str, name: &str) -> Result<Removal, Errno> {
    let opened;
    let parent = match above {
        "" => root,
        above => match root.open_below(above) {
            Err(errno) if is_gone(errno) => return Ok(Removal::Done),
            answer => {
                opened = answer?;
                &opened
            }
        },
    };
    match removal(parent.remove(name))? {
        Removal::Busy => {}
        outcome => return Ok(outcome),
    }
    match removal(parent.open_below(name).and_then(remove_below))? {
        Removal::Busy => Ok(Removal::Busy),
        _none_below => removal(parent.remove(name)),
    }
}

/// The error that names the remaining processes.
fn survivors(place: &Place, deadline: Duration) -> Result<Error, Error> {
    let pids = match place.find()? {
        Some(directory) => collect(directory)?.into_iter().collect(),
        None => Vec::new(),
    };
    Ok(Error::Survivors {
        group: place.host_path(),
        pids,
        deadline,
    })
}

/// The freezer of a group.
struct Freezer {
    directory: Directory,
    version: Version,
}

impl Freezer {
    /// Whether the group, or one above it, was asked to freeze; the freezer may not have finished.
    fn is_frozen(&self) -> Result<bool, Error> {
        match self.version {
            Version::V2 => {
                Ok(self.flag("cgroup.freeze", "1")? || self.flag("cgroup.events", "frozen 1")?)
            }
            Version::V1 => Ok(!self.flag("freezer.state", "THAWED")?),
        }
    }

    /// The file and the line that ask for a state, and those that say that it is reached.
    fn lines(&self, frozen: bool) -> [(&'static str, &'static str); 2] {
        match (self.version, frozen) {
            (Version::V2, true) => [("cgroup.freeze", "1"), ("cgroup.events", "frozen 1")],
            (Version::V2, false) => [("cgroup.freeze", "0"), ("cgroup.events", "frozen 0")],
            (Version::V1, true) => [("freezer.state", "FROZEN"); 2],
            (Version::V1, false) => [("freezer.state", "THAWED"); 2],
        }
    }

    fn has_reached(&self, frozen: bool) -> Result<bool, Error> {
        let [_, (file, line)] = self.lines(frozen);
        self.flag(file, line)
    }

    fn flag(&self, file: &str, line: &str) -> Result<bool, Error> {
        Ok(self
            .directory
            .read_named(file)?
            .lines()
            .any(|found| found == line))
    }

    fn ask(&self, frozen: bool) -> Result<(), Error> {
        let [(file, line), _] = self.lines(frozen);
        self.directory.write_named(file, line)
    }

    fn set(&self, frozen: bool, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        // Open it before the write, so that no change of its content is missed.
        let events = match self.version {
            Version::V2 => self.directory.open_file("cgroup.events").ok(),
            Version::V1 => None,
        };
        self.ask(frozen)?;
        let mut pause = Duration::from_micros(200);
        while !self.has_reached(frozen)? {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out(frozen, deadline));
            }
            match &events {
                Some(events) => {
                    let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
                    let wait = left.min(Duration::from_millis(100));
                    let _news = poll(
                        &mut fds,
                        PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO),
                    );
                }
                None => {
                    // A fork in progress can delay the v1 freezer until it is asked again.
                    sleep(pause.min(left));
                    pause = (pause * 2).min(Duration::from_millis(10));
                    self.ask(frozen)?;
                }
            }
        }
        Ok(())
    }

    /// Undoes an unfinished freeze: no part of the container may stay frozen.
    fn timed_out(&self, frozen: bool, deadline: Duration) -> Error {
        let group = self.directory.path().to_owned();
        if frozen && let Err(error) = self.ask(false) {
            tracing::debug!("thaw {group:?} after an unfinished freeze: {error}");
        }
        Error::FreezerTimeout {
            group,
            state: if frozen { "frozen" } else { "thawed" },
            deadline,
        }
    }
}

impl Location {
    /// `None`: no freezer, or the group is gone.
    fn freezer(&self) -> Result<Option<Freezer>, Error> {
        let opened = self.open_with("freezer")?;
        Ok(opened.map(|(directory, version)| Freezer { directory, version }))
    }

    /// The hierarchies whose process lists are read: v2, and the v1 hierarchy that is used.
    fn listed(&self) -> impl Iterator<Item = &Place> {
        let v1 = self.v1("freezer").or_else(|| self.v1("pids")).or_else(|| {
            self.groups
                .iter()
                .find(|place| place.version == Version::V1)
        });
        self.unified().into_iter().chain(v1)
    }

    /// The processes of the container's groups and of all groups below, in ascending order and in
    /// the caller's PID namespace. A group that is gone has none.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = BTreeSet::new();
        for place in self.listed() {
            if let Some(directory) = place.open()? {
                pids.append(&mut collect(directory)?);
            }
        }
        pids.remove(&0);
        Ok(pids.into_iter().collect())
    }

    /// Sends `signal` to every process of the groups. SIGKILL kills all of them, forks included
    /// (cgroup.kill, Linux 5.14; on v1 the group is frozen during the kill). It also thaws a frozen
    /// group, since v1's frozen processes do not die.
    ///
    /// # Errors
    /// [`Error::NoGroup`] if the container has none: its processes are not known.
    pub fn signal_all(&self, signal: i32) -> Result<(), Error> {
        if self.groups.is_empty() {
            return Err(Error::NoGroup);
        }
        if signal != SIGKILL {
            return self.signal_each(signal);
        }
        let killed = self.kill_at_once()?;
        let freezer = self.freezer()?;
        if !killed && let Some(freezer) = &freezer {
            // Continue after an unfinished freeze: the rounds below find new forks.
            if let Err(error) = freezer.set(true, FREEZE_TO_SIGNAL) {
                tracing::debug!("freeze before SIGKILL: {error}");
            }
        }
        // After cgroup.kill only the v1 side of a hybrid host can have more processes.
        let only_v2 = self.groups.iter().all(|place| place.version == Version::V2);
        let sent = if killed && only_v2 {
            Ok(())
        } else {
            self.signal_each(signal)
        };
        match freezer {
            Some(Freezer {
                directory,
                version: Version::V1,
            }) => thaw_all(directory)?,
            // v2's frozen processes die, and cgroup.kill has reached the groups below.
            Some(freezer) if freezer.is_frozen().unwrap_or(false) => match freezer.ask(false) {
                Err(Error::WriteFile { source, .. }) if is_gone(source) => {}
                answer => answer?,
            },
            _ => {}
        }
        sent
    }

    /// Writes cgroup.kill; false if the group or the file does not exist.
    fn kill_at_once(&self) -> Result<bool, Error> {
        let Some(group) = self.unified().map(Place::open).transpose()?.flatten() else {
            return Ok(false);
        };
        let ignored = |errno| is_gone(errno) || errno == Errno::EOPNOTSUPP;
        match group.write_named("cgroup.kill", "1") {
            Err(Error::WriteFile { source, .. }) if ignored(source) => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    /// Signals process by process until no new ones appear.
    fn signal_each(&self, signal: i32) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let mut refused = None;
        for _round in 0..100 {
            let fresh: Vec<i32> = self
                .pids()?
                .into_iter()
                .filter(|pid| !seen.contains(pid))
                .collect();
            if fresh.is_empty() {
                break;
            }
            for some in fresh.chunks(AT_ONCE) {
                refused = self.signal_some(signal, some)?.or(refused);
            }
            seen.extend(fresh);
        }
        match refused {
            None => Ok(()),
            Some((pid, source)) => Err(Error::Signal {
                signal,
                pid,
                group: self.groups[0].host_path(),
                source,
            }),
        }
    }

    /// Signals those of `pids` that are processes of the groups. Returns one that refuses it.
    fn signal_some(&self, signal: i32, pids: &[i32]) -> Result<Option<(i32, Errno)>, Error> {
        let mut refused = None;
        let mut open = Vec::with_capacity(pids.len());
        for pid in pids {
            match pidfd_open(*pid) {
                Ok(pidfd) => open.push((*pid, pidfd)),
                // EINVAL: a thread has this number now.
                Err(Errno::ESRCH | Errno::EINVAL) => {}
                Err(errno) => refused = Some((*pid, errno)),
            }
        }
        // A pid that is still listed after its descriptor was opened belongs to the group. So the
        // signal never reaches an unrelated process with a re-used pid.
        let still: BTreeSet<i32> = self.pids()?.into_iter().collect();
        for (pid, pidfd) in open.iter().filter(|(pid, _pidfd)| still.contains(pid)) {
            match pidfd_send_signal(pidfd.as_fd(), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => refused = Some((*pid, errno)),
            }
        }
        Ok(refused)
    }

    /// Whether the group, or one above it, is frozen or about to be. False without a group.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        match self.freezer()? {
            None => Ok(false),
            Some(freezer) => match freezer.is_frozen() {
                Err(Error::Read { source, .. }) if is_gone(source) => Ok(false),
                answer => answer,
            },
        }
    }

    /// Freezes every process of the group and waits until all are frozen.
    ///
    /// # Errors
    /// [`Error::NoFreezer`]; [`Error::FreezerTimeout`], after which the group runs again.
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        self.freezer()?.ok_or(Error::NoFreezer)?.set(true, deadline)
    }

    /// Lets the processes of the group run again.
    ///
    /// # Errors
    /// [`Error::NoFreezer`]; [`Error::FreezerTimeout`], which happens if a group above is frozen.
    pub fn thaw(&self, deadline: Duration) -> Result<(), Error> {
        self.freezer()?
            .ok_or(Error::NoFreezer)?
            .set(false, deadline)
    }

    /// Keeps the groups themselves.
    fn remove_sub_groups(&self) -> Result<(), Error> {
        for place in &self.groups {
            if let Some(group) = place.open()? {
                let path = place.host_path();
                match remove_below(group) {
                    Err(errno) if !is_gone(errno) => {
                        return Err(Error::about("remove the groups below", &path)(errno));
                    }
                    _removed => {}
                }
            }
        }
        Ok(())
    }

    /// Waits until no group has a process.
    fn await_the_last(&self, end: Instant, deadline: Duration) -> Result<(), Error> {
        for place in &self.groups {
            let mut pause = Duration::from_micros(100);
            while let Some(group) = place.open()?
                && !collect(group)?.is_empty()
            {
                if Instant::now() >= end {
                    return Err(survivors(place, deadline)?);
                }
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Removes the groups and all groups below them (a scope is stopped first), but no group above,
    /// and waits for processes that are about to end. A missing group is not an error. Groups that
    /// the container only inherits are never changed. Returns the paths that it leaves alone: there
    /// are groups that another container has made or taken over since.
    ///
    /// # Errors
    /// [`Error::Survivors`] names the processes that are still there at the deadline.
    pub fn remove(&self, deadline: Duration) -> Result<Vec<PathBuf>, Error> {
        let end = Instant::now() + deadline;
        if let Some(unit) = &self.unit {
            let taken = self.taken()?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            // systemd would ask them to end, and would wait longer than this deadline.
            self.await_the_last(end, deadline)?;
            if unit.stop() == Remover::Systemd {
                self.remove_sub_groups()?;
                return Ok(Vec::new());
            }
        }
        let mut pause = Duration::from_micros(100);
        let mut left: Vec<&Place> = self.groups.iter().collect();
        let mut taken = Vec::new();
        loop {
            let mut busy = Vec::new();
            let mut failure = None;
            for place in left {
                match remove_once(place) {
                    Ok(Removal::Done) => {}
                    Ok(Removal::Busy) => busy.push(place),
                    Ok(Removal::Foreign) => taken.push(place.host_path()),
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
            let Some(place) = busy.first() else {
                return Ok(taken);
            };
            if Instant::now() >= end {
                return Err(survivors(place, deadline)?);
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
            left = busy;
        }
    }
}
