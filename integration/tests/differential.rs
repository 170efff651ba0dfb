//! Generated configurations and processes of `exec`, given to locule and to runc: the programs find
//! the same surroundings.
//!
//! A few fixed cases run with every test, against the package of runc. `just compare` generates as
//! many others as it is told; old versions of runc have faults that these find.
//! A difference is shrunk to the changes that it needs. Those that are meant are in
//! docs/compatibility.md, and the strategies below leave them out.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::sandbox::eventually;
use integration::{Bundle, Outcome, Sandbox, sandbox};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use serde_json::{Value, json};

/// Prints what a program can see, a fact per line.
const PROBE: &str = r"
grep -E '^(Umask|Uid|Gid|Groups|SigBlk|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
sed 's/^/limit /' /proc/self/limits
echo oom $(cat /proc/self/oom_score_adj), io $(ionice -p $$), cpus $(taskset -p $$ | sed 's/.*://')
echo directory $(pwd), host $(hostname), $(uname -m), id $(id)
env | grep -vE '^(PWD|SHLVL|OLDPWD)=' | sort | sed 's/^/env /'
for fd in 0 1 2 3 4 5; do test -e /proc/self/fd/$fd && echo fd $fd; done
stat -c 'file %N %A %u %g %t,%T' /* /dev/* /dev/dir/* /dev/pts/* /mnt/* /tmp/* 2> /dev/null
for value in kernel/msgmax kernel/domainname net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range; do
    echo sysctl $value $(cat /proc/sys/$value)
done
for path in /proc/keys /proc/timer_list /mnt/file /proc/sys/kernel/msgmax /tmp /new; do
    echo path $path $(cat $path 2> /dev/null | head -c 20 | od -c | head -n 1)
    test -w $path && echo can write $path
done
for group in pids cpu memory cpuset; do
    for file in pids.max cpu.shares cpu.cfs_quota_us memory.limit_in_bytes cpuset.cpus cpu.weight cpu.max memory.max; do
        value=$(cat /sys/fs/cgroup/$group/$file 2> /dev/null) && echo limit $file $value
    done
done
sed 's/^/mount /' /proc/self/mountinfo
(mkdir /tmp/made && rmdir /tmp/made) 2> /dev/null && echo can make a directory
echo over
";

/// The fact that the probe of `exec` has run.
const EXEC_SUCCEEDED: &str = "exec succeeded";

/// A value for a place in the configuration.
#[derive(Debug, Clone)]
struct Change {
    pointer: String,
    value: Value,
}

impl Change {
    fn make(&self, bundle: &mut Bundle) {
        bundle.set(&self.pointer, self.value.clone());
    }

    /// The kind of limit that it adds.
    fn limit(&self) -> Option<String> {
        let is_limit = self.pointer == "/process/rlimits/-";
        is_limit.then(|| self.value["type"].to_string())
    }
}

fn change(pointer: &str, value: Value) -> Change {
    let pointer = pointer.to_owned();
    Change { pointer, value }
}

/// What both runtimes are given.
#[derive(Debug, Clone)]
struct Case {
    /// Whether the container has a user namespace.
    user_namespace: bool,
    /// Changes of the default configuration.
    configuration: Vec<Change>,
    exec: Exec,
}

/// The command line of `exec`.
#[derive(Debug, Clone)]
enum Exec {
    Options(Vec<Vec<&'static str>>),
    /// `--process`, with these changes of the process of the configuration.
    Document(Vec<Change>),
}

fn values(pointer: &'static str, values: Vec<Value>) -> BoxedStrategy<Change> {
    select(values)
        .prop_map(move |value| change(pointer, value))
        .boxed()
}

/// Properties of a process, in the configuration and in the document of `exec --process`.
fn process() -> BoxedStrategy<Change> {
    let capabilities = || {
        subsequence(
            vec!["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_RAW"],
            0..4,
        )
    };
    // A set is within the next larger one: what is not permitted is left out here, and an error
    // there.
    let capabilities = (capabilities(), capabilities(), any::<[bool; 3]>()).prop_map(
        |(large, small, [effective, inheritable, ambient])| {
            let small: Vec<_> = small
                .into_iter()
                .filter(|name| large.contains(name))
                .collect();
            let choose = |with: bool| if with { json!(small) } else { json!([]) };
            let sets = json!({
                "bounding": large,
                "permitted": large,
                "effective": if effective { json!(large) } else { json!(small) },
                "inheritable": choose(inheritable),
                "ambient": choose(inheritable && ambient),
            });
            change("/process/capabilities", sets)
        },
    );
    // Hard limits that are endless on most machines.
    let limits = select(vec!["CORE", "STACK", "DATA", "FSIZE"]);
    let limits = (limits, 0..1_u64 << 24, 0..1_u64 << 24).prop_map(|(name, one, other)| {
        // A program must start within the limits of its stack and its data.
        // runc itself needs much, since it sets them before it executes the program.
        let (soft, hard) = ((1 << 30) + one.min(other), (1 << 30) + one.max(other));
        let name = format!("RLIMIT_{name}");
        change(
            "/process/rlimits/-",
            json!({ "type": name, "soft": soft, "hard": hard }),
        )
    });
    prop_oneof![
        values(
            "/process/user",
            vec![
                json!({ "uid": 0, "gid": 0, "additionalGids": [5, 7] }),
                json!({ "uid": 1000, "gid": 1000 }),
                json!({ "uid": 1000, "gid": 7, "additionalGids": [1000, 12] }),
                json!({ "uid": 0, "gid": 1000 }),
                json!({ "uid": 7, "gid": 7 }),
            ]
        ),
        values(
            "/process/cwd",
            vec![json!("/tmp"), json!("/mnt/"), json!("/tmp/../dev")]
        ),
        values(
            "/process/env/-",
            vec![
                json!("A=b"),
                json!("A=c=d"),
                json!("HOME=/mnt"),
                json!("E="),
                json!("PATH=/bin:/tmp")
            ]
        ),
        values("/process/noNewPrivileges", vec![json!(false)]),
        capabilities,
        limits,
    ]
    .boxed()
}

fn mount() -> impl Strategy<Value = Change> {
    let common = vec![
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "noatime",
        "rw",
        "suid",
        "dev",
        "exec",
        "nodiratime",
        "sync",
    ];
    let options = subsequence(common, 0..4).prop_shuffle();
    let data = subsequence(
        vec!["mode=755", "size=64k", "uid=7", "gid=8", "nr_inodes=99"],
        0..4,
    );
    let sharing = select(vec![
        "private",
        "shared",
        "slave",
        "rprivate",
        "rslave",
        "rshared",
        "unbindable",
    ]);
    let tmpfs = (select(vec!["/mnt", "/tmp", "/mnt/new/dir"]), options.clone(), data).prop_map(
        |(destination, options, data)| {
            let options = [options, data].concat();
            json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
        },
    );
    let sources = select(vec![
        ("volume", "/mnt"),
        ("volume", "/new/volume"),
        ("volume/file", "/tmp/file"),
    ]);
    let bind = (sources, select(vec!["bind", "rbind"]), options, proptest::option::of(sharing)).prop_map(
        |((source, destination), kind, mut options, sharing)| {
            options.push(kind);
            options.extend(sharing);
            json!({ "destination": destination, "type": "bind", "source": source, "options": options })
        },
    );
    let other = select(vec![
        json!({ "destination": "/mnt", "type": "sysfs", "source": "sysfs", "options": ["ro"] }),
        json!({ "destination": "/mnt", "type": "mqueue", "source": "mqueue" }),
    ]);
    prop_oneof![3 => tmpfs, 3 => bind, 1 => other].prop_map(|mount| change("/mounts/-", mount))
}

fn configuration() -> BoxedStrategy<Change> {
    let device = (
        select(vec!["/dev/one", "/dev/dir/two"]),
        0..0o1000_u32,
        0..3_u32,
        any::<bool>(),
    )
        .prop_map(|(path, mode, owner, is_block)| {
            let (kind, major, minor) = if is_block { ("b", 7, 200) } else { ("c", 1, 5) };
            let device = json!({
                "path": path, "type": kind, "major": major, "minor": minor,
                "fileMode": mode, "uid": owner, "gid": owner
            });
            change("/linux/devices/-", device)
        });
    let namespaces = subsequence(
        vec!["pid", "network", "ipc", "uts", "mount", "cgroup"],
        5..7,
    );
    let namespaces = namespaces.prop_filter_map("a namespace of mounts", |kinds| {
        let list: Vec<_> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let usable = kinds.contains(&"mount") && kinds.contains(&"uts");
        usable.then(|| change("/linux/namespaces", json!(list)))
    });
    prop_oneof![
        6 => process(),
        1 => values("/process/oomScoreAdj", vec![json!(0), json!(500), json!(1000)]),
        5 => mount(),
        1 => device,
        1 => namespaces,
        1 => values("/root/readonly", vec![json!(false)]),
        1 => values("/hostname", vec![json!("other")]),
        1 => values("/linux/rootfsPropagation", vec![json!("private"), json!("rprivate"), json!("rslave")]),
        1 => values("/linux/maskedPaths/-", vec![json!("/etc/passwd"), json!("/proc/keys"), json!("/absent")]),
        1 => values("/linux/readonlyPaths/-", vec![json!("/tmp"), json!("/etc/passwd"), json!("/absent")]),
        1 => values("/linux/seccomp", vec![
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }
            ]}),
        ]),
        1 => values("/linux/sysctl", vec![
            json!({ "kernel.msgmax": "9000" }),
            json!({ "net.ipv4.ip_unprivileged_port_start": "80", "net.ipv4.ping_group_range": "0 5" }),
        ]),
        1 => values("/linux/resources", vec![
            json!({ "pids": { "limit": 50 } }),
            json!({ "memory": { "limit": 33_554_432 } }),
            json!({ "cpu": { "shares": 512, "quota": 20000, "period": 50000 } }),
            json!({ "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "access": "m" }] }),
        ]),
    ]
    .boxed()
}

fn case() -> impl Strategy<Value = Case> {
    let options = select(vec![
        vec!["--cwd", "/tmp"],
        vec!["--env", "A=new"],
        vec!["--env", "HOME=/new"],
        vec!["--user", "1000"],
        vec!["--user", "1000:7"],
        vec!["--user", "0:5"],
        vec!["--cap", "CAP_SYS_ADMIN"],
        vec!["--cap", "CAP_NET_RAW"],
        vec!["--no-new-privs"],
    ]);
    let exec = prop_oneof![
        vec(options, 0..4).prop_map(Exec::Options),
        vec(process(), 0..4).prop_map(Exec::Document),
    ];
    let parts = (any::<bool>(), vec(configuration(), 0..6), exec);
    parts.prop_map(|(user_namespace, mut configuration, mut exec)| {
        leave_out_differences(user_namespace, &mut configuration, &mut exec);
        Case {
            user_namespace,
            configuration,
            exec,
        }
    })
}

/// Removes what differs as docs/compatibility.md says.
fn leave_out_differences(user_namespace: bool, configuration: &mut Vec<Change>, exec: &mut Exec) {
    // runc 1.1 gives the flags of the lower one of two mounts to the upper one. The second of
    // two devices is an error, and with runc only without a user namespace.
    let mut seen = BTreeSet::new();
    let mut is_new = |place: &Value| place.is_null() || seen.insert(place.to_string());
    configuration.retain(|change| is_new(&change.value["destination"]));
    configuration.retain(|change| is_new(&change.value["path"]));
    // In a user namespace runc binds the host's device at the same path, which must exist. The id
    // maps are an error without the namespace.
    let apart = ["/linux/devices/-", "/linux/namespaces"];
    configuration.retain(|change| {
        let is_apart = apart.contains(&change.pointer.as_str());
        !user_namespace || !(is_apart || change.value["type"] == "mqueue")
    });
    // Here what is mounted below is read-only too, and a mount there becomes it itself.
    let readonly = configuration.iter().filter_map(|change| {
        let path = change.value.as_str();
        path.filter(|_| change.pointer == "/linux/readonlyPaths/-")
    });
    let readonly: Vec<_> = readonly.map(PathBuf::from).collect();
    configuration.retain(|change| {
        let place = Path::new(change.value["destination"].as_str().unwrap_or_default());
        !readonly.iter().any(|path| place.starts_with(path))
    });
    // Two limits of a kind are an error; the document begins with those of the configuration.
    let mut limits = BTreeSet::new();
    let mut is_first = |change: &Change| change.limit().is_none_or(|limit| limits.insert(limit));
    configuration.retain(&mut is_first);
    if let Exec::Document(changes) = exec {
        changes.retain(is_first);
    }
}

/// One of the two runtimes.
struct Side<'s> {
    sandbox: &'s Sandbox,
    program: PathBuf,
    root: PathBuf,
}

impl Side<'_> {
    fn command(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).args(args);
        command.current_dir(&self.sandbox.dir);
        self.sandbox.finish(command, None)
    }

    /// What the first process and a process of `exec` can see. An error is a fact too.
    fn facts(&self, case: &Case, id: &str) -> BTreeSet<String> {
        let mut bundle = self.bundle(case);
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(&self.root)
            .args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(id);
        let run = self.sandbox.spawn(command, None);
        let is_over = || {
            run.stdout().contains("\nover\n")
                || fs::metadata(format!("/proc/{}/exe", run.pid())).is_err()
        };
        assert!(eventually(is_over), "{}", run.stdout());
        let mut facts = lines("run", &run.stdout());
        if run.stdout().ends_with("\nover\n") {
            let exec = self.exec(case, &mut bundle, id);
            facts.extend(lines("exec", &exec.stdout));
            if exec.status.success() {
                facts.insert(EXEC_SUCCEEDED.to_owned());
            }
            self.command(&["kill", id, "KILL"]).ok();
        }
        let run = run.wait();
        // Killed at the end of the comparison, or an error.
        let is_killed = run.status.code() == Some(137);
        facts.insert(format!("run: was killed: {is_killed}"));
        fs::remove_dir_all(&bundle.path).expect("rm");
        facts
    }

    fn bundle(&self, case: &Case) -> Bundle {
        let mut bundle = self.sandbox.bundle();
        bundle.shell(&format!("{PROBE}exec sleep 1000"));
        fs::create_dir(bundle.path.join("volume")).expect("mkdir");
        fs::write(bundle.path.join("volume/file"), "of the host").expect("write");
        // Without it the root is private here, and a slave of the host's mount with runc.
        bundle.set("/linux/rootfsPropagation", json!("rprivate"));
        if case.user_namespace {
            bundle.user_namespace(&[(0, 200_000, 65536)]);
        }
        let changes = case.configuration.iter();
        changes.for_each(|change| change.make(&mut bundle));
        bundle
    }

    fn exec(&self, case: &Case, bundle: &mut Bundle, id: &str) -> Outcome {
        let mut args = vec!["exec"];
        let path = self.sandbox.dir.join("process.json");
        match &case.exec {
            Exec::Options(options) => {
                args.extend(options.iter().flatten());
                args.extend([id, "sh", "-c", PROBE]);
            }
            Exec::Document(changes) => {
                bundle.shell(PROBE);
                changes.iter().for_each(|change| change.make(bundle));
                fs::write(&path, bundle.config["process"].to_string()).expect("write");
                args.extend(["--process", path.to_str().expect("UTF-8"), id]);
            }
        }
        self.command(&args)
    }
}

/// The lines of a probe, without what is different each time.
fn lines(of: &str, output: &str) -> BTreeSet<String> {
    let plain = |line: &str| match line.split_once(' ') {
        Some(("mount", mount)) => plain_mount(mount),
        // In a user namespace it belongs to who made the IPC namespace, mapped or not.
        Some(("file", file)) if file.starts_with("/dev/mqueue ") => None,
        _ => Some(line.to_owned()),
    };
    output
        .lines()
        .filter_map(plain)
        .map(|line| format!("{of}: {line}"))
        .collect()
}

/// A line of mountinfo without numbers and names of the host. None for a mask, and for cgroups,
/// whose mounts have other flags.
fn plain_mount(line: &str) -> Option<String> {
    let fields: Vec<_> = line.split(' ').collect();
    let dash = fields.iter().position(|field| *field == "-")?;
    let (place, flags, kind) = (fields[4], fields[5], fields[dash + 1]);
    let is_mask = place.starts_with("/proc/") || place == "/sys/firmware" || fields[3] == "/null";
    let is_compared = !is_mask && !place.starts_with("/sys/fs/cgroup");
    let sharing = fields[6..dash]
        .iter()
        .filter_map(|field| field.split(':').next());
    // Mounts of the host are slaves, as with runc 1.1, or private, as with later ones.
    let sharing: Vec<_> = sharing.filter(|field| *field != "master").collect();
    let root = Path::new(fields[3])
        .file_name()
        .unwrap_or_default()
        .display();
    // A read-only mount may or may not make the file system read-only too, and the mode of a tmpfs
    // may or may not be an option of its mount.
    let is_told = |option: &&str| !["ro", "rw"].contains(option) && !option.starts_with("mode=");
    let options: Vec<_> = fields[dash + 3].split(',').filter(is_told).collect();
    is_compared.then(|| format!("mount {place} {flags} {sharing:?} {kind} {root} {options:?}"))
}

/// Generates cases and shrinks one with a difference.
#[test]
fn programs_see_what_they_see_with_runc() {
    sandbox::host(|s| {
        let named = env::var_os("LOCULE_REFERENCE").map(PathBuf::from);
        let Some(reference) = named.or_else(|| s.package("runc")) else {
            return;
        };
        // The tests of runc are run with locule under its name.
        let answer = Command::new(&reference).arg("facts").output();
        let is_locule = answer.expect("the reference").status.success();
        assert!(!is_locule, "{} is locule", reference.display());
        let sides = [("theirs", reference), ("ours", s.subject.program.clone())];
        let sides = sides.map(|(root, program)| Side {
            sandbox: s,
            program,
            root: s.dir.join(root),
        });
        let mut config = Config {
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        if env::var_os("PROPTEST_CASES").is_none() {
            (config.cases, config.rng_seed) = (8, RngSeed::Fixed(1));
        }
        let enough = config.cases * 3 / 4;
        let succeeded = Cell::new(0);
        let ran = TestRunner::new(config).run(&case(), |case| {
            let id = s.id();
            let [theirs, ours] = sides.each_ref().map(|side| side.facts(&case, &id));
            succeeded.set(succeeded.get() + u32::from(ours.contains(EXEC_SUCCEEDED)));
            let missing = theirs.difference(&ours).map(|line| format!("- {line}\n"));
            let added = ours.difference(&theirs).map(|line| format!("+ {line}\n"));
            let differ: String = missing.chain(added).collect();
            match differ.is_empty() {
                true => Ok(()),
                false => Err(TestCaseError::fail(differ)),
            }
        });
        match ran {
            Ok(()) => assert!(succeeded.get() >= enough, "{succeeded:?} is too few"),
            Err(TestError::Fail(differ, case)) => {
                panic!("{case:#?}\nrunc (-) and locule (+) differ:\n{differ}")
            }
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    });
}
