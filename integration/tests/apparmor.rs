//! AppArmor: config.md "apparmorProfile".

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use integration::canary::Canary;
use integration::{Bundle, Sandbox, label, sandbox};
use serde_json::json;

/// What every test's program may do; the rules of a test forbid some of it.
const ALL: &str = "file, capability, network, mount, umount, signal, ptrace,";

/// A profile of AppArmor, loaded into the kernel until the end of the test.
struct Profile {
    name: String,
    text: String,
    /// The policy namespace that it is in.
    namespace: Option<String>,
}

impl Profile {
    /// Loads it under a name that no other test uses.
    fn load(s: &Sandbox, flags: &str, rules: &str) -> Self {
        Self::load_in(s, None, flags, rules)
    }

    fn load_in(s: &Sandbox, namespace: Option<String>, flags: &str, rules: &str) -> Self {
        let name = s.id();
        let flags = ["attach_disconnected", "mediate_deleted", flags].join(",");
        let flags = flags.trim_end_matches(',');
        let text = format!("profile {name} flags=({flags}) {{ {rules} }}");
        let profile = Self {
            name,
            text,
            namespace,
        };
        assert!(profile.parser("--add"), "{}", profile.text);
        profile
    }

    fn parser(&self, what: &str) -> bool {
        let file = format!("/run/sandbox/{}.profile", self.name);
        fs::write(&file, &self.text).expect("profile");
        let mut command = Command::new("apparmor_parser");
        command.args([what, "--skip-cache", "--quiet"]);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command
            .arg(&file)
            .status()
            .expect("apparmor_parser")
            .success()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

fn lacks_apparmor(s: &Sandbox) -> bool {
    s.lacks_lsm("apparmor")
}

/// A bundle whose program says what it runs under, and tries what the profile of [`confined`]
/// forbids.
fn bundle(s: &Sandbox, profile: &str) -> Bundle {
    let mut bundle = s.bundle();
    bundle
        .set("/process/apparmorProfile", json!(profile))
        .shell("cat /proc/self/attr/current; cat /etc/group || echo denied");
    bundle
}

/// A profile that forbids to read /etc/group.
fn confined(s: &Sandbox) -> Profile {
    Profile::load(s, "", &format!("{ALL} deny /etc/group r,"))
}

/// What such a bundle prints when all went well.
fn enforced(profile: &Profile) -> String {
    format!("{} (enforce)\ndenied", profile.name)
}

/// config.md: "apparmorProfile (string, OPTIONAL) specifies the name of the AppArmor profile for
/// the process." On a host that has no AppArmor it cannot be applied, and nothing is made.
#[test]
fn a_profile_without_apparmor_is_an_error_before_anything_is_made() {
    sandbox::host(|s| {
        if s.has_lsm("apparmor") {
            s.skip("AppArmor is here; covered where it is not");
            return;
        }
        let words = "AppArmor is not enabled";
        label::refused(s, "/process/apparmorProfile", words);
        label::refused_for_a_further_process(s, "--apparmor", words);
    });
}

/// On a host without AppArmor every process is unconfined: what engines send for a privileged
/// container works everywhere. An empty string asks for nothing.
#[test]
fn unconfined_and_empty_need_no_apparmor() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1.5 demands AppArmor for unconfined") {
            return;
        }
        for profile in ["unconfined", ""] {
            s.run(&bundle(s, profile)).ok().contains("root:x:0:");
        }
    });
}

/// config.md: "apparmorProfile (string, OPTIONAL) specifies the name of the AppArmor profile for
/// the process."
#[test]
fn the_program_runs_under_the_profile() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let profile = confined(s);
        for no_new_privileges in [true, false] {
            let mut bundle = bundle(s, &profile.name);
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
            s.run(&bundle).prints(&enforced(&profile));
            // The filter forbids what the label is written with, and comes before or after the
            // capabilities.
            bundle.set(
                "/linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    { "names": ["pread64", "openat2"], "action": "SCMP_ACT_ERRNO" }
                ]}),
            );
            let container = s.started(&bundle);
            assert_eq!(container.finish().trim(), enforced(&profile));
        }
        let mut bundle = bundle(s, &profile.name);
        bundle.user(1000, 1000).capabilities(&[], &[]);
        s.run(&bundle).prints(&enforced(&profile));
        bundle.user(0, 0).user_namespace(&[(0, 100_000, 65536)]);
        s.run(&bundle).prints(&enforced(&profile));
    });
}

/// Whatever namespaces the process enters, and on whatever way: the attributes that are written are
/// its own.
#[test]
fn the_profile_holds_in_every_namespace() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let profile = confined(s);
        let mut neighbour = s.bundle();
        neighbour.args(&["sleep", "600"]);
        let neighbour = s.started(&neighbour);
        let namespace = |kind: &str| format!("/proc/{}/ns/{kind}", neighbour.pid());
        let mut joined = bundle(s, &profile.name);
        joined
            .join("pid", namespace("pid"))
            .join("ipc", namespace("ipc"));
        s.run(&joined).prints(&enforced(&profile));
        let mut inherited = bundle(s, &profile.name);
        inherited.inherit("pid").inherit("cgroup");
        s.run(&inherited).prints(&enforced(&profile));
        let mut shifted = bundle(s, &profile.name);
        shifted
            .namespace("time")
            .set("/linux/timeOffsets", json!({ "boottime": { "secs": 100 } }));
        s.run(&shifted).prints(&enforced(&profile));
        neighbour.remove();
    });
}

/// `exec` takes the container's profile over; `--apparmor` and the document of `--process` name
/// another.
#[test]
fn a_further_process_runs_under_a_profile() {
    sandbox::host(|s| {
        if s.lacks_lsm("apparmor") || s.is_control("the pointers are locule's") {
            return;
        }
        further_processes_run_under_profiles(s, &[true, false]);
    });
}

/// The same for an ordinary user, who enters a user namespace on the way.
#[test]
fn a_users_further_process_runs_under_a_profile() {
    sandbox::user(|s| {
        if s.lacks_lsm("apparmor") || s.is_control("the pointers are locule's") {
            return;
        }
        further_processes_run_under_profiles(s, &[true]);
    });
}

fn further_processes_run_under_profiles(s: &Sandbox, no_new_privileges: &[bool]) {
    let (own, other) = (confined(s), confined(s));
    let script = "cat /proc/self/attr/current; cat /etc/group || echo denied";
    for no_new_privileges in no_new_privileges {
        let mut bundle = s.bundle_that_waits();
        bundle
            .set("/process/apparmorProfile", json!(own.name))
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = s.started(&bundle);
        container.exec_shell(&[], script).prints(&enforced(&own));
        container
            .exec_shell(&["--apparmor", &other.name], script)
            .prints(&enforced(&other));
        let mut process = bundle.config["process"].clone();
        process["apparmorProfile"] = json!(other.name);
        process["args"] = json!(["sh", "-c", script]);
        let file = s.dir.join("process.json");
        fs::write(&file, process.to_string()).expect("process.json");
        container
            .exec(&["--process", file.to_str().expect("UTF-8")], &[])
            .prints(&enforced(&other));
        container.remove();
    }
    let container = s.started(&s.bundle_that_waits());
    let outcome = container.exec_shell(&[], script).ok();
    outcome.contains("unconfined\nroot:x:0:");
    container
        .exec_shell(&["--apparmor", &other.name], script)
        .prints(&enforced(&other));
    let missing = s.id();
    container
        .exec(&["--apparmor", &missing], &["true"])
        .exits(255)
        .fails_with(&[
            "/process/apparmorProfile",
            &missing,
            "no such profile is loaded",
        ]);
    assert_eq!(container.status(), "running");
    container.remove();
}

/// What a profile denies is denied to root with the capability, too.
#[test]
fn a_profile_takes_capabilities() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let profile = Profile::load(s, "", &format!("{ALL} deny capability chown,"));
        let mut bundle = s.bundle();
        bundle
            .writable()
            .capabilities(&["bounding", "effective", "permitted"], &["CAP_CHOWN"])
            .shell("chown 7 /etc/group && stat -c %u /etc/group");
        s.run(&bundle).prints("7");
        bundle.set("/process/apparmorProfile", json!(profile.name));
        let outcome = s.run(&bundle).exits(1);
        assert!(
            outcome.stderr.contains("Operation not permitted"),
            "{}",
            outcome.describe("EPERM")
        );
    });
}

/// The kernel's names pass through: a profile that only complains, none, a stack, one of a policy
/// namespace, the name with white space in it.
#[test]
fn every_kind_of_name_is_the_kernels() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let complaining = Profile::load(s, "complain", "/** rwlkmix,");
        s.run(&bundle(s, &complaining.name))
            .ok()
            .contains(&format!("{} (complain)\nroot:x:0:", complaining.name));

        s.run(&bundle(s, "unconfined"))
            .ok()
            .contains("unconfined\nroot:x:0:");

        let (one, two) = (confined(s), Profile::load(s, "", ALL));
        let stack = format!("{}//&{}", two.name, one.name);
        let outcome = s.run(&bundle(s, &stack)).ok();
        for name in [&one.name, &two.name, "//&", "(enforce)", "denied"] {
            assert!(outcome.stdout.contains(name), "{}", outcome.describe(name));
        }
        if s.is_control("runc 1.1.5 cuts nothing off either, but says it in other words") {
            return;
        }
        let namespace = s.id();
        let folder = Path::new("/sys/kernel/security/apparmor/policy/namespaces").join(&namespace);
        fs::create_dir(&folder).expect("policy namespace");
        let rules = format!("{ALL} deny /etc/group r,");
        let inner = Profile::load_in(s, Some(namespace.clone()), "", &rules);
        for separator in [":", "://"] {
            let name = format!(":{namespace}{separator}{}", inner.name);
            s.run(&bundle(s, &name)).prints(&enforced(&inner));
        }
        drop(inner);
        fs::remove_dir(&folder).expect("policy namespace");
    });
}

/// A name that is not loaded is said to be so; nothing runs and nothing is left.
#[test]
fn a_profile_that_is_not_loaded_is_named() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let name = s.id();
        for profile in [
            name.clone(),
            format!(":{name}:web"),
            format!("{name}//&unconfined"),
        ] {
            let outcome = s.try_create(&bundle(s, &profile), &s.id(), &[]);
            if s.subject.is_locule() {
                let words = [
                    "/process/apparmorProfile",
                    &name,
                    "no such profile is loaded",
                ];
                outcome.fails_with(&words);
            } else {
                outcome.fails();
            }
        }
    });
}

/// An ordinary user may confine too.
#[test]
fn a_user_runs_a_container_under_a_profile() {
    sandbox::user(|s| {
        if s.lacks_lsm("apparmor") {
            return;
        }
        let profile = confined(s);
        s.run(&bundle(s, &profile.name)).prints(&enforced(&profile));
    });
}

/// A runtime that is confined itself, and may not put others under a profile, says what it needs.
#[test]
fn a_runtime_that_may_not_change_profiles_says_so() {
    sandbox::host_unless(lacks_apparmor, |s| {
        if s.is_control("the words are locule's own") {
            return;
        }
        let profile = confined(s);
        let may = Profile::load(s, "", &format!("{ALL} pivot_root, change_profile,"));
        let may_not = Profile::load(s, "", &format!("{ALL} pivot_root,"));
        let mut bundle = bundle(s, &profile.name);
        let run_under = |runtime: &Profile, bundle: &Bundle| {
            let mut command = Command::new("aa-exec");
            command.args(["--profile", &runtime.name, "--"]);
            command.arg(&s.subject.program).arg("--root").arg(&s.state);
            command.args(["run", "--bundle"]).arg(bundle.write());
            command.arg(s.id()).current_dir(&s.dir);
            s.finish(command, Some(bundle))
        };
        let words = ["operation not permitted", "an unconfined runtime"];
        run_under(&may, &bundle).fails_with(&words);
        bundle.set("/process/noNewPrivileges", json!(false));
        run_under(&may, &bundle).prints(&enforced(&profile));
        let words = ["/process/apparmorProfile", "change_profile"];
        run_under(&may_not, &bundle).fails_with(&words);
    });
}

/// A runtime that is confined itself makes containers without the right to trace.
#[test]
fn a_confined_runtime_need_not_trace() {
    sandbox::host_unless(lacks_apparmor, |s| {
        if s.is_control("runc 1.1.5 wants more rights") {
            return;
        }
        let rules = "file, capability, network, mount, umount, remount, signal, pivot_root,";
        let runtime = Profile::load(s, "", rules);
        let mut bundle = s.bundle();
        bundle.args(&["cat", "/sys/class/net/lo/flags"]);
        let mut command = Command::new("aa-exec");
        command.args(["--profile", &runtime.name, "--"]);
        command.arg(&s.subject.program).arg("--root").arg(&s.state);
        command.args(["run", "--bundle"]).arg(bundle.write());
        command.arg(s.id()).current_dir(&s.dir);
        // IFF_UP | IFF_LOOPBACK.
        s.finish(command, Some(&bundle)).prints("0x9");
    });
}

/// startContainer hooks are programs of the image: they run under the profile. createContainer
/// hooks are the host's: they do not.
#[test]
fn hooks_of_the_image_run_under_the_profile() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let profile = confined(s);
        let mut bundle = bundle(s, &profile.name);
        bundle.writable();
        bundle.file(
            "says",
            "#!/bin/sh\ncat /proc/self/attr/current > /says.$1\n",
            0o755,
        );
        let hook = |path: &Path, kind: &str| json!([{ "path": path, "args": ["says", kind] }]);
        bundle.set("/hooks/startContainer", hook(Path::new("/says"), "start"));
        let host = s.dir.join("host-hook");
        let script = format!(
            "#!/bin/sh\ncat /proc/self/attr/current > {}/says.create\n",
            bundle.root().display()
        );
        fs::write(&host, script).expect("hook");
        s.tool("chmod", &["755", host.to_str().expect("UTF-8")]);
        bundle.set("/hooks/createContainer", hook(&host, "create"));
        s.run(&bundle).prints(&enforced(&profile));
        let said = |kind: &str| {
            let path = bundle.root().join(format!("says.{kind}"));
            fs::read_to_string(path)
                .expect("a hook's word")
                .trim()
                .to_owned()
        };
        if s.subject.is_locule() {
            assert_eq!(said("create"), "unconfined");
            assert_eq!(said("start"), format!("{} (enforce)", profile.name));
        }
    });
}

/// CVE-2019-16884, CVE-2023-28642, CVE-2025-52881: the image has files where the attributes of a
/// process are. The profile holds, or there is no start, and the files are as they were.
#[test]
fn cve_2019_16884_a_false_proc_takes_no_profile_away() {
    sandbox::host_unless(lacks_apparmor, |s| {
        let profile = confined(s);
        let canary = Canary::make(s);
        let fake = |root: &Path| {
            for thread in ["self", "thread-self", "1", "1/task/1"] {
                for file in ["exec", "current", "apparmor/exec", "apparmor/current"] {
                    let path = root.join(thread).join("attr").join(file);
                    fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
                    fs::write(path, "untouched\n").expect("write");
                }
            }
        };
        // No procfs in the container: what is in the image stays visible.
        let mut bare = bundle(s, &profile.name);
        fake(&bare.root().join("proc"));
        bare.writable()
            .unmount("/proc")
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
            .shell("cat /proc/*/attr/*exec /proc/*/attr/*/exec | sort -u; cat /etc/group || echo denied");
        let outcome = s.run(&bare);
        if s.subject.is_locule() || outcome.status.success() {
            outcome.prints("untouched\ndenied");
        }

        // A tree of false files, by bind mount and by link.
        let volume = s.dir.join("volume");
        fake(&volume);
        let mut bound = bundle(s, &profile.name);
        bound.unmount("/proc").bind(&volume, "/proc", &["rw"]);
        s.run(&bound).fails();
        for target in [
            volume.as_path(),
            &canary.path,
            Path::new("/tmp/../vol"),
            Path::new("/nowhere"),
        ] {
            let mut linked = bundle(s, &profile.name);
            let proc = linked.root().join("proc");
            fs::remove_dir(&proc).expect("rm");
            symlink(target, &proc).expect("symlink");
            fake(&linked.root().join("vol"));
            linked.writable().bind(&volume, "/vol", &["rw"]);
            let outcome = s.run(&linked);
            let held = outcome.stdout.trim() == enforced(&profile);
            assert!(
                held || !outcome.status.success(),
                "{}",
                outcome.describe("the profile")
            );
        }
        for folder in [&volume, &bare.root().join("proc")] {
            let read = s.tool(
                "grep",
                &["-rLx", "untouched", folder.to_str().expect("UTF-8")],
            );
            assert_eq!(read, "", "written files");
        }
        canary.check();
    });
}
