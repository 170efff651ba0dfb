//! The comparison before the exec: what the kernel says of the new process is what the
//! configuration says.

use std::process::Command;

use integration::sandbox;
use serde_json::json;

/// A kernel that says success to one of these calls and does nothing is found out before the
/// program runs.
#[test]
fn a_call_that_only_says_success_is_found_out() {
    sandbox::host(|s| {
        if s.is_control("no other runtime looks") {
            return;
        }
        let mut bundle = s.bundle();
        let sets = ["bounding", "effective", "permitted"];
        bundle
            .capabilities(&sets, &["CAP_CHOWN"])
            .set("/process/noNewPrivileges", json!(true))
            .set(
                "/process/user",
                json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 1002] }),
            )
            .args(&["echo", "it ran"]);
        s.run(&bundle).prints("it ran");
        for (call, found) in [
            ("setresuid", "the user ids"),
            ("setresgid", "the group ids"),
            ("setgroups", "the supplementary groups"),
            ("capset", "the capability sets"),
            ("prctl", "no_new_privs"),
            ("pivot_root", ""),
        ] {
            let mut command = Command::new("strace");
            command
                .args(["--follow-forks", "--output", "/dev/null", "--trace", call])
                .args(["--inject", &format!("{call}:retval=0")])
                .arg(&s.subject.program)
                .arg("--root")
                .arg(&s.state)
                .args(["run", "--bundle"])
                .arg(bundle.write())
                .arg(s.id());
            let outcome = s.finish(command, Some(&bundle)).fails();
            assert!(
                !outcome.stdout.contains("it ran") && outcome.stderr.contains(found),
                "{call}: {}",
                outcome.describe(found)
            );
        }
    });
}
