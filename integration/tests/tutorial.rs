//! docs/tutorial.md: every command works, and prints what the page shows.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use integration::bundle::busybox;
use integration::sandbox;

/// A command of the page, and the lines that it prints.
#[derive(Debug, Default)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The steps of the indented blocks: `$` begins a command, `>` continues it, other lines are its
/// output.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                output: Vec::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("a command comes first");
        match line.strip_prefix("> ") {
            Some(more) => step.command += &format!("\n{more}"),
            None => step.output.push(line.trim().to_owned()),
        }
    }
    steps
}

/// The whole page in one shell.
#[test]
fn the_commands_of_the_tutorial_work() {
    sandbox::host(|s| {
        if s.is_control("the tutorial is locule's own") {
            return;
        }
        let steps = steps(include_str!("../../docs/tutorial.md"));
        assert!(steps.len() > 40, "{steps:#?}");
        let bin = s.dir.join("bin");
        fs::create_dir(&bin).expect("bin");
        let (program, state) = (s.subject.program.display(), s.state.display());
        let script = format!("#!/bin/sh\nexec {program} --root {state} \"$@\"\n");
        fs::write(bin.join("locule"), script).expect("script");
        let executable = Permissions::from_mode(0o755);
        fs::set_permissions(bin.join("locule"), executable).expect("chmod");
        symlink(busybox(), bin.join("busybox")).expect("busybox");

        // One shell, since a step may need a variable, a function or the directory of an earlier
        // one.
        let mark = |number: usize| format!("@@@{number}@@@");
        let mut script = "exec 2>&1\n".to_owned();
        for (number, step) in steps.iter().enumerate() {
            script += &format!("echo {}\n{}\n", mark(number), step.command);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.args(["-e", "-o", "pipefail", "-c", &script]);
        command.env("PATH", format!("{}:{path}", bin.display()));
        let outcome = s.finish(command, None).ok();
        for (number, step) in steps.iter().enumerate() {
            let (_, after) = outcome
                .stdout
                .split_once(&mark(number))
                .expect("it has run");
            let printed = after.split("@@@").next().unwrap_or_default();
            let command = &step.command;
            if step.output.is_empty() {
                assert_eq!(printed.trim(), "", "{command}");
            }
            for line in &step.output {
                assert!(
                    printed.contains(line),
                    "{command}: no {line:?} in {printed:?}"
                );
            }
        }
    });
}
