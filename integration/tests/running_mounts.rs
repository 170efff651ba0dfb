//! `mounts`: mounts that are added to a running container, and removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::canary::Canary;
use integration::{Bundle, Container, Outcome, Sandbox, leak, sandbox};
use serde_json::{Value, json};

/// A directory of the host with one file, `word`.
fn volume(s: &Sandbox, name: &str) -> PathBuf {
    let path = s.dir.join(name);
    fs::create_dir(&path).expect("mkdir");
    fs::write(path.join("word"), name).expect("write");
    s.give(&path);
    path
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let mut all = vec!["bind"];
    all.extend(options);
    json!({ "destination": destination, "type": "bind", "source": source, "options": all })
}

/// `mounts ACTION ID` with a file of these mounts.
fn mounts(s: &Sandbox, container: &Container<'_>, action: &str, list: &Value) -> Outcome {
    fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
    s.runtime(&["mounts", action, &container.id, "mounts.json"])
}

fn table(container: &Container<'_>) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).expect("mountinfo")
}

fn is_other(s: &Sandbox) -> bool {
    s.is_control("a command of crun's")
}

/// What is added is there with its options, is listed, and is gone when it is removed.
#[test]
fn bind_mounts_and_tmpfs_come_and_go() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle_that_waits();
        bundle.writable();
        let container = s.started(&bundle);
        let before = table(&container);
        let list = json!([
            bind(&volume(s, "data"), "/mnt/new/data", &["ro"]),
            bind(&volume(s, "file").join("word"), "/mnt/file", &[]),
            { "destination": "/mnt/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=700", "nosuid", "size=64k"] },
        ]);
        mounts(s, &container, "add", &list).ok().prints_nothing();
        let script = "cat /mnt/new/data/word /mnt/file; touch /mnt/tmp/x; stat -c %a /mnt/tmp; touch /mnt/new/data/x";
        let seen = container.exec_shell(&[], script).exits(1);
        assert_eq!(seen.stdout, "datafile700\n");
        assert!(seen.stderr.contains("Read-only"), "{}", seen.stderr);
        let listed = s.runtime(&["mounts", "list", &container.id]).ok();
        assert_eq!(listed.text(), r#"["/mnt/new/data","/mnt/file","/mnt/tmp"]"#);
        // The same place once more: the last one goes first.
        let again = json!([bind(&volume(s, "again"), "/mnt/tmp", &[])]);
        mounts(s, &container, "add", &again).ok();
        container
            .exec(&[], &["cat", "/mnt/tmp/word"])
            .prints("again");
        mounts(s, &container, "remove", &again).ok();
        container.exec(&[], &["ls", "/mnt/tmp"]).prints("x");
        mounts(s, &container, "remove", &list).ok();
        assert_eq!(table(&container), before);
        s.runtime(&["mounts", "list", &container.id]).prints("[]");
        container.remove();
    });
}

/// A container that waits for its start takes them too, and so does a paused one.
#[test]
fn the_program_need_not_run() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle_that_waits();
        bundle.shell("cat /mnt/word; sleep 1000");
        let container = s.create(&bundle);
        mounts(
            s,
            &container,
            "add",
            &json!([bind(&volume(s, "early"), "/mnt", &[])]),
        )
        .ok();
        container.start().ok();
        container.wait_output("early");
        container.command(&["pause"]).ok();
        mounts(
            s,
            &container,
            "add",
            &json!([bind(&volume(s, "late"), "/home", &[])]),
        )
        .ok();
        container.command(&["resume"]).ok();
        container.exec(&[], &["cat", "/home/word"]).prints("late");
        container.kill("KILL").ok();
        container.wait_for("stopped");
        mounts(s, &container, "add", &json!([])).fails_with(&["container not running"]);
        container.delete().ok();
    });
}

/// Ids are mapped as at a creation.
#[test]
fn ids_are_mapped() {
    let skips = |s: &Sandbox| is_other(s) || s.lacks_linux((6, 3), "id maps on tmpfs");
    sandbox::host_unless(skips, |s| {
        let container = s.started(&s.bundle_that_waits());
        let mut mount = bind(&volume(s, "data"), "/mnt", &[]);
        mount["uidMappings"] = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
        mount["gidMappings"] = mount["uidMappings"].clone();
        mounts(s, &container, "add", &json!([mount])).ok();
        container
            .exec(&[], &["stat", "-c", "%u:%g", "/mnt/word"])
            .prints("5000:5000");
        container.remove();
    });
}

fn in_a_user_namespace(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle_that_waits();
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    bundle
        .namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(
            &format!("/process/capabilities/{set}"),
            json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]),
        );
    }
    bundle
}

/// A read-only mount of the host.
fn sealed_volume(s: &Sandbox) -> PathBuf {
    let [data, source] = ["data", "sealed"].map(|name| volume(s, name));
    let place = source.to_str().expect("UTF-8");
    s.tool("mount", &["--bind", data.to_str().expect("UTF-8"), place]);
    s.tool("mount", &["-o", "remount,bind,ro", place]);
    source
}

/// Root of a user namespace cannot clear the flags of a volume from the host; a tmpfs is its own.
#[test]
fn the_flags_are_locked_in_a_user_namespace() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&in_a_user_namespace(s));
        let source = sealed_volume(s);
        let list = json!([
            bind(&source, "/mnt", &[]),
            { "destination": "/home", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
        ]);
        mounts(s, &container, "add", &list).ok();
        container
            .exec_shell(
                &[],
                "mount -o remount,bind,rw /mnt || echo locked; touch /mnt/x || echo still",
            )
            .prints("locked\nstill");
        container
            .exec_shell(&[], "touch /home/x; stat -c %u:%g /home /home/x")
            .prints("0:0\n0:0");
        mounts(s, &container, "remove", &list).ok();
        container
            .exec_shell(&[], "ls /mnt /home | grep -c word")
            .exits(1);
        let many = vec![bind(&source, "/mnt", &[]); 129];
        mounts(s, &container, "add", &json!(many)).fails_with(&["/mounts/128", "at once"]);
        container.remove();
        s.tool("umount", &[source.to_str().expect("UTF-8")]);
    });
}

/// A container whose program may enter a user namespace and be its root.
fn with_unshare(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle_that_waits();
    bundle.capabilities(
        &["bounding", "effective", "permitted"],
        &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SETFCAP"],
    );
    bundle
}

/// A container whose program has entered a user and a mount namespace by itself: its root there
/// cannot clear the flags of a volume from the host.
#[test]
fn the_flags_are_locked_in_a_user_namespace_of_the_program() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = with_unshare(s);
        bundle.shell("exec unshare -Urm sh -c 'echo on; exec sleep 1000'");
        let container = s.started(&bundle);
        container.wait_output("on\n");
        let source = sealed_volume(s);
        let list = json!([bind(&source, "/mnt", &[])]);
        mounts(s, &container, "add", &list).ok();
        container
            .exec_shell(
                &[],
                "mount -o remount,bind,rw /mnt || echo locked; touch /mnt/x || echo still",
            )
            .prints("locked\nstill");
        mounts(s, &container, "remove", &list).ok();
        container.remove();
        s.tool("umount", &[source.to_str().expect("UTF-8")]);
    });
}

/// The program enters such namespaces after they were looked at: nothing is added.
#[test]
fn a_mount_namespace_of_another_user_namespace_gets_nothing() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = with_unshare(s);
        bundle.shell(
            "trap \"exec unshare -Urm sh -c 'echo gone; exec sleep 1000'\" USR1; echo on; \
             while :; do sleep 0.01; done",
        );
        let container = s.started(&bundle);
        container.wait_output("on");
        let list = json!([bind(&volume(s, "data"), "/mnt", &[])]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let trace = s.dir.join("trace");
        let strace = injected(s, &container, "add", "setns:delay_enter=2000000");
        let adding = s.spawn(strace, None);
        let is_there = || fs::read_to_string(&trace).is_ok_and(|text| text.contains("setns"));
        assert!(sandbox::eventually(is_there));
        s.tool("kill", &["-USR1", &container.pid().to_string()]);
        container.wait_output("on\ngone");
        adding
            .wait()
            .fails_with(&["its mount namespace belongs to another user namespace"]);
        assert!(!table(&container).contains(" /mnt "));
        container.remove();
    });
}

/// An ordinary user adds what is readable in the user namespace.
#[test]
fn an_ordinary_user_adds_mounts() {
    sandbox::user(|s| {
        if is_other(s) {
            return;
        }
        let container = s.started(&s.bundle_that_waits());
        let list = json!([
            bind(&volume(s, "data"), "/mnt", &["ro"]),
            { "destination": "/home", "type": "tmpfs", "source": "tmpfs" },
        ]);
        mounts(s, &container, "add", &list).ok();
        container
            .exec_shell(&[], "cat /mnt/word; touch /home/x && ls /home")
            .prints("datax");
        mounts(s, &container, "remove", &list).ok();
        container.remove();
    });
}

/// The process that enters a user namespace cannot be traced there, not even for a moment.
#[test]
fn the_process_in_the_container_is_hidden_before_it_enters() {
    sandbox::user(|s| {
        if is_other(s) {
            return;
        }
        let container = s.started(&s.bundle_that_waits());
        let list = json!([{ "destination": "/home", "type": "tmpfs", "source": "tmpfs" }]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let traced = injected(s, &container, "add", "setns:delay_enter=1");
        s.finish(traced, None).ok();
        let trace = fs::read_to_string(s.dir.join("trace")).expect("trace");
        let at = |words| trace.find(words).expect(words);
        let hidden = at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)");
        assert!(hidden < at("setns("), "{trace}");
        container.remove();
    });
}

/// A link in the container never leads outside, not even one that changes all the time; and nothing
/// is mounted in /proc.
#[test]
fn links_of_the_container_lead_nowhere_else() {
    sandbox::host_unless(is_other, |s| {
        let canary = Canary::make(s);
        let mut bundle = s.bundle_that_waits();
        bundle.writable();
        let outside = canary.path.display().to_string();
        bundle.shell(&format!(
            "ln -s /proc /mnt/proc; mkdir /mnt/real; ln -s /../../../../../..{outside} /mnt/link; \
             echo on; while :; do mv -T /mnt/real /mnt/a; mv -T /mnt/link /mnt/real; mv -T /mnt/real /mnt/link; mv -T /mnt/a /mnt/real; done"
        ));
        let container = s.started(&bundle);
        container.wait_output("on");
        let host = leak::mounts();
        let source = volume(s, "data");
        for _ in 0..12 {
            let list = json!([bind(&source, "/mnt/real", &[])]);
            let outcome = mounts(s, &container, "add", &list);
            if outcome.status.success() {
                let _covered = mounts(s, &container, "remove", &list);
            }
        }
        assert_eq!(leak::mounts(), host);
        canary.check();
        for destination in [
            "/mnt/proc/sys",
            "/mnt/proc",
            "/proc/sys/kernel",
            "/proc",
            "/sys/../proc/1",
        ] {
            mounts(
                s,
                &container,
                "add",
                &json!([bind(&source, destination, &[])]),
            )
            .fails();
        }
        assert!(!table(&container).contains("/proc/sys/kernel"));
        container.remove();
    });
}

/// A link onto a volume that is shared with the host is refused: the mount would appear there. The
/// name of the volume itself is not.
#[test]
fn links_to_a_shared_volume_are_refused() {
    sandbox::host_unless(is_other, |s| {
        let shared = volume(s, "shared");
        fs::create_dir(shared.join("below")).expect("mkdir");
        let place = shared.to_str().expect("UTF-8");
        s.tool("mount", &["--bind", place, place]);
        s.tool("mount", &["--make-shared", place]);
        let mut bundle = s.bundle_that_waits();
        bundle
            .writable()
            .bind(&shared, "/mnt", &["rshared"])
            .set("/linux/rootfsPropagation", json!("shared"));
        symlink("/mnt/below", bundle.root().join("home/link")).expect("symlink");
        let container = s.started(&bundle);
        let host = leak::mounts();
        let source = volume(s, "data");
        mounts(
            s,
            &container,
            "add",
            &json!([bind(&source, "/home/link", &[])]),
        )
        .fails_with(&["/mounts/0", "shared mount"]);
        assert_eq!(leak::mounts(), host);
        let named = json!([bind(&source, "/mnt/below", &[])]);
        mounts(s, &container, "add", &named).ok();
        assert_ne!(leak::mounts(), host);
        mounts(s, &container, "remove", &named).ok();
        assert_eq!(leak::mounts(), host);
        container.remove();
        s.tool("umount", &[place]);
    });
}

/// Each mistake is an error that names it; all mounts of a file are added or none.
#[test]
fn bad_lists_are_refused_as_a_whole() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        let before = table(&container);
        let good = bind(&volume(s, "data"), "/mnt", &[]);
        let with = |bad: Value| json!([good.clone(), bad]);
        for (list, words) in [
            (json!({}), &["/mounts", "list"][..]),
            (json!([7]), &["/mounts/0"]),
            (json!([{}]), &["/mounts/0", "destination"]),
            (
                with(bind(Path::new("/absent"), "/home", &[])),
                &["/mounts/1", "/absent", "no such file"],
            ),
            (with(bind(&s.dir, "/", &[])), &["/mounts/1/destination"]),
            (
                with(bind(&s.dir, "/bin/busybox", &[])),
                &["/mounts/1", "not a directory"],
            ),
            (
                with(bind(Path::new("/proc"), "/proc", &["rbind"])),
                &["/mounts/1/destination", "/proc/", "masked"],
            ),
            (
                with(bind(Path::new("/sys"), "/sys", &["rbind"])),
                &["/mounts/1/destination", "/sys/firmware", "masked"],
            ),
            (
                with(bind(&s.dir, "/home", &["remount"])),
                &["/mounts/1/options", "cannot be changed"],
            ),
            (
                with(json!({ "destination": "/home", "type": "bind", "options": ["bind"] })),
                &["/mounts/1", "source"],
            ),
            (
                with(json!({ "destination": "/home", "type": "proc", "source": "proc" })),
                &["/mounts/1/type", "tmpfs"],
            ),
            (
                with(json!({ "destination": "/home", "type": "cgroup", "source": "cgroup" })),
                &["/mounts/1"],
            ),
            (
                with(json!({ "destination": "/home", "type": "ext4", "source": "/dev/vda" })),
                &["/mounts/1/type"],
            ),
            (
                with(json!({ "destination": "/home", "type": "tmpfs", "options": ["tmpcopyup"] })),
                &["/mounts/1/options", "tmpcopyup"],
            ),
            (
                with(json!({ "destination": "/home", "type": "tmpfs", "options": ["size=x"] })),
                &["/mounts/1", "size"],
            ),
        ] {
            mounts(s, &container, "add", &list)
                .exits(1)
                .fails_with(words);
            assert_eq!(table(&container), before, "{list}");
        }
        container.remove();
    });
}

/// A command that is killed before it has recorded its mounts leaves none.
#[test]
fn a_killed_command_leaves_no_mount() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        let before = table(&container);
        let list = json!([
            bind(&volume(s, "data"), "/mnt", &[]),
            bind(&volume(s, "more"), "/home", &[])
        ]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let strace = injected(
            s,
            &container,
            "add",
            "rename,renameat,renameat2:signal=KILL",
        );
        let status = s.finish(strace, None).status;
        assert_eq!(status.signal(), Some(9), "{status}");
        assert!(sandbox::eventually(|| table(&container) == before));
        s.runtime(&["mounts", "list", &container.id]).prints("[]");
        container.remove();
    });
}

/// `mounts ACTION ID mounts.json` below strace, which does this to a system call of it.
fn injected(s: &Sandbox, container: &Container<'_>, action: &str, fault: &str) -> Command {
    let command = s.command();
    let mut strace = Command::new("strace");
    strace.current_dir(&s.dir).args(["-f", "-o", "trace", "-e"]);
    strace.arg(format!("inject={fault}"));
    strace.arg(command.get_program()).args(command.get_args());
    strace.args(["--log", "log", "mounts", action, &container.id]);
    strace.arg("mounts.json");
    strace
}

/// If the process in the container is killed, the command does not say that it has succeeded.
#[test]
fn the_end_of_the_process_in_the_container_is_an_error() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        let list = json!([bind(&volume(s, "data"), "/mnt", &[])]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let fails = |action, call: &str| {
            let killed = injected(s, &container, action, &format!("{call}:signal=KILL"));
            s.finish(killed, None).fails_with(&["was killed"]);
        };
        fails("add", "move_mount");
        s.runtime(&["mounts", "list", &container.id]).prints("[]");
        mounts(s, &container, "add", &list).ok();
        fails("remove", "umount2");
        let listed = s.runtime(&["mounts", "list", &container.id]).ok();
        assert_eq!(listed.text(), r#"["/mnt"]"#);
        container.remove();
    });
}

/// A file system that does not answer holds neither the command nor the container.
#[test]
fn a_call_that_never_ends_can_be_interrupted() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        let before = table(&container);
        let list = json!([bind(&volume(s, "data"), "/mnt", &[])]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let strace = injected(s, &container, "add", "move_mount:delay_enter=60000000");
        let adding = s.spawn(strace, None);
        let helper = || {
            let trace = fs::read_to_string(s.dir.join("trace")).unwrap_or_default();
            let line = trace.lines().find(|line| line.contains("move_mount("))?;
            line.split(' ').next()?.parse::<u32>().ok()
        };
        assert!(sandbox::eventually(|| helper().is_some()));
        let helper = helper().expect("a process id");
        let files = fs::read_dir(format!("/proc/{helper}/fd")).expect("its descriptors");
        for file in files {
            let path = fs::read_link(file.expect("entry").path()).unwrap_or_default();
            assert!(!path.starts_with(&s.state), "{path:?} holds the lock");
        }
        let status = fs::read_to_string(format!("/proc/{helper}/status")).expect("status");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        s.tool("kill", &["-TERM", parent.expect("a parent").trim()]);
        let told = || {
            let log = fs::read_to_string(s.dir.join("log")).unwrap_or_default();
            log.contains("interrupted by signal 15")
        };
        assert!(sandbox::eventually(told));
        // The process in the container is delayed for longer.
        s.tool("kill", &["-KILL", &adding.pid().to_string()]);
        adding.wait();
        assert_eq!(table(&container), before);
        mounts(s, &container, "add", &list).ok();
        container.remove();
    });
}

/// Only what `add` has made is removed, and no other mount in its place.
#[test]
fn other_mounts_are_not_removed() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle_that_waits();
        bundle.bind(&volume(s, "config"), "/tmp", &[]);
        let container = s.started(&bundle);
        let good = bind(&volume(s, "data"), "/mnt", &[]);
        // What is not from `add` stays.
        for destination in ["/tmp", "/proc", "/mnt"] {
            let list = json!([bind(&s.dir, destination, &[])]);
            mounts(s, &container, "remove", &list)
                .exits(1)
                .fails_with(&["has added nothing there"]);
        }
        // Nor is another mount removed in its place.
        mounts(s, &container, "add", &json!([good])).ok();
        s.tool(
            "nsenter",
            &[
                "--mount",
                "--target",
                &container.pid().to_string(),
                "mount",
                "-t",
                "tmpfs",
                "x",
                "/mnt",
            ],
        );
        mounts(s, &container, "remove", &json!([good]))
            .exits(1)
            .fails_with(&["/mnt", "covered"]);
        assert!(
            table(&container).contains(" /mnt rw,relatime - tmpfs x"),
            "{}",
            table(&container)
        );
        container.remove();
    });
}

/// What the container itself has unmounted is removed from the list.
#[test]
fn a_mount_that_is_gone_can_be_removed() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        let list = json!([bind(&volume(s, "data"), "/mnt", &[])]);
        mounts(s, &container, "add", &list).ok();
        let pid = container.pid().to_string();
        s.tool("nsenter", &["--mount", "--target", &pid, "umount", "/mnt"]);
        mounts(s, &container, "remove", &list).ok();
        s.runtime(&["mounts", "list", &container.id]).prints("[]");
        container.remove();
    });
}

/// Wrong command lines, and containers that are not there.
#[test]
fn wrong_words_are_refused() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(&s.bundle_that_waits());
        fs::write(s.dir.join("mounts.json"), "[]").expect("write");
        let id = container.id.as_str();
        for (args, words) in [
            (
                &["mounts", "add", id, "/absent.json"][..],
                &["/absent.json"][..],
            ),
            (
                &["mounts", "change", id, "mounts.json"],
                &["ACTION", "change"],
            ),
            (&["mounts", "add", id], &["FILE"]),
            (
                &["mounts", "list", id, "mounts.json"],
                &["FILE", "mounts list", "mounts.json"],
            ),
            (&["mounts", "add"], &["requires"]),
            (
                &["mounts", "add", "missing", "mounts.json"],
                &["does not exist"],
            ),
            (&["mounts", "add", "../x", "mounts.json"], &["../x"]),
        ] {
            s.runtime(args).exits(1).fails_with(words);
        }
        container.remove();
    });
}

/// A container in its creator's mount namespace takes none: they would be the host's.
#[test]
fn a_mount_namespace_is_needed() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle_that_waits();
        bundle.inherit("mount").set("/mounts", json!([]));
        bundle
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]));
        bundle.set("/root/readonly", json!(false));
        let container = s.started(&bundle);
        mounts(s, &container, "add", &json!([])).fails_with(&["no mount namespace of its own"]);
        container.remove();
    });
}
