//! The systemd manager: a container's group is the group of a transient scope.
//!
//! systemd makes the group, moves the container's first process there and keeps the limits that it
//! has properties for. The scope is delegated: locule manages everything below it, and every file
//! for which systemd has no property. See docs/adr/0015-systemd.md for how systemd is reached.

mod annotation; // properties that the configuration names
mod bus; // where systemd is reached
mod gvariant; // values as text
mod manager; // what systemd is asked
mod property; // limits as properties

pub use bus::Instance;
pub(crate) use bus::{is_booted, not_booted};
use manager::{Manager, PATIENCE};
pub(crate) use property::{Property, properties};

use dbus::Value;
use serde::{Deserialize, Serialize};
use spec::Container;
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use crate::device::Devices;
use crate::hierarchy::{membership, read_proc};
use crate::resources::Limit;
use crate::{Error, Location, name::UnitName};
use kernel::errno::chain;

/// A container's scope, as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The unit: "docker-ID.scope".
    pub name: String,
    /// The systemd instance that owns it.
    pub instance: Instance,
    /// The address at which systemd was reached.
    pub bus: String,
    /// The sub-group that the container runs in, if it is not the scope's own group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_group: Option<String>,
}

/// The systemd that answers on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    /// The instance.
    pub instance: Instance,
    /// The address at which it answers.
    pub bus: String,
    /// Its version.
    pub version: u32,
    /// The path of its own group.
    pub control_group: String,
}

/// A connection to systemd, until a request takes it.
#[derive(Debug, Default)]
pub(crate) struct Bus(RefCell<Option<Manager>>);

impl Systemd {
    /// Asks systemd where its units are. `None`: systemd does not run on this host.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer.
    pub(crate) fn ask(instance: Instance) -> Result<(Option<Self>, Bus), Error> {
        if !is_booted() {
            return Ok((None, Bus::default()));
        }
        let mut manager = Manager::open(instance, None, PATIENCE.answer)?;
        manager.check_sight()?;
        let found = Self {
            instance,
            bus: manager.bus().to_owned(),
            version: manager.version()?,
            control_group: manager.control_group()?,
        };
        Ok((Some(found), Bus(RefCell::new(Some(manager)))))
    }
}

/// The one who removes the group of an ended scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remover {
    /// The caller: it removes the remaining directories itself.
    Runtime,
    /// systemd, which does not answer now. It reacts when the group becomes empty. If the group
    /// disappeared without that event, systemd would think that the scope still runs.
    Systemd,
}

impl Unit {
    /// State files are not trusted: only a scope is ever stopped.
    fn check(&self) -> Result<(), Error> {
        let is_scope = self.name.ends_with(".scope") && !self.name.contains(['/', '\n', '\0']);
        if is_scope {
            Ok(())
        } else {
            Err(Error::NoScope {
                unit: self.name.clone(),
            })
        }
    }

    /// The systemd that manages it.
    fn manager(&self, patience: Duration) -> Result<Manager, Error> {
        self.check()?;
        Manager::open(self.instance, Some(&self.bus), patience)
    }

    /// Lets systemd move the process `pid` to the group of `location`, which is the unit's or one
    /// below it. It may do so between sessions of its user, where the user may not.
    pub(crate) fn attach(&self, location: &Location, pid: i32) -> Result<(), Error> {
        let mut manager = self.manager(PATIENCE.answer)?;
        manager.check_sight()?;
        let path = location.unified().map_or("", |place| &place.path);
        manager.attach(&self.name, &self.below(path), pid)
    }

    /// The part of a group's path that is below the unit's own group: empty, or with a leading
    /// slash.
    fn below(&self, path: &str) -> String {
        let mut names = path.split('/');
        let _found = names.any(|name| name == self.name);
        names.map(|name| format!("/{name}")).collect()
    }

    /// Stops the unit, if systemd still has it. Returns who must remove the remaining groups.
    pub(crate) fn stop(&self) -> Remover {
        let once = || {
            self.manager(PATIENCE.stop)
                .and_then(|mut manager| manager.stop(&self.name))
        };
        let stopped = match once() {
            // systemd has restarted, and may have stopped the unit before.
            Err(Error::Bus(dbus::Error::Closed { .. })) => once(),
            answer => answer,
        };
        let Err(error) = stopped else {
            return Remover::Runtime;
        };
        tracing::warn!("stop unit {}: {}", self.name, chain(&error));
        match error {
            Error::Bus(dbus::Error::Stuck { .. }) => Remover::Systemd,
            _ => Remover::Runtime,
        }
    }
}

/// The scope of one container, before it is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scope {
    pub(crate) unit: Unit,
    /// The group's path below the root of the hierarchy.
    pub(crate) path: String,
    /// systemd's version.
    version: u32,
    /// What every scope has.
    base: Vec<Property>,
    /// The properties of the annotations; they override those of the base.
    annotated: Vec<Property>,
    /// The limits and device rules of the configuration; they override all others.
    limits: Vec<Property>,
}

/// The scope settings of the configuration.
#[derive(Debug)]
pub(crate) struct Wish {
    name: UnitName,
    /// The group's path below systemd's own.
    path: String,
    instance: Instance,
    description: String,
    annotated: Vec<Property>,
    sub_group: Option<String>,
}

impl Wish {
    /// Reads `linux.cgroupsPath` and the annotations.
    ///
    /// # Errors
    /// A malformed value, with its pointer.
    pub(crate) fn lower(
        container: &Container,
        id: &str,
        instance: Instance,
    ) -> Result<Self, Error> {
        let slice = match instance {
            Instance::System => "system.slice",
            Instance::User => "user.slice",
        };
        let name = UnitName::parse(container.cgroups_path.as_deref(), id, slice)?;
        Ok(Self {
            path: name.group_path()?,
            name,
            instance,
            description: format!("locule container {id}"),
            annotated: annotation::properties(&container.annotations)?,
            sub_group: annotation::sub_group(&container.annotations)?,
        })
    }
}

impl Scope {
    /// The scope without limits.
    pub(crate) fn lower(wish: Wish, systemd: &Systemd) -> Self {
        Self {
            base: base(wish.description, &wish.name.slice),
            limits: Vec::new(),
            unit: Unit {
                name: wish.name.unit,
                instance: wish.instance,
                bus: systemd.bus.clone(),
                sub_group: wish.sub_group,
            },
            path: format!("{}{}", systemd.control_group, wish.path),
            version: systemd.version,
            annotated: wish.annotated,
        }
    }

    /// Adds the limits and the device rules as properties.
    pub(crate) fn limit(&mut self, limits: &[Limit], devices: Option<&Devices>) {
        self.limits = properties(limits, self.version);
        if let (Instance::System, Some(devices)) = (self.unit.instance, devices) {
            self.limits.extend(device_properties(devices));
        }
        for annotated in &self.annotated {
            if has(&self.limits, annotated) {
                tracing::warn!(
                    "{}: ignored, because /linux/resources sets the property {} too",
                    annotated.pointer,
                    annotated.name
                );
            }
        }
    }

    /// All properties. The limits come last: of two properties for the same file (MemoryMaxScale,
    /// MemoryMax) the later one counts.
    fn properties(&self) -> impl Iterator<Item = &Property> {
        let base = self.base.iter();
        let base = base.filter(|property| !has(&self.annotated, property));
        let annotated = self.annotated.iter();
        let all = base.chain(annotated);
        let all = all.filter(|property| !has(&self.limits, property));
        all.chain(&self.limits)
    }

    /// Refuses a unit that is in use.
    pub(crate) fn look_for_others(&self, bus: &Bus) -> Result<(), Error> {
        let state = self.with_manager(bus, |manager| manager.active_state(&self.unit.name))?;
        match state {
            Some(state) if state == "active" => Err(Error::UnitExists {
                unit: self.unit.name.clone(),
                state,
            }),
            _ => Ok(()),
        }
    }

    /// Makes the scope around the process `pid`.
    pub(crate) fn start(&self, bus: &Bus, pid: i32) -> Result<(), Error> {
        let number = u32::try_from(pid).unwrap_or(u32::MAX);
        let pids = Value::Array("u".to_owned(), vec![Value::U32(number)]);
        let mut all = vec![Property::new("PIDs", pids)];
        all.extend(self.properties().cloned());
        let mut started = self.with_manager(bus, |manager| manager.start(&self.unit.name, &all));
        *bus.0.borrow_mut() = None;
        if let Err(Error::Bus(dbus::Error::Closed { .. })) = &started {
            // systemd has restarted (`systemctl daemon-reexec`), and may have made the unit before.
            started = self.with_manager(bus, |manager| manager.start(&self.unit.name, &all));
            *bus.0.borrow_mut() = None;
            if let Err(Error::UnitExists { .. }) = &started
                && self.holds(pid)
            {
                started = Ok(());
            }
        }
        started
    }

    /// Whether the process `pid` is in the scope's group.
    fn holds(&self, pid: i32) -> bool {
        let groups = read_proc(&format!("{pid}/cgroup")).unwrap_or_default();
        let mut memberships = groups.lines().filter_map(membership);
        memberships.any(|(_controllers, path)| path == self.path)
    }

    fn with_manager<T>(
        &self,
        bus: &Bus,
        ask: impl FnOnce(&mut Manager) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut manager = bus.0.borrow_mut();
        match &mut *manager {
            Some(manager) => ask(manager),
            none => ask(none.insert(self.unit.manager(PATIENCE.answer)?)),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "unit {:?} of systemd {}", self.unit.name, self.version)?;
        for Property { name, value, .. } in self.properties() {
            writeln!(f, "property {name} = {value:?}")?;
        }
        match &self.unit.sub_group {
            Some(name) => writeln!(f, "the container lives in its sub-group {name:?}"),
            None => Ok(()),
        }
    }
}

/// New values of a running unit's properties, and the former ones.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    unit: &'a Unit,
    manager: Manager,
    former: Vec<Property>,
}

impl<'a> Told<'a> {
    /// Tells systemd the new values, so that it does not write the former values again later.
    pub(crate) fn tell(unit: &'a Unit, limits: &[Limit]) -> Result<Self, Error> {
        let mut manager = unit.manager(PATIENCE.answer)?;
        let version = manager.version()?;
        let mut new = properties(limits, version);
        // systemd accepts it only with a new unit; locule writes the file.
        new.retain(|property| property.name != "OOMPolicy");
        let former = manager.current(&unit.name, &new)?;
        if !new.is_empty() {
            manager.set(&unit.name, &new)?;
        }
        Ok(Self {
            unit,
            manager,
            former,
        })
    }

    /// Restores the former values of the properties.
    pub(crate) fn take_back(mut self) {
        let former = self.former.iter();
        let former =
            former.flat_map(|property| emptied(property).into_iter().chain([property.clone()]));
        let former: Vec<_> = former.collect();
        if !former.is_empty()
            && let Err(error) = self.manager.set(&self.unit.name, &former)
        {
            tracing::warn!(
                "restore the properties of unit {}: {}",
                self.unit.name,
                chain(&error)
            );
        }
    }
}

/// For a list with one entry for each device, the empty list: systemd adds entries to those that
/// the unit has, and an empty list removes them.
fn emptied(property: &Property) -> Option<Property> {
    match &property.value {
        Value::Array(kind, _) if kind.starts_with('(') => {
            let empty = Value::Array(kind.clone(), Vec::new());
            Some(Property::new(&property.name, empty))
        }
        _ => None,
    }
}

/// Whether `list` has a property of the same name.
fn has(list: &[Property], property: &Property) -> bool {
    list.iter().any(|other| other.name == property.name)
}

/// The properties of every scope. They follow other runtimes, since engines read some of them.
fn base(description: String, slice: &str) -> Vec<Property> {
    let truth = |name: &str| Property::new(name, Value::Bool(true));
    vec![
        Property::new("Description", Value::Str(description)),
        Property::new("Slice", Value::text(slice)),
        truth("Delegate"),
        truth("CPUAccounting"),
        truth("IOAccounting"),
        truth("MemoryAccounting"),
        truth("TasksAccounting"),
        // A container ends when its engine says so, not when the host's shutdown begins.
        Property::new("DefaultDependencies", Value::Bool(false)),
        Property::new("CollectMode", Value::text("inactive-or-failed")),
    ]
}

fn device_properties(devices: &Devices) -> Vec<Property> {
    let Some(patterns) = devices.patterns() else {
        return vec![Property::new("DevicePolicy", Value::text("auto"))];
    };
    let pair = |(pattern, access): (String, String)| {
        Value::Struct(vec![Value::Str(pattern), Value::Str(access)])
    };
    let list = patterns.into_iter().map(pair).collect();
    vec![
        Property::new("DevicePolicy", Value::text("strict")),
        Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), list)),
    ]
}

#[cfg(test)]
mod tests;
