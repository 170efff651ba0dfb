//! The installed CRIU with the options that permit what is connected with the outside of the
//! container: memory on demand, TCP connections, Unix sockets, terminals.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use integration::bundle::busybox;
use integration::counter::{COUNT, Counter, forget, has_criu, has_sys_resource, host, version};
use integration::runtime::Running;
use integration::sandbox::eventually;
use integration::{Bundle, Sandbox};
use serde_json::json;

/// Whether CRIU can save TCP sockets; else the test is skipped.
fn saves_tcp(s: &Sandbox) -> bool {
    // Linux 6.16 refuses SO_PASSCRED for TCP, which CRIU 4.1 asks for.
    let saves = !s.has_linux((6, 16)) || version() >= [4, 2];
    if !saves {
        s.skip(
            "CRIU 4.1 cannot save TCP sockets on this kernel; covered where CRIU is 4.2 or newer",
        );
    }
    saves
}

/// A shell outside of the container.
fn shell(s: &Sandbox, script: &str) -> Running {
    let mut command = Command::new(busybox());
    command.args(["sh", "-c", script]).current_dir(&s.dir);
    s.spawn(command, None)
}

/// Ends its programs.
fn end(s: &Sandbox, shell: Running) {
    s.tool("pkill", &["-KILL", "-P", &shell.pid().to_string()]);
    shell.wait();
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("address").port()
}

/// Whether a process in this network listens on the port.
fn listens(port: u16) -> bool {
    let entries = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let entries = entries.into_iter().flatten().collect::<String>();
    let (port, listening) = (format!(":{port:04X}"), "0A");
    entries.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(listening)
    })
}

/// Whether CRIU can have the pipe that it wants for memory on demand.
fn has_large_pipes() -> bool {
    let limit = fs::read_to_string("/proc/sys/fs/pipe-max-size").expect("limit");
    let limit: u64 = limit.trim().parse().expect("number");
    limit >= 4 << 20 || has_sys_resource()
}

/// Memory is sent when the restored processes want it, and the saved container ends then.
#[test]
fn memory_is_sent_on_demand() {
    host(|s| {
        if !has_criu(s, &["--feature", "uffd-noncoop"]) {
            return;
        }
        if !has_large_pipes() {
            s.skip("no CAP_SYS_RESOURCE, without which CRIU fails; covered where tests have it");
            return;
        }
        let mut counter = Counter::start(s, |_bundle| {});
        let before = counter.count();
        let port = free_port().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 9> ready", "sh"]);
        let runtime = s.command();
        command.arg(runtime.get_program()).args(runtime.get_args());
        command.args(["checkpoint", "--lazy-pages", "--status-fd", "9"]);
        command.args(["--page-server", &format!("127.0.0.1:{port}")]);
        command.args(["--image-path", &counter.image, &counter.id]);
        command.current_dir(&s.dir);
        let mut saving = s.spawn(command, None);
        let ready = s.dir.join("ready");
        let is_ready = || fs::read(&ready).is_ok_and(|said| said == b"\0");
        assert!(eventually(|| is_ready() || saving.is_over()));
        assert!(is_ready(), "{}", saving.wait().stderr);
        let image = s.dir.join(&counter.image);
        let mut command = Command::new("criu");
        command.args(["lazy-pages", "--page-server", "--address", "127.0.0.1"]);
        command.args(["--port", &port, "--images-dir"]).arg(&image);
        let asking = s.spawn(command, None);
        assert!(eventually(|| image.join("lazy-pages.socket").exists()));
        let saved = std::mem::replace(&mut counter.id, s.id());
        let restored = counter.restore(&["--lazy-pages"]);
        let saving = saving.wait();
        asking.wait();
        restored.ok();
        saving.ok();
        s.runtime(&["state", &saved])
            .fails_with(&["does not exist"]);
        counter.goes_on(before);
        counter.remove();
    });
}

/// A container that sends to a server outside, which prints what it receives, and "end".
fn connected(s: &Sandbox) -> (Counter<'_>, Running) {
    let port = free_port();
    let server = shell(s, &format!("sleep 1000 | nc -l -p {port}; echo end"));
    assert!(eventually(|| listens(port)));
    let counter = Counter::start(s, |bundle| {
        bundle.inherit("network").shell(&format!(
            "(while sleep 0.1; do echo x; done) | nc 127.0.0.1 {port} > /dev/null & {COUNT}"
        ));
    });
    assert!(eventually(|| server.stdout().contains('x')));
    (counter, server)
}

/// A connection to the outside goes on, and the other end sees nothing of it.
#[test]
fn a_connection_to_the_outside_goes_on() {
    host(|s| {
        if !has_criu(s, &[]) || !saves_tcp(s) {
            return;
        }
        let (counter, server) = connected(s);
        counter.survives(&["--tcp-established"]);
        let before = server.stdout().len();
        assert!(eventually(|| server.stdout().len() > before + 4));
        assert!(!server.stdout().contains("end"), "{}", server.stdout());
        counter.remove();
        end(s, server);
    });
}

/// With --tcp-close the program finds its connection closed, and goes on.
#[test]
fn a_connection_is_restored_as_a_closed_one() {
    host(|s| {
        if !has_criu(s, &[]) || !saves_tcp(s) {
            return;
        }
        let (counter, server) = connected(s);
        let before = counter.count();
        counter.checkpoint(&["--tcp-established"]).ok();
        counter.restore(&["--tcp-close"]).ok();
        counter.goes_on(before);
        assert!(eventually(|| counter.sees("pidof nc").is_empty()));
        counter.remove();
        end(s, server);
    });
}

/// Whether the host has Python; else the test is skipped.
fn has_python(s: &Sandbox) -> bool {
    let has = Path::new("/usr/bin/python3").exists();
    if !has {
        s.skip("no Python here; covered where the machine has it");
    }
    has
}

/// Has a program of Python run in a container, with the programs of the host, beside the one that
/// counts.
fn python(bundle: &mut Bundle, script: &str) {
    for (source, at) in [("/usr", "/usr"), ("/lib", "/lib"), ("/lib64", "/lib64")] {
        bundle.bind(Path::new(source), at, &["ro"]);
    }
    // CRIU finds no socket of another network namespace.
    bundle.inherit("network");
    bundle.shell(&format!("/usr/bin/python3 -c '{script}' & {COUNT}"));
}

/// A connection that no process has accepted is left out, if that is permitted.
#[test]
fn a_connection_that_is_not_accepted_is_left_out() {
    host(|s| {
        if !has_criu(s, &[]) || !saves_tcp(s) || !has_python(s) {
            return;
        }
        let port = free_port();
        let counter = Counter::start(s, |bundle| {
            let listen = format!(
                "import socket, time; s = socket.create_server((\"127.0.0.1\", {port})); time.sleep(1000)"
            );
            python(bundle, &listen);
        });
        assert!(eventually(|| listens(port)));
        let client = shell(s, &format!("sleep 1000 | nc 127.0.0.1 {port}"));
        let is_refused = || {
            let outcome = counter.run(&["checkpoint", "--leave-running", "--image-path", "first"]);
            outcome.last_line().contains("In-flight connection")
        };
        assert!(eventually(is_refused));
        let before = counter.count();
        counter.checkpoint(&["--tcp-skip-in-flight"]).ok();
        counter.restore(&[]).ok();
        counter.goes_on(before);
        assert!(listens(port));
        counter.remove();
        end(s, client);
    });
}

/// A socket for datagrams to a service outside, such as a log, is connected again. Its path must be
/// the same in the container.
#[test]
fn a_socket_of_the_host_is_connected_again() {
    host(|s| {
        if !has_criu(s, &[]) || !has_python(s) {
            return;
        }
        let log = s.dir.join("log");
        fs::create_dir(&log).expect("volume");
        let socket = log.join("socket");
        let server = "import socket, sys\n\
                      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                      s.bind(sys.argv[1])\n\
                      while True: print(s.recv(100).decode())";
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-u", "-c", server]).arg(&socket);
        let server = s.spawn(command, None);
        assert!(eventually(|| socket.exists()));
        let counter = Counter::start(s, |bundle| {
            bundle.bind(&log, log.to_str().expect("UTF-8"), &["rw"]);
            let client = format!(
                "import socket, time\n\
                 s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
                 s.connect(\"{}\")\n\
                 while True: s.send(b\"x\"); time.sleep(0.1)",
                socket.display()
            );
            python(bundle, &client);
        });
        assert!(eventually(|| server.stdout().contains('x')));
        let refused = counter.checkpoint(&[]).fails();
        assert!(
            refused.last_line().contains("--ext-unix-sk"),
            "{}",
            refused.stderr
        );
        counter.survives(&["--ext-unix-sk"]);
        let before = server.stdout().len();
        assert!(eventually(|| server.stdout().len() > before + 4));
        counter.remove();
        s.tool("kill", &["-KILL", &server.pid().to_string()]);
        server.wait();
    });
}

/// A container whose streams are the terminal of a shell moves to the terminal of another shell, if
/// that is permitted. Without permission it is not lost.
#[test]
fn a_container_in_the_terminal_of_a_shell_survives() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let mut bundle = s.bundle();
        let count = json!({"destination": "/count", "type": "tmpfs", "source": "tmpfs",
                           "options": ["mode=1777"]});
        bundle.mount(count).shell(COUNT);
        let id = s.id();
        let in_terminal = |arguments: &str| {
            let runtime = s.command();
            let program = runtime.get_program().display();
            let line = format!("{program} --root {} {arguments} {id}", s.state.display());
            let mut command = Command::new("script");
            command.args(["-qefc", &line, "/dev/null"]);
            command.current_dir(&s.dir);
            s.spawn(command, Some(&bundle))
        };
        let count = || {
            let text = s.runtime(&["exec", &id, "cat", "/count/count"]).stdout;
            text.trim().parse().unwrap_or(0)
        };
        let at = bundle.write().display();
        let shell = in_terminal(&format!("run --bundle {at}"));
        assert!(eventually(|| count() > 1), "{}", shell.stdout());
        let before: u64 = count();
        let save = ["checkpoint", "--image-path", "image", &id];
        let refused = s.runtime(&save).fails();
        let line = refused.last_line();
        assert!(line.contains("--shell-job"), "{}", refused.stderr);
        assert!(eventually(|| count() > before + 1), "it runs on");
        s.runtime(&[&save[..], &["--shell-job"]].concat()).ok();
        shell.wait();
        let options = format!("--image-path image --bundle {at} --shell-job");
        let shell = in_terminal(&format!("restore {options}"));
        assert!(eventually(|| count() > before + 1), "{}", shell.stdout());
        let terminal = s.runtime(&["exec", &id, "readlink", "/proc/1/fd/0"]);
        assert!(terminal.stdout.contains("/pts/"), "{}", terminal.stdout);
        s.runtime(&["kill", &id, "KILL"]).ok();
        shell.wait().exits(137);
        forget();
    });
}
