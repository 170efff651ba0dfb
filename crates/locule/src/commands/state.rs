//! `state`: a container and its status, as JSON.

use super::Env;
use crate::args;
use crate::error::{Error, print};
use crate::state::{Access, ContainerId, Lock, Record};
use crate::status::{Status, observe};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// The object that `state` prints and `list` prints many of: runtime.md#state, and what engines
/// expect beyond it.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    #[serde(rename = "ociVersion")]
    pub(super) oci_version: &'a str,
    pub(super) id: &'a str,
    /// 0 when stopped.
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) owner: &'a str,
}

impl<'a> Report<'a> {
    /// Combines the record and what was observed.
    pub(crate) fn new(record: &'a Record, status: Status, owner: &'a str) -> Self {
        let pid = match status {
            Status::Stopped => 0,
            Status::Creating | Status::Created | Status::Running | Status::Paused => {
                record.pid.unwrap_or(0)
            }
        };
        Self {
            oci_version: &record.oci_version,
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
    let id = ContainerId::new(args.id())?;
    let entry = env.store(Access::Look)?.container(&id, Lock::None)?;
    let mut record = entry.record()?;
    let status = observe(&entry, &mut record)?.status;
    print(&(serde_json::to_string_pretty(&Report::new(&record, status, ""))? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_running_container_prints_all_keys_in_order() {
        let mut record = testing::record("box");
        record.set_process(42, 7);
        record.annotations.insert("a".to_owned(), "b".to_owned());
        let text = serde_json::to_string_pretty(&Report::new(&record, Status::Running, ""));
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
        let text = serde_json::to_string(&Report::new(&record, Status::Stopped, "")).unwrap();
        assert!(text.contains("\"pid\":0,\"status\":\"stopped\""), "{text}");
        assert!(!text.contains("annotations"), "{text}");
    }
}
