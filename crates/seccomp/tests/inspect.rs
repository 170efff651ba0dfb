//! Questions about profiles: test, diff, lint.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{DOCKER, PODMAN, profile, read, rule};
use seccomp::inspect::{Answer, Finding, Inspector, Reason, diff, lint};
use seccomp::syscalls::{Arch, Syscall};
use spec::container::{SeccompAction, SeccompArch, SeccompOp};

const X86_64: Arch = Arch(SeccompArch::ScmpArchX86_64);
const X86: Arch = Arch(SeccompArch::ScmpArchX86);
const X32: Arch = Arch(SeccompArch::ScmpArchX32);
const ALLOW: SeccompAction = SeccompAction::Allow;
const EPERM: SeccompAction = SeccompAction::Errno(1);
const ENOSYS: SeccompAction = SeccompAction::Errno(38);

fn call(name: &str) -> Syscall {
    Syscall::named(name).unwrap()
}

fn test(profile: &Inspector<'_>, syscall: &str, args: &[u64; 6]) -> Option<Answer> {
    let number = call(syscall).number(X86_64)?;
    Some(profile.test_number(X86_64, number, args))
}

#[test]
fn test_names_the_rule_that_answers() {
    let podman = read(PODMAN);
    let inspector = Inspector::new(&podman, X86_64);
    let socket =
        |family, protocol| test(&inspector, "socket", &[family, 2, protocol, 0, 0, 0]).unwrap();
    let rule = |action, index| Answer {
        action,
        reason: Reason::Rule(index),
    };
    assert_eq!(socket(40, 0), rule(EPERM, 18));
    assert_eq!(socket(16, 9), rule(SeccompAction::Errno(22), 19));
    assert_eq!(socket(16, 0), rule(ALLOW, 20));
    assert_eq!(socket(2, 9), rule(ALLOW, 21));
}

#[test]
fn test_tells_default_newer_and_foreign_apart() {
    let mut docker = read(DOCKER);
    docker.architectures = vec![SeccompArch::ScmpArchX86_64];
    let inspector = Inspector::new(&docker, X86_64);
    let answer = |arch, number| inspector.test_number(arch, number, &[0; 6]);
    let kexec = call("kexec_load").number(X86_64).unwrap();
    assert_eq!(
        answer(X86_64, kexec),
        Answer {
            action: EPERM,
            reason: Reason::Default
        }
    );
    assert_eq!(
        answer(X86_64, 9999),
        Answer {
            action: ENOSYS,
            reason: Reason::NewerThanProfile
        }
    );
    let killed = Answer {
        action: SeccompAction::KillThread,
        reason: Reason::ForeignArchitecture,
    };
    assert_eq!(answer(X86, 1), killed);
    assert_eq!(answer(X32, 0x4000_0001), killed);
    assert_eq!(answer(X86_64, 0x4000_0001), killed);
    assert_eq!(
        answer(X86_64, u32::MAX),
        Answer {
            action: EPERM,
            reason: Reason::Default
        }
    );
}

#[test]
fn call_that_an_architecture_lacks_has_no_answer() {
    let docker = read(DOCKER);
    let inspector = Inspector::new(&docker, X86_64);
    assert_eq!(test(&inspector, "socketcall", &[0; 6]), None);
}

#[test]
fn diff_of_a_profile_with_itself_is_empty() {
    let podman = read(PODMAN);
    assert_eq!(diff(&podman, &podman, X86_64), []);
}

#[test]
fn diff_lists_the_calls_that_differ_on_each_architecture() {
    let one = profile(EPERM, vec![rule(&["read", "write", "lstat"], ALLOW, &[])]);
    let mut other = one.clone();
    other.architectures = vec![SeccompArch::ScmpArchX86];
    other.syscalls[0].names.retain(|name| name != "write");
    let found = diff(&one, &other, X86_64);
    let here: Vec<_> = found.iter().filter(|found| found.arch == X86_64).collect();
    assert_eq!(here.len(), 1);
    assert_eq!(here[0].syscall, call("write"));
    assert_eq!(
        (here[0].left.otherwise, here[0].right.otherwise),
        (ALLOW, EPERM)
    );
    let foreign = found
        .iter()
        .find(|found| found.arch == X86 && found.syscall == call("read"));
    let foreign = foreign.unwrap();
    assert_eq!(foreign.left.otherwise, SeccompAction::KillThread);
    assert_eq!(foreign.right.otherwise, ALLOW);
}

#[test]
fn lint_finds_what_says_nothing() {
    let args = &[
        (1, SeccompOp::ScmpCmpEq, 1, 0),
        (1, SeccompOp::ScmpCmpEq, 2, 0),
    ];
    let mut profile = profile(
        EPERM,
        vec![
            rule(&["read", "reed", "read"], ALLOW, &[]),
            rule(&["read"], SeccompAction::Trap, &[]),
            rule(&["write"], EPERM, &[]),
            rule(&["ioctl"], ALLOW, args),
        ],
    );
    profile.architectures = vec![SeccompArch::ScmpArchX86];
    let expected = [
        Finding::UnknownName {
            rule: 0,
            name: "reed".into(),
        },
        Finding::Duplicate {
            rule: 0,
            name: "read".into(),
        },
        Finding::Shadowed {
            rule: 1,
            name: "read".into(),
            by: 0,
        },
        Finding::SaysTheDefault { rule: 2 },
        Finding::ArgumentTwice { rule: 3 },
        Finding::MissingArchitecture { arch: X32 },
    ];
    assert_eq!(lint(&profile, X86_64), expected);
}

#[test]
fn lint_warns_that_the_first_argument_is_not_seen_behind_socketcall() {
    let docker = read(DOCKER);
    let expected = Finding::MultiplexedArgument {
        rule: 2,
        name: "socket".into(),
        arch: X86,
    };
    // Families other than vsock are allowed, and values that differ in 64 bits may be equal in 32.
    let evaded = Finding::UpperBits {
        rule: 2,
        name: "socket".into(),
        arg: 0,
        op: SeccompOp::ScmpCmpNe,
    };
    assert_eq!(lint(&docker, X86_64), [evaded, expected]);
}

#[test]
fn every_name_is_found_and_keeps_its_place() {
    let names: Vec<_> = Syscall::all().map(Syscall::name).collect();
    assert!(names.is_sorted());
    for syscall in Syscall::all() {
        assert_eq!(Syscall::named(syscall.name()), Some(syscall));
    }
    for name in ["", "a", "zzz", "rea", "readx", "Read", "\u{e9}", "_", "~"] {
        assert_eq!(Syscall::named(name), None);
    }
}

#[test]
fn table_of_this_machine_is_that_of_the_c_library() {
    if Arch::NATIVE != X86_64 {
        return;
    }
    for (name, number) in [
        ("read", libc::SYS_read),
        ("seccomp", libc::SYS_seccomp),
        ("clone3", libc::SYS_clone3),
        ("mseal", libc::SYS_mseal),
        ("execveat", libc::SYS_execveat),
    ] {
        let ours = call(name).number(Arch::NATIVE).map(i64::from);
        assert_eq!(ours, Some(number), "{name}");
    }
}

#[test]
fn calls_of_2026_are_known() {
    for (name, number) in [
        ("listns", 470),
        ("rseq_slice_yield", 471),
        ("file_setattr", 469),
    ] {
        assert_eq!(
            call(name).number(Arch(SeccompArch::ScmpArchAarch64)),
            Some(number)
        );
        assert_eq!(call(name).number(X32), Some(0x4000_0000 | number));
    }
    let breakpoint = call("breakpoint");
    assert_eq!(
        breakpoint.number(Arch(SeccompArch::ScmpArchArm)),
        Some(0x000f_0001)
    );
    assert_eq!(
        call("read").number(Arch(SeccompArch::ScmpArchMips64n32)),
        Some(6000)
    );
}
