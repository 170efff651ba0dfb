//! The program as others see it: streams, exit statuses, the file that it runs from.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, reason = "a failed arrangement is a failed test")]

use nix::sys::statvfs::{FsFlags, fstatvfs};
use std::env;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_locule");

fn locule(line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(line.split_ascii_whitespace());
    command
}

fn error_of(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A directory that every user can enter, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("locule-program-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn exit_statuses_tell_kinds_of_misuse_apart() {
    for (line, status) in [
        ("", 0),
        ("--help", 0),
        ("--version", 0),
        ("create --help", 0),
        ("start", 1),
        ("list --frob", 1),
        ("init x", 1),
        ("frobnicate", 3),
    ] {
        let output = locule(line).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}");
        assert_eq!(output.stdout.is_empty(), status != 0, "{line}");
        assert_eq!(output.stderr.is_empty(), status == 0, "{line}");
    }
}

#[test]
fn the_version_has_the_lines_that_engines_parse() {
    let output = locule("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("locule version "), "{text}");
    assert!(lines[1].starts_with("commit: "), "{text}");
    assert_eq!(lines[2], "spec: 1.3.0");
}

#[test]
fn an_error_is_one_line_on_stderr_and_one_object_in_the_log() {
    let directory = Directory::new();
    let log = directory.join("log.json");
    for id in ["one", "two"] {
        let line = format!("--log {} --log-format json state {id}", log.display());
        let output = locule(&line).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = format!("locule: error: container does not exist: {id}\n");
        assert_eq!(error_of(&output), told);
    }
    let text = fs::read_to_string(&log).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(last["level"], "error");
    assert_eq!(last["msg"], "container does not exist: two");
    assert_eq!(last["code"], "not-found");
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o7133, 0);
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = locule("--help").stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn closed_standard_streams_are_no_crash() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec \"$0\" --root /nonexistent/x state x {closed}");
        let status = Command::new("sh")
            .args(["-c", &script, PROGRAM])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1), "{closed}");
    }
}

#[test]
fn a_reader_that_sleeps_delays_the_end_but_not_for_ever() {
    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    let started = Instant::now();
    let status = locule("state nobody").stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(20));
    drop(reader);
}

/// Makes the next write wait.
fn fill(pipe: &PipeWriter) {
    let own = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut pipe = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(own)
        .unwrap();
    while pipe.write(&[0; 4096]).is_ok() {}
}

const CREATE: &str = "--debug create --bundle /nonexistent --pid-file /nonexistent/p box";

/// CVE-2019-5736: a process that holds /proc/PID/exe of the runtime waits until the runtime has
/// ended, and writes then.
#[test]
fn the_file_that_create_runs_from_cannot_be_written_even_after_its_end() {
    let directory = Directory::new();
    let program = directory.join("locule");
    fs::copy(PROGRAM, &program).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    fill(&writer);
    // It waits a second to tell that it runs from a clone: time to take its file.
    let mut child = Command::new(&program)
        .arg("--root")
        .arg(directory.join("root"))
        .args(CREATE.split(' '))
        .stderr(writer)
        .spawn()
        .unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    let deadline = Instant::now() + Duration::from_secs(10);
    let held = loop {
        let held = File::open(&exe).unwrap();
        let flags = fstatvfs(&held).unwrap().flags();
        if flags.contains(FsFlags::ST_RDONLY) || Instant::now() > deadline {
            break held;
        }
    };
    drop(reader);
    child.wait().unwrap();
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    let error = OpenOptions::new().write(true).open(again).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem, "{error}");
    // The installed file itself is as writable as before.
    OpenOptions::new().write(true).open(&program).unwrap();
}

/// What a copy of the program, owned by `owner`, says it runs from when `setpriv` has been at it.
fn origin(owner: u32, setpriv: &[&str]) -> String {
    let directory = Directory::new();
    let program = directory.join("locule");
    fs::copy(PROGRAM, &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    chown(&program, Some(owner), None).unwrap();
    let output = Command::new("setpriv")
        .args(setpriv)
        .arg(&program)
        .arg("--root")
        .arg(directory.join("root"))
        .args(CREATE.split(' '))
        .output()
        .unwrap();
    let text = error_of(&output);
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once("runs from ")
        .unwrap_or(("", text))
        .1
        .to_owned()
}

#[test]
fn what_create_runs_from_follows_from_its_rights() {
    const USER: [&str; 3] = ["--reuid=65533", "--regid=65533", "--clear-groups"];
    assert_eq!(origin(0, &["--nnp"]), "a read-only clone");
    let without = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    assert_eq!(origin(0, &without), "a sealed copy in memory");
    assert_eq!(origin(65_533, &USER), "a sealed copy in memory");
    assert_eq!(
        origin(0, &USER),
        "a file that the container's ids cannot write"
    );
}

#[test]
fn a_program_that_is_mounted_over_another_runs_itself_again() {
    let directory = Directory::new();
    let below = directory.join("below");
    let above = directory.join("above");
    fs::copy("/bin/false", &below).unwrap();
    fs::copy(PROGRAM, &above).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" \"$1\" && exec \"$1\" --root \"$2\" --debug create --bundle /nonexistent x")
        .args([&above, &below, &directory.join("root")])
        .output()
        .unwrap();
    let told = error_of(&output);
    assert!(
        told.starts_with("locule: debug: this process runs from a read-only clone\n"),
        "{told}"
    );
}

#[test]
fn spec_writes_a_configuration_once() {
    let directory = Directory::new();
    let line = format!("spec --bundle {}", directory.0.display());
    assert!(locule(&line).status().unwrap().success());
    let text = fs::read_to_string(directory.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"][0], "sh");
    let output = locule(&line).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error_of(&output).contains("exists"),
        "{}",
        error_of(&output)
    );
    let again = fs::read_to_string(directory.join("config.json")).unwrap();
    assert_eq!(again, text);

    let rootless = Directory::new();
    let line = format!("spec --rootless -b {}", rootless.0.display());
    assert!(locule(&line).status().unwrap().success());
    let text = fs::read_to_string(rootless.join("config.json")).unwrap();
    assert!(text.contains("uidMappings"), "{text}");
}

#[test]
fn features_need_nothing_and_answer_in_json() {
    let output = locule("--root /nonexistent/x features")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
    let features: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
}
