//! What several tests need: a directory, records.

use crate::process;
use crate::state::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// An empty directory that is removed at the end of the test.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("locule-test-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A record without process and cgroup.
pub(crate) fn record(id: &str) -> Record {
    Record {
        version: Record::VERSION,
        id: id.to_owned(),
        oci_version: "1.2.0".to_owned(),
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: "2026-01-02T03:04:05.000000006Z".to_owned(),
        owner: 0,
        annotations: BTreeMap::new(),
        boot_id: process::boot_id().unwrap_or_default().to_owned(),
        pid: None,
        start_time: None,
        own_pid_namespace: true,
        cgroup_manager: cgroup::Manager::Disabled,
        cgroup: None,
        resources: None,
        program: None,
        host_mounts: None,
        has_poststart: false,
        has_poststop: false,
        added_mounts: Vec::new(),
        keeps_keyring: false,
        resctrl: None,
    }
}

/// The record of a container whose first process is `pid`, now.
pub(crate) fn record_of(pid: i32) -> Record {
    let mut record = record("box");
    record.set_process(pid, process::start_time(pid).unwrap().unwrap());
    record
}
