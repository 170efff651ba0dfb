//! `locule plan` and `locule facts`: what `create` or `exec` would do, printed before it is done.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::{Value, json};

fn is_other(s: &Sandbox) -> bool {
    s.is_control("the command plan")
}

/// What nobody does, of a bundle that has a bit of everything.
fn bundle(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    bundle.set(
        "/annotations/dev.locule.landlock",
        json!(r#"{"handledAccessFs": ["make_sym"]}"#),
    );
    bundle.set("/hostname", json!("first"));
    bundle.bind(&s.dir, "/mnt", &["rbind", "ro"]);
    bundle.args(&["true"]);
    bundle
}

/// The runtime with the usual limits on descriptors, which a creation raises.
fn runtime(s: &Sandbox) -> Command {
    let mut command = Command::new("prlimit");
    command.arg("--nofile=1024:4096").arg(&s.subject.program);
    command
}

fn plan(s: &Sandbox, bundle: &Bundle, options: &[&str]) -> Command {
    let mut command = runtime(s);
    command
        .arg("plan")
        .arg("--bundle")
        .arg(&bundle.path)
        .args(options);
    command
}

/// Options of `exec`, and a line that each adds to the plan.
const OPTIONS: &[(&[&str], &str)] = &[];

/// The messages that the command logs at level debug.
fn logged(s: &Sandbox, bundle: &Bundle, words: &[&str]) -> Vec<String> {
    let log = s.dir.join(format!("{}.log", s.id()));
    let mut command = runtime(s);
    command.arg("--root").arg(&s.state).arg("--log").arg(&log);
    command.args(["--log-level", "debug", "--log-format", "json"]);
    command.args(words);
    s.finish(command, Some(bundle)).ok();
    let log = fs::read_to_string(&log).expect("the log");
    let entries = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    entries
        .map(|entry| entry["msg"].as_str().expect("msg").to_owned())
        .collect()
}

/// Requires that the log has the lines of the plan, in their order and with nothing between.
#[track_caller]
fn has_lines_of(messages: &[String], plan: &str, least: usize) {
    let planned: Vec<_> = plan.lines().collect();
    assert!(planned.len() >= least, "{plan}");
    let first = messages.iter().position(|message| message == planned[0]);
    let first = first.expect("the first line of the plan");
    assert_eq!(messages[first..first + planned.len()], planned);
}

/// The plan that is printed is the value that `create` carries out: its log has the same lines.
#[test]
fn a_creation_logs_the_lines_of_its_plan() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = bundle(s);
        bundle.set("/process/rlimits", json!([]));
        bundle.write();
        let id = s.id();
        let printed = s.finish(plan(s, &bundle, &[&id]), Some(&bundle)).ok();
        let path = bundle.path.to_str().expect("UTF-8");
        let messages = logged(s, &bundle, &["create", "--bundle", path, &id]);
        s.runtime(&["delete", "--force", &id]).ok();
        has_lines_of(&messages, &printed.stdout, 20);
        let limit = "rlimit 7 soft 1024 hard 4096";
        assert!(printed.stdout.contains(limit), "{}", printed.stdout);
    });
}

/// The same for `exec`: the whole command line of `exec` is one of `plan --exec` too.
#[test]
fn exec_logs_the_lines_of_its_plan() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = bundle(s);
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let pid_file = s.dir.join("exec.pid");
        let line = [
            "--detach",
            "--pid-file",
            pid_file.to_str().expect("UTF-8"),
            "--user",
            "7:8",
            "--cap",
            "net_admin",
            &container.id,
            "sh",
            "-c",
            "exit 3",
        ];
        let printed = s.runtime(&[&["plan", "--exec"][..], &line].concat()).ok();
        assert!(!pid_file.exists());
        let messages = logged(s, &bundle, &[&["exec"][..], &line].concat());
        has_lines_of(&messages, &printed.stdout, 10);
        container.remove();
    });
}

/// What the options of `exec` ask for is in the plan, and in no plan without them.
#[test]
fn a_plan_of_exec_has_what_its_options_ask_for() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = bundle(s);
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let plan = |options: &[&str]| {
            let words = [&["plan", "--exec"], options, &[&container.id, "true"]].concat();
            s.runtime(&words).ok().stdout
        };
        let plain = plan(&[]);
        assert!(plain.contains("files: those of the container\n"), "{plain}");
        assert!(plain.contains("seccomp: "), "{plain}");
        assert!(!plain.contains("hostname"), "{plain}");
        for (options, line) in OPTIONS {
            let changed = plan(options);
            assert!(changed.contains(line), "{options:?}: {changed}");
            assert!(!plain.contains(line), "{line}: {plain}");
        }
        let words = ["plan", "--format", "json", "--exec", &container.id, "true"];
        let json: Value = serde_json::from_str(&s.runtime(&words).ok().stdout).expect("JSON");
        assert_eq!(json["files"], json!(["those of the container"]));
        assert_eq!(json["warnings"], json!([]));
        container.remove();
    });
}

/// What has no plan: the same refusals as those of `exec`, and options that do not belong together.
#[test]
fn what_exec_refuses_has_no_plan() {
    sandbox::host_unless(is_other, |s| {
        let container = s.started(s.bundle().args(&["sleep", "1000"]));
        let id = &*container.id;
        let cases: [(&[&str], &[&str]); 8] = [
            (&["--exec", id], &["command"]),
            (&["--exec", "absent", "true"], &["does not exist"]),
            (
                &["--exec", "--cwd", "tmp", id, "true"],
                &["--cwd", "absolute"],
            ),
            (
                &["--exec", "--cgroup", "../up", id, "true"],
                &["--cgroup \"../up\": bad sub cgroup path: path"],
            ),
            (&["--exec", "--user", "root", id, "true"], &["--user"]),
            (&["--exec"], &["required", "ID"]),
            (
                &["--exec", "--bundle", "/", id, "true"],
                &["--exec", "--bundle"],
            ),
            (&["--user", "7", id], &["required", "--exec"]),
        ];
        for (words, phrases) in cases {
            let outcome = s.runtime(&[&["plan"], words].concat()).fails();
            for phrase in phrases {
                let told = outcome.stderr.contains(phrase);
                assert!(told, "{}", outcome.describe(phrase));
            }
        }
        container.kill("KILL").ok();
        container.wait_for("stopped");
        let refused = s.runtime(&["plan", "--exec", id, "true"]);
        refused.fails_with(&["cannot exec in a stopped container"]);
        container.delete().ok();
    });
}

/// System calls that change nothing outside of the process that makes them.
fn is_a_read(line: &str) -> bool {
    let changes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
    !changes.iter().any(|flag| line.contains(flag))
}

/// "Touches nothing": under strace there is no call that could change a file, a mount, a process or
/// a namespace.
#[test]
fn a_plan_only_reads() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = bundle(s);
        bundle.args(&["sleep", "1000"]);
        bundle.write();
        let container = s.started(&bundle);
        let root = s.state.to_str().expect("UTF-8");
        for words in [
            &["plan", "--bundle", bundle.path.to_str().expect("UTF-8")][..],
            &["facts"],
            &[
                "--root",
                root,
                "plan",
                "--exec",
                "--user",
                "7",
                &container.id,
                "true",
            ],
        ] {
            let trace = s.dir.join("trace");
            let mut command = Command::new("strace");
            command.arg("-f").arg("--output").arg(&trace).arg("--trace");
            // Everything that can open for writing or change what others see.
            command.arg("open,openat,openat2,creat,%process,write,pwrite64,writev,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,\
                link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown,truncate,ftruncate,\
                setxattr,fsetxattr,mount,umount2,move_mount,open_tree,mount_setattr,fsopen,pivot_root,chroot,setns,unshare,bind,listen,\
                setuid,setgid,setresuid,setresgid,setgroups,capset,keyctl,bpf,sethostname,kill,tgkill,flock");
            command.arg(&s.subject.program).args(words);
            let outcome = s.finish(command, Some(&bundle)).ok();
            assert!(!outcome.stdout.is_empty());
            let trace = fs::read_to_string(&trace).expect("the trace");
            let calls: Vec<_> = trace
                .lines()
                .filter_map(|line| line.split_once(' '))
                .collect();
            assert!(calls.len() > 5, "{trace}");
            let odd = calls
                .iter()
                .map(|(_pid, call)| call.trim_start())
                .filter(|call| {
                    let opens = call.starts_with("open")
                        && is_a_read(call)
                        && !call.starts_with("open_tree");
                    let answers = call.starts_with("write(1,");
                    let lives = ["execve(", "exit_group(", "+++"]
                        .iter()
                        .any(|name| call.starts_with(name));
                    !(opens || answers || lives)
                });
            assert_eq!(odd.collect::<Vec<_>>(), [""; 0], "{words:?}");
        }
        container.remove();
    });
}

/// Any user may ask, also about a bundle of root's: the plan is then what that user could do.
#[test]
fn any_user_may_ask_about_a_bundle_of_root() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = bundle(s);
        bundle.set("/process/noNewPrivileges", json!(true));
        bundle.write();
        let mut command = plan(s, &bundle, &[]);
        command.uid(65534).gid(65534);
        let outcome = s.finish(command, Some(&bundle)).ok();
        assert!(
            outcome.stdout.contains(
                "capabilities: bounding, permitted, effective, inheritable, ambient: none"
            ),
            "{}",
            outcome.stdout
        );
        // With root's facts it is what root would do.
        let facts = s.dir.join("facts.json");
        let mut asked = Command::new(&s.subject.program);
        asked.arg("facts");
        fs::write(&facts, s.finish(asked, None).ok().stdout).expect("facts");
        let facts = facts.to_str().expect("UTF-8");
        let by_root = s
            .finish(
                plan(s, &bundle, &["--facts", facts, "--format", "json"]),
                Some(&bundle),
            )
            .ok();
        let mut command = plan(s, &bundle, &["--facts", facts, "--format", "json"]);
        command.uid(65534).gid(65534);
        let by_user = s.finish(command, Some(&bundle)).ok();
        assert_eq!(by_user.stdout, by_root.stdout);
        let plan: Value = serde_json::from_str(&by_root.stdout).expect("JSON");
        assert!(
            plan["capabilities"].is_array() && plan["warnings"].is_array(),
            "{plan}"
        );
    });
}
