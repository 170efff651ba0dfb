//! docs/errors.md "Phrases of runc": what people search for and engines match is in our sentences.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use integration::group::Group;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

/// The first column of the table.
fn listed() -> BTreeSet<String> {
    let text = include_str!("../../docs/errors.md");
    let (_, section) = text.split_once("## Phrases of runc").expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| \""));
    let phrases = rows.filter_map(|row| Some(row.split_once('"')?.0.to_owned()));
    phrases.collect()
}

/// What was provoked.
struct Said<'s> {
    sandbox: &'s Sandbox,
    phrases: BTreeSet<String>,
}

impl Said<'_> {
    /// Requires that a creation fails and that its last line has the phrases.
    #[track_caller]
    fn of_create(&mut self, phrases: &[&str], change: impl FnOnce(&mut Bundle)) {
        let mut bundle = self.sandbox.bundle();
        change(&mut bundle);
        let outcome = self.sandbox.try_create(&bundle, &self.sandbox.id(), &[]);
        outcome.fails_with(phrases);
        self.add(phrases);
    }

    /// Requires that a command fails in the same way.
    #[track_caller]
    fn of(&mut self, phrase: &str, arguments: &[&str]) {
        self.sandbox.runtime(arguments).fails_with(&[phrase]);
        self.add(&[phrase]);
    }

    fn add(&mut self, phrases: &[&str]) {
        let phrases = phrases.iter().map(|phrase| (*phrase).to_owned());
        self.phrases.extend(phrases);
    }
}

/// Each phrase of the table, and no other.
#[test]
fn every_phrase_of_the_list_is_said() {
    sandbox::host(|s| {
        if s.is_control("the list is of the newest runc") {
            return;
        }
        let mut said = Said {
            sandbox: s,
            phrases: BTreeSet::new(),
        };
        of_the_lifecycle(&mut said);
        of_the_cgroup(&mut said);
        of_the_configuration(&mut said);
        of_the_program(&mut said);
        of_the_terminal(&mut said);
        of_exec(&mut said);
        assert_eq!(said.phrases, listed());
    });
}

fn of_the_lifecycle(said: &mut Said<'_>) {
    let s = said.sandbox;
    said.of("container does not exist", &["state", "nobody"]);
    let phrase = "flag needs an argument";
    said.of(phrase, &["restore", "--lsm-mount-context"]);
    let container = s.started(&s.bundle());
    let again = s.try_create(&s.bundle(), &container.id, &[]);
    again.fails_with(&["container with given ID already exists"]);
    said.add(&["container with given ID already exists"]);
    container.wait_for("stopped");
    said.of("container not running", &["kill", &container.id]);
    let phrase = "Container cannot be checkpointed in stopped state";
    said.of(phrase, &["checkpoint", &container.id]);
    container.remove();
}

fn of_exec(said: &mut Said<'_>) {
    let s = said.sandbox;
    let mut bundle = s.bundle();
    bundle
        .user_namespace(&[(0, 100_000, 65_536)])
        .args(&["sleep", "1000"]);
    let container = s.started(&bundle);
    said.of("exec failed", &["exec", &container.id, "absent"]);
    let phrase = "cannot setuid to unmapped uid";
    said.of(phrase, &["exec", "--user", "70000", &container.id, "true"]);
    for (group, phrase) in [
        ("..", "bad sub cgroup path"),
        ("nothing:/", "unknown controller"),
    ] {
        said.of(phrase, &["exec", "--cgroup", group, &container.id, "true"]);
    }
    container.command(&["pause"]).ok();
    let command = ["exec", &container.id, "true"];
    said.of("cannot exec in a paused container", &command);
    container.command(&["resume"]).ok();
    container.kill("KILL").ok();
    container.wait_for("stopped");
    said.of("cannot exec in a stopped container", &command);
    container.remove();
}

fn of_the_cgroup(said: &mut Said<'_>) {
    let s = said.sandbox;
    let apply = "unable to apply cgroup configuration";
    let mut bundle = s.bundle();
    bundle.in_group(s).args(&["sleep", "1000"]);
    let container = s.started(&bundle);
    said.of_create(&[apply, "container's cgroup is not empty"], |bundle| {
        bundle.in_group(s);
    });
    container.remove();
    let group = Group::of_test(s).path("freezer");
    fs::create_dir(&group).expect("mkdir");
    let (file, frozen, thawed) = match s.is_v2() {
        true => ("cgroup.freeze", "1", "0"),
        false => ("freezer.state", "FROZEN", "THAWED"),
    };
    fs::write(group.join(file), frozen).expect("freeze");
    said.of_create(
        &[apply, "container's cgroup unexpectedly frozen"],
        |bundle| {
            bundle.in_group(s);
        },
    );
    fs::write(group.join(file), thawed).expect("thaw");
    fs::remove_dir(&group).expect("rmdir");
}

fn of_the_configuration(said: &mut Said<'_>) {
    let s = said.sandbox;
    let invalid = ["invalid configuration", "invalid environment variable"];
    said.of_create(&invalid, |bundle| {
        bundle.set("/process/env/-", json!("=x"));
    });
    for (policy, phrase) in [
        (json!({ "nodes": "0" }), "invalid memory policy mode"),
        (
            json!({ "mode": "MPOL_DEFAULT", "nodes": "0-7" }),
            "mode requires 0 nodes but got",
        ),
    ] {
        said.of_create(&[phrase], |bundle| {
            bundle.set("/linux/memoryPolicy", policy);
        });
    }
    let start = "unable to start container process";
    let proc = [start, "must be mounted on ordinary directory"];
    for target in ["mnt", "etc/passwd"] {
        said.of_create(&proc, |bundle| {
            fs::remove_dir(bundle.root().join("proc")).expect("rmdir");
            symlink(target, bundle.root().join("proc")).expect("symlink");
        });
    }
    for (call, phrase) in [
        ("mkdir", "failed to connect with seccomp agent"),
        (
            "write",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
    ] {
        said.of_create(&[phrase], |bundle| {
            bundle.set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "listenerPath": "/run/absent",
                    "syscalls": [{ "names": [call], "action": "SCMP_ACT_NOTIFY" }],
                }),
            );
        });
    }
    said.of_create(&["error running createRuntime hook #1"], |bundle| {
        for path in ["/bin/true", "/bin/false"] {
            bundle.set("/hooks/createRuntime/-", json!({ "path": path }));
        }
    });
    let mut bundle = s.bundle();
    bundle.capabilities(
        &["bounding", "effective", "permitted", "ambient"],
        &["CAP_KILL"],
    );
    let outcome = s.run(&bundle).ok();
    let phrase = "can't raise ambient capability";
    let warned = outcome.stderr.contains(phrase) && outcome.stderr.contains("/ambient");
    assert!(warned, "{}", outcome.describe("a warning"));
    said.add(&[phrase]);
}

fn of_the_program(said: &mut Said<'_>) {
    let cwd = ["set in config.json failed: not a directory"];
    for path in ["/etc/passwd", "/etc/passwd/below"] {
        said.of_create(&cwd, |bundle| {
            bundle.set("/process/cwd", json!(path));
        });
    }
    for (program, phrase) in [
        ("absent", "executable file not found in $PATH"),
        ("/bin/absent", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "is a directory: permission denied"),
    ] {
        said.of_create(&[phrase], |bundle| {
            bundle.args(&[program]);
        });
    }
}

fn of_the_terminal(said: &mut Said<'_>) {
    let s = said.sandbox;
    let alone = "cannot allocate tty if runc will detach without setting console socket";
    said.of_create(&[alone], |bundle| {
        bundle.set("/process/terminal", json!(true));
    });
    let bundle = s.bundle();
    let unwanted = "cannot use console socket if runc will not detach or allocate tty";
    let options = ["--console-socket", "/run/absent"];
    s.try_create(&bundle, &s.id(), &options)
        .fails_with(&[unwanted]);
    said.add(&[unwanted]);
}
