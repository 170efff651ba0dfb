//! Requests to systemd, and the meaning of its answers. Every request has a deadline.

use dbus::{Call, Connection, Deadline, Peer, Value};
use std::thread::sleep;
use std::time::Duration;

use super::bus::{self, Instance};
use super::property::Property;
use crate::Error;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// How long systemd may take: on a busy host it does not answer for many seconds while it reloads
/// all units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To answer a question.
    pub(crate) answer: Duration,
    /// To start a unit.
    pub(crate) start: Duration,
    /// To stop a unit whose processes are dead.
    pub(crate) stop: Duration,
    /// To forget a unit that is being removed.
    pub(crate) forget: Duration,
}

pub(crate) const PATIENCE: Patience = Patience {
    answer: Duration::from_secs(30),
    start: Duration::from_secs(30),
    stop: Duration::from_secs(10),
    forget: Duration::from_secs(2),
};

/// A systemd that answers.
#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
    patience: Patience,
}

impl Manager {
    /// Connects within `patience`, at `known` if that is given and still answers.
    pub(crate) fn open(
        instance: Instance,
        known: Option<&str>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let deadline = Deadline::after(patience);
        let connection = bus::open(instance, known, deadline)?;
        Ok(Self {
            connection,
            patience: PATIENCE,
        })
    }

    /// For tests: connects to the tests' own bus.
    #[cfg(test)]
    pub(crate) fn at(address: &dbus::Address, patience: Patience) -> Self {
        let deadline = Deadline::after(PATIENCE.answer);
        let connection = Connection::open(address, Peer::Direct, deadline).unwrap();
        Self {
            connection,
            patience,
        }
    }

    /// The address.
    pub(crate) fn bus(&self) -> &str {
        self.connection.bus()
    }

    /// Refuses a systemd in which this process' pids have another meaning.
    pub(crate) fn check_sight(&self) -> Result<(), Error> {
        match self.connection.peer_pid()? {
            0 => Err(Error::OutOfSight {
                bus: self.bus().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn call(
        &mut self,
        (path, interface, member): (&str, &str, &str),
        body: &[Value],
        deadline: Deadline,
    ) -> Result<Vec<Value>, dbus::Error> {
        let call = Call {
            destination: NAME,
            path,
            interface,
            member,
            body,
        };
        self.connection.call(&call, deadline)
    }

    fn manage(
        &mut self,
        member: &str,
        body: &[Value],
        deadline: Deadline,
    ) -> Result<Vec<Value>, dbus::Error> {
        self.call((PATH, MANAGER, member), body, deadline)
    }

    fn answer(&self) -> Deadline {
        Deadline::after(self.patience.answer)
    }

    fn get(&mut self, path: &str, interface: &str, name: &str) -> Result<Value, dbus::Error> {
        let body = [Value::text(interface), Value::text(name)];
        let deadline = self.answer();
        let mut values = self.call((path, PROPERTIES, "Get"), &body, deadline)?;
        Ok(values.pop().map_or(Value::Byte(0), Value::into_inner))
    }

    fn get_text(&mut self, name: &'static str) -> Result<String, Error> {
        let value = self.get(PATH, MANAGER, name)?;
        let text = value.as_text().map(str::to_owned);
        text.ok_or_else(|| self.unexpected(name))
    }

    fn unexpected(&self, what: &'static str) -> Error {
        Error::Unexpected {
            bus: self.bus().to_owned(),
            what,
        }
    }

    /// The version: 257 of "257.13-1~deb13u1".
    pub(crate) fn version(&mut self) -> Result<u32, Error> {
        let text = self.get_text("Version")?;
        let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let end = digits.find(|letter: char| !letter.is_ascii_digit());
        let number = digits.get(..end.unwrap_or(digits.len()));
        number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| self.unexpected("Version"))
    }

    /// The group below which all units are: empty for the root, else with a leading slash.
    pub(crate) fn control_group(&mut self) -> Result<String, Error> {
        let group = self.get_text("ControlGroup")?;
        Ok(group.trim_end_matches('/').to_owned())
    }

    /// The object of `unit`, if systemd has it loaded.
    fn object(&mut self, unit: &str) -> Result<Option<String>, Error> {
        let deadline = self.answer();
        match self.manage("GetUnit", &[Value::text(unit)], deadline) {
            Ok(values) => {
                let path = values.first().and_then(Value::as_text).map(str::to_owned);
                path.map(Some).ok_or_else(|| self.unexpected("GetUnit"))
            }
            Err(error) if error.name() == Some(NO_SUCH_UNIT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The state: The state: "active", "failed" and the like; `None`: there is no such unit.
    pub(crate) fn active_state(&mut self, unit: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.object(unit)? else {
            return Ok(None);
        };
        match self.get(&path, UNIT, "ActiveState") {
            Ok(value) => Ok(value.as_text().map(str::to_owned)),
            // The unit has gone since.
            Err(dbus::Error::Answer { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Subscribes to the signals about ended jobs.
    fn listen(&mut self, deadline: Deadline) -> Result<(), dbus::Error> {
        if self.connection.peer() == Peer::Bus {
            self.manage("Subscribe", &[], deadline)?;
        }
        self.connection.listen(MANAGER, "JobRemoved", deadline)
    }

    /// Waits for the end of the job that a call has started; returns its result.
    fn job(&mut self, answer: &[Value], what: &str, deadline: Deadline) -> Result<String, Error> {
        let Some(job) = answer.first().and_then(Value::as_text) else {
            return Err(self.unexpected("a job"));
        };
        loop {
            let signal = self.connection.next_signal(what, deadline)?;
            if let [_id, path, _unit, result] = &signal.body[..]
                && path.as_text() == Some(job)
            {
                return Ok(result.as_text().unwrap_or_default().to_owned());
            }
        }
    }

    /// Makes the transient unit `unit` and waits until it exists. A failed unit of that name is
    /// forgotten first.
    ///
    /// # Errors
    /// [`Error::UnitExists`]: nothing was made.
    pub(crate) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let deadline = Deadline::after(self.patience.start);
        self.listen(deadline)?;
        let body = [
            Value::text(unit),
            Value::text("replace"),
            pairs(properties),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let mut waited = Duration::ZERO;
        let answer = loop {
            let answer = self.manage("StartTransientUnit", &body, deadline);
            match answer {
                Err(error) if error.name() == Some(UNIT_EXISTS) => {}
                Err(error) => return Err(refused(unit, properties, error)),
                Ok(answer) => break answer,
            }
            // A container of that name may have ended a moment ago: its unit failed, or is not
            // forgotten yet.
            let state = self.active_state(unit)?;
            let is_ending = !matches!(
                state.as_deref(),
                Some("active" | "activating" | "reloading" | "refreshing")
            );
            if !is_ending || waited >= self.patience.forget {
                return Err(Error::UnitExists {
                    unit: unit.to_owned(),
                    state: state.unwrap_or_default(),
                });
            }
            self.reset_failed(unit)?;
            let pause = Duration::from_millis(20);
            sleep(pause);
            waited += pause;
        };
        match &*self.job(&answer, "the start of the unit", deadline)? {
            "done" => Ok(()),
            result => Err(Error::Job {
                unit: unit.to_owned(),
                result: result.to_owned(),
            }),
        }
    }

    /// Stops `unit`, if it exists, and forgets it. Its processes should be dead already.
    pub(crate) fn stop(&mut self, unit: &str) -> Result<(), Error> {
        let deadline = Deadline::after(self.patience.stop);
        self.listen(deadline)?;
        let body = [Value::text(unit), Value::text("replace")];
        match self.manage("StopUnit", &body, deadline) {
            // The result does not matter: the cgroup files remove what is left.
            Ok(answer) => {
                let result = self.job(&answer, "the end of the unit", deadline)?;
                if result != "done" {
                    tracing::debug!("stop {unit}: the job ended as {result:?}");
                }
            }
            Err(error) if error.name() == Some(NO_SUCH_UNIT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.reset_failed(unit)
    }

    /// Moves the process `pid` to the group of `unit`, or to `sub_group` (with a leading slash)
    /// below it. Since systemd 238.
    pub(crate) fn attach(&mut self, unit: &str, sub_group: &str, pid: i32) -> Result<(), Error> {
        let number = u32::try_from(pid).unwrap_or(u32::MAX);
        let body = [
            Value::text(unit),
            Value::text(sub_group),
            Value::Array("u".to_owned(), vec![Value::U32(number)]),
        ];
        let deadline = self.answer();
        match self.manage("AttachProcessesToUnit", &body, deadline) {
            Ok(_nothing) => Ok(()),
            Err(source) => Err(Error::NotAttached {
                pid,
                group: format!("{unit}{sub_group}"),
                source,
            }),
        }
    }

    fn reset_failed(&mut self, unit: &str) -> Result<(), Error> {
        let deadline = self.answer();
        match self.manage("ResetFailedUnit", &[Value::text(unit)], deadline) {
            // It has not failed or no longer exists, which is fine.
            Ok(_) | Err(dbus::Error::Answer { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets these properties of a running unit, until it ends.
    pub(crate) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let body = [Value::text(unit), Value::Bool(true), pairs(properties)];
        let deadline = self.answer();
        match self.manage("SetUnitProperties", &body, deadline) {
            Ok(_nothing) => Ok(()),
            Err(error) => Err(refused(unit, properties, error)),
        }
    }

    /// The current values of those properties.
    pub(crate) fn current(
        &mut self,
        unit: &str,
        properties: &[Property],
    ) -> Result<Vec<Property>, Error> {
        let Some(path) = self.object(unit)? else {
            return Err(Error::NoUnit {
                unit: unit.to_owned(),
            });
        };
        let mut found = Vec::with_capacity(properties.len());
        for property in properties {
            let value = self.get(&path, SCOPE, &property.name)?;
            found.push(Property::new(&property.name, value));
        }
        Ok(found)
    }
}

fn pairs(properties: &[Property]) -> Value {
    let pair = |property: &Property| {
        let value = Value::variant(property.value.clone());
        Value::Struct(vec![Value::text(&*property.name), value])
    };
    let pairs = properties.iter().map(pair).collect();
    Value::Array("(sv)".to_owned(), pairs)
}

/// Names the source of the refused property, if systemd names the property.
fn refused(unit: &str, properties: &[Property], error: dbus::Error) -> Error {
    let dbus::Error::Answer { message, .. } = &error else {
        return Error::Bus(error);
    };
    let is_word = |letter: char| letter.is_ascii_alphanumeric();
    let names = |name: &str| {
        message
            .split(|letter| !is_word(letter))
            .any(|word| word == name)
    };
    let blamed = properties
        .iter()
        .find(|property| !property.pointer.is_empty() && names(&property.name));
    Error::Refused {
        pointer: blamed.map_or(String::new(), |property| format!("{}: ", property.pointer)),
        unit: unit.to_owned(),
        source: error,
    }
}

#[cfg(test)]
mod tests;
