//! Attacks on `exec`: a hostile container against the runtime's process that enters it.
//! docs/security.md lists them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use integration::canary::Canary;
use integration::faults::{self, Point};
use integration::tracer::{self, tracer};
use integration::{Bundle, Container, Outcome, Sandbox, leak, sandbox};
use serde_json::json;

/// Refused with an error of the runtime's own, or started and safe.
#[track_caller]
fn safe_or_refused(outcome: Outcome) {
    assert!(
        outcome.status.code().is_some(),
        "{}",
        outcome.describe("a crash")
    );
    for word in ["ESCAPED", "panicked"] {
        let said = outcome.stdout.contains(word) || outcome.stderr.contains(word);
        assert!(!said, "{}", outcome.describe(word));
    }
}

/// The command line of `exec` behind a shell script, which ends with `exec "$@"`, by the runtime
/// `program`.
fn behind(script: &str, program: &Path, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(program);
    shell.args(command.get_args());
    shell
}

/// CVE-2019-5736: the file of the runtime that runs `exec` is out of reach of the container that it
/// enters, whose root makes the program, or a script's interpreter, /proc/self/exe.
#[test]
fn cve_2019_5736_exec_keeps_the_runtimes_binary_out_of_reach() {
    sandbox::host(|s| {
        // A copy, since a runtime that fails this test is destroyed.
        let program = s.dir.join("runtime");
        fs::copy(&s.subject.program, &program).expect("copy");
        let content = fs::read(&program).expect("runtime");
        let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"];
        let mut bundle = s.bundle();
        bundle
            .writable()
            .capabilities(&["bounding", "effective", "permitted"], &all);
        for libraries in ["/lib", "/lib64", "/usr/lib"] {
            if Path::new(libraries).exists() {
                bundle.bind(Path::new(libraries), libraries, &["rbind", "ro"]);
            }
        }
        bundle.file("/entry", "#!/proc/self/exe features\n", 0o755);
        bundle.shell(
            "echo ready; while :; do for p in /proc/[0-9]*; do \
             case $(readlink $p/exe) in ''|*busybox*) continue;; esac; \
             ( exec 9< $p/exe ) 2> /dev/null || continue; \
             exec 9< $p/exe; echo held; \
             while kill -0 ${p#/proc/} 2> /dev/null; do sleep 0.01; done; \
             for i in 1 2 3 4 5; do if (echo x > /proc/self/fd/9) 2> /dev/null; then echo ESCAPED; fi; sleep 0.01; done; \
             exec 9<&-; echo over; done; done",
        );
        let attacker = s.started(&bundle);
        attacker.wait_output("ready");
        for words in [&["/proc/self/exe", "features"][..], &["/entry"]] {
            for _ in 0..20 {
                let command = attacker.exec_command(&[], words);
                safe_or_refused(s.finish(behind("exec \"$@\"", &program, &command), None));
            }
        }
        assert!(
            fs::read(&program).expect("runtime") == content,
            "it was written"
        );
        let output = attacker.output();
        attacker.remove();
        assert!(!output.contains("ESCAPED"), "{output}");
    });
}

/// CVE-2024-21626: no descriptor of the caller's or the runtime's is a way out: not by `--cwd`, not
/// by a link of the image that leads to it, not as the program.
#[test]
fn cve_2024_21626_exec_leaks_no_directory() {
    sandbox::host(|s| {
        let canary = Canary::make(s);
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        for number in 3..16 {
            symlink(
                format!("/proc/self/fd/{number}"),
                bundle.root().join(format!("way{number}")),
            )
            .expect("symlink");
        }
        let container = s.started(&bundle);
        let script = format!("exec 7< {}; exec \"$@\"", canary.path.display());
        let look = "test -e secret && echo ESCAPED; test -e ../canary && echo ESCAPED; \
                    test -e /proc/self/cwd/../../run/sandbox && echo ESCAPED; true";
        for number in 3..16 {
            for cwd in [
                format!("/proc/self/fd/{number}"),
                format!("/proc/thread-self/fd/{number}"),
                format!("/proc/1/fd/{number}"),
                format!("/way{number}"),
            ] {
                let command = container.exec_command(&["--cwd", &cwd], &["sh", "-c", look]);
                safe_or_refused(s.finish(behind(&script, &s.subject.program, &command), None));
            }
            let file = format!("/proc/self/fd/{number}/folder/file");
            let command = container.exec_command(&[], &[&file]);
            safe_or_refused(s.finish(behind(&script, &s.subject.program, &command), None));
        }
        container.remove();
        canary.check();
    });
}

/// Nothing of the host is to be seen from inside: every descriptor of a further process is one of
/// its standard streams.
#[test]
fn a_further_process_holds_nothing_of_the_host() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let file = s.dir.join("pid");
        let options = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
        container.exec(&options, &["sleep", "999"]).ok();
        let pid = fs::read_to_string(&file).expect("pid");
        let held = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("fd")
            .flatten();
        let held: BTreeSet<_> = held.map(|entry| entry.file_name()).collect();
        assert_eq!(held, ["0", "1", "2"].map(Into::into).into());
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("link");
        assert_eq!(link("cwd"), Path::new("/"));
        let keyring = container.exec(&[], &["cat", "/proc/self/environ"]).ok();
        assert!(!keyring.stdout.contains("LOCULE"), "{}", keyring.stdout);
        container.remove();
    });
}

fn catches_nothing(s: &Sandbox, bundle: &Bundle, times: usize) {
    let end = bundle.root().join("end");
    let container = s.started(bundle);
    for _ in tracer::times(times) {
        container.exec(&[], &["true"]).ok();
    }
    fs::write(end, "").expect("the end");
    container.wait_for("stopped");
    let output = container.output();
    assert!(output.ends_with("hits 0\n"), "{output}");
    container.delete().ok();
}

/// Row CVE-2020-14298: no process of `exec` can be traced, or shows its program, before it is the
/// container's.
#[test]
fn a_tracer_in_the_container_catches_nothing_of_root() {
    sandbox::host(|s| {
        let mut bundle = tracer(s);
        // No id changes on the way in, which alone would hide the process.
        bundle.user_namespace(&[(0, 0, 65536)]);
        catches_nothing(s, &bundle, 200);
    });
}

/// The same with an ordinary user's runtime.
#[test]
fn a_tracer_in_the_container_catches_nothing_of_a_user() {
    sandbox::user(|s| catches_nothing(s, &tracer(s), 200));
}

/// Without a user namespace the tracer's capability counts for every process that it sees. What it
/// catches has nothing that the container does not have: no root, namespace, cgroup, capability,
/// descriptor or user of the host, and no call that the filter forbids.
#[test]
fn a_tracer_without_a_user_namespace_gains_nothing() {
    sandbox::host(|s| {
        // As the profiles of engines have it.
        let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["keyctl"], "action": "SCMP_ACT_ERRNO" } ] });
        for with_filter in [false, true] {
            let mut bundle = tracer(s);
            bundle.args(&["/tracer", "/end", "compare"]);
            bundle.set("/process/user/additionalGids", json!([7, 8]));
            if with_filter {
                bundle.set("/linux/seccomp", filter.clone());
            }
            catches_nothing(s, &bundle, 30);
        }
    });
}

/// The system calls of one `exec`, as (name, n-th of that name), both processes counted.
fn points(s: &Sandbox, container: &Container<'_>) -> Vec<Point> {
    let trace = s.dir.join("trace");
    let options = ["--follow-forks", "--output", trace.to_str().expect("UTF-8")];
    s.finish(traced(s, container, &options), None).ok();
    let text = String::from_utf8_lossy(&fs::read(&trace).expect("trace")).into_owned();
    fs::remove_file(&trace).expect("rm");
    faults::points(&text)
}

/// `exec` of a command that waits a moment, below strace.
fn traced(s: &Sandbox, container: &Container<'_>, options: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(options).arg(&s.subject.program);
    command.args(container.exec_command(&[], &["true"]).get_args());
    command
}

/// A runtime, or its process in the container, that is killed at any system call, and a call that
/// fails there: the container goes on as before, and nothing of the attempt is left in it.
#[test]
fn exec_killed_or_failing_at_any_call_leaves_nothing() {
    sandbox::host(|s| {
        if s.is_control("how locule ends its own") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let before = (leak::mounts(), leak::processes());
        for (call, number) in faults::sample(points(s, &container), 24) {
            for fault in ["signal=KILL", "error=ENOMEM"] {
                if fault.starts_with("error")
                    && ["exit_group", "execve", "mmap", "brk"].contains(&&*call)
                {
                    continue;
                }
                let inject = format!("inject={call}:{fault}:when={number}");
                let options = ["--follow-forks", "--output", "/dev/null", "-e", &inject];
                let outcome = s.finish(traced(s, &container, &options), None);
                assert!(
                    !outcome.stderr.contains("panicked"),
                    "{}",
                    outcome.describe(&inject)
                );
                let is_clean = || leak::processes() == before.1;
                assert!(
                    sandbox::eventually(is_clean),
                    "{inject}: {:?}",
                    leak::processes()
                );
                assert_eq!(leak::mounts(), before.0, "{inject}");
            }
        }
        container.exec(&[], &["echo", "whole"]).prints("whole");
        container.remove();
    });
}
