//! What a runtime left behind.
//!
//! Taken before and compared after the body of every test: mounts, processes, the state directory, keyrings, and files in
//! `/run` and `/tmp`. cgroups are looked for from outside, by the test's token.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;

use crate::sandbox::{Sandbox, eventually};

/// The sandbox as it was before the test.
#[derive(Debug)]
pub struct Census {
    mounts: String,
    names: BTreeSet<PathBuf>,
}

impl Census {
    /// Notes what is there now.
    pub fn take(sandbox: &Sandbox) -> Census {
        Census {
            mounts: mounts(),
            names: names(sandbox),
        }
    }

    /// Panics with a list of everything that is there now and was not before.
    pub fn compare(&self, sandbox: &Sandbox) {
        let mut left = Vec::new();
        if !eventually(|| processes().is_empty()) {
            left.push(format!("processes: {:?}", processes()));
        }
        if mounts() != self.mounts {
            left.push(format!("mounts:\n{}before:\n{}", mounts(), self.mounts));
        }
        let state = list(&sandbox.state);
        if !state.is_empty() {
            left.push(format!("state directory: {state:?}"));
        }
        if !eventually(|| keys(&sandbox.token).is_empty()) {
            left.push(format!("keys: {:?}", keys(&sandbox.token)));
        }
        let names: Vec<_> = names(sandbox).difference(&self.names).cloned().collect();
        if !names.is_empty() {
            left.push(format!("files: {names:?}"));
        }
        let groups = cgroups(&sandbox.token);
        if !groups.is_empty() {
            left.push(format!("cgroups: {groups:?}"));
        }
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }
}

/// The mount table of this mount namespace, without the ids that change when a table is copied.
pub fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("mountinfo")
}

/// Every process of the pid namespace but the reaper and this one, with its command line; zombies included.
pub fn processes() -> Vec<String> {
    let own = id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        if pid == 1 || pid == own {
            continue;
        }
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        found.push(format!("{pid} ({}) {line}", comm.trim()));
    }
    found
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|r| r.flatten().map(|e| e.path()).collect())
        .unwrap_or_default()
}

/// Names in `/run` and `/run/user/ID`, which the sandbox made empty, and in `/tmp`: all of them
/// where the sandbox has a `/tmp` of its own, else (when the tests themselves are built below
/// `/tmp`) those with the test's token.
fn names(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let mut names: BTreeSet<PathBuf> = list(Path::new("/run")).into_iter().collect();
    names.extend(list(
        &Path::new("/run/user").join(crate::sandbox::USER.to_string()),
    ));
    let tmp = list(Path::new("/tmp")).into_iter();
    let own = env::var_os("LOCULE_PRIVATE_TMP").is_some();
    names.extend(tmp.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        own || name.contains(&sandbox.token)
    }));
    names
}

fn keys(token: &str) -> Vec<String> {
    let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
    keys.lines()
        .filter(|line| line.contains(token))
        .map(str::to_owned)
        .collect()
}

/// Every cgroup whose name contains `token`, children before parents.
pub fn cgroups(token: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut walk = vec![(PathBuf::from("/sys/fs/cgroup"), false)];
    while let Some((folder, inside)) = walk.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                let named = inside || entry.file_name().to_string_lossy().contains(token);
                if named {
                    found.push(entry.path());
                }
                walk.push((entry.path(), named));
            }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// Removes cgroups that a failed test left.
pub fn remove_cgroups(groups: &[PathBuf]) {
    for group in groups {
        eventually(|| fs::remove_dir(group).is_ok() || !group.exists());
    }
}
