//! `state`: a container and its status, as JSON.

use super::Env;
use super::list::Users;
use crate::args;
use crate::error::{Error, print};
use crate::exit::ExitCode;
use crate::face::{Owner, PidOfStopped, Scope, State};
use crate::state::{Lock, Record};
use crate::status::{Observed, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The object that `state` prints and `list` prints many of: runtime.md#state, and what engines
/// expect beyond it.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    #[serde(rename = "ociVersion")]
    pub(super) oci_version: &'a str,
    pub(super) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<i32>,
    pub(super) status: &'static str,
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "systemd-scope", skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<&'a str>,
    pub(super) owner: &'a str,
}

impl<'a> Report<'a> {
    /// Combines the record and what was observed, in a form of `face`.
    pub(crate) fn new(record: &'a Record, status: Status, owner: &'a str, face: &State) -> Self {
        let pid = match (status, face.pid) {
            (Status::Stopped, PidOfStopped::Zero) => Some(0),
            (Status::Stopped, PidOfStopped::Absent) => None,
            (Status::Creating | Status::Created | Status::Running | Status::Paused, _) => {
                Some(record.pid.unwrap_or(0))
            }
        };
        let unit = record
            .cgroup
            .as_ref()
            .and_then(|groups| groups.unit.as_ref());
        Self {
            oci_version: face.oci_version.unwrap_or(&record.oci_version),
            scope: match face.scope {
                Scope::Hidden => None,
                Scope::Shown => Some(unit.map_or("", |unit| &unit.name)),
            },
            id: &record.id,
            pid,
            status: status.as_str(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner,
        }
    }
}

/// Prints the state of one container.
pub(crate) fn run(args: &args::State, env: &Env) -> Result<ExitCode, Error> {
    let (_entry, record, Observed { status, .. }) = env.look_up(args.id(), Lock::None)?;
    let owner = match env.face.state.owner {
        Owner::Empty => String::new(),
        Owner::Name => Users::read().name(record.owner),
        Owner::Number => record.owner.to_string(),
    };
    let report = Report::new(&record, status, &owner, &env.face.state);
    print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::own;
    use crate::testing;

    #[test]
    fn a_running_container_prints_all_keys_in_order() {
        let mut record = testing::record("box");
        record.set_process(42, 7);
        record.annotations.insert("a".to_owned(), "b".to_owned());
        let text =
            serde_json::to_string_pretty(&Report::new(&record, Status::Running, "", &own().state));
        assert_eq!(
            text.unwrap(),
            "{\n  \"ociVersion\": \"1.2.0\",\n  \"id\": \"box\",\n  \"pid\": 42,\n  \
             \"status\": \"running\",\n  \"bundle\": \"/b\",\n  \"rootfs\": \"/b/rootfs\",\n  \
             \"created\": \"2026-01-02T03:04:05.000000006Z\",\n  \
             \"annotations\": {\n    \"a\": \"b\"\n  },\n  \"owner\": \"\"\n}"
        );
    }

    #[test]
    fn a_stopped_container_has_pid_0_and_no_empty_annotations() {
        let mut record = testing::record("box");
        record.set_process(42, 7);
        let text = serde_json::to_string(&Report::new(&record, Status::Stopped, "", &own().state))
            .unwrap();
        assert!(text.contains("\"pid\":0,\"status\":\"stopped\""), "{text}");
        assert!(!text.contains("annotations"), "{text}");
    }
}
