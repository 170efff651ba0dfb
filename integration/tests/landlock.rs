//! Landlock: docs/landlock.md, landlock(7). The specification has no word for it yet; the
//! annotation is locule's own, and `landlock_document` is the chapter of its text.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use integration::landlock::{lacks, rule, set, tries};
use integration::{Bundle, Sandbox, bundle, sandbox};
use serde_json::json;

/// Everything may be read and executed but /etc and /home; /tmp may be written.
fn sealed(bundle: &mut Bundle) -> &mut Bundle {
    bundle.writable();
    set(
        bundle,
        &json!({ "pathBeneath": [
            { "paths": ["/bin", "/proc"], "allowedAccess": ["read", "execute"] },
            rule("/tmp", &["read", "write"]),
            rule("/dev/null", &["read", "write"]),
        ] }),
    )
}

fn denies_what_no_rule_allows(s: &Sandbox) {
    for no_new_privileges in [true, false] {
        let mut bundle = s.bundle();
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let script = tries(&[
            "cat /etc/passwd",
            "cat /proc/self/comm",
            "ls /",
            "ls /home",
            "ls /tmp",
            "touch /home/new",
            "mkdir /home/new",
            "echo text > /tmp/new",
            "echo text >> /etc/group",
            "mkdir /tmp/folder",
            "mv /tmp/new /tmp/folder/moved",
            "cat /tmp/folder/moved",
            "truncate -s 0 /tmp/folder/moved",
            "rm -r /tmp/folder",
            "mknod /bin/fifo p",
        ]);
        sealed(&mut bundle).shell(&script);
        s.run(&bundle)
            .prints("no\nyes\nno\nno\nyes\nno\nno\nyes\nno\nyes\nyes\nyes\nyes\nyes\nno");
    }
}

/// What no rule allows is EACCES, also for root.
#[test]
fn what_no_rule_allows_is_denied() {
    sandbox::host(|s| {
        if !lacks(s, 3) {
            denies_what_no_rule_allows(s);
        }
    });
}

/// Landlock needs no privileges of the host.
#[test]
fn an_ordinary_user_is_restricted_too() {
    sandbox::user(|s| {
        if !lacks(s, 3) {
            denies_what_no_rule_allows(s);
        }
    });
}

/// The restriction is of the process and of all that come after it.
#[test]
fn children_are_confined_too() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let mut bundle = s.bundle();
        let child = tries(&["cat /etc/passwd", "setsid sh -c 'cat /etc/passwd'"]);
        let script = format!("({child}) & wait; exec sh -c \"$0\"");
        sealed(&mut bundle).args(&["sh", "-c", &script, &child]);
        s.run(&bundle).prints("no\nno\nno\nno");
    });
}

/// LANDLOCK_ACCESS_FS_EXECUTE.
#[test]
fn a_program_needs_the_right_to_be_executed() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let mut bundle = s.bundle();
        fs::copy(bundle::busybox(), bundle.root().join("tmp/busybox")).expect("copy");
        let script = tries(&["/bin/busybox true", "/tmp/busybox true"]);
        sealed(&mut bundle).shell(&script);
        s.run(&bundle).prints("yes\nno");
        // The container's own program, by `run` and by `start`: the sentence says what to do.
        bundle.args(&["/tmp/busybox", "true"]);
        let words = [
            "exec: \"/tmp/busybox\": permission denied",
            "dev.locule.landlock",
            "`execute`",
        ];
        s.run(&bundle).fails_with(&words);
        let container = s.create(&bundle);
        container.start().fails_with(&words);
        container.remove();
    });
}

/// Rules for single rights and single files.
#[test]
fn single_rights_are_restricted_alone() {
    sandbox::host(|s| {
        if lacks(s, 1) {
            return;
        }
        let mut bundle = s.bundle();
        set(
            bundle.writable(),
            &json!({
                "handledAccessFs": ["make_dir", "read_file", "remove_file"],
                "pathBeneath": [
                    rule("/tmp", &["make_dir", "read"]),
                    { "paths": ["/etc/passwd", "/bin/busybox"], "allowedAccess": ["read"] },
                ],
            }),
        );
        bundle.file("/home/old", "", 0o644);
        bundle.shell(&tries(&[
            "mkdir /tmp/a",
            "mkdir /home/a",
            "echo text > /home/new",
            "rm /home/old",
            "ls /etc",
            "cat /etc/passwd",
            "cat /etc/group",
        ]));
        s.run(&bundle).prints("yes\nno\nyes\nno\nyes\nyes\nno");
    });
}

/// LANDLOCK_ACCESS_FS_REFER: from one directory to another nothing is linked or renamed but where
/// that is allowed, also when only something else is restricted. The kernel says EXDEV.
#[test]
fn links_from_directory_to_directory_need_a_right() {
    sandbox::host(|s| {
        if lacks(s, 2) {
            return;
        }
        let mut bundle = s.bundle();
        for name in ["/tmp/one/file", "/tmp/two/file"] {
            bundle.file(name, "", 0o644);
        }
        bundle
            .writable()
            .shell("ln /tmp/one/file /tmp/one/same; ln /tmp/one/file /tmp/two/other 2>&1; ls /tmp/one /tmp/two");
        set(&mut bundle, &json!({ "handledAccessFs": ["make_dir"] }));
        let outcome = s.run(&bundle).ok();
        assert!(
            outcome.stdout.to_lowercase().contains("cross-device"),
            "{}",
            outcome.describe("EXDEV")
        );
        let listed = "/tmp/one:\nfile\nsame\n\n/tmp/two:\nfile";
        outcome.contains(listed);
        bundle.shell("ln /tmp/one/file /tmp/two/other && ls /tmp/two");
        set(
            &mut bundle,
            &json!({ "handledAccessFs": ["refer"], "pathBeneath": [rule("/tmp", &["refer"])] }),
        );
        s.run(&bundle).prints("file\nother");
    });
}

/// LANDLOCK_ACCESS_FS_IOCTL_DEV: ABI 5.
#[test]
fn devices_take_no_commands_without_a_right() {
    sandbox::host(|s| {
        if lacks(s, 5) {
            return;
        }
        let mut bundle = s.bundle();
        bundle.writable().shell(&tries(&["stty -F /dev/ptmx"]));
        let mut document = json!({ "handledAccessFs": ["ioctl_dev"] });
        set(&mut bundle, &document);
        s.run(&bundle).prints("no");
        document["pathBeneath"] = json!([rule("/dev", &["ioctl_dev"])]);
        set(&mut bundle, &document);
        s.run(&bundle).prints("yes");
    });
}

/// LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP: ABI 4. A list that is not there
/// restricts nothing.
#[test]
fn ports_are_restricted() {
    sandbox::host(|s| {
        if lacks(s, 4) {
            return;
        }
        let listen = |port| format!("(sleep 0.2 | timeout 60 nc -l -p {port}) > /dev/null");
        let connect = |port| format!("nc -w 1 127.0.0.1 {port} < /dev/null");
        let mut bundle = s.bundle();
        bundle.writable();
        let refused = |port| format!("{} 2>&1 | grep -q refused", connect(port));
        let script = tries(&[
            &format!(
                "{} & sleep 0.1; for i in $(seq 300); do {} && exit; sleep 0.1; done; exit 1",
                listen(8080),
                connect(8080)
            ),
            &listen(8081),
            // Nobody listens, but the connection may be tried.
            &refused(8082),
            &connect(8083),
        ]);
        bundle.shell(&script);
        set(
            &mut bundle,
            &json!({ "bindTcp": [8080], "connectTcp": [8080, 8082] }),
        );
        s.run(&bundle).prints("yes\nno\nyes\nno");
        set(&mut bundle, &json!({ "connectTcp": [] }));
        let script = tries(&[&connect(8080), &format!("{} & sleep 0.3", listen(8081))]);
        bundle.shell(&script);
        s.run(&bundle).prints("no\nyes");
    });
}

/// The host's programs for scripts that busybox has no words for.
fn with_perl(bundle: &mut Bundle, script: &str) {
    bundle.bind(Path::new("/usr"), "/usr", &["rbind", "ro"]);
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), bundle.root().join(name)).expect("link");
    }
    let start = "use Socket; $| = 1; sub said { print $_[0] ? \"yes\\n\" : $!{EACCES} ? \"no\\n\" : $!{EPERM} ? \"not permitted\\n\" : \"$!\\n\" }";
    bundle.args(&["/usr/bin/perl", "-e", &format!("{start} {script}")]);
}

/// LANDLOCK_ACCESS_NET_BIND_UDP, LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP: ABI 10.
#[test]
fn datagrams_are_restricted() {
    sandbox::host(|s| {
        if lacks(s, 10) {
            return;
        }
        let mut bundle = s.bundle();
        with_perl(
            &mut bundle,
            "socket(my $a, PF_INET, SOCK_DGRAM, 0); sub to { pack_sockaddr_in($_[0], INADDR_LOOPBACK) } \
             said(bind($a, to(53))); said(bind($a, to(54))); \
             socket(my $b, PF_INET, SOCK_DGRAM, 0); said(connect($b, to(55))); said(connect($b, to(53)));",
        );
        set(
            &mut bundle,
            &json!({ "bindUdp": [54, 0], "connectSendUdp": [55] }),
        );
        s.run(&bundle).prints("no\nyes\nyes\nno");
        // The port that a socket without one gets is port 0.
        set(&mut bundle, &json!({ "bindUdp": [54] }));
        s.run(&bundle).prints("no\nyes\nno\nno");
    });
}

/// LANDLOCK_ACCESS_FS_RESOLVE_UNIX: ABI 9. A socket is a file that is none of a directory's.
#[test]
fn sockets_of_others_need_a_right_to_be_reached() {
    sandbox::host(|s| {
        if lacks(s, 9) {
            return;
        }
        let mut bundle = s.bundle();
        let folder = s.dir.join("sockets");
        fs::create_dir(&folder).expect("mkdir");
        let _listeners =
            ["open", "shut"].map(|name| UnixListener::bind(folder.join(name)).expect("listen"));
        bundle.bind(&folder, "/mnt", &["rw"]);
        with_perl(
            &mut bundle,
            "for ('open', 'shut') { socket(my $a, PF_UNIX, SOCK_STREAM, 0); said(connect($a, pack_sockaddr_un(\"/mnt/$_\"))) }",
        );
        set(
            &mut bundle,
            &json!({
                "handledAccessFs": ["resolve_unix"],
                "pathBeneath": [rule("/mnt/open", &["resolve_unix"])],
            }),
        );
        s.run(&bundle).prints("yes\nno");
    });
}

/// LANDLOCK_SCOPE_SIGNAL, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET: ABI 6.
#[test]
fn processes_outside_are_out_of_reach() {
    sandbox::host(|s| {
        if lacks(s, 6) {
            return;
        }
        let name = format!("locule-{}", s.id());
        let listen = format!(
            "use Socket; socket(my $l, PF_UNIX, SOCK_STREAM, 0); bind($l, pack_sockaddr_un(\"\\0{name}\")); listen($l, 9); $| = 1; print 1; sleep 1000"
        );
        let mut other = Command::new("perl")
            .args(["-e", &listen])
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl");
        let mut ready = [0];
        let pipe = other.stdout.as_mut().expect("a pipe");
        pipe.read_exact(&mut ready).expect("ready");
        let mut bundle = s.bundle();
        bundle.inherit("pid").inherit("network").unmount("/sys");
        bundle.unmount("/sys/fs/cgroup");
        bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_KILL"]);
        let pid = other.id();
        with_perl(
            &mut bundle,
            &format!(
                "said(kill(0, {pid})); said(kill(0, $$)); my $c = fork() || sleep 1000; said(kill(9, $c)); \
                 socket(my $s, PF_UNIX, SOCK_STREAM, 0); said(connect($s, pack_sockaddr_un(\"\\0{name}\")));"
            ),
        );
        for (scopes, answer) in [
            (json!(["signal"]), "not permitted\nyes\nyes\nyes"),
            (
                json!(["abstract_unix_socket"]),
                "yes\nyes\nyes\nnot permitted",
            ),
            (
                json!(["signal", "abstract_unix_socket"]),
                "not permitted\nyes\nyes\nnot permitted",
            ),
        ] {
            set(&mut bundle, &json!({ "scoped": scopes }));
            s.run(&bundle).prints(answer);
        }
        other.kill().expect("kill");
        other.wait().expect("wait");
    });
}

/// Neither another container with the same files nor the host's side is restricted.
#[test]
fn others_are_not_confined() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let mut bundle = s.bundle();
        sealed(&mut bundle).args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let mut other = s.bundle();
        let root = json!(bundle.root());
        other.set("/root/path", root).args(&["cat", "/etc/passwd"]);
        s.run(&other).contains("root");
        container.remove();
    });
}

/// A filter that knows no call of Landlock's is no obstacle, whenever it is loaded.
#[test]
fn a_filter_does_not_stand_in_the_way() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let names = [
            "landlock_create_ruleset",
            "landlock_add_rule",
            "landlock_restrict_self",
        ];
        for no_new_privileges in [true, false] {
            let mut bundle = s.bundle();
            sealed(&mut bundle)
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .set(
                    "/linux/seccomp",
                    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                        { "names": names, "action": "SCMP_ACT_KILL_PROCESS" }
                    ] }),
                )
                .shell(&tries(&[
                    "cat /etc/passwd",
                    "grep -q '^Seccomp:.2' /proc/self/status",
                ]));
            s.run(&bundle).prints("no\nyes");
        }
    });
}

/// Without noNewPrivileges the restriction needs CAP_SYS_ADMIN, which the program does not get for
/// that.
#[test]
fn the_program_gets_no_privilege_for_it() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        for (names, held) in [
            ([].as_slice(), "0000000000000000"),
            (&["CAP_SYS_ADMIN"], "0000000000200000"),
        ] {
            let mut bundle = s.bundle();
            bundle.set("/process/noNewPrivileges", json!(false));
            bundle.capabilities(&["bounding", "effective", "permitted"], names);
            let script = tries(&["cat /etc/passwd"]);
            let script = format!("grep -E '^(CapPrm|CapEff|CapBnd):' /proc/self/status; {script}");
            sealed(&mut bundle).shell(&script);
            s.run(&bundle).prints(&format!(
                "CapPrm:\t{held}\nCapEff:\t{held}\nCapBnd:\t{held}\nno"
            ));
        }
    });
}

/// The hooks of the container are not its program: "startContainer ... executed in the container
/// namespace" writes where the program must not.
#[test]
fn hooks_are_not_confined() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let folder = s.dir.join("inner");
        fs::create_dir(&folder).expect("mkdir");
        let mut bundle = s.bundle();
        bundle.bind(&folder, "/mnt", &["rw"]);
        for kind in ["createContainer", "startContainer"] {
            let place = if kind == "startContainer" {
                "/mnt".to_owned()
            } else {
                folder.to_string_lossy().into_owned()
            };
            let line = format!("cat /etc/passwd > /dev/null && echo {kind} >> {place}/log");
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", line] });
            bundle.set(&format!("/hooks/{kind}/-"), hook);
        }
        sealed(&mut bundle).shell(&tries(&["echo program >> /mnt/log"]));
        s.run(&bundle).prints("no");
        let log = fs::read_to_string(folder.join("log")).expect("log");
        assert_eq!(log, "createContainer\nstartContainer\n");
        let container = s.create(&bundle);
        container.start().ok();
        assert_eq!(container.finish(), "no\n");
        // Where the restriction cannot wait for them they are not confined silently.
        bundle.set("/process/noNewPrivileges", json!(false));
        s.try_create(&bundle, &s.id(), &[]).fails_with(&[
            "/annotations/dev.locule.landlock#: the startcontainer hooks",
            "set /process/noNewPrivileges to true",
        ]);
    });
}

/// `audit`: what the program was denied is in the kernel's log, ABI 7.
#[test]
fn denials_are_told_to_the_audit_log() {
    sandbox::host(|s| {
        if lacks(s, 7) {
            return;
        }
        let mut bundle = s.bundle();
        set(
            &mut bundle,
            &json!({
                "audit": true,
                "handledAccessFs": ["read_file"],
                "pathBeneath": [rule("/bin", &["read"])],
            }),
        );
        let line = fs::read_to_string("/proc/cmdline").expect("cmdline");
        let enabled = line.split_whitespace().any(|word| word == "audit=1");
        // The kernel prints at most ten records in five seconds, and the start of a container makes
        // more than that.
        bundle.shell(if enabled {
            "sleep 8; cat /etc/passwd"
        } else {
            "cat /etc/passwd"
        });
        let outcome = s.run(&bundle).exits(1);
        assert!(outcome.stderr.contains("Permission denied"));
        if !enabled {
            return s.skip("the audit log is off here; covered where the boot says audit=1");
        }
        let told = sandbox::eventually(|| {
            let log = s.tool("dmesg", &[]);
            log.lines()
                .any(|line| line.contains("blockers=fs.read_file") && line.contains("passwd"))
        });
        assert!(told, "{}", s.tool("dmesg", &[]));
    });
}
