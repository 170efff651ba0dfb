//! `exec`: when a container takes commands, and how commands end. What dies, waits or is cancelled
//! leaves nothing.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use integration::runtime::{Running, children};
use integration::{leak, sandbox};

/// A container that is created and not started takes commands; one that is stopped, or is not
/// there, does not.
#[test]
fn the_status_decides() {
    sandbox::host(|s| {
        let container = s.create(&s.bundle_that_waits());
        container.exec(&[], &["echo", "early"]).prints("early");
        assert_eq!(container.status(), "created");
        container.start().ok();
        container.exec(&[], &["echo", "late"]).prints("late");
        container.kill("KILL").ok();
        container.wait_for("stopped");
        container
            .exec(&[], &["true"])
            .exits(255)
            .fails_with(&["exec failed: ", "cannot exec in a stopped container"]);
        container.delete().ok();
        container
            .exec(&[], &["true"])
            .exits(255)
            .fails_with(&["exec failed: ", "does not exist"]);
    });
}

/// A paused container takes no command; with `--ignore-paused` the command waits for `resume`, and
/// a deletion ends it.
#[test]
fn a_paused_container_takes_no_command_unless_asked() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        container.command(&["pause"]).ok();
        container
            .exec(&[], &["true"])
            .exits(255)
            .fails_with(&["cannot exec in a paused container (use --ignore-paused to override)"]);
        let wait = || {
            s.spawn(
                container.exec_command(&["--ignore-paused"], &["echo", "thawed"]),
                None,
            )
        };
        let running = wait();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(running.stdout(), "");
        container.command(&["resume"]).ok();
        running.wait().prints("thawed");
        container.command(&["pause"]).ok();
        let running = wait();
        thread::sleep(Duration::from_millis(100));
        container.remove();
        running.wait().exits(255).fails_with(&["exec failed: "]);
    });
}

/// A command that waits for `resume` ends when it is cancelled, although its process is frozen:
/// with cgroup v1 a killed process ends only after the thaw.
#[test]
fn a_command_that_waits_for_resume_can_be_cancelled() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        container.command(&["pause"]).ok();
        let mut running = s.spawn(
            container.exec_command(&["--ignore-paused"], &["true"]),
            None,
        );
        // The runtime takes signals before it makes its process.
        assert!(sandbox::eventually(|| !children(running.pid()).is_empty()));
        assert!(!running.is_over());
        let sent = Command::new("kill").arg(running.pid().to_string()).status();
        assert!(sent.expect("kill").success());
        assert!(sandbox::eventually(|| running.is_over()));
        running
            .wait()
            .exits(255)
            .fails_with(&["interrupted by signal 15"]);
        container.command(&["resume"]).ok();
        container.remove();
    });
}

/// The process that makes the further one in the container's PID namespace may be stopped or frozen
/// before it ends: a signal to the command still cancels it.
#[test]
fn a_command_whose_relay_does_not_end_can_be_cancelled() {
    sandbox::host(|s| {
        if s.is_control("how locule enters a PID namespace") {
            return;
        }
        let container = s.started(&s.bundle_that_waits());
        let log = s.dir.join("exec.log");
        let mut command = Command::new("strace");
        command.args([
            "--follow-forks",
            "--output",
            "/dev/null",
            "--trace=exit_group",
        ]);
        command.arg("--inject=exit_group:delay_enter=60000000");
        command.arg(&s.subject.program).arg("--log").arg(&log);
        command.args(container.exec_command(&[], &["true"]).get_args());
        let running = s.spawn(command, None);
        let runtime = || children(running.pid()).first().copied();
        assert!(sandbox::eventually(
            || runtime().is_some_and(|pid| children(pid).len() > 1)
        ));
        thread::sleep(Duration::from_millis(100));
        let send = |name: &str, pid: u32| {
            let sent = Command::new("kill").args([name, &pid.to_string()]).status();
            assert!(sent.expect("kill").success());
        };
        send("-TERM", runtime().expect("the runtime"));
        let told =
            || fs::read_to_string(&log).is_ok_and(|log| log.contains("interrupted by signal 15"));
        assert!(sandbox::eventually(told));
        // Its own end is delayed too.
        send("-KILL", running.pid());
        running.wait();
        container.remove();
    });
}

/// A container that dies while commands come in: each of them ends, with an error or with the
/// signal.
#[test]
fn a_container_that_dies_meanwhile_is_an_error_and_never_a_hang() {
    sandbox::host(|s| {
        for round in 0..10 {
            let container = s.started(&s.bundle_that_waits());
            let start = Instant::now();
            let commands: Vec<_> = (0..6)
                .map(|_| s.spawn(container.exec_command(&[], &["sleep", "900"]), None))
                .collect();
            thread::sleep(Duration::from_millis(round * 2));
            container.kill("KILL").ok();
            for command in commands {
                let outcome = command.wait();
                let code = outcome.status.code();
                assert!(
                    matches!(code, Some(137 | 255)),
                    "{}",
                    outcome.describe("a death")
                );
                if code == Some(255) {
                    let outcome = outcome.fails_with(&["exec failed: "]);
                    let text = outcome.last_line();
                    let says = ["stopped", "not running", "killed"];
                    assert!(says.iter().any(|word| text.contains(word)), "{text}");
                }
            }
            assert!(start.elapsed() < Duration::from_secs(60));
            container.wait_for("stopped");
            container.delete().ok();
        }
    });
}

/// A command that cannot wait for its process any longer kills it: the caller takes the end of the
/// command for that of the process.
#[test]
fn a_command_that_cannot_wait_kills_its_process() {
    sandbox::host(|s| {
        if s.is_control("how locule ends its own") {
            return;
        }
        // Its next wait fails. SIGURG is no signal for the process, and ends the present wait.
        let fails = |mut running: Running| {
            let pid = running.pid().to_string();
            let mut strace = Command::new("strace");
            let inject = "inject=poll:error=ENOMEM:when=1";
            strace.args(["-e", inject, "-o", "/dev/null", "-p", &pid]);
            let strace = s.spawn(strace, None);
            let is_over = || {
                s.tool("kill", &["-URG", &pid]);
                running.is_over()
            };
            assert!(sandbox::eventually(is_over));
            let outcome = running
                .wait()
                .fails_with(&["wait for", "cannot allocate memory"]);
            strace.wait();
            outcome
        };
        let container = s.started(&s.bundle_that_waits());
        let before = leak::processes();
        let command = container.exec_command(&[], &["sh", "-c", "echo on; sleep 900"]);
        let running = s.spawn(command, None);
        assert!(sandbox::eventually(|| running.stdout() == "on\n"));
        fails(running).exits(255);
        assert!(sandbox::eventually(|| leak::processes() == before));
        container.remove();

        let mut bundle = s.bundle();
        bundle.shell("echo on; sleep 900");
        let mut run = s.command();
        run.args(["run", "--bundle"])
            .arg(bundle.write())
            .arg(s.id());
        let running = s.spawn(run, Some(&bundle));
        assert!(sandbox::eventually(|| running.stdout() == "on\n"));
        fails(running).exits(1);
        assert_eq!(s.runtime(&["list", "-q"]).ok().stdout, "");
    });
}

/// A hundred commands at once: all answers arrive, and no zombie and no descriptor is left.
#[test]
fn a_hundred_commands_at_once_leave_nothing() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let pid = container.pid();
        let count = || fs::read_dir(format!("/proc/{pid}/fd")).expect("fd").count();
        let before = (count(), leak::processes());
        let commands: Vec<_> = (0..100)
            .map(|number| {
                let word = number.to_string();
                s.spawn(container.exec_command(&[], &["echo", &word]), None)
            })
            .collect();
        for (number, command) in commands.into_iter().enumerate() {
            command.wait().prints(&number.to_string());
        }
        assert_eq!((count(), leak::processes()), before);
        let listed = container.command(&["ps"]).ok();
        assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
        container.remove();
    });
}
