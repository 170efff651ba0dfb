//! The commands on simple containers: each is one process of the test, without a cgroup or a
//! namespace.

use super::*;
use crate::args::{Command as Parsed, Invocation, Rootless};
use crate::exit::ExitCode;
use crate::process::Process;
use crate::state::{ContainerId, Lock, Record};
use crate::testing::{self, Directory};
use launch::START_SOCKET;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A state directory of the test's own.
#[derive(Debug)]
struct Stage {
    directory: Directory,
    env: Env,
}

impl Stage {
    fn new() -> Self {
        let directory = Directory::new();
        let env = Env {
            face: crate::face::own(),
            root: Some(directory.path().join("root")),
            cgroup_manager: cgroup::Manager::Disabled,
            rootless: false,
            rootless_option: Rootless::False,
            preserved: Default::default(),
        };
        env.store(Access::Make).unwrap();
        Self { directory, env }
    }

    fn run(&self, line: &str) -> Result<ExitCode, Error> {
        let words = line.split_ascii_whitespace().map(OsString::from);
        let Ok(Invocation::Command(_, command)) = crate::args::parse(words) else {
            panic!("{line}");
        };
        match command {
            Parsed::State(args) => state::run(&args, &self.env),
            Parsed::Kill(args) => kill::run(&args, &self.env),
            Parsed::Delete(args) => delete::run(&args, &self.env),
            Parsed::List(args) => list::run(&args, &self.env),
            Parsed::Pause(args) => pause::run(&args, &self.env),
            Parsed::Update(args) => update::run(&args, &self.env),
            Parsed::Events(args) => events::run(&args, &self.env),
            Parsed::Ps(args) => ps::run(&args, &self.env),
            Parsed::Resume(args) => resume::run(&args, &self.env),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, line: &str) -> String {
        self.run(line).unwrap_err().chain()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("root/box").join(name)
    }

    /// A container "box" whose first process is a new child.
    fn running(&self) -> (Child, Record) {
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let record = testing::record_of(i32::try_from(child.id()).unwrap());
        let reservation = self.env.store(Access::Make).unwrap();
        let reservation = reservation
            .reserve(&ContainerId::new("box").unwrap())
            .unwrap();
        reservation.journal(&testing::record("box")).unwrap();
        reservation.save(&record).unwrap();
        (child, record)
    }

    fn created(&self) -> (Child, Record) {
        let running = self.running();
        mkfifo(&self.file(START_SOCKET), Mode::S_IRWXU).unwrap();
        running
    }

    fn stopped(&self) {
        let (mut child, _) = self.running();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_running_container_is_killed_but_not_deleted() {
    let stage = Stage::new();
    let (mut child, record) = stage.running();
    stage.run("state box").unwrap();
    assert_eq!(
        stage.refusal("delete box"),
        "cannot delete container box that is not stopped: running"
    );
    stage.run("kill box 0").unwrap();
    assert!(Process::of(&record).unwrap().is_some());
    stage.run("kill box").unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert_eq!(
        stage.refusal("kill box 9"),
        "container not running: box has stopped"
    );
    stage.run("kill --all box 9").unwrap();
    stage.run("delete box").unwrap();
    assert_eq!(stage.refusal("delete box"), "container does not exist: box");
    assert_eq!(stage.refusal("state box"), "container does not exist: box");
    assert_eq!(stage.refusal("kill box"), "container does not exist: box");
    stage.run("delete --force box").unwrap();
}

#[test]
fn force_kills_a_running_container_and_takes_its_entry() {
    let stage = Stage::new();
    let (mut child, _) = stage.running();
    stage.run("delete --force box").unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!stage.file("").exists());
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let stage = Stage::new();
    let (mut child, _) = stage.created();
    stage.run("delete box").unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!stage.file("").exists());
}

#[test]
fn without_a_cgroup_nothing_can_be_paused_and_what_has_stopped_has_nothing_to_pause() {
    let stage = Stage::new();
    let (mut child, _) = stage.running();
    assert_eq!(
        stage.refusal("pause box"),
        "cannot pause container box: it has no cgroup of its own"
    );
    assert_eq!(
        stage.refusal("resume box"),
        "container not paused: box is running"
    );
    assert_eq!(
        stage.refusal("ps box"),
        "cannot list the processes of container box: it has no cgroup of its own"
    );
    assert_eq!(
        stage.refusal("events --stats box"),
        "cannot watch container box: it has no cgroup of its own"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        stage.refusal("pause box"),
        "container not running: box has stopped"
    );
    assert_eq!(
        stage.refusal("events box"),
        "container not running: box has stopped"
    );
    assert_eq!(
        stage.refusal("update --memory 1g box"),
        "container not running: box has stopped"
    );
    assert_eq!(
        stage.refusal("resume box"),
        "container not paused: box is stopped"
    );
    assert_eq!(
        stage.refusal("pause nobody"),
        "container does not exist: nobody"
    );
}

#[test]
fn an_update_is_refused_where_there_is_nothing_to_write_to() {
    let stage = Stage::new();
    let (mut child, record) = stage.running();
    fs::write(
        stage.file("config.json"),
        r#"{"ociVersion":"1.2.0","root":{"path":"r"},"linux":{}}"#,
    )
    .unwrap();
    let lines = [
        (
            "update box",
            "cannot update container box: it has no cgroup",
        ),
        ("update --memory 1x box", "--memory \"1x\": expected bytes"),
        (
            "update --l3-cache-schema L3:0=f box",
            "--l3-cache-schema: the container was made without linux.intelRdt",
        ),
        (
            "update --resources /nowhere --mem-bw-schema MB:0=50 box",
            "--mem-bw-schema: the container was made without linux.intelRdt",
        ),
        ("update -r /nowhere box", "open \"/nowhere\": no such file"),
    ];
    for (line, told) in lines {
        let refusal = stage.refusal(line);
        assert!(refusal.starts_with(told), "{refusal}");
    }
    let entry = stage.env.store(Access::Look).unwrap();
    let entry = entry.container(&ContainerId::new("box").unwrap(), Lock::None);
    assert_eq!(entry.unwrap().record().unwrap(), record);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_zombie_counts_as_stopped() {
    let stage = Stage::new();
    let (mut child, record) = stage.running();
    let process = Process::of(&record).unwrap().unwrap();
    stage.run("kill box KILL").unwrap();
    assert!(process.has_ended(Duration::from_secs(10)));
    stage.run("delete box").unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_that_has_the_pid_by_chance_is_left_alone() {
    let stage = Stage::new();
    let (mut child, mut record) = stage.running();
    record.start_time = record.start_time.map(|time| time - 1);
    let store = stage.env.store(Access::Look).unwrap();
    let id = ContainerId::new("box").unwrap();
    store
        .container(&id, Lock::Exclusive)
        .unwrap()
        .save(&record)
        .unwrap();
    assert_eq!(
        stage.refusal("kill box 9"),
        "container not running: box has stopped"
    );
    stage.run("delete --force box").unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_damaged_record_is_told_and_force_cleans_up() {
    for damage in ["truncated", "fifo", "gone", "both", "empty"] {
        let stage = Stage::new();
        stage.stopped();
        let state_file = stage.file("state.json");
        let bytes = fs::read(&state_file).unwrap();
        fs::remove_file(&state_file).unwrap();
        match damage {
            "truncated" => fs::write(&state_file, &bytes[..bytes.len() / 2]).unwrap(),
            "fifo" => mkfifo(&state_file, Mode::S_IRWXU).unwrap(),
            "both" => fs::write(stage.file("journal.json"), "{}").unwrap(),
            "empty" => fs::remove_file(stage.file("journal.json")).unwrap(),
            _ => {}
        }
        // Without the record the journal is used, if it is not damaged.
        if damage != "gone" {
            let told = stage.refusal("delete box");
            assert!(
                told.contains("`locule delete --force box`"),
                "{damage}: {told}"
            );
            stage.refusal("state box");
            stage.refusal("kill box");
        }
        stage.run("list").unwrap();
        stage.run("list --format json").unwrap();
        stage.run("delete --force box").unwrap();
        assert!(!stage.file("").exists(), "{damage}");
    }
}

#[test]
fn a_container_in_the_making_is_shown_but_not_touched() {
    let stage = Stage::new();
    let store = stage.env.store(Access::Make).unwrap();
    let id = ContainerId::new("box").unwrap();
    let reservation = store.reserve(&id).unwrap();
    let mut record = testing::record("box");
    reservation.journal(&record).unwrap();
    let entry = store.container(&id, Lock::None).unwrap();
    let status = crate::status::observe(&entry, &mut record).unwrap().status;
    assert_eq!(status.as_str(), "creating");
    assert!(
        stage
            .refusal("kill box")
            .starts_with("container not running: box is still being created")
    );
    // The process that was creating it has ended, so it stays incomplete.
    drop(reservation);
    let status = crate::status::observe(&entry, &mut record).unwrap().status;
    assert_eq!(status.as_str(), "stopped");
    stage.run("delete box").unwrap();
}

#[test]
fn a_root_that_was_named_must_exist_to_be_listed() {
    let stage = Stage::new();
    stage.run("list").unwrap();
    fs::remove_dir(stage.directory.path().join("root")).unwrap();
    let told = stage.refusal("list");
    assert!(told.ends_with("root\" does not exist"), "{told}");
    assert!(
        stage
            .refusal("state x")
            .starts_with("container does not exist")
    );
    stage.run("delete --force x").unwrap();
}

#[test]
fn ids_and_signals_are_checked_before_anything_is_looked_at() {
    let stage = Stage::new();
    for line in ["state ../x", "kill a/b", "delete --force .."] {
        assert!(
            stage.refusal(line).starts_with("invalid container id"),
            "{line}"
        );
    }
    assert!(
        stage
            .refusal("kill nobody SIGFOO")
            .starts_with("unknown signal \"SIGFOO\"")
    );
}

#[test]
fn a_face_adds_the_annotations_that_are_missing() {
    const SUB_GROUP: &str = "run.oci.systemd.subgroup";
    let annotated = |name: &str, config: &str| {
        let mut env = Stage::new().env;
        env.face = crate::face::named(name).unwrap();
        let bundle = Path::new("/b");
        let loaded = spec::load::parse(config.as_bytes(), bundle, Host::Ignore).unwrap();
        let mut container = loaded.container;
        env.annotate(&mut container);
        container.annotations.get(SUB_GROUP).cloned()
    };
    let plain = r#"{"ociVersion":"1.0.2","root":{"path":"r"}}"#;
    let given = r#"{"ociVersion":"1.0.2","root":{"path":"r"},"annotations":{"run.oci.systemd.subgroup":""}}"#;
    assert_eq!(annotated("locule", plain), None);
    assert_eq!(annotated("crun", plain), Some("container".to_owned()));
    assert_eq!(annotated("crun", given), Some(String::new()));
}
