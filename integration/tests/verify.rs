//! The comparison before the exec: what the kernel says of the new process is what the
//! configuration says.

use std::fs;
use std::process::Command;

use integration::{Bundle, Outcome, Sandbox, sandbox};
use serde_json::json;

/// `run` below a kernel that says success to each such call and does nothing.
fn run_without(s: &Sandbox, call: &str, bundle: &Bundle) -> Outcome {
    let mut command = Command::new("strace");
    command
        .args(["--follow-forks", "--output", "/dev/null", "--trace", call])
        .args(["--inject", &format!("{call}:retval=0")]);
    let outcome = s.run_by(command, bundle).fails();
    let ran = outcome.stdout.contains("it ran");
    assert!(!ran, "{call}: {}", outcome.describe("wanted no program"));
    outcome
}

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
            let outcome = run_without(s, call, &bundle);
            assert!(
                outcome.stderr.contains(found),
                "{call}: {}",
                outcome.describe(found)
            );
        }
    });
}

/// The same for a namespace that init joins.
#[test]
fn a_namespace_that_only_seems_entered_is_found_out() {
    sandbox::host(|s| {
        if s.is_control("no other runtime looks") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .args(&["echo", "it ran"])
            .join("network", "/run/netns/ns1")
            // With a hook init starts among the host's mounts, and so joins nothing else.
            .set("/hooks/createRuntime", json!([{ "path": "/bin/true" }]));
        s.tool("ip", &["netns", "add", "ns1"]);
        s.run(&bundle).prints("it ran");
        let outcome = run_without(s, "setns", &bundle);
        let found = outcome.stderr.contains("is not in the network namespace");
        assert!(found, "{}", outcome.describe("the wrong namespace"));
        s.tool("ip", &["netns", "delete", "ns1"]);
        s.tool("umount", &["/run/netns"]);
        fs::remove_dir("/run/netns").expect("rmdir");
    });
}

/// The same for a filter that is loaded before the container counts as created.
#[test]
fn a_filter_that_only_seems_loaded_is_found_out() {
    sandbox::host(|s| {
        if s.is_control("no other runtime looks") {
            return;
        }
        let rules = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
        let mut bundle = s.bundle();
        bundle
            .args(&["echo", "it ran"])
            .set("/process/noNewPrivileges", json!(false))
            .set("/linux/seccomp", profile);
        s.run(&bundle).prints("it ran");
        let outcome = run_without(s, "seccomp", &bundle);
        assert!(
            outcome.stderr.contains("filter"),
            "{}",
            outcome.describe("filter")
        );
    });
}
