//! One container's directory, and the right to change it.

#![expect(
    clippy::disallowed_methods,
    reason = "the host's /proc; containers are reached by descriptor"
)]

use super::record::Record;
use super::{ContainerId, Error, files};
use kernel::clone::{pidfd_open, pidfd_send_signal};
use kernel::lock::{Locked, Sharing};
use launch::START_SOCKET;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat, major, minor, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long `delete --force` waits for the creation of the container before it asks the creating
/// process to stop.
const GRACE: Duration = Duration::from_secs(2);

/// How long a command waits for another to finish with the same container.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a creation makes its directory again after another command has removed it.
const ATTEMPTS: u32 = 100;

/// The lock that a command holds while it works on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Nothing: records are replaced as a whole, so reading needs no lock, and a signal must get
    /// through while another command waits for a hook.
    None,
    /// The right to change it, alone.
    Exclusive,
    /// The same, but a command that is still making the container after a while is asked to stop:
    /// one of its hooks, or a seccomp listener, may never end.
    Insist,
}

/// A directory, locked or not.
#[derive(Debug)]
enum Handle {
    Free(OwnedFd),
    Locked(Locked),
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Free(directory) => directory.as_fd(),
            Self::Locked(directory) => directory.as_fd(),
        }
    }
}

/// A container that exists, or is being made.
#[derive(Debug)]
pub(crate) struct Entry {
    id: ContainerId,
    root: OwnedFd,
    directory: Handle,
}

/// The name of a container that is being made, with an exclusive lock. Dropping it releases the
/// lock and leaves the directory: call [`Reservation::discard`] if the creation fails.
#[derive(Debug)]
pub(crate) struct Reservation {
    entry: Entry,
}

impl Reservation {
    pub(super) fn make(root: &OwnedFd, id: &ContainerId) -> Result<Self, Error> {
        for _attempt in 0..ATTEMPTS {
            let spare = hold(root, id)?;
            match mkdirat(root, id.as_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(exists(root, id)),
                Err(source) => return Err(failed(id, "make", "its directory", source)),
            }
            // This frees a descriptor for the directory: without one the new directory would be
            // left behind.
            drop(spare);
            let entry = match Entry::open(root, id, Lock::Exclusive) {
                Ok(entry) => entry,
                // `delete --force` was faster: nothing has been made in it yet.
                Err(Error::Absent { .. }) => continue,
                // Nothing is removed without the lock: the name may belong to another creation now.
                Err(error) => return Err(error),
            };
            // Another creation may have locked this empty directory first.
            return match files::names(&entry.directory) {
                Ok(names) if names.is_empty() => Ok(Self { entry }),
                Ok(_used) => {
                    drop(entry);
                    Err(exists(root, id))
                }
                Err(source) => {
                    // Under the lock, and only if it is empty, it is the one that was just made.
                    let _used_by_another = files::remove_directory(root, id.as_str());
                    Err(failed(id, "list", "its directory", source))
                }
            };
        }
        Err(Error::Contested { id: id.clone() })
    }

    /// Writes the journal: what `delete --force` must clean up if no record follows. Call it before
    /// the first side effect outside of the directory.
    pub(crate) fn journal(&self, record: &Record) -> Result<(), Error> {
        self.entry.write(files::JOURNAL, record)
    }

    /// Writes the record under a temporary name. [`Self::show`] makes it visible.
    pub(crate) fn prepare(&self, record: &Record) -> Result<(), Error> {
        let bytes = self.entry.bytes_of(files::STATE, record)?;
        files::prepare(&self.entry.directory, files::STATE, &bytes)
            .map_err(|source| failed(&self.entry.id, "write", files::STATE, source))
    }

    /// Makes the prepared record the container's.
    pub(crate) fn show(&self) -> Result<(), Error> {
        files::show(&self.entry.directory, files::STATE)
            .map_err(|source| failed(&self.entry.id, "write", files::STATE, source))
    }

    /// Both at once.
    #[cfg(test)]
    pub(crate) fn save(&self, record: &Record) -> Result<(), Error> {
        self.prepare(record)?;
        self.show()
    }

    /// Saves the configuration, byte for byte as read.
    pub(crate) fn config(&self, bytes: &[u8]) -> Result<(), Error> {
        files::replace(&self.entry.directory, files::CONFIG, bytes)
            .map_err(|source| failed(&self.entry.id, "write", files::CONFIG, source))
    }

    /// The directory, close-on-exec.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.entry.directory.as_fd()
    }

    /// The container's name.
    pub(crate) fn id(&self) -> &ContainerId {
        &self.entry.id
    }

    /// The same as an entry, still locked, for the time after the creation.
    pub(crate) fn into_entry(self) -> Entry {
        self.entry
    }

    /// Frees the name: removes the directory and all in it.
    pub(crate) fn discard(self) -> Result<(), Error> {
        self.entry.remove()
    }
}

impl Entry {
    pub(super) fn open(root: &OwnedFd, id: &ContainerId, lock: Lock) -> Result<Self, Error> {
        let absent = || Error::Absent { id: id.clone() };
        let own_root = hold(root, id)?;
        let directory = match files::directory(root, id.as_str()) {
            Ok(directory) => directory,
            // A file or link of that name is not a container.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Err(absent()),
            Err(source) => return Err(failed(id, "open", "its directory", source)),
        };
        let directory = match lock {
            Lock::None => Handle::Free(directory),
            Lock::Exclusive => Handle::Locked(acquire(directory, id, PATIENCE)?),
            Lock::Insist => {
                if wait_for_maker(&directory) == Making::GoesOn {
                    stop_maker(&directory);
                }
                Handle::Locked(acquire(directory, id, PATIENCE)?)
            }
        };
        // The previous holder of the lock may have deleted the container.
        if !files::is_same(root, id.as_str(), &directory) {
            return Err(absent());
        }
        Ok(Self {
            id: id.clone(),
            root: own_root,
            directory,
        })
    }

    /// The container's name.
    pub(crate) fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory, close-on-exec.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The record; while the container is being made, the journal.
    ///
    /// # Errors
    /// [`Error::Unrecorded`]: neither exists. [`Error::Damaged`]: the record exists but is damaged.
    pub(crate) fn record(&self) -> Result<Record, Error> {
        match self.read(files::STATE)? {
            Some(record) => Ok(record),
            None => self.journal(),
        }
    }

    /// What was recorded before the first side effect.
    pub(crate) fn journal(&self) -> Result<Record, Error> {
        self.read(files::JOURNAL)?.ok_or_else(|| Error::Unrecorded {
            id: self.id.clone(),
        })
    }

    fn read(&self, file: &'static str) -> Result<Option<Record>, Error> {
        let damaged = |reason| Error::Damaged {
            id: self.id.clone(),
            file,
            reason,
        };
        let bytes = match files::read(&self.directory, file) {
            Ok(bytes) => bytes,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::EINVAL | Errno::ELOOP | Errno::ENXIO) => {
                return Err(damaged("it is not a regular file".to_owned()));
            }
            Err(Errno::EFBIG) => return Err(damaged("it is longer than 16 MiB".to_owned())),
            Err(source) => return Err(failed(&self.id, "read", file, source)),
        };
        Record::from_bytes(&bytes, self.id.as_str())
            .map(Some)
            .map_err(damaged)
    }

    /// The configuration that the container was made from.
    pub(crate) fn config(&self) -> Result<Vec<u8>, Error> {
        files::read(&self.directory, files::CONFIG)
            .map_err(|source| failed(&self.id, "read", files::CONFIG, source))
    }

    /// Writes the record, replacing the one before.
    pub(crate) fn save(&self, record: &Record) -> Result<(), Error> {
        self.write(files::STATE, record)
    }

    fn write(&self, file: &'static str, record: &Record) -> Result<(), Error> {
        files::replace(&self.directory, file, &self.bytes_of(file, record)?)
            .map_err(|source| failed(&self.id, "write", file, source))
    }

    fn bytes_of(&self, file: &'static str, record: &Record) -> Result<Vec<u8>, Error> {
        record.to_bytes().map_err(|error| Error::Damaged {
            id: self.id.clone(),
            file,
            reason: error.to_string(),
        })
    }

    /// Whether the first process still waits to be started.
    pub(crate) fn waits_for_start(&self) -> Result<bool, Error> {
        files::exists(&self.directory, START_SOCKET)
            .map_err(|source| failed(&self.id, "stat", START_SOCKET, source))
    }

    /// Records that it does not wait any longer.
    pub(crate) fn remove_start_socket(&self) -> Result<(), Error> {
        match unlinkat(&self.directory, START_SOCKET, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(source) => Err(failed(&self.id, "remove", START_SOCKET, source)),
        }
    }

    /// Whether another process holds the lock.
    pub(crate) fn is_held(&self) -> bool {
        let Handle::Free(directory) = &self.directory else {
            return false;
        };
        match Entry::probe(directory) {
            Ok(free) => {
                drop(free);
                false
            }
            Err(errno) => errno == Errno::EWOULDBLOCK,
        }
    }

    /// Takes a shared lock on a new description of the directory; dropping it releases the lock.
    fn probe(directory: &OwnedFd) -> Result<Locked, Errno> {
        let own = files::directory(directory, ".")?;
        Locked::take(own, Sharing::Shared).map_err(|(_, errno)| errno)
    }

    /// Releases the lock but keeps the entry, so that other commands can use the container during a
    /// long wait.
    pub(crate) fn release(self) -> Self {
        let directory = match self.directory {
            Handle::Locked(directory) => directory.release(),
            Handle::Free(directory) => directory,
        };
        Self {
            directory: Handle::Free(directory),
            ..self
        }
    }

    /// Takes the lock again.
    ///
    /// # Errors
    /// [`Error::Absent`]: another command has deleted the container, even if a new one has the
    /// name. [`Error::Busy`]: another command holds the lock.
    pub(crate) fn acquire(self) -> Result<Self, Error> {
        let directory = match self.directory {
            Handle::Free(directory) => acquire(directory, &self.id, PATIENCE)?,
            Handle::Locked(directory) => directory,
        };
        if !files::is_same(&self.root, self.id.as_str(), &directory) {
            return Err(Error::Absent { id: self.id });
        }
        Ok(Self {
            directory: Handle::Locked(directory),
            ..self
        })
    }

    /// Removes the directory and all in it, and with it the container. If the id has a new
    /// directory, both directories stay as they are.
    ///
    /// # Errors
    /// [`Error::Busy`]: another command holds the lock. [`Error::File`]: what cannot be removed.
    pub(crate) fn remove(self) -> Result<(), Error> {
        // The lock first: every removal holds it, so the name stays this directory's until the end.
        let entry = match self.acquire() {
            Ok(entry) => entry,
            Err(Error::Absent { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        files::clear(&entry.directory)
            .and_then(|()| files::remove_directory(&entry.root, entry.id.as_str()))
            .map_err(|source| failed(&entry.id, "remove", "its directory", source))
    }
}

/// Duplicates the descriptor of the root.
fn hold(root: &OwnedFd, id: &ContainerId) -> Result<OwnedFd, Error> {
    root.try_clone()
        .map_err(|_no_descriptor| failed(id, "open", "the state directory again", Errno::EMFILE))
}

/// The name is taken.
fn exists(root: &OwnedFd, id: &ContainerId) -> Error {
    Error::Exists {
        id: id.clone(),
        detail: occupant(root, id),
    }
}

fn acquire(directory: OwnedFd, id: &ContainerId, patience: Duration) -> Result<Locked, Error> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    let mut directory = directory;
    loop {
        match Locked::take(directory, Sharing::Exclusive) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => directory = back,
            Err((back, Errno::EWOULDBLOCK)) => {
                return Err(Error::Busy {
                    id: id.clone(),
                    holder: holder(&back),
                    seconds: patience.as_secs(),
                });
            }
            Err((back, Errno::EINTR)) => directory = back,
            Err((_, source)) => return Err(failed(id, "lock", "its directory", source)),
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// What the holder of the lock does with a container that has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Making {
    /// It makes the container.
    GoesOn,
    /// No process makes it.
    IsOver,
}

/// Gives the process that makes the container some time to finish.
fn wait_for_maker(directory: &OwnedFd) -> Making {
    let deadline = Instant::now() + GRACE;
    let is_made = || files::exists(directory, files::STATE).unwrap_or(true);
    while maker(directory).is_some() && !is_made() {
        if Instant::now() > deadline {
            return Making::GoesOn;
        }
        sleep(Duration::from_millis(20));
    }
    Making::IsOver
}

/// Asks the process that makes the container to stop: it undoes what it has made.
fn stop_maker(directory: &OwnedFd) {
    let Some(pid) = maker(directory) else {
        return;
    };
    let Ok(pidfd) = pidfd_open(pid) else {
        return;
    };
    // In this order: while the process of the descriptor lives, the number belongs to it.
    if maker(directory) == Some(pid) {
        let _gone = pidfd_send_signal(pidfd.as_fd(), Signal::SIGTERM as i32);
    }
}

/// The process that holds the lock. `None` if /proc/locks does not show it.
fn maker(directory: &OwnedFd) -> Option<i32> {
    let stat = fstat(directory).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let (major, minor) = (major(stat.st_dev), minor(stat.st_dev));
    holder_of(&locks, &format!("{major:02x}:{minor:02x}:{}", stat.st_ino))
}

/// The process that holds the lock of `file`, which is the device in hexadecimal and the inode.
/// Lines are `1: FLOCK  ADVISORY  WRITE 4711 00:2f:815 0 EOF`; a waiting lock has an arrow in
/// front.
fn holder_of(locks: &str, file: &str) -> Option<i32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let pid = words.nth(2)?.parse().ok()?;
        (words.next()? == file && pid > 0).then_some(pid)
    })
}

/// Who holds the lock, as far as /proc/locks shows it.
fn holder(directory: &OwnedFd) -> String {
    match maker(directory) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// What is known of the container that has the name already.
fn occupant(root: &OwnedFd, id: &ContainerId) -> String {
    let Ok(entry) = Entry::open(root, id, Lock::None) else {
        return "a file that is not a container has this name".to_owned();
    };
    let held = entry.is_held();
    match entry.record() {
        Ok(record) if record.pid.is_some() => format!("created {}", record.created),
        Ok(record) if held => {
            let Handle::Free(directory) = &entry.directory else {
                return "it is being created".to_owned();
            };
            let holder = holder(directory);
            format!("it is being created by {holder} since {}", record.created)
        }
        Err(_) if held => "it is being created by a live process".to_owned(),
        Ok(_) | Err(_) => {
            format!(
                "incomplete, and the process that was creating it has ended; `locule delete --force {id}` cleans up"
            )
        }
    }
}

fn failed(id: &ContainerId, action: &'static str, file: &str, source: Errno) -> Error {
    Error::File {
        id: id.clone(),
        action,
        file: file.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:2f:815 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 00:2f:816 0 EOF\n\
                     3: FLOCK  ADVISORY  READ  33 fd:01:815 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 44 fd:01:815 0 EOF\n";
        assert_eq!(holder_of(locks, "fd:01:815"), Some(33));
        assert_eq!(holder_of(locks, "00:2f:816"), Some(22));
        assert_eq!(holder_of(locks, "fd:01:816"), None);
    }
}
