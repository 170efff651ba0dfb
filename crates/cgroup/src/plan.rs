//! Plans where a container's groups will be, and makes them.
//!
//! Lowering decides with the host's facts. Creating makes one directory for each hierarchy, refuses
//! a group that is in use or frozen, and removes what it made if a step fails.

use kernel::Errno;
use kernel::attribute::random;
use spec::container::{Namespace, NamespaceKind, Resources};
use spec::{Code, Container, Diagnostic};

use crate::device::{Devices, Refusal};
use crate::directory::{Directory, Made};
use crate::facts::{Facts, Found};
use crate::hierarchy::{Hierarchy, MOUNT};
use crate::name::{Base, GroupName};
use crate::resources::{self, Controllers, Limit, Target, Value};
use crate::systemd::{Bus, Instance, Scope};
use crate::{Error, Group, Location, Manager, Place, Version};

mod describe;
mod prepare;
mod scope;

use prepare::{check_v1, check_v2};

/// The input of [`Plan::lower`].
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The configuration.
    pub container: &'a Container,
    /// The container's id, which names the group when the configuration does not.
    pub id: &'a str,
    /// The manager that makes the groups.
    pub manager: Manager,
    /// Whether the caller is in a user namespace other than the initial one or has another
    /// effective uid than 0: then groups that it may not create are left out, if no limit needs
    /// them.
    pub rootless: bool,
    /// Whether the container's cgroup mount is writable.
    pub writable: bool,
}

impl Request<'_> {
    /// The systemd that manages the unit: an ordinary user's, or the host's.
    pub(crate) fn instance(&self) -> Instance {
        match self.rootless {
            true => Instance::User,
            false => Instance::System,
        }
    }
}

/// The groups of one container, before they are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    location: Location,
    /// In the order in which they will be written.
    limits: Vec<Limit>,
    /// Device rules, and the index of the group that they apply to.
    devices: Option<(usize, Devices)>,
    refusal: Refusal,
    /// The host's v2 controllers.
    available: Vec<String>,
    /// The owner of the v2 group: the container's root, if the container may have its own
    /// sub-groups.
    owner: Option<u32>,
    /// The scope that systemd makes; `None`: locule makes the groups.
    scope: Option<Scope>,
    /// How the process gets into the groups, if they are those of a running container.
    joins: Option<Joining>,
}

/// How one more process gets into the groups of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// The caller may move processes there.
    ByCaller,
    /// Their owner systemd moves it: the caller runs in another session of the same user.
    BySystemd,
}

/// The descriptors that a plan needs, opened before the first group is made.
#[derive(Debug)]
pub struct Handles {
    location: Location,
    /// The roots of the hierarchies, in the order of the location's groups; none for groups that
    /// exist.
    roots: Vec<Directory>,
    /// The connection to systemd.
    bus: Bus,
}

impl Handles {
    /// Where the groups will be, with the mark of this creation. Save it before [`Plan::create`]
    /// makes the first of them.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

/// The groups that a call of [`Plan::create`] has made, so that they can be removed again: the
/// index of the hierarchy and the path in it.
pub(crate) type Undo = Vec<(usize, String)>;

/// The missing part of a new group: the device program of cgroup v2, for [`Plan::restrict`].
#[derive(Debug)]
#[must_use]
pub struct Unrestricted(Option<usize>);

impl Plan {
    /// Decides where the groups will be.
    ///
    /// # Errors
    /// A bad path, a host without cgroups, or a limit that an ordinary user cannot set; each names
    /// the property.
    pub fn lower(request: &Request<'_>, facts: &Facts) -> Result<Self, Error> {
        let container = request.container;
        let path = container.cgroups_path.as_deref();
        match request.manager {
            Manager::Disabled => Ok(Self::without_groups(Manager::Disabled, facts)),
            Manager::Systemd => Self::lower_scope(request, facts),
            Manager::Cgroupfs => {
                let name = GroupName::parse(path, request.id)?;
                Self::lower_cgroupfs(request, facts, &name)
            }
        }
    }

    fn lower_cgroupfs(
        request: &Request<'_>,
        facts: &Facts,
        name: &GroupName,
    ) -> Result<Self, Error> {
        let mut plan = Self::empty(request);
        let mut left_out = false;
        if facts.hierarchies.is_empty() && !request.rootless {
            return Err(Error::NotMounted { path: MOUNT.into() });
        }
        for hierarchy in &facts.hierarchies {
            let path = match path_of(hierarchy, name) {
                Err(error @ Error::OwnGroupHidden { .. }) if request.rootless => {
                    tracing::debug!("skipped: {error}");
                    left_out = true;
                    continue;
                }
                answer => answer?,
            };
            let mut place = Place::of(hierarchy, &path);
            if request.rootless && !hierarchy.is_permitted(&path) {
                tracing::debug!("no permission for cgroup {:?}: skipped", place.host_path());
                left_out = true;
                continue;
            }
            // An ordinary user can mark only groups of v2.
            if !request.rootless || hierarchy.version == Version::V2 {
                place.mark = Some(format!("{}/", request.id));
            }
            plan.location.groups.push(place);
        }
        if plan.location.groups.is_empty() {
            if resources::is_limited(&request.container.resources) {
                return Err(no_access().into());
            }
            return Ok(Self::without_groups(Manager::Cgroupfs, facts));
        }
        match plan.lower_resources(&request.container.resources, facts) {
            Err(problem) if left_out && problem.code == Code::Host => Err(no_access().into()),
            answer => answer.map(|()| plan).map_err(Error::from),
        }
    }

    /// The groups of a running container, which one more process joins.
    pub fn join(location: Location, facts: &Facts) -> Self {
        let forbids = |hierarchy: &Hierarchy| {
            let mut places = location.groups.iter();
            places.any(|place| {
                place.hierarchy == hierarchy.name && !hierarchy.is_permitted(&place.path)
            })
        };
        // Where systemd has no unit to move it to, the kernel refuses the caller with a reason.
        let joining = match location.unit.is_some() && facts.hierarchies.iter().any(forbids) {
            true => Joining::BySystemd,
            false => Joining::ByCaller,
        };
        Self {
            joins: Some(joining),
            ..Self::at(location)
        }
    }

    /// Nothing is done to the groups there.
    fn at(location: Location) -> Self {
        Self {
            location,
            limits: Vec::new(),
            devices: None,
            refusal: Refusal::Fails,
            available: Vec::new(),
            owner: None,
            scope: None,
            joins: None,
        }
    }

    /// No groups yet.
    fn empty(request: &Request<'_>) -> Self {
        Self {
            refusal: match request.rootless {
                true => Refusal::IsIgnored,
                false => Refusal::Fails,
            },
            owner: owner(request),
            ..Self::at(Location::none(request.manager))
        }
    }

    fn lower_resources(&mut self, resources: &Resources, facts: &Facts) -> Result<(), Diagnostic> {
        let unified = self.location.unified();
        let unified = facts
            .hierarchies
            .iter()
            .find(|hierarchy| unified.is_some_and(|place| place.hierarchy == hierarchy.name));
        let available = unified.map(|hierarchy| hierarchy.available.clone());
        let controllers = Controllers::of(
            &self.location.groups,
            available.unwrap_or_default(),
            facts.page_sizes.clone(),
        );
        let lowered = resources::lower(resources, &controllers)?;
        for warning in &lowered.warnings {
            tracing::warn!("{warning}");
        }
        self.limits = lowered.limits;
        // A new group has the out-of-memory killer, and newer kernels warn about this file.
        let is_default =
            |limit: &Limit| limit.file == "memory.oom_control" && limit.value == Value::Number(0);
        self.limits.retain(|limit| !is_default(limit));
        self.devices = self.lower_devices(resources)?;
        self.available = controllers.v2;
        Ok(())
    }

    /// The v1 hierarchy for devices decides if there is one, else v2 does.
    fn lower_devices(&self, resources: &Resources) -> Result<Option<(usize, Devices)>, Diagnostic> {
        let groups = &self.location.groups;
        if let Some(index) = groups
            .iter()
            .position(|place| place.has_controller("devices"))
        {
            return Ok(Some((index, Devices::lower_v1(resources)?)));
        }
        let unified = groups.iter().position(|place| place.version == Version::V2);
        Ok(unified.map(|index| (index, Devices::lower_v2(resources))))
    }

    /// The container stays in the runtime's groups.
    fn without_groups(manager: Manager, facts: &Facts) -> Self {
        let inherited = facts.hierarchies.iter().filter_map(|hierarchy| {
            let own = hierarchy.own_group.as_deref()?;
            Some(Place::of(hierarchy, own))
        });
        Self::at(Location {
            inherited: inherited.collect(),
            ..Location::none(manager)
        })
    }

    /// Opens the hierarchies, and chooses the mark of this creation. `found` is from
    /// [`Facts::probe`].
    ///
    /// # Errors
    /// A hierarchy is no longer mounted, or the kernel has no random number.
    pub fn open(&self, mut found: Found) -> Result<Handles, Error> {
        let mut location = self.location.clone();
        if self.joins.is_some() {
            return Ok(Handles {
                location,
                roots: Vec::new(),
                bus: found.bus,
            });
        }
        let mut number = None;
        for mark in location
            .groups
            .iter_mut()
            .filter_map(|place| place.mark.as_mut())
        {
            let number = match number {
                Some(number) => number,
                None => *number.insert(random().map_err(Error::Random)?),
            };
            mark.push_str(&format!("{number:016x}"));
        }
        let groups = location.groups.iter();
        let roots = groups.map(|place| found.root_of(place));
        let roots = roots.collect::<Result<_, _>>()?;
        Ok(Handles {
            location,
            roots,
            bus: found.bus,
        })
    }

    /// Where the groups will be. The mark here is the part that all creations of this id have in
    /// common.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether a process cannot be created in the groups, but has to be moved there: into a group
    /// of cgroup v1, or by systemd.
    pub fn moves_in(&self) -> bool {
        let is_v1 = |group: &Place| group.version == Version::V1;
        self.scope.is_some()
            || self.joins == Some(Joining::BySystemd)
            || self.location.groups.iter().any(is_v1)
    }

    /// Makes the groups, except for a scope: systemd makes that one around its first process, in
    /// [`Self::admit`]. If a step fails, nothing remains.
    ///
    /// # Errors
    /// [`Error::Occupied`], [`Error::Frozen`] and [`Error::PassesOn`] about a group that existed
    /// before; errors of the kernel.
    pub fn create(&self, handles: &Handles) -> Result<Group, Error> {
        self.create_and(handles, |group, left| {
            self.restrict(&group, left).map(|()| group)
        })
    }

    /// As [`Self::create`], without the device program of cgroup v2: the kernel needs a long time
    /// to check it. A process that only does what every program allows (make nodes, use the default
    /// ones) can work during that time.
    pub fn create_unrestricted(&self, handles: &Handles) -> Result<(Group, Unrestricted), Error> {
        self.create_and(handles, |group, left| Ok((group, left)))
    }

    /// Adds the device program that [`Self::create_unrestricted`] left out.
    pub fn restrict(&self, group: &Group, left: Unrestricted) -> Result<(), Error> {
        let (Some(index), Some((_index, devices))) = (left.0, &self.devices) else {
            return Ok(());
        };
        match group.target().directories.get(index) {
            Some(directory) => devices.apply(directory, Made::New, self.refusal),
            None => Ok(()),
        }
    }

    fn create_and<T>(
        &self,
        handles: &Handles,
        finish: impl FnOnce(Group, Unrestricted) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let awaited = || Group::awaited(handles.location.clone());
        match self.joins {
            Some(Joining::ByCaller) => return finish(self.location.open()?, Unrestricted(None)),
            Some(Joining::BySystemd) => return finish(awaited(), Unrestricted(None)),
            None if self.scope.is_some() => return finish(awaited(), Unrestricted(None)),
            None => {}
        }
        let mut undo = Undo::new();
        let made = self.create_or_leave(handles, &mut undo);
        let finished = made.and_then(|(directories, left)| {
            let group = Group::new(handles.location.clone(), directories, undo.clone());
            finish(group, left)
        });
        finished.inspect_err(|_error| {
            for (index, path) in undo.iter().rev() {
                take_back(&handles.roots[*index], path);
            }
        })
    }

    /// Checks whether [`Plan::create`] would refuse a group that exists, and changes nothing. Call
    /// it before the location is saved: from then on the processes in the groups count as the
    /// container's own, and are killed with it.
    ///
    /// # Errors
    /// As [`Plan::create`]: a group is occupied, frozen, threaded or passes controllers on.
    pub fn look_for_others(&self, handles: &Handles) -> Result<(), Error> {
        for (place, root) in self.location.groups.iter().zip(&handles.roots) {
            match (place.find_below(root)?, place.version) {
                (Some(group), Version::V2) => check_v2(&group, Made::Existing)?,
                (Some(group), Version::V1) => check_v1(place, &group, Made::Existing)?,
                (None, _) => {}
            }
        }
        match &self.scope {
            Some(scope) => scope.look_for_others(&handles.bus),
            None => Ok(()),
        }
    }

    fn create_or_leave(
        &self,
        handles: &Handles,
        undo: &mut Undo,
    ) -> Result<(Vec<Directory>, Unrestricted), Error> {
        let mut left = Unrestricted(None);
        let places = &handles.location.groups;
        let mut directories = Vec::with_capacity(places.len());
        for (index, (place, root)) in places.iter().zip(&handles.roots).enumerate() {
            let mut note = |path: &str| undo.push((index, path.to_owned()));
            let (directory, made) = make(root, place.relative(), &mut note)?;
            self.prepare(index, (place, root), &directory, made)?;
            if let Some(devices) = self.devices_at(index) {
                // An existing group may have conflicting rules.
                if (place.version, made) == (Version::V2, Made::New) {
                    left.0 = Some(index);
                } else {
                    devices.apply(&directory, made, self.refusal)?;
                }
            }
            directories.push(directory);
        }
        let target = Target {
            places,
            directories: &directories,
        };
        resources::apply(&self.limits, target)?;
        // Do this last: a failed creation must not take over a group.
        for (place, directory) in places.iter().zip(&directories) {
            if let Some(mark) = &place.mark {
                directory.set_mark(mark).map_err(directory.failed("mark"))?;
            }
        }
        Ok((directories, left))
    }

    /// The device rules, if they apply to this group.
    fn devices_at(&self, index: usize) -> Option<&Devices> {
        let (at, devices) = self.devices.as_ref()?;
        (*at == index).then_some(devices)
    }
}

/// The path of the group `name` in `hierarchy`.
pub(crate) fn path_of(hierarchy: &Hierarchy, name: &GroupName) -> Result<String, Error> {
    let mut path = match (name.base, hierarchy.version) {
        (Base::Mount, _) => "",
        (Base::Caller, Version::V1) => hierarchy.own_group()?,
        (Base::Caller, Version::V2) => {
            let own = hierarchy.own_group()?;
            own.rsplit_once('/').map_or("", |(above, _name)| above)
        }
    }
    .trim_end_matches('/')
    .to_owned();
    for component in &name.components {
        path.push('/');
        path.push_str(component);
    }
    Ok(path)
}

/// Removes a group that was made for a failed creation, unless others use it now.
pub(crate) fn take_back(root: &Directory, path: &str) {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let removed = root
        .open_below(above)
        .and_then(|parent| parent.remove(name));
    if let Err(errno) = removed {
        tracing::debug!("remove cgroup {path:?} of {:?}: {errno}", root.path());
    }
}

/// Makes the group `relative` below `root`, and the missing groups above it. Reports each group
/// that it has made.
fn make(
    root: &Directory,
    relative: &str,
    note: &mut dyn FnMut(&str),
) -> Result<(Directory, Made), Error> {
    let (above, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    let opened;
    let parent = if above.is_empty() {
        root
    } else {
        opened = match root.open_below(above) {
            Err(Errno::ENOENT) => make(root, above, note)?.0,
            answer => answer.map_err(Error::about("open", &root.path().join(above)))?,
        };
        &opened
    };
    let failed = |errno| Error::about("make", &root.path().join(relative))(errno);
    let made = parent.make(name).map_err(failed)?;
    if made == Made::New {
        note(relative);
    }
    Ok((parent.open_below(name).map_err(failed)?, made))
}

/// The host's uid of the container's root, if the container manages its own sub-groups: it has a
/// user and a cgroup namespace, and a writable cgroup mount.
fn owner(request: &Request<'_>) -> Option<u32> {
    let container = request.container;
    if !request.writable || container.namespaces[NamespaceKind::Cgroup] != Namespace::New {
        return None;
    }
    let root = container
        .uid_mappings
        .iter()
        .find(|map| map.container == 0)?;
    (root.host != 0).then_some(root.host)
}

fn no_access() -> Diagnostic {
    Diagnostic::new(
        Code::Host,
        "/linux/resources",
        "limits need cgroup access, and this user may not create a cgroup",
    )
    .hint("run in a delegated cgroup (`systemd-run --user --scope -p Delegate=yes`), or set no limits")
}
