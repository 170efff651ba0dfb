//! The compiler against libseccomp on generated profiles; tests/oracle.rs names the known
//! differences.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::compare::{KERNELS, X32, differences_with, with_archs};
use common::machine::Data;
use common::{NoOracle, ORACLE_TIME, oracle_has, oracle_in_time, oracle_knows, profile, rule};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use seccomp::bpf::Instruction;
use seccomp::return_value;
use seccomp::rule::{Clause, Rules, Test, Verdict, has_argument_twice};
use seccomp::syscalls::{Arch, Syscall, Width};
use spec::container::{Seccomp, SeccompAction, SeccompOp, SeccompRule};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Write};

fn operator() -> impl Strategy<Value = SeccompOp> {
    prop_oneof![
        Just(SeccompOp::ScmpCmpNe),
        Just(SeccompOp::ScmpCmpLt),
        Just(SeccompOp::ScmpCmpLe),
        Just(SeccompOp::ScmpCmpEq),
        Just(SeccompOp::ScmpCmpGe),
        Just(SeccompOp::ScmpCmpGt),
        Just(SeccompOp::ScmpCmpMaskedEq),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        (0..4_u64).prop_map(|low| 1 << 32 | low),
        any::<u64>(),
    ]
}

fn action() -> impl Strategy<Value = SeccompAction> {
    prop_oneof![
        Just(SeccompAction::KillProcess),
        Just(SeccompAction::KillThread),
        Just(SeccompAction::Trap),
        (0..5_u16).prop_map(SeccompAction::Errno),
        (0..3_u16).prop_map(SeccompAction::Trace),
        Just(SeccompAction::Log),
        Just(SeccompAction::Allow),
    ]
}

fn name() -> impl Strategy<Value = String> {
    // libseccomp 2.5 finds this call of powerpc by its number but not by its name.
    let usable = |name: &&str| *name != "sys_debug_setcontext" && oracle_knows(name);
    let names: Vec<String> = Syscall::all()
        .map(Syscall::name)
        .filter(usable)
        .map(str::to_owned)
        .collect();
    let few = ["read", "socket", "semop", "clone", "fcntl"]
        .map(str::to_owned)
        .to_vec();
    prop_oneof![
        proptest::sample::select(names),
        proptest::sample::select(few)
    ]
}

fn arg() -> impl Strategy<Value = (u8, SeccompOp, u64, u64)> {
    (0..6_u8, operator(), value(), value())
}

fn any_rule() -> impl Strategy<Value = SeccompRule> {
    let names = proptest::collection::vec(name(), 1..6);
    (names, action(), proptest::collection::vec(arg(), 0..4)).prop_map(|(names, action, args)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        rule(&names, action, &args)
    })
}

fn kernel() -> impl Strategy<Value = &'static [Arch]> {
    proptest::sample::select(KERNELS.to_vec())
}

/// At most one rule for each name, so libseccomp has nothing to merge.
fn one_rule_each() -> impl Strategy<Value = Vec<SeccompRule>> {
    proptest::collection::vec(any_rule(), 0..12).prop_map(|mut rules| {
        let mut seen = BTreeSet::new();
        for rule in &mut rules {
            if has_argument_twice(&rule.args) {
                rule.args.truncate(1);
            }
            rule.names.retain(|name| seen.insert(name.clone()));
        }
        rules
    })
}

/// Rules of one comparison of one argument, as in the profiles of engines.
fn equalities() -> impl Strategy<Value = Vec<SeccompRule>> {
    let arg = (0..6_u8, value()).prop_map(|(index, value)| (index, SeccompOp::ScmpCmpEq, value, 0));
    let one =
        (name(), action(), arg).prop_map(|(name, action, arg)| rule(&[&name], action, &[arg]));
    proptest::collection::vec(one, 0..24)
}

/// The profile for a set of architectures, without names that one of them lacks, even if only in
/// libseccomp: 2.5 knows `map_shadow_stack` on x86_64, but not on x32.
fn on(archs: &[Arch], default: SeccompAction, mut rules: Vec<SeccompRule>) -> Seccomp {
    for rule in &mut rules {
        rule.names.retain(|name| {
            let call = Syscall::named(name);
            let both_have = |arch: &Arch| {
                let number = call.and_then(|call| call.number(*arch));
                number.is_some_and(|number| oracle_has(*arch, number))
            };
            archs.iter().all(both_have)
        });
    }
    with_archs(&profile(default, rules), archs)
}

/// How many profiles each test generates.
const CASES: u32 = 48;
/// How many of them may exceed the time limit; with more the test would prove too little.
const LATE_MOST: u32 = CASES / 8;

/// The results of a test's generated cases.
#[derive(Debug, Default)]
struct Tally {
    compared: Cell<u32>,
    refused: Cell<u32>,
    late: Cell<u32>,
}

impl Tally {
    /// libseccomp's program, counted. It refuses some profiles whose rules contradict each other.
    fn oracle(&self, profile: &Seccomp, archs: &[Arch]) -> Option<Vec<Instruction>> {
        let answer = oracle_in_time(profile, archs);
        let counter = match &answer {
            Ok(_) => &self.compared,
            Err(NoOracle::Refused(_)) => &self.refused,
            Err(NoOracle::Late) => &self.late,
        };
        counter.set(counter.get() + 1);
        answer.ok()
    }

    /// Prints the counts around the harness, which hides the output of a passed test.
    fn report(&self, test: &str) {
        let (compared, refused, late) = (self.compared.get(), self.refused.get(), self.late.get());
        let seconds = ORACLE_TIME.as_secs();
        let line = format!(
            "{test}: {compared} cases compared, {refused} refused by libseccomp, {late} skipped since it had not \
             answered within {seconds} s\n"
        );
        io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(compared > 0 && late <= LATE_MOST, "{line}");
    }
}

/// Runs `compare` on [`CASES`] profiles and prints their number at the end.
fn generate<S: Strategy>(
    test: &str,
    strategy: S,
    compare: impl Fn(&Tally, S::Value) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let tally = Tally::default();
    let result = TestRunner::new(config).run(&strategy, |value| compare(&tally, value));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    tally.report(test);
}

fn all_alike(tally: &Tally, profile: &Seccomp, archs: &[Arch]) -> Result<(), TestCaseError> {
    let Some(theirs) = tally.oracle(profile, archs) else {
        return Ok(());
    };
    for (data, ours, theirs) in differences_with(&theirs, profile, archs) {
        let known = has_the_less_or_equal_fault(profile, archs, &data);
        prop_assert!(known, "{data:#x?}: ours {ours:#x}, theirs {theirs:#x}");
    }
    Ok(())
}

#[test]
fn one_rule_for_each_call_answers_as_libseccomp() {
    let cases = (action(), one_rule_each(), kernel());
    generate(
        "one rule for each call",
        cases,
        |tally, (default, rules, archs)| all_alike(tally, &on(archs, default, rules), archs),
    );
}

#[test]
fn equalities_of_different_actions_answer_as_libseccomp() {
    let cases = (action(), equalities(), kernel());
    generate(
        "equalities of different actions",
        cases,
        |tally, (default, rules, archs)| all_alike(tally, &on(archs, default, rules), archs),
    );
}

#[test]
fn generated_profiles_answer_as_libseccomp_or_as_their_rules_say() {
    let rules = proptest::collection::vec(any_rule(), 0..12);
    generate(
        "any rules",
        (action(), rules, kernel()),
        |tally, (default, rules, archs)| {
            let profile = on(archs, default, rules);
            let Some(theirs) = tally.oracle(&profile, archs) else {
                return Ok(());
            };
            for (data, ours, theirs) in differences_with(&theirs, &profile, archs) {
                let known = is_merging_fault(&profile, archs, &data, ours);
                prop_assert!(known, "{data:#x?}: ours {ours:#x}, theirs {theirs:#x}");
            }
            Ok(())
        },
    );
}

/// The clauses for a call, if its rules have conditions.
fn clauses(profile: &Seccomp, archs: &[Arch], data: &Data) -> Option<(Arch, Vec<Clause>)> {
    let x32 = data.arch == X32.audit() && data.number >= 0x4000_0000;
    let here = |arch: &&Arch| arch.audit() == data.arch && (**arch == X32) == x32;
    let arch = *archs.iter().find(here)?;
    let syscalls: Vec<_> = Syscall::all()
        .filter(|call| call.number(arch) == Some(data.number))
        .collect();
    match Rules::new(profile).verdict(&syscalls, arch)? {
        Verdict::First(clauses) => Some((arch, clauses)),
        Verdict::Always(..) => None,
    }
}

fn has_the_less_or_equal_fault(profile: &Seccomp, archs: &[Arch], data: &Data) -> bool {
    clauses(profile, archs, data).is_some_and(|(arch, clauses)| {
        let mut later = clauses
            .iter()
            .flat_map(|clause| clause.conditions.iter().skip(1));
        arch.width() == Width::Bits32 && later.any(|condition| condition.test == Test::LessOrEqual)
    })
}

/// Whether libseccomp had rules to merge, and every rule that holds gives the compiler's answer.
fn is_merging_fault(profile: &Seccomp, archs: &[Arch], data: &Data, ours: u32) -> bool {
    if has_the_less_or_equal_fault(profile, archs, data) {
        return true;
    }
    let Some((_, clauses)) = clauses(profile, archs, data) else {
        return false;
    };
    let holds = |clause: &&Clause| {
        clause
            .conditions
            .iter()
            .all(|condition| condition.holds(&data.args))
    };
    let holding: BTreeSet<u32> = clauses
        .iter()
        .filter(holds)
        .map(|clause| return_value(clause.action))
        .collect();
    let right = match holding.len() {
        0 => ours == return_value(profile.default_action),
        _ => holding.contains(&ours),
    };
    clauses.len() > 1 && right
}
