//! `exec`: what a further process of a container is. Where it is: `exec_place`.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use integration::runtime::{Running, children};
use integration::{Bundle, Container, Outcome, Sandbox, leak, sandbox};
use serde_json::{Value, json};

/// A bundle whose program waits.
fn waiting(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "1000"]);
    bundle
}

/// Writes a process document and gives its path.
fn document(s: &Sandbox, process: &Value) -> String {
    let path = s.dir.join(format!("{}.json", s.id()));
    fs::write(&path, process.to_string()).expect("the document");
    path.to_str().expect("UTF-8").to_owned()
}

/// Runs `exec --process` with this document.
fn exec_file(s: &Sandbox, container: &Container<'_>, process: &Value) -> Outcome {
    container.exec(&["--process", &document(s, process)], &[])
}

/// The words behind `key` in /proc/self/status of a process that `exec` makes.
fn status(container: &Container<'_>, options: &[&str], key: &str) -> String {
    let outcome = container.exec(options, &["cat", "/proc/self/status"]).ok();
    let found = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let words = found.unwrap_or_else(|| panic!("{key} in {}", outcome.stdout));
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command and its arguments reach the container as written; standard streams are the caller's.
#[test]
fn the_command_runs_with_its_arguments() {
    sandbox::host(|s| {
        let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
        let bundle = waiting(s);
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
        let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
        let mut bundle = waiting(s);
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
        let mut bundle = waiting(s);
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

/// `--cwd` is entered without links that lead out.
#[test]
fn the_working_directory_is_the_one_asked_for() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
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
        let bundle = waiting(s);
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
        let container = s.started(&waiting(s));
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

/// Capabilities are the container's. CVE-2022-29162: `--cap` widens bounding, effective and
/// permitted, never the inheritable set; ambient only what was inheritable.
#[test]
fn cve_2022_29162_inheritable_capabilities_are_never_raised() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
        let sets = ["bounding", "effective", "permitted"];
        bundle.capabilities(&sets, &["CAP_CHOWN"]);
        let container = s.started(&bundle);
        let all = |options: &[&str]| {
            let keys = ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"];
            keys.map(|key| u64::from_str_radix(&status(&container, options, key), 16).expect("hex"))
        };
        assert_eq!(all(&[]), [1, 1, 1, 0, 0]);
        let raised = 1 | 1 << 12;
        let options = ["--cap", "CAP_NET_ADMIN"];
        assert_eq!(all(&options), [raised, raised, raised, 0, 0]);
        let options = ["-c", "net_admin", "--user", "1000"];
        assert_eq!(all(&options), [raised, 0, 0, 0, 0]);
        container
            .exec(&["--cap", "CAP_FLY"], &["true"])
            .fails_with(&["CAP_FLY"]);
        container.remove();

        let inheritable = ["bounding", "effective", "permitted", "inheritable"];
        bundle.capabilities(&inheritable, &["CAP_NET_ADMIN"]);
        let container = s.started(&bundle);
        let key = |key| status(&container, &["-c", "CAP_NET_ADMIN", "-u", "1000"], key);
        assert_eq!(key("CapAmb"), "0000000000001000");
        assert_eq!(key("CapInh"), "0000000000001000");
        container.remove();
    });
}

/// `--no-new-privs` sets it; what the container has stays.
#[test]
fn privileges_are_given_up_when_asked() {
    sandbox::host(|s| {
        for (container_has, options, expected) in [
            (false, &[][..], "0"),
            (false, &["--no-new-privs"], "1"),
            (true, &[], "1"),
        ] {
            let mut bundle = waiting(s);
            bundle.set("/process/noNewPrivileges", json!(container_has));
            let container = s.started(&bundle);
            assert_eq!(status(&container, options, "NoNewPrivs"), expected);
            container.remove();
        }
    });
}

/// Limits, oom score and personality are those of the container's process.
#[test]
fn limits_and_attributes_are_the_containers() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
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
        let mut bundle = waiting(s);
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
        let outcome = exec_file(s, &container, &process).ok();
        // Without `env` HOME is set all the same.
        assert_eq!(outcome.stdout.trim(), "0\n0022\n/\nHOME=/root");
        let mut process =
            json!({ "cwd": "/tmp", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
        process["user"] =
            json!({ "uid": 1000, "gid": 5, "additionalGids": [8, 9], "umask": 0o027 });
        let outcome = exec_file(s, &container, &process).ok();
        assert_eq!(
            outcome.stdout.trim(),
            "5 8 9\n0027\n/tmp\nHOME=/home/user PATH=/bin"
        );
        container.remove();
    });
}

/// What protects the container's process protects one from a file too that does not say otherwise:
/// as with runc, capabilities that are not there are the container's, and so are profiles and
/// labels.
#[test]
fn a_process_file_without_capabilities_has_the_containers() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
        bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_CHOWN"]);
        let container = s.started(&bundle);
        let args = json!(["/bin/grep", "-E", "Cap(Bnd|Eff)", "/proc/self/status"]);
        let sets = |outcome: Outcome| {
            let words = outcome.ok().stdout;
            let words = words.split_whitespace().skip(1).step_by(2);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let absent = json!({ "cwd": "/", "args": args });
        let one = "0000000000000001";
        assert_eq!(sets(exec_file(s, &container, &absent)), [one, one]);
        let empty = json!({ "cwd": "/", "args": args, "capabilities": {} });
        let none = "0000000000000000";
        assert_eq!(sets(exec_file(s, &container, &empty)), [none, none]);
        let more = json!({ "cwd": "/", "args": args, "capabilities": {
            "bounding": ["CAP_NET_ADMIN"], "permitted": ["CAP_NET_ADMIN"], "effective": ["CAP_NET_ADMIN"],
        } });
        let other = "0000000000001000";
        assert_eq!(sets(exec_file(s, &container, &more)), [other, other]);
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
        let mut bundle = waiting(s);
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

/// A filter holds for a further process as for the first.
#[test]
fn the_filter_holds() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
        bundle.set(
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }] }),
        );
        let container = s.started(&bundle);
        assert_eq!(status(&container, &[], "Seccomp"), "2");
        container
            .exec(&[], &["mkdir", "/tmp/x"])
            .exits(1)
            .fails_with(&["not permitted"]);
        container.remove();
    });
}

/// A filter may forbid what is still to be done when the process is born in the PID namespace. Then
/// the birth comes before the filter, and without noNewPrivileges before the change of user.
#[test]
fn a_filter_that_forbids_the_birth_comes_after_it() {
    sandbox::host(|s| {
        let last = "in the container's PID namespace, after the set-up";
        let first = "in the container's PID namespace, before the change of user";
        for (names, no_new_privileges, birth, moment) in [
            (&["clone3"][..], true, last, "before the process is made"),
            (
                &["clone3"],
                false,
                last,
                "before the capabilities are dropped",
            ),
            (&["clone", "setsid"], true, last, "before the exec"),
            (
                &["clone", "setsid"],
                false,
                first,
                "before the capabilities are dropped",
            ),
        ] {
            let mut bundle = waiting(s);
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            bundle.set(
                "/linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    { "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ] }),
            );
            let container = s.started(&bundle);
            assert_eq!(status(&container, &[], "Seccomp"), "2");
            // It leads a session of its own.
            let ids = ["cut", "-d", " ", "-f", "1,6", "/proc/self/stat"];
            let ids = container.exec(&[], &ids).ok();
            let (pid, session) = ids.text().split_once(' ').expect("two numbers");
            assert_eq!(pid, session);
            if s.subject.is_locule() {
                let plan = s.runtime(&["plan", "--exec", &container.id, "true"]).ok();
                for words in [birth, moment] {
                    let case = (names, no_new_privileges, &plan.stdout);
                    assert!(plan.stdout.contains(words), "{words}: {case:?}");
                }
            }
            container.remove();
        }
    });
}

/// Landlock restricts a further process as the first.
#[test]
fn landlock_restricts_it_too() {
    sandbox::host(|s| {
        if s.is_control("the annotation is locule's") || s.lacks_lsm("landlock") {
            return;
        }
        let mut bundle = waiting(s);
        let rules = json!({ "pathBeneath": [
            { "paths": ["/bin", "/proc"], "allowedAccess": ["read", "execute"] },
            { "paths": ["/dev/null"], "allowedAccess": ["read", "write"] },
        ] });
        bundle.set("/annotations/dev.locule.landlock", json!(rules.to_string()));
        let container = s.started(&bundle);
        container.exec(&[], &["cat", "/proc/version"]).ok();
        container
            .exec(&[], &["cat", "/etc/passwd"])
            .fails_with(&["/etc/passwd", "permission denied"]);
        container.remove();
    });
}

/// `exec` from a caller with a session keyring that has a name, as a user who only sees keys that
/// are its own.
fn keys_of_user(s: &Sandbox, container: &Container<'_>) -> String {
    let number = match cfg!(target_arch = "x86_64") {
        true => 250,
        false => 219,
    };
    let script = format!("$n = \"outer\"; syscall({number}, 1, $n) > 0 or die $!; exec @ARGV");
    let exec = container.exec_command(&["--user", "1000:1000"], &["cat", "/proc/keys"]);
    let mut perl = Command::new("perl");
    perl.args(["-e", &script]).arg(exec.get_program());
    perl.args(exec.get_args());
    s.finish(perl, None).ok().stdout
}

/// The session keyring of the caller stays outside, unless the container was made with its
/// creator's.
#[test]
fn the_session_keyring_is_not_the_callers() {
    sandbox::host(|s| {
        let mut bundle = waiting(s);
        bundle.set("/linux/maskedPaths", json!([]));
        let container = s.started(&bundle);
        let keys = keys_of_user(s, &container);
        assert!(!keys.contains("outer"), "{keys}");
        container.remove();
        if !s.subject.is_locule() {
            return;
        }
        let container = s.create_with(&bundle, &["--no-new-keyring"]);
        let keys = keys_of_user(s, &container);
        assert!(keys.contains("outer"), "{keys}");
        container.remove();
    });
}

/// Descriptors of the caller stay outside but those of `--preserve-fds`; one that is not open is an
/// error.
#[test]
fn descriptors_are_those_asked_for() {
    sandbox::host(|s| {
        let container = s.started(&waiting(s));
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
        let mut bundle = waiting(s);
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
        let container = s.started(&waiting(s));
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

/// A container that is created and not started takes commands; one that is stopped, or is not
/// there, does not.
#[test]
fn the_status_decides() {
    sandbox::host(|s| {
        let container = s.create(&waiting(s));
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
        let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
            let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
        let container = s.started(&waiting(s));
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
