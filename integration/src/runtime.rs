//! The command line of the runtime, and the outcome of a command.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::sandbox::{Sandbox, USER, eventually};

/// The outcome of a command: status and output, and the configuration for the message of a failed
/// test.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    /// The exit status.
    pub status: ExitStatus,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
    config: Option<PathBuf>,
}

impl Outcome {
    /// Requires exit status 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}", self.describe("wanted success"));
        self
    }

    /// Requires that the command failed by itself: with an exit status, not by a signal.
    #[track_caller]
    pub fn fails(self) -> Self {
        let failed = self.status.code().is_some_and(|code| code != 0);
        assert!(failed, "{}", self.describe("wanted an error"));
        self
    }

    /// Requires a failure whose last line on standard error contains every word, in any case:
    /// engines show only that line.
    #[track_caller]
    pub fn fails_with(self, words: &[&str]) -> Self {
        let outcome = self.fails();
        let line = outcome.last_line().replace("\\\"", "\"").to_lowercase();
        for word in words {
            let found = line.contains(&word.to_lowercase());
            assert!(
                found,
                "{}",
                outcome.describe(&format!("wanted {word:?} in the last line"))
            );
        }
        let parts: Vec<_> = line.split(": ").collect();
        if line.starts_with("locule") && parts.windows(2).any(|pair| pair[0] == pair[1]) {
            panic!("{}", outcome.describe("the last line says the same twice"));
        }
        outcome
    }

    /// Requires this exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}",
            self.describe("wanted another status")
        );
        self
    }

    /// Requires standard output, trimmed, to be `text`.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        let outcome = self.ok();
        assert_eq!(
            outcome.stdout.trim(),
            text,
            "{}",
            outcome.describe("wanted another output")
        );
        outcome
    }

    /// Requires standard output to contain `text`.
    #[track_caller]
    pub fn contains(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "{}",
            self.describe(&format!("wanted {text:?}"))
        );
        self
    }

    /// Requires standard output to be empty.
    #[track_caller]
    pub fn prints_nothing(self) -> Self {
        let is_empty = self.stdout.is_empty();
        assert!(is_empty, "{}", self.describe("wanted no output"));
        self
    }

    /// Standard output without the last newline.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// The last line of standard error.
    pub fn last_line(&self) -> &str {
        self.stderr.trim_end().lines().last().unwrap_or_default()
    }

    /// All details of the command, for a message.
    pub fn describe(&self, wanted: &str) -> String {
        let config = self
            .config
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        let config: String = config.unwrap_or_default().chars().take(20_000).collect();
        format!(
            "{wanted}\n$ {}\n{}\n--- stdout\n{}\n--- stderr\n{}\n--- config.json\n{config}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let pids = list.unwrap_or_default();
    pids.split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

/// A command that still runs.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    config: Option<PathBuf>,
}

impl Running {
    /// The pid of the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        let status = self.child.wait().expect("wait");
        Outcome {
            command: self.command,
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
            config: self.config,
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A container that was created in the sandbox. Nothing is cleaned up silently: a test deletes the
/// containers that it creates.
#[derive(Debug)]
pub struct Container<'a> {
    sandbox: &'a Sandbox,
    /// Its id.
    pub id: String,
    stdout: PathBuf,
}

impl Sandbox {
    /// The runtime's command line up to its command: program and `--root`, as the sandbox's user.
    pub fn command(&self) -> Command {
        let mut command = if self.environment.is_user() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()]);
            command
                .args(["--clear-groups", "--inh-caps=-all", "--"])
                .arg(&self.subject.program);
            command
                .env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"))
                .env(
                    "DBUS_SESSION_BUS_ADDRESS",
                    format!("unix:path=/run/user/{USER}/bus"),
                )
                .env("HOME", "/");
            command
        } else {
            Command::new(&self.subject.program)
        };
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        command
            .current_dir(&self.dir)
            .arg("--root")
            .arg(&self.state);
        command
    }

    /// Starts a command with its output in files, so that a container which keeps them open does
    /// not block the test.
    pub fn spawn(&self, mut command: Command, config: Option<&Bundle>) -> Running {
        let number = self.next();
        let stdout = self.dir.join(format!("stdout{number}"));
        let stderr = self.dir.join(format!("stderr{number}"));
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).expect("stdout"));
        command.stderr(File::create(&stderr).expect("stderr"));
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let config = config.map(|bundle| bundle.path.join("config.json"));
        Running {
            command: format!("{command:?}"),
            child,
            stdout,
            stderr,
            config,
        }
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: Command, config: Option<&Bundle>) -> Outcome {
        self.spawn(command, config).wait()
    }

    /// `run`, attached, by another program whose last arguments are a command line.
    pub fn run_by(&self, mut other: Command, bundle: &Bundle) -> Outcome {
        other
            .arg(&self.subject.program)
            .arg("--root")
            .arg(&self.state);
        other
            .args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(self.id());
        self.finish(other, Some(bundle))
    }

    /// A `create` that waits for a hook of this kind, which hangs. Returns the id too.
    pub fn create_that_hangs(&self, kind: &str) -> (String, Running) {
        let mut bundle = self.bundle();
        let mark = self.dir.join("hook");
        let line = format!("echo > {}; sleep 1000", mark.display());
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", line] });
        bundle.set(&format!("/hooks/{kind}/-"), hook);
        let id = self.id();
        let mut command = self.command();
        command
            .args(["create", "--bundle"])
            .arg(bundle.write())
            .arg(&id);
        let create = self.spawn(command, None);
        assert!(eventually(|| mark.exists()), "no hook");
        (id, create)
    }

    /// Runs the runtime with these arguments.
    pub fn runtime(&self, args: &[&str]) -> Outcome {
        let mut command = self.command();
        command.args(args);
        self.finish(command, None)
    }

    /// `run`, attached.
    pub fn run(&self, bundle: &Bundle) -> Outcome {
        self.run_with(bundle, &[])
    }

    /// `run`, attached, with more options.
    pub fn run_with(&self, bundle: &Bundle, options: &[&str]) -> Outcome {
        let mut command = self.command();
        command
            .arg("run")
            .args(options)
            .arg("--bundle")
            .arg(bundle.write())
            .arg(self.id());
        self.finish(command, Some(bundle))
    }

    /// `create` with more options; it may fail.
    pub fn try_create(&self, bundle: &Bundle, id: &str, options: &[&str]) -> Outcome {
        let mut command = self.command();
        command
            .arg("create")
            .args(options)
            .arg("--bundle")
            .arg(bundle.write())
            .arg(id);
        self.finish(command, Some(bundle))
    }

    /// `create`, which must succeed.
    #[track_caller]
    pub fn create(&self, bundle: &Bundle) -> Container<'_> {
        self.create_with(bundle, &[])
    }

    /// `create` with more options, which must succeed.
    #[track_caller]
    pub fn create_with(&self, bundle: &Bundle, options: &[&str]) -> Container<'_> {
        let id = self.id();
        let mut command = self.command();
        command
            .arg("create")
            .args(options)
            .arg("--bundle")
            .arg(bundle.write())
            .arg(&id);
        let running = self.spawn(command, Some(bundle));
        let stdout = running.stdout.clone();
        running.wait().ok();
        Container {
            sandbox: self,
            id,
            stdout,
        }
    }

    /// `create` and `start`.
    #[track_caller]
    pub fn started(&self, bundle: &Bundle) -> Container<'_> {
        let container = self.create(bundle);
        container.start().ok();
        container
    }

    /// `create` and `start`, and then the end of its first process; its group stays.
    #[track_caller]
    pub fn stopped(&self, bundle: &Bundle) -> Container<'_> {
        let container = self.started(bundle);
        self.tool("kill", &["-9", &container.pid().to_string()]);
        container.wait_for("stopped");
        container
    }
}

impl Container<'_> {
    /// A command of the runtime with the id as its last argument.
    pub fn command(&self, args: &[&str]) -> Outcome {
        let mut command = self.sandbox.command();
        command.args(args).arg(&self.id);
        self.sandbox.finish(command, None)
    }

    /// `start`.
    pub fn start(&self) -> Outcome {
        self.command(&["start"])
    }

    /// `state`, as JSON.
    #[track_caller]
    pub fn state(&self) -> Value {
        let outcome = self.command(&["state"]).ok();
        let state = serde_json::from_str(&outcome.stdout);
        state.unwrap_or_else(|e| panic!("{}", outcome.describe(&format!("wanted JSON: {e}"))))
    }

    /// `status` of `state`.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"]
            .as_str()
            .expect("a status")
            .to_owned()
    }

    /// `pid` of `state`.
    #[track_caller]
    pub fn pid(&self) -> i64 {
        self.state()["pid"].as_i64().expect("a pid")
    }

    /// The command line of `exec` with these options, up to the program.
    pub fn exec_command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = self.sandbox.command();
        command
            .arg("exec")
            .args(options)
            .arg(&self.id)
            .args(program);
        command
    }

    /// `exec` with these options, attached.
    pub fn exec(&self, options: &[&str], program: &[&str]) -> Outcome {
        self.sandbox
            .finish(self.exec_command(options, program), None)
    }

    /// `exec` of a script of the container's shell.
    pub fn exec_shell(&self, options: &[&str], script: &str) -> Outcome {
        self.exec(options, &["sh", "-c", script])
    }

    /// `exec --process` with a file of this process.
    pub fn exec_file(&self, process: &Value) -> Outcome {
        let path = self.sandbox.dir.join(format!("{}.json", self.sandbox.id()));
        fs::write(&path, process.to_string()).expect("the file");
        self.exec(&["--process", path.to_str().expect("UTF-8")], &[])
    }

    /// `kill` with a signal.
    pub fn kill(&self, signal: &str) -> Outcome {
        let args = ["kill", &self.id, signal];
        self.sandbox.runtime(&args)
    }

    /// `delete`.
    pub fn delete(&self) -> Outcome {
        self.command(&["delete"])
    }

    /// `delete --force`, which must succeed.
    #[track_caller]
    pub fn remove(&self) {
        self.command(&["delete", "--force"]).ok();
    }

    /// Waits until `state` says `status`.
    #[track_caller]
    pub fn wait_for(&self, status: &str) {
        assert!(
            eventually(|| self.status() == status),
            "{} is {}",
            self.id,
            self.status()
        );
    }

    /// The output of the container so far.
    pub fn output(&self) -> String {
        read(&self.stdout)
    }

    /// Waits until the container has printed `text`.
    #[track_caller]
    pub fn wait_output(&self, text: &str) {
        let seen = eventually(|| self.output().contains(text));
        assert!(seen, "wanted {text:?} in {:?}", self.output());
    }

    /// Waits for the end of the program, deletes the container and returns what it printed.
    #[track_caller]
    pub fn finish(&self) -> String {
        self.wait_for("stopped");
        self.delete().ok();
        self.output()
    }
}
