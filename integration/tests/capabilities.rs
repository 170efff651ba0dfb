//! `process.capabilities`: config.md "Linux Process", capabilities(7).

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const SYS_CHROOT: u64 = 1 << 18;

/// The five sets of the program: inheritable, permitted, effective, bounding, ambient.
fn sets(s: &Sandbox, bundle: &mut Bundle) -> [u64; 5] {
    bundle.args(&["grep", "^Cap", "/proc/self/status"]);
    let outcome = s.run(bundle).ok();
    let mask = |name: &str| {
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        u64::from_str_radix(line.split_whitespace().last().expect("mask"), 16).expect("hex")
    };
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(mask)
}

/// Row S39: "bounding ... effective ... inheritable ... permitted ... ambient (array of strings,
/// OPTIONAL)": the masks equal the lists bit by bit.
#[test]
fn the_five_sets_are_those_of_the_configuration() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user(1000, 1000).set(
            "/process/capabilities",
            json!({
                "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT"],
                "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
                "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "ambient": ["CAP_KILL", "CAP_NET_BIND_SERVICE"]
            }),
        );
        let bounding = KILL | NET_BIND_SERVICE | NET_RAW | SYS_CHROOT;
        let kept = KILL | NET_BIND_SERVICE;
        // execve of a program without file capabilities leaves the ambient ones alone.
        assert_eq!(sets(s, &mut bundle), [kept, kept, kept, bounding, kept]);
    });
}

/// Row S39: uid 0 gets the whole bounding set at execve, nothing more.
#[test]
fn root_has_the_bounding_set() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.capabilities(
            &["bounding", "permitted", "effective"],
            &["CAP_KILL", "CAP_NET_RAW"],
        );
        let set = KILL | NET_RAW;
        assert_eq!(sets(s, &mut bundle), [0, set, set, set, 0]);
    });
}

/// An ordinary user has none without the ambient set.
#[test]
fn a_user_without_ambient_capabilities_has_none() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .user(1000, 1000)
            .capabilities(&["bounding", "permitted", "effective"], &["CAP_KILL"]);
        assert_eq!(sets(s, &mut bundle), [0, 0, 0, KILL, 0]);
    });
}

/// CVE-2022-29162, CVE-2022-27650, CVE-2025-27612: what is not in `inheritable` is not inheritable.
#[test]
fn inheritable_capabilities_are_not_invented() {
    sandbox::host(|s| {
        for uid in [0, 1000] {
            let mut bundle = s.bundle();
            bundle
                .user(uid, uid)
                .capabilities(&["bounding", "permitted", "effective"], &["CAP_NET_RAW"]);
            assert_eq!(sets(s, &mut bundle)[0], 0, "uid {uid}");
        }
    });
}

/// The caller's inheritable set does not come through either.
#[test]
fn inheritable_capabilities_of_the_caller_are_dropped() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_NET_RAW"]);
        bundle
            .args(&["grep", "CapInh", "/proc/self/status"])
            .write();
        let mut command = Command::new("setpriv");
        command
            .args(["--inh-caps", "+net_raw,+chown", "--"])
            .arg(&s.subject.program)
            .arg("--root")
            .arg(&s.state);
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        s.finish(command, Some(&bundle))
            .prints("CapInh:\t0000000000000000");
    });
}

/// The caller's secure bits do not come through: with `no_setuid_fixup` a program keeps its
/// capabilities when it leaves root. If they are locked, nothing runs.
#[test]
fn secure_bits_of_the_caller_are_cleared() {
    sandbox::host(|s| {
        if s.is_control("the other runtimes leave them") {
            return;
        }
        let mut bundle = s.bundle();
        for directory in ["/usr/bin", "/lib", "/lib64", "/usr/lib"] {
            if Path::new(directory).exists() {
                let place = directory.replace("/usr/bin", "/tools");
                bundle.bind(Path::new(directory), &place, &["rbind", "ro"]);
            }
        }
        let started = |bits: &str, words: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args(["--securebits", bits, "--"]);
            command.arg(&s.subject.program);
            command.arg("--root").arg(&s.state).args(words);
            command
        };
        bundle.args(&["/tools/setpriv", "--dump"]).write();
        let path = bundle.path.to_str().expect("UTF-8").to_owned();
        let id = s.id();
        let words = ["run", "--bundle", &path, &id];
        let free = "+no_setuid_fixup";
        let outcome = s.finish(started(free, &words), Some(&bundle));
        assert!(outcome.stdout.contains("Securebits: [none]"), "{outcome:?}");
        let locked = "+no_setuid_fixup,+no_setuid_fixup_locked";
        let outcome = s.finish(started(locked, &words), Some(&bundle));
        outcome.fails_with(&["/process/capabilities", "secure bits"]);
        bundle.args(&["sleep", "1000"]).write();
        let container = s.started(&bundle);
        let id = container.id.as_str();
        let words = ["exec", id, "/tools/setpriv", "--dump"];
        let outcome = s.finish(started(free, &words), Some(&bundle));
        assert!(outcome.stdout.contains("Securebits: [none]"), "{outcome:?}");
        container.remove();
    });
}

/// "capabilities (object, OPTIONAL)": an absent block is five empty sets, for uid 0 too.
#[test]
fn an_absent_block_means_no_capability() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 gives a container without the block those of the runtime") {
            return;
        }
        for value in [json!({}), json!(null)] {
            let mut bundle = s.bundle();
            bundle.set("/process/capabilities", value);
            assert_eq!(sets(s, &mut bundle), [0; 5]);
        }
        let mut bundle = s.bundle();
        bundle.remove("/process/capabilities");
        assert_eq!(sets(s, &mut bundle), [0; 5]);
    });
}

/// Row S40: a file with a capability works only if the bounding set has it and noNewPrivileges is
/// off.
#[test]
fn file_capabilities_obey_the_bounding_set() {
    sandbox::host(|s| {
        for (bounding, nnp, wanted) in [
            ("CAP_NET_RAW", false, NET_RAW),
            ("CAP_NET_RAW", true, 0),
            ("CAP_KILL", false, 0),
        ] {
            let mut bundle = s.bundle();
            let program = bundle.root().join("bin/busybox-raw");
            fs::copy(integration::bundle::busybox(), &program).expect("copy");
            s.tool(
                "setcap",
                &["cap_net_raw+p", program.to_str().expect("UTF-8")],
            );
            bundle
                .user(1000, 1000)
                .set("/process/noNewPrivileges", json!(nnp));
            bundle.capabilities(&["bounding"], &[bounding]);
            bundle.args(&["/bin/busybox-raw", "grep", "CapPrm", "/proc/self/status"]);
            s.run(&bundle).prints(&format!("CapPrm:\t{wanted:016x}"));
        }
    });
}

/// "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted
/// otherwise, MUST be logged as a warning by the runtime": "Runtimes SHOULD NOT fail if the
/// container configuration requests capabilities that cannot be granted".
#[test]
fn an_unknown_capability_is_a_warning() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.capabilities(
            &["bounding", "permitted", "effective"],
            &["CAP_KILL", "CAP_NO_SUCH"],
        );
        bundle.args(&["grep", "CapBnd", "/proc/self/status"]);
        let outcome = s.run(&bundle).prints(&format!("CapBnd:\t{KILL:016x}"));
        assert!(
            outcome.stderr.contains("CAP_NO_SUCH"),
            "{}",
            outcome.describe("wanted a warning")
        );
    });
}

/// Row S41: a privileged bundle sees every capability that the caller can give, no masks, and the
/// host's devices.
#[test]
fn a_privileged_bundle_sees_everything() {
    sandbox::host(|s| {
        let own = fs::read_to_string("/proc/self/status").expect("status");
        let line = own
            .lines()
            .find(|line| line.starts_with("CapBnd"))
            .expect("CapBnd")
            .to_owned();
        let mask =
            u64::from_str_radix(line.split_whitespace().last().expect("mask"), 16).expect("hex");
        let names = s.tool("capsh", &[&format!("--decode={mask:x}")]);
        let names = names
            .trim()
            .split_once('=')
            .expect("names")
            .1
            .to_uppercase();
        let names: Vec<_> = names.split(',').collect();
        let mut bundle = s.bundle();
        bundle.capabilities(&["bounding", "permitted", "effective"], &names);
        bundle
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]));
        bundle
            .unmount("/dev")
            .unmount("/dev/pts")
            .unmount("/dev/shm")
            .unmount("/dev/mqueue");
        bundle.mount(json!({ "destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rw"] }));
        bundle.shell(
            "grep CapBnd /proc/self/status; ls /dev/kmsg; mount -t tmpfs none /tmp && echo mounted",
        );
        s.run(&bundle)
            .prints(&format!("{line}\n/dev/kmsg\nmounted"));
    });
}

/// The securebits stay as they are, and ambient needs both other sets: a lone ambient entry raises
/// nobody.
#[test]
fn a_lone_ambient_capability_raises_nobody() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .user(1000, 1000)
            .capabilities(&["bounding", "ambient"], &["CAP_NET_RAW"]);
        bundle.args(&["grep", "CapEff", "/proc/self/status"]);
        let outcome = s.run(&bundle);
        if outcome.status.success() {
            assert_eq!(outcome.text(), "CapEff:\t0000000000000000");
        } else {
            assert!(
                outcome.last_line().to_lowercase().contains("ambient"),
                "{}",
                outcome.describe("wanted the set")
            );
        }
    });
}

/// Row S17: in a user namespace the sets are those of the configuration too, not more and not less.
#[test]
fn capabilities_in_a_user_namespace_are_those_asked_for() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65536)]);
        bundle.capabilities(
            &["bounding", "permitted", "effective"],
            &["CAP_SYS_CHROOT", "CAP_NET_RAW"],
        );
        let set = SYS_CHROOT | NET_RAW;
        assert_eq!(sets(s, &mut bundle), [0, set, set, set, 0]);
    });
}
