//! `linux.intelRdt`: groups of resctrl, on a host that has none.
//!
//! A directory stands at /sys/fs/resctrl in the mount namespace of the runtime, and strace changes
//! what fstatfs(2) says of it. The kernel fills a new group with files; here a thread of the test
//! does, while strace holds the runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use integration::criu::Criu;
use integration::runtime::Outcome;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

fn is_other(s: &Sandbox) -> bool {
    s.is_control("runc wants a real resctrl")
}

/// The directory that stands at /sys/fs/resctrl.
fn tree(s: &Sandbox) -> PathBuf {
    s.dir.join("resctrl")
}

fn text(s: &Sandbox, path: &str) -> String {
    fs::read_to_string(tree(s).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Fills a group as the kernel does.
fn fill(group: &Path) {
    fs::create_dir_all(group.join("mon_groups")).expect("mon_groups");
    fs::write(group.join("tasks"), "").expect("tasks");
    fs::write(group.join("schemata"), "MB:0=100\nL3:0=fff\n").expect("schemata");
}

/// Empties a group, so that rmdir(2) removes it as it removes a group.
fn empty(s: &Sandbox, group: &str) {
    for entry in fs::read_dir(tree(s).join(group))
        .expect("a group")
        .flatten()
    {
        match entry.path().is_dir() {
            true => fs::remove_dir_all(entry.path()).expect("rmdir"),
            false => fs::remove_file(entry.path()).expect("rm"),
        }
    }
}

/// The runtime where `tree` is at /sys/fs/resctrl.
fn command(s: &Sandbox, args: &[&str]) -> Command {
    const SCRIPT: &str = r#"set -e
        mkdir -p /mnt; mount -t tmpfs tmpfs /mnt; mkdir /mnt/cgroup /mnt/resctrl
        mount --rbind /sys/fs/cgroup /mnt/cgroup; mount --bind "$1" /mnt/resctrl
        mount --rbind /mnt /sys/fs; umount --recursive /mnt
        log=$2; shift 2; exec strace --quiet=all --output="$log" --trace=fstatfs,mkdirat \
            --trace-path=/sys/fs/resctrl --trace-path=/sys/fs/resctrl/gold/mon_groups \
            --inject=fstatfs:poke_exit=@arg2=2158650700000000 --inject=mkdirat:delay_exit=1000000 "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", SCRIPT, "sh"]);
    command.arg(tree(s)).arg(s.dir.join("strace.log"));
    command.arg(&s.subject.program).arg("--root").arg(&s.state);
    command.args(args);
    command
}

/// Runs [`command`]. A group that it makes is filled.
fn run(s: &Sandbox, new: &[&str], args: &[&str]) -> Outcome {
    let groups: Vec<_> = new.iter().map(|name| tree(s).join(name)).collect();
    let filler = thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        for group in groups {
            while !group.exists() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            if group.exists() {
                fill(&group);
            }
        }
    });
    let outcome = s.finish(command(s, args), None);
    filler.join().expect("the groups");
    outcome
}

/// A created container with this `linux.intelRdt`; its own groups are filled.
fn create(s: &Sandbox, rdt: Value, new: &[&str], id: &str) -> (Bundle, Outcome) {
    let mut bundle = s.bundle();
    bundle.set("/linux/intelRdt", rdt);
    bundle.args(&["sleep", "100"]);
    let path = bundle.write().to_str().expect("UTF-8").to_owned();
    let outcome = run(s, new, &["create", "--bundle", &path, id]);
    (bundle, outcome)
}

fn state(s: &Sandbox, id: &str) -> Value {
    serde_json::from_str(&s.runtime(&["state", id]).ok().stdout).expect("JSON")
}

/// config-linux.md "IntelRdt": "the runtime MUST write the container process ID to the `tasks` file
/// in a proper sub-directory"; "If `closID` is not set and the runtime has created the
/// sub-directory, the runtime MUST remove" it. Rows S47, S48, S50.
#[test]
fn a_container_lives_in_its_group_of_resctrl() {
    sandbox::host_unless(is_other, |s| {
        fill(&tree(s));
        let id = s.id();
        let rdt = json!({
            "l3CacheSchema": "L3CODE:0=ff;1=ff\nL3DATA:0=f;1=f",
            "memBwSchema": "MB:0=50;1=50",
            "schemata": ["L2:0=f"],
        });
        create(s, rdt, &[&id], &id).1.ok();
        let pid = state(s, &id)["pid"].to_string();
        assert_eq!(text(s, &format!("{id}/tasks")), pid);
        let lines = "L3CODE:0=ff;1=ff\nL3DATA:0=f;1=f\nMB:0=50;1=50\nL2:0=f\n";
        let schemata = format!("{id}/schemata");
        assert_eq!(text(s, &schemata), lines);

        s.runtime(&["start", &id]).ok();
        run(s, &[], &["exec", &id, "true"]).ok();
        assert_ne!(text(s, &format!("{id}/tasks")), pid);

        let update = |options: &[&str]| run(s, &[], &[&["update"], options, &[&id]].concat());
        let lines = [
            "--l3-cache-schema",
            "L3:0=1\n",
            "--mem-bw-schema",
            "MB:0=10",
        ];
        update(&lines).ok();
        assert!(text(s, &schemata).starts_with("L3:0=1\nMB:0=10\n"));
        let words = ["--mem-bw-schema", "L3:0=7", "MB:"];
        update(&["--mem-bw-schema", "L3:0=7"]).fails_with(&words);

        empty(s, &id);
        run(s, &[], &["delete", "--force", &id]).ok();
        assert!(!tree(s).join(&id).exists());
    });
}

/// A restore makes no groups, so no checkpoint takes the container away; its group stays too.
#[test]
fn a_container_with_a_group_is_not_lost_to_a_checkpoint() {
    sandbox::host_unless(is_other, |s| {
        fill(&tree(s));
        let id = s.id();
        create(s, json!({ "schemata": ["L2:0=f"] }), &[&id], &id)
            .1
            .ok();
        s.runtime(&["start", &id]).ok();
        empty(s, &id);
        let criu = Criu::make(s);
        let image = s.dir.join("image");
        let image = image.to_str().expect("UTF-8");
        let mut save = command(s, &["checkpoint", "--image-path", image, &id]);
        let criu = criu.command("");
        save.envs(
            criu.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        s.finish(save, None)
            .fails_with(&["/linux/intelRdt", "--leave-running"]);
        assert!(tree(s).join(&id).exists());
        assert_eq!(state(s, &id)["status"], "running");
        run(s, &[], &["delete", "--force", &id]).ok();
        assert!(!tree(s).join(&id).exists());
    });
}

/// "the runtime MUST create a dedicated MON group for the container ... MUST delete the MON group
/// after the container is deleted"; "If `closID` is set ... the runtime MUST NOT remove the
/// sub-directory". Rows S49, S50.
#[test]
fn a_monitoring_group_counts_and_goes_with_the_container() {
    sandbox::host_unless(is_other, |s| {
        fill(&tree(s));
        fill(&tree(s).join("gold"));
        let id = s.id();
        let monitor = format!("gold/mon_groups/{id}");
        let rdt = json!({"closID": "gold", "enableMonitoring": true});
        create(s, rdt, &[&monitor], &id).1.ok();
        let pid = state(s, &id)["pid"].to_string();
        assert_eq!(text(s, "gold/tasks"), pid);
        assert_eq!(text(s, &format!("{monitor}/tasks")), pid);
        let data = tree(s).join(&monitor).join("mon_data/mon_L3_00");
        fs::create_dir_all(&data).expect("mon_data");
        fs::write(data.join("llc_occupancy"), "4096\n").expect("counter");
        fs::write(data.join("mbm_total_bytes"), "70000\n").expect("counter");
        let events = run(s, &[], &["events", "--stats", &id]).ok();
        let stats: Value = serde_json::from_str(&events.stdout).expect("JSON");
        let expected = json!({
            "l3_cache_schema": "L3:0=fff",
            "mem_bw_schema": "MB:0=100",
            "mbm_stats": [{"mbm_total_bytes": 70000, "mbm_local_bytes": 0}],
            "cmt_stats": [{"llc_occupancy": 4096}],
        });
        assert_eq!(stats["data"]["intel_rdt"], expected);
        empty(s, &monitor);
        run(s, &[], &["delete", "--force", &id]).ok();
        assert!(!tree(s).join(&monitor).exists());
        assert!(tree(s).join("gold").exists());
    });
}

/// A creation that fails leaves no group.
#[test]
fn a_creation_that_fails_leaves_no_group() {
    sandbox::host_unless(is_other, |s| {
        fill(&tree(s));
        fill(&tree(s).join("gold"));
        let id = s.id();
        let missing = json!({"closID": "silver"});
        create(s, missing, &[], &id)
            .1
            .fails_with(&["/linux/intelRdt/closID", "silver"]);
        let other = json!({"closID": "gold", "l3CacheSchema": "L3:0=1"});
        create(s, other, &[], &id)
            .1
            .fails_with(&["/linux/intelRdt/l3CacheSchema", "L3:0=fff"]);
        // Nothing fills this group, so its `tasks` is missing when the process exists already.
        create(s, json!({}), &[], &id)
            .1
            .fails_with(&["/linux/intelRdt", "tasks"]);
        assert!(!tree(s).join(&id).exists());
    });
}

/// A group that another program has removed and made anew is not the container's. Row S50.
#[test]
fn a_group_that_was_made_anew_stays() {
    sandbox::host_unless(is_other, |s| {
        fill(&tree(s));
        let id = s.id();
        create(s, json!({}), &[&id], &id).1.ok();
        empty(s, &id);
        fs::remove_dir(tree(s).join(&id)).expect("rmdir");
        fs::create_dir(tree(s).join(&id)).expect("mkdir");
        let outcome = run(s, &[], &["delete", "--force", &id]).ok();
        assert!(outcome.stderr.contains("left alone"), "{}", outcome.stderr);
        assert!(tree(s).join(&id).exists());
    });
}

/// "If no mounted resctrl pseudo-filesystem is available ... the runtime MUST generate an error."
#[test]
fn a_host_without_resctrl_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("it says so in other words") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/linux/intelRdt", json!({}));
        let words = [
            "/linux/intelRdt",
            "no resctrl file system",
            "mount -t resctrl",
        ];
        s.try_create(&bundle, &s.id(), &[]).fails_with(&words);
    });
}
