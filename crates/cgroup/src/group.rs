//! Groups that exist: moves processes into them and verifies where processes are.

use kernel::Errno;
use kernel::process::SIGKILL;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::directory::Directory;
use crate::hierarchy::{path_in, read_proc};
use crate::kills::kills;
use crate::plan::{Undo, take_back};
use crate::resources::Target;
use crate::{Error, Location, OutOfMemory, Place, Version};

/// Whether some of the groups may exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// They will be made around the first process.
    NotYet,
    Yes,
    /// They belong to a running container: a process that joins them does not end them.
    Others,
}

/// The groups of one container, open. The descriptors are close-on-exec.
#[derive(Debug)]
pub struct Group {
    location: Location,
    /// In the order of the location's groups; empty before they are made.
    directories: Vec<Directory>,
    begun: Begun,
    /// The groups that were made for it, including groups above it.
    made: Undo,
    /// How often the memory limit had killed before these groups were made or joined.
    former_kills: u64,
}

impl Group {
    pub(crate) fn new(location: Location, directories: Vec<Directory>, made: Undo) -> Self {
        let is_new = |(index, place): (usize, &Place)| {
            let mut made = made.iter();
            made.any(|(at, path)| *at == index && path == place.relative())
        };
        let are_new = location.groups.iter().enumerate().all(is_new);
        let mut group = Self {
            location,
            directories: Vec::new(),
            begun: Begun::Yes,
            made,
            former_kills: 0,
        };
        group.set_directories(directories);
        if !are_new {
            let memory = group.location.with_controller("memory");
            let mut open = group.location.groups.iter().zip(&group.directories);
            let found = open.find(|(place, _)| Some(*place) == memory);
            let kills = found.and_then(|(place, directory)| kills(directory, place.version));
            group.former_kills = kills.unwrap_or(0);
        }
        group
    }

    /// Groups that are made together with their first process.
    pub(crate) fn awaited(location: Location) -> Self {
        Self {
            location,
            directories: Vec::new(),
            begun: Begun::NotYet,
            made: Undo::new(),
            former_kills: 0,
        }
    }

    /// Whether the groups will be made around the first process, and do not exist yet.
    pub fn is_awaited(&self) -> bool {
        self.begun == Begun::NotYet
    }

    pub(crate) fn set_begun(&mut self, begun: Begun) {
        self.begun = begun;
    }

    /// From here on the location has the identity of the groups: a later group at the same path
    /// belongs to another container.
    pub(crate) fn set_directories(&mut self, directories: Vec<Directory>) {
        for (place, directory) in self.location.groups.iter_mut().zip(&directories) {
            place.inode = directory.inode().ok();
        }
        self.directories = directories;
    }

    /// Cleans up after a failed creation: kills the processes in the groups, then removes the
    /// groups and the unused groups above that were made for them. Does nothing if the groups were
    /// not made yet: a unit of that name then belongs to another container or service.
    ///
    /// # Errors
    /// What remains, and why.
    pub fn end(&self, deadline: Duration) -> Result<(), Error> {
        if self.begun != Begun::Yes || self.location.is_empty() {
            return Ok(());
        }
        self.location.signal_all(SIGKILL)?;
        self.location.remove(deadline)?;
        for (index, path) in self.made.iter().rev() {
            let place = &self.location.groups[*index];
            if path != place.relative()
                && let Some(root) = place.root()?
            {
                take_back(&root, path);
            }
        }
        Ok(())
    }

    pub(crate) fn open(location: &Location) -> Result<Self, Error> {
        let mut directories = Vec::with_capacity(location.groups.len());
        for place in &location.groups {
            let gone = || Error::about("open", &place.host_path())(Errno::ENOENT);
            directories.push(place.open()?.ok_or_else(gone)?);
        }
        let mut group = Self::new(location.clone(), directories, Undo::new());
        group.begun = Begun::Others;
        Ok(group)
    }

    /// Where the groups are.
    pub fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn directories(&self) -> &[Directory] {
        &self.directories
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            places: &self.location.groups,
            directories: &self.directories,
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Place, &Directory)> {
        self.location.groups.iter().zip(&self.directories)
    }

    /// The effects of the memory limit, if it has killed a process since these groups were made or
    /// joined.
    pub fn out_of_memory(&self) -> Result<Option<OutOfMemory>, Error> {
        let found = self.location.out_of_memory()?;
        Ok(found.filter(|memory| memory.kills > self.former_kills))
    }

    /// The v2 directory, for CLONE_INTO_CGROUP.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.each()
            .find(|(place, _directory)| place.version == Version::V2)
            .map(|(_place, directory)| directory.fd())
    }

    /// Moves the process `pid` (of the caller's PID namespace) to the groups that it is not in yet:
    /// one write for each v1 hierarchy, and one for v2 if the process did not start there.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        let text = pid.to_string();
        for (place, directory) in self.each() {
            if place.version == Version::V2 && is_member(directory, &text) {
                continue;
            }
            directory
                .write("cgroup.procs", &text)
                .map_err(|source| Error::Join {
                    pid,
                    group: directory.path().to_owned(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Compares the groups of `pid`, as the kernel reports them, with the location.
    ///
    /// # Errors
    /// [`Error::Misplaced`] with the group that the process is in.
    pub fn verify(&self, pid: i32) -> Result<(), Error> {
        if self.directories.is_empty() {
            return Ok(());
        }
        let text = read_proc(&format!("{pid}/cgroup"))?;
        for (place, directory) in self.each() {
            let found = path_in(&text, &place.controllers).unwrap_or_default();
            // If the mount's root is not the hierarchy's root (a container in a shared cgroup
            // namespace), the names differ, and the group's own list decides.
            let sub_group = self.location.unit.as_ref();
            let sub_group = sub_group.and_then(|unit| unit.sub_group.as_deref());
            let expected = match sub_group {
                Some(name) => &format!("{}/{name}", place.path),
                None => &place.path,
            };
            if found != expected && !is_member(directory, &pid.to_string()) {
                return Err(Error::Misplaced {
                    pid,
                    group: directory.path().to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn is_member(directory: &Directory, pid: &str) -> bool {
    directory
        .read("cgroup.procs")
        .is_ok_and(|list| list.lines().any(|line| line == pid))
}
