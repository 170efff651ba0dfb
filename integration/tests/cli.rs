//! The command line: what engines and people type, and the exact forms that they read.

use std::fs;

use integration::{Sandbox, sandbox};
use serde_json::{Value, json};

fn plain(s: &Sandbox, args: &[&str]) -> integration::Outcome {
    let mut command = std::process::Command::new(&s.subject.program);
    command.args(args).current_dir(&s.dir);
    s.finish(command, None)
}

/// docker and go-runc parse `NAME version X` on the first line and the number behind `spec:`.
#[test]
fn version_has_the_lines_that_engines_parse() {
    sandbox::host(|s| {
        let outcome = plain(s, &["--version"]).ok();
        let first: Vec<_> = outcome
            .stdout
            .lines()
            .next()
            .expect("a line")
            .split_whitespace()
            .collect();
        assert_eq!(first[1], "version", "{}", outcome.stdout);
        assert!(
            first[2].starts_with(|c: char| c.is_ascii_digit()),
            "{}",
            outcome.stdout
        );
        let spec = outcome
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("spec: "))
            .expect("spec:");
        assert!(spec.starts_with("1."), "{spec}");
        plain(s, &["-v"]).prints(outcome.stdout.trim());
    });
}

/// No command is a request for help.
#[test]
fn no_command_prints_help() {
    sandbox::host(|s| {
        plain(s, &[]).ok().contains("create");
        plain(s, &["--help"]).ok().contains("create");
    });
}

/// Exit statuses: 3 for an unknown command, 1 for a wrong use of a known one.
#[test]
fn wrong_use_has_its_exit_status() {
    sandbox::host(|s| {
        plain(s, &["no-such-command"]).exits(3);
        plain(s, &["state"]).exits(1);
        plain(s, &["state", "one", "two"]).exits(1);
        plain(s, &["start", "--no-such-option", "one"]).exits(1);
    });
}

/// "features": the document that docker, containerd and podman read; no container, no side effect.
#[test]
fn features_describe_the_runtime() {
    sandbox::host(|s| {
        let outcome = plain(s, &["features"]).ok();
        let features: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        assert!(
            features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(),
            "{features}"
        );
        for (pointer, wanted) in [
            ("/hooks", "createRuntime"),
            ("/mountOptions", "rro"),
            ("/linux/namespaces", "user"),
            ("/linux/capabilities", "CAP_KILL"),
        ] {
            let list = features
                .pointer(pointer)
                .and_then(Value::as_array)
                .expect(pointer);
            assert!(list.contains(&json!(wanted)), "{pointer} without {wanted}");
        }
        assert!(
            features["linux"]["cgroup"]["v2"]
                .as_bool()
                .expect("cgroup.v2")
        );
    });
}

/// The grammar of ids: letters, digits and `_+.-`; never a path.
#[test]
fn ids_that_are_no_ids_are_refused() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        bundle.write();
        let long = "x".repeat(1025);
        for id in [
            "..", ".", "a/b", "../x", "/abs", "a b", "a\nb", "", "ü", "a:b", &long,
        ] {
            if id.len() > 1024 && !s.subject.is_locule() {
                continue;
            }
            let refused = s.try_create(&bundle, id, &[]).fails();
            if s.subject.is_locule() {
                refused.fails_with(&["invalid container id"]);
            }
        }
    });
}

/// Ids that are unusual but right.
#[test]
fn unusual_ids_are_accepted() {
    sandbox::host(|s| {
        for end in ["..x", "a+b", "A_b-c.d", "-"] {
            let id = format!("{}{end}", s.id());
            s.try_create(&s.bundle(), &id, &[]).ok();
            s.runtime(&["delete", "--force", &id]).ok();
        }
    });
}

/// An absent id, and one too many.
#[test]
fn create_wants_exactly_one_id() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        let place = bundle.write().to_str().expect("UTF-8").to_owned();
        s.runtime(&["create", "--bundle", &place]).exits(1);
        s.runtime(&["create", "--bundle", &place, "one", "two"])
            .exits(1);
    });
}

/// Each flag of `create` with a wrong or a missing value: an error that names it, and nothing is
/// left.
#[test]
fn every_flag_of_create_is_checked() {
    sandbox::host(|s| {
        if s.is_control("the words are locule's") {
            return;
        }
        let bundle = s.bundle();
        for (options, words) in [
            (
                &["--config", "absent.json"][..],
                &["absent.json", "no such file"][..],
            ),
            (
                &["--pidfd-socket", "/absent"],
                &["--pidfd-socket", "/absent", "no such file"],
            ),
            (
                &["--pid-file", "/absent/pid"],
                &["--pid-file", "/absent/pid", "no such file"],
            ),
            (&["--preserve-fds", "-1"], &["preserve-fds"]),
            (
                &["--preserve-fds", "x"],
                &["preserve-fds", "x", "whole number from 0 to 4294967295"],
            ),
            (&["--preserve-fds", "4294967296"], &["preserve-fds"]),
            (&["--preserve-fds", "60"], &["descriptor"]),
            (&["--no-pivot=maybe"], &["--no-pivot"]),
            (&["--detach"], &["--detach"]),
        ] {
            let outcome = s.try_create(&bundle, &s.id(), options);
            outcome.exits(1).fails_with(words).prints_nothing();
        }
        let names = [
            "--bundle",
            "--config",
            "--console-socket",
            "--pidfd-socket",
            "--pid-file",
            "--preserve-fds",
        ];
        for option in names {
            s.runtime(&["create", option])
                .exits(1)
                .fails_with(&[option]);
        }
        s.runtime(&["create", "--bundle", "/absent", "x"])
            .exits(1)
            .fails_with(&["/absent"]);
        s.runtime(&["list", "-q"]).prints("");
    });
}

/// --log with --log-format json: one object a line with level, msg and time; the error is also on
/// stderr.
#[test]
fn errors_are_logged_as_json() {
    sandbox::host(|s| {
        let log = s.dir.join("log.json");
        fs::write(
            &log,
            "{\"level\":\"info\",\"msg\":\"before\",\"time\":\"2026-01-01T00:00:00Z\"}\n",
        )
        .expect("write");
        let mut command = s.command();
        command.args([
            "--log",
            "log.json",
            "--log-format",
            "json",
            "state",
            "missing",
        ]);
        let outcome = s.finish(command, None).fails_with(&["does not exist"]);
        let text = fs::read_to_string(&log).expect("log");
        let entries: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(entries[0]["msg"], "before", "the log is appended to");
        let last = entries.last().expect("an entry");
        assert_eq!(last["level"], "error", "{text}");
        assert!(
            last["msg"]
                .as_str()
                .expect("msg")
                .contains("does not exist"),
            "{text}"
        );
        let time = last["time"].as_str().expect("time");
        assert!(
            time.contains('T') && (time.ends_with('Z') || time.contains('+')),
            "{time}"
        );
        assert!(!outcome.stderr.is_empty());
    });
}

/// --log with the text format.
#[test]
fn errors_are_logged_as_text() {
    sandbox::host(|s| {
        let mut command = s.command();
        command.args(["--log", "log", "state", "missing"]);
        s.finish(command, None).fails();
        let text = fs::read_to_string(s.dir.join("log")).expect("log");
        assert!(
            text.contains("level=error") && text.contains("does not exist"),
            "{text}"
        );
    });
}

/// A log format that nobody knows is an error.
#[test]
fn an_unknown_log_format_is_an_error() {
    sandbox::host(|s| {
        let mut command = s.command();
        command.args(["--log-format", "xml", "state", "missing"]);
        s.finish(command, None).exits(1).fails_with(&["xml"]);
    });
}

/// go-runc and old scripts: options with one dash, `=` and the separate form.
#[test]
fn options_take_every_customary_form() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        let place = bundle.write().to_str().expect("UTF-8").to_owned();
        let state = s.state.to_str().expect("UTF-8").to_owned();
        for args in [
            vec!["-root", &state, "run", "-b", &place],
            vec!["--root", &state, "run", "-bundle", &place],
            vec![
                "--root",
                &state,
                "run",
                "--no-subreaper",
                "--bundle",
                &place,
            ],
            vec![
                "--root",
                &state,
                "--rootless=auto",
                "run",
                "--bundle",
                &place,
            ],
        ] {
            let id = s.id();
            let mut all = args;
            all.push(&id);
            plain(s, &all).ok();
        }
        let equals = format!("--root={state}");
        let bundle_equals = format!("--bundle={place}");
        plain(s, &[&equals, "run", &bundle_equals, &s.id()]).ok();
        plain(s, &[&equals, "run", &bundle_equals, "--", &s.id()]).ok();
    });
}

/// `spec` writes a template and never overwrites.
#[test]
fn spec_writes_a_template_once() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        let place = bundle.path.to_str().expect("UTF-8");
        s.runtime(&["spec", "--bundle", place]).ok();
        let text = fs::read_to_string(bundle.path.join("config.json")).expect("config.json");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(config["process"]["args"], json!(["sh"]));
        assert_eq!(config["process"]["terminal"], true);
        assert_eq!(config["root"]["readonly"], true);
        assert_eq!(config["process"]["noNewPrivileges"], true);
        assert!(
            config["linux"]["maskedPaths"]
                .as_array()
                .expect("masked")
                .len()
                > 5
        );
        s.runtime(&["spec", "--bundle", place]).fails();
        assert_eq!(
            fs::read_to_string(bundle.path.join("config.json")).expect("config.json"),
            text
        );
        s.runtime(&["spec", "--bundle", place, "--file", "other.json"])
            .ok();
        let other = fs::read_to_string(bundle.path.join("other.json")).expect("other.json");
        assert_eq!(other, text);
    });
}

/// The template runs when its two interactive parts are taken out.
#[test]
fn the_template_runs() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        s.runtime(&["spec", "--bundle", bundle.path.to_str().expect("UTF-8")])
            .ok();
        let text = fs::read(bundle.path.join("config.json")).expect("config.json");
        bundle.config = serde_json::from_slice(&text).expect("JSON");
        bundle
            .set("/process/terminal", json!(false))
            .shell("id -u; hostname");
        let outcome = s.run(&bundle).ok();
        assert!(outcome.stdout.starts_with("0\n"), "{}", outcome.stdout);
    });
}

/// list: a state directory that is not there yet is an empty list.
#[test]
fn list_without_containers_is_empty() {
    sandbox::host(|s| {
        let outcome = s.runtime(&["list", "-q"]).ok();
        assert_eq!(outcome.stdout, "");
        let outcome = s.runtime(&["list", "--format", "json"]).ok();
        assert!(
            ["null", "[]"].contains(&outcome.text()),
            "{}",
            outcome.stdout
        );
        s.runtime(&["list", "--format", "xml"]).fails();
    });
}

/// A damaged entry is skipped with one message that names it once; the others are listed.
#[test]
fn list_names_a_damaged_container_once() {
    sandbox::host(|s| {
        if s.is_control("the message is locule's") {
            return;
        }
        let container = s.create(&s.bundle());
        let damaged = s.state.join("damaged");
        fs::create_dir(&damaged).expect("mkdir");
        fs::write(damaged.join("state.json"), "{").expect("write");
        let outcome = s.runtime(&["list"]).ok();
        assert!(outcome.stdout.contains(&container.id), "{}", outcome.stdout);
        let named = outcome.stderr.matches("container damaged").count();
        assert!(
            outcome.stderr.contains("skipped: container damaged: ") && named == 1,
            "{}",
            outcome.stderr
        );
        s.runtime(&["delete", "--force", "damaged"]).ok();
        container.remove();
    });
}

/// --console-socket without a terminal, and a terminal without a socket, are errors at create.
#[test]
fn a_terminal_needs_a_socket_at_create() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/process/terminal", json!(true));
        s.try_create(&bundle, &s.id(), &[]).exits(1);
    });
}

/// Nothing on standard output but what was asked for, and no colours anywhere.
#[test]
fn errors_are_on_standard_error_without_colour() {
    sandbox::host(|s| {
        let outcome = s.runtime(&["state", "missing"]).fails();
        assert_eq!(outcome.stdout, "");
        assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    });
}
