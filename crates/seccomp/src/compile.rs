//! The compiler: it turns a profile into one classic BPF program.
//!
//! The program checks the architecture, then finds the call's number by binary search over ranges
//! of numbers with the same answer, then checks the conditions. An architecture that is not in the
//! profile gets KILL_THREAD, as from libseccomp. x86_64 and x32 share an architecture number; the
//! x32 numbers have bit 30 set. If the profile does not name X32, they count as a foreign
//! architecture too. The exception is -1: it is not an x32 number, and a tracer writes it to skip a
//! call.
//!
//! Calls newer than the newest one that a profile names get ENOSYS, so that a C library falls back
//! to an older call instead of failing with EPERM: runc's rule, see [`answers_newer`]. It compares
//! numbers, so it applies to each architecture, always including the native one.

use crate::bpf::{self, Instruction, data, op};
use crate::emit::{Emitter, Label};
use crate::rule::{Clause, Condition, Rules, Test, Verdict, split};
use crate::syscalls::{Arch, Endian, Syscall, Width, X32_BIT};
use spec::container::{Seccomp, SeccompAction, SeccompArch};
use spec::{Code, Diagnostic};

/// Why a profile has no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("the filter needs {0} instructions, the kernel accepts at most 4096")]
    TooLong(usize),
    #[error("rule {rule}: a system call has arguments 0 to 5, not {argument}")]
    Argument { rule: usize, argument: u8 },
}

impl Error {
    /// The same error with its place in the document; `filter` is the JSON pointer of the filter.
    pub fn at(&self, filter: &str) -> Diagnostic {
        match self {
            Self::TooLong(_) => {
                let pointer = format!("{filter}/syscalls");
                let hint =
                    "put calls with the same answer into one rule, and compare fewer arguments";
                Diagnostic::new(Code::Range, pointer, self.to_string()).hint(hint)
            }
            Self::Argument { rule, .. } => {
                let pointer = format!("{filter}/syscalls/{rule}/args");
                Diagnostic::new(Code::Range, pointer, self.to_string())
            }
        }
    }
}

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// At most 4096 instructions, which the kernel's checker accepts.
    pub program: Vec<Instruction>,
    /// Names in rules that no architecture has, with the index of the rule in `syscalls`. They were
    /// skipped.
    pub unknown: Vec<(usize, String)>,
}

/// Compiles a profile for this machine.
pub fn compile(profile: &Seccomp) -> Result<Filter, Error> {
    compile_for(profile, Arch::NATIVE)
}

/// Compiles a profile for a machine of the architecture `native`.
pub fn compile_for(profile: &Seccomp, native: Arch) -> Result<Filter, Error> {
    for (rule, element) in profile.syscalls.iter().enumerate() {
        if let Some(arg) = element.args.iter().find(|arg| arg.index > 5) {
            return Err(Error::Argument {
                rule,
                argument: arg.index,
            });
        }
    }
    let rules = Rules::new(profile);
    let mut compiler = Compiler::new(&rules);
    compiler.program(&architectures(profile, native));
    let program = compiler.emitter.finish();
    if program.len() > bpf::LENGTH_MAX {
        return Err(Error::TooLong(program.len()));
    }
    let unknown = rules
        .unknown
        .iter()
        .map(|(rule, name)| (*rule, (*name).to_owned()))
        .collect();
    Ok(Filter { program, unknown })
}

/// The architectures of a profile: the native one, then the listed ones.
pub fn architectures(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let listed = profile.architectures.iter().map(|arch| Arch(*arch));
    let mut archs = vec![native];
    archs.extend(listed.filter(|arch| *arch != native));
    archs
}

/// The SECCOMP_RET_* value of an action. See linux/seccomp.h.
pub fn return_value(action: SeccompAction) -> u32 {
    match action {
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::KillThread => 0,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno(number) => 0x0005_0000 | u32::from(number),
        SeccompAction::Trace(number) => 0x7ff0_0000 | u32::from(number),
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Notify => 0x7fc0_0000,
        SeccompAction::Allow => 0x7fff_0000,
    }
}

/// The answer to calls of architectures that are not in the profile.
pub(crate) const BAD_ARCHITECTURE: SeccompAction = SeccompAction::KillThread;

/// The answer to calls that are newer than the profile.
pub(crate) const NEWER: SeccompAction = SeccompAction::Errno(ENOSYS);
const ENOSYS: u16 = 38;

/// Whether calls newer than the profile get their own answer. They do not if the default action
/// allows calls, or hands them to a tracer, which can answer ENOSYS itself.
pub fn answers_newer(default: SeccompAction) -> bool {
    match default {
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace(_) => false,
        SeccompAction::KillProcess
        | SeccompAction::KillThread
        | SeccompAction::Trap
        | SeccompAction::Errno(_)
        | SeccompAction::Notify => true,
    }
}

/// Number 0 on s390 stands for every call whose number was given in a register and is unknown to
/// the kernel, so it gets the answer of a newer call.
pub(crate) fn zero_is_newer(arch: Arch) -> bool {
    matches!(
        arch.0,
        SeccompArch::ScmpArchS390 | SeccompArch::ScmpArchS390x
    )
}

/// From `start` to the next range's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u32,
    label: Label,
}

/// The chain of conditions at a label. Calls and architectures with the same chain share it.
#[derive(Debug)]
struct Chain {
    clauses: Vec<Clause>,
    layout: (Width, Endian),
    label: Label,
}

struct Compiler<'a> {
    rules: &'a Rules<'a>,
    emitter: Emitter,
    chains: Vec<Chain>,
    default: Label,
}

impl<'a> Compiler<'a> {
    fn new(rules: &'a Rules<'a>) -> Self {
        let mut emitter = Emitter::with_capacity(512);
        let default = emitter.answer(return_value(rules.profile().default_action));
        Self {
            rules,
            emitter,
            chains: Vec::new(),
            default,
        }
    }

    /// Written from the end: the sections of the architectures in reverse, then the code that
    /// chooses one.
    fn program(&mut self, archs: &[Arch]) {
        let mut sections: Vec<(u32, Label)> = Vec::with_capacity(archs.len());
        for arch in archs.iter().rev() {
            let audit = arch.audit();
            if sections.iter().any(|(other, _)| *other == audit) {
                continue;
            }
            let ranges = self.section(archs, audit);
            let tree = self.tree(&ranges);
            let start = self.emitter.load(data::NUMBER, tree);
            sections.push((audit, start));
        }
        let mut next = self.emitter.answer(return_value(BAD_ARCHITECTURE));
        for (audit, start) in sections {
            next = self.emitter.branch(op::EQUAL, audit, start, next);
        }
        self.emitter.load(data::ARCH, next);
    }

    /// The ranges of all architectures with this AUDIT_ARCH number.
    fn section(&mut self, archs: &[Arch], audit: u32) -> Vec<Range> {
        let here = || archs.iter().copied().filter(|arch| arch.audit() == audit);
        let x32 = here().find(|arch| arch.0 == SeccompArch::ScmpArchX32);
        let plain = here().find(|arch| arch.0 != SeccompArch::ScmpArchX32);
        let bad = self.emitter.answer(return_value(BAD_ARCHITECTURE));
        let mut ranges = Vec::with_capacity(128);
        match plain {
            Some(arch) => self.ranges(arch, &mut ranges),
            None => ranges.push(Range {
                start: 0,
                label: bad,
            }),
        }
        if plain.is_none_or(|arch| arch.0 == SeccompArch::ScmpArchX86_64) {
            ranges.retain(|range| range.start < X32_BIT);
            match x32 {
                Some(arch) => self.ranges(arch, &mut ranges),
                None => {
                    push(&mut ranges, X32_BIT, bad);
                    push(&mut ranges, u32::MAX, self.default);
                }
            }
        }
        ranges
    }

    /// Appends the ranges of one architecture. The first range starts at the architecture's first
    /// number.
    fn ranges(&mut self, arch: Arch, ranges: &mut Vec<Range>) {
        let mut newest = None;
        let mut numbers = Vec::with_capacity(crate::syscalls::COUNT);
        let multiplexing = arch.multiplexing();
        for (number, syscall) in Syscall::by_number(arch) {
            if self.rules.names(syscall) {
                newest = Some(number);
            }
            if self.rules.speak_of(syscall) || self.rules.speak_behind(syscall, multiplexing) {
                numbers.push((number, syscall));
            }
        }
        let start = if arch.0 == SeccompArch::ScmpArchX32 {
            X32_BIT
        } else {
            0
        };
        push(ranges, start, self.default);
        for group in numbers.chunk_by(|one, other| one.0 == other.0) {
            let number = group[0].0;
            let syscalls: Vec<Syscall>;
            let verdict = if let [(_, syscall)] = group {
                self.rules.verdict(&[*syscall], arch)
            } else {
                syscalls = group.iter().map(|(_, syscall)| *syscall).collect();
                self.rules.verdict(&syscalls, arch)
            };
            if let Some(verdict) = verdict {
                let label = self.verdict(verdict, arch);
                push(ranges, number, label);
                push(ranges, number + 1, self.default);
            }
        }
        if answers_newer(self.rules.profile().default_action)
            && let Some(newest) = newest.filter(|newest| *newest != 0)
        {
            let newer = self.emitter.answer(return_value(NEWER));
            push(ranges, newest + 1, newer);
            if zero_is_newer(arch) {
                let after = ranges[1..]
                    .first()
                    .filter(|range| range.start == 1)
                    .is_some();
                let old = std::mem::replace(&mut ranges[0].label, newer);
                if !after {
                    ranges.insert(
                        1,
                        Range {
                            start: 1,
                            label: old,
                        },
                    );
                }
            }
        }
    }

    fn verdict(&mut self, verdict: Verdict, arch: Arch) -> Label {
        let clauses = match verdict {
            Verdict::Always(action, _) => return self.emitter.answer(return_value(action)),
            Verdict::First(clauses) => clauses,
        };
        let layout = (arch.width(), arch.endian());
        let known = self
            .chains
            .iter()
            .find(|chain| chain.layout == layout && same_answers(&chain.clauses, &clauses));
        if let Some(chain) = known {
            return chain.label;
        }
        let mut next = self.default;
        for clause in clauses.iter().rev() {
            let mut yes = self.emitter.answer(return_value(clause.action));
            for condition in clause.conditions.iter().rev() {
                yes = self.condition(condition, layout, yes, next);
            }
            next = yes;
        }
        self.chains.push(Chain {
            clauses,
            layout,
            label: next,
        });
        next
    }

    fn condition(
        &mut self,
        condition: &Condition,
        (width, endian): (Width, Endian),
        yes: Label,
        no: Label,
    ) -> Label {
        let words = Words::new(condition, endian);
        let (yes, no) = match condition.test {
            Test::NotEqual | Test::Less | Test::LessOrEqual => (no, yes),
            Test::Equal | Test::MaskedEqual | Test::GreaterOrEqual | Test::Greater => (yes, no),
        };
        let low_test = match condition.test {
            Test::NotEqual | Test::Equal | Test::MaskedEqual => op::EQUAL,
            Test::Less | Test::GreaterOrEqual => op::GREATER_EQUAL,
            Test::LessOrEqual | Test::Greater => op::GREATER,
        };
        let low = self.word(words.low, low_test, yes, no);
        match width {
            Width::Bits32 => low,
            Width::Bits64 if low_test == op::EQUAL => self.word(words.high, op::EQUAL, low, no),
            Width::Bits64 => {
                let equal = self.emitter.branch(op::EQUAL, words.high.value, low, no);
                let greater = self
                    .emitter
                    .branch(op::GREATER, words.high.value, yes, equal);
                self.emitter.load(words.high.offset, greater)
            }
        }
    }

    /// Compares one word; an empty mask always matches.
    fn word(&mut self, word: Word, test: u16, yes: Label, no: Label) -> Label {
        if word.mask == 0 {
            return yes;
        }
        let mut start = self.emitter.branch(test, word.value, yes, no);
        if word.mask != u32::MAX {
            start = self.emitter.mask(word.mask, start);
        }
        self.emitter.load(word.offset, start)
    }

    /// Binary search over ranges that are sorted; not empty.
    fn tree(&mut self, ranges: &[Range]) -> Label {
        match ranges {
            [] => self.default,
            [only] => only.label,
            // A single number between other ranges.
            [before, one, after] if before.label == after.label && after.start - one.start == 1 => {
                self.emitter
                    .branch(op::EQUAL, one.start, one.label, before.label)
            }
            _ => {
                let middle = ranges.len() / 2;
                let above = self.tree(&ranges[middle..]);
                let below = self.tree(&ranges[..middle]);
                self.emitter
                    .branch(op::GREATER_EQUAL, ranges[middle].start, above, below)
            }
        }
    }
}

/// Appends a range; the previous one ends there. A range with the same answer extends the previous
/// one.
fn push(ranges: &mut Vec<Range>, start: u32, label: Label) {
    if ranges.last().is_some_and(|last| last.start == start) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|last| last.label != label) {
        ranges.push(Range { start, label });
    }
}

/// Whether two chains are equal except for the rules that they come from.
fn same_answers(one: &[Clause], other: &[Clause]) -> bool {
    let part = |clause: &Clause| (clause.action, clause.conditions.len());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| part(one) == part(other) && one.conditions == other.conditions)
}

#[derive(Debug, Clone, Copy)]
struct Word {
    offset: u32,
    mask: u32,
    value: u32,
}

/// The two halves of a comparison.
#[derive(Debug, Clone, Copy)]
struct Words {
    low: Word,
    high: Word,
}

impl Words {
    fn new(condition: &Condition, endian: Endian) -> Self {
        let first = data::ARGS + 8 * u32::from(condition.argument);
        let (low, high) = match endian {
            Endian::Little => (first, first + 4),
            Endian::Big => (first + 4, first),
        };
        let [mask, value] = [split(condition.mask), split(condition.value)];
        Self {
            low: Word {
                offset: low,
                mask: mask[0],
                value: value[0],
            },
            high: Word {
                offset: high,
                mask: mask[1],
                value: value[1],
            },
        }
    }
}
