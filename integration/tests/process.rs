//! `process`: config.md "Process".

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use integration::{Bundle, sandbox};
use serde_json::json;

/// "args (array of strings, OPTIONAL) with similar semantics to IEEE Std 1003.1-2008 execvp's
/// argv."
#[test]
fn args_reach_the_program_as_written() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["printf", "[%s]", "a b", "", "$HOME", "ü\n"]);
        assert_eq!(s.run(&bundle).ok().stdout, "[a b][][$HOME][ü\n]");
    });
}

/// "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ":
/// this and HOME, nothing of the runtime's.
#[test]
fn env_is_the_whole_environment() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set(
                "/process/env",
                json!(["PATH=/bin", "A=1", "B=x=y", "EMPTY="]),
            )
            .args(&["env"]);
        let outcome = s.run(&bundle).ok();
        let mut lines: Vec<_> = outcome.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=1", "B=x=y", "EMPTY=", "HOME=/root", "PATH=/bin"]);
    });
}

/// Of two entries with one name the last counts, as with runc and crun; a program would choose
/// either.
#[test]
fn of_two_variables_with_one_name_the_last_counts() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 gives both") {
            return;
        }
        let env = [
            "A=1",
            "PATH=/nowhere",
            "HOME=/given",
            "A=2",
            "PATH=/bin",
            "HOME=",
        ];
        let mut bundle = s.bundle();
        bundle.set("/process/env", json!(env)).args(&["env"]);
        s.run(&bundle).prints("A=2\nPATH=/bin\nHOME=/root");
        for bad in ["=x", "A"] {
            bundle.set("/process/env/0", json!(bad));
            let words = ["/process/env/0", "invalid environment variable", bad];
            s.try_create(&bundle, &s.id(), &[]).fails_with(&words);
        }
    });
}

/// HOME is that of the user in the container's /etc/passwd, else `/`; one that is given stays.
#[test]
fn home_comes_from_the_containers_passwd() {
    sandbox::host(|s| {
        for (uid, env, home) in [
            (0, json!(["PATH=/bin"]), "/root"),
            (1000, json!(["PATH=/bin", "HOME="]), "/home/user"),
            (1000, json!(["PATH=/bin"]), "/home/user"),
            (4242, json!(["PATH=/bin"]), "/"),
            (0, json!(["PATH=/bin", "HOME=/given"]), "/given"),
        ] {
            let mut bundle = s.bundle();
            bundle
                .user(uid, 0)
                .set("/process/env", env)
                .args(&["sh", "-c", "echo $HOME"]);
            s.run(&bundle).prints(home);
        }
    });
}

/// execve(2) says "no such file" of a program that is there when its interpreter is not: the error
/// names that.
#[test]
fn a_missing_interpreter_is_named() {
    sandbox::host(|s| {
        if s.is_control("runc says no such file or directory") {
            return;
        }
        let loader = "/lib64/ld-linux-x86-64.so.2";
        let dynamic = fs::read("/bin/ls").expect("/bin/ls");
        let cases: [(&[u8], &str, &str); 3] = [
            (
                b"#!/bin/bash -e\necho\n",
                "\"/bin/bash\"",
                "in the container",
            ),
            (
                b"#!/bin/sh\r\necho\r\n",
                "\"/bin/sh\\r\"",
                "carriage return",
            ),
            (&dynamic, loader, "in the container"),
        ];
        for (text, interpreter, hint) in cases {
            let mut bundle = s.bundle();
            bundle.file("/opt/tool", text, 0o755);
            bundle.set("/process/env", json!(["PATH=/opt"]));
            for name in ["tool", "/opt/tool"] {
                bundle.args(&[name]);
                let words = [
                    &format!("exec: \"{name}\": no such file or directory: "),
                    interpreter,
                    hint,
                ];
                let outcome = s.run(&bundle).fails_with(&words);
                assert!(!outcome.last_line().contains("stat"), "{}", outcome.stderr);
                // Where the start is a command of its own too.
                let container = s.create(&bundle);
                container.start().fails_with(&words);
                container.remove();
            }
        }
    });
}

/// The program is found by the PATH of `process.env`, not by the caller's.
#[test]
fn the_program_is_found_by_the_containers_path() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/opt/tool", "#!/bin/sh\necho found\n", 0o755);
        bundle
            .set("/process/env", json!(["PATH=/nowhere:/opt"]))
            .args(&["tool"]);
        s.run(&bundle).prints("found");
    });
}

/// "cwd (string, REQUIRED) is the working directory that will be set for the executable. This value
/// MUST be an absolute path."
#[test]
fn cwd_is_the_working_directory() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/process/cwd", json!("/etc")).args(&["pwd"]);
        s.run(&bundle).prints("/etc");
    });
}

/// A missing cwd is made, as engines expect of WORKDIR.
#[test]
fn a_missing_cwd_is_made() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .writable()
            .set("/process/cwd", json!("/srv/deep"))
            .args(&["pwd"]);
        s.run(&bundle).prints("/srv/deep");
        assert!(bundle.root().join("srv/deep").is_dir());
    });
}

/// The error names the directory, what is in the way and what to do.
#[test]
fn a_working_directory_that_cannot_be_is_named() {
    sandbox::host(|s| {
        if s.is_control("the words are locule's") {
            return;
        }
        let long = format!("/{}", "n".repeat(256));
        for (cwd, words) in [
            (
                "/etc/passwd",
                ["not a directory", "is not a directory in the container"],
            ),
            (
                "/etc/passwd/x",
                ["not a directory", "is not a directory in the container"],
            ),
            ("/mnt/loop/x", ["too many", "leads to itself"]),
            ("/proc/self/fd/0", ["", "/proc/self/fd"]),
            (&long, ["file name too long", "255 bytes"]),
        ] {
            let mut bundle = s.bundle();
            symlink("loop", bundle.root().join("mnt/loop")).expect("symlink");
            bundle.user(1000, 1000).set("/process/cwd", json!(cwd));
            let quoted = format!("{cwd:?}");
            let all = ["/process/cwd: ", &quoted, words[0], words[1]];
            s.try_create(&bundle, &s.id(), &[]).fails_with(&all);
        }
    });
}

/// A relative program with a slash counts from cwd.
#[test]
fn a_program_with_a_slash_counts_from_cwd() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/opt/tool", "#!/bin/sh\necho found\n", 0o755);
        bundle.set("/process/cwd", json!("/opt")).args(&["./tool"]);
        s.run(&bundle).prints("found");
    });
}

/// Row S46: "rlimits ... soft ... hard": what the kernel says is what was asked.
#[test]
fn rlimits_are_those_of_the_configuration() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set(
            "/process/rlimits",
            json!([
                { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
                { "type": "RLIMIT_CORE", "soft": 0, "hard": 4096 },
                { "type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152 }
            ]),
        );
        bundle.args(&["cat", "/proc/self/limits"]);
        let outcome = s.run(&bundle).ok();
        for (name, soft, hard) in [
            ("Max open files", "100", "200"),
            ("Max core file size", "0", "4096"),
            ("Max stack size", "1048576", "2097152"),
        ] {
            let line = outcome
                .stdout
                .lines()
                .find(|l| l.starts_with(name))
                .expect(name);
            let fields: Vec<_> = line[name.len()..].split_whitespace().collect();
            assert_eq!(fields[..2], [soft, hard], "{line}");
        }
    });
}

/// "If rlimits contains duplicated entries with same type, the runtime MUST generate an error."
#[test]
fn a_duplicate_rlimit_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 });
        bundle.set("/process/rlimits", json!([limit, limit]));
        s.try_create(&bundle, &s.id(), &[]).fails();
    });
}

/// "oomScoreAdj (int, OPTIONAL) adjusts the oom-killer score in [pid]/oom_score_adj".
#[test]
fn the_oom_score_is_adjusted() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/process/oomScoreAdj", json!(321))
            .args(&["cat", "/proc/self/oom_score_adj"]);
        s.run(&bundle).prints("321");
    });
}

/// "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj."
#[test]
fn the_oom_score_is_inherited() {
    sandbox::host(|s| {
        fs::write("/proc/self/oom_score_adj", "77").expect("oom_score_adj");
        let mut bundle = s.bundle();
        bundle.args(&["cat", "/proc/self/oom_score_adj"]);
        s.run(&bundle).prints("77");
    });
}

/// The CPUs that a process may use, as the kernel lists them.
fn cpus(status: &str) -> String {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("Cpus_allowed_list").trim().to_owned()
}

/// The caller may be pinned (systemd's CPUAffinity=, taskset(1)); the container may use the CPUs of
/// its cpuset.
#[test]
fn the_cpus_of_the_caller_are_not_the_containers() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 keeps them") {
            return;
        }
        let all = cpus(&fs::read_to_string("/proc/self/status").expect("status"));
        if all == "0" {
            s.skip("one CPU");
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["grep", "Cpus_allowed_list", "/proc/self/status"]);
        let run = |bundle: &Bundle| {
            let mut command = std::process::Command::new("taskset");
            command.args(["-c", "0"]).arg(&s.subject.program);
            command.arg("--root").arg(&s.state).arg("run");
            command.arg("--bundle").arg(bundle.write()).arg(s.id());
            cpus(&s.finish(command, Some(bundle)).ok().stdout)
        };
        assert_eq!(run(&bundle), all);
        if s.lacks(&["cpuset"]) {
            return;
        }
        bundle.set("/linux/resources/cpu/cpus", json!("1"));
        assert_eq!(run(&bundle), "1");
    });
}

/// "noNewPrivileges (bool, OPTIONAL) setting noNewPrivileges to true prevents the process from
/// gaining additional privileges."
#[test]
fn no_new_privileges_is_set_when_asked() {
    sandbox::host(|s| {
        for (value, shown) in [(true, "NoNewPrivs:\t1"), (false, "NoNewPrivs:\t0")] {
            let mut bundle = s.bundle();
            bundle.set("/process/noNewPrivileges", json!(value));
            bundle.args(&["grep", "NoNewPrivs", "/proc/self/status"]);
            s.run(&bundle).prints(shown);
        }
    });
}

/// Descriptors of the caller do not reach the program: R8 of the design, CVE-2024-21626.
#[test]
fn only_the_standard_streams_reach_the_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("ls /proc/self/fd | tr '\\n' ' '");
        bundle.write();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "exec 7</etc/passwd 9</ ; exec \"$@\"", "sh"])
            .arg(&s.subject.program);
        command
            .arg("--root")
            .arg(&s.state)
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        s.finish(command, Some(&bundle)).prints("0 1 2 3");
    });
}

/// --preserve-fds N passes 3 to 3+N-1 and nothing else.
#[test]
fn preserved_descriptors_reach_the_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("cat <&3; ls /proc/self/fd | tr '\\n' ' '");
        bundle.write();
        let file = s.dir.join("text");
        fs::write(&file, "through three\n").expect("write");
        let mut command = std::process::Command::new("sh");
        command
            .arg("-c")
            .arg("exec 3<\"$TEXT\" 5</etc/passwd; exec \"$@\"")
            .arg("sh")
            .env("TEXT", &file);
        command
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state)
            .args(["run", "--preserve-fds", "1"]);
        command.arg("--bundle").arg(&bundle.path).arg(s.id());
        s.finish(command, Some(&bundle))
            .prints("through three\n0 1 2 3 4");
    });
}

/// `--preserve-fds` above what is open: the first missing one is named, nothing is made.
#[test]
fn descriptors_that_are_not_open_are_not_preserved() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        for number in ["1", "4294967295"] {
            // A log must not take the number of the one that is missing.
            let mut command = s.command();
            command.args(["--log", "log", "create", "--preserve-fds", number]);
            command.arg("--bundle").arg(bundle.write()).arg(s.id());
            let words = ["preserved-fd", &format!("(of {number})")];
            s.finish(command, Some(&bundle)).fails_with(&words);
            assert_eq!(fs::read_dir(&s.state).expect("state").count(), 0);
        }
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\" 3</dev/null"])
            .arg("sh");
        let outcome = s.run_by(command, &bundle).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&["LISTEN_FDS is 2", "has not opened descriptor 4"]);
        }
    });
}

/// "LISTEN_PID": descriptors that are meant for another process are not passed on, and not told of.
#[test]
fn descriptors_for_another_process_are_not_passed() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("ls /proc/self/fd | grep -c . ; echo $LISTEN_FDS $LISTEN_PID");
        for pid in ["", "LISTEN_PID=1", "LISTEN_PID=x"] {
            let mut command = std::process::Command::new("sh");
            command
                .arg("-c")
                .arg(format!(
                    "exec 3</etc/passwd; {pid} LISTEN_FDS=1 exec \"$@\""
                ))
                .arg("sh");
            // The three standard streams and the listing itself.
            s.run_by(command, &bundle).prints("4");
        }
    });
}

/// Socket activation: LISTEN_FDS of the caller passes the descriptors, LISTEN_PID is that of the
/// container's process.
#[test]
fn listen_fds_are_passed() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.shell("cat <&3; echo $LISTEN_FDS $LISTEN_PID");
        bundle.write();
        let file = s.dir.join("text");
        fs::write(&file, "socket\n").expect("write");
        let mut command = std::process::Command::new("sh");
        command
            .arg("-c")
            .arg("exec 3<\"$TEXT\"; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"")
            .arg("sh")
            .env("TEXT", &file);
        command
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state)
            .arg("run");
        command.arg("--bundle").arg(&bundle.path).arg(s.id());
        s.finish(command, Some(&bundle)).prints("socket\n1 1");
    });
}

/// Standard input is the caller's.
#[test]
fn standard_input_reaches_the_program() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["cat"]).write();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "echo typed | \"$@\"", "sh"])
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id())
            .stdin(Stdio::null());
        s.finish(command, Some(&bundle)).prints("typed");
    });
}

/// Closed standard streams do not let another file become 0, 1 or 2.
#[test]
fn closed_standard_streams_are_harmless() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let file = s.dir.join("answer");
        fs::write(&file, "").expect("write");
        bundle.bind(&file, "/answer", &["rw"]);
        bundle
            .writable()
            .shell("readlink /proc/self/fd/0 > /answer")
            .write();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "exec <&- ; exec \"$@\"", "sh"])
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        s.finish(command, Some(&bundle)).ok();
        let answer = fs::read_to_string(&file).expect("answer");
        assert!(
            answer.is_empty() || answer == "/dev/null\n" || answer.starts_with("pipe:"),
            "{answer}"
        );
    });
}

/// The program starts with default dispositions and an empty mask, SIGPIPE included: a Rust program
/// ignores it, its children must not.
#[test]
fn signals_start_at_their_defaults() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["grep", "-E", "SigBlk|SigIgn|SigCgt", "/proc/self/status"]);
        let outcome = s.run(&bundle).ok();
        for line in outcome.stdout.lines() {
            let mask = line.split_whitespace().last().expect("a mask");
            // Signals 32 and above are the C library's own and inherited as they are.
            let standard = u64::from_str_radix(mask, 16).expect("hex") & 0x7fff_ffff;
            assert_eq!(standard, 0, "{}", outcome.stdout);
        }
    });
}

/// "hostname (string, OPTIONAL) specifies the container's hostname as seen by processes running
/// inside the container." Row S1.
#[test]
fn the_hostname_is_set_inside_alone() {
    sandbox::host(|s| {
        let before = s.tool("hostname", &[]);
        let mut bundle = s.bundle();
        bundle
            .set("/hostname", json!("inside.example"))
            .shell("hostname; uname -n");
        s.run(&bundle).prints("inside.example\ninside.example");
        assert_eq!(s.tool("hostname", &[]), before);
    });
}

/// Row S2: "domainname (string, OPTIONAL) specifies the container's domainname as seen by processes
/// running inside the container."
#[test]
fn the_domainname_is_set_inside_alone() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no domainname") {
            return;
        }
        let host = || fs::read_to_string("/proc/sys/kernel/domainname").expect("domainname");
        let before = host();
        let mut bundle = s.bundle();
        bundle
            .set("/domainname", json!("nis.example"))
            .args(&["cat", "/proc/sys/kernel/domainname"]);
        s.run(&bundle).prints("nis.example");
        assert_eq!(host(), before);
    });
}

/// The first process of a container leads a session of its own.
#[test]
fn the_program_leads_a_session() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sh", "-c", "cut -d' ' -f1,5,6 /proc/1/stat"]);
        s.run(&bundle).prints("1 1 1");
    });
}

/// Nobody outside sees the container's session keyring, not even of the same user; inside it is the
/// program's own to use.
#[test]
fn the_session_keyring_is_closed_to_others() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1.5 lets the same user see and read it") {
            return;
        }
        let mut bundle = s.bundle();
        bundle
            .set("/linux/maskedPaths", json!([]))
            .shell("grep 'keyring *_ses' /proc/keys; sleep 600");
        let container = s.started(&bundle);
        // proc_keys(5): serial, flags, usage, expiry, permissions of possessor, owner, group and
        // others.
        container.wait_output("3f000000");
        let output = container.output();
        let line = output.lines().find(|line| line.contains("3f000000"));
        let serial = line
            .and_then(|line| line.split(' ').next())
            .expect("a serial");
        let keys = fs::read_to_string("/proc/keys").expect("keys");
        assert!(!keys.contains(serial), "{serial} is seen outside: {keys}");
        container.remove();
    });
}

/// `--no-new-keyring`: the caller's stays, with all that is in it.
#[test]
fn the_callers_session_keyring_stays_when_asked() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/linux/maskedPaths", json!([]))
            .shell("cut -d' ' -f5- /proc/keys | grep -c 3f000000");
        let outcome = s.run_with(&bundle, &["--no-new-keyring"]).exits(1);
        assert_eq!(outcome.text(), "0");
        if s.subject.is_locule() {
            s.run(&bundle).prints("1");
        }
    });
}
