//! New limits for groups that are in use: merged field by field into the stored limits; either all
//! are written or none.

use spec::container::Resources;

use crate::enable::enable;
use crate::resources::{
    self, Controllers, Former, apply, check_before_update, companions, merge, page_sizes,
};
use crate::systemd::Told;
use crate::{Error, Location, Version};

impl Location {
    /// Changes the limits of the groups. A field that is absent from `change`, or zero where that
    /// means "not given", keeps its value from `stored`. The device rules of `change` are ignored.
    /// Returns the limits to store.
    ///
    /// # Errors
    /// The refused property. The files then have their former content.
    pub fn update(&self, stored: &Resources, change: &Resources) -> Result<Resources, Error> {
        let merged = merge(stored, change);
        let change = companions(change, &merged);
        if self.is_empty() {
            return if change == Resources::default() {
                Ok(merged)
            } else {
                Err(Error::NoGroup)
            };
        }
        let group = self.open()?;
        let target = group.target();
        let mut roots = Vec::with_capacity(self.groups.len());
        for place in &self.groups {
            let foreign = || Error::NotMounted {
                path: place.host_path(),
            };
            roots.push(place.root()?.ok_or_else(foreign)?);
        }
        let unified = self.groups.iter().zip(&roots);
        let available = unified
            .filter(|(place, _root)| place.version == Version::V2)
            .find_map(|(_place, root)| root.read("cgroup.controllers").ok())
            .unwrap_or_default();
        let available = available.split_whitespace().map(str::to_owned).collect();
        let page_sizes = match change.hugepage_limits.is_empty() {
            true => Vec::new(),
            false => page_sizes(),
        };
        let controllers = Controllers::of(&self.groups, available, page_sizes);
        let lowered = resources::lower(&change, &controllers)?;
        for warning in &lowered.warnings {
            tracing::warn!("{warning}");
        }
        if let (Some(true), Some(limit)) = (merged.memory.check_before_update, change.memory.limit)
            && let Some(found) = lowered
                .limits
                .iter()
                .find(|limit| is_memory_limit(&limit.file))
        {
            check_before_update(limit, &target.directories[found.group])?;
        }
        for (index, (place, root)) in self.groups.iter().zip(&roots).enumerate() {
            if place.version == Version::V2 {
                let limits = lowered.limits.iter().filter(|limit| limit.group == index);
                let directory = &target.directories[index];
                enable(root, place, directory, &controllers.v2, limits)?;
            }
        }
        let former = Former::of(&lowered.limits, target);
        let told = match &self.unit {
            Some(unit) => Some(Told::tell(unit, &lowered.limits)?),
            None => None,
        };
        if let Err(error) = apply(&lowered.limits, target) {
            if let Some(told) = told {
                told.take_back();
            }
            former.restore(target);
            return Err(error);
        }
        Ok(merged)
    }
}

fn is_memory_limit(file: &str) -> bool {
    matches!(file, "memory.max" | "memory.limit_in_bytes")
}
