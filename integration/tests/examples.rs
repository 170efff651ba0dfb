//! Every example of `--help` and of the README works as it is written.
//!
//! /srv/box is a bundle of the sandbox, and `locule` is the program under test.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use integration::bundle::busybox;
use integration::criu::{ImageMount, write_image};
use integration::{Bundle, Outcome, Sandbox, sandbox};
use serde_json::json;

/// What is there before an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A bundle, and no container.
    Bundle,
    /// A directory without a configuration.
    Directory,
    /// A state directory of the caller's own.
    Root,
    /// The container box1, created.
    Created,
    /// It runs.
    Running,
    /// It runs, and ends after a while: the example would last as long.
    Ending,
    /// It is paused.
    Paused,
    /// An image, and no container.
    Image,
}

/// The examples of the help, and what is there before.
const EXAMPLES: &[(&str, Before)] = &[
    (
        "locule spec --bundle /srv/box; locule run --bundle /srv/box box1",
        Before::Directory,
    ),
    (
        "locule --root /run/mine list; locule --compat crun list",
        Before::Root,
    ),
    (
        "locule create --bundle /srv/box --pid-file /run/box.pid box1",
        Before::Bundle,
    ),
    ("locule start box1", Before::Created),
    ("locule run --bundle /srv/box box1; echo $?", Before::Bundle),
    ("locule exec box1 ps", Before::Running),
    (
        "locule exec --user 1000:1000 --env LANG=C box1 sh -c id",
        Before::Running,
    ),
    (
        "locule exec --process process.json --detach --pid-file /run/p.pid box1",
        Before::Running,
    ),
    ("locule state box1 | jq -r .status", Before::Created),
    (
        "locule kill box1 TERM; locule kill --all box1 9",
        Before::Running,
    ),
    ("locule kill --regex '^box[0-9]+$' HUP", Before::Running),
    ("locule delete --force box1", Before::Running),
    ("locule delete --force --regex '^box'", Before::Running),
    (
        "locule list --format json | jq -r '.[].id'",
        Before::Running,
    ),
    (
        "locule pause box1; locule state box1 | jq -r .status; locule resume box1",
        Before::Running,
    ),
    ("locule resume box1", Before::Paused),
    (
        "locule ps box1 -o pid,user,args; locule ps --format json box1",
        Before::Running,
    ),
    (
        "locule mounts add box1 mounts.json; locule mounts list box1; locule mounts remove box1 mounts.json",
        Before::Running,
    ),
    (
        "locule update --memory 512m --pids-limit 100 box1",
        Before::Running,
    ),
    (
        "echo '{\"cpu\": {\"quota\": 50000}}' | locule update --resources - box1",
        Before::Running,
    ),
    (
        "locule events --stats box1 | jq .data.memory.usage; locule events --interval 1m box1",
        Before::Ending,
    ),
    (
        "locule checkpoint --image-path /run/image box1",
        Before::Running,
    ),
    (
        "locule restore --bundle /srv/box --image-path /run/image --detach box1",
        Before::Image,
    ),
    (
        "locule spec --bundle /srv/box --rootless",
        Before::Directory,
    ),
    ("locule features | jq .linux.namespaces", Before::Bundle),
    ("locule facts | jq .caller.capabilities", Before::Bundle),
    ("locule plan --bundle /srv/box", Before::Bundle),
    (
        "locule facts > host.json; locule plan --bundle /srv/box --facts host.json --format json",
        Before::Bundle,
    ),
    (
        "locule plan --exec --user 1000:1000 --cap NET_ADMIN box1 sh -c id",
        Before::Running,
    ),
    ("locule seccomp lint /srv/box/config.json", Before::Bundle),
    (
        "locule seccomp test seccomp.json socket 16 3 9",
        Before::Bundle,
    ),
    ("locule seccomp compile config.json", Before::Bundle),
    (
        "locule seccomp compile --arch aarch64 --format raw seccomp.json > seccomp.bpf",
        Before::Bundle,
    ),
    (
        "locule seccomp lint seccomp.json && echo no findings",
        Before::Bundle,
    ),
    ("locule seccomp test config.json mkdir", Before::Bundle),
    (
        "locule seccomp test --arch x86 seccomp.json personality 0x20008",
        Before::Bundle,
    ),
    (
        "locule seccomp diff docker.json podman.json",
        Before::Bundle,
    ),
];

/// The examples below `--help` of a command and of those below it.
fn written(s: &Sandbox, words: &[&str], all: &mut BTreeSet<String>) {
    let help = s.runtime(&[words, &["--help"]].concat()).ok().stdout;
    let block = |title: &str| {
        let after = help
            .lines()
            .skip_while(|line| !line.starts_with(title))
            .skip(1);
        let lines = after.take_while(|line| !line.is_empty()).map(str::trim);
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    all.extend(block("Example"));
    for line in block("Commands:") {
        let name = line.split(' ').next().unwrap_or_default();
        // The lines of a long description have no name of a command.
        if name != "help" && !name.is_empty() {
            written(s, &[words, &[name]].concat(), all);
        }
    }
}

/// The files that the examples name, and the program by its name.
fn prepare(s: &Sandbox) -> Bundle {
    let bin = s.dir.join("bin");
    fs::create_dir_all(&bin).expect("bin");
    let program = s.subject.program.display();
    let script = format!(
        "#!/bin/sh\nexec {program} --root {} \"$@\"\n",
        s.state.display()
    );
    // A host without jq sees the document instead of a part of it.
    let jq = "#!/bin/sh\nexec cat\n";
    let has_jq = Command::new("sh")
        .args(["-c", "command -v jq > /dev/null"])
        .status();
    for (name, text) in [("locule", &*script), ("jq", jq)] {
        if name == "jq" && has_jq.as_ref().is_ok_and(|status| status.success()) {
            continue;
        }
        fs::write(bin.join(name), text).expect("script");
        fs::set_permissions(bin.join(name), Permissions::from_mode(0o755)).expect("chmod");
    }
    fs::write(s.dir.join("criu.py"), include_str!("criu.py")).expect("criu");
    let log = s.dir.join("criu-log");
    let criu = format!(
        "#!/bin/sh\nCRIU_LOG={} exec python3 {} \"$@\"\n",
        log.display(),
        s.dir.join("criu.py").display()
    );
    fs::write(bin.join("criu"), criu).expect("script");
    fs::set_permissions(bin.join("criu"), Permissions::from_mode(0o755)).expect("chmod");
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["add_key"], "action": "SCMP_ACT_ERRNO"}],
    });
    for name in ["seccomp.json", "docker.json", "podman.json"] {
        fs::write(s.dir.join(name), filter.to_string()).expect("filter");
    }
    let process = json!({"cwd": "/", "args": ["true"], "env": ["PATH=/bin"]});
    fs::write(s.dir.join("process.json"), process.to_string()).expect("process.json");
    let mounts = json!([{ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" }]);
    fs::write(s.dir.join("mounts.json"), mounts.to_string()).expect("mounts.json");
    let mut bundle = s.bundle();
    bundle.set("/linux/seccomp", filter);
    fs::write(s.dir.join("config.json"), bundle.config.to_string()).expect("config.json");
    bundle
}

/// Runs `script` in the directory of the sandbox, whose /run is its own.
fn shell(s: &Sandbox, bundle: &Path, script: &str) -> Outcome {
    let dir = s.dir.display();
    let script = script.replace("/srv/box", &bundle.display().to_string());
    let mut command = Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", &script]);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{dir}/bin:{path}"))
        .current_dir(&s.dir);
    s.finish(command, None)
}

#[test]
fn every_example_of_the_help_works() {
    sandbox::host(|s| {
        if s.is_control("the help is locule's own") {
            return;
        }
        let mut found = BTreeSet::new();
        written(s, &[], &mut found);
        let known: BTreeSet<_> = EXAMPLES.iter().map(|row| row.0.to_owned()).collect();
        assert_eq!(
            found, known,
            "a row for every example, an example for every row"
        );
        let mut bundle = prepare(s);
        for (example, before) in EXAMPLES {
            let program: &[&str] = match example.contains(" run ") {
                true => &["true"],
                false => &["sleep", "1000"],
            };
            bundle.args(program);
            bundle.write();
            let before = match before {
                Before::Bundle => "true",
                // The template is a shell at a terminal: this is typed into it.
                Before::Directory => "rm /srv/box/config.json; exec <<< exit",
                Before::Root => "mkdir /run/mine",
                Before::Created => "locule create --bundle /srv/box box1",
                Before::Running => "locule run --detach --bundle /srv/box box1",
                Before::Ending => {
                    "locule run --detach --bundle /srv/box box1; (sleep 2; locule kill box1 KILL) &"
                }
                Before::Image => {
                    write_image(Path::new("/run/image"), &[ImageMount::ROOT]);
                    "true"
                }
                Before::Paused => "locule run --detach --bundle /srv/box box1; locule pause box1",
            };
            shell(s, &bundle.path, &format!("{before}\n{example}")).ok();
            shell(s, &bundle.path, "locule delete --force box1");
        }
        shell(
            s,
            &bundle.path,
            "rm -r /run/mine /run/box.pid /run/p.pid /run/image",
        )
        .ok();
    });
}

/// The commands of the README's first container, from the directory on: the lines before build the
/// program.
#[test]
fn the_first_container_of_the_readme_works() {
    sandbox::host(|s| {
        if s.is_control("the README is locule's own") {
            return;
        }
        let readme = include_str!("../../README.md");
        let section = readme
            .split("\n## ")
            .find(|text| text.starts_with("A first container"));
        let lines = section.expect("the section").lines();
        let commands = lines.filter_map(|line| line.strip_prefix("    "));
        let commands: Vec<_> = commands
            .skip_while(|line| !line.starts_with("mkdir"))
            .collect();
        assert!(commands.len() >= 9, "{commands:?}");
        let bundle = prepare(s);
        let script = commands.join("\n");
        let script = script.replace("/bin/busybox", &busybox().display().to_string());
        let outcome = shell(s, &bundle.path, &script).ok();
        assert!(
            outcome.stdout.contains("\"id\": \"first\""),
            "{}",
            outcome.stdout
        );
        assert!(outcome.stdout.contains("running"), "{}", outcome.stdout);
    });
}
