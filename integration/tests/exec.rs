//! `exec`: what a further process of a container is. Other chapters say where it is (`exec_place`),
//! how it is confined (`exec_confinement`) and how it ends (`exec_lifecycle`).

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use integration::sandbox;
use serde_json::json;

/// The command and its arguments reach the container as written; standard streams are the caller's.
#[test]
fn the_command_runs_with_its_arguments() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let printed = container.exec(&[], &["printf", "[%s]", "a b", "", "$HOME", "-x", "--"]);
        assert_eq!(printed.ok().stdout, "[a b][][$HOME][-x][--]");
        // A `--` behind the id belongs to nobody; the next one is the program's.
        container.exec(&[], &["--", "echo", "--"]).prints("--");
        let outcome = container.exec_shell(&[], "echo out; echo err >&2");
        assert_eq!(
            (&*outcome.stdout, &*outcome.stderr),
            ("out\n", "err\n"),
            "{}",
            outcome.describe("the streams")
        );
        container.remove();
    });
}

/// The exit status is the command's, or 128 and the signal that killed it.
#[test]
fn the_exit_status_is_the_commands() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        for code in [0, 1, 126, 255] {
            container
                .exec_shell(&[], &format!("exit {code}"))
                .exits(code);
        }
        container.exec_shell(&[], "kill -9 $$").exits(137);
        container.exec_shell(&[], "kill -PIPE $$").exits(141);
        container.remove();
    });
}

/// What cannot be run: status 255, and the words that engines turn into 126 and 127.
#[test]
fn a_command_that_cannot_be_run_is_told_in_the_words_of_engines() {
    sandbox::host(|s| {
        let bundle = s.bundle_that_waits();
        bundle.file("/opt/plain", "no program", 0o644);
        let container = s.started(&bundle);
        let cases: [(&str, &[&str]); 4] = [
            (
                "missing",
                &["exec: \"missing\": executable file not found in $PATH"],
            ),
            (
                "/opt/missing",
                &["exec: \"/opt/missing\": ", "no such file or directory"],
            ),
            ("/opt/plain", &["exec: \"/opt/plain\": permission denied"]),
            (
                "/opt",
                &["exec: \"/opt\": is a directory: permission denied"],
            ),
        ];
        for (program, words) in cases {
            for options in [&[][..], &["--detach"]] {
                container
                    .exec(options, &[program])
                    .exits(255)
                    .fails_with(&["exec failed"])
                    .fails_with(words);
            }
        }
        container.remove();
    });
}

/// `--detach` returns when the command runs; `--pid-file` has the pid that the runtime sees,
/// attached too.
#[test]
fn a_detached_command_goes_on_alone() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let file = s.dir.join("pid");
        let options = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
        container.exec(&options, &["sleep", "777"]).prints("");
        let pid = fs::read_to_string(&file).expect("the pid file");
        let line = fs::read(format!("/proc/{pid}/cmdline")).expect("the process");
        assert_eq!(line, b"sleep\x00777\0");
        let attached = ["--pid-file", file.to_str().expect("UTF-8")];
        container.exec(&attached, &["true"]).ok();
        assert_ne!(fs::read_to_string(&file).expect("the pid file"), pid);
        // One that does not come to be writes none.
        fs::remove_file(&file).expect("rm");
        container.exec(&options, &["missing"]).exits(255);
        assert!(!file.exists());
        container.remove();
    });
}

/// Signals that reach an attached `exec` reach its command.
#[test]
fn signals_are_passed_on() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
        let running = s.spawn(container.exec_command(&[], &["sh", "-c", script]), None);
        assert!(sandbox::eventually(|| running.stdout().contains("ready")));
        s.tool("kill", &["-TERM", &running.pid().to_string()]);
        running.wait().exits(7).contains("caught");
        container.remove();
    });
}

/// The environment is that of the container's process; `--env` comes on top, and the last of a name
/// counts.
#[test]
fn variables_come_on_top_of_the_containers() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.set("/process/env", json!(["PATH=/bin", "A=1", "B=2"]));
        let container = s.started(&bundle);
        let lines = |options: &[&str]| {
            let outcome = container.exec(options, &["env"]).ok();
            let mut lines: Vec<_> = outcome.stdout.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines.join(" ")
        };
        assert_eq!(lines(&[]), "A=1 B=2 HOME=/root PATH=/bin");
        let options = ["-e", "A=x", "--env", "C=3=4", "--env", "A=y", "--env=D="];
        assert_eq!(lines(&options), "A=y B=2 C=3=4 D= HOME=/root PATH=/bin");
        // HOME is that of the user, and one that is empty is none.
        let options = ["--user", "1000", "--env", "HOME="];
        assert_eq!(lines(&options), "A=1 B=2 HOME=/home/user PATH=/bin");
        container.remove();
    });
}

/// `--user`: only a uid leaves the group; `--additional-gids` are added to the container's.
#[test]
fn the_user_is_the_one_asked_for() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.set(
            "/process/user",
            json!({ "uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o077 }),
        );
        let container = s.started(&bundle);
        let ids = |options: &[&str]| {
            let script = "id -u; id -g; id -G; umask";
            let outcome = container.exec_shell(options, script).ok();
            outcome
                .stdout
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(ids(&[]), "5 6 6 7 0077");
        assert_eq!(ids(&["--user", "1000"]), "1000 6 6 7 0077");
        assert_eq!(ids(&["-u", "1000:50"]), "1000 50 50 7 0077");
        let options = ["-u", "0:0", "-g", "8", "--additional-gids", "9"];
        assert_eq!(ids(&options), "0 0 0 7 8 9 0077");
        container.remove();
    });
}

/// docs/compatibility.md: an option with an empty value counts as not given, as with runc. Scripts
/// pass variables that may be empty.
#[test]
fn an_option_with_an_empty_value_is_not_given() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.set("/process/cwd", json!("/tmp")).user(1000, 1000);
        let container = s.started(&bundle);
        let options = [
            "--cwd",
            "",
            "--pid-file",
            "",
            "--process=",
            "--apparmor",
            "",
        ];
        for more in [&["--process-label", ""][..], &["--console-socket="]] {
            let outcome = container.exec_shell(&[&options[..], more].concat(), "id -u; pwd");
            assert_eq!(outcome.ok().stdout, "1000\n/tmp\n", "{more:?}");
        }
        container.kill("").ok();
        container.remove();
    });
}

/// `--cwd` is entered without links that lead out.
#[test]
fn the_working_directory_is_the_one_asked_for() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.set("/process/cwd", json!("/etc"));
        let container = s.started(&bundle);
        container.exec(&[], &["pwd"]).prints("/etc");
        container.exec(&["--cwd", "/tmp"], &["pwd"]).prints("/tmp");
        container
            .exec(&["--cwd", "tmp"], &["pwd"])
            .exits(255)
            .fails_with(&["--cwd", "absolute", "\"tmp\""]);
        container
            .exec(&["--cwd", "/missing"], &["pwd"])
            .exits(255)
            .fails_with(&["/missing", "no such file or directory"]);
        container.remove();
    });
}

/// A directory that only root or only the user may enter.
#[test]
fn a_private_working_directory_is_entered_by_whoever_may() {
    sandbox::host(|s| {
        let bundle = s.bundle_that_waits();
        for (name, owner) in [("of-root", 0), ("of-user", 1000)] {
            let file = bundle.file(&format!("/srv/{name}/file"), "", 0o644);
            let directory = file.parent().expect("a folder");
            chown(directory, Some(owner), Some(owner)).expect("chown");
            s.tool("chmod", &["700", directory.to_str().expect("UTF-8")]);
        }
        let container = s.started(&bundle);
        // Entered before the change of the user, as runc does.
        for cwd in ["/srv/of-root", "/srv/of-user"] {
            let options = ["--user", "1000:1000", "--cwd", cwd];
            container.exec(&options, &["pwd"]).ok();
        }
        container.remove();
    });
}

/// CVE-2026-30892: what is no number is no user, and never root.
#[test]
fn a_user_that_is_no_number_is_refused() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let hostile = [
            "",
            ":",
            ":5",
            "1:",
            "0x1",
            "-1",
            "1 ",
            " 1",
            "+1",
            "4294967295",
            "4294967296",
            "1:1:1",
            "root",
            "1a",
            "1:root",
            "18446744073709551616",
        ];
        for text in hostile {
            let outcome = container.exec(&[&format!("--user={text}")], &["id", "-u"]);
            assert_eq!(outcome.fails().stdout, "", "{text:?}");
        }
        container.exec(&["--user", "01"], &["id", "-u"]).prints("1");
        container
            .exec(&["--user", "4294967294"], &["id", "-u"])
            .prints("4294967294");
        container.remove();
    });
}

/// Limits, oom score and personality are those of the container's process.
#[test]
fn limits_and_attributes_are_the_containers() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle
            .set(
                "/process/rlimits",
                json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]),
            )
            .set("/process/oomScoreAdj", json!(123))
            .set("/linux/personality", json!({ "domain": "LINUX32" }));
        let container = s.started(&bundle);
        let script = "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; uname -m";
        let outcome = container.exec_shell(&[], script).ok();
        let words: Vec<_> = outcome.stdout.split_whitespace().collect();
        assert_eq!(words[..3], ["100", "200", "123"]);
        assert!(["i686", "armv8l"].contains(&words[3]), "{words:?}");
        container.remove();
    });
}

/// `--process`: the file is the whole process. Nothing of the container's leaks in: no groups, no
/// umask, no variables.
#[test]
fn a_process_file_is_the_whole_process() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle
            .set(
                "/process/user",
                json!({ "uid": 0, "gid": 0, "additionalGids": [7], "umask": 0o077 }),
            )
            .set("/process/env", json!(["PATH=/bin", "SECRET=1"]))
            .set("/process/cwd", json!("/etc"));
        let container = s.started(&bundle);
        let script = "id -G; umask; pwd; /bin/tr '\\0' '\\n' < /proc/$$/environ | /bin/sort | /bin/tr '\\n' ' '";
        let process = json!({ "cwd": "/", "args": ["/bin/sh", "-c", script] });
        let outcome = container.exec_file(&process).ok();
        // Without `env` HOME is set all the same.
        assert_eq!(outcome.stdout.trim(), "0\n0022\n/\nHOME=/root");
        let mut process =
            json!({ "cwd": "/tmp", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
        process["user"] =
            json!({ "uid": 1000, "gid": 5, "additionalGids": [8, 9], "umask": 0o027 });
        let outcome = container.exec_file(&process).ok();
        assert_eq!(
            outcome.stdout.trim(),
            "5 8 9\n0027\n/tmp\nHOME=/home/user PATH=/bin"
        );
        container.remove();
    });
}

/// The configuration is the one that was saved: editing or removing the bundle changes nothing.
#[test]
fn the_saved_configuration_counts() {
    sandbox::host(|s| {
        if s.is_control("runc reads the bundle again") {
            return;
        }
        let mut bundle = s.bundle_that_waits();
        bundle.set("/process/env", json!(["PATH=/bin", "A=saved"]));
        let container = s.started(&bundle);
        bundle.set("/process/env", json!(["PATH=/bin", "A=edited"]));
        bundle.set("/process/capabilities", json!({})).write();
        container.exec_shell(&[], "echo $A").prints("saved");
        fs::remove_file(bundle.path.join("config.json")).expect("rm");
        container.exec_shell(&[], "echo $A").prints("saved");
        container.remove();
    });
}

/// Descriptors of the caller stay outside but those of `--preserve-fds`; one that is not open is an
/// error.
#[test]
fn descriptors_are_those_asked_for() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let run = |options: &str| {
            let list = "ls /proc/self/fd | tr '\\n' ' '";
            let command = container.exec_command(&[], &[]);
            let words: Vec<_> = command
                .get_args()
                .map(|word| word.to_str().expect("UTF-8").to_owned())
                .collect();
            let (id, globals) = words.split_last().expect("an id");
            let line = format!(
                "exec 3</etc/passwd 4</etc/passwd 9</; exec {} {} {options} {id} sh -c '{}'",
                s.subject.program.display(),
                globals.join(" "),
                list.replace('\'', "\"")
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]);
            s.finish(shell, None)
        };
        // 3 is that of ls itself, which reads the directory.
        run("").prints("0 1 2 3");
        run("--preserve-fds 2").prints("0 1 2 3 4 5");
        run("--preserve-fds 3")
            .exits(255)
            .fails_with(&["exec failed: ", "preserve", "5"]);
        container.remove();
    });
}

/// Streams that are closed are /dev/null, not the first file that is opened; a full one is an error
/// of the program's.
#[test]
fn closed_streams_are_filled() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
        bundle.writable();
        let container = s.started(&bundle);
        let command =
            container.exec_command(&[], &["sh", "-c", "ls -l /proc/self/fd > /tmp/fds; echo x"]);
        let words: Vec<_> = command
            .get_args()
            .map(|w| w.to_str().expect("UTF-8"))
            .collect();
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let line = |redirect: &str| {
            let mut shell = Command::new("sh");
            let program = s.subject.program.display();
            shell.args([
                "-c",
                &format!("exec {program} {} {redirect}", quoted.join(" ")),
            ]);
            s.finish(shell, None)
        };
        line("0<&- 1>&- 2>&-").exits(0);
        let seen = container.exec(&[], &["cat", "/tmp/fds"]).ok();
        for stream in ["0 -> /dev/null", "1 -> ", "2 -> /dev/null"] {
            assert!(seen.stdout.contains(stream), "{}", seen.stdout);
        }
        line("> /dev/full").exits(1);
        container.remove();
    });
}

/// A caller that asked to be killed with its own parent, and one that ignores signals, hand nothing
/// of that down.
#[test]
fn signal_state_of_the_caller_stays_outside() {
    sandbox::host(|s| {
        let container = s.started(&s.bundle_that_waits());
        let command = container.exec_command(&[], &["cat", "/proc/self/status"]);
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "sh", "-c"]);
        wrapped.arg("trap '' INT TERM HUP CHLD PIPE; exec \"$0\" \"$@\"");
        wrapped.arg(&s.subject.program).args(command.get_args());
        let outcome = s.finish(wrapped, None).ok();
        for key in ["SigIgn", "SigBlk"] {
            let line = outcome.stdout.lines().find(|line| line.starts_with(key));
            let mask = line.and_then(|line| line.split_whitespace().last());
            // Signals 32 and above are the C library's own.
            let standard = u64::from_str_radix(mask.expect(key), 16).expect("hex") & 0x7fff_ffff;
            assert_eq!(standard, 0, "{key}");
        }
        // A detached one outlives the runtime, whose parent death signal would have ended it.
        let detached = container.exec_command(&["--detach"], &["sleep", "778"]);
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL"]);
        wrapped.arg(&s.subject.program).args(detached.get_args());
        s.finish(wrapped, None).ok();
        container.exec(&[], &["pidof", "sleep"]).ok();
        let listed = container.exec(&[], &["ps", "-o", "args"]).ok();
        assert!(listed.stdout.contains("sleep 778"), "{}", listed.stdout);
        container.remove();
    });
}
