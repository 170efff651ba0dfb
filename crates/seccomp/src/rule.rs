//! What a profile means: for a system call of an architecture, the list of clauses to try in order.
//!
//! The specification does not say what happens if several rules name one call. Engines write their
//! profiles for libseccomp, so this crate gives libseccomp's answers:
//!
//! - A rule whose action is the default action has no effect and is dropped.
//! - A rule without conditions wins over all rules with conditions, at any position; the first such
//!   rule counts.
//! - Rules with conditions are tried in libseccomp's order, which is not that of the document: see
//!   order.rs. This only matters for rules with different actions that can hold at the same time.
//! - If a rule has two conditions on one argument, each condition becomes a separate rule, as in
//!   runc.
//! - On 32-bit architectures only the low words of argument and value count. A masked comparison
//!   ignores the bits of its value that are outside the mask.
//! - For old 32-bit calls behind socketcall(2) and ipc(2) the rule applies there, too. The number
//!   of the call replaces the condition on the first argument, since the real arguments are in
//!   memory.

use crate::bpf::LENGTH_MAX;
use crate::order::order;
use crate::syscalls::{Arch, Multiplexing, Syscall, Width};
use spec::container::{Seccomp, SeccompAction, SeccompArg, SeccompOp};
use std::collections::BTreeSet;

/// One prepared comparison: of a whole argument or, on 32-bit architectures, of its low word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub test: Test,
    /// The bits that count: all bits, except in a masked comparison.
    pub mask: u64,
    /// The value to compare with; it has no bit outside the mask.
    pub value: u64,
}

/// The operators, where the masked one is a kind of equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the name says it")]
pub enum Test {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    MaskedEqual,
    GreaterOrEqual,
    Greater,
}

impl Condition {
    /// `None`: it always holds, since its mask is empty.
    fn new(arg: &SeccompArg, width: Width) -> Option<Self> {
        let word = word(width);
        let (test, mask, value) = match arg.op {
            SeccompOp::ScmpCmpMaskedEq => (Test::MaskedEqual, arg.value, arg.value_two),
            SeccompOp::ScmpCmpNe => (Test::NotEqual, u64::MAX, arg.value),
            SeccompOp::ScmpCmpLt => (Test::Less, u64::MAX, arg.value),
            SeccompOp::ScmpCmpLe => (Test::LessOrEqual, u64::MAX, arg.value),
            SeccompOp::ScmpCmpEq => (Test::Equal, u64::MAX, arg.value),
            SeccompOp::ScmpCmpGe => (Test::GreaterOrEqual, u64::MAX, arg.value),
            SeccompOp::ScmpCmpGt => (Test::Greater, u64::MAX, arg.value),
        };
        let mask = mask & word;
        (mask != 0).then_some(Self {
            argument: arg.index,
            test,
            mask,
            value: value & mask,
        })
    }

    /// Whether it holds for these arguments.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let argument = args.get(usize::from(self.argument)).copied().unwrap_or(0) & self.mask;
        match self.test {
            Test::NotEqual => argument != self.value,
            Test::Less => argument < self.value,
            Test::LessOrEqual => argument <= self.value,
            Test::Equal | Test::MaskedEqual => argument == self.value,
            Test::GreaterOrEqual => argument >= self.value,
            Test::Greater => argument > self.value,
        }
    }
}

/// The bits of an argument that count.
fn word(width: Width) -> u64 {
    match width {
        Width::Bits32 => u32::MAX.into(),
        Width::Bits64 => u64::MAX,
    }
}

/// Conditions that must all hold, and the answer if they do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clause {
    /// The index of its rule in `syscalls`.
    pub rule: usize,
    /// Sorted by argument, at most one for each argument; empty: the clause always holds.
    pub conditions: Vec<Condition>,
    /// The answer.
    pub action: SeccompAction,
}

/// The answers of the rules to one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Always this, because of the rule with this index.
    Always(SeccompAction, usize),
    /// The first clause that holds, else the default action. Not empty.
    First(Vec<Clause>),
}

/// One rule and one of its names, found in the table.
#[derive(Debug, Clone, Copy)]
struct Mention {
    syscall: Syscall,
    rule: u32,
}

/// A profile with its names looked up.
#[derive(Debug)]
pub struct Rules<'a> {
    profile: &'a Seccomp,
    /// By syscall.
    calls: Vec<Call>,
    /// Rules with conditions, sorted by syscall, then by rule.
    conditional: Vec<Mention>,
    /// Names that no architecture has, with the index of their rule.
    pub unknown: Vec<(usize, &'a str)>,
}

/// Which rules name a call.
#[derive(Debug, Clone, Copy, Default)]
struct Call {
    /// Whether any does, even with the default action.
    is_named: bool,
    /// The first one without conditions.
    simple: Option<u32>,
    /// Whether there are rules with conditions.
    has_conditions: bool,
}

impl<'a> Rules<'a> {
    /// Looks up every name of the profile.
    pub fn new(profile: &'a Seccomp) -> Self {
        let mut rules = Self {
            profile,
            calls: vec![Call::default(); crate::syscalls::COUNT],
            conditional: Vec::new(),
            unknown: Vec::new(),
        };
        for (index, rule) in (0_u32..).zip(&profile.syscalls) {
            // Most names follow the one before in the table, too.
            let mut before = None;
            for name in &rule.names {
                let next = before.and_then(|before: Syscall| before.next_named(name));
                let Some(syscall) = next.or_else(|| Syscall::named(name)) else {
                    rules.unknown.push((index as usize, name));
                    continue;
                };
                before = Some(syscall);
                let call = &mut rules.calls[syscall.index()];
                call.is_named = true;
                if rule.action == profile.default_action {
                    continue;
                }
                if rule.args.is_empty() {
                    call.simple.get_or_insert(index);
                } else {
                    call.has_conditions = true;
                    rules.conditional.push(Mention {
                        syscall,
                        rule: index,
                    });
                }
            }
        }
        rules.conditional.sort_by_key(|mention| mention.syscall);
        rules
    }

    /// The profile.
    pub fn profile(&self) -> &'a Seccomp {
        self.profile
    }

    /// Whether any rule names the call, even with the default action.
    pub fn names(&self, syscall: Syscall) -> bool {
        self.calls[syscall.index()].is_named
    }

    /// The highest number on `arch` that the profile names. `None`: it names none but number 0.
    pub fn newest(&self, arch: Arch) -> Option<u32> {
        Syscall::by_number(arch)
            .filter(|(_, syscall)| self.names(*syscall))
            .last()
            .map(|(number, _)| number)
            .filter(|newest| *newest != 0)
    }

    /// Whether rules with another action than the default one name the call.
    pub(crate) fn speak_of(&self, syscall: Syscall) -> bool {
        let call = self.calls[syscall.index()];
        call.simple.is_some() || call.has_conditions
    }

    /// The first rule without conditions that names the call.
    fn simple(&self, syscall: Syscall) -> Option<(SeccompAction, usize)> {
        let rule = self.calls[syscall.index()].simple? as usize;
        Some((self.profile.syscalls[rule].action, rule))
    }

    /// Whether such rules name a call that is behind this one on an architecture.
    pub(crate) fn speak_behind(&self, syscall: Syscall, multiplexing: Multiplexing) -> bool {
        multiplexing == Multiplexing::SocketAndIpc
            && syscall.multiplexes().any(|(inner, _)| self.speak_of(inner))
    }

    fn conditional(&self, syscall: Syscall) -> &[Mention] {
        let start = self
            .conditional
            .partition_point(|mention| mention.syscall < syscall);
        let rest = &self.conditional[start..];
        &rest[..rest.partition_point(|mention| mention.syscall == syscall)]
    }

    /// The clauses of the rules that name the call, in the order of the document.
    fn clauses(&self, syscall: Syscall, width: Width) -> Vec<Clause> {
        let mut clauses = Vec::new();
        if let Some((action, rule)) = self.simple(syscall) {
            clauses.push(Clause {
                rule,
                conditions: Vec::new(),
                action,
            });
        }
        for mention in self.conditional(syscall) {
            let index = mention.rule as usize;
            let rule = &self.profile.syscalls[index];
            let conditions = rule.args.iter().map(|arg| Condition::new(arg, width));
            if has_argument_twice(&rule.args) {
                clauses.extend(conditions.map(|condition| Clause {
                    rule: index,
                    conditions: condition.into_iter().collect(),
                    action: rule.action,
                }));
            } else {
                let mut conditions: Vec<_> = conditions.flatten().collect();
                conditions.sort_by_key(|condition| condition.argument);
                clauses.push(Clause {
                    rule: index,
                    conditions,
                    action: rule.action,
                });
            }
        }
        clauses
    }

    /// The answers of the rules for the number that all `syscalls` share on `arch`. `None`: no rule
    /// applies.
    pub fn verdict(&self, syscalls: &[Syscall], arch: Arch) -> Option<Verdict> {
        if let [syscall] = *syscalls
            && let Some((action, rule)) = self.simple(syscall)
            && !self.calls[syscall.index()].has_conditions
        {
            return Some(Verdict::Always(action, rule));
        }
        let width = arch.width();
        let mut clauses = Vec::new();
        for syscall in syscalls {
            clauses.extend(self.clauses(*syscall, width));
            if arch.multiplexing() == Multiplexing::SocketAndIpc {
                for (inner, argument) in syscall.multiplexes() {
                    clauses.extend(
                        self.clauses(inner, width)
                            .into_iter()
                            .map(|clause| behind_multiplexer(clause, argument, width)),
                    );
                }
            }
        }
        clauses.sort_by_key(|clause| clause.rule);
        if let Some(always) = clauses.iter().find(|clause| clause.conditions.is_empty()) {
            return Some(Verdict::Always(always.action, always.rule));
        }
        if clauses.len() > LENGTH_MAX {
            // Later rules with the same conditions are never reached.
            let mut seen = BTreeSet::new();
            clauses.retain(|clause| seen.insert(clause.conditions.clone()));
        }
        (!clauses.is_empty()).then(|| Verdict::First(order(clauses, width)))
    }
}

/// A clause of a call behind a multiplexer, whose first argument is the number of the call.
fn behind_multiplexer(mut clause: Clause, argument: u32, width: Width) -> Clause {
    clause
        .conditions
        .retain(|condition| condition.argument != 0);
    clause.conditions.insert(
        0,
        Condition {
            argument: 0,
            test: Test::Equal,
            mask: word(width),
            value: argument.into(),
        },
    );
    clause
}

/// The low and the high word.
pub(crate) fn split(value: u64) -> [u32; 2] {
    let word = |word| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
    [word(value), word(value >> 32)]
}

/// Whether two conditions check the same argument.
pub fn has_argument_twice(args: &[SeccompArg]) -> bool {
    let mut seen = 0_u64;
    args.iter().any(|arg| {
        let bit = 1 << (arg.index % 64);
        let twice = seen & bit != 0;
        seen |= bit;
        twice
    })
}
