//! Terminals: `process.terminal` with a console socket and in the foreground of `run` and `exec`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use integration::runtime::{Outcome, Running};
use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

/// Takes one terminal at a socket, writes what it was sent, and does what its last argument says.
const RECEIVER: &str = r#"
import fcntl, os, socket, struct, sys, termios, time
path, log, deed = sys.argv[1:]
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(path)
server.listen(4)
def note(name, data):
    with open(log + ".new", "wb") as file: file.write(data)
    os.rename(log + ".new", log + name)
note(".ready", b"")
connection, _ = server.accept()
if deed == "hang up":
    # What is unread makes the other end's next send fail.
    connection.close()
    note(".gone", b"")
    sys.exit(0)
name, fds, flags, _ = socket.recv_fds(connection, 4096, 8)
master, = fds
note(".name", name)
rows, columns = struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))[:2]
note(".size", b"%d %d" % (rows, columns))
if deed == "resize":
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
assert connection.recv(1) == b"", "one message, and the end"
text = b""
while True:
    try: part = os.read(master, 4096)
    except OSError: break
    text += part
    note(".text", text)
note(".end", b"")
"#;

struct Receiver {
    socket: PathBuf,
    log: PathBuf,
    running: Running,
}

impl Receiver {
    fn start(s: &Sandbox, deed: &str) -> Self {
        Self::at(s, s.dir.join(s.id()), deed)
    }

    fn at(s: &Sandbox, socket: PathBuf, deed: &str) -> Self {
        let log = s.dir.join(s.id());
        let mut command = Command::new("python3");
        command
            .args(["-c", RECEIVER])
            .args([&socket, &log])
            .arg(deed);
        let running = s.spawn(command, None);
        let receiver = Self {
            socket,
            log,
            running,
        };
        receiver.wait(".ready");
        receiver
    }

    fn option(&self) -> [&str; 2] {
        ["--console-socket", self.socket.to_str().expect("UTF-8")]
    }

    fn note(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}{name}", self.log.display()))
    }

    #[track_caller]
    fn wait(&self, name: &str) {
        let file = self.note(name);
        assert!(sandbox::eventually(|| file.exists()), "{name} never came");
    }

    /// What the program has written, at its end.
    #[track_caller]
    fn text(self) -> String {
        self.wait(".end");
        let text = fs::read_to_string(self.note(".text")).unwrap_or_default();
        self.running.wait().ok();
        text.replace('\r', "")
    }
}

/// Runs a command in a terminal of its own as a person would: each step waits for a text and then
/// does something. Writes all that was shown, the status, and whether the terminal is as it was.
const PERSON: &str = r#"
import fcntl, json, os, select, signal, struct, sys, termios, time
log, steps, command = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
master, peer = os.openpty()
def resize(rows, columns): fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
resize(24, 80)
before = termios.tcgetattr(peer)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(peer, termios.TIOCSCTTY, 0)
    for number in 0, 1, 2: os.dup2(peer, number)
    os.closerange(3, 20)
    os.execv(command[0], command)
shown, seen, until = b"", 0, time.monotonic() + 60
def finish(**more):
    with open(log, "w") as file:
        json.dump({"shown": shown.decode(errors="replace"), **more}, file)
    sys.exit(0)
status = None
while status is None:
    if time.monotonic() > until:
        os.kill(child, signal.SIGKILL)
        finish(status="late", step=steps[:1])
    while steps and steps[0][0].encode() in shown[seen:]:
        text, deed, value = steps.pop(0)
        seen = shown.index(text.encode(), seen) + len(text)
        if deed == "type": os.write(master, value.encode())
        elif deed == "resize": resize(*value)
        elif deed == "signal": os.kill(child, value)
        elif deed == "pause": time.sleep(value)
        elif deed == "close":
            os.close(peer)
            os.close(master)
            finish(status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps=len(steps))
    if select.select([master], [], [], 0.05)[0]:
        shown += os.read(master, 65536)
    else:
        pid, state = os.waitpid(child, os.WNOHANG)
        if pid: status = os.waitstatus_to_exitcode(state)
while select.select([master], [], [], 0)[0]:
    shown += os.read(master, 65536)
finish(status=status, restored=before == termios.tcgetattr(peer), steps=len(steps))
"#;

/// What a person has seen.
struct Seen {
    shown: String,
    all: Value,
}

/// Runs the runtime with these arguments in a terminal of 24 lines of 80 characters.
fn person(s: &Sandbox, args: &[&str], steps: &Value) -> Seen {
    let log = s.dir.join(s.id());
    let runtime = s.command();
    let mut command = Command::new("python3");
    command
        .args(["-c", PERSON])
        .arg(&log)
        .arg(steps.to_string())
        .arg(runtime.get_program())
        .args(runtime.get_args())
        .args(args);
    s.finish(command, None).ok();
    let all: Value = serde_json::from_slice(&fs::read(&log).expect("a log")).expect("JSON");
    let shown = all["shown"].as_str().expect("text").to_owned();
    Seen { shown, all }
}

impl Seen {
    /// Requires this exit status, all steps done, and a terminal that is as before.
    #[track_caller]
    fn ended(self, status: i32) -> String {
        let Self { shown, all } = self;
        assert_eq!(all["status"], json!(status), "{all}");
        assert_eq!(all["restored"], true, "{all}");
        assert_eq!(all["steps"], 0, "{all}");
        shown
    }
}

fn run(s: &Sandbox, bundle: &Bundle, steps: &Value) -> Seen {
    let place = bundle.write().to_str().expect("UTF-8");
    person(s, &["run", "--bundle", place, &s.id()], steps)
}

/// Row S53: "terminal (bool, OPTIONAL) specifies whether a terminal is attached to the process":
/// its standard streams are one, it is that of its session, and it is at /dev/console.
#[test]
fn the_streams_of_the_program_are_a_terminal_of_the_container() {
    sandbox::host(|s| {
        let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; tty < /dev/tty; \
                      cut -d ' ' -f 6,7,8 /proc/self/stat; \
                      for n in /dev/console /dev/pts/0; do stat -c '%F %t:%T %a %u %g %d %i' $n; done; ls -1 /dev/pts";
        let shown = run(s, &s.bundle_with_terminal(script), &json!([])).ended(0);
        let lines: Vec<_> = shown.lines().map(str::trim).collect();
        assert_eq!(
            lines[..4],
            ["/dev/pts/0", "/dev/pts/0", "/dev/pts/0", "/dev/tty"],
            "{shown}"
        );
        let session: Vec<_> = lines[4].split(' ').collect();
        assert_eq!(session[0], "1", "{shown}");
        assert_ne!(session[1], "0", "{shown}");
        assert!(
            lines[5].starts_with("character special file 88:0 620 0 5 "),
            "{shown}"
        );
        assert_eq!(lines[5], lines[6], "{shown}");
        assert_eq!(lines[7..], ["0", "ptmx"], "{shown}");
    });
}

/// The size of the caller's window is that of the program's from its first moment on, and it is
/// told of changes.
#[test]
fn the_program_has_the_size_of_the_callers_window() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_with_terminal(
            "stty size; trap 'stty size; exit 7' WINCH; echo ready; while true; do sleep 0.1; done",
        );
        bundle.set("/process/consoleSize", json!({ "height": 11, "width": 12 }));
        let steps = json!([
            ["24 80", "pause", 0],
            ["ready", "resize", [50, 132]],
            ["50 132", "pause", 0]
        ]);
        run(s, &bundle, &steps).ended(7);
    });
}

/// Keys that mean something to a terminal mean it to the container's, and none is lost.
#[test]
fn every_key_reaches_the_program() {
    sandbox::host(|s| {
        let script = "trap 'echo interrupted' INT; trap 'echo quitted' QUIT; trap 'echo stopped' TSTP; \
                      echo ready; while true; do sleep 0.1; read -r word; echo \"word $word\"; test \"$word\" = end && exit 9; done";
        let steps = json!([
            ["ready", "type", "\u{3}"],
            ["interrupted", "type", "\u{1c}"],
            ["quitted", "type", "\u{1a}"],
            ["stopped", "type", "hello\r"],
            ["word hello", "type", "end\r"]
        ]);
        run(s, &s.bundle_with_terminal(script), &steps).ended(9);
    });
}

/// A shell in the container has jobs: its terminal is that of its session.
#[test]
fn a_shell_has_jobs() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_with_terminal("");
        bundle.args(&["sh", "-i"]);
        let steps = json!([
            ["# ", "type", "sleep 100\r"],
            ["sleep 100", "pause", 0.5],
            ["", "type", "\u{1a}"],
            ["Stopped", "type", "fg\r"],
            ["sleep 100", "pause", 0.3],
            ["", "type", "\u{3}"],
            ["# ", "type", "exit 5\r"]
        ]);
        let shown = run(s, &bundle, &steps).ended(5);
        assert!(!shown.contains("job control"), "{shown}");
    });
}

/// The last output of a program is shown, however short its life and however much of it.
#[test]
fn the_last_output_is_never_lost() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_with_terminal("seq 1 20000; echo the end");
        for _ in 0..5 {
            let shown = run(s, &bundle, &json!([])).ended(0);
            assert!(shown.ends_with("20000\r\nthe end\r\n"), "{:?}", shown.len());
            assert_eq!(shown.lines().count(), 20_001);
        }
        bundle.args(&["echo", "short"]);
        for _ in 0..20 {
            assert_eq!(run(s, &bundle, &json!([])).ended(0), "short\r\n");
        }
    });
}

/// Without a terminal of the caller's the output is plain text, and the end of the input is told to
/// the program.
#[test]
fn without_a_terminal_of_the_caller_text_goes_through() {
    sandbox::host(|s| {
        let bundle = s.bundle_with_terminal("tty; cat; echo over");
        let mut command = s.command();
        command
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        let outcome = s.finish(command, Some(&bundle)).ok();
        assert_eq!(outcome.stdout, "/dev/pts/0\nover\n");
    });
}

/// The terminal of the caller is as it was after every end: of the program, by a signal, and where
/// nothing has started.
#[test]
fn the_terminal_of_the_caller_is_restored() {
    sandbox::host(|s| {
        let waits = s.bundle_with_terminal("echo ready; exec sleep 1000");
        let steps = json!([["ready", "signal", 15]]);
        let mut traps = s
            .bundle_with_terminal("trap 'exit 3' TERM; echo ready; while true; do sleep 0.1; done");
        run(s, &traps, &steps).ended(3);
        let place = waits.write().to_str().expect("UTF-8").to_owned();
        let id = s.id();
        let runtime = s.subject.program.display().to_string();
        let state = s.state.display().to_string();
        let killer = format!(
            "(sleep 1; {runtime} --root {state} kill {id} KILL) & exec {runtime} --root {state} run --bundle {place} {id}"
        );
        let log = s.dir.join("killed");
        let mut command = Command::new("python3");
        command
            .args(["-c", PERSON])
            .arg(&log)
            .arg(json!([["ready", "pause", 0]]).to_string());
        command.args(["/bin/sh", "-c", &killer]);
        s.finish(command, None).ok();
        let all: Value = serde_json::from_slice(&fs::read(&log).expect("a log")).expect("JSON");
        assert_eq!(
            (&all["status"], &all["restored"]),
            (&json!(137), &json!(true)),
            "{all}"
        );
        traps.args(&["absent"]);
        let shown = run(s, &traps, &json!([])).ended(1);
        assert!(shown.contains("executable file not found"), "{shown}");
    });
}

/// The terminal of the caller goes away: so does that of the program, whatever it waits for.
#[test]
fn the_terminal_hangs_up_with_the_callers() {
    sandbox::host(|s| {
        let bundle = s.bundle_with_terminal("stty raw; echo ready; cat; exit 6");
        let seen = run(s, &bundle, &json!([["ready", "close", 0]]));
        assert_eq!(
            (&seen.all["status"], &seen.all["steps"]),
            (&json!(6), &json!(0)),
            "{}",
            seen.all
        );
    });
}

/// The master goes to the socket, alone and with the name of its peer; the size of the
/// configuration is there before the program; nothing of the caller's stays open.
#[test]
fn the_console_socket_is_sent_the_terminal() {
    sandbox::host(|s| {
        let receiver = Receiver::start(s, "resize");
        let mut bundle = s
            .bundle_with_terminal("for n in /proc/self/fd/*; do readlink $n; done; stty size; tty");
        bundle.set("/process/consoleSize", json!({ "height": 33, "width": 77 }));
        let container = s.create_with(&bundle, &receiver.option());
        receiver.wait(".size");
        assert_eq!(
            fs::read(receiver.note(".name")).expect("a name"),
            b"/dev/pts/0"
        );
        assert_eq!(fs::read(receiver.note(".size")).expect("a size"), b"33 77");
        let process = format!("/proc/{}/fd", container.pid());
        for number in 0..3 {
            let target = fs::read_link(format!("{process}/{number}")).expect("a stream");
            assert_eq!(target, Path::new("/dev/pts/0"));
        }
        for entry in fs::read_dir(&process).expect("descriptors") {
            let target = fs::read_link(entry.expect("an entry").path()).unwrap_or_default();
            let text = target.display().to_string();
            let own = text == "/dev/pts/0" || text == "/" || text.starts_with("socket:");
            assert!(own, "{text}");
        }
        container.start().ok();
        container.wait_for("stopped");
        let text = receiver.text();
        container.remove();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.starts_with(&["/dev/pts/0"; 3]), "{text}");
        assert!(lines.ends_with(&["50 132", "/dev/pts/0"]), "{text}");
        assert_eq!(container.output(), "");
    });
}

/// `run --detach` and `exec --detach` take a console socket as `create` does; a path of a socket
/// may be long.
#[test]
fn detached_commands_take_a_console_socket() {
    sandbox::host(|s| {
        let folder = s.dir.join("x".repeat(120));
        fs::create_dir(&folder).expect("mkdir");
        let receiver = Receiver::at(s, s.dir.join("near"), "read");
        let bundle = s.bundle_with_terminal("echo from run; exec sleep 1000");
        let id = s.id();
        let mut command = s.command();
        command
            .args(["run", "--detach", "--bundle"])
            .arg(bundle.write());
        command.args(receiver.option()).arg(&id);
        s.finish(command, Some(&bundle)).ok();
        let link = s.dir.join("far");
        symlink(&folder, &link).expect("symlink");
        let other = Receiver::at(s, link.join("socket"), "read");
        let long = folder.join("socket");
        s.runtime(&[
            "exec",
            "--tty",
            "--detach",
            "--console-socket",
            long.to_str().expect("UTF-8"),
            &id,
            "sh",
            "-c",
            "tty; for n in 0 1 2; do readlink /proc/$$/fd/$n; done; stat -c %t:%T /dev/console",
        ])
        .ok();
        assert_eq!(
            other.text(),
            "/dev/pts/1\n/dev/pts/1\n/dev/pts/1\n/dev/pts/1\n88:0\n"
        );
        s.runtime(&["delete", "--force", &id]).ok();
        assert_eq!(receiver.text(), "from run\n");
    });
}

/// A terminal needs a program that serves it, and a console socket is for nothing else. The error
/// has runc's words and comes before anything is made.
#[test]
fn a_terminal_and_a_socket_belong_together() {
    sandbox::host(|s| {
        let with = s.bundle_with_terminal("true");
        let mut without = s.bundle();
        without.args(&["true"]);
        let lacks = ["cannot allocate tty if runc will detach without setting console socket"];
        let unwanted = ["cannot use console socket if runc will not detach or allocate tty"];
        let socket = ["--console-socket", "/run/absent"];
        s.try_create(&with, &s.id(), &[])
            .exits(1)
            .fails_with(&lacks);
        s.run_with(&with, &["--detach"]).exits(1).fails_with(&lacks);
        s.try_create(&without, &s.id(), &socket)
            .exits(1)
            .fails_with(&unwanted);
        s.run_with(&with, &socket).exits(1).fails_with(&unwanted);
        s.run_with(&without, &["--detach", socket[0], socket[1]])
            .fails_with(&unwanted);
        let mut running = s.bundle();
        running.args(&["sleep", "1000"]);
        let container = s.started(&running);
        let exec = |options: &[&str]| {
            let args = [&["exec"], options, &[container.id.as_str(), "true"]].concat();
            s.runtime(&args).exits(255)
        };
        exec(&["--tty", "--detach"]).fails_with(&lacks);
        exec(&["--detach", socket[0], socket[1]]).fails_with(&unwanted);
        exec(&["--tty", socket[0], socket[1]]).fails_with(&unwanted);
        container.remove();
    });
}

fn create_at(s: &Sandbox, socket: &Path) -> Outcome {
    let socket = socket.to_str().expect("UTF-8");
    s.try_create(
        &s.bundle_with_terminal("true"),
        &s.id(),
        &["--console-socket", socket],
    )
}

/// A console socket at which nobody takes the terminal is an error that names it, before anything
/// is made, and never a hang.
#[test]
fn bad_console_sockets_are_errors() {
    sandbox::host(|s| {
        let place = |name: &str| s.dir.join(name);
        create_at(s, &place("absent")).exits(1).fails_with(&[
            "--console-socket",
            "absent",
            "no such file or directory",
        ]);
        drop(UnixListener::bind(place("left")).expect("bind"));
        create_at(s, &place("left"))
            .exits(1)
            .fails_with(&["--console-socket", "connection refused"]);
        File::create(place("file")).expect("a file");
        create_at(s, &place("file"))
            .exits(1)
            .fails_with(&["--console-socket", "connection refused"]);
        // One that never takes a connection, nor reads: the kernel keeps what is sent.
        let silent = UnixListener::bind(place("silent")).expect("bind");
        let id = s.id();
        s.try_create(
            &s.bundle_with_terminal("true"),
            &id,
            &["--console-socket", place("silent").to_str().expect("UTF-8")],
        )
        .ok();
        s.runtime(&["delete", "--force", &id]).ok();
        drop(silent);
        // One that closes the connection before the terminal is sent: a hook waits for that.
        let hasty = UnixListener::bind(place("hasty")).expect("bind");
        let closed = place("closed");
        let script = format!("until test -e {}; do sleep 0.01; done", closed.display());
        let closing = thread::spawn(move || {
            drop(hasty.accept().expect("accept"));
            File::create(closed).expect("a file");
        });
        let mut bundle = s.bundle_with_terminal("true");
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        bundle.set("/hooks/createRuntime/-", hook);
        let hasty = place("hasty");
        let options = ["--console-socket", hasty.to_str().expect("UTF-8")];
        s.try_create(&bundle, &s.id(), &options)
            .exits(1)
            .fails_with(&["--console-socket", "hasty", "send the terminal", "pipe"]);
        closing.join().expect("join");
        assert_eq!(s.runtime(&["list", "-q"]).ok().stdout, "");
    });
}

/// A mount on the multiplexer of the container's devpts is not entered by `exec`, and another file
/// system at its place is refused.
#[test]
fn exec_takes_no_terminal_from_what_the_container_has_mounted() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"])
            .shell("mount --bind /dev/null /dev/pts/ptmx; echo one; read x; mount -t tmpfs none /dev/pts; echo two; exec sleep 1000");
        bundle.shell("mount -o bind /dev/null /dev/pts/ptmx && echo one; until test -e /tmp/go; do sleep 0.1; done; mount -t tmpfs none /dev/pts && echo two; exec sleep 1000");
        bundle.set(
            "/mounts/-",
            json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }),
        );
        let container = s.started(&bundle);
        container.wait_output("one");
        let exec = || person(s, &["exec", "--tty", &container.id, "tty"], &json!([])).ended(255);
        let shown = exec();
        assert!(
            shown.contains("open ptmx of the container's /dev/pts"),
            "{shown}"
        );
        s.runtime(&["exec", &container.id, "touch", "/tmp/go"]).ok();
        container.wait_output("two");
        let shown = exec();
        assert!(shown.contains("no devpts"), "{shown}");
        container.remove();
    });
}

/// `exec --tty` has a terminal of its own in the container's devpts, with the size of the window,
/// and says how its command ended.
#[test]
fn exec_has_a_terminal_of_its_own() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let script = "tty; tty < /dev/tty; stty size; read word; echo got $word; exit 42";
        let steps = json!([["24 80", "type", "it\r"]]);
        let args = ["exec", "--tty", &container.id, "sh", "-c", script];
        let shown = person(s, &args, &steps).ended(42);
        assert!(
            shown.starts_with("/dev/pts/0\r\n/dev/tty\r\n24 80\r\n"),
            "{shown}"
        );
        assert!(shown.ends_with("got it\r\n"), "{shown}");
        // `exec` does not wait for a process that is left behind and keeps the terminal.
        let args = [
            "exec",
            "--tty",
            &container.id,
            "sh",
            "-c",
            "trap '' HUP; sleep 500 & echo left",
        ];
        assert_eq!(person(s, &args, &json!([])).ended(0), "left\r\n");
        container.remove();
    });
}

/// The terminal belongs to the container's user, its group is that of terminals; the user can open
/// it anew.
#[test]
fn the_terminal_belongs_to_the_user() {
    sandbox::host(|s| {
        let script = "stat -c '%u %g %a' /dev/console; echo out > /dev/stdout; echo err > /dev/stderr; echo tty > /dev/tty";
        let expected = "1000 5 620\nout\nerr\ntty\n";
        for in_user_namespace in [false, true] {
            let mut bundle = s.bundle_with_terminal(script);
            bundle.user(1000, 1000);
            if in_user_namespace {
                bundle.user_namespace(&[(0, 100_000, 65536)]);
                let root = bundle.root();
                s.tool(
                    "chown",
                    &["-R", "100000:100000", root.to_str().expect("UTF-8")],
                );
            }
            let outcome = s.run(&bundle).ok();
            assert_eq!(
                outcome.stdout,
                expected,
                "{in_user_namespace}: {}",
                outcome.describe("both")
            );
        }
    });
}

/// An ordinary user's container has a terminal too.
#[test]
fn an_ordinary_user_has_terminals() {
    sandbox::user(|s| {
        let mut bundle = s.bundle_with_terminal("tty; echo again > /dev/console");
        bundle.inherit("network");
        assert_eq!(s.run(&bundle).ok().stdout, "/dev/pts/0\nagain\n");
    });
}

/// Nobody reads the output: signals are passed on all the same.
#[test]
fn a_reader_that_stops_holds_no_signal_up() {
    sandbox::host(|s| {
        let script = "trap 'exit 3' TERM; yes & wait";
        let bundle = s.bundle_with_terminal(script);
        let mut command = Command::new("sh");
        let runtime = s.command();
        // The second signal ends the wait for the reader.
        let stop = "mkfifo fifo; sleep 1000 < fifo & reader=$!; \"$@\" > fifo & runtime=$!; sleep 2; \
                    kill -TERM $runtime; sleep 2; kill -TERM $runtime; wait $runtime; echo $?; kill $reader";
        command
            .current_dir(&s.dir)
            .args(["-c", stop, "sh"])
            .arg(runtime.get_program())
            .args(runtime.get_args())
            .args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(s.id());
        s.finish(command, Some(&bundle)).prints("3");
    });
}
