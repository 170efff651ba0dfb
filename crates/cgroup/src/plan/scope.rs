//! A group that systemd makes: planned like any other, and made around the container's first
//! process.

use super::prepare::delegate;
use super::{Handles, Joining, Plan, Request};
use crate::directory::{Directory, Made};
use crate::facts::Facts;
use crate::group::Begun;
use crate::resources;
use crate::systemd::{Scope, Wish, not_booted};
use crate::{Error, Group, Place};

impl Plan {
    pub(super) fn lower_scope(request: &Request<'_>, facts: &Facts) -> Result<Self, Error> {
        let wish = Wish::lower(request.container, request.id, request.instance())?;
        let systemd = facts.systemd.as_ref().ok_or_else(not_booted)?;
        facts.refuse_v1()?;
        let mut scope = Scope::lower(wish, systemd);
        let mut plan = Self::empty(request);
        let places = facts.hierarchies.iter();
        plan.location.groups = places.map(|found| Place::of(found, &scope.path)).collect();
        plan.location.unit = Some(scope.unit.clone());
        plan.lower_resources(&request.container.resources, facts)?;
        scope.limit(
            &plan.limits,
            plan.devices.as_ref().map(|(_at, devices)| devices),
        );
        plan.scope = Some(scope);
        Ok(plan)
    }

    /// Brings the waiting process `pid` into `group`: moves it there, lets systemd move it, or asks
    /// systemd to make the group around it. Then sets what systemd has no property for. Further
    /// processes join the group that was made around the first.
    ///
    /// # Errors
    /// systemd or the kernel refused a step. [`Group::end`] removes what exists then.
    pub fn admit(&self, handles: &Handles, group: &mut Group, pid: i32) -> Result<(), Error> {
        if let (Some(Joining::BySystemd), Some(unit)) = (self.joins, &self.location.unit) {
            unit.attach(&self.location, pid)?;
            *group = self.location.open()?;
            return Ok(());
        }
        let Some(scope) = &self.scope else {
            return group.join(pid);
        };
        if group.is_awaited() {
            self.make_scope(scope, handles, group, pid)?;
        }
        match &scope.unit.sub_group {
            None => group.join(pid),
            Some(name) => self.enter_sub_group(group, name, pid),
        }
    }

    fn make_scope(
        &self,
        scope: &Scope,
        handles: &Handles,
        group: &mut Group,
        pid: i32,
    ) -> Result<(), Error> {
        // Set this before the request: a bus that hangs may carry the request out later.
        group.set_begun(Begun::Yes);
        match scope.start(&handles.bus, pid) {
            Err(error @ Error::UnitExists { .. }) => {
                group.set_begun(Begun::NotYet);
                return Err(error);
            }
            answer => answer?,
        }
        let mut directories = Vec::with_capacity(handles.roots.len());
        let places = self.location.groups.iter().zip(&handles.roots);
        for (index, (place, root)) in places.enumerate() {
            let found = root.open_below(place.relative());
            let directory = found.map_err(Error::about("open", &place.host_path()))?;
            self.prepare(index, (place, root), &directory, Made::New)?;
            // systemd's own device program stays attached too.
            if let Some(devices) = self.devices_at(index) {
                devices.apply(&directory, Made::New, self.refusal)?;
            }
            directories.push(directory);
        }
        group.set_directories(directories);
        resources::apply(&self.limits, group.target())
    }

    /// Then the scope's own group has no processes, so it can pass its controllers on.
    fn enter_sub_group(&self, group: &Group, name: &str, pid: i32) -> Result<(), Error> {
        for directory in group.directories() {
            directory
                .make(name)
                .map_err(directory.failed("make a sub-group of"))?;
            let below = directory.open_below(name);
            let below = below.map_err(directory.failed("open a sub-group of"))?;
            if let Some(uid) = self.owner {
                delegate(&below, uid)?;
            }
            let joined = below.write("cgroup.procs", &pid.to_string());
            joined.map_err(|source| Error::Join {
                pid,
                group: below.path().to_owned(),
                source,
            })?;
            pass_on_controllers(directory);
        }
        Ok(())
    }
}

/// A failure is not an error: no configured limit needs it.
fn pass_on_controllers(directory: &Directory) {
    for name in directory
        .read("cgroup.controllers")
        .unwrap_or_default()
        .split_whitespace()
    {
        if let Err(errno) = directory.write("cgroup.subtree_control", &format!("+{name}")) {
            tracing::debug!("pass {name} on in {:?}: {errno}", directory.path());
        }
    }
}
