//! `exec`: how a further process is confined. Capabilities, filters, Landlock, keyrings.

use std::process::Command;

use integration::{Container, Outcome, Sandbox, sandbox};
use serde_json::json;

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

/// Capabilities are the container's. CVE-2022-29162: `--cap` widens bounding, effective and
/// permitted, never the inheritable set; ambient only what was inheritable.
#[test]
fn cve_2022_29162_inheritable_capabilities_are_never_raised() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
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
            let mut bundle = s.bundle_that_waits();
            bundle.set("/process/noNewPrivileges", json!(container_has));
            let container = s.started(&bundle);
            assert_eq!(status(&container, options, "NoNewPrivs"), expected);
            container.remove();
        }
    });
}

/// What protects the container's process protects one from a file too that does not say otherwise:
/// as with runc, capabilities that are not there are the container's, and so are profiles and
/// labels.
#[test]
fn a_process_file_without_capabilities_has_the_containers() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
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
        assert_eq!(sets(container.exec_file(&absent)), [one, one]);
        let empty = json!({ "cwd": "/", "args": args, "capabilities": {} });
        let none = "0000000000000000";
        assert_eq!(sets(container.exec_file(&empty)), [none, none]);
        let more = json!({ "cwd": "/", "args": args, "capabilities": {
            "bounding": ["CAP_NET_ADMIN"], "permitted": ["CAP_NET_ADMIN"], "effective": ["CAP_NET_ADMIN"],
        } });
        let other = "0000000000001000";
        assert_eq!(sets(container.exec_file(&more)), [other, other]);
        container.remove();
    });
}

/// A filter holds for a further process as for the first.
#[test]
fn the_filter_holds() {
    sandbox::host(|s| {
        let mut bundle = s.bundle_that_waits();
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
            let mut bundle = s.bundle_that_waits();
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
        let mut bundle = s.bundle_that_waits();
        let access = ["read", "execute"];
        let rules = json!({ "handledAccessFs": access, "pathBeneath": [
            { "paths": ["/bin", "/proc", "/dev/null"], "allowedAccess": access },
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
        let mut bundle = s.bundle_that_waits();
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
