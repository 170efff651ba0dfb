//! `linux.seccomp`: config-linux.md "Seccomp", seccomp(2). The notification of a listener is in
//! seccomp_listener.rs.

use std::fs;
use std::path::Path;

use integration::{Bundle, Sandbox, bundle, sandbox};
use serde_json::{Value, json};

/// The status of a program that SIGSYS has killed.
const KILLED: i32 = 128 + 31;

/// A profile that permits everything but what `rules` say.
fn profile(rules: &Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

/// A bundle whose program may write, with such a profile.
fn bundle(s: &Sandbox, rules: &Value) -> Bundle {
    let mut bundle = s.bundle();
    bundle.writable().set("/linux/seccomp", profile(rules));
    bundle
}

/// A rule for both calls that make a directory.
fn mkdir(action: &str) -> Value {
    json!({ "names": ["mkdir", "mkdirat"], "action": action })
}

/// Podman's profile as it arrives in config.json.
fn podman() -> Value {
    let sample = include_str!("../../crates/spec/tests/samples/podman58-rootful-limits.json");
    let config: Value = serde_json::from_str(sample).expect("JSON");
    config["linux"]["seccomp"].clone()
}

/// A line of the program's own `/proc/self/status`.
fn status(s: &Sandbox, bundle: &mut Bundle, name: &str) -> String {
    bundle.args(&["grep", &format!("^{name}:"), "/proc/self/status"]);
    let outcome = s.run(bundle).ok();
    let value = outcome.text().rsplit('\t').next().unwrap_or_default();
    value.to_owned()
}

/// Row S43: "errnoRet (uint, OPTIONAL) - the errno return code to use. Some actions like
/// SCMP_ACT_ERRNO ... allow to specify the errno code to return. ... If not specified its default
/// value is EPERM."
#[test]
fn a_blocked_call_gets_its_errno() {
    sandbox::host(|s| {
        for (number, words) in [
            (None, "Operation not permitted"),
            (Some(38), "Function not implemented"),
            (Some(28), "No space left on device"),
        ] {
            let mut rule = mkdir("SCMP_ACT_ERRNO");
            if let Some(number) = number {
                rule["errnoRet"] = json!(number);
            }
            let mut bundle = bundle(s, &json!([rule]));
            bundle.args(&["mkdir", "/tmp/new"]);
            let outcome = s.run(&bundle).exits(1);
            assert!(
                outcome.stderr.contains(words),
                "{}",
                outcome.describe(words)
            );
            assert!(!bundle.root().join("tmp/new").exists());
        }
    });
}

/// "defaultErrnoRet (uint, OPTIONAL) - the errno return code to use."
#[test]
fn a_call_without_a_rule_gets_the_default() {
    sandbox::host(|s| {
        let mut profile = podman();
        profile["defaultErrnoRet"] = json!(28);
        let rules = profile["syscalls"].as_array_mut().expect("rules");
        for rule in rules {
            let names = rule["names"].as_array_mut().expect("names");
            names.retain(|name| name != "mkdir" && name != "mkdirat");
        }
        let mut bundle = s.bundle();
        bundle.writable().set("/linux/seccomp", profile);
        bundle.args(&["mkdir", "/tmp/new"]);
        let outcome = s.run(&bundle).exits(1);
        let said = outcome.stderr.contains("No space left on device");
        assert!(said, "{}", outcome.describe("wanted ENOSPC"));
    });
}

/// "args (array of objects, OPTIONAL)": index, value, op; with SCMP_CMP_MASKED_EQ "valueTwo".
#[test]
fn a_rule_holds_for_its_arguments_only() {
    sandbox::host(|s| {
        let signal = json!([{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }]);
        // S_ISUID.
        let mode = json!([{ "index": 1, "value": 0o4000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ" }]);
        let mode_at = json!([{ "index": 2, "value": 0o4000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ" }]);
        let mut bundle = bundle(
            s,
            &json!([
                { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": signal },
                { "names": ["chmod", "fchmod"], "action": "SCMP_ACT_ERRNO", "args": mode },
                { "names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": mode_at },
            ]),
        );
        bundle.shell(
            "kill -0 $$ && echo zero; kill -USR1 $$ 2> /dev/null || echo refused; touch /tmp/f; \
             chmod 755 /tmp/f && echo plain; chmod 4711 /tmp/f 2> /dev/null || echo no setuid; stat -c %a /tmp/f",
        );
        s.run(&bundle)
            .prints("zero\nrefused\nplain\nno setuid\n755");
    });
}

/// "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP": the program
/// ends by SIGSYS, its status says so.
#[test]
fn a_killed_program_is_seen_as_killed() {
    sandbox::host(|s| {
        for action in ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP"] {
            let mut bundle = bundle(s, &json!([mkdir(&format!("SCMP_ACT_{action}"))]));
            bundle.args(&["mkdir", "/tmp/new"]);
            s.run(&bundle).exits(KILLED);
            assert!(!bundle.root().join("tmp/new").exists(), "{action}");
        }
    });
}

/// A child of the program is killed alone, and a killed container is stopped.
#[test]
fn children_have_the_filter_too() {
    sandbox::host(|s| {
        let mut bundle = bundle(s, &json!([mkdir("SCMP_ACT_KILL_PROCESS")]));
        bundle.shell("mkdir /tmp/new; echo $?; exec mkdir /tmp/new");
        let container = s.create(&bundle);
        container.start().ok();
        assert_eq!(container.finish(), format!("{KILLED}\n"));
    });
}

/// "SCMP_ACT_LOG": the call is made.
#[test]
fn a_logged_call_is_made() {
    sandbox::host(|s| {
        let mut bundle = bundle(s, &json!([mkdir("SCMP_ACT_LOG")]));
        bundle.args(&["mkdir", "/tmp/new"]);
        s.run(&bundle).ok();
        assert!(bundle.root().join("tmp/new").is_dir());
    });
}

/// Row S45: a call with the action LOG, or any but ALLOW below the flag LOG, has a record of the
/// kernel's audit: seccomp(2).
#[test]
fn a_logged_call_is_in_the_audit_log() {
    sandbox::host(|s| {
        if !Path::new("/proc/self/loginuid").exists() {
            return s.skip("this kernel has no audit; that the call is made is covered by a_logged_call_is_made");
        }
        let logged = fs::read_to_string("/proc/sys/kernel/seccomp/actions_logged").expect("list");
        let flag = json!(["SECCOMP_FILTER_FLAG_LOG"]);
        for (action, flags, word, code) in [
            ("SCMP_ACT_LOG", json!([]), "log", "code=0x7ffc0000"),
            ("SCMP_ACT_ERRNO", flag, "errno", "code=0x50000"),
        ] {
            if !logged.split_whitespace().any(|known| known == word) {
                s.skip(&format!("kernel.seccomp.actions_logged has no {word} here"));
                continue;
            }
            if action == "SCMP_ACT_ERRNO" && s.is_control("runc 1.1 takes no flags") {
                continue;
            }
            let mut bundle = bundle(s, &json!([mkdir(action)]));
            bundle.set("/linux/seccomp/flags", flags);
            // The record names the program, so the program's name is nobody else's.
            let program = format!("/bin/busybox-{}", s.id());
            let copied = bundle.root().join(&program[1..]);
            fs::copy(bundle::busybox(), copied).expect("copy");
            bundle.args(&[&program, "mkdir", "-p", "/tmp/new"]);
            let line = format!("exe=\"{program}\"");
            let record = |line: &str| line.contains("type=1326") && line.contains(code);
            // The kernel prints ten records in five seconds, and other tests make some too.
            let told = sandbox::eventually(|| {
                s.run(&bundle);
                let log = s.tool("dmesg", &[]);
                log.lines()
                    .any(|found| found.contains(&line) && record(found))
            });
            assert!(told, "no record with {line} and {code}");
            let made = bundle.root().join("tmp/new").is_dir();
            assert_eq!(made, action == "SCMP_ACT_LOG");
        }
    });
}

/// The profile that Podman sends with every container lets ordinary programs run.
#[test]
fn the_profile_of_podman_runs_programs() {
    sandbox::host(|s| {
        runs_programs(s);
    });
}

/// The same where cgroup v2 is all there is.
#[test]
fn the_profile_of_podman_runs_programs_in_the_v2_view() {
    sandbox::pure_v2(|s| {
        runs_programs(s);
    });
}

/// The same without root's rights, where only noNewPrivileges permits a filter, or the user
/// namespace.
#[test]
fn the_profile_of_podman_runs_programs_of_an_ordinary_user() {
    sandbox::user(|s| {
        runs_programs(s);
    });
}

fn runs_programs(s: &Sandbox) {
    for no_new_privileges in [true, false] {
        let mut bundle = s.bundle();
        bundle
            .set("/linux/seccomp", podman())
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        bundle.args(&["true"]);
        s.run(&bundle).ok();
        bundle.args(&["sh", "-c", "ls / | grep -x bin; (exit 7); echo $?"]);
        s.run(&bundle).prints("bin\n7");
        assert_eq!(status(s, &mut bundle, "Seccomp"), "2");
        assert_eq!(status(s, &mut bundle, "Seccomp_filters"), "1");
        let wanted = u8::from(no_new_privileges).to_string();
        assert_eq!(status(s, &mut bundle, "NoNewPrivs"), wanted);
        // Loading needs CAP_SYS_ADMIN without noNewPrivileges; the program must not have it for
        // that.
        let kept: u64 = u64::from_str_radix(&status(s, &mut bundle, "CapPrm"), 16).expect("hex");
        assert_eq!(kept & 1 << 21, 0, "CAP_SYS_ADMIN");
    }
}

/// A filter that forbids everything also forbids the report of that. The message names the filter.
#[test]
fn a_filter_that_forbids_the_start_is_named() {
    sandbox::host(|s| {
        if s.is_control("the words are locule's") {
            return;
        }
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
            let mut bundle = s.bundle();
            bundle.set("/process/noNewPrivileges", json!(false));
            bundle.set("/linux/seccomp", json!({ "defaultAction": action }));
            s.run(&bundle).fails_with(&["/linux/seccomp", "execve"]);
        }
    });
}

/// A filter that is there before the capabilities are dropped can forbid umask(2), which never
/// fails without one. The error names the filter.
#[test]
fn a_filter_that_forbids_a_call_of_the_set_up_is_named() {
    sandbox::host(|s| {
        if s.is_control("the words are locule's") {
            return;
        }
        for call in ["umask", "setgroups", "setresuid", "capset", "prctl"] {
            let rule = json!({ "names": [call], "action": "SCMP_ACT_ERRNO" });
            let mut bundle = bundle(s, &json!([rule]));
            bundle.set("/process/noNewPrivileges", json!(false));
            let words = [
                call,
                "operation not permitted",
                "/linux/seccomp",
                "allow the call",
            ];
            s.run(&bundle).fails_with(&words);
        }
    });
}

/// Without the property, or with null, there is no filter.
#[test]
fn a_container_without_a_profile_has_no_filter() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/linux/seccomp", json!(null));
        assert_eq!(status(s, &mut bundle, "Seccomp"), "0");
        let mut bundle = s.bundle();
        assert_eq!(status(s, &mut bundle, "Seccomp"), "0");
    });
}

/// The filter is there while the program runs, as the host sees it.
#[test]
fn a_running_container_is_below_its_filter() {
    sandbox::host(|s| {
        let mut bundle = bundle(s, &json!([mkdir("SCMP_ACT_ERRNO")]));
        bundle.args(&["sleep", "1000"]);
        let container = s.started(&bundle);
        let lines =
            fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("status");
        assert!(lines.contains("\nSeccomp:\t2\n"), "{lines}");
        container.remove();
    });
}

/// "names ... Unknown syscalls ... Runtimes ... skip": what no architecture has is left out, the
/// rest of the rule counts.
#[test]
fn unknown_names_are_skipped() {
    sandbox::host(|s| {
        let mut rule = mkdir("SCMP_ACT_ERRNO");
        rule["names"] = json!(["no_such_call", "mkdir", "mkdirat"]);
        let mut bundle = bundle(s, &json!([rule]));
        bundle.args(&["mkdir", "/tmp/new"]);
        let outcome = s.run(&bundle).exits(1);
        assert!(
            outcome.stderr.contains("not permitted"),
            "{}",
            outcome.describe("EPERM")
        );
        if s.is_control("an annotation of crun") {
            return;
        }
        bundle.set(
            "/annotations/run.oci.seccomp_fail_unknown_syscall",
            json!("1"),
        );
        s.run(&bundle)
            .fails_with(&["/linux/seccomp/syscalls/0/names", "no_such_call"]);
    });
}

/// "flags (array of strings, OPTIONAL)": those that need nothing else are taken, and the container
/// has one filter.
#[test]
fn flags_are_taken() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 takes no flags") {
            return;
        }
        for flags in [
            json!([]),
            json!(["SECCOMP_FILTER_FLAG_LOG"]),
            json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
            json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"]),
        ] {
            let mut bundle = bundle(s, &json!([mkdir("SCMP_ACT_ERRNO")]));
            bundle.set("/linux/seccomp/flags", flags);
            assert_eq!(status(s, &mut bundle, "Seccomp_filters"), "1");
        }
    });
}

/// Issue 5, bad input: "Unknown action, operator, architecture or flag; argument index above 5;
/// errnoRet with an action that has none; profile that needs more than 4096 instructions: error
/// with JSON pointer, before side effects."
#[test]
fn a_bad_profile_is_refused_with_its_place() {
    sandbox::host(|s| {
        if s.is_control("the pointers are locule's") {
            return;
        }
        let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        let arg = |arg: Value| {
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_LOG", "args": [arg] }))
        };
        let long: Vec<_> = (0..3000)
            .map(|value| {
                let args = json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
                json!({ "names": ["getpid"], "action": "SCMP_ACT_LOG", "args": args })
            })
            .collect();
        for (value, pointer) in [
            (json!({}), ""),
            (
                json!({ "defaultAction": "SCMP_ACT_DENY" }),
                "/defaultAction",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/x" }),
                "",
            ),
            (
                rule(json!({ "names": ["read"], "action": "allow" })),
                "/syscalls/0/action",
            ),
            (
                rule(json!({ "names": [], "action": "SCMP_ACT_LOG" })),
                "/syscalls/0/names",
            ),
            (
                rule(json!({ "names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 1 })),
                "/syscalls/0/errnoRet",
            ),
            (
                rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
                "/syscalls/0/errnoRet",
            ),
            (
                rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })),
                "",
            ),
            (
                arg(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })),
                "/syscalls/0/args/0/index",
            ),
            (
                arg(json!({ "index": 0, "value": -1, "op": "SCMP_CMP_EQ" })),
                "/syscalls/0/args/0/value",
            ),
            (
                arg(json!({ "index": 0, "value": 1, "op": "EQ" })),
                "/syscalls/0/args/0/op",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"] }),
                "/architectures/0",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FAST"] }),
                "/flags/0",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
                "/listenerMetadata",
            ),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": long }),
                "/syscalls",
            ),
        ] {
            let mut bundle = s.bundle();
            bundle.set("/linux/seccomp", value);
            s.try_create(&bundle, &s.id(), &[])
                .fails_with(&[&format!("/linux/seccomp{pointer}: ")]);
        }
    });
}

/// Calls of raw numbers, for which a program of busybox is of no use.
#[cfg(target_arch = "x86_64")]
mod numbers {
    use super::{KILLED, Sandbox, json, mkdir, podman, profile, sandbox};
    use integration::Bundle;

    const GETPID: u32 = 39;
    const GETPID_X86: u32 = 20;
    const X32: u32 = 0x4000_0000;

    /// How a call enters the kernel.
    #[derive(Clone, Copy)]
    enum Entry {
        /// syscall: x86_64, or x32 by its bit.
        Syscall,
        /// int 0x80: the calls of i386, from a program of 64 bits too.
        Int80,
    }

    /// An ELF program without libraries that makes one call and exits with the negative of its
    /// answer: 0 to 255.
    fn program(entry: Entry, number: u32) -> Vec<u8> {
        const BASE: u64 = 0x40_0000;
        const HEADERS: u16 = 64 + 56;
        let mut code = vec![0xb8]; // mov eax, number
        code.extend(number.to_le_bytes());
        code.extend(match entry {
            Entry::Syscall => [0x0f, 0x05],
            Entry::Int80 => [0xcd, 0x80],
        });
        code.extend([0xf7, 0xd8]); // neg eax
        code.extend([0x89, 0xc7]); // mov edi, eax
        code.extend([0xb8, 231, 0, 0, 0, 0x0f, 0x05]); // exit_group(edi)
        let size = u64::from(HEADERS) + code.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        for half in [2_u16, 62] {
            file.extend(half.to_le_bytes()); // ET_EXEC, EM_X86_64
        }
        file.extend(1_u32.to_le_bytes());
        for word in [BASE + u64::from(HEADERS), 64, 0] {
            file.extend(word.to_le_bytes()); // entry, program headers, no sections
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 1, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        for word in [1_u32, 5] {
            file.extend(word.to_le_bytes()); // PT_LOAD, readable and executable
        }
        for word in [0, BASE, BASE, size, size, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.extend(code);
        file
    }

    fn calling(s: &Sandbox, entry: Entry, number: u32) -> Bundle {
        let mut bundle = s.bundle();
        bundle.file("/bin/call", program(entry, number), 0o755);
        bundle.args(&["/bin/call"]);
        bundle
    }

    /// "architectures (array of strings, OPTIONAL)": x86 and x32 calls are judged by the numbers of
    /// their architecture.
    #[test]
    fn a_rule_counts_on_every_listed_architecture() {
        sandbox::host(|s| {
            let rule = json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 });
            let mut filter = profile(&json!([rule]));
            filter["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
            for (entry, number, status) in [
                (Entry::Syscall, GETPID, 77),
                (Entry::Int80, GETPID_X86, 77),
                (Entry::Syscall, GETPID | X32, 77),
                // mkdir, which has getpid's number of x86_64: EFAULT, since its argument is no
                // address.
                (Entry::Int80, GETPID, 14),
            ] {
                let mut bundle = calling(s, entry, number);
                bundle.set("/linux/seccomp", filter.clone());
                s.run(&bundle).exits(status);
            }
        });
    }

    /// Calls of an architecture that is not listed end the program, as with libseccomp; the native
    /// one is always listed.
    #[test]
    fn a_call_of_another_architecture_is_killed() {
        sandbox::host(|s| {
            for listed in [json!([]), json!(["SCMP_ARCH_X86_64"])] {
                for (entry, number, status) in [
                    (Entry::Int80, GETPID_X86, KILLED),
                    (Entry::Syscall, GETPID | X32, KILLED),
                    // The answer is pid 1, and its negative 255.
                    (Entry::Syscall, GETPID, 255),
                ] {
                    let mut bundle = calling(s, entry, number);
                    let mut filter = profile(&json!([mkdir("SCMP_ACT_ERRNO")]));
                    filter["architectures"] = listed.clone();
                    bundle.set("/linux/seccomp", filter);
                    s.run(&bundle).exits(status);
                }
            }
        });
    }

    /// "syscalls newer than the profile answered ENOSYS as runc does, never EPERM" (issue 5), so
    /// that libraries fall back.
    #[test]
    fn a_call_newer_than_the_profile_is_answered_enosys() {
        sandbox::host(|s| {
            let mut filter = podman();
            filter["defaultErrnoRet"] = json!(1);
            // The last is kexec_load, which the profile names.
            for (number, status) in [(600, 38), (10_000, 38), (246, 1)] {
                let mut bundle = calling(s, Entry::Syscall, number);
                bundle.set("/linux/seccomp", filter.clone());
                s.run(&bundle).exits(status);
            }
        });
    }
}

/// A profile from before the calls that init itself uses: without noNewPrivileges it is in force
/// while init finishes.
#[test]
fn a_filter_that_knows_no_newer_calls_does_not_hinder_the_start() {
    sandbox::host(|s| {
        let names = ["openat2", "faccessat2", "close_range", "clone3"];
        for answer in [json!(1), json!(38)] {
            let rule = json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": answer });
            let mut bundle = bundle(s, &json!([rule]));
            bundle
                .set("/process/noNewPrivileges", json!(false))
                .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
                .set("/hooks/startContainer/-", json!({ "path": "/bin/true" }))
                .args(&["echo", "here"]);
            s.run(&bundle).prints("here");
        }
    });
}

/// The startContainer hooks are programs of the container: the filter is theirs too, when it is
/// loaded before them and when it comes after (noNewPrivileges).
#[test]
fn hooks_of_the_container_run_under_the_filter() {
    sandbox::host(|s| {
        for no_new_privileges in [true, false] {
            let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" });
            let mut bundle = bundle(s, &json!([rule]));
            let script = "mkdir /tmp/made; grep Seccomp: /proc/self/status > /tmp/said; exit 0";
            bundle
                .writable()
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .set(
                    "/hooks/startContainer/-",
                    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }),
                )
                .shell("test -d /tmp/made && echo made; cat /tmp/said");
            s.run(&bundle).prints("Seccomp:\t2");
        }
        let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" });
        let mut bundle = bundle(s, &json!([rule]));
        bundle.set(
            "/hooks/startContainer/-",
            json!({ "path": "/bin/mkdir", "args": ["mkdir", "/tmp/made"] }),
        );
        s.run(&bundle)
            .fails_with(&["startContainer hook #0", "bad system call"]);
    });
}

/// Issue 9, C21: init itself is not hindered by a filter that forbids the look at the working
/// directory.
#[test]
fn a_filter_that_forbids_getcwd_does_not_hinder_the_start() {
    sandbox::host(|s| {
        for no_new_privileges in [true, false] {
            let rule = json!({ "names": ["getcwd"], "action": "SCMP_ACT_ERRNO" });
            let mut bundle = bundle(s, &json!([rule]));
            bundle
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .args(&["echo", "here"]);
            s.run(&bundle).prints("here");
        }
    });
}

/// CVE-2026-123876: `socket` reads 32 bits of its family, so `0x100000028` is as good as 40 (vsock)
/// and not equal to it. `seccomp lint` names the rule that this evades, and what to write instead.
#[test]
fn cve_2026_123876_lint_warns_of_upper_bits() {
    sandbox::host(|s| {
        if s.is_control("no other runtime has the command") {
            return;
        }
        let file = s.dir.join("profile.json");
        let lint = |default: &str, action: &str, arg: Value| {
            let profile = json!({
                "defaultAction": default,
                "architectures": [
                    "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
                ],
                "syscalls": [{ "names": ["setns"], "action": action, "args": [arg] }],
            });
            fs::write(&file, profile.to_string()).expect("profile");
            s.runtime(&["seccomp", "lint", file.to_str().expect("text")])
        };
        let arg = |op: &str| json!({ "index": 1, "value": 40, "op": op });
        let (allow, errno) = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO");
        for (default, action, op) in [(errno, allow, "SCMP_CMP_NE"), (allow, errno, "SCMP_CMP_EQ")]
        {
            let outcome = lint(default, action, arg(op)).exits(1);
            let outcome = outcome.contains("/syscalls/0/args/0: the kernel reads 32 bits");
            outcome
                .contains(op)
                .contains("SCMP_CMP_MASKED_EQ with the mask 4294967295");
        }
        lint(errno, allow, arg("SCMP_CMP_EQ")).prints("");
        let masked = json!({ "index": 1, "value": 4294967295_u64, "valueTwo": 40, "op": "SCMP_CMP_MASKED_EQ" });
        lint(allow, errno, masked).prints("");
    });
}
