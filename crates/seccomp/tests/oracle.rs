//! Compares the compiler with libseccomp: both programs give the same answers, except for the
//! differences below.
//!
//! Known differences, each with a test here:
//! - Calls newer than the profile: libseccomp does not know them. The test computes runc's rule by
//!   hand.
//! - A call that libseccomp 2.5 does not know on an architecture, and `_llseek` on parisc64, which
//!   the kernel's header does not have.
//! - A name that an architecture lacks: libseccomp adds a rule for a negative number that no kernel
//!   has; this compiler does not. If such a rule comes first in a section of x86_64 and x32,
//!   libseccomp 2.5 forgets to load the number and compares the architecture instead. The same
//!   happens with names that only libseccomp lacks on x32; generated profiles have neither.
//! - Several rules with conditions for one call: libseccomp merges them into one tree, and 2.5 is
//!   wrong if a rule has more than one condition or an operator other than equality: it compares
//!   the wrong word (a jump into the tree skips its load) or forgets a rule when it prunes. The
//!   compiler's answer is then the one that the rules give.
//! - On 32-bit architectures, libseccomp 2.5 treats "less or equal" after a true comparison as
//!   "greater".

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::compare::{KERNELS, agree, with_archs, without_names_unknown_to_the_oracle};
use common::{DOCKER, PODMAN, oracle_name, profile, read, rule};
use seccomp::syscalls::{Arch, Syscall};
use spec::container::{SeccompAction, SeccompOp, SeccompRule};

#[test]
fn every_number_has_the_name_that_libseccomp_gives_it() {
    let mut compared = 0;
    for arch in Arch::ALL {
        for syscall in Syscall::all() {
            if let Some(number) = syscall.number(arch)
                && let Some(name) = oracle_name(arch, number)
            {
                let found = Syscall::named(&name).and_then(|call| call.number(arch));
                assert_eq!(found, Some(number), "{name} on {}", arch.name());
                compared += 1;
            }
        }
    }
    assert!(compared > 5000, "{compared} numbers");
}

#[test]
fn docker_profile_answers_as_libseccomp_on_every_architecture() {
    let profile = without_names_unknown_to_the_oracle(read(DOCKER));
    for archs in KERNELS {
        agree(&with_archs(&profile, archs), archs);
    }
}

#[test]
fn podman_profile_answers_as_libseccomp_on_every_architecture() {
    let profile = without_names_unknown_to_the_oracle(read(PODMAN));
    for archs in KERNELS {
        agree(&with_archs(&profile, archs), archs);
    }
}

fn edge(default: SeccompAction, rules: Vec<SeccompRule>) {
    let profile = profile(default, rules);
    for archs in KERNELS {
        agree(&with_archs(&profile, archs), archs);
    }
}

const ALLOW: SeccompAction = SeccompAction::Allow;
const EPERM: SeccompAction = SeccompAction::Errno(1);
const EINVAL: SeccompAction = SeccompAction::Errno(22);

#[test]
fn profile_without_rules_answers_the_default() {
    edge(ALLOW, vec![]);
    edge(EPERM, vec![]);
    edge(SeccompAction::KillProcess, vec![]);
}

#[test]
fn every_action_is_answered() {
    edge(
        SeccompAction::Trap,
        vec![
            rule(&["read", "write"], ALLOW, &[]),
            rule(&["close"], SeccompAction::KillProcess, &[]),
            rule(&["dup"], SeccompAction::KillThread, &[]),
            rule(&["getpid"], SeccompAction::Errno(4094), &[]),
            rule(&["getppid"], SeccompAction::Trace(7), &[]),
            rule(&["getuid"], SeccompAction::Log, &[]),
            rule(&["getgid"], SeccompAction::Notify, &[]),
        ],
    );
}

#[test]
fn rule_for_the_default_action_says_nothing() {
    edge(
        EPERM,
        vec![
            rule(&["read"], EPERM, &[]),
            rule(&["read"], EINVAL, &[(0, SeccompOp::ScmpCmpEq, 3, 0)]),
        ],
    );
}

#[test]
fn first_rule_without_conditions_wins_wherever_it_stands() {
    let args = &[(0, SeccompOp::ScmpCmpEq, 3, 0)];
    edge(
        EPERM,
        vec![
            rule(&["read"], EINVAL, args),
            rule(&["read"], ALLOW, &[]),
            rule(&["read"], EINVAL, &[]),
        ],
    );
    edge(
        EPERM,
        vec![
            rule(&["read"], ALLOW, &[]),
            rule(&["read"], EINVAL, &[]),
            rule(&["read"], EINVAL, args),
        ],
    );
}

#[test]
fn every_operator_compares_both_words_of_every_argument() {
    let operators = [
        SeccompOp::ScmpCmpNe,
        SeccompOp::ScmpCmpLt,
        SeccompOp::ScmpCmpLe,
        SeccompOp::ScmpCmpEq,
        SeccompOp::ScmpCmpGe,
        SeccompOp::ScmpCmpGt,
    ];
    for op in operators {
        for index in 0..6 {
            for value in [0, 5, u64::from(u32::MAX), 1 << 32, 0x5_0000_0005, u64::MAX] {
                let profile = profile(
                    EPERM,
                    vec![rule(&["fcntl"], ALLOW, &[(index, op, value, 0)])],
                );
                agree(&with_archs(&profile, KERNELS[0]), KERNELS[0]);
                let s390 = KERNELS[8];
                agree(&with_archs(&profile, s390), s390);
            }
        }
    }
}

#[test]
fn masked_comparison_ignores_bits_outside_the_mask() {
    for mask in [
        0,
        1,
        0xff,
        0xff00_0000_0000,
        0x7e02_0000,
        u64::MAX,
        0xffff_ffff_0000_0000,
    ] {
        for value in [0, 1, 0xff, 0x100, u64::MAX] {
            edge(
                EPERM,
                vec![rule(
                    &["clone"],
                    ALLOW,
                    &[(0, SeccompOp::ScmpCmpMaskedEq, mask, value)],
                )],
            );
        }
    }
}

#[test]
fn argument_twice_in_a_rule_is_a_rule_each() {
    let args = &[
        (0, SeccompOp::ScmpCmpEq, 1, 0),
        (0, SeccompOp::ScmpCmpEq, 5, 0),
        (2, SeccompOp::ScmpCmpEq, 9, 0),
    ];
    edge(EPERM, vec![rule(&["socket", "fcntl"], ALLOW, args)]);
}

#[test]
fn calls_behind_socketcall_and_ipc_keep_their_rules() {
    edge(
        EPERM,
        vec![
            rule(
                &["socket"],
                ALLOW,
                &[
                    (0, SeccompOp::ScmpCmpNe, 40, 0),
                    (2, SeccompOp::ScmpCmpEq, 9, 0),
                ],
            ),
            rule(
                &["recv", "accept4", "sendmmsg", "semtimedop", "shmctl"],
                ALLOW,
                &[],
            ),
            rule(&["msgget"], EINVAL, &[(1, SeccompOp::ScmpCmpGt, 3, 0)]),
        ],
    );
    edge(
        EPERM,
        vec![
            rule(&["socket"], EINVAL, &[]),
            rule(&["socketcall", "ipc", "shmat"], ALLOW, &[]),
        ],
    );
}

#[test]
fn rule_for_fewer_conditions_of_the_same_action_is_a_union() {
    let one = (1, SeccompOp::ScmpCmpEq, 3, 0);
    edge(
        EPERM,
        vec![
            rule(&["ioctl"], ALLOW, &[one, (2, SeccompOp::ScmpCmpEq, 4, 0)]),
            rule(&["ioctl"], ALLOW, &[one]),
            rule(
                &["ioctl"],
                ALLOW,
                &[
                    (0, SeccompOp::ScmpCmpLt, 2, 0),
                    (5, SeccompOp::ScmpCmpEq, 0, 0),
                ],
            ),
        ],
    );
}
