//! `linux.sysctl`: config-linux.md "Sysctl".

use std::fs;
use std::path::Path;

use integration::sandbox;
use serde_json::json;

/// "sysctl (object, OPTIONAL) allows kernel parameters to be modified at runtime for the
/// container."
#[test]
fn namespaced_parameters_are_set() {
    sandbox::host(|s| {
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("sysctl");
        let mut bundle = s.bundle();
        bundle.set(
            "/linux/sysctl",
            json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4242" }),
        );
        bundle.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax");
        s.run(&bundle).prints("1\n4242");
        assert_eq!(
            fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("sysctl"),
            before
        );
    });
}

/// Both spellings: a dot or a slash between the parts.
#[test]
fn slashes_separate_as_dots_do() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/linux/sysctl", json!({ "net/ipv4/ip_forward": "1" }));
        bundle.args(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
        s.run(&bundle).prints("1");
    });
}

/// A parameter without a namespace, or whose namespace the container shares with the host, is
/// refused and untouched.
#[test]
fn parameters_of_the_host_are_refused() {
    sandbox::host(|s| {
        for (key, inherited) in [
            ("kernel.core_pattern", ""),
            ("vm.overcommit_memory", ""),
            ("kernel.hostname", ""),
            ("net.ipv4.ip_forward", "network"),
            ("kernel.msgmax", "ipc"),
            ("kernel.shm_rmid_forced", "ipc"),
        ] {
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            let before = fs::read(&path).expect("sysctl");
            let mut bundle = s.bundle();
            bundle.inherit(inherited);
            if inherited == "ipc" {
                bundle.unmount("/dev/mqueue");
            }
            // The present value: a runtime that fails this test harms nothing.
            let value = String::from_utf8_lossy(&before).trim().to_owned();
            bundle.set("/linux/sysctl", json!({ key: value }));
            s.try_create(&bundle, &s.id(), &[]).fails_with(&[key]);
            assert_eq!(fs::read(&path).expect("sysctl"), before, "{key}");
        }
    });
}

/// CVE-2022-0811 (cr8escape): neither a key nor a value smuggles a second parameter.
#[test]
fn keys_smuggle_nothing() {
    sandbox::host(|s| {
        let before = fs::read("/proc/sys/kernel/core_pattern").expect("sysctl");
        // The present value of core_pattern: a runtime that fails this test harms nothing.
        let value = String::from_utf8_lossy(&before).trim().to_owned();
        for key in [
            "net/../kernel/core_pattern",
            "net.ipv4.ip_forward+kernel.core_pattern",
            "net..ipv4.ip_forward",
            "net.ipv4.ip_forward ",
            "NET.ipv4.ip_forward",
            "net.ipv4.ip_forward=1\nkernel.core_pattern",
            "/net/ipv4/../../kernel/core_pattern",
        ] {
            if key.starts_with('/') && !s.subject.is_locule() {
                continue; // runc 1.1 takes this one
            }
            let mut bundle = s.bundle();
            bundle.set("/linux/sysctl", json!({ key: value }));
            s.try_create(&bundle, &s.id(), &[]).fails();
            assert_eq!(
                fs::read("/proc/sys/kernel/core_pattern").expect("sysctl"),
                before,
                "{key}"
            );
        }
    });
}

/// A value that the kernel refuses is an error that names the key.
#[test]
fn a_refused_value_is_an_error() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set(
            "/linux/sysctl",
            json!({ "net.ipv4.ip_forward": "not a number" }),
        );
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        if s.subject.is_locule() {
            outcome.fails_with(&["/linux/sysctl/net.ipv4.ip_forward: "]);
        }
    });
}

/// CVE-2019-16884, CVE-2025-52881: the image has files where the parameters are, and nothing is
/// mounted there. The parameter is set all the same.
#[test]
fn cve_2019_16884_a_false_proc_takes_no_parameter() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 writes what is there") {
            return;
        }
        let mut bundle = s.bundle();
        let planted = bundle.file("/proc/sys/net/ipv4/ip_forward", "planted", 0o666);
        bundle
            .writable()
            .unmount("/proc")
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
            .args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let pid = container.pid().to_string();
        let value = s.tool(
            "nsenter",
            &[
                "--target",
                &pid,
                "--net",
                "cat",
                "/proc/sys/net/ipv4/ip_forward",
            ],
        );
        container.remove();
        assert_eq!(value, "1\n");
        assert_eq!(fs::read_to_string(&planted).expect("read"), "planted");
    });
}

/// The kernel gives no new procfs for a PID namespace that belongs to another user namespace: an
/// engine's `--pid host` for a user, with the engine's own parameter for ping.
#[test]
fn a_user_namespace_in_the_callers_pid_namespace_sets_parameters() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.inherit("pid").unmount("/proc");
        bundle.bind(Path::new("/proc"), "/proc", &["rbind"]);
        bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        bundle.args(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
        s.run(&bundle).prints("1");
    });
}
