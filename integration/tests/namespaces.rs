//! `linux.namespaces` and `linux.timeOffsets`: config-linux.md "Namespaces", "Offset for Time
//! Namespace".

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
];

fn own(name: &str) -> PathBuf {
    fs::read_link(format!("/proc/self/ns/{name}")).expect("namespace link")
}

fn of(pid: i64, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("namespace link")
}

fn sleeper(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "1000"]);
    bundle
}

/// Row S28: "If a namespace type is not specified in the namespaces array, the container MUST
/// inherit the runtime namespace of that type"; one without path is new.
#[test]
fn listed_namespaces_are_new_and_others_inherited() {
    sandbox::host(|s| {
        for (kind, name) in KINDS {
            if kind == "mount" {
                continue;
            }
            let mut bundle = sleeper(s);
            bundle.namespace("cgroup").inherit(kind);
            if kind == "uts" {
                bundle.remove("/hostname");
            }
            if kind == "ipc" {
                bundle.unmount("/dev/mqueue");
            }
            let container = s.started(&bundle);
            for (other, file) in KINDS {
                let same = of(container.pid(), file) == own(file);
                assert_eq!(same, other == kind, "{file} of a container without {name}");
            }
            container.remove();
        }
    });
}

/// Row S31: the tools of the host see the namespaces of the container's pid.
#[test]
fn lsns_sees_the_new_namespaces() {
    sandbox::host(|s| {
        let container = s.started(&sleeper(s));
        let pid = container.pid().to_string();
        let text = s.tool(
            "lsns",
            &["--noheadings", "--output", "TYPE,NS", "--task", &pid],
        );
        for name in ["mnt", "uts", "ipc", "pid", "net"] {
            let id = of(container.pid(), name)
                .to_string_lossy()
                .replace(|c: char| !c.is_ascii_digit(), "");
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .expect(name);
            assert!(line.ends_with(&id), "{name}: {text}");
        }
        container.remove();
    });
}

/// Row S27: a process that a tool of the host sends into all namespaces of a container is in those
/// of its init, in its root, and one of its processes.
#[test]
fn nsenter_arrives_in_every_namespace() {
    sandbox::host(|s| {
        let container = s.started(&sleeper(s));
        let pid = container.pid().to_string();
        let script = "for n in mnt uts ipc net pid; do readlink /proc/self/ns/$n; done; cat /proc/1/comm; hostname; ls -d /rootfs";
        let mut args = vec!["--target", &pid];
        args.extend(["--mount", "--uts", "--ipc", "--net", "--pid", "--root"]);
        args.extend(["/bin/sh", "-c", script]);
        let output = Command::new("nsenter").args(&args).output();
        let text = String::from_utf8(output.expect("nsenter").stdout).expect("text");
        let mut wanted: Vec<_> = ["mnt", "uts", "ipc", "net", "pid"]
            .map(|name| of(container.pid(), name).to_string_lossy().into_owned())
            .into();
        wanted.extend(["sleep".to_owned(), "container".to_owned()]);
        assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
        container.remove();
    });
}

/// "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate
/// an error."
#[test]
fn a_duplicate_namespace_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/linux/namespaces/-", json!({ "type": "pid" }));
        s.try_create(&bundle, &s.id(), &[]).fails();
    });
}

/// Row S5: "pid: processes inside the container will only be able to see other processes inside the
/// same container": the first is pid 1.
#[test]
fn the_program_is_pid_1() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("echo $$; exec sleep 1000");
        let container = s.started(&bundle);
        container.wait_output("1\n");
        assert!(container.pid() > 1, "the host sees another pid");
        container.remove();
    });
}

/// Row S6: the proc mount is of the new pid namespace.
#[test]
fn ps_lists_the_containers_processes_alone() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["ps", "-o", "pid,args"]);
        let outcome = s.run(&bundle).ok();
        assert_eq!(outcome.stdout.lines().count(), 2, "{}", outcome.stdout);
    });
}

/// Row S3: System V queues of the host and the container do not meet.
#[test]
fn queues_of_the_host_are_not_seen() {
    sandbox::host(|s| {
        s.tool("ipcmk", &["-Q"]);
        let mut bundle = s.bundle();
        bundle.shell("tail -n +2 /proc/sysvipc/msg | wc -l; tail -n +2 /proc/sysvipc/sem | wc -l");
        s.run(&bundle).prints("0\n0");
        bundle.inherit("ipc").unmount("/dev/mqueue");
        s.run(&bundle).prints("1\n0");
    });
}

/// Row S4: /dev/mqueue shows the queues of the container's ipc namespace, and its limits are its
/// own.
#[test]
fn message_queues_are_the_containers_own() {
    sandbox::host(|s| {
        let place = s.dir.join("mqueue");
        fs::create_dir(&place).expect("mkdir");
        s.tool(
            "mount",
            &["-t", "mqueue", "mqueue", place.to_str().expect("UTF-8")],
        );
        fs::write(place.join("of-the-host"), "").expect("queue");
        let limit = fs::read_to_string("/proc/sys/fs/mqueue/queues_max").expect("sysctl");
        let mut bundle = s.bundle();
        bundle.set("/linux/sysctl", json!({ "fs.mqueue.queues_max": "77" }));
        bundle.shell("ls /dev/mqueue; touch /dev/mqueue/inner && ls /dev/mqueue; cat /proc/sys/fs/mqueue/queues_max");
        s.run(&bundle).prints("inner\n77");
        assert_eq!(
            fs::read_to_string("/proc/sys/fs/mqueue/queues_max").expect("sysctl"),
            limit
        );
        assert!(!place.join("inner").exists());
        s.tool("umount", &[place.to_str().expect("UTF-8")]);
    });
}

/// Row S19: the loopback interface of a new network namespace is up.
#[test]
fn loopback_is_up() {
    sandbox::host(|s| {
        finds_loopback_up(s);
    });
}

/// The same where the clone alone leads into all namespaces: there the runtime does it.
#[test]
fn loopback_is_up_with_version_2_alone() {
    sandbox::pure_v2(|s| {
        finds_loopback_up(s);
    });
}

fn finds_loopback_up(s: &Sandbox) {
    let mut bundle = s.bundle();
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_NET_RAW"]);
    bundle.shell("ip link show lo; ping -c 1 -W 5 127.0.0.1; ls /sys/class/net");
    let outcome = s
        .run(&bundle)
        .ok()
        .contains("LOOPBACK,UP")
        .contains("1 packets received");
    assert!(outcome.stdout.ends_with("lo\n"), "{}", outcome.stdout);
}

/// Row S20: "path (string, OPTIONAL) ... The runtime MUST place the container process in the
/// namespace associated with that path": one of `ip netns add`.
#[test]
fn a_named_network_namespace_is_joined() {
    sandbox::host(|s| {
        s.tool("ip", &["netns", "add", "ns1"]);
        s.tool(
            "ip",
            &[
                "-n", "ns1", "link", "add", "inside0", "type", "veth", "peer", "name", "inside1",
            ],
        );
        let mut bundle = s.bundle();
        bundle
            .join("network", "/run/netns/ns1")
            .shell("ls /sys/class/net/inside0 >/dev/null && readlink /proc/self/ns/net");
        let outcome = s.run(&bundle).ok();
        let inode = s.tool("stat", &["-L", "-c", "net:[%i]", "/run/netns/ns1"]);
        assert_eq!(outcome.stdout, inode);
        s.tool("ip", &["netns", "delete", "ns1"]);
        s.tool("umount", &["/run/netns"]);
        fs::remove_dir("/run/netns").expect("rmdir");
    });
}

/// Row S21: the network namespace of another container, by /proc/PID/ns/net.
#[test]
fn the_network_of_another_container_is_joined() {
    sandbox::host(|s| {
        let first = s.started(&sleeper(s));
        let mut bundle = s.bundle();
        bundle.join("network", format!("/proc/{}/ns/net", first.pid()));
        bundle.args(&["readlink", "/proc/self/ns/net"]);
        let shared = of(first.pid(), "net");
        s.run(&bundle).prints(shared.to_str().expect("UTF-8"));
        first.remove();
    });
}

/// Row S23: `state` tells the pid by which an interface is given to a running container.
#[test]
fn an_interface_can_be_given_by_the_pid_of_state() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("while ! test -e /sys/class/net/gift0; do sleep 0.01; done; echo arrived");
        let container = s.started(&bundle);
        s.tool(
            "ip",
            &[
                "link", "add", "gift0", "type", "veth", "peer", "name", "gift1",
            ],
        );
        s.tool(
            "ip",
            &[
                "link",
                "set",
                "gift0",
                "netns",
                &container.pid().to_string(),
            ],
        );
        assert_eq!(container.finish(), "arrived\n");
    });
}

/// Row S26: a tool container that joins the network, ipc and uts namespaces of another sees that
/// one's sockets.
#[test]
fn a_tool_container_sees_the_sockets_of_the_first() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("nc -l -p 4242 < /dev/zero & echo ready; wait; sleep 1000");
        let first = s.started(&bundle);
        first.wait_output("ready");
        let mut tool = s.bundle();
        for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            tool.join(kind, format!("/proc/{}/ns/{name}", first.pid()));
        }
        tool.remove("/hostname").shell("i=0; until netstat -ltn | grep :4242; do sleep 0.05; i=$((i+1)); test $i -lt 100 || exit 1; done; hostname");
        s.run(&tool).ok().contains("LISTEN").contains("container");
        first.remove();
    });
}

/// Row S29: a namespace kept alive by a bind mount of its file is joined after its first process
/// has died.
#[test]
fn a_pinned_namespace_outlives_its_first_process() {
    sandbox::host(|s| {
        let pin = s.dir.join("uts");
        fs::write(&pin, "").expect("write");
        let mut bundle = sleeper(s);
        bundle.set("/hostname", json!("pinned"));
        let first = s.started(&bundle);
        let pin = pin.to_str().expect("UTF-8");
        s.tool(
            "mount",
            &["--bind", &format!("/proc/{}/ns/uts", first.pid()), pin],
        );
        first.remove();
        let mut second = s.bundle();
        second
            .join("uts", pin)
            .remove("/hostname")
            .args(&["hostname"]);
        s.run(&second).prints("pinned");
        s.tool("umount", &[pin]);
    });
}

/// Row S29: "The runtime MUST generate an error if path is not associated with a namespace of type
/// type."
#[test]
fn a_namespace_of_the_wrong_type_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.join("uts", "/proc/self/ns/ipc").remove("/hostname");
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        if s.subject.is_locule() {
            let line = outcome.last_line();
            assert!(
                line.contains("ipc") && line.contains("uts"),
                "says which type it is: {line}"
            );
        }
    });
}

/// "The runtime MUST generate an error if path is not associated with a namespace": a missing file
/// and an ordinary one.
#[test]
fn a_path_that_is_no_namespace_is_an_error() {
    sandbox::host(|s| {
        let plain = s.dir.join("plain");
        fs::write(&plain, "").expect("write");
        for path in [Path::new("/nowhere/ns"), &plain] {
            let mut bundle = s.bundle();
            bundle.join("network", path);
            let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
            if s.subject.is_locule() {
                outcome.fails_with(&[path.to_str().expect("UTF-8")]);
            }
        }
    });
}

/// Row S30: a pod: a pause container whose network, ipc and pid namespaces a second one joins.
#[test]
fn a_pod_shares_the_namespaces_of_its_pause_container() {
    sandbox::host(|s| {
        let pause = s.started(&sleeper(s));
        let mut bundle = s.bundle();
        for (kind, name) in [
            ("network", "net"),
            ("ipc", "ipc"),
            ("pid", "pid"),
            ("uts", "uts"),
        ] {
            bundle.join(kind, format!("/proc/{}/ns/{name}", pause.pid()));
        }
        bundle.remove("/hostname").shell(
            "for n in net ipc pid uts; do readlink /proc/self/ns/$n; done; ps -o args | grep -c '^sleep 1000'",
        );
        let wanted: Vec<_> = ["net", "ipc", "pid", "uts"]
            .map(|n| of(pause.pid(), n).to_string_lossy().into_owned())
            .into();
        let outcome = s.run(&bundle).ok();
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(lines[..4], wanted);
        assert_eq!(lines[4], "1", "{}", outcome.stdout);
        assert_eq!(pause.status(), "running");
        pause.remove();
    });
}

/// Row S30: with a shared pid namespace nothing of the second container survives its deletion.
#[test]
fn delete_kills_what_a_shared_pid_namespace_keeps_alive() {
    sandbox::host(|s| {
        if s.is_v2() && s.is_control("runc 1.1 gives up on a busy v2 group") {
            return;
        }
        let pause = s.started(&sleeper(s));
        let mut bundle = s.bundle();
        bundle.join("pid", format!("/proc/{}/ns/pid", pause.pid()));
        bundle.shell("sleep 2222 & echo ready");
        let second = s.started(&bundle);
        second.wait_for("stopped");
        second.remove();
        let left = || {
            integration::leak::processes()
                .iter()
                .any(|line| line.contains("2222"))
        };
        assert!(
            sandbox::eventually(|| !left()),
            "{:?}",
            integration::leak::processes()
        );
        assert_eq!(pause.status(), "running");
        pause.remove();
    });
}

/// Row S44: "timeOffsets (object, OPTIONAL) sets the offset for Time Namespace": /proc/uptime is
/// shifted, the host's is not.
#[test]
fn the_clocks_are_shifted_by_the_offsets() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no time namespaces") {
            return;
        }
        let uptime = || {
            let text = fs::read_to_string("/proc/uptime").expect("uptime");
            text.split('.')
                .next()
                .expect("seconds")
                .parse::<i64>()
                .expect("a number")
        };
        let mut bundle = s.bundle();
        bundle.namespace("time").set(
            "/linux/timeOffsets",
            json!({
                "monotonic": { "secs": 172_800 }, "boottime": { "secs": 604_800, "nanosecs": 5 }
            }),
        );
        bundle.shell("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets");
        // The second time in a new user namespace, whose root does not own the runtime's /proc
        // files.
        for _ in 0..2 {
            let outcome = s.run(&bundle).ok().contains("172800").contains("604800");
            let inside: i64 = outcome
                .stdout
                .lines()
                .next()
                .expect("uptime")
                .parse()
                .expect("a number");
            assert!((inside - uptime() - 604_800).abs() < 100, "{inside}");
            bundle.user_namespace(&[(0, 100_000, 65536)]);
        }
    });
}

/// Row S44: without CAP_SYS_TIME the wall clock stays as it is.
#[test]
fn the_wall_clock_cannot_be_set() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("date -s 2001-01-01 2>&1; date +%Y");
        let outcome = s.run(&bundle).ok().contains("not permitted");
        assert!(!outcome.text().ends_with("2001"), "{}", outcome.stdout);
    });
}

/// Row S24: a macvlan interface of the host moves into a container by its pid and comes up.
#[test]
fn a_macvlan_interface_moves_and_comes_up() {
    sandbox::host(|s| {
        s.tool(
            "ip",
            &[
                "link", "add", "base0", "type", "veth", "peer", "name", "base1",
            ],
        );
        let add = [
            "link", "add", "mac0", "link", "base0", "type", "macvlan", "mode", "bridge",
        ];
        if !Command::new("ip").args(add).status().expect("ip").success() {
            return s
                .skip("this kernel has no macvlan; the move of a veth interface covers the rest");
        }
        s.tool("ip", &["link", "set", "base0", "up"]);
        let mut bundle = s.bundle();
        bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_NET_ADMIN"]);
        bundle.shell("ip link set mac0 up && ip link show mac0");
        let container = s.create(&bundle);
        s.tool(
            "ip",
            &["link", "set", "mac0", "netns", &container.pid().to_string()],
        );
        container.start().ok();
        let output = container.finish();
        assert!(output.contains(",UP"), "{output}");
    });
}

/// Without a mount namespace the mounts are made below the root in the caller's, which keeps its
/// propagation; `delete` takes them away, and nobody else's.
#[test]
fn without_a_mount_namespace_the_callers_has_the_mounts() {
    sandbox::host(|s| {
        if s.is_control("runc leaves the mounts behind") {
            return;
        }
        let (folder, file) = (s.dir.join("folder"), s.dir.join("file"));
        fs::create_dir(&folder).expect("mkdir");
        fs::write(&file, "bound\n").expect("write");
        let mut bundle = s.bundle();
        bundle.inherit("mount").writable();
        bundle
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths");
        bundle
            .bind(&folder, "/mnt", &["ro"])
            .bind(&file, "/etc/bound", &["ro"]);
        fs::create_dir(bundle.root().join("kept")).expect("mkdir");
        let kept = bundle.root().join("kept");
        s.tool(
            "mount",
            &["-t", "tmpfs", "kept", kept.to_str().expect("UTF-8")],
        );
        let before = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        bundle.shell("cat /etc/bound; echo x > /dev/null; readlink /dev/ptmx; touch /mnt/x 2> /dev/null || echo ro");
        let container = s.create(&bundle);
        let during = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        for line in before.lines() {
            assert!(
                during.lines().any(|other| other == line),
                "{line}: {during}"
            );
        }
        let point = format!(" {} ", bundle.root().join("mnt").display());
        assert!(during.contains(&point), "{during}");
        container.start().ok();
        assert_eq!(container.finish(), "bound\npts/ptmx\nro\n");
        let after = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert_eq!(after, before);
        // A mount of the configuration that fails leaves none of the earlier ones.
        bundle.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["nonsense=1"] }));
        s.run(&bundle).fails_with(&["nonsense"]);
        assert_eq!(
            fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"),
            before
        );
        s.tool("umount", &[kept.to_str().expect("UTF-8")]);
    });
}

/// Without pivot_root each procfs of the host is hidden, also one that the mapped root cannot
/// reach.
#[test]
fn a_procfs_of_the_host_in_a_closed_directory_is_no_obstacle() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves what it cannot unmount") {
            return;
        }
        let closed = s.dir.join("closed");
        let inside = closed.join("inside");
        fs::create_dir_all(&inside).expect("mkdir");
        let place = inside.to_str().expect("UTF-8");
        s.tool("mount", &["-t", "proc", "proc", place]);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65_536)]);
        bundle.shell("id -u");
        s.run_with(&bundle, &["--no-pivot"]).prints("0");
        s.tool("umount", &[place]);
    });
}

/// The mount points of others may have any name. One that is not UTF-8 hides no other mount: the
/// mounts of a container without a mount namespace are found and removed.
#[test]
fn a_mount_point_that_is_no_text_hides_no_other() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves mounts behind") {
            return;
        }
        let odd = s.dir.join(OsStr::from_bytes(b"\xff"));
        fs::create_dir(&odd).expect("mkdir");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "odd"]).arg(&odd);
        assert!(mount.status().expect("mount").success());
        let mut bundle = s.bundle();
        bundle.inherit("mount").writable();
        bundle
            .remove("/linux/maskedPaths")
            .remove("/linux/readonlyPaths");
        bundle.args(&["true"]);
        let before = fs::read("/proc/self/mountinfo").expect("mountinfo");
        s.run(&bundle).ok();
        assert!(fs::read("/proc/self/mountinfo").expect("mountinfo") == before);
        let mut umount = Command::new("umount");
        assert!(umount.arg(&odd).status().expect("umount").success());
    });
}

/// A bundle that nobody but the host's root may enter, with the root file system inside: the mapped
/// root finds it by a handle that was opened before: from the base of mounts, from a copy of the
/// host's, and where the root is moved.
#[test]
fn the_root_of_a_closed_bundle_is_found() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 looks the root up as the mapped root") {
            return;
        }
        for (hook, options) in [
            (false, &[][..]),
            (true, &[][..]),
            (false, &["--no-pivot"][..]),
        ] {
            let mut bundle = s.bundle();
            bundle.user_namespace(&[(0, 100_000, 65_536)]);
            if hook {
                let entry = json!({ "path": "/bin/true" });
                bundle.set("/hooks/createRuntime/-", entry);
            }
            bundle.shell("id -u; test -e /bin/busybox && echo found");
            bundle.write();
            fs::set_permissions(&bundle.path, fs::Permissions::from_mode(0o700)).expect("chmod");
            s.run_with(&bundle, options).prints("0\nfound");
        }
    });
}
