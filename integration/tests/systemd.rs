//! The systemd manager: groups as transient scopes. config-linux.md "Cgroups Path" leaves the form
//! of the path to the runtime; what is promised here is that the scope is what was asked for, that
//! systemd keeps it so, and that nothing of it is left.
//!
//! Most of it needs systemd as process 1 and so the virtual machine (`just vm-test systemd`).

use std::fs;

use integration::sandbox;
use integration::scope::{
    Scope, bundle, create, is_gone, no_state_is_left, patiently, show, started, systemctl,
};
use serde_json::json;

const MOUNT: &str = "/sys/fs/cgroup";

/// The whole life, as engines call it: `--systemd-cgroup` with `create`, and nothing with the other
/// commands.
#[test]
fn a_container_lives_and_ends_in_its_scope() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        create(s, &bundle, &id).ok();
        let scope = Scope::of(s, id.clone(), format!("p-{id}.scope"));
        assert!(scope.is("created"));
        scope.shows(&[
            ("ActiveState", "active"),
            ("Slice", "system.slice"),
            ("Delegate", "yes"),
            ("DefaultDependencies", "no"),
            ("Description", &format!("locule container {}", scope.id)),
            ("Transient", "yes"),
        ]);
        scope.command(&["start"]).ok();
        assert!(scope.is("running"));
        assert_eq!(scope.path(), format!("/system.slice/{}", scope.unit));
        let pids = scope.command(&["ps", "--format", "json"]).ok().stdout;
        assert_eq!(pids.trim(), format!("[{}]", scope.pid()));
        scope.command(&["pause"]).ok();
        assert!(scope.is("paused"));
        scope.command(&["resume"]).ok();
        assert!(scope.is("running"));
        s.runtime(&["kill", &scope.id, "9"]).ok();
        assert!(sandbox::eventually(|| scope.is("stopped")));
        scope.command(&["delete"]).ok();
        is_gone(s, &scope.unit);
        no_state_is_left(s);
    });
}

/// A paused container is deleted by force, and an attached one leaves nothing.
#[test]
fn paused_and_attached_containers_leave_nothing() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        let scope = started(s, &bundle, &id);
        scope.command(&["pause"]).ok();
        scope.remove();
        let (mut bundle, id) = self::bundle(s, "system.slice");
        bundle.shell("cat /proc/self/cgroup; exit 3");
        let mut command = s.command();
        command.args(["--systemd-cgroup", "run", "--bundle"]);
        command.arg(bundle.write()).arg(&id);
        // Its own group is the root of its view.
        s.finish(command, Some(&bundle)).exits(3).contains("0::/\n");
        is_gone(s, &format!("p-{id}.scope"));
    });
}

/// A scope goes with its last process, and its name is free: what is said to the former container
/// does nothing to the one that has it now.
#[test]
fn a_later_container_in_a_scope_of_the_name_is_left_alone() {
    sandbox::systemd(|s| {
        let (bundle, id) = bundle(s, "system.slice");
        let first = started(s, &bundle, &id);
        s.runtime(&["kill", &first.id, "9"]).ok();
        assert!(patiently(
            || show(s, &first.unit)["LoadState"] == "not-found"
        ));
        let other = s.id();
        create(s, &bundle, &other).ok();
        let second = Scope {
            s,
            unit: first.unit.clone(),
            id: other,
        };
        second.command(&["start"]).ok();
        let pids = first.command(&["ps", "--format", "json"]).ok().stdout;
        assert!(!pids.contains(&second.pid().to_string()), "{pids}");
        first.command(&["delete"]).ok();
        assert!(second.is("running"));
        second.shows(&[("ActiveState", "active")]);
        second.remove();
        no_state_is_left(s);
    });
}

/// Without a PID namespace processes outlive the first. They are killed, and not left to systemd,
/// which would ask them to end and wait.
#[test]
fn a_process_that_outlives_the_first_is_killed() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle
            .inherit("pid")
            .shell("trap '' TERM; sleep 8765 >/dev/null 2>&1 & exit 3");
        let mut command = s.command();
        command.args(["--systemd-cgroup", "run", "--bundle"]);
        command.arg(bundle.write()).arg(&id);
        let outcome = s.finish(command, Some(&bundle)).exits(3);
        assert_eq!(outcome.stderr, "");
        is_gone(s, &format!("p-{id}.scope"));
        no_state_is_left(s);
        let left = s.tool("sh", &["-c", "pgrep -f 'sleep 876[5]' || :"]);
        assert_eq!(left, "");
    });
}

/// A slice `a-b.slice` is below `a.slice`; without a path the scope is named by the id; a `-` is
/// the root.
#[test]
fn the_path_names_slice_and_scope() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "locule-nested.slice");
        let scope = started(s, &bundle, &id);
        let path = format!("/locule.slice/locule-nested.slice/{}", scope.unit);
        assert_eq!(scope.path(), path);
        scope.remove();
        systemctl(s, &["stop", "locule.slice"]).ok();

        bundle.set("/linux/cgroupsPath", json!(format!("-:p:{id}")));
        let scope = started(s, &bundle, &id);
        assert_eq!(scope.path(), format!("/{}", scope.unit));
        scope.remove();

        bundle.remove("/linux/cgroupsPath");
        create(s, &bundle, &id).ok();
        let mut scope = Scope::of(s, id.clone(), format!("locule-{id}.scope"));
        assert_eq!(scope.path(), format!("/system.slice/{}", scope.unit));
        scope.remove();

        // A name that systemd writes with an underscore in front.
        let (mut bundle, id) = self::bundle(s, "system.slice");
        bundle.set(
            "/linux/cgroupsPath",
            json!(format!("system.slice:_{}:x", s.token)),
        );
        create(s, &bundle, &id).ok();
        scope = Scope::of(s, id.clone(), format!("_{}-x.scope", s.token));
        assert_eq!(scope.path(), format!("/system.slice/_{}", scope.unit));
        scope.remove();
    });
}

/// Every limit that systemd has a property for is told to it, so that a daemon-reload, which writes
/// the files anew, changes nothing.
#[test]
fn limits_outlive_a_daemon_reload() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set(
            "/linux/resources",
            json!({
                "memory": { "limit": 100_663_296, "reservation": 50_331_648, "swap": 134_217_728 },
                "cpu": { "shares": 512, "quota": 15_000, "period": 50_000, "cpus": "0-1", "mems": "0" },
                "pids": { "limit": 77 },
                "unified": { "memory.high": "90000000", "memory.oom.group": "0" }
            }),
        );
        let scope = started(s, &bundle, &id);
        scope.shows(&[
            ("MemoryMax", "100663296"),
            ("MemoryLow", "50331648"),
            ("MemorySwapMax", "33554432"),
            ("MemoryHigh", "90000000"),
            ("OOMPolicy", "continue"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "300ms"),
            ("CPUQuotaPeriodUSec", "50ms"),
            ("AllowedCPUs", "0-1"),
            ("AllowedMemoryNodes", "0"),
            ("TasksMax", "77"),
        ]);
        let files = [
            ("memory.max", "100663296"),
            ("memory.low", "50331648"),
            ("memory.swap.max", "33554432"),
            ("memory.high", "89997312"),
            ("cpu.weight", "59"),
            ("cpu.max", "15000 50000"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "77"),
        ];
        scope.has(&files);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&files);
        // A change of one property has systemd write the others too.
        systemctl(
            s,
            &["set-property", "--runtime", &scope.unit, "CPUWeight=60"],
        )
        .ok();
        scope.has(&[
            ("cpu.weight", "60"),
            ("memory.max", "100663296"),
            ("pids.max", "77"),
        ]);
        scope.remove();
    });
}

/// What systemd has no property for is written to the files, and stays.
#[test]
fn what_systemd_has_no_word_for_is_in_the_files() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set(
            "/linux/resources",
            json!({
                "cpu": { "quota": 12_345, "burst": 10_000 },
                "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }]
            }),
        );
        let scope = started(s, &bundle, &id);
        // systemd keeps whole percents of a CPU, never less than was asked for; the kernel has what
        // was asked for.
        scope.shows(&[("CPUQuotaPerSecUSec", "130ms")]);
        scope.has(&[("cpu.max", "12345 100000")]);
        let files = [("cpu.max.burst", "10000"), ("hugetlb.2MB.max", "4194304")];
        scope.has(&files);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&files);
        scope.remove();
    });
}

/// The numbers of the machine's disks.
fn disks() -> Vec<(u32, u32)> {
    let disks = fs::read_dir("/sys/block").expect("disks").flatten();
    let disks = disks.map(|disk| disk.path());
    let disks = disks.filter(|path| path.join("device").exists());
    let mut numbers: Vec<_> = disks
        .map(|path| {
            let text = fs::read_to_string(path.join("dev")).expect("dev");
            let (major, minor) = text.trim().split_once(':').expect("a number");
            (major.parse().expect("major"), minor.parse().expect("minor"))
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Throttles of devices, by number.
#[test]
fn limits_of_block_devices_are_properties() {
    sandbox::systemd(|s| {
        let Some((major, minor)) = disks().into_iter().next() else {
            s.skip("no disk; covered by just vm-test");
            return;
        };
        let (mut bundle, id) = bundle(s, "system.slice");
        let rate = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
        bundle.set(
            "/linux/resources/blockIO",
            json!({ "throttleReadBpsDevice": rate(1_048_576), "throttleWriteIOPSDevice": rate(120) }),
        );
        let scope = started(s, &bundle, &id);
        let all = show(s, &scope.unit);
        assert!(all["IOReadBandwidthMax"].ends_with(" 1048576"), "{all:?}");
        assert!(all["IOWriteIOPSMax"].ends_with(" 120"), "{all:?}");
        let line = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=120");
        scope.has(&[("io.max", &line)]);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&[("io.max", &line)]);
        scope.remove();
    });
}

/// An update is told to systemd too; one that fails half way changes neither properties nor files.
#[test]
fn an_update_changes_properties_and_files_or_neither() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set(
            "/linux/resources",
            json!({ "memory": { "limit": 67_108_864 }, "cpu": { "quota": 30_000 }, "pids": { "limit": 50 } }),
        );
        let scope = started(s, &bundle, &id);
        scope
            .command(&["update", "--memory", "96m", "--cpu-quota", "25000"])
            .ok();
        let files = [
            ("memory.max", "100663296"),
            ("cpu.max", "25000 100000"),
            ("pids.max", "50"),
        ];
        let properties = [
            ("MemoryMax", "100663296"),
            ("CPUQuotaPerSecUSec", "250ms"),
            ("TasksMax", "50"),
        ];
        scope.has(&files);
        scope.shows(&properties);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&files);

        // The burst is refused by the kernel, after systemd has taken the rest.
        let change = s.dir.join("change.json");
        let text = r#"{"memory":{"limit":33554432},"pids":{"limit":10},"unified":{"cpu.max.burst":"99999999"}}"#;
        fs::write(&change, text).expect("change");
        scope
            .command(&["update", "--resources", change.to_str().expect("UTF-8")])
            .fails_with(&["/linux/resources/unified/cpu.max.burst", "burst"]);
        scope.has(&files);
        scope.shows(&properties);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&files);
        // systemd takes no other policy for a unit that is there; the file is written. A test
        // beside this one may reload systemd at that moment, which then writes its own policy
        // again.
        fs::write(&change, r#"{"unified":{"memory.oom.group":"1"}}"#).expect("change");
        let kills_all = || {
            let path = change.to_str().expect("UTF-8");
            scope.command(&["update", "--resources", path]).ok();
            scope.reads("memory.oom.group") == "1"
        };
        assert!(sandbox::eventually(kills_all));
        scope.command(&["update", "--cpu-idle", "1"]).ok();
        scope.has(&[("cpu.idle", "1")]);
        systemctl(s, &["daemon-reload"]).ok();
        scope.has(&[("cpu.idle", "1")]);
        scope.command(&["update", "--cpu-idle", "0"]).ok();
        let other = ["set-property", "--runtime", &scope.unit, "CPUQuota=40%"];
        systemctl(s, &other).ok();
        scope.has(&[("cpu.idle", "0"), ("cpu.max", "40000 100000")]);
        scope.shows(&[("CPUWeight", "100")]);
        scope.remove();
    });
}

/// `org.systemd.property.NAME` sets a property of the scope.
#[test]
fn annotations_are_properties() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set(
            "/annotations",
            json!({
                "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
                "org.systemd.property.KillSignal": "10",
                "org.systemd.property.RuntimeMaxSec": "900",
                "org.systemd.property.CollectMode": "'inactive'",
                "org.systemd.property.After": "['local-fs.target']",
                "org.example": "uint64 nothing"
            }),
        );
        let scope = started(s, &bundle, &id);
        scope.shows(&[
            ("TimeoutStopUSec", "7s"),
            ("KillSignal", "10"),
            ("RuntimeMaxUSec", "15min"),
            ("CollectMode", "inactive"),
        ]);
        assert!(show(s, &scope.unit)["After"].contains("local-fs.target"));
        scope.remove();
    });
}

/// What the configuration limits stays as it is, also after a reload, when systemd writes its
/// limits again.
#[test]
fn an_annotation_does_not_change_a_limit() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set("/linux/resources/memory", json!({ "limit": 100_663_296 }));
        bundle.set(
            "/annotations",
            json!({ "org.systemd.property.MemoryMax": "uint64 1073741824" }),
        );
        let scope = started(s, &bundle, &id);
        systemctl(s, &["daemon-reload"]).ok();
        scope.shows(&[("MemoryMax", "100663296")]);
        scope.has(&[("memory.max", "100663296")]);
        scope.remove();
    });
}

/// What systemd does not take is told with the annotation that asks for it, if systemd names it,
/// and undone.
#[test]
fn properties_that_systemd_refuses_make_nothing() {
    sandbox::systemd(|s| {
        for (name, text, told) in [
            ("KillSignal", "'SIGTERM'", "systemd refuses"),
            (
                "NoSuchProperty",
                "1",
                "/annotations/org.systemd.property.NoSuchProperty",
            ),
        ] {
            let (mut bundle, id) = bundle(s, "system.slice");
            bundle.set(
                &format!("/annotations/org.systemd.property.{name}"),
                json!(text),
            );
            create(s, &bundle, &id).fails_with(&[told]);
            is_gone(s, &format!("p-{id}.scope"));
            no_state_is_left(s);
        }
    });
}

/// A malformed annotation or path is an error with its pointer, before anything is made or anybody
/// is asked; here or anywhere.
#[test]
fn malformed_annotations_and_paths_are_refused() {
    sandbox::pure_v2(|s| {
        for (name, text, told) in [
            ("KillSignal", "fifteen", "is not a value"),
            ("TimeoutStopSec", "'15'", "not a number of seconds"),
            ("PIDs", "@au [1]", "the runtime's own"),
            ("SuccessAction", "'poweroff-force'", "acts on other units"),
            ("Conflicts", "['ssh.service']", "acts on other units"),
            ("No_Name", "1", "not the name of a property"),
        ] {
            let (mut bundle, id) = bundle(s, "system.slice");
            let key = format!("/annotations/org.systemd.property.{name}");
            bundle.set(&key, json!(text));
            create(s, &bundle, &id).fails_with(&[told, &key]);
        }
        for path in [
            "/a/b",
            "a:b",
            "a:b:c",
            "system.slice:..:x/y",
            "system.slice:p:x.slice",
            "system.slice:p:a b",
            "a--b.slice:p:x",
        ] {
            let mut bundle = s.bundle();
            bundle.set("/linux/cgroupsPath", json!(path));
            create(s, &bundle, &s.id()).fails_with(&["/linux/cgroupsPath"]);
        }
        no_state_is_left(s);
    });
}

/// The rules hold by our own program and systemd's, and still do when systemd has loaded its own
/// anew.
#[test]
fn device_rules_hold_before_and_after_a_daemon_reload() {
    sandbox::systemd(|s| {
        let disks = disks();
        let [(major, yes), (other, no), ..] = disks[..] else {
            s.skip("no two disks; covered by just vm-test");
            return;
        };
        assert_eq!(major, other);
        let node = |path: &str, minor: u32| json!({ "path": path, "type": "b", "major": major, "minor": minor, "fileMode": 0o666 });
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle
            .set("/linux/devices", json!([node("/dev/yes", yes), node("/dev/no", no)]))
            .set(
                "/linux/resources/devices",
                json!([
                    { "allow": false, "access": "rwm" },
                    { "allow": true, "type": "b", "major": major, "access": "r" },
                    { "allow": false, "type": "b", "major": major, "minor": no, "access": "r" }
                ]),
            )
            .writable()
            .shell(
                "while :; do for d in yes no null; do if (: < /dev/$d) 2> /dev/null; then echo $d; fi; done > /next; mv /next /opened; sleep 0.1; done",
            );
        let root = bundle.root();
        let scope = started(s, &bundle, &id);
        let opened = || fs::read_to_string(root.join("opened")).unwrap_or_default();
        assert!(sandbox::eventually(|| !opened().is_empty()));
        assert_eq!(opened(), "yes\nnull\n");
        let all = show(s, &scope.unit);
        assert_eq!(all["DevicePolicy"], "strict");
        for line in [
            &*format!("block-{major} r"),
            "/dev/char/1:3 rwm",
            "char-* m",
        ] {
            assert!(
                all["DeviceAllow"].lines().any(|known| known == line),
                "{line}: {all:?}"
            );
        }
        systemctl(s, &["daemon-reload"]).ok();
        fs::remove_file(root.join("opened")).expect("opened");
        assert!(sandbox::eventually(|| !opened().is_empty()));
        assert_eq!(opened(), "yes\nnull\n");
        scope.remove();
    });
}

/// A privileged container has every device.
#[test]
fn everything_is_allowed_by_one_rule() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle.set(
            "/linux/resources/devices",
            json!([{ "allow": true, "access": "rwm" }]),
        );
        let scope = started(s, &bundle, &id);
        scope.shows(&[("DevicePolicy", "auto")]);
        scope.remove();
    });
}

/// A process that meets the memory limit is killed, the rest of the container and its scope live
/// on, and `events` says so.
#[test]
fn an_oom_kill_is_an_event_and_leaves_the_scope() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle
            .set(
                "/linux/resources/memory",
                json!({ "limit": 16_777_216, "swap": 16_777_216 }),
            )
            .writable()
            .shell(
                "while sleep 0.1; do test -e /go && { (tail /dev/zero); touch /survived; }; done",
            );
        let root = bundle.root();
        let scope = started(s, &bundle, &id);
        let mut command = s.command();
        command.args(["events", "--interval", "1h", &id]);
        let events = s.spawn(command, None);
        fs::write(root.join("go"), "").expect("go");
        assert!(patiently(|| root.join("survived").exists()));
        assert!(
            patiently(|| events.stdout().contains("\"type\":\"oom\"")),
            "{}",
            events.stdout()
        );
        scope.shows(&[("ActiveState", "active"), ("OOMPolicy", "continue")]);
        scope.remove();
        events.wait();
    });
}

/// The annotation of another runtime: the process lives in a sub-group, and the scope's group is
/// free of processes.
#[test]
fn a_sub_group_is_made_when_it_is_asked_for() {
    sandbox::systemd(|s| {
        let (mut bundle, id) = bundle(s, "system.slice");
        bundle
            .set("/annotations/run.oci.systemd.subgroup", json!("inner"))
            .set("/linux/resources", json!({ "pids": { "limit": 60 } }));
        let scope = started(s, &bundle, &id);
        let top = format!("/system.slice/{}", scope.unit);
        assert_eq!(scope.path(), format!("{top}/inner"));
        assert_eq!(
            fs::read_to_string(format!("{MOUNT}{top}/pids.max")).expect("pids.max"),
            "60\n"
        );
        assert!(scope.file("cgroup.controllers").contains("memory"));
        let pids = scope.command(&["ps", "--format", "json"]).ok().stdout;
        assert_eq!(pids.trim(), format!("[{}]", scope.pid()));
        scope.command(&["pause"]).ok();
        assert!(scope.is("paused"));
        scope.command(&["resume"]).ok();
        scope.remove();
        bundle.set("/annotations/run.oci.systemd.subgroup", json!("../x"));
        create(s, &bundle, &id).fails_with(&["/annotations/run.oci.systemd.subgroup"]);
    });
}
