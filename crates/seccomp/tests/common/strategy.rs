//! Random profiles.

use super::profile;
use proptest::prelude::*;
use seccomp::syscalls::{Arch, Syscall};
use spec::container::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule};

fn action() -> impl Strategy<Value = SeccompAction> {
    prop_oneof![
        Just(SeccompAction::KillProcess),
        Just(SeccompAction::KillThread),
        Just(SeccompAction::Trap),
        any::<u16>().prop_map(SeccompAction::Errno),
        any::<u16>().prop_map(SeccompAction::Trace),
        Just(SeccompAction::Log),
        Just(SeccompAction::Allow),
        Just(SeccompAction::Notify),
    ]
}

fn operator() -> impl Strategy<Value = SeccompOp> {
    proptest::sample::select(vec![
        SeccompOp::ScmpCmpNe,
        SeccompOp::ScmpCmpLt,
        SeccompOp::ScmpCmpLe,
        SeccompOp::ScmpCmpEq,
        SeccompOp::ScmpCmpGe,
        SeccompOp::ScmpCmpGt,
        SeccompOp::ScmpCmpMaskedEq,
    ])
}

pub(crate) fn value() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, any::<u64>(), Just(u64::MAX), Just(1 << 32)]
}

fn arg() -> impl Strategy<Value = SeccompArg> {
    (0..6_u8, operator(), value(), value()).prop_map(|(index, op, value, value_two)| SeccompArg {
        index,
        op,
        value,
        value_two,
    })
}

fn name() -> impl Strategy<Value = String> {
    let names: Vec<_> = Syscall::all().map(|call| call.name().to_owned()).collect();
    prop_oneof![
        9 => proptest::sample::select(names),
        4 => proptest::sample::select(vec!["read".to_owned(), "socket".into(), "socketcall".into()]),
        1 => "[a-z_]{0,12}",
    ]
}

fn any_rule() -> impl Strategy<Value = SeccompRule> {
    let names = proptest::collection::vec(name(), 1..40);
    (names, action(), proptest::collection::vec(arg(), 0..8)).prop_map(|(names, action, args)| {
        SeccompRule {
            names,
            action,
            args,
        }
    })
}

pub(crate) fn any_profile() -> impl Strategy<Value = Seccomp> {
    let archs = proptest::sample::subsequence(Arch::ALL.to_vec(), 0..6);
    (
        action(),
        proptest::collection::vec(any_rule(), 0..20),
        archs,
    )
        .prop_map(|(default, rules, archs)| {
            let mut profile = profile(default, rules);
            profile.architectures = archs.into_iter().map(|arch| arch.0).collect();
            profile
        })
}
