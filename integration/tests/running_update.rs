//! What `update` promises for the limits of a container that exists: config-linux.md "Control
//! groups", changed later.

use std::fs::{self, File};

use integration::{Container, Group, Limit, Sandbox, sandbox};
use serde_json::json;

/// A container with limits to change.
fn limited(s: &Sandbox) -> Container<'_> {
    let mut bundle = s.bundle();
    bundle
        .set("/linux/resources/memory/limit", json!(64 << 20))
        .set(
            "/linux/resources/cpu",
            json!({ "quota": 50_000, "period": 200_000, "shares": 512 }),
        )
        .set("/linux/resources/pids/limit", json!(50))
        .args(&["sleep", "1000"]);
    s.started(&bundle)
}

/// Each option changes its limit and no other; the quota is counted in the period of the
/// configuration, and the next update starts from the last.
#[test]
fn update_changes_what_is_given_and_nothing_else() {
    sandbox::host(|s| {
        if s.lacks(&["memory", "cpu", "pids"]) {
            return;
        }
        let container = limited(s);
        let group = Group::of(s, &container);
        let limit = |limit| group.limit(limit);
        container
            .command(&["update", "--pids-limit", "20", "--memory", "96m"])
            .prints("");
        assert_eq!(limit(Limit::Pids), "20");
        assert_eq!(limit(Limit::Memory), (96 << 20).to_string());
        assert_eq!(limit(Limit::Quota), "50000");

        container.command(&["update", "--cpu-quota", "40000"]).ok();
        assert_eq!(limit(Limit::Quota), "40000");
        assert_eq!(limit(Limit::Period), "200000");
        assert_eq!(limit(Limit::Shares), "512");
        container
            .command(&["update", "--cpu-period", "100000"])
            .ok();
        assert_eq!(limit(Limit::Quota), "40000");
        assert_eq!(limit(Limit::Period), "100000");

        container
            .command(&["update", "--pids-limit", "-1", "--memory=-1"])
            .ok();
        assert_eq!(limit(Limit::Pids), "max");
        assert_eq!(limit(Limit::Memory), "max");
        container.remove();
    });
}

/// An idle group takes no shares: they are not written along, and come back with the end of
/// idleness.
#[test]
fn idleness_does_not_touch_the_shares() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no --cpu-idle") {
            return;
        }
        if s.lacks(&["memory", "cpu", "pids"]) {
            return;
        }
        let container = limited(s);
        let group = Group::of(s, &container);
        let limit = |limit| group.limit(limit);
        container.command(&["update", "--cpu-idle", "1"]).ok();
        assert_eq!(limit(Limit::Idle), "1");
        container.command(&["update", "--cpu-quota", "30000"]).ok();
        assert_eq!(limit(Limit::Quota), "30000");
        container.command(&["update", "--cpu-idle", "0"]).ok();
        assert_eq!(limit(Limit::Idle), "0");
        assert_eq!(limit(Limit::Shares), "512");
        container.remove();
    });
}

/// What engines send: zeros for what stays, and a rule that would take every device away.
#[test]
fn a_document_with_zeros_and_a_deny_rule_changes_what_it_means() {
    sandbox::host(|s| {
        if s.lacks(&["memory", "cpu", "pids"]) {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/resources/memory/limit", json!(64 << 20))
            .set("/linux/resources/cpu/shares", json!(512))
            .shell("echo ready; while sleep 0.01; do echo x > /dev/null && echo kept; done");
        let container = s.started(&bundle);
        container.wait_output("ready");
        let group = Group::of(s, &container);
        let limit = |limit| group.limit(limit);
        let document = json!({
            "devices": [{ "allow": false, "access": "rwm" }],
            "memory": { "limit": 0, "reservation": 0, "kernel": 0 },
            "cpu": { "shares": 0, "quota": 70_000, "period": 100_000 },
            "blockIO": { "weight": 0 },
        });
        let file = s.dir.join("update.json");
        fs::write(&file, document.to_string()).expect("write");
        let path = file.to_str().expect("a path");
        // The other options do not count beside a document.
        container
            .command(&["update", "-r", path, "--pids-limit", "3"])
            .prints("");
        assert_eq!(limit(Limit::Quota), "70000");
        assert_eq!(limit(Limit::Shares), "512");
        assert_eq!(limit(Limit::Pids), "max");
        assert_eq!(limit(Limit::Memory), (64 << 20).to_string());
        let before = container.output().len();
        assert!(sandbox::eventually(
            || container.output()[before..].contains("kept")
        ));

        let mut command = s.command();
        command.args(["update", "--resources", "-", &container.id]);
        fs::write(&file, r#"{"pids":{"limit":33}}"#).expect("write");
        command.stdin(File::open(&file).expect("open"));
        let output = command.output().expect("update");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(limit(Limit::Pids), "33");
        container.remove();
    });
}

/// A limit that the kernel refuses takes back those that were set before it, and is not remembered.
#[test]
fn a_refused_limit_changes_nothing() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 keeps what it has set before the refusal") {
            return;
        }
        if s.lacks(&["memory", "cpu", "pids"]) {
            return;
        }
        let container = limited(s);
        let group = Group::of(s, &container);
        let limit = |limit| group.limit(limit);
        let limits = || {
            [
                limit(Limit::Memory),
                limit(Limit::Quota),
                limit(Limit::Period),
                limit(Limit::Pids),
            ]
        };
        let before = limits();
        for (options, word) in [
            (
                &["--memory", "128m", "--pids-limit", "5", "--cpu-period", "1"][..],
                "period",
            ),
            // v1 refuses a limit below what is in use; v2 takes it and makes room, or kills.
            (
                &[
                    "--pids-limit",
                    "5",
                    "--cpu-quota",
                    "20000",
                    "--memory",
                    if s.is_v2() { "96m" } else { "4k" },
                    "--cpu-burst",
                    if s.is_v2() { "30000" } else { "0" },
                ],
                if s.is_v2() { "burst" } else { "memory" },
            ),
            (
                &["--pids-limit", "9999999999999999", "--memory", "128m"],
                "pids",
            ),
            (&["--pids-limit", "5", "--memory", "128q"], "--memory"),
            (&["--pids-limit", "5", "--cpu-idle", "2"], "--cpu-idle"),
            (
                &[
                    "--pids-limit",
                    "5",
                    "--memory",
                    "64m",
                    "--memory-swap",
                    "32m",
                ],
                "swap",
            ),
            (
                &["--pids-limit", "5", "--l3-cache-schema", "L3:0=f"],
                "intelRdt",
            ),
        ] {
            let mut args = vec!["update"];
            args.extend(options);
            container.command(&args).fails_with(&[word]);
            assert_eq!(limits(), before, "{options:?}");
        }
        // The stored limits are as before too: a quota alone goes with the period of the
        // configuration.
        container.command(&["update", "--cpu-quota", "60000"]).ok();
        assert_eq!(limit(Limit::Period), "200000");
        container.remove();
    });
}

/// "container not running" is what engines look for.
#[test]
fn what_has_stopped_is_not_updated() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle());
        container.wait_for("stopped");
        container
            .command(&["update", "--pids-limit", "5"])
            .fails_with(&["container not running"]);
        container.delete().ok();
    });
}
