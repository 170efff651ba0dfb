//! Finds and connects to systemd.
//!
//! Like systemctl, it first tries systemd's own socket. No bus daemon is in between, which may be
//! absent, restarting, or part of a nested session without a systemd. Then it tries the message
//! bus. An ordinary user's systemd has the user's sockets, in the directory XDG_RUNTIME_DIR.
//! Engines clean the environment and sometimes leave this variable empty.

#![expect(clippy::disallowed_methods, reason = "the host's /proc and /run")]

use dbus::{Address, Connection, Deadline, Peer};
use kernel::Errno;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::Error;
use kernel::errno::chain;

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instance {
    /// The host's, process 1.
    System,
    /// An ordinary user's own.
    User,
}

/// It exists while systemd is process 1. See sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

/// A place to try.
type Candidate = (Address, Peer);

/// The addresses in the environment.
#[derive(Debug, Default)]
struct Hints {
    runtime_dir: Option<PathBuf>,
    session_bus: Option<String>,
    system_bus: Option<String>,
}

impl Hints {
    fn of_environment() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let runtime_dir = text("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self {
            runtime_dir: runtime_dir.or_else(|| {
                let map = fs::read_to_string("/proc/self/uid_map").ok()?;
                let uid = outer_uid(&map, geteuid().as_raw())?;
                Some(PathBuf::from(format!("/run/user/{uid}")))
            }),
            session_bus: text("DBUS_SESSION_BUS_ADDRESS"),
            system_bus: text("DBUS_SYSTEM_BUS_ADDRESS"),
        }
    }

    fn candidates(&self, instance: Instance) -> Vec<Candidate> {
        let at = |path: &Path, peer| Some((Address::of_path(path), peer));
        let named = |text: &Option<String>| {
            let address = Address::parse(text.as_deref()?).ok()?;
            Some((address, Peer::Bus))
        };
        let dir = self.runtime_dir.as_deref();
        let all = match instance {
            Instance::System => [
                at(Path::new("/run/systemd/private"), Peer::Direct),
                named(&self.system_bus),
                at(Path::new("/run/dbus/system_bus_socket"), Peer::Bus),
            ],
            Instance::User => [
                dir.and_then(|dir| at(&dir.join("systemd/private"), Peer::Direct)),
                named(&self.session_bus),
                dir.and_then(|dir| at(&dir.join("bus"), Peer::Bus)),
            ],
        };
        let mut found: Vec<Candidate> = Vec::new();
        for candidate in all.into_iter().flatten() {
            if !found.iter().any(|(address, _peer)| *address == candidate.0) {
                found.push(candidate);
            }
        }
        found
    }
}

/// The uid outside the user namespace for `uid` inside it; `map` is the namespace's map. See
/// user_namespaces(7).
fn outer_uid(map: &str, uid: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = uid.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

/// Whether another socket may work where this one does not.
fn is_absent(error: &dbus::Error) -> bool {
    match error {
        dbus::Error::Connect { source, .. } => matches!(
            source,
            Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ECONNREFUSED
                | Errno::EACCES
                | Errno::EPERM
                | Errno::ENAMETOOLONG
        ),
        dbus::Error::Refused { .. } => true,
        _ => false,
    }
}

/// Whether systemd runs on this host.
pub(crate) fn is_booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// The error for a host without a running systemd.
pub(crate) fn not_booted() -> Error {
    Error::NoSystemd {
        missing: PathBuf::from(BOOTED),
    }
}

/// Connects to the systemd of `instance`, at `known` if that is given and still answers.
pub(crate) fn open(
    instance: Instance,
    known: Option<&str>,
    deadline: Deadline,
) -> Result<Connection, Error> {
    let mut candidates = Hints::of_environment().candidates(instance);
    if let Some(address) = known.and_then(|text| Address::parse(text).ok()) {
        let is_direct = address.to_string().ends_with("/systemd/private");
        let peer = if is_direct { Peer::Direct } else { Peer::Bus };
        candidates.retain(|(other, _peer)| *other != address);
        candidates.insert(0, (address, peer));
    }
    try_each(candidates, deadline)
}

fn try_each(candidates: Vec<Candidate>, deadline: Deadline) -> Result<Connection, Error> {
    let mut tried = Vec::new();
    for (address, peer) in candidates {
        match Connection::open(&address, peer, deadline) {
            Ok(connection) => return Ok(connection),
            Err(error) if is_absent(&error) => tried.push(chain(&error)),
            Err(error) => return Err(Error::Bus(error)),
        }
    }
    Err(Error::NoBus { tried })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbus::fake::FakeBus;
    use std::time::Duration;

    fn names(hints: &Hints, instance: Instance) -> Vec<String> {
        let found = hints.candidates(instance).into_iter();
        found
            .map(|(address, peer)| format!("{peer:?} {address}"))
            .collect()
    }

    #[test]
    fn systemd_itself_is_tried_before_the_bus() {
        let mut hints = Hints::default();
        let private = "Direct unix:path=/run/systemd/private";
        let bus = "Bus unix:path=/run/dbus/system_bus_socket";
        assert_eq!(names(&hints, Instance::System), [private, bus]);
        assert_eq!(names(&hints, Instance::User), [""; 0]);
        hints.runtime_dir = Some(PathBuf::from("/run/user/7"));
        hints.session_bus = Some("unix:path=/tmp/x,guid=1".to_owned());
        hints.system_bus = Some("tcp:host=y".to_owned());
        assert_eq!(names(&hints, Instance::System), [private, bus]);
        assert_eq!(
            names(&hints, Instance::User),
            [
                "Direct unix:path=/run/user/7/systemd/private",
                "Bus unix:path=/tmp/x,guid=1",
                "Bus unix:path=/run/user/7/bus",
            ]
        );
        hints.session_bus = Some("unix:path=/run/user/7/bus".to_owned());
        assert_eq!(names(&hints, Instance::User).len(), 2);
    }

    #[test]
    fn a_uid_is_translated_outward() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(outer_uid(map, 0), Some(1000));
        assert_eq!(outer_uid(map, 5), Some(100_004));
        assert_eq!(outer_uid(map, 65537), None);
        assert_eq!(outer_uid("", 0), None);
        assert_eq!(outer_uid("0 0 4294967295\n", 12), Some(12));
    }

    #[test]
    fn where_nobody_listens_the_next_one_is_tried() {
        let bus = FakeBus::reacting(|_message| Vec::new());
        let absent = Address::of_path(Path::new("/nonexistent/a"));
        let deadline = Deadline::after(Duration::from_secs(10));
        let found = try_each(
            vec![
                (absent.clone(), Peer::Direct),
                (bus.address(), Peer::Direct),
            ],
            deadline,
        );
        assert_eq!(found.unwrap().bus(), bus.address().to_string());
        let error = try_each(vec![(absent, Peer::Bus)], deadline).unwrap_err();
        let text = chain(&error);
        assert!(text.contains("/nonexistent/a"), "{text}");
        assert!(text.contains("no such file or directory"), "{text}");
    }

    #[test]
    fn a_stuck_one_is_no_reason_to_try_the_next() {
        let stuck = FakeBus::saying(b"");
        let error = try_each(
            vec![
                (stuck.address(), Peer::Direct),
                (stuck.address(), Peer::Bus),
            ],
            Deadline::after(Duration::from_millis(100)),
        );
        let text = chain(&error.unwrap_err());
        assert!(text.contains("did not answer within 100ms"), "{text}");
    }
}
