//! Containers whose groups systemd makes, and what systemd reports about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::leak;
use crate::runtime::Outcome;
use crate::sandbox::{self, Sandbox, USER};

const MOUNT: &str = "/sys/fs/cgroup";

/// A container whose group systemd makes.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Where it lives.
    pub s: &'a Sandbox,
    /// Its id.
    pub id: String,
    /// Its unit.
    pub unit: String,
}

/// A bundle whose scope is `p-ID.scope` in `slice`, and the id.
pub fn bundle(s: &Sandbox, slice: &str) -> (Bundle, String) {
    let mut bundle = s.bundle();
    let id = s.id();
    bundle
        .set("/linux/cgroupsPath", json!(format!("{slice}:p:{id}")))
        .args(&["sleep", "1000"]);
    (bundle, id)
}

/// Tries to create it.
pub fn create(s: &Sandbox, bundle: &Bundle, id: &str) -> Outcome {
    let mut command = s.command();
    command.args(["--systemd-cgroup", "create", "--bundle"]);
    command.arg(bundle.write()).arg(id);
    s.finish(command, Some(bundle))
}

/// Creates it and starts it.
#[track_caller]
pub fn started<'a>(s: &'a Sandbox, bundle: &Bundle, id: &str) -> Scope<'a> {
    create(s, bundle, id).ok();
    let scope = Scope {
        s,
        id: id.to_owned(),
        unit: format!("p-{id}.scope"),
    };
    // Engines give --systemd-cgroup to `create` alone.
    scope.command(&["start"]).ok();
    scope
}

/// systemctl, of the sandbox's systemd.
pub fn systemctl(s: &Sandbox, args: &[&str]) -> Outcome {
    let mut command = Command::new("systemctl");
    if s.environment.is_user() {
        let user = USER.to_string();
        command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
        command.args(["systemctl", "--user"]);
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
    }
    command.args(args);
    s.finish(command, None)
}

/// What systemd says of a unit.
pub fn show(s: &Sandbox, unit: &str) -> BTreeMap<String, String> {
    let text = systemctl(s, &["show", unit]).ok().stdout;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let mut found = BTreeMap::new();
    for (name, value) in pairs {
        // Lists have a line for each element.
        let known: &mut String = found.entry(name.to_owned()).or_default();
        if !known.is_empty() {
            known.push('\n');
        }
        known.push_str(value);
    }
    found
}

impl<'a> Scope<'a> {
    /// The container `id`, which was made in `unit`.
    pub fn of(s: &'a Sandbox, id: String, unit: String) -> Self {
        Self { s, id, unit }
    }
}

impl Scope<'_> {
    /// A command of the runtime with the id as its last argument.
    pub fn command(&self, args: &[&str]) -> Outcome {
        let mut all = args.to_vec();
        all.push(&self.id);
        self.s.runtime(&all)
    }

    /// `state`, as JSON.
    pub fn state(&self) -> Value {
        let outcome = self.command(&["state"]).ok();
        serde_json::from_str(&outcome.stdout).expect("JSON")
    }

    /// Whether that is its status.
    pub fn is(&self, status: &str) -> bool {
        self.state()["status"] == status
    }

    /// The pid of its first process.
    pub fn pid(&self) -> i64 {
        self.state()["pid"].as_i64().expect("a pid")
    }

    /// Where the process is.
    pub fn path(&self) -> String {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()));
        let text = text.expect("cgroup");
        text.trim_end().strip_prefix("0::").expect("v2").to_owned()
    }

    /// A file of its group.
    pub fn file(&self, name: &str) -> String {
        read(&self.path(), name)
    }

    /// Requires files of the group to have these values.
    #[track_caller]
    pub fn has(&self, files: &[(&str, &str)]) {
        let group = self.path();
        for (file, value) in files {
            assert_eq!(read(&group, file), *value, "{file}");
        }
    }

    /// A file of the group.
    #[track_caller]
    pub fn reads(&self, file: &str) -> String {
        read(&self.path(), file)
    }

    /// Requires the unit to have these properties.
    #[track_caller]
    pub fn shows(&self, properties: &[(&str, &str)]) {
        let all = show(self.s, &self.unit);
        for (name, value) in properties {
            assert_eq!(all.get(*name).map(String::as_str), Some(*value), "{name}");
        }
    }

    /// Deletes by force. After that systemd must not know the unit.
    #[track_caller]
    pub fn remove(self) {
        self.command(&["delete", "--force"]).ok();
        is_gone(self.s, &self.unit);
    }
}

fn read(group: &str, name: &str) -> String {
    let path = format!("{MOUNT}{group}/{name}");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.trim_end().to_owned()
}

/// Requires that the unit and its group do not exist any more.
#[track_caller]
pub fn is_gone(s: &Sandbox, unit: &str) {
    let state = show(s, unit)["LoadState"].clone();
    assert_eq!(state, "not-found", "{unit}");
    let groups = leak::cgroups(unit);
    assert!(groups.is_empty(), "{groups:?}");
}

/// As [`sandbox::eventually`], for conditions that take long on an emulated machine.
pub fn patiently(mut condition: impl FnMut() -> bool) -> bool {
    (0..4).any(|_| sandbox::eventually(&mut condition))
}

/// The files of the state directory, which a failed command leaves empty.
#[track_caller]
pub fn no_state_is_left(s: &Sandbox) {
    let left: Vec<PathBuf> = fs::read_dir(&s.state)
        .expect("state")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
