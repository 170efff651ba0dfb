//! The text of a plan: what will be made, and what will be written into it.

use super::{Joining, Plan};
use crate::{Manager, Place, Version};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manager = match self.location.manager {
            Manager::Cgroupfs => "by the cgroup file system",
            Manager::Systemd => "by systemd",
            Manager::Disabled => "disabled",
        };
        for place in &self.location.groups {
            writeln!(f, "{} {manager}", Named(place))?;
        }
        if self.joins == Some(Joining::BySystemd) {
            writeln!(f, "systemd moves the process there")?;
        }
        for place in &self.location.inherited {
            writeln!(f, "stays in {} ({manager})", Named(place))?;
        }
        if let Some(uid) = self.owner {
            writeln!(f, "given to uid {uid}")?;
        }
        for limit in &self.limits {
            let group = &self.location.groups[limit.group];
            let version = match group.version {
                Version::V1 => "v1 ",
                Version::V2 => "",
            };
            let value = limit.value.to_string();
            writeln!(f, "{version}{} = {value:?}", limit.file)?;
        }
        if let Some((_group, devices)) = &self.devices {
            devices.fmt(f)?;
        }
        match &self.scope {
            Some(scope) => scope.fmt(f),
            None => Ok(()),
        }
    }
}

struct Named<'a>(&'a Place);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.0.version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        };
        write!(f, "{version} {:?}", self.0.host_path())
    }
}
