//! Races: several commands work on one id at once, held up at chosen system calls.
//!
//! The specification: "the ID is unique". Whatever the order, in the end there is either nothing or
//! exactly one container, which `state` and `delete` know: no process and no control group is
//! without an entry in the state directory.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use integration::runtime::Running;
use integration::{Bundle, Sandbox, leak, sandbox};

/// `create` with delays below strace; none: without strace.
fn create(s: &Sandbox, bundle: &Bundle, id: &str, delays: &[&str]) -> Running {
    let mut command = Command::new(if delays.is_empty() { "env" } else { "strace" });
    if !delays.is_empty() {
        command.args(["--output", "/dev/null", "--trace", "all"]);
    }
    for delay in delays {
        command.arg("-e").arg(format!("inject={delay}"));
    }
    command
        .arg(&s.subject.program)
        .arg("--root")
        .arg(&s.state)
        .args(["create", "--bundle"])
        .arg(bundle.write())
        .arg(id);
    s.spawn(command, Some(bundle))
}

/// Nothing at all, or one container that can be deleted.
fn require_one_or_none(s: &Sandbox, id: &str, at: &str) {
    let listed = s.state.join(id).exists();
    let groups = leak::cgroups(id);
    if listed {
        let state = s.runtime(&["state", id]).ok();
        assert!(
            state.stdout.contains("\"created\""),
            "{at}: {}",
            state.stdout
        );
        let processes = leak::processes();
        assert_eq!(processes.len(), 1, "{at}: {processes:?}");
    } else {
        assert!(groups.is_empty(), "{at}: {groups:?} has no entry");
        // One that was killed may take a moment to go.
        assert!(
            sandbox::eventually(|| leak::processes().is_empty()),
            "{at}: {:?}",
            leak::processes()
        );
    }
    s.runtime(&["delete", "--force", id]).ok();
    let clean = || leak::processes().is_empty() && leak::cgroups(id).is_empty();
    assert!(
        sandbox::eventually(clean),
        "{at}: {:?} {:?}",
        leak::processes(),
        leak::cgroups(id)
    );
    assert_eq!(fs::read_dir(&s.state).expect("state").count(), 0, "{at}");
}

/// Three creations and two deletions of one id.
fn race(s: &Sandbox, first: &[&str], second: &[&str]) {
    let bundles: Vec<_> = (0..3).map(|_| s.bundle()).collect();
    let id = s.id();
    let at = format!("{first:?} {second:?}");
    let one = create(s, &bundles[0], &id, first);
    sleep(Duration::from_millis(300));
    let _whatever = s.runtime(&["delete", "--force", &id]);
    let two = create(s, &bundles[1], &id, second);
    sleep(Duration::from_millis(300));
    let three = create(s, &bundles[2], &id, &[]);
    let deletion = {
        let mut command = s.command();
        command.args(["delete", &id]);
        s.spawn(command, None)
    };
    for running in [one, two, three, deletion] {
        running.wait();
    }
    require_one_or_none(s, &id, &at);
}

/// A creation whose directory was deleted, and whose name another creation has taken, neither
/// removes that one's entry nor shares it.
#[test]
fn creations_and_deletions_of_one_id_leave_one_container_or_none() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no lock") {
            return;
        }
        // Between the directory and its lock, then before what would be the removal by name.
        let made = "mkdirat:delay_exit=900000:when=1";
        let removal = "unlinkat:delay_enter=900000:when=1";
        let making = "clone3:delay_enter=1500000:when=1";
        race(s, &[made, removal], &[making]);
        race(s, &[made], &[made]);
        race(s, &[made], &[]);
        let lock = "flock:delay_enter=900000:when=1";
        race(s, &[lock], &[making]);
        race(s, &[lock, removal], &[lock]);
    });
}
