//! AppArmor profile, SELinux labels and the session keyring: config.md "apparmorProfile",
//! "selinuxLabel", config-linux.md "Mount Label".

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use integration::canary::Canary;
use integration::{Bundle, Sandbox, sandbox};
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

/// A bundle whose program waits.
fn waiting(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.args(&["sleep", "600"]);
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

/// A hook that leaves a file.
fn with_hook(bundle: &mut Bundle, kind: &str, trace: &Path) {
    let args = json!(["touch", trace]);
    let hook = json!([{ "path": integration::bundle::busybox(), "args": args }]);
    bundle.set(&format!("/hooks/{kind}"), hook);
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
        refused_without(s, "/process/apparmorProfile", "AppArmor is not enabled");
    });
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
        for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
            refused_without(s, pointer, "SELinux is not enabled");
        }
    });
}

fn refused_without(s: &Sandbox, pointer: &str, words: &str) {
    let trace = s.dir.join("trace");
    let mut bundle = s.bundle();
    bundle.set(pointer, json!("some:label_t:s0"));
    with_hook(&mut bundle, "createRuntime", &trace);
    let outcome = s.try_create(&bundle, &s.id(), &[]);
    if s.subject.is_locule() {
        outcome.fails_with(&[pointer, words, "remove the property"]);
    } else {
        outcome.fails();
    }
    assert!(!trace.exists(), "a hook has run");
}

/// Where there are no profiles nobody is confined: what engines send for a privileged container
/// works everywhere. An empty string asks for nothing.
#[test]
fn unconfined_and_empty_need_no_apparmor() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1.5 demands AppArmor for unconfined") {
            return;
        }
        for profile in ["unconfined", ""] {
            let mut bundle = bundle(s, profile);
            bundle
                .set("/process/selinuxLabel", json!(""))
                .set("/linux/mountLabel", json!(""));
            s.run(&bundle).ok().contains("root:x:0:");
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
        let mut bundle = waiting(s);
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
    let container = s.started(&waiting(s));
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

/// Where there is no security module `exec` refuses a profile and a label, too.
#[test]
fn a_further_process_gets_no_label_that_the_host_cannot_give() {
    sandbox::host(|s| {
        let container = s.started(&waiting(s));
        for (module, option, words) in [
            ("apparmor", "--apparmor", "AppArmor is not enabled"),
            ("selinux", "--process-label", "SELinux is not enabled"),
        ] {
            if s.has_lsm(module) {
                continue;
            }
            let outcome = container.exec(&[option, "some:label_t:s0"], &["echo", "ran"]);
            assert!(!outcome.stdout.contains("ran"), "{option}");
            if s.subject.is_locule() {
                outcome.exits(255).fails_with(&[words]);
            }
        }
        container.remove();
    });
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
            refused_without(s, pointer, "no policy loaded");
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
            let mut bundle = waiting(s);
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
        let container = s.started(&waiting(s));
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
                with_hook(&mut bundle, "createRuntime", &trace);
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
