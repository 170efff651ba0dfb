//! What a runtime left behind.
//!
//! Taken before and compared after the body of every test: mounts, processes, the state directory,
//! keyrings, units of systemd, and files in `/run` and `/tmp`. cgroups are also searched from
//! outside, by the test's token.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};

use crate::sandbox::{Environment, Sandbox, USER, eventually};

/// The sandbox as it was before the test.
#[derive(Debug)]
pub struct Census {
    mounts: Mounts,
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

    /// Panics with a list of everything that exists now and did not exist before.
    pub fn compare(&self, sandbox: &Sandbox) {
        let mut left = Vec::new();
        let running = || {
            if sandbox.environment.is_systemd() {
                members(&sandbox.token)
            } else {
                processes()
            }
        };
        if !eventually(|| running().is_empty()) {
            left.push(format!("processes: {:?}", running()));
        }
        let units = || units(sandbox.environment, &sandbox.token);
        if !eventually(|| units().is_empty()) {
            left.push(format!("units: {:?}", units()));
        }
        if mounts() != self.mounts {
            let (now, before) = (mounts().0.join("\n"), self.mounts.0.join("\n"));
            left.push(format!("mounts:\n{now}\nbefore:\n{before}"));
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
        let mut groups = cgroups(&sandbox.token);
        groups.retain(|path| path.exists() && !is_of_the_test(path, &sandbox.token));
        left.extend(groups.iter().map(|path| describe(path)));
        assert!(
            left.is_empty(),
            "left behind:\n{}\nthe commands said:\n{}",
            left.join("\n"),
            warnings(&sandbox.dir).join("\n")
        );
    }
}

/// A group that was listed, and whether it is still there.
fn describe(group: &Path) -> String {
    let age = fs::metadata(group).and_then(|data| data.modified());
    let age = age.map(|time| time.elapsed().unwrap_or_default());
    let members = fs::read_to_string(group.join("cgroup.procs"));
    format!("cgroup: {group:?}, {age:?} old, members: {members:?}")
}

/// What the commands of the test have written to standard error, failed or not.
fn warnings(folder: &Path) -> Vec<String> {
    let mut files = list(folder);
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("stderr")
    });
    files.sort();
    files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .filter(|text| !text.is_empty())
        .collect()
}

/// Where locule pins the base of mount namespaces. It stays until the machine shuts down.
pub const BASE: &str = "/run/locule/@base";

/// The mount table of this mount namespace, without the base.
///
/// Two tables are equal as well if they differ in mounts whose mount points are gone: when another
/// process of the machine removes a directory, the kernel detaches what is mounted there in every
/// other mount namespace.
#[derive(Debug)]
pub struct Mounts(Vec<String>);

impl PartialEq for Mounts {
    fn eq(&self, other: &Self) -> bool {
        let has_place = |line: &&String| point(line).is_some_and(|point| point.exists());
        let left = self.0.iter().filter(has_place);
        left.eq(other.0.iter().filter(has_place))
    }
}

impl Mounts {
    /// The mount points.
    pub fn points(&self) -> impl Iterator<Item = &str> {
        let points = self.0.iter().filter_map(|line| point(line));
        points.filter_map(Path::to_str)
    }
}

/// The mount point in a line of mountinfo.
fn point(line: &str) -> Option<&Path> {
    line.split(' ').nth(4).map(Path::new)
}

/// The mount table as it is now.
pub fn mounts() -> Mounts {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let of_base = |line: &&str| point(line).is_some_and(|point| point.starts_with(BASE));
    let lines = table.lines().filter(|line| !of_base(line));
    Mounts(lines.map(str::to_owned).collect())
}

/// Every process of the pid namespace except the reaper and this one, with its command line;
/// zombies included.
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

/// For a shared pid namespace: every process in a group with the token, except this one and its
/// ancestors.
pub fn members(token: &str) -> Vec<String> {
    let mut own = Vec::new();
    let mut pid = id();
    while pid > 1 {
        own.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // pid (comm) state ppid
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        pid = parent.and_then(|text| text.parse().ok()).unwrap_or(0);
    }
    let mut found = Vec::new();
    for group in cgroups(token) {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in text.lines().filter_map(|line| line.parse::<u32>().ok()) {
            if !own.contains(&pid) {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                found.push(format!("{pid} ({})", comm.trim()));
            }
        }
    }
    found
}

/// The scope or group of the test itself, if it shares the machine's processes.
fn is_of_the_test(group: &Path, token: &str) -> bool {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    name == format!("{token}-test.scope") || name == format!("{token}-test")
}

/// The groups with the token that still exist some time after the test. The test's own group is
/// removed when it is empty, by systemd or by this function.
pub fn outlasting(token: &str) -> Vec<PathBuf> {
    eventually(|| {
        let left = cgroups(token);
        for group in left.iter().filter(|path| is_of_the_test(path, token)) {
            // Not empty yet, or removed: the next check finds out.
            let _ = fs::remove_dir(group);
        }
        left.is_empty()
    });
    cgroups(token)
}

/// systemctl(1) for the manager of the environment.
fn systemctl(environment: Environment) -> Command {
    if environment == Environment::Systemd {
        return Command::new("systemctl");
    }
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    command.args(["systemctl", "--user"]);
    command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
    command
}

/// The units of systemd with the token in their names, except the test's own.
pub fn units(environment: Environment, token: &str) -> Vec<String> {
    if !environment.is_systemd() {
        return Vec::new();
    }
    let output = systemctl(environment)
        .args(["list-units", "--all", "--plain", "--no-legend"])
        .arg(format!("*{token}*"))
        .output()
        .expect("systemctl");
    assert!(output.status.success(), "systemctl list-units: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let own = format!("{token}-test.scope");
    text.lines()
        .filter(|line| line.split_whitespace().next() != Some(&own))
        .map(str::to_owned)
        .collect()
}

/// Ends units that a failed test left.
pub fn stop_units(environment: Environment, token: &str) {
    for line in units(environment, token) {
        let unit = line.split_whitespace().next().unwrap_or_default();
        for verb in ["stop", "reset-failed"] {
            let output = systemctl(environment).args([verb, unit]).output();
            println!("systemctl {verb} {unit}: {output:?}");
        }
    }
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|r| r.flatten().map(|e| e.path()).collect())
        .unwrap_or_default()
}

/// Names in `/run` and `/run/user/ID`, which the sandbox made empty, and in `/tmp`. In `/tmp` these
/// are all names if the sandbox has its own, else (if the tests are built below `/tmp`) those with
/// the test's token.
fn names(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let mut names: BTreeSet<PathBuf> = list(Path::new("/run")).into_iter().collect();
    let home = Path::new(BASE).parent().unwrap_or(Path::new("/"));
    if list(home) == [PathBuf::from(BASE)] {
        names.remove(home);
    }
    names.extend(list(&Path::new("/run/user").join(USER.to_string())));
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
        // The file exists since Linux 5.14, on cgroup v2. On v1 the pid namespace has ended the
        // processes.
        let _ = fs::write(group.join("cgroup.kill"), "1");
        eventually(|| fs::remove_dir(group).is_ok() || !group.exists());
    }
}
