//! NOTIFY_SOCKET: a container tells the unit that its runtime is run by. See sd_notify(3).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use integration::runtime::Running;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::Value;

/// What stands in for systemd.
struct Unit {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Unit {
    fn make(s: &Sandbox) -> Self {
        let path = s.dir.join("unit");
        let socket = UnixDatagram::bind(&path).expect("bind");
        let patience = Some(Duration::from_secs(60));
        socket.set_read_timeout(patience).expect("timeout");
        Self { path, socket }
    }

    /// The next message. A descriptor that comes with it is closed, as systemd does.
    fn next(&self) -> String {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    /// The runtime waits until its barrier is read.
    fn ends_with_a_barrier(&self, mut command: Running) {
        thread::sleep(Duration::from_millis(300));
        assert!(!command.is_over(), "before the unit has read anything");
        assert_eq!(self.next(), "BARRIER=1");
        command.wait().ok();
        assert!(self.is_quiet());
    }

    fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).expect("nonblocking");
        let answer = self.socket.recv(&mut [0; 1]);
        self.socket.set_nonblocking(false).expect("blocking");
        answer.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn command(&self, s: &Sandbox) -> Command {
        let mut command = s.command();
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }
}

/// A program that sends each of `messages` and stays until SIGTERM.
fn speaks(bundle: &mut Bundle, messages: &[&str]) {
    bundle.bind("/usr".as_ref(), "/usr", &["rbind", "ro"]);
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), bundle.root().join(name)).expect("link");
    }
    let list: Vec<_> = messages.iter().map(|text| format!("\"{text}\"")).collect();
    let script = format!(
        "use Socket; $SIG{{TERM}} = sub {{ exit 7 }}; $p = $ENV{{NOTIFY_SOCKET}}; socket($s, PF_UNIX, SOCK_DGRAM, 0) or die $!; \
         connect($s, pack_sockaddr_un($p)) or die \"$p: $!\"; for ({}) {{ send($s, $_, 0) or die $! }} \
         sleep 1000;",
        list.join(", ")
    );
    bundle.args(&["/usr/bin/perl", "-e", &script]);
}

/// Nothing of these may reach the unit.
const FORGED: [&str; 5] = [
    "MAINPID=1",
    "STATUS=READY=1",
    "READY=0",
    "FDSTORE=1\\nSTOPPING=1",
    "READY=10",
];

/// A container that says READY=1 makes its unit ready: with the container's pid, and a barrier
/// before the runtime ends.
#[test]
fn a_started_container_makes_its_unit_ready() {
    sandbox::host(|s| {
        let unit = Unit::make(s);
        let mut bundle = s.bundle();
        let mut messages = FORGED.to_vec();
        messages.push("STATUS=up\\nREADY=1\\nMAINPID=1");
        messages.push("READY=1");
        speaks(&mut bundle, &messages);
        let id = s.id();
        let mut create = unit.command(s);
        create
            .arg("create")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(&id);
        s.finish(create, Some(&bundle)).ok();
        assert!(unit.is_quiet(), "a container that is not started");
        let mut start = unit.command(s);
        start.args(["start", &id]);
        let start = s.spawn(start, None);
        let state = s.runtime(&["state", &id]).ok();
        let state: Value = serde_json::from_str(&state.stdout).expect("state");
        let told = match s.subject.is_locule() {
            true => unit.next(),
            // runc tells the two one after the other.
            false => [unit.next(), unit.next()].concat(),
        };
        let mut told: Vec<_> = told.lines().collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [format!("MAINPID={}", state["pid"]).as_str(), "READY=1"]
        );
        unit.ends_with_a_barrier(start);
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// `run --detach` ends when its container is ready; `run` goes on, and is the process that the unit
/// watches.
#[test]
fn a_container_that_is_run_makes_its_unit_ready() {
    sandbox::host(|s| {
        if s.is_control("runc tells the two one after the other") {
            return;
        }
        let unit = Unit::make(s);
        let mut bundle = s.bundle();
        speaks(&mut bundle, &["READY=1"]);
        let bundle_path = bundle.write().to_owned();
        let id = s.id();
        let mut run = unit.command(s);
        run.args(["run", "--detach", "--bundle"])
            .arg(&bundle_path)
            .arg(&id);
        let run = s.spawn(run, Some(&bundle));
        let text = unit.next();
        let state = s.runtime(&["state", &id]).ok();
        let state: Value = serde_json::from_str(&state.stdout).expect("state");
        assert_eq!(text, format!("MAINPID={}\nREADY=1\n", state["pid"]));
        unit.ends_with_a_barrier(run);
        s.runtime(&["delete", "--force", &id]).ok();

        let id = s.id();
        let mut run = unit.command(s);
        run.args(["run", "--bundle"]).arg(&bundle_path).arg(&id);
        let run = s.spawn(run, Some(&bundle));
        assert_eq!(unit.next(), format!("MAINPID={}\nREADY=1\n", run.pid()));
        s.runtime(&["kill", &id, "TERM"]).ok();
        run.wait().exits(7);
        assert!(unit.is_quiet());
    });
}

/// A container that ends without a word holds nobody up; and what it has of the socket is a
/// directory that it cannot change.
#[test]
fn the_socket_of_the_container_is_its_only_way() {
    sandbox::host(|s| {
        let unit = Unit::make(s);
        let mut bundle = s.bundle();
        bundle.writable().user(1000, 1000);
        bundle.shell(
            "echo $NOTIFY_SOCKET; ls /run/notify; test -w $NOTIFY_SOCKET && echo open; rm /run/notify/* 2>&1; \
             grep ' /run/notify ' /proc/self/mountinfo | tr -s ' ' '\\n' | grep ^ro,",
        );
        let mut run = unit.command(s);
        run.args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(s.id());
        let outcome = s.finish(run, Some(&bundle)).ok();
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(
            lines[..3],
            ["/run/notify/notify.sock", "notify.sock", "open"]
        );
        assert!(lines[3].contains("Read-only file system"), "{lines:?}");
        assert!(lines[4].starts_with("ro,nosuid,nodev,noexec"), "{lines:?}");
        assert!(unit.is_quiet());
        let left = fs::read_dir(&s.state).expect("state").count();
        assert_eq!(left, 0, "an entry is left");
    });
}

/// A socket at which nobody receives is an error before anything is made.
#[test]
fn a_unit_that_is_not_there_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc finds out when the container is ready") {
            return;
        }
        for (socket, why) in [
            ("/run/sandbox/none", "no such file"),
            ("relative", "family"),
            ("@nobody", "refused"),
        ] {
            let mut bundle = s.bundle();
            bundle.args(&["true"]);
            let mut run = s.command();
            run.env("NOTIFY_SOCKET", socket).args(["run", "--bundle"]);
            run.arg(bundle.write()).arg(s.id());
            s.finish(run, Some(&bundle))
                .fails_with(&["NOTIFY_SOCKET", socket, why]);
        }
        s.runtime(&["list", "--quiet"]).prints("");
    });
}

/// Nobody has to wait for a container that never says that it is ready: a signal ends the command,
/// and the container runs on.
#[test]
fn a_wait_for_readiness_can_be_interrupted() {
    sandbox::host(|s| {
        if s.is_control("runc ends without a word") {
            return;
        }
        let unit = Unit::make(s);
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let id = s.id();
        let mut run = unit.command(s);
        run.args(["run", "--detach", "--bundle"])
            .arg(bundle.write())
            .arg(&id);
        let mut run = s.spawn(run, Some(&bundle));
        let is_running = || s.runtime(&["state", &id]).stdout.contains("\"running\"");
        assert!(sandbox::eventually(is_running));
        thread::sleep(Duration::from_millis(300));
        assert!(!run.is_over(), "before the container is ready");
        s.tool("kill", &["-TERM", &run.pid().to_string()]);
        run.wait()
            .exits(1)
            .fails_with(&["wait for the container", "interrupted"]);
        assert!(is_running());
        s.runtime(&["delete", "--force", &id]).ok();
    });
}

/// A unit that reads nothing holds nothing up: the command forwards signals all the same, and the
/// message when there is room for it.
#[test]
fn a_unit_that_does_not_read_holds_nothing_up() {
    sandbox::host(|s| {
        if s.is_control("runc waits for the unit") {
            return;
        }
        let unit = Unit::make(s);
        let full = UnixDatagram::unbound().expect("a socket");
        full.set_nonblocking(true).expect("nonblocking");
        let fill = || while full.send_to(b"X", &unit.path).is_ok() {};
        let mut bundle = s.bundle();
        speaks(&mut bundle, &["READY=1"]);
        let bundle_path = bundle.write().to_owned();
        let start = || {
            fill();
            let id = s.id();
            let mut run = unit.command(s);
            run.args(["run", "--bundle"]).arg(&bundle_path).arg(&id);
            let run = s.spawn(run, Some(&bundle));
            // The program is ready for the signal when it has a handler. Init has one, too.
            let catches = || {
                let state = s.runtime(&["state", &id]).stdout;
                let state: Value = serde_json::from_str(&state).unwrap_or_default();
                let status = fs::read_to_string(format!("/proc/{}/status", state["pid"]));
                let status = status.unwrap_or_default();
                if !status.starts_with("Name:\tperl\n") {
                    return false;
                }
                let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
                let caught = caught.map(|text| u64::from_str_radix(text.trim(), 16));
                caught.is_some_and(|caught| caught.expect("a mask") & 1 << (15 - 1) != 0)
            };
            assert!(sandbox::eventually(catches));
            thread::sleep(Duration::from_millis(500));
            run
        };
        let run = start();
        let before = Instant::now();
        s.tool("kill", &["-TERM", &run.pid().to_string()]);
        run.wait().exits(7);
        assert!(before.elapsed() < Duration::from_secs(60));

        let run = start();
        let other = std::iter::repeat_with(|| unit.next()).find(|text| text != "X");
        assert_eq!(other, Some(format!("MAINPID={}\nREADY=1\n", run.pid())));
        s.tool("kill", &["-TERM", &run.pid().to_string()]);
        run.wait().exits(7);
    });
}
