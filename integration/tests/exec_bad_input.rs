//! `exec`: what people and programs give it by mistake or on purpose. A clear last line, an exit
//! status, and nothing left.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use integration::{Container, Outcome, Sandbox, sandbox};
use serde_json::{Value, json};

fn started(s: &Sandbox) -> Container<'_> {
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "1000"]);
    s.started(&bundle)
}

/// How many processes the container has.
fn count(container: &Container<'_>) -> usize {
    container.command(&["ps"]).ok().stdout.lines().count()
}

/// Each flag with a value that is wrong, missing, repeated, or conflicts: never status 0, nothing
/// on standard output, a line that names the flag or the value.
#[test]
fn every_flag_is_checked() {
    sandbox::host(|s| {
        let container = started(s);
        let before = count(&container);
        let wrong: [(&[&str], &[&str]); 18] = [
            (&["--cwd", "relative"], &["--cwd", "absolute"]),
            (
                &["--cwd", "/missing"],
                &["/missing", "the container has no such directory"],
            ),
            (
                &["--tty", "--detach"],
                &["without setting console socket", "--tty of `exec`"],
            ),
            (&["--env", "NAME"], &["--env", "NAME=VALUE"]),
            (&["--env", "=value"], &["--env", "NAME=VALUE"]),
            (&["--env", ""], &["--env"]),
            (&["--user", "root"], &["--user", "root"]),
            (&["--additional-gids", "-1"], &["additional-gids"]),
            (&["--additional-gids", "4294967295"], &["additional-gids"]),
            (&["--additional-gids", "staff"], &["staff"]),
            (&["--cap", "CAP_FLY"], &["--cap", "CAP_FLY"]),
            (&["--cap", ""], &["--cap"]),
            (&["--preserve-fds", "-1"], &["preserve-fds"]),
            (&["--preserve-fds", "4294967296"], &["preserve-fds"]),
            (&["--preserve-fds", "50"], &["descriptor", "3"]),
            (&["--pid-file", "/missing/pid"], &["/missing/pid"]),
            (&["--apparmor", "no\nprofile"], &["apparmor"]),
            (&["--unknown"], &["--unknown"]),
        ];
        for (options, words) in wrong {
            let outcome = container.exec(options, &["echo", "ran"]);
            assert_eq!(outcome.stdout, "", "{}", outcome.describe("ran"));
            outcome.fails_with(words);
        }
        container
            .exec(&[], &[])
            .exits(255)
            .fails_with(&["no command"]);
        container
            .exec(&[], &[""])
            .exits(255)
            .fails_with(&["exec: \"\""]);
        s.runtime(&["exec"]).exits(1);
        assert_eq!(count(&container), before);
        container.remove();
    });
}

/// An option whose value is missing is an error that names it; of an option that stands twice the
/// last value counts.
#[test]
fn missing_values_are_errors_and_the_last_of_two_counts() {
    sandbox::host(|s| {
        let container = started(s);
        for option in [
            "--console-socket",
            "--pidfd-socket",
            "--cwd",
            "--env",
            "--user",
            "--additional-gids",
            "--process",
            "--pid-file",
            "--process-label",
            "--apparmor",
            "--cap",
            "--preserve-fds",
            "--cgroup",
        ] {
            let outcome = s.runtime(&["exec", option]).exits(1);
            outcome.fails_with(&[option]).prints_nothing();
        }
        let [first, last] = ["first", "last"].map(|name| s.dir.join(name));
        let [first, last] = [&first, &last].map(|path| path.to_str().expect("UTF-8"));
        let options = [
            "--cwd",
            "/tmp",
            "--pid-file",
            first,
            "--cwd",
            "/mnt",
            "--pid-file",
            last,
        ];
        container.exec(&options, &["pwd"]).prints("/mnt");
        assert!(!Path::new(first).exists() && Path::new(last).exists());
        container.remove();
    });
}

/// A console socket that is closed before the terminal arrives ends the command, and its process
/// with it.
#[test]
fn a_console_socket_that_closes_early_leaves_no_process() {
    sandbox::host(|s| {
        let container = started(s);
        let before = count(&container);
        let path = s.dir.join("hasty");
        let hasty = UnixListener::bind(&path).expect("bind");
        let socket = path.to_str().expect("UTF-8");
        // The connection comes first. The process of a paused container makes the terminal later.
        let options = ["--ignore-paused", "--tty", "--detach", "--console-socket"];
        let options = [&options[..], &[socket]].concat();
        container.command(&["pause"]).ok();
        let running = s.spawn(container.exec_command(&options, &["sleep", "900"]), None);
        drop(hasty.accept().expect("accept"));
        container.command(&["resume"]).ok();
        running
            .wait()
            .exits(255)
            .fails_with(&["--console-socket", "hasty", "pipe"]);
        assert!(sandbox::eventually(|| count(&container) == before));
        // One that never takes the connection, nor reads: the kernel keeps what is sent.
        let path = s.dir.join("silent");
        let silent = UnixListener::bind(&path).expect("bind");
        let socket = path.to_str().expect("UTF-8");
        let options = ["--tty", "--detach", "--console-socket", socket];
        container.exec(&options, &["true"]).ok();
        drop(silent);
        assert!(sandbox::eventually(|| count(&container) == before));
        container.remove();
    });
}

/// Options that change the container's process have no meaning beside a whole one.
#[test]
fn options_beside_a_process_file_are_refused() {
    sandbox::host(|s| {
        let container = started(s);
        let file = s.dir.join("process.json");
        fs::write(
            &file,
            json!({ "cwd": "/", "args": ["/bin/true"] }).to_string(),
        )
        .expect("write");
        let file = file.to_str().expect("UTF-8");
        container.exec(&["--process", file], &[]).ok();
        for options in [
            &["--cwd", "/"][..],
            &["--env", "A=1"],
            &["--user", "1"],
            &["--additional-gids", "1"],
            &["--process-label", "x"],
            &["--apparmor", "x"],
            &["--no-new-privs"],
            &["--cap", "CAP_CHOWN"],
        ] {
            let mut all = vec!["--process", file];
            all.extend(options);
            container.exec(&all, &[]).fails_with(&[options[0]]);
        }
        container
            .exec(&["--process", file], &["true"])
            .exits(255)
            .fails_with(&["--process", "\"true\""]);
        container.remove();
    });
}

/// A process document that is none, with the place of what is wrong.
#[test]
fn a_malformed_process_file_is_refused_with_its_place() {
    sandbox::host(|s| {
        let container = started(s);
        let file = s.dir.join("process.json");
        let name = file.to_str().expect("UTF-8");
        let try_text = |text: &str| -> Outcome {
            fs::write(&file, text).expect("write");
            let outcome = container.exec(&["--process", name], &[]);
            outcome.exits(255).fails_with(&["exec failed: ", name])
        };
        for text in ["", "{", "[]", "null", "7", "\"x\"", "{}", "{} x", "\u{0}"] {
            try_text(text);
        }
        let base = || json!({ "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] });
        let cases: [(&str, Value); 12] = [
            ("/args", json!([])),
            ("/args", json!("true")),
            ("/args/0", json!([7])),
            ("/cwd", json!("relative")),
            ("/env/0", json!(["PATH"])),
            ("/env", json!("PATH=/bin")),
            ("/user/uid", json!({ "uid": -1 })),
            ("/user/uid", json!({ "uid": 4_294_967_295_u64 })),
            (
                "/user/additionalGids/0",
                json!({ "uid": 0, "gid": 0, "additionalGids": ["x"] }),
            ),
            ("/user/umask", json!({ "uid": 0, "gid": 0, "umask": 512 })),
            (
                "/rlimits/0",
                json!([{ "type": "RLIMIT_FLY", "soft": 1, "hard": 1 }]),
            ),
            ("/oomScoreAdj", json!(1001)),
        ];
        for (pointer, value) in cases {
            let mut process = base();
            let key = pointer.split('/').nth(1).expect("a key");
            process[key] = value;
            try_text(&process.to_string()).fails_with(&[pointer]);
        }
        // A NUL in a string ends it for a program.
        try_text(r#"{ "cwd": "/", "args": ["true\u0000x"] }"#);
        container.remove();
    });
}

/// An id is one name: nothing that leads elsewhere in the state directory, or outside of it.
#[test]
fn an_id_leads_nowhere_else() {
    sandbox::host(|s| {
        let container = started(s);
        let long = "i".repeat(1025);
        let below = format!("{}/.", container.id);
        let climbing = format!("../state/{}", container.id);
        let line = format!("{}\n", container.id);
        for id in ["", ".", "..", "/", "a/b", &below, &climbing, &line, &long] {
            s.runtime(&["exec", id, "echo", "ran"])
                .fails()
                .prints_nothing();
        }
        let absent = s.runtime(&["exec", "absent", "true"]).exits(255);
        absent.fails_with(&["exec failed: ", "absent", "does not exist"]);
        // A link in the state directory is no container.
        let link = s.state.join("link");
        symlink(s.state.join(&container.id), &link).expect("symlink");
        s.runtime(&["exec", "link", "echo", "ran"])
            .fails()
            .prints_nothing();
        fs::remove_file(link).expect("rm");
        container.remove();
    });
}

/// A container that was only begun: its directory is there, with no record or a damaged one.
#[test]
fn a_half_created_container_takes_no_command() {
    sandbox::host(|s| {
        let id = s.id();
        fs::create_dir(s.state.join(&id)).expect("mkdir");
        s.runtime(&["exec", &id, "true"])
            .exits(255)
            .fails_with(&["exec failed: "]);
        s.runtime(&["delete", "--force", &id]).ok();

        let container = started(s);
        let file = s.state.join(&container.id).join("state.json");
        let record = fs::read(&file).expect("the record");
        for keep in [0, 10, record.len() / 2, record.len() - 2] {
            fs::write(&file, &record[..keep]).expect("write");
            container
                .exec(&[], &["true"])
                .exits(255)
                .fails_with(&["exec failed: "]);
        }
        fs::write(&file, &record).expect("write");
        container.exec(&[], &["true"]).ok();
        let config = file.with_file_name("config.json");
        fs::write(&config, "{").expect("write");
        container
            .exec(&[], &["true"])
            .exits(255)
            .fails_with(&["exec failed: "]);
        container.remove();
    });
}

/// While a creation is under way there is nothing to enter yet.
#[test]
fn a_container_on_its_way_takes_no_command() {
    sandbox::host(|s| {
        let (id, create) = s.create_that_hangs("createRuntime");
        s.runtime(&["exec", &id, "true"])
            .exits(255)
            .fails_with(&["exec failed: "]);
        s.runtime(&["delete", "--force", &id]).ok();
        create.wait().fails();
    });
}
