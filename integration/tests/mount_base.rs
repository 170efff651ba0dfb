//! The base of mount namespaces: docs/architecture.md, "The base of mount namespaces".

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use integration::leak::BASE;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

fn is_other(s: &Sandbox) -> bool {
    s.is_control("only locule has a base")
}

/// The pin of the base.
fn pin() -> String {
    format!("{BASE}/mounts")
}

/// What is mounted on the pin, as mountinfo has it.
fn pinned() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let lines = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let lines = lines.filter(|fields| fields[4] == pin());
    lines.map(|fields| fields[3].to_owned()).collect()
}

/// The calls of a run that enter and make namespaces.
fn trace(s: &Sandbox, bundle: &Bundle) -> String {
    let trace = s.dir.join("trace");
    let mut command = Command::new("strace");
    command.arg("--follow-forks").arg("--output").arg(&trace);
    command.args(["--trace", "setns,unshare,clone3,pivot_root"]);
    command.arg(&s.subject.program).arg("--root").arg(&s.state);
    command.arg("run").arg("--bundle").arg(bundle.write());
    command.arg(s.id());
    s.finish(command, Some(bundle)).ok();
    fs::read_to_string(&trace).expect("trace")
}

/// Whether one of them enters a mount namespace.
fn enters(trace: &str) -> bool {
    trace
        .lines()
        .any(|line| line.contains(" setns(") && line.contains("CLONE_NEWNS"))
}

/// The first run makes and pins it, later ones use it; nothing of the host is in it.
#[test]
fn one_base_serves_all_containers() {
    sandbox::host_unless(is_other, |s| {
        assert_eq!(pinned(), Vec::<String>::new());
        let mut bundle = s.bundle();
        bundle.args(&["true"]);
        let first = trace(s, &bundle);
        let one = pinned();
        assert_eq!(one.len(), 1, "{one:?}");
        assert!(one[0].starts_with("mnt:["), "{one:?}");
        assert!(enters(&first), "{first}");
        let second = trace(s, &bundle);
        assert_eq!(pinned(), one);
        assert!(enters(&second), "{second}");
        assert!(!second.contains("unshare("), "{second}");
    });
}

/// What wants the host's files gets a copy of the host's table.
#[test]
fn a_hook_keeps_the_host_in_view() {
    sandbox::host_unless(is_other, |s| {
        s.run(&s.bundle()).ok();
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let mut bundle = s.bundle();
            let hook = json!([{ "path": "/bin/true", "args": ["true"] }]);
            bundle.set("/hooks", json!({ kind: hook }));
            let trace = trace(s, &bundle);
            assert!(!enters(&trace), "{kind}: {trace}");
        }
        let mut bundle = s.bundle();
        let lower = s.dir.join("lower");
        let other = s.dir.join("other");
        for folder in [&lower, &other] {
            fs::create_dir(folder).expect("mkdir");
        }
        fs::write(lower.join("file"), "below\n").expect("write");
        let dirs = format!("lowerdir={}:{}", lower.display(), other.display());
        bundle.mount(json!({ "destination": "/mnt", "type": "overlay", "source": "overlay", "options": ["ro", dirs] }));
        bundle.args(&["cat", "/mnt/file"]);
        s.run(&bundle).prints("below");
    });
}

/// Many who start at once make one base.
#[test]
fn two_who_make_the_base_make_one() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle();
        bundle.args(&["true"]);
        bundle.write();
        let runs: Vec<_> = (0..6)
            .map(|_| {
                let mut command = Command::new(&s.subject.program);
                command.arg("--root").arg(&s.state).arg("run");
                command.arg("--bundle").arg(&bundle.path).arg(s.id());
                command.stdin(Stdio::null()).spawn().expect("spawn")
            })
            .collect();
        for mut run in runs {
            assert!(run.wait().expect("wait").success());
        }
        assert_eq!(pinned().len(), 1);
    });
}

/// One who is stopped while he makes it keeps nobody else from starting.
#[test]
fn nobody_waits_for_who_makes_the_base() {
    sandbox::host_unless(is_other, |s| {
        let above = Path::new(BASE).parent().expect("a parent");
        fs::create_dir_all(above).expect("mkdir");
        let lock = fs::File::open(above).expect("open");
        lock.lock().expect("lock");
        let mut bundle = s.bundle();
        bundle.args(&["echo", "runs"]);
        s.run(&bundle).prints("runs");
        assert_eq!(pinned().len(), 0);
        drop(lock);
        s.run(&bundle).prints("runs");
        assert_eq!(pinned().len(), 1);
    });
}

/// A file in the place of the pin, as after a boot or in a copy of the mount table, is no base: a
/// new one is made.
#[test]
fn what_is_no_base_is_replaced() {
    sandbox::host_unless(is_other, |s| {
        fs::create_dir_all(BASE).expect("mkdir");
        fs::write(pin(), "").expect("write");
        s.run(&s.bundle()).ok();
        assert_eq!(pinned().len(), 1);
        // Without the namespace, and with another one's file.
        s.tool("umount", &[&pin()]);
        fs::write(pin(), "x").expect("write");
        s.run(&s.bundle()).ok();
        assert_eq!(pinned().len(), 1);
    });
}

/// Mount namespaces whose /run are peers have a base each, and neither covers the other's.
#[test]
fn peers_keep_their_bases() {
    sandbox::host_unless(is_other, |s| {
        let bundle = s.bundle();
        bundle.write();
        s.run(&bundle).ok();
        let one = pinned();
        // In one of them two runs, so that its base is found again.
        let script = "for id in one two; do \"$1\" --root \"$2\" run --bundle \"$3\" \"$4-$id\" || exit 1; done
            grep -c \"$5 \" /proc/self/mountinfo";
        for _ in 0..2 {
            let program = s.subject.program.to_str().expect("UTF-8");
            let state = s.state.to_str().expect("UTF-8");
            let path = bundle.path.to_str().expect("UTF-8");
            let id = s.id();
            let pin = pin();
            let mut args = vec!["--mount", "--propagation", "unchanged", "sh", "-c", script];
            args.extend(["sh", program, state, path, &id, &pin]);
            assert_eq!(s.tool("unshare", &args), "1\n");
            s.run(&bundle).ok();
            assert_eq!(pinned(), one);
        }
    });
}

/// Where the base cannot be pinned, containers start all the same.
#[test]
fn without_a_base_the_hosts_table_is_copied() {
    sandbox::host_unless(is_other, |s| {
        fs::create_dir_all(Path::new(BASE).parent().expect("a parent")).expect("mkdir");
        fs::write(BASE, "").expect("write");
        let mut bundle = s.bundle();
        bundle.args(&["echo", "runs"]);
        s.run(&bundle).prints("runs");
        s.run_with(&bundle, &[]).prints("runs");
        assert_eq!(pinned().len(), 0);
        fs::remove_file(BASE).expect("rm");
        fs::remove_dir(Path::new(BASE).parent().expect("a parent")).expect("rmdir");
    });
}

/// Mounts of the host that are shared stay when a container's copy of them goes away.
#[test]
fn shared_mounts_of_the_host_stay() {
    sandbox::host(|s| {
        let volume = s.dir.join("volume");
        let below = volume.join("below");
        fs::create_dir_all(&below).expect("mkdir");
        for path in [&volume, &below] {
            s.tool(
                "mount",
                &["-t", "tmpfs", "tmpfs", path.to_str().expect("UTF-8")],
            );
            fs::create_dir_all(&below).expect("mkdir");
        }
        fs::write(below.join("file"), "there\n").expect("write");
        for propagation in ["rshared", "rslave", "rprivate"] {
            for many in [false, true] {
                let mut bundle = s.bundle();
                bundle.bind(&volume, "/vol", &["rbind", propagation]);
                if many {
                    for number in 0..130 {
                        bundle.bind(&volume, &format!("/mnt/{number}"), &["rbind", propagation]);
                    }
                }
                bundle.args(&["cat", "/vol/below/file"]);
                s.run(&bundle).prints("there");
                assert!(below.join("file").exists(), "{propagation} {many}");
            }
        }
        s.tool("umount", &["-R", volume.to_str().expect("UTF-8")]);
    });
}

/// 1,500 volumes with 1,024 descriptors.
#[test]
fn many_volumes_need_few_descriptors() {
    sandbox::host(|s| {
        if s.is_control("runc opens them one after the other") {
            return;
        }
        let volume = s.dir.join("volume");
        fs::create_dir(&volume).expect("mkdir");
        for hook in [false, true] {
            let mut bundle = s.bundle();
            for number in 0..1500 {
                bundle.bind(&volume, &format!("/mnt/{number}"), &[]);
            }
            if hook {
                let hook = json!([{ "path": "/bin/true", "args": ["true"] }]);
                bundle.set("/hooks", json!({ "createContainer": hook }));
            }
            bundle.shell("grep -c ' /mnt/' /proc/self/mountinfo");
            let mut command = Command::new("prlimit");
            command.arg("--nofile=1024:1024").arg(&s.subject.program);
            command.arg("--root").arg(&s.state).arg("run");
            command.arg("--bundle").arg(bundle.write()).arg(s.id());
            s.finish(command, Some(&bundle)).prints("1500");
        }
    });
}

/// Clock offsets are written through /proc, which the base does not have of itself.
#[test]
fn clock_offsets_are_set_in_the_base() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.namespace("time");
        bundle.set(
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1_000_000, "nanosecs": 0 } }),
        );
        bundle.shell("read up rest < /proc/uptime; test ${up%.*} -ge 1000000 && echo shifted");
        if s.is_control("runc 1.1 has no time namespaces") {
            return;
        }
        s.run(&bundle).prints("shifted");
    });
}

/// The host's `/` or `/run` as a volume, with all mounts below it. The pin is among those, and the
/// kernel attaches no tree that has it.
#[test]
fn the_hosts_root_is_a_volume() {
    sandbox::host(|s| {
        let mut ordinary = s.bundle();
        ordinary.args(&["true"]);
        s.run(&ordinary).ok();
        let hook = json!({ "createContainer": [{ "path": "/bin/true" }] });
        for source in ["/", "/run"] {
            let mut bundle = s.bundle();
            bundle.bind(Path::new(source), "/host", &["rbind", "rslave"]);
            bundle.shell("grep -c ' nsfs ' /proc/self/mountinfo; test -e /host/locule -o -e /host/run/locule && echo seen");
            if s.is_control("only locule has a base") {
                return;
            }
            s.run(&bundle).prints("0\nseen");
            s.run(bundle.set("/hooks", hook.clone())).prints("0\nseen");
            bundle
                .remove("/hooks")
                .user_namespace(&[(0, 100_000, 65_536)]);
            bundle.shell("grep -c ' nsfs ' /proc/self/mountinfo; ls -d /host");
            s.run(&bundle).prints("0\n/host");
        }
        let mut bundle = s.bundle();
        bundle.set("/root/path", json!("/"));
        bundle.args(&["/bin/sh", "-c", "echo runs"]);
        s.run(&bundle).prints("runs");
        assert_eq!(pinned().len(), 1);
    });
}

/// What the host mounts later below `/` appears in such a volume, also in one that was added to the
/// running container.
#[test]
fn later_mounts_of_the_host_reach_its_root_as_a_volume() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        bundle.bind(Path::new("/"), "/host", &["rbind", "rslave"]);
        bundle.writable();
        s.run(s.bundle().args(&["true"])).ok();
        let container = s.started(&bundle);
        let added = json!([{ "destination": "/added", "type": "bind", "source": "/", "options": ["rbind", "rslave"] }]);
        fs::write(s.dir.join("mounts.json"), added.to_string()).expect("write");
        s.runtime(&["mounts", "add", &container.id, "mounts.json"])
            .ok();
        let late = s.dir.join("late");
        fs::create_dir(&late).expect("mkdir");
        let place = late.to_str().expect("UTF-8");
        s.tool("mount", &["-t", "tmpfs", "late", place]);
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()));
        let table = table.expect("mountinfo");
        for volume in ["/host", "/added"] {
            let seen = format!(" {volume}{place} ");
            assert!(table.contains(&seen), "{seen}: {table}");
        }
        s.tool("umount", &[place]);
        container.remove();
    });
}
