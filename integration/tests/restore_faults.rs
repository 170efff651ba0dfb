//! Faults of `restore` and of `mounts`: the runtime is killed at a system call, or the call fails,
//! as it may in `create` too.
//!
//! After a failure nothing is left, and the message says what has failed. After a SIGKILL, which no
//! program can handle, one `delete --force` or one more `mounts remove` leaves nothing. `--test
//! faults` has the same for `create`, and `--test exec_attack` for `exec`. A program stands in for
//! CRIU.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use integration::criu::{Criu, ImageMount, write_image};
use integration::faults::{self, Point};
use integration::{Bundle, Container, Outcome, Sandbox, leak, sandbox};
use serde_json::json;

/// What happens at a point, for strace.
const KILLED: &str = "signal=KILL";
const FAILS: &str = "error=ENOMEM";

/// `command` below strace.
fn traced(command: &Command, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(options).arg(command.get_program());
    strace.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    strace
}

/// `command` with a fault at a point. `None`: no program goes on if that call fails. The kernel
/// never refuses to close a descriptor for want of memory, and the standard library panics.
fn with_fault(command: &Command, fault: &str, (call, number): &Point) -> Option<(String, Command)> {
    let needed = [
        "brk",
        "close",
        "execve",
        "execveat",
        "exit_group",
        "mmap",
        "munmap",
    ];
    if fault == FAILS && needed.contains(&call.as_str()) {
        return None;
    }
    let inject = format!("inject={call}:{fault}:when={number}");
    let strace = traced(command, &["--output", "/dev/null", "-e", &inject]);
    Some((inject, strace))
}

/// The points of a command of the runtime, whose children are not followed. The program's own calls
/// begin with the one that lets it wait for children; before that, the C library loads it.
fn points(s: &Sandbox, command: &Command, bundle: Option<&Bundle>) -> Vec<Point> {
    let trace = s.dir.join("trace");
    let output = ["--output", trace.to_str().expect("UTF-8")];
    s.finish(traced(command, &output), bundle).ok();
    let text = String::from_utf8_lossy(&fs::read(&trace).expect("trace")).into_owned();
    fs::remove_file(&trace).expect("rm");
    let own = text
        .find("rt_sigaction(SIGCHLD")
        .expect("the first own call");
    let loading = faults::points(&text[..own]).len();
    faults::points(&text).split_off(loading)
}

/// An error of the runtime's own, in a sentence.
#[track_caller]
fn told(outcome: &Outcome, at: &str) {
    let last = outcome.stderr.lines().last().unwrap_or_default();
    let is_told = outcome.status.code() == Some(1)
        && last.contains("error: ")
        && !outcome.stderr.contains("panicked");
    assert!(is_told, "{at}: {}", outcome.describe("an error"));
}

/// A container that CRIU could have saved: a volume at /data.
struct Saved<'s> {
    s: &'s Sandbox,
    criu: Criu<'s>,
    bundle: Bundle,
    image: PathBuf,
}

impl<'s> Saved<'s> {
    fn make(s: &'s Sandbox) -> Self {
        let mut bundle = s.bundle();
        let data = s.dir.join("data");
        fs::create_dir(&data).expect("mkdir");
        bundle
            .bind(&data, "/data", &["bind", "rw"])
            .args(&["sleep", "1000"]);
        bundle.write();
        let image = s.dir.join("image");
        write_image(
            &image,
            &[
                ImageMount::ROOT,
                ImageMount::external("/data", "mount-/data", false),
            ],
        );
        Self {
            s,
            criu: Criu::make(s),
            bundle,
            image,
        }
    }

    fn restore(&self, id: &str) -> Command {
        let mut command = self.criu.command("");
        command
            .args(["restore", "--detach", "--bundle"])
            .arg(&self.bundle.path);
        command.arg("--work-path").arg(self.s.dir.join("work"));
        command.arg("--image-path").arg(&self.image).arg(id);
        command
    }
}

/// Requires that no process, cgroup or state of `id` is left, at once or soon.
#[track_caller]
fn is_gone(s: &Sandbox, id: &str, at: &str) {
    let state = s.state.join(id);
    let clean = || !state.exists() && leak::processes().is_empty() && leak::cgroups(id).is_empty();
    assert!(
        sandbox::eventually(clean),
        "{at}: state {}, processes {:?}, cgroups {:?}",
        state.exists(),
        leak::processes(),
        leak::cgroups(id)
    );
}

/// Makes containers by `command`, with these faults at `usual` points. One delete cleans up after
/// the dead, and a failure has cleaned up by itself. At the end the first id can be used again.
fn sweep(
    s: &Sandbox,
    bundle: &Bundle,
    command: impl Fn(&str) -> Command,
    faults: &[&str],
    usual: usize,
) {
    let delete = |id: &str, at: &str| {
        let deleted = s.runtime(&["delete", "--force", id]);
        assert!(
            deleted.status.success(),
            "{at}: {}",
            deleted.describe("delete")
        );
    };
    let before = leak::mounts();
    let first = s.id();
    let points = points(s, &command(&first), Some(bundle));
    delete(&first, "");
    // A sample may miss umask(2), and the way back to the host's mount namespace.
    let always = [("umask", 1), ("setns", 2)].map(|(call, number)| (call.to_owned(), number));
    for point in faults::sample(points, usual).into_iter().chain(always) {
        for fault in faults {
            let id = s.id();
            let Some((at, faulty)) = with_fault(&command(&id), fault, &point) else {
                continue;
            };
            let outcome = s.finish(faulty, Some(bundle));
            let at = outcome.describe(&at);
            if outcome.status.success() || *fault == KILLED {
                delete(&id, &at);
            } else {
                told(&outcome, &at);
                // Without the lock of the directory that it has made, it removes nothing.
                let files = fs::read_dir(s.state.join(&id));
                if files.is_ok_and(|mut files| files.next().is_none()) {
                    delete(&id, &at);
                }
            }
            is_gone(s, &id, &at);
            assert_eq!(leak::mounts(), before, "{at}");
        }
    }
    s.finish(command(&first), Some(bundle)).ok();
    delete(&first, "");
}

/// A restore that dies at any call is cleaned up by one delete; one that fails there cleans up by
/// itself. The id can be used again.
#[test]
fn restore_killed_or_failing_at_any_call_leaves_nothing() {
    sandbox::host(|s| {
        if s.is_control("runc's restore needs CRIU itself") {
            return;
        }
        let saved = Saved::make(s);
        let restore = |id: &str| saved.restore(id);
        sweep(s, &saved.bundle, restore, &[KILLED, FAILS], 3);
    });
}

/// The same for a create that fails. `--test faults` has those that die.
#[test]
fn create_failing_at_any_call_leaves_nothing() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 leaves processes and state behind") {
            return;
        }
        let bundle = s.bundle();
        bundle.write();
        let create = |id: &str| {
            let mut command = s.command();
            command
                .args(["create", "--bundle"])
                .arg(&bundle.path)
                .arg(id);
            command
        };
        sweep(s, &bundle, create, &[FAILS], 8);
    });
}

fn table(container: &Container<'_>) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).expect("mountinfo")
}

/// Removes what `mounts list` says is there.
#[track_caller]
fn remove_rest(s: &Sandbox, container: &Container<'_>) {
    let listed = s.runtime(&["mounts", "list", &container.id]).ok();
    let rest: Vec<String> = serde_json::from_str(&listed.stdout).expect("a list");
    let rest = rest
        .iter()
        .map(|destination| json!({ "destination": destination }));
    let file = s.dir.join("rest.json");
    fs::write(&file, json!(rest.collect::<Vec<_>>()).to_string()).expect("write");
    let mut command = s.command();
    command.args(["mounts", "remove", &container.id]).arg(file);
    s.finish(command, None).ok();
}

/// `mounts add` that dies or fails at any call leaves no mount that is not listed; a `remove` that
/// does can be repeated.
#[test]
fn mounts_killed_or_failing_at_any_call_can_be_repeated() {
    sandbox::host(|s| {
        if s.is_control("a command of crun's") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let before = (table(&container), leak::mounts(), leak::processes());
        let data = s.dir.join("data");
        fs::create_dir(&data).expect("mkdir");
        let list = json!([
            { "destination": "/mnt", "type": "bind", "source": data, "options": ["bind", "ro"] },
            { "destination": "/home", "type": "tmpfs", "source": "tmpfs" },
        ]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        let mounts = |action: &str| {
            let mut command = s.command();
            command.args(["mounts", action, &container.id]);
            command.arg(s.dir.join("mounts.json"));
            command
        };
        let listed = || {
            s.runtime(&["mounts", "list", &container.id])
                .ok()
                .text()
                .to_owned()
        };
        for action in ["add", "remove"] {
            if action == "remove" {
                s.finish(mounts("add"), None).ok();
            }
            let points = points(s, &mounts(action), None);
            if action == "add" {
                s.finish(mounts("remove"), None).ok();
            }
            for point in faults::sample(points, 4) {
                for fault in [KILLED, FAILS] {
                    if action == "remove" {
                        s.finish(mounts("add"), None).ok();
                    }
                    let Some((at, command)) = with_fault(&mounts(action), fault, &point) else {
                        continue;
                    };
                    let outcome = s.finish(command, None);
                    if fault == FAILS && !outcome.status.success() {
                        told(&outcome, &at);
                    }
                    assert!(
                        sandbox::eventually(|| leak::processes() == before.2),
                        "{at}: {:?}",
                        leak::processes()
                    );
                    remove_rest(s, &container);
                    assert_eq!(listed(), "[]", "{at}");
                    assert_eq!(table(&container), before.0, "{at}");
                    assert_eq!(leak::mounts(), before.1, "{at}");
                }
            }
        }
        container.remove();
    });
}
