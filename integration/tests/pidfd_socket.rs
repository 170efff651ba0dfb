//! `--pidfd-socket`: whoever listens there is sent a pidfd of the process, as by runc.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::runtime::Running;
use integration::{Sandbox, sandbox};
use serde_json::{Value, json};

/// Takes one message, and notes what it says, whose its descriptor is, and that nothing comes after
/// it.
const LISTENER: &str = r#"
import json, os, socket, sys
path, log = sys.argv[1:]
os.chdir(os.path.dirname(path))
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(os.path.basename(path))
server.listen(1)
def note(what):
    with open(log + ".new", "w") as file: json.dump(what, file)
    os.rename(log + ".new", log)
note("ready")
connection, _ = server.accept()
data, fds, _, _ = socket.recv_fds(connection, 4096, 16)
pids = []
for fd in fds:
    lines = open("/proc/self/fdinfo/%d" % fd).read().splitlines()
    pids += [int(line.split()[1]) for line in lines if line.startswith("Pid:")]
note({"data": data.decode(), "pids": pids, "more": connection.recv(1).decode()})
"#;

struct Listener {
    socket: PathBuf,
    log: PathBuf,
    running: Running,
}

impl Listener {
    fn start(s: &Sandbox, folder: &Path) -> Self {
        let (socket, log) = (folder.join("pidfd"), folder.join("notes"));
        let mut command = Command::new("python3");
        command.args(["-c", LISTENER]).args([&socket, &log]);
        let running = s.spawn(command, None);
        assert!(sandbox::eventually(|| log.exists()), "{:?}", running.wait());
        Self {
            socket,
            log,
            running,
        }
    }

    fn option(&self) -> [&str; 2] {
        let socket = self.socket.to_str().expect("UTF-8");
        ["--pidfd-socket", socket]
    }

    /// Requires one message with one pidfd.
    #[track_caller]
    fn has_got(self, data: &str, pid: Option<i64>) {
        self.running.wait().ok();
        let notes: Value =
            serde_json::from_slice(&fs::read(&self.log).expect("notes")).expect("JSON");
        assert_eq!(notes["data"], json!(data));
        assert_eq!(notes["more"], json!(""));
        let pids = notes["pids"].as_array().expect("a list");
        assert_eq!(pids.len(), 1, "{notes}");
        // -1: it has ended.
        assert!(
            pid.is_none_or(|pid| pids[0] == json!(pid)),
            "{notes}, {pid:?}"
        );
        for file in [self.socket, self.log] {
            fs::remove_file(file).expect("rm");
        }
    }
}

/// crun's annotation names a socket in the same way; the option comes first.
#[test]
fn the_annotation_names_a_receiver() {
    sandbox::host(|s| {
        if s.is_control("an annotation of crun's") {
            return;
        }
        let folder = s.dir.join("receiver");
        fs::create_dir(&folder).expect("mkdir");
        let listener = Listener::start(s, &folder);
        let mut bundle = s.bundle_that_waits();
        let annotation = "/annotations/run.oci.pidfd_receiver";
        bundle.set(annotation, json!(listener.socket));
        let container = s.create(&bundle);
        let pid = container.pid();
        listener.has_got("standard", Some(pid));
        container.remove();
        let listener = Listener::start(s, &folder);
        bundle.set(annotation, json!("/nowhere/socket"));
        let container = s.create_with(&bundle, &listener.option());
        let pid = container.pid();
        listener.has_got("standard", Some(pid));
        container.remove();
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/nowhere/socket"]);
    });
}

/// The first process of `create` and `run`, and the further one of `exec`.
#[test]
fn the_pidfd_of_the_process_is_sent() {
    sandbox::host(|s| {
        let listener = Listener::start(s, &s.dir);
        let container = s.create_with(&s.bundle_that_waits(), &listener.option());
        listener.has_got("standard", Some(container.pid()));
        let listener = Listener::start(s, &s.dir);
        let file = s.dir.join("pid");
        let mut options = vec!["--detach", "--pid-file", file.to_str().expect("UTF-8")];
        options.extend(listener.option());
        container.exec(&options, &["sleep", "999"]).ok();
        let pid = fs::read_to_string(&file).expect("pid").parse().ok();
        assert!(pid.is_some());
        listener.has_got("setns", pid);
        container.remove();
        let listener = Listener::start(s, &s.dir);
        let mut bundle = s.bundle();
        bundle.args(&["true"]);
        s.run_with(&bundle, &listener.option()).ok();
        listener.has_got("standard", None);
    });
}

/// A path that is longer than an address.
#[test]
fn the_path_of_the_socket_may_be_long() {
    sandbox::host(|s| {
        let folder = s.dir.join("f".repeat(120));
        fs::create_dir(&folder).expect("mkdir");
        let listener = Listener::start(s, &folder);
        let container = s.create_with(&s.bundle_that_waits(), &listener.option());
        listener.has_got("standard", Some(container.pid()));
        container.remove();
    });
}

/// A socket that is missing, or none, or on which nobody listens: an error before anything is made.
#[test]
fn a_socket_that_takes_nothing_is_an_error() {
    sandbox::host(|s| {
        let file = s.dir.join("file");
        fs::write(&file, "").expect("write");
        let deaf = s.dir.join("deaf");
        drop(UnixListener::bind(&deaf).expect("bind"));
        let container = s.started(&s.bundle_that_waits());
        for path in [Path::new("/missing"), &file, &deaf] {
            let path = path.to_str().expect("UTF-8");
            let words = ["--pidfd-socket", path, "connect"];
            let options = ["--pidfd-socket", path];
            s.try_create(&s.bundle_that_waits(), &s.id(), &options)
                .fails_with(&words);
            container
                .exec(&options, &["echo", "ran"])
                .exits(255)
                .fails_with(&words)
                .prints_nothing();
        }
        container.remove();
    });
}
