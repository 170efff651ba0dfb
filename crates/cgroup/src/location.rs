//! The location of a container's groups, as the state keeps it, and the part of it that the
//! container sees.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::directory::{Author, Directory};
use crate::hierarchy::{Hierarchy, MOUNT, open_root, path_in, read_proc};
use crate::{Error, Group, Manager, Unit, Version, name};
use kernel::Errno;
use spec::Diagnostic;

/// A group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The hierarchy's interface.
    pub version: Version,
    /// The hierarchy's directory below /sys/fs/cgroup; empty on a pure v2 host.
    pub hierarchy: String,
    /// The hierarchy's controllers as /proc/PID/cgroup lists them ("cpu,cpuacct"); empty for v2.
    pub controllers: String,
    /// The group below the hierarchy's root, with a leading slash.
    pub path: String,
    /// The inode of the group's directory, once it is known: a directory with another inode at that
    /// path belongs to another container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// The group's mark for this creation: `ID/NUMBER`. A later creation that takes over the empty
    /// group writes another mark. `None`: systemd owns the group, or the caller cannot mark it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// The path where the container's first process was seen, if that is this group or one below:
    /// see [`Location::hold`].
    #[serde(skip)]
    pub first: Option<String>,
}

/// The owner of the group at a recorded path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The container.
    Own,
    /// Perhaps the container: its runtime ended before it recorded the group. No program of the
    /// container is in it.
    Unknown,
    /// Another one: the group was made or taken over later.
    Other,
}

/// Where a container's groups are, or will be; known before any of them is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Who makes and owns the groups.
    pub manager: Manager,
    /// The container's own groups, one in each hierarchy; none if it stays in the runtime's groups.
    pub groups: Vec<Place>,
    /// The runtime's groups, if the container has no groups of its own. They are only read, never
    /// changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<Place>,
    /// The scope that owns the group; `None`: not a group of systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Place {
    /// The group at `path` of a hierarchy.
    pub(crate) fn of(hierarchy: &Hierarchy, path: &str) -> Self {
        Self {
            version: hierarchy.version,
            hierarchy: hierarchy.name.clone(),
            controllers: hierarchy.controllers.clone(),
            path: path.to_owned(),
            inode: None,
            mark: None,
            first: None,
        }
    }

    /// The group's directory.
    pub fn host_path(&self) -> PathBuf {
        Path::new(MOUNT).join(&self.hierarchy).join(self.relative())
    }

    /// The path below the hierarchy's root without the leading slash.
    pub(crate) fn relative(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The relative paths of the group above and the last name.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.relative()
            .rsplit_once('/')
            .unwrap_or(("", self.relative()))
    }

    /// The root of the hierarchy; `None` if it is no longer mounted.
    pub(crate) fn root(&self) -> Result<Option<Directory>, Error> {
        let path = Path::new(MOUNT).join(&self.hierarchy);
        match open_root(&self.hierarchy).map_err(Error::about("open", &path))? {
            Some((root, version)) if version == self.version => Ok(Some(root)),
            Some((root, _other)) => Err(Error::Foreign {
                path: root.path().to_owned(),
            }),
            None => Ok(None),
        }
    }

    /// The group's directory; `None` if it is gone, or cannot be proven to be the container's.
    pub(crate) fn open(&self) -> Result<Option<Directory>, Error> {
        match self.find()? {
            Some(group) if self.owner(&group)? == Owner::Own => Ok(Some(group)),
            _ => Ok(None),
        }
    }

    /// A container that owns its group can change a mark of an ordinary user. So such a mark proves
    /// nothing without the record: the inode, or the container's first process in the group.
    pub(crate) fn owner(&self, directory: &Directory) -> Result<Owner, Error> {
        let failed = |action| directory.failed(action);
        let is_recorded = self.inode.is_some();
        if let Some(recorded) = self.inode
            && directory.inode().map_err(failed("look at"))? != recorded
        {
            return Ok(Owner::Other);
        }
        let Some(own) = self.mark.as_ref().filter(|_mark| self.first.is_none()) else {
            return Ok(Owner::Own);
        };
        let mark = directory.mark();
        Ok(match mark.map_err(failed("read the mark of"))? {
            Some((found, _)) if !found.starts_with(own) => Owner::Other,
            Some((_, Author::Privileged)) => Owner::Own,
            Some((_, Author::Anyone)) | None if is_recorded => Owner::Own,
            Some((_, Author::Anyone)) | None => Owner::Unknown,
        })
    }

    /// Whether its path now has a group that was made or taken over later.
    pub(crate) fn is_taken(&self) -> Result<bool, Error> {
        if self.inode.is_none() && self.mark.is_none() {
            return Ok(false);
        }
        match self.find()? {
            Some(group) => Ok(self.owner(&group)? == Owner::Other),
            None => Ok(false),
        }
    }

    /// The group at the path, with any owner.
    pub(crate) fn find(&self) -> Result<Option<Directory>, Error> {
        self.check()?;
        match self.root()? {
            Some(root) => self.find_below(&root),
            None => Ok(None),
        }
    }

    /// The group at the path, with any owner, in the hierarchy of this root.
    pub(crate) fn find_below(&self, root: &Directory) -> Result<Option<Directory>, Error> {
        match root.open_below(self.relative()) {
            Ok(group) => Ok(Some(group)),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(Error::about("open", &self.host_path())(errno)),
        }
    }

    fn descend(&mut self, names: &[String]) {
        for name in names {
            self.path.push('/');
            self.path.push_str(name);
            (self.inode, self.mark, self.first) = (None, None, None);
        }
    }

    /// State files are not trusted: a group is never the root, and its path never contains "..".
    pub(crate) fn check(&self) -> Result<(), Error> {
        let names = name::components(&self.path)?;
        if names.is_empty() || self.hierarchy.contains('/') || self.hierarchy == ".." {
            return Err(Error::Foreign {
                path: self.host_path(),
            });
        }
        Ok(())
    }

    /// Whether `controller` is among this v1 hierarchy's.
    pub(crate) fn has_controller(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }
}

impl Location {
    /// Notes where in the groups the living process `first` is, which is the container's. Then the
    /// groups are the container's own, whatever their marks say: no creation takes over a group
    /// that has a process.
    ///
    /// # Errors
    /// The kernel's list of its groups cannot be read. A process that has ended is in no group.
    pub fn hold(&mut self, first: i32) -> Result<(), Error> {
        let text = match read_proc(&format!("{first}/cgroup")) {
            Err(Error::Read {
                source: Errno::ENOENT | Errno::ESRCH,
                ..
            }) => String::new(),
            answer => answer?,
        };
        for place in &mut self.groups {
            let is_below = |path: &&str| {
                let below = path.strip_prefix(&*place.path);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            };
            let path = path_in(&text, &place.controllers).filter(is_below);
            place.first = path.map(str::to_owned);
        }
        Ok(())
    }

    /// The paths whose groups another container has made or taken over since.
    pub(crate) fn taken(&self) -> Result<Vec<PathBuf>, Error> {
        let mut taken = Vec::new();
        for place in &self.groups {
            if place.is_taken()? {
                taken.push(place.host_path());
            }
        }
        Ok(taken)
    }

    /// The paths at which there are groups, with any owner.
    pub fn present(&self) -> Result<Vec<PathBuf>, Error> {
        let mut present = Vec::new();
        for place in &self.groups {
            if place.find()?.is_some() {
                present.push(place.host_path());
            }
        }
        Ok(present)
    }

    /// Whether the container has no group of its own.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups, opened, for a process that joins them.
    ///
    /// # Errors
    /// A group no longer exists.
    pub fn open(&self) -> Result<Group, Error> {
        Group::open(self)
    }

    /// No group: the process stays in the runtime's groups.
    pub fn none(manager: Manager) -> Self {
        Self {
            manager,
            groups: Vec::new(),
            inherited: Vec::new(),
            unit: None,
        }
    }

    /// As [`Self::below`], only for the hierarchies of these controllers.
    ///
    /// # Errors
    /// As there; [`Error::NoController`].
    pub fn below_for(&self, controllers: &[&str], sub_group: &str) -> Result<Self, Error> {
        let names = sub_group_names(sub_group)?;
        let mut location = self.clone();
        for controller in controllers {
            let place = location
                .groups
                .iter_mut()
                .find(|place| !controller.is_empty() && place.has_controller(controller))
                .ok_or_else(|| Error::NoController {
                    controller: (*controller).to_owned(),
                })?;
            place.descend(&names);
        }
        Ok(location)
    }

    /// The same location one or more levels deeper, for a process that joins a sub-group.
    ///
    /// # Errors
    /// `sub_group` contains `..` or invalid bytes; it cannot lead out of the container's own group.
    pub fn below(&self, sub_group: &str) -> Result<Self, Error> {
        let mut location = self.clone();
        let names = sub_group_names(sub_group)?;
        for place in &mut location.groups {
            place.descend(&names);
        }
        Ok(location)
    }

    /// The same location, but in the groups where the container's first process was seen. An init
    /// that manages its own groups moves itself to a sub-group; then the container's group accepts
    /// no process (EBUSY). In hierarchies where the process is not below the container's group, the
    /// location does not change.
    pub fn of_first(&self) -> Self {
        let mut location = self.clone();
        for place in &mut location.groups {
            let path = place.first.take_if(|path| *path != place.path);
            if let Some(path) = path.filter(|path| name::components(path).is_ok()) {
                place.path = path;
                (place.inode, place.mark) = (None, None);
            }
        }
        location
    }

    /// The one group of a v2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Place> {
        self.groups
            .iter()
            .find(|place| place.version == Version::V2)
    }

    /// The group that `controller` acts on: that of its v1 hierarchy if there is one (other tools
    /// on such hosts read it), else v2's.
    pub fn with_controller(&self, controller: &str) -> Option<&Place> {
        self.v1(controller).or_else(|| self.unified())
    }

    /// [`Self::with_controller`], opened. `None`: there is none, or it is gone.
    pub(crate) fn open_with(
        &self,
        controller: &str,
    ) -> Result<Option<(Directory, Version)>, Error> {
        let Some(place) = self.with_controller(controller) else {
            return Ok(None);
        };
        Ok(place.open()?.map(|group| (group, place.version)))
    }

    /// The group of the v1 hierarchy that has `controller`.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Place> {
        self.groups
            .iter()
            .find(|place| place.version == Version::V1 && place.has_controller(controller))
    }
}

/// One v1 hierarchy as a container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HierarchyMount {
    /// The name of its mount point, as "cpu,cpuacct" or "systemd".
    pub directory: String,
    /// The options that mount it: "cpu,cpuacct" or "none,name=systemd".
    pub options: String,
    /// The container's own group on the host.
    pub group: PathBuf,
}

/// The content of a mount of type `cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupMount {
    /// The unified hierarchy.
    V2 {
        /// The container's own group on the host.
        group: PathBuf,
    },
    /// A directory with a mount for each hierarchy.
    V1 {
        /// The hierarchies that have controllers or a name.
        hierarchies: Vec<HierarchyMount>,
        /// The container's own group in the unified hierarchy of a hybrid host.
        unified: Option<PathBuf>,
    },
}

/// The content for the container's `cgroup` mounts. `V1` without hierarchies: the host has none.
pub fn mount_view(location: &Location) -> CgroupMount {
    let places = if location.groups.is_empty() {
        &location.inherited
    } else {
        &location.groups
    };
    let unified = places.iter().find(|place| place.version == Version::V2);
    if let Some(place) = unified.filter(|place| place.hierarchy.is_empty()) {
        return CgroupMount::V2 {
            group: place.host_path(),
        };
    }
    let v1 = places.iter().filter(|place| place.version == Version::V1);
    CgroupMount::V1 {
        hierarchies: v1.map(hierarchy_mount).collect(),
        unified: unified.map(Place::host_path),
    }
}

fn hierarchy_mount(place: &Place) -> HierarchyMount {
    let options = if place.controllers.starts_with("name=") {
        format!("none,{}", place.controllers)
    } else {
        place.controllers.clone()
    };
    HierarchyMount {
        directory: place.hierarchy.clone(),
        options,
        group: place.host_path(),
    }
}

/// The names of a path that an option gives: no property of the configuration is to blame.
fn sub_group_names(path: &str) -> Result<Vec<String>, Error> {
    name::components(path).map_err(|problem| {
        Error::SubGroup(Diagnostic {
            pointer: String::new(),
            ..problem
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, hierarchy: &str, controllers: &str) -> Place {
        Place {
            version,
            hierarchy: hierarchy.to_owned(),
            controllers: controllers.to_owned(),
            path: "/a/b".to_owned(),
            inode: None,
            mark: None,
            first: None,
        }
    }

    fn location(groups: Vec<Place>) -> Location {
        Location {
            manager: Manager::Cgroupfs,
            groups,
            inherited: Vec::new(),
            unit: None,
        }
    }

    #[test]
    fn a_v2_host_shows_one_mount() {
        let location = location(vec![place(Version::V2, "", "")]);
        let group = PathBuf::from("/sys/fs/cgroup/a/b");
        assert_eq!(mount_view(&location), CgroupMount::V2 { group });
    }

    #[test]
    fn a_hybrid_host_shows_every_hierarchy_with_its_options() {
        let location = location(vec![
            place(Version::V2, "unified", ""),
            place(Version::V1, "cpu,cpuacct", "cpu,cpuacct"),
            place(Version::V1, "systemd", "name=systemd"),
        ]);
        let CgroupMount::V1 {
            hierarchies,
            unified,
        } = mount_view(&location)
        else {
            panic!("a hybrid host is v1");
        };
        assert_eq!(unified, Some(PathBuf::from("/sys/fs/cgroup/unified/a/b")));
        let seen: Vec<_> = hierarchies
            .iter()
            .map(|mount| (&*mount.directory, &*mount.options))
            .collect();
        assert_eq!(
            seen,
            [
                ("cpu,cpuacct", "cpu,cpuacct"),
                ("systemd", "none,name=systemd")
            ]
        );
    }

    #[test]
    fn a_location_survives_its_json_form() {
        let location = location(vec![place(Version::V1, "memory", "memory")]);
        let text = serde_json::to_string(&location).unwrap();
        assert_eq!(serde_json::from_str::<Location>(&text).unwrap(), location);
    }

    #[test]
    fn a_sub_group_cannot_leave_the_group() {
        let location = location(vec![place(Version::V2, "", "")]);
        assert_eq!(location.below("x//y/").unwrap().groups[0].path, "/a/b/x/y");
        assert_eq!(location.below("/").unwrap(), location);
        assert!(location.below("../c").is_err());
        assert!(location.below("x/../../c").is_err());
    }

    #[test]
    fn a_forged_state_does_not_name_the_root() {
        for path in ["", "/", "/../x", "//."] {
            let mut forged = place(Version::V2, "", "");
            forged.path = path.to_owned();
            assert!(forged.open().is_err(), "{path:?}");
        }
        let mut forged = place(Version::V2, "../../proc", "");
        forged.path = "/a".to_owned();
        assert!(forged.open().is_err());
    }
}
