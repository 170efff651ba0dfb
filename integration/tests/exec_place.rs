//! `exec`: where a further process of a container is. Its namespaces, its root, its control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Bundle, Container, Group, Sandbox, sandbox};
use serde_json::json;

/// Every kind of namespace.
const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The identities of the namespaces of a process, as a tool of the host reads them.
fn namespaces(s: &Sandbox, pid: &str) -> Vec<String> {
    let links = KINDS.map(|kind| format!("/proc/{pid}/ns/{kind}"));
    let links: Vec<_> = links.iter().map(String::as_str).collect();
    let text = s.tool("readlink", &links);
    text.lines().map(str::to_owned).collect()
}

/// A further process that waits, by its pid on the host.
fn further(s: &Sandbox, container: &Container<'_>, options: &[&str]) -> String {
    let file = s.dir.join(s.id());
    let mut all = vec!["--detach", "--pid-file", file.to_str().expect("UTF-8")];
    all.extend(options);
    container.exec(&all, &["sleep", "999"]).ok();
    fs::read_to_string(&file).expect("the pid file")
}

/// Starts the bundle and requires that a further process is in all namespaces of the first, and in
/// its root.
fn arrives(s: &Sandbox, bundle: &Bundle) {
    let container = s.started(bundle);
    let first = container.pid().to_string();
    let other = further(s, &container, &[]);
    assert_eq!(namespaces(s, &other), namespaces(s, &first));
    let root = |pid: &str| s.tool("stat", &["-L", "-c", "%d:%i", &format!("/proc/{pid}/root")]);
    assert_eq!(root(&other), root(&first));
    // It is a process like others there: it sees itself, and the tree of the container.
    container
        .exec_shell(
            &[],
            "test -d /proc/self && test -f /bin/busybox && echo inside",
        )
        .prints("inside");
    container.remove();
}

/// Row S27: `exec` arrives in every namespace of the container's first process.
#[test]
fn every_namespace_is_that_of_the_first_process() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        arrives(s, &bundle);
        bundle.namespace("cgroup").namespace("time");
        arrives(s, &bundle);
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        arrives(s, &bundle);
        // Its root is the host's: no id changes on the way in.
        bundle.user_namespace(&[(0, 0, 65536)]);
        arrives(s, &bundle);
    });
}

/// The same for an ordinary user.
#[test]
fn every_namespace_is_that_of_the_first_process_of_a_user() {
    sandbox::user(|s| arrives(s, &s.bundle_that_waits()));
}

/// In a user namespace the streams of a further process are its user's too: the program can open
/// them anew.
#[test]
fn its_streams_can_be_opened_again_in_a_user_namespace() {
    sandbox::host(|s| {
        if s.is_control("runc gives away its own pipes alone") {
            return;
        }
        let mut bundle = s.bundle_that_waits();
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        let container = s.started(&bundle);
        for user in ["0", "1000"] {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "\"$0\" --root \"$1\" exec --user \"$2\" \"$3\" sh -c 'echo again > /proc/self/fd/1' | cat",
            ]);
            command.arg(&s.subject.program).arg(&s.state);
            command.args([user, &container.id]);
            s.finish(command, None).prints("again");
        }
        container.remove();
    });
}

/// Namespaces that the container has joined, and those of its maker.
#[test]
fn joined_and_inherited_namespaces_are_entered() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        let other = s.started(&bundle);
        let path = |kind: &str| format!("/proc/{}/ns/{kind}", other.pid());
        let mut bundle = s.bundle_that_waits();
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("pid", "pid")] {
            bundle.join(kind, path(file));
        }
        arrives(s, &bundle);
        bundle.join("user", path("user"));
        arrives(s, &bundle);
        let mut bundle = s.bundle_that_waits();
        for kind in ["network", "ipc", "uts", "pid"] {
            bundle.inherit(kind);
        }
        bundle.remove("/hostname");
        arrives(s, &bundle);
        // Network and IPC of the host with a user namespace, which does not own them: two passes.
        let mut bundle = s.bundle_that_waits();
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        bundle.join("network", "/proc/1/ns/net");
        arrives(s, &bundle);
        other.remove();
    });
}

/// A container without a mount namespace of its own has a root that only its first process tells.
#[test]
fn the_root_is_that_of_the_first_process_without_a_mount_namespace() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.inherit("mount").writable();
        bundle
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths");
        arrives(s, &bundle);
        let container = s.started(&bundle);
        container.exec(&[], &["pwd"]).prints("/");
        let outcome = container.exec_shell(&[], "ls -d /run/sandbox /../run/sandbox");
        assert!(!outcome.status.success(), "{}", outcome.describe("inside"));
        container.remove();
    });
}

/// The group lines of a process.
fn membership(pid: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    text.lines().map(str::to_owned).collect()
}

/// The line of the v2 hierarchy.
fn unified(pid: &str) -> String {
    let mut lines = membership(pid).into_iter();
    lines.find(|line| line.starts_with("0::")).expect("v2")
}

/// A further process is in every control group of the first.
#[test]
fn the_groups_are_those_of_the_first_process() {
    sandbox::host(|s| {
        is_in_the_groups(s);
    });
}

fn is_in_the_groups(s: &Sandbox) {
    let mut bundle = s.bundle_that_waits();
    bundle.in_group(s).namespace("cgroup");
    let container = s.started(&bundle);
    let other = further(s, &container, &[]);
    assert_eq!(membership(&other), membership(&container.pid().to_string()));
    container
        .exec(&[], &["cat", "/proc/self/cgroup"])
        .ok()
        .contains(":/\n");
    container.remove();
}

/// Without control groups a further process stays in its caller's, and there is nothing below to
/// name.
#[test]
fn without_groups_a_process_stays_where_its_caller_is() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        if s.is_v2() {
            // A namespace of control groups would show the group as `/`.
            bundle.inherit("cgroup");
        }
        let id = s.id();
        let disabled = |args: &[&str]| {
            let mut command = s.command();
            command.args(["--cgroup-manager", "disabled"]).args(args);
            s.finish(command, None)
        };
        let path = bundle.write().to_str().expect("UTF-8").to_owned();
        disabled(&["create", "--bundle", &path, &id]).ok();
        disabled(&["start", &id]).ok();
        let outcome = s.runtime(&["exec", &id, "cat", "/proc/self/cgroup"]).ok();
        assert_eq!(
            outcome.text(),
            fs::read_to_string("/proc/self/cgroup")
                .expect("cgroup")
                .trim_end()
        );
        s.runtime(&["exec", "--cgroup", "x", &id, "true"])
            .exits(255)
            .fails_with(&["--cgroup \"x\"", "no cgroup of its own"]);
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// The directories of the container's groups: one on v2, one for each controller on v1.
fn directories(s: &Sandbox, container: &Container<'_>) -> Vec<PathBuf> {
    let group = Group::of(s, container);
    let names: &[&str] = match s.is_v2() {
        true => &[""],
        false => &["memory", "pids", "freezer"],
    };
    let paths = names.iter().map(|name| group.path(name));
    paths.filter(|path| path.is_dir()).collect()
}

/// `--cgroup` names a group below the container's, `/` the container's own, and nothing else.
#[test]
fn a_group_below_may_be_named() {
    sandbox::host(|s| {
        names_a_group(s);
    });
}

/// The same on v2.
#[test]
fn a_v2_group_below_may_be_named() {
    sandbox::pure_v2(|s| {
        names_a_group(s);
    });
}

fn names_a_group(s: &Sandbox) {
    let mut bundle = s.bundle_that_waits();
    bundle.in_group(s);
    let container = s.started(&bundle);
    let homes = directories(s, &container);
    assert!(!homes.is_empty());
    // A sibling whose name begins like the container's.
    let sibling = |home: &Path| {
        let name = home.file_name().expect("a name").to_string_lossy();
        home.with_file_name(format!("{name}c"))
    };
    for home in &homes {
        fs::create_dir(sibling(home)).expect("mkdir");
    }
    let (controller, first) = match s.is_v2() {
        true => ("", &homes[0]),
        false => ("memory", &homes[0]),
    };
    for home in &homes {
        fs::create_dir_all(home.join("sub/deep")).expect("mkdir");
    }
    let procs = |folder: &Path| fs::read_to_string(folder.join("cgroup.procs")).expect("procs");
    if s.is_v2() {
        let other = further(s, &container, &["--cgroup", "sub/deep"]);
        assert_eq!(procs(&first.join("sub/deep")), format!("{other}\n"));
        let other = further(s, &container, &["--cgroup", "/sub"]);
        assert_eq!(procs(&first.join("sub")), format!("{other}\n"));
        container
            .exec(&["--cgroup", "memory:sub"], &["true"])
            .exits(255)
            .fails_with(&["--cgroup", "memory"]);
    } else {
        let other = further(s, &container, &["--cgroup", &format!("{controller}:sub")]);
        assert_eq!(procs(&first.join("sub")), format!("{other}\n"));
        let lines = membership(&other);
        let pids = lines.iter().find(|line| line.contains(":pids:"));
        assert!(pids.is_none_or(|line| !line.ends_with("/sub")), "{lines:?}");
    }
    let other = further(s, &container, &["--cgroup", "/"]);
    assert!(procs(first).lines().any(|line| line == other), "{other}");
    let name = first.file_name().expect("a name").to_string_lossy();
    let long = "n".repeat(256);
    for climbing in [
        "..",
        "../",
        "/..",
        "sub/../..",
        &format!("../{name}c"),
        "sub/../../x",
        "x\ny",
        &long,
    ] {
        container
            .exec(&["--cgroup", climbing], &["true"])
            .exits(255)
            .fails_with(&["exec failed: --cgroup", "bad sub cgroup path"]);
    }
    for missing in ["c", &format!("{name}c"), "sub/missing"] {
        container
            .exec(&["--cgroup", missing], &["true"])
            .exits(255)
            .fails_with(&["no such file or directory"]);
    }
    for wrong in ["nothing:sub", ":sub", "memory,nothing:sub"] {
        container
            .exec(&["--cgroup", wrong], &["true"])
            .exits(255)
            .fails_with(&["--cgroup", "unknown controller"]);
    }
    for home in &homes {
        assert_eq!(procs(&sibling(home)), "");
        fs::remove_dir(sibling(home)).expect("rmdir");
    }
    container.remove();
}

/// An init that has moved itself to a group below its own, as systemd does: a further process joins
/// it there, since the container's own group takes none any more.
#[test]
fn an_init_that_has_moved_is_followed() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.in_group(s);
        let container = s.started(&bundle);
        let home = Group::of_test(s).path("");
        let init = home.join("init.scope");
        fs::create_dir(&init).expect("mkdir");
        let pid = container.pid().to_string();
        fs::write(init.join("cgroup.procs"), &pid).expect("move");
        let controllers = fs::read_to_string(home.join("cgroup.controllers")).expect("controllers");
        if let Some(name) = controllers.split_whitespace().next() {
            fs::write(home.join("cgroup.subtree_control"), format!("+{name}")).expect("enable");
        }
        let other = further(s, &container, &[]);
        assert_eq!(membership(&other), membership(&pid));
        assert!(unified(&other).ends_with("/init.scope"));
        container.remove();
    });
}

/// One that has left the container's group takes nobody with it.
#[test]
fn an_init_that_has_left_its_group_is_not_followed() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.in_group(s);
        let container = s.started(&bundle);
        let home = Group::of_test(s).path("");
        let name = home.file_name().expect("a name").to_string_lossy();
        let outside = home.with_file_name(format!("{name}c"));
        fs::create_dir(&outside).expect("mkdir");
        let pid = container.pid().to_string();
        fs::write(outside.join("cgroup.procs"), &pid).expect("move");
        let other = further(s, &container, &[]);
        assert!(
            unified(&other).ends_with(&*name),
            "{:?}",
            membership(&other)
        );
        s.tool("kill", &["-9", &pid]);
        container.wait_for("stopped");
        assert!(sandbox::eventually(|| fs::remove_dir(&outside).is_ok()));
        container.remove();
    });
}

/// A limit of the container holds for further processes. On its way into a PID namespace each is
/// two for a moment.
#[test]
fn a_limit_holds_for_further_processes() {
    sandbox::host(|s| {
        if s.lacks(&["pids"]) {
            return;
        }
        let mut bundle = s.bundle_that_waits();
        bundle
            .in_group(s)
            .set("/linux/resources", json!({ "pids": { "limit": 4 } }));
        let container = s.started(&bundle);
        container.exec(&[], &["true"]).ok();
        let held: Vec<_> = (0..2).map(|_| further(s, &container, &[])).collect();
        container
            .exec(&[], &["true"])
            .exits(255)
            .fails_with(&["exec failed: ", "pids"]);
        drop(held);
        container.remove();
    });
}
