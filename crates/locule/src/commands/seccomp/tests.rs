use super::*;
use crate::args::{Command, Invocation};
use crate::testing::Directory;
use seccomp::bpf;
use spec::container::SeccompArch;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

const X86_64: Arch = Arch(SeccompArch::ScmpArchX86_64);
const X86: Arch = Arch(SeccompArch::ScmpArchX86);
const S390X: Arch = Arch(SeccompArch::ScmpArchS390x);

const PROFILE: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
        {"names": ["read", "mkdir", "statx"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "op": "SCMP_CMP_NE", "value": 40},
                  {"index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 255, "valueTwo": 3}]},
        {"names": ["read", "no_such_call"], "action": "SCMP_ACT_KILL_PROCESS"}
    ]
}"#;

fn loaded(json: &str) -> LoadedSeccomp {
    spec::load::parse_seccomp(json.as_bytes()).unwrap()
}

fn inside() -> LoadedSeccomp {
    loaded(&format!(r#"{{"linux":{{"seccomp":{PROFILE}}}}}"#))
}

fn says(arch: Arch, syscall: &str, arguments: &[u64]) -> String {
    answer(&inside(), arch, syscall, arguments).unwrap()
}

#[test]
fn an_answer_names_the_rule_by_its_pointer() {
    assert_eq!(
        says(X86_64, "mkdir", &[]),
        "SCMP_ACT_ALLOW: /linux/seccomp/syscalls/0"
    );
    let alone = answer(&loaded(PROFILE), X86_64, "mkdir", &[]).unwrap();
    assert_eq!(alone, "SCMP_ACT_ALLOW: /syscalls/0");
    assert_eq!(says(X86_64, "83", &[]), says(X86_64, "mkdir", &[]));
    assert_eq!(says(X86_64, "0x53", &[]), says(X86_64, "mkdir", &[]));
}

#[test]
fn an_answer_depends_on_arguments_and_says_why_there_is_no_rule() {
    assert_eq!(
        says(X86_64, "socket", &[2, 0x804]),
        "SCMP_ACT_ERRNO 1 (EPERM): no rule holds, /linux/seccomp/defaultAction"
    );
    assert_eq!(
        says(X86_64, "socket", &[2, 0x103]),
        "SCMP_ACT_ALLOW: /linux/seccomp/syscalls/1"
    );
    assert_eq!(
        says(X86_64, "450", &[]),
        "SCMP_ACT_ERRNO 38 (ENOSYS): the call is newer than all that the profile names"
    );
}

#[test]
fn a_call_of_an_architecture_that_is_not_listed_is_killed() {
    if Arch::NATIVE == X86_64 {
        assert_eq!(
            says(X86, "mkdir", &[]),
            "SCMP_ACT_KILL_THREAD: X86 is not in /linux/seccomp/architectures"
        );
    }
    // A machine of its own has its architecture always.
    assert!(says(S390X, "mkdir", &[]).starts_with("SCMP_ACT_ALLOW"));
}

#[test]
fn calls_that_do_not_exist_are_refused() {
    let refusal = |arch, name| answer(&inside(), arch, name, &[]).unwrap_err().chain();
    assert_eq!(
        refusal(X86_64, "no_such_call"),
        "system call \"no_such_call\" is unknown on every architecture"
    );
    let foreign = refusal(Arch(SeccompArch::ScmpArchAarch64), "mkdir");
    assert!(
        foreign.starts_with("system call \"mkdir\" does not exist on AARCH64, only on X86, "),
        "{foreign}"
    );
}

#[test]
fn findings_have_the_pointer_of_their_place() {
    let text = findings(&inside(), X86_64);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "/linux/seccomp/syscalls/1/args/0: the kernel reads 32 bits of this argument of \"socket\" and SCMP_CMP_NE \
             compares 64, so that a caller evades the rule by upper bits; name each value that is meant, by \
             SCMP_CMP_MASKED_EQ with the mask 4294967295",
            "/linux/seccomp/syscalls/2/names: \"read\" is never answered here, /linux/seccomp/syscalls/0 always does",
            "/linux/seccomp/syscalls/2/names: \"no_such_call\" is unknown on every architecture, it is skipped",
            "/linux/seccomp/architectures: without SCMP_ARCH_X86 its programs are killed at their first call",
            "/linux/seccomp/architectures: without SCMP_ARCH_X32 its programs are killed at their first call",
        ]
    );
    assert_eq!(
        findings(&loaded(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#), S390X)
            .lines()
            .count(),
        1
    );
    let odd = findings(&loaded(r#"{"defaultAction":"SCMP_ACT_ALLOW","x":1}"#), X86);
    assert!(odd.starts_with("/x: ") && odd.lines().count() == 1, "{odd}");
}

#[test]
fn a_difference_stands_once_for_all_calls_that_have_it() {
    let other = PROFILE
        .replace("\"mkdir\"", "\"getcwd\", \"chdir\"")
        .replace("\"value\": 40", "\"value\": 41")
        .replace(
            "[\"SCMP_ARCH_X86_64\"]",
            "[\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\"], \"flags\": []",
        );
    let (left, right) = (loaded(PROFILE).seccomp, loaded(&other).seccomp);
    assert_eq!(differences(&left, &left, X86_64), "");
    assert_eq!(
        differences(&left, &right, X86_64),
        "flags\n\
         \x20 - absent\n\
         \x20 + none\n\
         architectures\n\
         \x20 - X86_64\n\
         \x20 + X86_64, X86\n\
         X86_64: chdir, getcwd\n\
         \x20 - SCMP_ACT_ERRNO 1 (EPERM)\n\
         \x20 + SCMP_ACT_ALLOW\n\
         X86_64: mkdir\n\
         \x20 - SCMP_ACT_ALLOW\n\
         \x20 + SCMP_ACT_ERRNO 1 (EPERM)\n\
         X86_64: socket\n\
         \x20 - SCMP_ACT_ALLOW if arg0 != 0x28 && (arg1 & 0xff) == 0x3\n\
         \x20 - else SCMP_ACT_ERRNO 1 (EPERM)\n\
         \x20 + SCMP_ACT_ALLOW if arg0 != 0x29 && (arg1 & 0xff) == 0x3\n\
         \x20 + else SCMP_ACT_ERRNO 1 (EPERM)\n"
    );
}

#[test]
fn a_raw_program_has_the_byte_order_of_its_machine() {
    let program = [Instruction {
        code: bpf::op::RETURN,
        jt: 1,
        jf: 2,
        k: 0x7fff_0000,
    }];
    assert_eq!(
        raw(&program, Endian::Little),
        [6, 0, 1, 2, 0, 0, 0xff, 0x7f]
    );
    assert_eq!(raw(&program, Endian::Big), [0, 6, 1, 2, 0x7f, 0xff, 0, 0]);
}

/// A directory with profiles, and commands on them.
struct Stage(Directory);

impl Stage {
    fn new() -> Self {
        Self(Directory::new())
    }

    fn file(&self, name: &str, json: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, json).unwrap();
        path
    }

    /// `%` in the line is the directory.
    fn run(&self, line: &str) -> Result<ExitCode, Error> {
        let line = line.replace('%', self.0.path().to_str().unwrap());
        let words = line.split_ascii_whitespace().map(OsString::from);
        let Ok(Invocation::Command(_, Command::Seccomp(args))) = crate::args::parse(words) else {
            panic!("{line}");
        };
        match args.command {
            SeccompCommand::Compile(args) => compile(&args),
            SeccompCommand::Lint(args) => lint(&args),
            SeccompCommand::Test(args) => test(&args),
            SeccompCommand::Diff(args) => diff(&args),
        }
    }

    fn refusal(&self, line: &str) -> String {
        self.run(line).unwrap_err().chain()
    }
}

#[test]
fn the_exit_status_tells_whether_there_is_something_to_say() {
    let stage = Stage::new();
    stage.file("a.json", PROFILE);
    stage.file("b.json", &PROFILE.replace("mkdir", "rmdir"));
    stage.file("allow.json", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    for (line, status) in [
        (
            "seccomp lint --arch riscv64 %/allow.json",
            ExitCode::SUCCESS,
        ),
        ("seccomp lint %/a.json", ExitCode::FAILURE),
        ("seccomp diff %/a.json %/a.json", ExitCode::SUCCESS),
        ("seccomp diff %/a.json %/b.json", ExitCode::FAILURE),
        ("seccomp test %/a.json read -1 0xff 0o7", ExitCode::SUCCESS),
    ] {
        assert_eq!(stage.run(line).unwrap(), status, "{line}");
    }
}

#[test]
fn a_profile_that_cannot_be_is_refused_with_its_file() {
    let stage = Stage::new();
    let many: Vec<_> = (0..3000)
        .map(|value| {
            let arg = format!(r#"{{"index":0,"op":"SCMP_CMP_EQ","value":{value}}}"#);
            format!(r#"{{"names":["read"],"action":"SCMP_ACT_LOG","args":[{arg}]}}"#)
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
        many.join(",")
    );
    stage.file("long.json", &json);
    stage.file("bad.json", r#"{"defaultAction":"SCMP_ACT_DENY"}"#);
    stage.file(
        "whole.json",
        &format!(r#"{{"linux":{{"seccomp":{json}}}}}"#),
    );
    stage.file("short.json", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    for line in [
        "seccomp compile %/long.json",
        "seccomp lint %/long.json",
        "seccomp test %/long.json read",
        "seccomp diff %/long.json %/short.json",
        "seccomp diff %/short.json %/long.json",
    ] {
        for (file, pointer) in [("long.json", ""), ("whole.json", "/linux/seccomp")] {
            let text = stage.refusal(&line.replace("long.json", file));
            let start = format!("{file}\": {pointer}/syscalls: the filter needs ");
            let sound =
                text.contains(&start) && text.contains("the kernel accepts at most 4096; put");
            assert!(sound, "{text}");
        }
    }
    for line in [
        "seccomp compile %/bad.json",
        "seccomp lint %/bad.json",
        "seccomp test %/bad.json read",
        "seccomp diff %/bad.json %/bad.json",
    ] {
        let text = stage.refusal(line);
        assert!(
            text.contains("bad.json\": invalid configuration: /defaultAction: "),
            "{text}"
        );
    }
    assert!(
        stage
            .refusal("seccomp lint %/none.json")
            .ends_with("no such file or directory")
    );
}
