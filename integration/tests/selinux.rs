//! SELinux: config.md "selinuxLabel", config-linux.md "Mount Label".

use std::fs;

use integration::{Bundle, Sandbox, label, sandbox};
use serde_json::json;

/// Whether the label of a process means nothing here. Then it says that the test cannot run. The
/// virtual machine's policy (integration/vm/selinux.conf) is enforced: host_t may do everything but
/// become closed_t, web_t may not touch files of secret_t, and sees no keys but those of web_t.
fn lacks_policy(s: &Sandbox) -> bool {
    if s.lacks_lsm("selinux") {
        return true;
    }
    let own = fs::read_to_string("/proc/self/attr/current").expect("a label");
    assert_eq!(own.trim_end_matches('\0'), "u:r:host_t:s0");
    assert_eq!(s.tool("getenforce", &[]).trim(), "Enforcing");
    false
}

/// A bundle whose program says what it is labelled with.
fn labelled(s: &Sandbox, label: &str) -> Bundle {
    let mut bundle = s.bundle();
    bundle
        .set("/process/selinuxLabel", json!(label))
        .args(&["cat", "/proc/self/attr/current"]);
    bundle
}

/// config.md: "selinuxLabel (string, OPTIONAL) specifies the SELinux label for the process";
/// config-linux.md: "mountLabel (string, OPTIONAL) will set the Selinux context for the mounts in
/// the container." On a host that has no SELinux neither can be applied, and nothing is made.
#[test]
fn a_label_without_selinux_is_an_error_before_anything_is_made() {
    sandbox::host(|s| {
        if s.has_lsm("selinux") {
            s.skip("SELinux is here; covered where it is not");
            return;
        }
        let words = "SELinux is not enabled";
        for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
            label::refused(s, pointer, words);
        }
        label::refused_for_a_further_process(s, "--process-label", words);
    });
}

/// An empty string asks for nothing.
#[test]
fn empty_labels_need_no_selinux() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/process/selinuxLabel", json!(""))
            .set("/linux/mountLabel", json!(""))
            .args(&["true"]);
        s.run(&bundle).ok();
    });
}

/// Without a policy SELinux takes any label and means nothing by it.
#[test]
fn a_label_without_a_policy_is_an_error_before_anything_is_made() {
    sandbox::host(|s| {
        let own = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        if own.trim_end_matches('\0') != "kernel" {
            s.skip("no SELinux without a policy here; covered by just vm-test before it loads one");
            return;
        }
        for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
            label::refused(s, pointer, "no policy loaded");
        }
    });
}

/// config.md: "selinuxLabel (string, OPTIONAL) specifies the SELinux label for the process."
#[test]
fn the_program_runs_with_the_label() {
    sandbox::host_unless(lacks_policy, |s| {
        let label = "u:r:web_t:s0:c1,c3";
        for no_new_privileges in [true, false] {
            let mut bundle = labelled(s, label);
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            s.run(&bundle).prints(&format!("{label}\0"));
        }
        // Categories in another order are the same label.
        s.run(&labelled(s, "u:r:web_t:s0:c3,c1"))
            .prints(&format!("{label}\0"));
        let mut bundle = labelled(s, label);
        bundle.user(1000, 1000).capabilities(&[], &[]);
        s.run(&bundle).prints(&format!("{label}\0"));
        bundle.user(0, 0).user_namespace(&[(0, 100_000, 65536)]);
        s.run(&bundle).prints(&format!("{label}\0"));
    });
}

/// `exec` takes the container's label over, and `--process-label` names another; what the policy
/// does not have or does not permit is an error.
#[test]
fn a_further_process_runs_with_a_label() {
    sandbox::host(|s| {
        if lacks_policy(s) || s.is_control("the pointers are locule's") {
            return;
        }
        let (own, other) = ("u:r:web_t:s0:c1,c3", "u:r:web_t:s0:c2");
        let show = ["cat", "/proc/self/attr/current"];
        for no_new_privileges in [true, false] {
            let mut bundle = s.bundle_that_waits();
            bundle
                .set("/process/selinuxLabel", json!(own))
                .set("/process/noNewPrivileges", json!(no_new_privileges));
            let container = s.started(&bundle);
            container.exec(&[], &show).prints(&format!("{own}\0"));
            container
                .exec(&["--process-label", other], &show)
                .prints(&format!("{other}\0"));
            let label = "u:r:unknown_t:s0";
            let outcome = container.exec(&["--process-label", label], &show);
            outcome
                .exits(255)
                .fails_with(&["/process/selinuxLabel", label, "no such context"]);
            let label = "u:r:closed_t:s0";
            let outcome = container
                .exec(&["--process-label", label], &show)
                .exits(255);
            assert!(
                !outcome.stdout.contains(label),
                "{}",
                outcome.describe("no program")
            );
            assert_eq!(container.status(), "running");
            container.remove();
        }
        // The container's first process has none.
        let container = s.started(&s.bundle_that_waits());
        container
            .exec(&["--process-label", other], &show)
            .prints(&format!("{other}\0"));
        container.remove();
    });
}

/// What the policy denies to the label is denied.
#[test]
fn a_label_is_enforced() {
    sandbox::host_unless(lacks_policy, |s| {
        let mut bundle = labelled(s, "u:r:web_t:s0");
        let secret = bundle.file("secret", "found\n", 0o644);
        let secret = secret.to_str().expect("UTF-8");
        s.tool("chcon", &["u:object_r:secret_t:s0", secret]);
        bundle.shell("cat /etc/group /secret");
        let outcome = s.run(&bundle).exits(1).contains("root:x:0:");
        let denied = "can't open '/secret': Permission denied";
        assert!(
            outcome.stderr.contains(denied),
            "{}",
            outcome.describe(denied)
        );
        bundle.remove("/process/selinuxLabel");
        s.run(&bundle).ok().contains("found");
    });
}

/// A label that the policy does not have is refused before anything is made; one that it does not
/// let the runtime choose is the kernel's refusal.
#[test]
fn labels_that_the_policy_refuses_are_errors() {
    sandbox::host_unless(lacks_policy, |s| {
        let trace = s.dir.join("trace");
        for label in ["u:r:unknown_t:s0", "u:r:web_t:s0:c9", "web_t", "u:r:web_t"] {
            for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
                let mut bundle = s.bundle();
                bundle.set(pointer, json!(label));
                label::trace_hook(&mut bundle, &trace);
                let outcome = s.try_create(&bundle, &s.id(), &[]);
                if s.subject.is_locule() {
                    outcome.fails_with(&[pointer, label, "no such context"]);
                    assert!(!trace.exists(), "a hook has run");
                } else {
                    outcome.fails();
                }
            }
        }
        let mut bundle = labelled(s, "u:r:closed_t:s0");
        s.run(&bundle).fails_with(&["operation not permitted"]);
        bundle.set("/process/noNewPrivileges", json!(false));
        s.run(&bundle).fails_with(&["permission denied"]);
    });
}

/// config-linux.md: "mountLabel (string, OPTIONAL) will set the Selinux context for the mounts in
/// the container." procfs, sysfs and cgroups have labels of their own; a label that a mount asks
/// for itself wins.
#[test]
fn mounts_carry_the_label() {
    sandbox::host_unless(lacks_policy, |s| {
        let label = "u:object_r:web_file_t:s0:c1,c3";
        let mut bundle = labelled(s, "u:r:web_t:s0:c1,c3");
        bundle
            .set("/linux/mountLabel", json!(label))
            .set("/linux/maskedPaths", json!(["/proc/acpi", "/sys/firmware"]));
        let own = "u:object_r:secret_t:s0:c1,c2";
        let option = format!("context=\"{own}\"");
        bundle.writable().mount(json!({
            "destination": "/own", "type": "tmpfs", "source": "own", "options": [option]
        }));
        bundle.shell("cat /proc/self/mountinfo; echo ready; sleep 600");
        for user_namespace in [false, true] {
            if user_namespace {
                bundle.user_namespace(&[(0, 0, 65536)]);
            }
            let container = s.started(&bundle);
            container.wait_output("ready");
            let table = container.output();
            for (path, wanted) in [
                ("/dev", Some(label)),
                ("/dev/pts", Some(label)),
                ("/dev/shm", Some(label)),
                ("/sys/firmware", Some(label)),
                ("/own", Some(own)),
                ("/proc", None),
                ("/sys", None),
                ("/sys/fs/cgroup", None),
            ] {
                let line = table
                    .lines()
                    .find(|line| line.split(' ').nth(4) == Some(path));
                let line = line.unwrap_or_else(|| panic!("{path} in {table}"));
                let found = line
                    .split_once("context=\"")
                    .map(|(_, rest)| rest.split('"').next());
                assert_eq!(found.flatten(), wanted, "{line}");
            }
            let queues = format!("/proc/{}/root/dev/mqueue", container.pid());
            let found = s.tool("stat", &["--format=%C", &queues]);
            assert_eq!(found.trim(), label, "the queues");
            container.remove();
        }
    });
}

/// A file system that the host has mounted already cannot have another label.
#[test]
fn a_file_system_that_takes_no_label_is_an_error() {
    sandbox::host_unless(lacks_policy, |s| {
        let mut bundle = s.bundle();
        let mount = json!({ "destination": "/mnt", "type": "securityfs", "source": "none" });
        bundle.mount(mount);
        s.run(&bundle).ok();
        bundle.set("/linux/mountLabel", json!("u:object_r:web_file_t:s0"));
        let outcome = s.run(&bundle);
        if s.subject.is_locule() {
            outcome.fails_with(&["/mounts/", "securityfs", "another label"]);
        } else {
            outcome.fails();
        }
    });
}

/// An ordinary user may label, too.
#[test]
fn a_user_runs_a_container_with_labels() {
    sandbox::user(|s| {
        if lacks_policy(s) {
            return;
        }
        let mut bundle = labelled(s, "u:r:web_t:s0:c1");
        bundle.set("/linux/mountLabel", json!("u:object_r:web_file_t:s0:c1"));
        s.run(&bundle).prints("u:r:web_t:s0:c1\0");
    });
}

/// The keyring is labelled like the program, which may see its own and no others.
#[test]
fn the_session_keyring_carries_the_label() {
    sandbox::host_unless(lacks_policy, |s| {
        let mut bundle = labelled(s, "u:r:web_t:s0:c1,c3");
        bundle
            .set("/linux/maskedPaths", json!([]))
            .shell("cut -d' ' -f2- /proc/keys | grep -c _ses");
        s.run(&bundle).prints("1");
        // The caller's keys are host_t's.
        let outcome = s.run_with(&bundle, &["--no-new-keyring"]).exits(1);
        assert_eq!(outcome.text(), "0");
    });
}

/// CVE-2019-16884, CVE-2025-52881 with SELinux: false attributes in the image take no label away.
#[test]
fn cve_2025_52881_a_false_proc_takes_no_label_away() {
    sandbox::host_unless(lacks_policy, |s| {
        let mut bundle = labelled(s, "u:r:web_t:s0");
        for thread in ["self", "thread-self", "1", "1/task/1"] {
            for file in ["exec", "current", "keycreate"] {
                bundle.file(&format!("proc/{thread}/attr/{file}"), "untouched\n", 0o666);
            }
        }
        let secret = bundle.file("secret", "found\n", 0o644);
        s.tool(
            "chcon",
            &["u:object_r:secret_t:s0", secret.to_str().expect("UTF-8")],
        );
        bundle
            .writable()
            .unmount("/proc")
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .shell("sort -u /proc/*/attr/*; cat /secret || echo denied");
        s.run(&bundle).prints("untouched\ndenied");
    });
}
