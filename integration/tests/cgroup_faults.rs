//! Control groups that are not as a runtime would like them: others' processes, frozen, threaded,
//! too small, read-only, forking away. Every case works or says in one sentence why not, leaves
//! nothing, and works once the obstacle is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use integration::{Bundle, Group, Outcome, Sandbox, leak, sandbox};
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Groups of the test's own in every hierarchy where a container's group will be, and the processes
/// in them.
struct Obstacle {
    groups: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl Obstacle {
    /// Makes `TOKEN-above/TOKEN-group` or, with an empty `below`, only the first.
    fn make(s: &Sandbox, below: &str) -> Self {
        let mount = Path::new("/sys/fs/cgroup");
        let hierarchies: Vec<PathBuf> = if s.is_v2() {
            vec![mount.to_owned()]
        } else {
            let names = ["pids", "freezer", "memory", "devices", "unified"];
            names.iter().map(|name| mount.join(name)).collect()
        };
        let groups: Vec<PathBuf> = hierarchies
            .into_iter()
            .filter(|path| path.exists())
            .map(|path| path.join(format!("{}-above", s.token)).join(below))
            .collect();
        for group in &groups {
            fs::create_dir_all(group).expect("group");
        }
        Self {
            groups,
            processes: Vec::new(),
        }
    }

    /// Writes to a file of every group that has it. At least one must.
    #[track_caller]
    fn write(&self, file: &str, value: &str) {
        let files = self.groups.iter().map(|group| group.join(file));
        let there: Vec<_> = files.filter(|path| path.exists()).collect();
        assert!(!there.is_empty(), "no {file} in {:?}", self.groups);
        for path in there {
            fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }

    /// Puts a process into every group.
    fn occupy(&mut self) -> u32 {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = child.id();
        for group in &self.groups {
            fs::write(group.join("cgroup.procs"), pid.to_string()).expect("join");
        }
        self.processes.push(child);
        pid
    }

    /// Whether the processes that were put there still are, alive.
    fn is_untouched(&mut self) -> bool {
        let alive = |child: &mut Child| child.try_wait().expect("wait").is_none();
        self.processes.iter_mut().all(alive) && self.groups.iter().all(|group| group.is_dir())
    }
}

impl Drop for Obstacle {
    /// The groups are the test's own, whatever has become of it. What a runtime left in them was
    /// looked for before.
    fn drop(&mut self) {
        for child in &mut self.processes {
            child.kill().expect("kill");
        }
        for group in &self.groups {
            for (file, value) in [("cgroup.freeze", "0"), ("freezer.state", "THAWED")] {
                let _ = fs::write(group.join(file), value); // each has one of the two
            }
        }
        for child in &mut self.processes {
            child.wait().expect("wait");
        }
        let token = self.groups[0]
            .components()
            .find_map(|part| part.as_os_str().to_str()?.strip_suffix("-above"));
        leak::remove_cgroups(&leak::cgroups(token.expect("a token")));
    }
}

/// The container's group, below the obstacle's first group.
fn bundle(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.set(
        "/linux/cgroupsPath",
        json!(format!("/{}-above/group", s.token)),
    );
    bundle
}

/// Tries to run the container. A failure leaves the groups as they were; a success leaves those
/// above the container's, which others may use.
#[track_caller]
fn attempt(s: &Sandbox, bundle: &Bundle) -> Outcome {
    let before = leak::cgroups(&s.token);
    let outcome = s.run(bundle);
    let mut after = leak::cgroups(&s.token);
    if outcome.status.success() {
        after.retain(|path| path.ends_with("group") || before.contains(path));
    }
    assert_eq!(after, before, "{}", outcome.describe("groups were left"));
    outcome
}

/// A group that was there before, and cannot take the container.
#[test]
fn a_group_that_is_there_is_refused_with_a_reason() {
    sandbox::host(|s| {
        refuses_groups(s);
    });
}

/// Where the obstacle is; the file and the value that make it one, else it is a process; what the
/// error says.
type Case<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [&'a str]);

fn refuses_groups(s: &Sandbox) {
    if s.is_control("runc 1.1 joins an occupied group, and the words are locule's") {
        return;
    }
    let frozen = if s.is_v2() {
        ("cgroup.freeze", "1")
    } else {
        ("freezer.state", "FROZEN")
    };
    let threaded = ("cgroup.type", "threaded");
    let mut cases: Vec<Case<'_>> = vec![
        ("group", None, &["occupied by other processes"]),
        ("group/inner", None, &["occupied by other processes"]),
        ("group", Some(frozen), &["is frozen; thaw it"]),
        ("", Some(frozen), &["is frozen; thaw it"]),
    ];
    if s.is_v2() {
        cases.push((
            "group",
            Some(threaded),
            &["\"threaded\"", "takes no processes"],
        ));
        cases.push((
            "",
            Some(threaded),
            &["\"domain invalid\"", "takes no processes"],
        ));
    }
    for (below, file, words) in cases {
        let mut obstacle = Obstacle::make(s, below);
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match file {
            Some((file, value)) => obstacle.write(file, value),
            None => words.push(obstacle.occupy().to_string()),
        }
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        attempt(s, &bundle(s)).fails_with(&words);
        assert!(obstacle.is_untouched(), "{below} {file:?}");
        drop(obstacle);
        s.run(&bundle(s)).ok();
        leak::remove_cgroups(&leak::cgroups(&s.token));
    }
}

/// A v1 group whose devices nothing restricts yet stays so while there are groups below it.
#[test]
fn a_v1_group_with_groups_below_it_is_refused_with_a_reason() {
    sandbox::host(|s| {
        if s.lacks_v1(&["devices"]) || s.is_control("the words are locule's") {
            return;
        }
        let obstacle = Obstacle::make(s, "group/inner");
        attempt(s, &bundle(s)).fails_with(&[
            "/linux/resources/devices",
            "devices.deny",
            "has groups below it",
            "choose another cgroupsPath",
        ]);
        drop(obstacle);
        s.run(&bundle(s)).ok();
        leak::remove_cgroups(&leak::cgroups(&s.token));
    });
}

/// "no internal processes": a v2 group that passes a domain controller on takes no process.
#[test]
fn a_group_that_passes_controllers_on_is_refused_with_a_reason() {
    sandbox::pure_v2(|s| {
        if lacks_hugetlb(s) || s.is_control("the words are locule's") {
            return;
        }
        let obstacle = Obstacle::make(s, "group");
        let above = obstacle.groups[0].parent().expect("above");
        for group in [above, &obstacle.groups[0]] {
            fs::write(group.join("cgroup.subtree_control"), "+hugetlb").expect("enable");
        }
        attempt(s, &bundle(s)).fails_with(&["cgroup.subtree_control", "/group\""]);
        fs::write(
            obstacle.groups[0].join("cgroup.subtree_control"),
            "-hugetlb",
        )
        .expect("disable");
        s.run(&bundle(s)).ok();
    });
}

/// The other way round: one with a process passes none on, and a limit below it cannot be had.
#[test]
fn a_limit_below_a_group_with_processes_is_refused_with_a_reason() {
    sandbox::pure_v2(|s| {
        if lacks_hugetlb(s) || s.is_control("the words are locule's") {
            return;
        }
        let mut obstacle = Obstacle::make(s, "");
        obstacle.occupy();
        let mut limited = bundle(s);
        limited.set(
            "/linux/resources/hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 0 }]),
        );
        attempt(s, &limited).fails_with(&[
            "/linux/resources/hugepageLimits/0/limit: ",
            "controller hugetlb is not enabled",
            "write \"+hugetlb\" to cgroup.subtree_control",
        ]);
        assert!(obstacle.is_untouched());
        attempt(s, &bundle(s)).ok();
    });
}

/// The one domain controller that every machine of the tests has in v2.
fn lacks_hugetlb(s: &Sandbox) -> bool {
    let root = Path::new("/sys/fs/cgroup/cgroup.subtree_control");
    if s.lacks_v2(&["hugetlb"]) {
        return true;
    }
    let control = fs::read_to_string(root).expect("controllers");
    let lacks = !control.contains("hugetlb") && fs::write(root, "+hugetlb").is_err();
    if lacks {
        s.skip("the root passes no hugetlb on; covered by just vm-test");
    }
    lacks
}

/// A limit on processes above, or of its own: down to one process for the container it works, else
/// the limit is named.
#[test]
fn every_small_pids_limit_works_or_is_named() {
    sandbox::host(|s| {
        small_pids(s);
    });
}

fn small_pids(s: &Sandbox) {
    if s.lacks(&["pids"]) || s.is_control("runc's own threads need more") {
        return;
    }
    let map = [(0, 100_000, 65536)];
    let plain = bundle(s);
    let mut user = bundle(s);
    user.user_namespace(&map);
    s.tool(
        "chown",
        &["-R", "100000:100000", user.root().to_str().expect("text")],
    );
    let mut time = bundle(s);
    time.namespace("time")
        .set("/linux/timeOffsets/boottime/secs", json!(5));
    for mut bundle in [plain, user, time] {
        // What two processes suffice for more do, too.
        for limit in 0..=2 {
            // Of the group above, then of its own, which counts from 1.
            for own in [false, true] {
                let obstacle = Obstacle::make(s, "");
                if own {
                    bundle.set("/linux/resources/pids/limit", json!(limit));
                } else {
                    bundle.set("/linux/resources", json!({}));
                    obstacle.write("pids.max", &limit.to_string());
                }
                let outcome = attempt(s, &bundle);
                if !outcome.status.success() {
                    let number = format!(" is {}", if own { limit.max(1) } else { limit });
                    let outcome = outcome.fails_with(&["pids.max of cgroup", &number]);
                    assert!(limit < 2, "{}", outcome.describe("wanted success"));
                }
            }
        }
    }
}

/// From a quarter of a MiB to 8: each limit starts the program or says with its numbers why not.
/// About one of 60 programs with too little memory is ended by the kernel after execve(2): its
/// status is 137, and nothing can be said.
#[test]
fn every_small_memory_limit_works_or_is_named() {
    sandbox::host(|s| {
        if s.lacks(&["memory"]) || s.is_control("runc 1.1 says less") {
            return;
        }
        let mut bundle = bundle(s);
        let mut smallest = None;
        for bytes in [1, 2, 3, 4, 6, 32].map(|quarter| quarter * MIB / 4) {
            bundle.set(
                "/linux/resources/memory",
                json!({ "limit": bytes, "swap": bytes }),
            );
            let _above = Obstacle::make(s, "");
            let mut attempts = (0..4).map(|_| attempt(s, &bundle));
            let outcome = attempts.find(|outcome| outcome.status.code() != Some(137));
            let outcome = outcome.expect("an answer of the runtime");
            if outcome.status.success() {
                smallest = smallest.or(Some(bytes));
            } else {
                outcome.fails_with(&["memory", &format!("{bytes} bytes")]);
                assert!(bytes < MIB, "{bytes}");
            }
        }
        assert!(smallest <= Some(MIB), "{smallest:?}");
    });
}

/// Nothing can be made where the hierarchies are read-only; without a group of its own the
/// container runs.
#[test]
fn a_read_only_mount_is_named() {
    sandbox::host(|s| {
        read_only(s);
    });
}

fn read_only(s: &Sandbox) {
    if s.is_control("runc 1.1 goes on without groups") {
        return;
    }
    let table = leak::mounts();
    // What the view of v2 covers is out of reach.
    let points: Vec<&str> = table
        .points()
        .filter(|point| match s.is_v2() {
            true => *point == "/sys/fs/cgroup",
            false => point.starts_with("/sys/fs/cgroup"),
        })
        .collect();
    let remount = |option: &str| {
        for point in &points {
            s.tool("mount", &["-o", &format!("remount,bind,{option}"), point]);
        }
    };
    remount("ro");
    let outcome = attempt(s, &bundle(s));
    remount("rw");
    outcome.fails_with(&[
        "make cgroup",
        "--cgroup-manager disabled",
        "read-only file system",
    ]);
    s.run(&bundle(s)).ok();
    leak::remove_cgroups(&leak::cgroups(&s.token));
}

/// Processes that fork and end as fast as they can are all gone after a forced delete, and so is
/// the group.
#[test]
fn what_forks_away_is_deleted() {
    sandbox::host(|s| {
        forks_away(s);
    });
}

fn forks_away(s: &Sandbox) {
    for pid_namespace in [true, false] {
        let mut bundle = s.bundle();
        if !pid_namespace {
            bundle.inherit("pid");
        }
        // Each generation starts the next and ends.
        bundle.file("/hop", "#!/bin/sh\n/hop &\n", 0o755);
        bundle
            .in_group(s)
            .shell("for i in 1 2 3 4; do /hop & done; echo ready; exec sleep 1000");
        for round in 0..3 {
            let container = s.started(&bundle);
            container.wait_output("ready");
            if round == 0 {
                container.kill("KILL").ok();
            }
            container.remove();
            assert!(
                !Group::of_test(s).exists(),
                "pid namespace: {pid_namespace}"
            );
        }
    }
}

/// A process that another program has put into the group of a stopped container lives on, and so
/// does the group.
#[test]
fn a_deletion_leaves_a_foreign_process() {
    sandbox::host(|s| {
        leaves_a_foreign_process(s);
    });
}

/// The same where cgroup v2 is all there is.
#[test]
fn a_deletion_leaves_a_foreign_process_in_v2() {
    sandbox::pure_v2(|s| {
        leaves_a_foreign_process(s);
    });
}

fn leaves_a_foreign_process(s: &Sandbox) {
    if s.is_control("runc 1.1 kills it") {
        return;
    }
    let mut bundle = bundle(s);
    bundle.args(&["sleep", "1000"]);
    let container = s.stopped(&bundle);
    let mut obstacle = Obstacle::make(s, "group");
    let pid = obstacle.occupy();
    s.runtime(&["kill", "--all", &container.id, "KILL"]).ok();
    let outcome = container.delete().ok();
    let sentence = format!(
        "[{pid}] in this cgroup do not belong to container {}",
        container.id
    );
    assert!(
        outcome.stderr.contains(&sentence),
        "{}",
        outcome.describe("wanted a sentence")
    );
    assert!(obstacle.is_untouched());
    assert!(!s.state.join(&container.id).exists());
}

/// What has the path of a container of an earlier boot is not that container's.
#[test]
fn a_deletion_after_a_boot_leaves_all_groups() {
    sandbox::host(|s| {
        leaves_after_a_boot(s);
    });
}

/// The same where cgroup v2 is all there is.
#[test]
fn a_deletion_after_a_boot_leaves_all_groups_in_v2() {
    sandbox::pure_v2(|s| {
        leaves_after_a_boot(s);
    });
}

fn leaves_after_a_boot(s: &Sandbox) {
    if s.is_control("runc 1.1 records no boot") {
        return;
    }
    let mut bundle = bundle(s);
    // Whatever it leaves behind would be killed with it.
    bundle.inherit("pid").args(&["sleep", "1000"]);
    let container = s.stopped(&bundle);
    let mut obstacle = Obstacle::make(s, "group");
    obstacle.occupy();
    let boot = s.dir.join("boot");
    fs::write(&boot, "11111111-2222-3333-4444-555555555555\n").expect("boot id");
    let file = "/proc/sys/kernel/random/boot_id";
    s.tool("mount", &["--bind", boot.to_str().expect("text"), file]);
    let killed = container.kill("KILL");
    let outcome = container.delete();
    s.tool("umount", &[file]);
    killed.fails_with(&["container not running"]);
    let outcome = outcome.ok();
    assert!(
        outcome.stderr.contains("earlier boot"),
        "{}",
        outcome.describe("wanted a sentence")
    );
    assert!(obstacle.is_untouched());
}
