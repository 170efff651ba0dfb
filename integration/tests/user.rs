//! `process.user`: config.md "User", "POSIX-platform User".

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

/// Row S42: "uid ... gid ... additionalGids": exactly these, no group of the caller.
#[test]
fn ids_and_groups_are_exactly_those_asked_for() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set(
            "/process/user",
            json!({ "uid": 1000, "gid": 2000, "additionalGids": [5, 3000, 7] }),
        );
        bundle.args(&["grep", "-E", "^(Uid|Gid|Groups)", "/proc/self/status"]);
        let outcome = s.run(&bundle).ok();
        let lines: Vec<Vec<&str>> = outcome
            .stdout
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["Uid:", "1000", "1000", "1000", "1000"]);
        assert_eq!(lines[1], ["Gid:", "2000", "2000", "2000", "2000"]);
        let mut groups: Vec<u32> = lines[2][1..]
            .iter()
            .map(|g| g.parse().expect("gid"))
            .collect();
        groups.retain(|g| *g != 2000);
        groups.sort_unstable();
        assert_eq!(groups, [5, 7, 3000]);
    });
}

/// Without additionalGids there are none, whatever the caller has.
#[test]
fn groups_of_the_caller_are_dropped() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user(1000, 1000).args(&["id", "-G"]).write();
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--groups", "4,20,27", "--"])
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        s.finish(command, Some(&bundle)).prints("1000");
    });
}

/// R20: an annotation widens only what an ordinary user could do by himself. The groups of the
/// host's root are no container's.
#[test]
fn no_annotation_keeps_the_groups_of_the_hosts_root() {
    sandbox::host(|s| {
        if s.is_control("an annotation of crun") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.user(1000, 1000).args(&["id", "-G"]);
        let key = "/annotations/run.oci.keep_original_groups";
        for user_namespace in [false, true] {
            if user_namespace {
                bundle.user_namespace(&[(0, 100_000, 65_536)]);
            }
            bundle.set(key, json!("1"));
            s.try_create(&bundle, &s.id(), &[]).fails_with(&[
                key,
                "the host's root",
                "additionalGids",
            ]);
        }
        bundle.inherit("user").set(key, json!("0"));
        bundle
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings");
        s.run(&bundle).prints("1000");
    });
}

/// CVE-2022-2989 and relatives: a file that its group may not read is not read by a process of that
/// group.
#[test]
fn a_group_without_permission_is_denied() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let file = bundle.file("/etc/negative", "text", 0o604);
        chown(&file, Some(0), Some(2000)).expect("chown");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).expect("chmod");
        bundle.user(1000, 2000).args(&["cat", "/etc/negative"]);
        s.run(&bundle).fails();
        bundle.user(1000, 2001);
        s.run(&bundle).prints("text");
    });
}

/// A bundle of user 1000 with a program that only root may reach or execute, and what may be done
/// about it.
fn private_program(s: &Sandbox, directory: u32, program: u32, capability: &str) -> Bundle {
    let mut bundle = s.bundle();
    let path = bundle.root().join("opt/private");
    fs::create_dir_all(&path).expect("mkdir");
    fs::copy(integration::bundle::busybox(), path.join("busybox")).expect("copy");
    for (path, mode) in [(path.join("busybox"), program), (path, directory)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    bundle.user(1000, 1000);
    bundle.set("/process/env", json!(["PATH=/nowhere:/opt/private"]));
    bundle.capabilities(&["bounding", "permitted", "effective"], &[capability]);
    bundle
}

/// execve(2) takes the effective capabilities into account; so does the look-up before it.
#[test]
fn capabilities_open_the_way_to_the_program() {
    sandbox::host(|s| {
        for (directory, program, capability, runs) in [
            (0o700, 0o700, "CAP_DAC_OVERRIDE", true),
            (0o700, 0o755, "CAP_DAC_READ_SEARCH", true),
            (0o755, 0o700, "CAP_DAC_READ_SEARCH", false),
            (0o755, 0o600, "CAP_DAC_OVERRIDE", false),
            (0o700, 0o755, "CAP_KILL", false),
            (0o755, 0o700, "CAP_KILL", false),
        ] {
            let mut bundle = private_program(s, directory, program, capability);
            for name in ["/opt/private/busybox", "busybox"] {
                bundle.args(&[name, "id", "-u"]);
                if runs {
                    s.run(&bundle).prints("1000");
                } else {
                    // Engines make exit status 126 of these words.
                    s.try_create(&bundle, &s.id(), &[]).fails_with(&[
                        "exec:",
                        name,
                        "permission denied",
                    ]);
                }
            }
        }
    });
}

/// The same under a filter that kills a process which calls faccessat2(2) or opens the program:
/// init uses older calls then.
#[test]
fn capabilities_open_the_way_to_the_program_under_a_filter() {
    sandbox::host(|s| {
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"] {
            let mut bundle = private_program(s, 0o700, 0o700, "CAP_DAC_OVERRIDE");
            bundle
                .set("/process/noNewPrivileges", json!(false))
                .set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["faccessat2", "openat2"], "action": action }]
                    }),
                )
                .args(&["busybox", "id", "-u"]);
            s.run(&bundle).prints("1000");
        }
    });
}

/// Row S42: a set-uid program raises a user without noNewPrivileges and does not with it.
#[test]
fn set_uid_programs_obey_no_new_privileges() {
    sandbox::host(|s| {
        for nnp in [false, true] {
            let mut bundle = s.bundle();
            let program = bundle.root().join("bin/busybox-raised");
            fs::copy(integration::bundle::busybox(), &program).expect("copy");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("chmod");
            bundle.file("/etc/passwd", "root::0:0:root:/:/bin/sh\n", 0o644);
            bundle
                .user(1000, 1000)
                .set("/process/noNewPrivileges", json!(nnp));
            bundle.capabilities(&["bounding"], &["CAP_SETUID", "CAP_SETGID"]);
            bundle.args(&["/bin/busybox-raised", "su", "-c", "id -u"]);
            let outcome = s.run(&bundle);
            assert_eq!(
                outcome.stdout,
                if nnp { "" } else { "0\n" },
                "{}",
                outcome.describe("su")
            );
        }
    });
}

/// "umask (int, OPTIONAL) specifies the umask of the user."
#[test]
fn the_umask_is_that_of_the_configuration() {
    sandbox::host(|s| {
        for (value, shown) in [
            (json!(0o077), "0077"),
            (json!(0), "0000"),
            (json!(null), "0022"),
        ] {
            let mut bundle = s.bundle();
            if !value.is_null() {
                bundle.set("/process/user/umask", value);
            }
            bundle.args(&["sh", "-c", "umask"]);
            s.run(&bundle).prints(shown);
        }
    });
}

/// runc#3674: the stdio of the caller is not given away to the container's user when it is the
/// host's /dev/null.
#[test]
fn the_hosts_null_device_keeps_its_owner() {
    sandbox::host(|s| {
        // A null device of the test's own: a runtime that fails this test must not take the
        // machine's.
        let null = s.dir.join("null");
        let name = null.to_str().expect("UTF-8");
        s.tool("mknod", &["-m", "666", name, "c", "1", "3"]);
        s.tool("mount", &["--bind", name, "/dev/null"]);
        let before = fs::metadata("/dev/null").expect("stat");
        let mut bundle = s.bundle();
        bundle.user(1000, 1000);
        let outcome = s.run(&bundle);
        let after = fs::metadata("/dev/null").expect("stat");
        s.tool("umount", &["--lazy", "/dev/null"]);
        outcome.ok();
        assert_eq!(
            (after.uid(), after.gid(), after.mode()),
            (before.uid(), before.gid(), before.mode())
        );
    });
}

/// CVE-2016-3697: a numeric uid is never looked up as a name of the image's passwd.
#[test]
fn a_number_is_never_a_name() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/etc/passwd", "1000:x:0:0:evil:/evil:/bin/sh\n", 0o644);
        bundle.user(1000, 1000).args(&["sh", "-c", "id -u; id -g"]);
        s.run(&bundle).prints("1000\n1000");
    });
}

/// A hostile /etc/passwd (a FIFO) does not hang the start.
#[test]
fn a_fifo_as_passwd_does_not_hang() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 waits for a writer") {
            return;
        }
        let mut bundle = s.bundle();
        let passwd = bundle.root().join("etc/passwd");
        fs::remove_file(&passwd).expect("rm");
        s.tool("mkfifo", &[passwd.to_str().expect("UTF-8")]);
        bundle.args(&["echo", "on"]);
        s.run(&bundle).prints("on");
    });
}

/// Issue 9, C19: a program opens a pipe that is its standard output again, as root of a new user
/// namespace too.
#[test]
fn standard_output_can_be_opened_again() {
    sandbox::host(|s| {
        for (namespace, user) in [(false, 1000), (true, 0), (true, 1000)] {
            let mut bundle = s.bundle();
            if namespace {
                bundle.user_namespace(&[(0, 100_000, 65536)]);
            }
            bundle.user(user, user).shell("echo again > /dev/stdout");
            let id = s.id();
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "\"$0\" --root \"$1\" create --bundle \"$2\" \"$3\" | cat",
            ]);
            command.arg(&s.subject.program).arg(&s.state);
            command.arg(bundle.write()).arg(&id);
            let piped = s.spawn(command, Some(&bundle));
            let state = s.state.join(&id).join("state.json");
            assert!(sandbox::eventually(|| state.exists()), "no container");
            s.runtime(&["start", &id]).ok();
            let outcome = piped.wait();
            assert_eq!(outcome.stdout, "again\n", "{namespace} {user}");
            let stopped = || s.runtime(&["state", &id]).stdout.contains("stopped");
            assert!(sandbox::eventually(stopped));
            s.runtime(&["delete", &id]).ok();
        }
    });
}
