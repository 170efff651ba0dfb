//! The listener of SCMP_ACT_NOTIFY: config-linux.md "The Container Process State",
//! seccomp_unotify(2).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use integration::runtime::{Outcome, Running};
use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

/// Takes one message, writes it down with what it says of the descriptors, and does what its last
/// argument says.
const LISTENER: &str = r#"
import ctypes, fcntl, json, os, select, socket, struct, sys, time
path, log, deed = sys.argv[1:]
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(path)
server.listen(0 if deed == "never" else 4)
def note(what):
    with open(log + ".new", "w") as file: json.dump(what, file)
    os.rename(log + ".new", log)
if deed == "never":
    # Fills the queue, so that nobody gets a connection; the end of standard input is the end.
    held = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try: client.connect(path)
        except BlockingIOError: break
        held.append(client)
    note("full")
    time.sleep(50)
    sys.exit(0)
note("ready")
connection, _ = server.accept()
if deed == "hang up":
    connection.close()
    note("gone")
    sys.exit(0)
data, fds, flags, _ = socket.recv_fds(connection, 65536, 16)
links = [os.readlink("/proc/self/fd/%d" % fd) for fd in fds]
note({"state": json.loads(data), "links": links})
if deed == "leave":
    sys.exit(0)
if deed == "silent":
    time.sleep(100)
# struct seccomp_notif: id, pid, flags, then seccomp_data: number, arch, ip, six arguments.
RECEIVE, SEND = 0xc0502100, 0xc0182101
request = bytearray(80)
while deed == "continue all":
    # Until nobody is left under the filter.
    poll = select.poll()
    poll.register(fds[0], select.POLLIN)
    if not all(events & select.POLLIN for _, events in poll.poll()): sys.exit(0)
    try:
        request = bytearray(80)
        fcntl.ioctl(fds[0], RECEIVE, request)
        call, = struct.unpack_from("<Q", request)
        fcntl.ioctl(fds[0], SEND, bytearray(struct.pack("<QqiI", call, 0, 0, 1)))
    except FileNotFoundError:
        pass # that process has been killed
fcntl.ioctl(fds[0], RECEIVE, request)
call, pid, _, number = struct.unpack_from("<QIIi", request)
arguments = struct.unpack_from("<6Q", request, 32)
# struct seccomp_notif_resp: id, value, error, flags; 28 is ENOSPC.
error = -28 if deed == "refuse" else 0
goon = 1 if deed == "continue" else 0
fcntl.ioctl(fds[0], SEND, bytearray(struct.pack("<QqiI", call, 0, error, goon)))
note({"state": json.loads(data), "links": links, "pid": pid, "number": number, "mode": arguments[1]})
"#;

/// A listener in the sandbox.
struct Listener {
    socket: PathBuf,
    log: PathBuf,
    running: Running,
}

impl Listener {
    /// Starts one that does `deed`, and waits until it listens.
    fn start(s: &Sandbox, deed: &str) -> Self {
        Self::named(s, "listener", deed)
    }

    /// The same with a socket of this name.
    fn named(s: &Sandbox, name: &str, deed: &str) -> Self {
        let (socket, log) = (s.dir.join(name), s.dir.join(format!("{name}-notes")));
        let mut command = Command::new("python3");
        command
            .args(["-c", LISTENER])
            .args([&socket, &log])
            .arg(deed);
        let running = s.spawn(command, None);
        assert!(sandbox::eventually(|| log.exists()), "{:?}", running.wait());
        Self {
            socket,
            log,
            running,
        }
    }

    /// What it has noted when it is through.
    fn finish(self) -> Value {
        self.running.wait().ok();
        notes(&self.log)
    }
}

fn notes(log: &Path) -> Value {
    serde_json::from_slice(&fs::read(log).expect("notes")).expect("JSON")
}

/// A bundle that makes a directory, which has to be asked for.
fn bundle(s: &Sandbox, socket: &Path) -> Bundle {
    let mut bundle = s.bundle();
    bundle.writable().args(&["mkdir", "/tmp/new"]).set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": socket,
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
        }),
    );
    bundle
}

/// "the runtime MUST ... send the container process state ... via ... `listenerPath`": "fds" names
/// the descriptors, "pid" is that of the process "as seen by the runtime process", "metadata" is
/// `listenerMetadata`, "state" the state of the container.
#[test]
fn the_listener_gets_the_descriptor_and_the_state() {
    sandbox::host(|s| {
        let listener = Listener::start(s, "refuse");
        let mut bundle = bundle(s, &listener.socket);
        bundle
            .set("/linux/seccomp/listenerMetadata", json!("a \"b\"\n"))
            .set("/annotations/org.test", json!("x"));
        let container = s.create(&bundle);
        let pid = container.pid();
        container.start().ok();
        container.wait_for("stopped");
        container.delete().ok();
        let notes = listener.finish();
        let message = &notes["state"];
        assert_eq!(notes["links"], json!(["anon_inode:seccomp notify"]));
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(message["pid"], json!(pid));
        assert_eq!(message["metadata"], json!("a \"b\"\n"));
        assert!(message["ociVersion"].is_string(), "{message}");
        let state = &message["state"];
        assert_eq!(state["id"], json!(container.id));
        assert_eq!(state["status"], json!("creating"));
        assert_eq!(state["pid"], json!(pid));
        assert_eq!(state["bundle"], json!(bundle.path));
        assert_eq!(state["annotations"], json!({ "org.test": "x" }));
        assert_eq!(notes["pid"], json!(pid));
        assert!(!bundle.root().join("tmp/new").exists());
    });
}

/// Of a further process the listener is told in the same way: its own pid beside that of the
/// container's first, which runs.
#[test]
fn the_listener_is_told_of_further_processes() {
    sandbox::host(|s| {
        let listener = Listener::start(s, "continue");
        let mut bundle = bundle(s, &listener.socket);
        bundle.shell("mkdir /tmp/first; sleep 1000");
        let container = s.started(&bundle);
        let (socket, log) = (listener.socket.clone(), listener.log.clone());
        listener.finish();
        for file in [socket, log] {
            fs::remove_file(file).expect("rm");
        }
        let listener = Listener::start(s, "refuse");
        let file = s.dir.join("pid");
        let options = ["--pid-file", file.to_str().expect("UTF-8")];
        container.exec(&options, &["mkdir", "/tmp/new"]).exits(1);
        let notes = listener.finish();
        let pid = fs::read_to_string(&file).expect("pid");
        assert_eq!(notes["state"]["pid"].to_string(), pid);
        assert_eq!(notes["pid"].to_string(), pid);
        let state = &notes["state"]["state"];
        assert_eq!(state["status"], json!("running"));
        assert_eq!(state["pid"], json!(container.pid()));
        assert_eq!(state["id"], json!(container.id));
        container.remove();
    });
}

/// crun's annotation names the listener of a filter that names none.
#[test]
fn the_annotation_names_a_listener() {
    sandbox::host(|s| {
        if s.is_control("an annotation of crun's") {
            return;
        }
        let listener = Listener::start(s, "refuse");
        let mut bundle = bundle(s, &listener.socket);
        bundle.remove("/linux/seccomp/listenerPath");
        bundle.set(
            "/annotations/run.oci.seccomp.receiver",
            json!(listener.socket),
        );
        s.run(&bundle).exits(1);
        assert_eq!(listener.finish()["mode"], json!(0o777));
    });
}

/// Row S43: the listener's answer is the call's.
#[test]
fn the_listener_decides_about_the_call() {
    sandbox::host(|s| {
        let listener = Listener::start(s, "refuse");
        let outcome = s.run(&bundle(s, &listener.socket)).exits(1);
        let said = outcome.stderr.contains("No space left on device");
        assert!(said, "{}", outcome.describe("wanted ENOSPC"));
        assert_eq!(listener.finish()["mode"], json!(0o777));
    });
}

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE: the call is made after all, with and without noNewPrivileges.
#[test]
fn the_listener_can_let_the_call_through() {
    sandbox::host(|s| {
        for no_new_privileges in [true, false] {
            let listener = Listener::start(s, "continue");
            let mut bundle = bundle(s, &listener.socket);
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            s.run(&bundle).ok();
            assert!(bundle.root().join("tmp/new").is_dir());
            let (socket, log) = (listener.socket.clone(), listener.log.clone());
            listener.finish();
            fs::remove_file(socket).expect("socket");
            fs::remove_file(log).expect("notes");
        }
    });
}

/// The same in the v2 view and without root's rights.
#[test]
fn an_ordinary_user_has_a_listener_too() {
    sandbox::user(|s| {
        let listener = Listener::start(s, "refuse");
        s.tool("chmod", &["666", listener.socket.to_str().expect("UTF-8")]);
        s.run(&bundle(s, &listener.socket)).exits(1);
        listener.finish();
    });
}

/// A listener that goes away leaves the call to the kernel, which answers ENOSYS.
#[test]
fn a_listener_that_leaves_does_not_hold_the_program() {
    sandbox::host(|s| {
        let listener = Listener::start(s, "leave");
        let outcome = s.run(&bundle(s, &listener.socket)).exits(1);
        let said = outcome.stderr.contains("Function not implemented");
        assert!(said, "{}", outcome.describe("wanted ENOSYS"));
        listener.finish();
    });
}

/// Issue 5: "a listener that is missing, closes early or never answers gives an error and no leak".
#[test]
fn a_missing_listener_is_an_error_that_leaves_nothing() {
    sandbox::host(|s| {
        let nobody = s.dir.join("nobody");
        let outcome = s.run(&bundle(s, &nobody)).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&[
                "/linux/seccomp/listenerPath",
                "nobody",
                "no such file or directory",
            ]);
        }
        // A socket that nobody listens at.
        let listener = Listener::start(s, "hang up");
        let socket = listener.socket.clone();
        s.run(&bundle(s, &socket));
        listener.finish();
        let outcome = s.run(&bundle(s, &socket)).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&["/linux/seccomp/listenerPath", "connection refused"]);
        }
    });
}

/// Whether the message reaches a listener that hangs up is a matter of who is first; the container
/// ends either way.
#[test]
fn a_listener_that_hangs_up_does_not_hold_the_runtime() {
    sandbox::host(|s| {
        for _ in 0..5 {
            let listener = Listener::start(s, "hang up");
            let outcome = s.run(&bundle(s, &listener.socket)).exits(1);
            let lost = ["Function not implemented", "/linux/seccomp/listenerPath: "]
                .iter()
                .any(|word| outcome.stderr.contains(word));
            assert!(
                lost || !s.subject.is_locule(),
                "{}",
                outcome.describe("wanted ENOSYS or the listener")
            );
            let (socket, log) = (listener.socket.clone(), listener.log.clone());
            listener.finish();
            fs::remove_file(socket).expect("socket");
            fs::remove_file(log).expect("notes");
        }
    });
}

/// One that never accepts is an error after a time, not a wait for ever.
#[test]
fn a_listener_that_never_accepts_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 waits for ever") {
            return;
        }
        let listener = Listener::start(s, "never");
        let start = Instant::now();
        s.run(&bundle(s, &listener.socket))
            .fails_with(&["/linux/seccomp/listenerPath"]);
        assert!(start.elapsed() < Duration::from_secs(90));
        s.tool("kill", &[&listener.running.pid().to_string()]);
        listener.running.wait();
    });
}

/// "SCMP_ACT_NOTIFY ... cannot be used for write": the runtime needs the call to hand over the
/// descriptor.
#[test]
fn calls_that_the_hand_over_needs_are_refused() {
    sandbox::host(|s| {
        let mut bundle = bundle(s, &s.dir.join("nobody"));
        bundle.set("/linux/seccomp/syscalls/0/names", json!(["write"]));
        let outcome = s
            .try_create(&bundle, &s.id(), &[])
            .fails_with(&["write", "SCMP_ACT_NOTIFY"]);
        if s.subject.is_locule() {
            outcome.fails_with(&["/linux/seccomp/syscalls/0"]);
        }
    });
}

/// What init calls once a filter is in force that is loaded before its capabilities are dropped.
const CALLS: [&str; 14] = [
    "accept4",
    "capget",
    "capset",
    "close",
    "getgroups",
    "getresuid",
    "newfstatat",
    "prctl",
    "recvfrom",
    "rt_sigaction",
    "sendto",
    "setgroups",
    "setresgid",
    "setresuid",
];

/// A bundle under a filter that asks about these calls.
fn asking(s: &Sandbox, socket: &Path, calls: &[&str]) -> Bundle {
    let mut calls = calls.to_vec();
    if calls.contains(&"newfstatat") {
        calls.push("stat"); // which musl calls instead
    }
    let mut bundle = bundle(s, socket);
    bundle
        .set("/linux/seccomp/syscalls/0/names", json!(calls))
        .set("/process/noNewPrivileges", json!(false))
        .args(&["true"]);
    bundle
}

/// Issue 9, A10: the listener gets its descriptor before init makes any call that it is asked
/// about, sendmsg among them.
#[test]
fn a_listener_may_be_asked_about_all_that_init_does() {
    sandbox::host(|s| {
        let mut calls = CALLS.to_vec();
        calls.extend(["sendmsg", "getcwd", "prlimit64", "execve"]);
        for no_new_privileges in [true, false] {
            let name = format!("listener-{no_new_privileges}");
            let listener = Listener::named(s, &name, "continue all");
            let mut bundle = asking(s, &listener.socket, &calls);
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            s.run(&bundle).ok();
            listener.finish();
        }
    });
}

/// Runs one container for each of the calls, all at once, each with a listener that does `deed`.
fn all_at_once(s: &Sandbox, calls: &[&str], deed: &str, check: impl Fn(&str, Outcome)) {
    let start = |call: &&'static str| {
        let listener = Listener::named(s, call, deed);
        let bundle = asking(s, &listener.socket, &[call]);
        let mut command = s.command();
        command
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        (*call, listener, s.spawn(command, Some(&bundle)))
    };
    let calls: Vec<&'static str> = CALLS.into_iter().filter(|c| calls.contains(c)).collect();
    let running: Vec<_> = calls.iter().map(start).collect();
    let begin = Instant::now();
    for (call, listener, run) in running {
        check(call, run.wait());
        let _gone = Command::new("kill")
            .arg(listener.running.pid().to_string())
            .output();
        listener.running.wait();
    }
    assert!(begin.elapsed() < Duration::from_secs(90), "{deed}");
}

/// Issue 9, A10: a listener that says nothing is an error after a time, for whatever init has to
/// wait.
#[test]
fn a_silent_listener_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc waits for ever") {
            return;
        }
        let calls: Vec<_> = CALLS
            .into_iter()
            .filter(|call| *call != "accept4")
            .collect();
        all_at_once(s, &calls, "silent", |call, outcome| {
            let said = outcome
                .stderr
                .contains("the listener did not let the container");
            assert!(said, "{call}: {}", outcome.describe("wanted the listener"));
        });
    });
}

/// Issue 9, A10: one that closes its descriptor leaves the calls to the kernel, and init does not
/// hold a copy.
#[test]
fn a_listener_that_closes_does_not_hold_the_start() {
    sandbox::host(|s| {
        if s.is_control("runc waits for ever") {
            return;
        }
        let calls: Vec<_> = CALLS
            .into_iter()
            .filter(|call| *call != "accept4")
            .collect();
        all_at_once(s, &calls, "leave", |call, outcome| {
            // The end of the last copy cannot be seen by who waits in the call that closes it.
            let late = outcome.stderr.contains("the listener did not let");
            assert!(
                !late || call == "close",
                "{call}: {}",
                outcome.describe("no wait")
            );
        });
    });
}

/// The same at the start of a created container, which is stopped then.
#[test]
fn a_start_with_a_silent_listener_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc waits for ever") {
            return;
        }
        let listener = Listener::start(s, "silent");
        let container = s.create(&asking(s, &listener.socket, &["execve"]));
        container
            .start()
            .fails_with(&["/linux/seccomp/listenerPath", "the listener did not let"]);
        container.wait_for("stopped");
        container.delete().ok();
        s.tool("kill", &[&listener.running.pid().to_string()]);
        listener.running.wait();
    });
}
