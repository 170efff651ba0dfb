//! The facts about the host that this crate collects before it decides anything.

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::directory::Directory;
use crate::hierarchy::{Hierarchy, MOUNT, detect};
use crate::name::{Base, GroupName, levels};
use crate::plan::{Request, path_of};
use crate::resources::page_sizes;
use crate::systemd::{Bus, Instance, Systemd, Wish, is_booted};
use crate::{Error, Location, Manager, Place, Version};

/// The host's layout of control groups, and who manages them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The hierarchies in which a container's group can be. On hybrid hosts the unified one comes
    /// first.
    pub hierarchies: Vec<Hierarchy>,
    /// Sizes of huge pages, named as in hugetlb's files: "2MB".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub page_sizes: Vec<String>,
    /// The systemd that makes scopes; `None`: systemd does not run on this host, or it was not
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Systemd>,
}

/// What was opened to collect the facts, for [`Plan::open`](crate::Plan::open).
#[derive(Debug, Default)]
pub struct Found {
    /// The connection to systemd, if there is one.
    pub(crate) bus: Bus,
    /// The roots of the hierarchies.
    pub(crate) roots: Vec<(Version, Directory)>,
}

impl Found {
    /// The root of the hierarchy that has this group, opened now if it was not before.
    pub(crate) fn root_of(&mut self, place: &Place) -> Result<Directory, Error> {
        let mount = Path::new(MOUNT).join(&place.hierarchy);
        let is_it = |(version, root): &(Version, Directory)| {
            *version == place.version && root.path() == mount
        };
        match self.roots.iter().position(is_it) {
            Some(index) => Ok(self.roots.swap_remove(index).1),
            None => place.root()?.ok_or_else(|| Error::NotMounted {
                path: place.host_path(),
            }),
        }
    }
}

impl Facts {
    /// Collects the facts that the plan of `request` depends on. Returns what it has opened, too.
    ///
    /// # Errors
    /// A malformed `linux.cgroupsPath`; a systemd that runs but does not answer; a hierarchy that
    /// is there and cannot be read.
    pub fn probe(request: &Request<'_>) -> Result<(Self, Found), Error> {
        let resources = &request.container.resources;
        let mut facts = Self::default();
        if !resources.hugepage_limits.is_empty() {
            facts.page_sizes = page_sizes();
        }
        let path = request.container.cgroups_path.as_deref();
        let mut found = Found::default();
        let name = match request.manager {
            Manager::Disabled => None,
            Manager::Cgroupfs => Some(GroupName::parse(path, request.id)?),
            Manager::Systemd => {
                let instance = request.instance();
                Wish::lower(request.container, request.id, instance)?;
                facts.hierarchies = detect()?.into_iter().map(|(found, _root)| found).collect();
                // Before systemd is asked, whose answer would not matter.
                if is_booted() {
                    facts.refuse_v1()?;
                }
                (facts.systemd, found.bus) = Systemd::ask(instance)?;
                return Ok((facts, found));
            }
        };
        for (mut hierarchy, root) in detect()? {
            let counts_from_caller = name.as_ref().is_none_or(|name| name.base == Base::Caller);
            if counts_from_caller || request.rootless {
                hierarchy.find_own_group(&root)?;
            }
            if let Some(name) = name.as_ref().filter(|_| request.rootless)
                && let Ok(path) = path_of(&hierarchy, name)
            {
                hierarchy.look_at(&root, &path);
            }
            found.roots.push((hierarchy.version, root));
            facts.hierarchies.push(hierarchy);
        }
        Ok((facts, found))
    }

    /// Collects the facts that a process depends on that joins the groups of `location`. Only in
    /// the scope of an ordinary user's systemd it matters what the caller may do.
    ///
    /// # Errors
    /// A hierarchy is there and cannot be read.
    pub fn probe_joining(location: &Location) -> Result<Self, Error> {
        let mut facts = Self::default();
        let Some(Instance::User) = location.unit.as_ref().map(|unit| unit.instance) else {
            return Ok(facts);
        };
        for (mut hierarchy, root) in detect()? {
            hierarchy.find_own_group(&root)?;
            for place in &location.groups {
                hierarchy.look_at(&root, &place.path);
            }
            facts.hierarchies.push(hierarchy);
        }
        Ok(facts)
    }

    /// Refuses cgroup v1 for the systemd manager: systemd has none since version 258.
    pub(crate) fn refuse_v1(&self) -> Result<(), Error> {
        let mut hierarchies = self.hierarchies.iter();
        match hierarchies.find(|hierarchy| hierarchy.version == Version::V1) {
            None => Ok(()),
            Some(hierarchy) => Err(Error::LegacyHierarchy {
                path: hierarchy.path(),
            }),
        }
    }

    /// Collects all facts that do not depend on a container. A systemd that does not answer is left
    /// out.
    ///
    /// # Errors
    /// A hierarchy is there and cannot be read.
    pub fn probe_all() -> Result<Self, Error> {
        let (instance, is_root) = match geteuid().is_root() {
            true => (Instance::System, true),
            false => (Instance::User, false),
        };
        let systemd = Systemd::ask(instance).map_or(None, |(systemd, _bus)| systemd);
        let mut hierarchies = Vec::new();
        for (mut hierarchy, root) in detect()? {
            hierarchy.find_own_group(&root)?;
            let own = hierarchy.own_group.clone().unwrap_or_default();
            for path in levels(&own).filter(|_| !is_root) {
                hierarchy.look_at(&root, path);
            }
            hierarchies.push(hierarchy);
        }
        Ok(Self {
            hierarchies,
            page_sizes: page_sizes(),
            systemd,
        })
    }
}
