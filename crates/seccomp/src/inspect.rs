//! Inspects profiles: which rule answers a call, which problems a profile has, how two profiles
//! differ.
//!
//! All three use the meaning of the rules ([`crate::rule`]), not the program; the tests compare the
//! two.

use crate::compile::{BAD_ARCHITECTURE, NEWER, answers_newer, architectures, zero_is_newer};
use crate::rule::{Clause, Rules, Verdict};
use crate::syscalls::{Arch, Syscall, X32_BIT};
use crate::width::is_evaded;
use spec::container::{Seccomp, SeccompAction, SeccompArch, SeccompOp};

/// Why a call gets its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This rule of `syscalls`.
    Rule(usize),
    /// No rule applies.
    Default,
    /// Its number is above all numbers that the profile names on the architecture.
    NewerThanProfile,
    /// The architecture is not in the profile.
    ForeignArchitecture,
}

/// The answer of a profile to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The action.
    pub action: SeccompAction,
    /// Why.
    pub reason: Reason,
}

/// A profile that is prepared for questions.
#[derive(Debug)]
pub struct Inspector<'a> {
    rules: Rules<'a>,
    /// The architectures, each with the newest number that the profile names.
    archs: Vec<(Arch, Option<u32>)>,
}

impl<'a> Inspector<'a> {
    /// Looks up the names of a profile for a machine of the architecture `native`.
    pub fn new(profile: &'a Seccomp, native: Arch) -> Self {
        let rules = Rules::new(profile);
        let newest = |arch| (arch, rules.newest(arch));
        let archs = architectures(profile, native)
            .into_iter()
            .map(newest)
            .collect();
        Self { rules, archs }
    }

    /// Which rule answers the call with this number. A number of x32 on x86_64 counts as a call of
    /// x32.
    pub fn test_number(&self, arch: Arch, number: u32, args: &[u64; 6]) -> Answer {
        let arch = match arch.0 {
            SeccompArch::ScmpArchX86_64 if number >= X32_BIT => Arch(SeccompArch::ScmpArchX32),
            SeccompArch::ScmpArchX32 if number < X32_BIT => Arch(SeccompArch::ScmpArchX86_64),
            _ => arch,
        };
        let default = self.rules.profile().default_action;
        let unanswered = Answer {
            action: default,
            reason: Reason::Default,
        };
        let Some((_, newest)) = self.archs.iter().find(|(other, _)| *other == arch) else {
            // A tracer writes -1 to skip a call; it is not a number of x32.
            let native = self
                .archs
                .iter()
                .any(|(other, _)| other.0 == SeccompArch::ScmpArchX86_64);
            return if arch.0 == SeccompArch::ScmpArchX32 && number == u32::MAX && native {
                unanswered
            } else {
                Answer {
                    action: BAD_ARCHITECTURE,
                    reason: Reason::ForeignArchitecture,
                }
            };
        };
        if answers_newer(default)
            && let Some(newest) = newest
            && (number > *newest || number == 0 && zero_is_newer(arch))
        {
            return Answer {
                action: NEWER,
                reason: Reason::NewerThanProfile,
            };
        }
        match self.verdict(arch, number) {
            None => unanswered,
            Some(Verdict::Always(action, rule)) => Answer {
                action,
                reason: Reason::Rule(rule),
            },
            Some(Verdict::First(clauses)) => {
                let holds = |clause: &&Clause| {
                    clause
                        .conditions
                        .iter()
                        .all(|condition| condition.holds(args))
                };
                clauses
                    .iter()
                    .find(holds)
                    .map_or(unanswered, |clause| Answer {
                        action: clause.action,
                        reason: Reason::Rule(clause.rule),
                    })
            }
        }
    }

    fn verdict(&self, arch: Arch, number: u32) -> Option<Verdict> {
        let here = |syscall: &Syscall| syscall.number(arch) == Some(number);
        let syscalls: Vec<_> = Syscall::all().filter(here).collect();
        self.rules.verdict(&syscalls, arch)
    }

    /// The profile's answers to a call for all arguments. Rule indices are left out, so that two
    /// profiles can be compared.
    fn outline(&self, arch: Arch, syscall: Syscall) -> Option<Outline> {
        let number = syscall.number(arch)?;
        let answer = self.test_number(arch, number, &[0; 6]);
        let fixed = |action| {
            Some(Outline {
                clauses: Vec::new(),
                otherwise: action,
            })
        };
        match answer.reason {
            Reason::NewerThanProfile | Reason::ForeignArchitecture => return fixed(answer.action),
            Reason::Rule(_) | Reason::Default => {}
        }
        match self.verdict(arch, number) {
            Some(Verdict::First(mut clauses)) => {
                for clause in &mut clauses {
                    clause.rule = 0;
                }
                Some(Outline {
                    clauses,
                    otherwise: self.rules.profile().default_action,
                })
            }
            Some(Verdict::Always(action, _)) => fixed(action),
            None => fixed(self.rules.profile().default_action),
        }
    }
}

/// All answers of a profile to one call: that of the first clause that holds, else the final one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// In the order of evaluation; their rule is not given.
    pub clauses: Vec<Clause>,
    /// The answer if no clause holds.
    pub otherwise: SeccompAction,
}

/// A call that two profiles answer differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The architecture.
    pub arch: Arch,
    /// The call.
    pub syscall: Syscall,
    /// The first profile's answer.
    pub left: Outline,
    /// The second profile's answer.
    pub right: Outline,
}

/// The calls that two profiles answer differently on a machine of the architecture `native`, by
/// architecture and name. Clauses in another order count as a difference.
pub fn diff(left: &Seccomp, right: &Seccomp, native: Arch) -> Vec<Difference> {
    let (left, right) = (Inspector::new(left, native), Inspector::new(right, native));
    let has = |arch| move |known: &(Arch, _)| known.0 == arch;
    let mut differences = Vec::new();
    for arch in Arch::ALL {
        if !left.archs.iter().chain(&right.archs).any(has(arch)) {
            continue;
        }
        for syscall in Syscall::all() {
            let outlines = (left.outline(arch, syscall), right.outline(arch, syscall));
            if let (Some(left), Some(right)) = outlines
                && left != right
            {
                differences.push(Difference {
                    arch,
                    syscall,
                    left,
                    right,
                });
            }
        }
    }
    differences
}

/// A possible mistake in a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// No architecture has a call of this name: the name is misspelt, or newer than Linux 7.2.
    UnknownName {
        /// The index in `syscalls`.
        rule: usize,
        /// As written.
        name: String,
    },
    /// The rule never answers this call, since another one without conditions always does.
    Shadowed {
        /// The index of the rule that is never reached.
        rule: usize,
        /// The call.
        name: String,
        /// The index of the other.
        by: usize,
    },
    /// The rule names the call twice.
    Duplicate {
        /// The index in `syscalls`.
        rule: usize,
        /// The call.
        name: String,
    },
    /// The rule's action is the default action, so it has no effect.
    SaysTheDefault {
        /// The index in `syscalls`.
        rule: usize,
    },
    /// Two conditions check the same argument, so each of them becomes a separate rule: either one
    /// suffices.
    ArgumentTwice {
        /// The index in `syscalls`.
        rule: usize,
    },
    /// The kernel runs programs of this architecture, too, and the profile kills them at their
    /// first call.
    MissingArchitecture {
        /// The architecture that is not listed.
        arch: Arch,
    },
    /// The condition compares all 64 bits of an argument of which the kernel reads 32: a caller
    /// that sets upper bits evades the rule (CVE-2026-123876).
    UpperBits {
        /// The index in `syscalls`.
        rule: usize,
        /// The call.
        name: String,
        /// The index in the rule's `args`.
        arg: usize,
        /// The comparison.
        op: SeccompOp,
    },
    /// On an architecture that multiplexes, the call has no rule for its first argument there: it
    /// lies in memory.
    MultiplexedArgument {
        /// The index in `syscalls`.
        rule: usize,
        /// The call.
        name: String,
        /// The architecture.
        arch: Arch,
    },
}

/// The 32-bit architectures whose programs a kernel of this architecture also runs.
pub fn relatives(native: Arch) -> &'static [SeccompArch] {
    match native.0 {
        SeccompArch::ScmpArchX86_64 => &[SeccompArch::ScmpArchX86, SeccompArch::ScmpArchX32],
        SeccompArch::ScmpArchAarch64 => &[SeccompArch::ScmpArchArm],
        SeccompArch::ScmpArchS390x => &[SeccompArch::ScmpArchS390],
        SeccompArch::ScmpArchPpc64 => &[SeccompArch::ScmpArchPpc],
        SeccompArch::ScmpArchParisc64 => &[SeccompArch::ScmpArchParisc],
        SeccompArch::ScmpArchMips64 => &[SeccompArch::ScmpArchMips, SeccompArch::ScmpArchMips64n32],
        SeccompArch::ScmpArchMipsel64 => &[
            SeccompArch::ScmpArchMipsel,
            SeccompArch::ScmpArchMipsel64n32,
        ],
        _ => &[],
    }
}

/// The possible mistakes in a profile, in the order of its rules.
pub fn lint(profile: &Seccomp, native: Arch) -> Vec<Finding> {
    let rules = Rules::new(profile);
    let archs = architectures(profile, native);
    let mut findings = Vec::new();
    for (index, rule) in profile.syscalls.iter().enumerate() {
        if rule.action == profile.default_action {
            findings.push(Finding::SaysTheDefault { rule: index });
        }
        if crate::rule::has_argument_twice(&rule.args) {
            findings.push(Finding::ArgumentTwice { rule: index });
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &rule.names {
            let name = || name.clone();
            let Some(syscall) = Syscall::named(&name()) else {
                findings.push(Finding::UnknownName {
                    rule: index,
                    name: name(),
                });
                continue;
            };
            if !seen.insert(syscall) {
                findings.push(Finding::Duplicate {
                    rule: index,
                    name: name(),
                });
                continue;
            }
            let says_something = rule.action != profile.default_action;
            for (arg, condition) in rule.args.iter().enumerate() {
                if says_something && is_evaded(&name(), condition, rule.action) {
                    findings.push(Finding::UpperBits {
                        rule: index,
                        name: name(),
                        arg,
                        op: condition.op,
                    });
                }
            }
            let always = archs.iter().find(|arch| syscall.number(**arch).is_some());
            if let Some(arch) = always
                && let Some(Verdict::Always(_, by)) = rules.verdict(&[syscall], *arch)
                && says_something
                && by != index
            {
                findings.push(Finding::Shadowed {
                    rule: index,
                    name: name(),
                    by,
                });
            }
            if says_something && rule.args.iter().any(|arg| arg.index == 0) {
                let behind = archs
                    .iter()
                    .copied()
                    .filter(|arch| is_multiplexed(syscall, *arch));
                findings.extend(behind.map(|arch| Finding::MultiplexedArgument {
                    rule: index,
                    name: name(),
                    arch,
                }));
            }
        }
    }
    let missing = relatives(native).iter().copied().map(Arch);
    findings.extend(
        missing
            .filter(|arch| !archs.contains(arch))
            .map(|arch| Finding::MissingArchitecture { arch }),
    );
    findings
}

fn is_multiplexed(syscall: Syscall, arch: Arch) -> bool {
    arch.multiplexing() == crate::syscalls::Multiplexing::SocketAndIpc
        && ["socketcall", "ipc"]
            .into_iter()
            .filter_map(Syscall::named)
            .any(|outer| outer.multiplexes().any(|(inner, _)| inner == syscall))
}
