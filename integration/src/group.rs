//! A container's control groups, read through the cgroup version of the machine.
//!
//! Tests use the units of the specification, which are those of cgroup v1. This module knows which
//! file has a limit, and in which unit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::runtime::Container;
use crate::sandbox::Sandbox;

const MOUNT: &str = "/sys/fs/cgroup";

/// A bundle in the test's own group with these limits.
pub fn limited(s: &Sandbox, resources: Value) -> Bundle {
    let mut bundle = s.bundle();
    bundle.in_group(s).set("/linux/resources", resources);
    bundle
}

/// Something that `linux.resources` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// `memory.limit`, bytes.
    Memory,
    /// `memory.reservation`, bytes.
    Reservation,
    /// `memory.swap`: memory and swap together, bytes.
    Swap,
    /// `cpu.shares`.
    Shares,
    /// `cpu.quota`, microseconds.
    Quota,
    /// `cpu.period`, microseconds.
    Period,
    /// `cpu.burst`, microseconds.
    Burst,
    /// `cpu.idle`.
    Idle,
    /// `cpu.cpus`.
    Cpus,
    /// `cpu.mems`.
    Mems,
    /// `pids.limit`.
    Pids,
}

impl Limit {
    /// The v1 controller, its file, the v2 file.
    fn files(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Memory => ("memory", "memory.limit_in_bytes", "memory.max"),
            Self::Reservation => ("memory", "memory.soft_limit_in_bytes", "memory.low"),
            Self::Swap => ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
            Self::Shares => ("cpu", "cpu.shares", "cpu.weight"),
            Self::Quota => ("cpu", "cpu.cfs_quota_us", "cpu.max"),
            Self::Period => ("cpu", "cpu.cfs_period_us", "cpu.max"),
            Self::Burst => ("cpu", "cpu.cfs_burst_us", "cpu.max.burst"),
            Self::Idle => ("cpu", "cpu.idle", "cpu.idle"),
            Self::Cpus => ("cpuset", "cpuset.cpus", "cpuset.cpus"),
            Self::Mems => ("cpuset", "cpuset.mems", "cpuset.mems"),
            Self::Pids => ("pids", "pids.max", "pids.max"),
        }
    }
}

/// The groups of one container.
#[derive(Debug)]
pub struct Group {
    is_v2: bool,
    /// The path below the mount of each v1 controller; of v2 under the empty name.
    paths: BTreeMap<String, String>,
    /// Where a controller without an entry is.
    default: String,
}

impl Group {
    /// The group that [`Bundle::in_group`] asks for.
    pub fn of_test(sandbox: &Sandbox) -> Group {
        Group {
            is_v2: sandbox.is_v2(),
            paths: BTreeMap::new(),
            default: format!("{}-group", sandbox.token),
        }
    }

    /// The groups that hold a container's first process.
    pub fn of(sandbox: &Sandbox, container: &Container<'_>) -> Group {
        let file = format!("/proc/{}/cgroup", container.pid());
        let text = fs::read_to_string(file).expect("cgroup");
        let mut paths = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next().expect("names"), fields.next().expect("path"));
            let path = path.trim_start_matches('/').to_owned();
            for name in names.split(',') {
                paths.insert(name.to_owned(), path.clone());
            }
        }
        let default = paths.get("").cloned().unwrap_or_default();
        Group {
            is_v2: sandbox.is_v2(),
            paths,
            default,
        }
    }

    /// The directory in the hierarchy of a v1 controller; on v2 there is only one.
    pub fn path(&self, controller: &str) -> PathBuf {
        let mount = Path::new(MOUNT);
        let name = if self.is_v2 { "" } else { controller };
        let path = self.paths.get(name).unwrap_or(&self.default);
        mount.join(name).join(path)
    }

    /// Whether it exists in any of the usual hierarchies.
    pub fn exists(&self) -> bool {
        let controllers = ["cpu", "memory", "pids", "blkio", "freezer", "unified"];
        controllers.iter().any(|name| self.path(name).exists())
    }

    /// The content of a file that is the same on both interfaces, or of one interface only.
    #[track_caller]
    pub fn read(&self, controller: &str, file: &str) -> String {
        let path = self.path(controller).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim_end().to_owned()
    }

    /// The number behind a key of a file such as cpu.stat.
    #[track_caller]
    pub fn count(&self, controller: &str, file: &str, key: &str) -> u64 {
        let text = self.read(controller, file);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("{key} in {text}"));
        value.trim().parse().expect("a number")
    }

    /// A limit in the specification's unit; `max` is no limit. If only the weight is known, the
    /// shares are found among the values that tests use.
    #[track_caller]
    pub fn limit(&self, limit: Limit) -> String {
        let (controller, v1, v2) = limit.files();
        if !self.is_v2 {
            let text = self.read(controller, v1);
            let is_none = text == "-1" || text.parse().is_ok_and(|bytes: u64| bytes > 1 << 60);
            return if is_none { "max".to_owned() } else { text };
        }
        let text = self.read(controller, v2);
        match limit {
            Limit::Quota => word(&text, 0),
            Limit::Period => word(&text, 1),
            Limit::Swap if text != "max" => {
                let memory: u64 = self
                    .limit(Limit::Memory)
                    .parse()
                    .expect("a limit of memory");
                let swap: u64 = text.parse().expect("a number");
                (memory + swap).to_string()
            }
            Limit::Shares => match &*text {
                "100" => "1024".to_owned(),
                "59" => "512".to_owned(),
                other => format!("weight {other}"),
            },
            _ => text,
        }
    }
}

fn word(text: &str, index: usize) -> String {
    let word = text.split_whitespace().nth(index);
    word.unwrap_or_else(|| panic!("word {index} of {text}"))
        .to_owned()
}

impl Bundle {
    /// Asks for a group of the test's own, which [`Group::of_test`] finds.
    pub fn in_group(&mut self, sandbox: &Sandbox) -> &mut Self {
        self.set(
            "/linux/cgroupsPath",
            json!(format!("/{}-group", sandbox.token)),
        )
    }
}
