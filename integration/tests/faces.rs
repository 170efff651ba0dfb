//! The program in the place of runc, crun or youki: the same command to both gives the same answer.
//!
//! The other side is the Debian package. Compared are exit statuses, the keys and the values of
//! JSON, the headings of tables: everything that engines and scripts read. Messages differ, since
//! ours say more.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Bundle, Outcome, Sandbox, sandbox};
use serde_json::{Value, json};

/// What a program has answered, by question.
type Answers = BTreeMap<&'static str, Value>;

/// A program that is asked.
struct Asked<'s> {
    sandbox: &'s Sandbox,
    program: PathBuf,
    root: PathBuf,
    /// The name of its container; the same for both.
    id: &'s str,
    answers: Answers,
}

/// The program under test by another name.
fn link(s: &Sandbox, name: &str) -> PathBuf {
    let link = s.dir.join(name);
    symlink(&s.subject.program, &link).expect("symlink");
    link
}

impl<'s> Asked<'s> {
    fn new(sandbox: &'s Sandbox, program: &Path, root: &str, id: &'s str) -> Self {
        let root = sandbox.dir.join(root);
        fs::create_dir(&root).expect("mkdir");
        Self {
            sandbox,
            program: program.to_owned(),
            root,
            id,
            answers: Answers::new(),
        }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.sandbox.dir);
        let args = args
            .iter()
            .map(|arg| if *arg == "box" { self.id } else { arg });
        command.arg("--root").arg(&self.root).args(args);
        self.sandbox.finish(command, None)
    }

    fn note(&mut self, question: &'static str, answer: impl Into<Value>) {
        self.answers.insert(question, answer.into());
    }

    /// The exit status.
    fn status(&mut self, question: &'static str, args: &[&str]) {
        let status = self.run(args).status.code();
        self.note(question, status);
    }

    /// The whole output.
    fn text(&mut self, question: &'static str, args: &[&str]) {
        let text = self.run(args).ok().stdout;
        self.note(question, text);
    }

    fn json(&self, args: &[&str]) -> Value {
        let outcome = self.run(args).ok();
        serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{}", outcome.describe(&error.to_string())))
    }

    /// Wrong command lines, and containers that are not there.
    fn without_containers(&mut self) {
        self.text("empty table", &["list"]);
        self.text("empty names", &["list", "-q"]);
        self.status("unknown command", &["bogus"]);
        self.status("unknown option", &["state", "--bogus", "x"]);
        self.status("no id", &["state"]);
        self.status("no state", &["state", "missing"]);
        self.status("no start", &["start", "missing"]);
        self.status("no kill", &["kill", "missing", "KILL"]);
        self.status("no delete", &["delete", "missing"]);
        self.status("no forced delete", &["delete", "--force", "missing"]);
        let nothing = Command::new(&self.program);
        let nothing = self.sandbox.finish(nothing, None).status.code();
        self.note("no command", nothing);
        self.status("spec", &["spec"]);
        let path = self.sandbox.dir.join("config.json");
        let template: Value =
            serde_json::from_slice(&fs::read(&path).expect("config.json")).expect("JSON");
        fs::remove_file(path).expect("rm");
        let mut keys = keys(&template);
        // Older versions name two more sets.
        keys.retain(|key| !key.ends_with("/ambient") && !key.ends_with("/inheritable"));
        self.note("keys of spec", keys);
        let version = self.run(&["--version"]).ok().stdout;
        let words: Vec<_> = version.split_whitespace().take(2).collect();
        self.note("version", words);
        let commit = version.lines().any(|line| line.starts_with("commit: "));
        self.note("commit", commit);
        let rundir = version.lines().any(|line| line.starts_with("rundir: "));
        self.note("rundir", rundir);
    }

    /// The life of a container.
    fn with_a_container(&mut self, bundle: &Bundle) {
        let place = bundle.write().to_str().expect("UTF-8").to_owned();
        let create = ["create", "--bundle", &place, "box"];
        self.text("create", &create);
        self.status("create again", &create);
        self.note("created", self.state());
        self.status("start", &["start", "box"]);
        self.status("start again", &["start", "box"]);
        self.note("running", self.state());
        self.text("names", &["list", "-q"]);
        self.note("headings", self.words_of_line(&["list"], 0));
        let columns = self.words_of_line(&["list"], 1);
        self.note(
            "row",
            [&columns[0], &columns[2], &columns[3], &columns[5]]
                .map(String::as_str)
                .to_vec(),
        );
        let listed = self.json(&["list", "-f", "json"]);
        self.note("keys of list", keys(&listed[0]));
        self.note(
            "processes",
            self.json(&["ps", "-f", "json", "box"])
                .as_array()
                .map(Vec::len),
        );
        self.note("heading of ps", self.words_of_line(&["ps", "box"], 0));
        if self.is("runc") {
            let event = self.json(&["events", "--stats", "box"]);
            let mut keys = keys(&event);
            // Absent where nothing was read: the first container has read the program's file.
            keys.retain(|key| !key.starts_with("data/blkio/") && key != "data/memory/cache");
            self.note("keys of events", keys);
        }
        self.status("delete of a running one", &["delete", "box"]);
        self.status("exec", &["exec", "box", "sh", "-c", "exit 7"]);
        self.status("exec of nothing", &["exec", "box", "/absent"]);
        self.status("exec killed", &["exec", "box", "sh", "-c", "kill -9 $$"]);
        self.status("kill", &["kill", "box", "KILL"]);
        let stopped = integration::sandbox::eventually(|| self.state()["status"] == "stopped");
        assert!(stopped);
        self.note("stopped", self.state());
        self.status("kill of a stopped one", &["kill", "box"]);
        self.status("exec in a stopped one", &["exec", "box", "true"]);
        self.status("delete", &["delete", "box"]);
    }

    /// A created container, and programs that end.
    fn with_other_containers(&mut self, bundle: &mut Bundle) {
        let place = bundle.write().to_str().expect("UTF-8").to_owned();
        self.status("create another", &["create", "--bundle", &place, "box"]);
        self.status("delete of a created one", &["delete", "box"]);
        self.status("clean up", &["delete", "--force", "box"]);
        bundle.shell("exit 9");
        self.status("run", &["run", "--bundle", &bundle_path(bundle), "box"]);
        bundle.shell("kill -TERM $$; sleep 9");
        // The first process of a PID namespace ignores signals that it does not handle.
        bundle.inherit("pid");
        self.status(
            "run killed",
            &["run", "--bundle", &bundle_path(bundle), "box"],
        );
        bundle.args(&["/absent"]);
        self.status(
            "run of nothing",
            &["run", "--bundle", &bundle_path(bundle), "box"],
        );
    }

    /// `state`, without what is different each time.
    fn state(&self) -> Value {
        let mut state = self.json(&["state", "box"]);
        for (key, value) in state.as_object_mut().expect("an object") {
            let is_odd = match key.as_str() {
                "created" => true,
                "pid" => *value != json!(0),
                // runc 1.1 has its own version there, and the present one that of the
                // configuration.
                "ociVersion" => self.is("runc"),
                // crun 1.8 has the path as the configuration has it.
                "rootfs" => self.is("crun"),
                _ => false,
            };
            if is_odd {
                *value = json!(value.is_string());
            }
        }
        state
    }

    fn is(&self, name: &str) -> bool {
        self.program.ends_with(name)
    }

    fn words_of_line(&self, args: &[&str], line: usize) -> Vec<String> {
        let outcome = self.run(args).ok();
        let line = outcome.stdout.lines().nth(line).expect("a line");
        line.split_whitespace().map(str::to_owned).collect()
    }
}

fn bundle_path(bundle: &Bundle) -> String {
    bundle.write().to_str().expect("UTF-8").to_owned()
}

/// The paths of all members but those whose names are data. More of them are no harm.
fn keys(value: &Value) -> Vec<String> {
    let Value::Object(members) = value else {
        return Vec::new();
    };
    let below = |(key, value): (&String, &Value)| {
        let is_data = key == "raw" || key == "hugetlb";
        let below = if is_data { Vec::new() } else { keys(value) };
        let below = below.into_iter().map(move |rest| format!("{key}/{rest}"));
        [key.clone()].into_iter().chain(below).collect::<Vec<_>>()
    };
    members.iter().flat_map(below).collect()
}

/// Asks both and compares, but for `known` differences.
fn compare(s: &Sandbox, name: &str, known: &[&str]) {
    let Some(reference) = s.package(name) else {
        return;
    };
    let bundle = s.bundle_that_waits();
    let id = s.id();
    let [wanted, found] =
        [("theirs", reference), ("ours", link(s, name))].map(|(root, program)| {
            let mut asked = Asked::new(s, &program, root, &id);
            asked.without_containers();
            asked.with_a_container(&bundle);
            asked.with_other_containers(&mut s.bundle_that_waits());
            asked.answers
        });
    let mut differ = Vec::new();
    for (question, wanted) in &wanted {
        let found = &found[question];
        let holds = match (wanted, found) {
            (Value::Array(wanted), Value::Array(found)) if question.starts_with("keys of ") => {
                wanted.iter().all(|key| found.contains(key))
            }
            _ => found == wanted,
        };
        if !holds && !known.contains(question) {
            differ.push(format!("{question}: {name} {wanted}, locule {found}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn in_the_place_of_runc_the_answers_are_those_of_runc() {
    sandbox::host(|s| compare(s, "runc", &[]));
}

#[test]
fn in_the_place_of_crun_the_answers_are_those_of_crun() {
    // crun refuses a hybrid host.
    sandbox::pure_v2(|s| compare(s, "crun", &["exec of nothing"]));
}

/// The program executes itself again to protect its file, and has the same name then: the default
/// state directory, and the messages of the part in the container.
#[test]
fn the_name_survives_the_second_start() {
    sandbox::host(|s| {
        if s.is_control("it is about locule") {
            return;
        }
        for name in ["runc", "crun", "youki"] {
            let program = link(s, name);
            let ask = |args: &[&str]| {
                let mut command = Command::new(&program);
                command.args(args).env_remove("XDG_RUNTIME_DIR");
                s.finish(command, None)
            };
            let (bundle, id) = (s.bundle_that_waits(), s.id());
            ask(&["create", "--bundle", &bundle_path(&bundle), &id]).ok();
            let root = Path::new("/run").join(name);
            assert!(root.join(&id).exists(), "{name}");
            ask(&["delete", "--force", &id]).ok();
            fs::remove_dir(root).expect("rmdir");
            let outcome = ask(&["create", "--bundle", "/absent", &id]).fails();
            let front = format!("{name}: error: ");
            assert!(
                outcome.last_line().starts_with(&front),
                "{}",
                outcome.stderr
            );
            let _made_or_not = fs::remove_dir(Path::new("/run").join(name));
        }
    });
}

/// `--compat` does the same as the name, and wins over it.
#[test]
fn the_option_wins_over_the_name() {
    sandbox::host(|s| {
        if s.is_control("an option of locule's") {
            return;
        }
        let heading = |program: &Path, args: &[&str]| {
            let mut command = Command::new(program);
            command.args(args);
            let outcome = s.finish(command, None);
            let line = outcome.stdout.lines().next().unwrap_or_default();
            line.split(' ').next().unwrap_or_default().to_owned()
        };
        let own = s.subject.program.as_path();
        let crun = link(s, "crun");
        assert_eq!(heading(own, &["list"]), "ID");
        assert_eq!(heading(own, &["--compat", "crun", "list"]), "NAME");
        assert_eq!(heading(&crun, &["list"]), "NAME");
        assert_eq!(heading(&crun, &["--compat=runc", "list"]), "ID");
        assert_eq!(heading(&crun, &["--compat=locule", "--version"]), "locule");
        let mut command = Command::new(&crun);
        command.args(["--compat", "docker", "list"]);
        s.finish(command, None)
            .exits(64)
            .fails_with(&["docker", "locule, runc, crun, youki"]);
    });
}

/// crun's log has the message alone, and times with microseconds; its state is in XDG_RUNTIME_DIR
/// for root too.
#[test]
fn the_log_and_the_state_are_where_crun_has_them() {
    sandbox::host(|s| {
        if s.is_control("it is about locule") {
            return;
        }
        let ask = |args: &[&str]| {
            let mut command = Command::new(&s.subject.program);
            command.args(["--compat", "crun"]).args(args);
            command.current_dir(&s.dir).env("XDG_RUNTIME_DIR", &s.dir);
            s.finish(command, None)
        };
        ask(&["--log", "text", "state", "missing"]).exits(1);
        let text = fs::read_to_string(s.dir.join("text")).expect("log");
        assert!(text.starts_with("container does not exist"), "{text}");
        ask(&["--log", "json", "--log-format", "json", "state", "missing"]).exits(1);
        let line = fs::read(s.dir.join("json")).expect("log");
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        let time = line["time"].as_str().expect("a time");
        assert_eq!(time.len(), "2026-01-02T03:04:05.000000Z".len(), "{time}");
        let (bundle, id) = (s.bundle_that_waits(), s.id());
        ask(&["create", "--bundle", &bundle_path(&bundle), &id]).ok();
        assert!(s.dir.join("crun").join(&id).exists());
        let version = ask(&["--version"]).ok().stdout;
        let rundir = format!("rundir: {}/crun\n", s.dir.display());
        assert!(version.contains(&rundir), "{version}");
        ask(&["delete", "--force", &id]).ok();
    });
}

/// The environment of root may be that of a user, who could put records of containers into the own
/// directory: it does not count. What another user has made in a directory of root is refused.
#[test]
fn the_state_of_root_is_in_no_directory_of_a_user() {
    sandbox::host(|s| {
        if s.is_control("it is about locule") {
            return;
        }
        let list = |directory: &Path| {
            let mut command = Command::new(&s.subject.program);
            command.args(["--compat", "crun", "--version"]);
            command.env("XDG_RUNTIME_DIR", directory);
            let version = s.finish(command, None).ok().stdout;
            let mut command = Command::new(&s.subject.program);
            command.args(["--compat", "crun", "list"]);
            command.env("XDG_RUNTIME_DIR", directory);
            (version, s.finish(command, None))
        };
        let of_user = s.dir.join("of-user");
        fs::create_dir(&of_user).expect("mkdir");
        chown(&of_user, Some(sandbox::USER), Some(sandbox::USER)).expect("chown");
        let (version, listed) = list(&of_user);
        assert!(version.contains("rundir: /run/crun\n"), "{version}");
        listed.ok();
        let shared = s.dir.join("shared");
        let planted = shared.join("crun");
        fs::create_dir_all(&planted).expect("mkdir");
        chown(&planted, Some(sandbox::USER), Some(sandbox::USER)).expect("chown");
        list(&shared).1.fails_with(&["another user owns it"]);
    });
}

/// youki wants a signal for `kill`, and a program that has ended for `delete`; it says no pid of
/// such a one, and `run` passes the number of a signal on as it is.
#[test]
fn in_the_place_of_youki_the_answers_are_those_of_youki() {
    sandbox::host(|s| {
        if s.is_control("it is about locule") {
            return;
        }
        let ask = |args: &[&str]| {
            let mut command = s.command();
            command.args(["--compat", "youki"]).args(args);
            s.finish(command, None)
        };
        let mut bundle = s.bundle_that_waits();
        let (place, id) = (bundle_path(&bundle), s.id());
        ask(&["create", "--bundle", &place, &id]).ok();
        ask(&["delete", &id])
            .exits(1)
            .fails_with(&["not stopped", "created"]);
        ask(&["kill", &id]).exits(1).fails_with(&["no signal"]);
        ask(&["exec", &id, "/absent"]).exits(255);
        ask(&["kill", &id, "KILL"]).ok();
        let state =
            || -> Value { serde_json::from_str(&ask(&["state", &id]).ok().stdout).expect("JSON") };
        assert!(sandbox::eventually(|| state()["status"] == "stopped"));
        assert!(state().get("pid").is_none(), "{}", state());
        assert_eq!(state()["owner"], "0");
        let list = ask(&["list"]).ok().stdout;
        assert!(
            list.lines().next().expect("a line").ends_with("  CREATOR"),
            "{list}"
        );
        ask(&["delete", &id]).ok();
        ask(&["run", "--bundle", "/absent", &id]).exits(255);
        ask(&["bogus"]).exits(2);
        ask(&[]).exits(2);
        bundle.inherit("pid").shell("kill -TERM $$; sleep 9");
        ask(&["run", "--bundle", &bundle_path(&bundle), &id]).exits(15);
    });
}
