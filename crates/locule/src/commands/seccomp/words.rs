//! Text for people about filters: actions, conditions, answers, findings.

use kernel::Errno;
use seccomp::inspect::{Answer, Finding, Outline, Reason};
use seccomp::rule::{Clause, Condition, Test};
use seccomp::syscalls::Arch;
use spec::container::{Seccomp, SeccompAction, SeccompFlag, SeccompOp};
use spec::words;

/// An action by its name in the specification, with its number and the meaning of the number.
pub(super) fn action(action: SeccompAction) -> String {
    match action {
        SeccompAction::KillProcess => "SCMP_ACT_KILL_PROCESS".to_owned(),
        SeccompAction::KillThread => "SCMP_ACT_KILL_THREAD".to_owned(),
        SeccompAction::Trap => "SCMP_ACT_TRAP".to_owned(),
        SeccompAction::Errno(number) => {
            let name = Errno::from_raw(number.into());
            if name == Errno::UnknownErrno {
                format!("SCMP_ACT_ERRNO {number}")
            } else {
                format!("SCMP_ACT_ERRNO {number} ({name:?})")
            }
        }
        SeccompAction::Trace(number) => format!("SCMP_ACT_TRACE {number}"),
        SeccompAction::Log => "SCMP_ACT_LOG".to_owned(),
        SeccompAction::Allow => "SCMP_ACT_ALLOW".to_owned(),
        SeccompAction::Notify => "SCMP_ACT_NOTIFY".to_owned(),
    }
}

/// The answer, and why. `pointer` is the JSON pointer of the filter in its document.
pub(super) fn answer(answer: &Answer, arch: Arch, pointer: &str) -> String {
    let why = match answer.reason {
        Reason::Rule(rule) => format!("{pointer}/syscalls/{rule}"),
        Reason::Default => format!("no rule holds, {pointer}/defaultAction"),
        Reason::NewerThanProfile => "the call is newer than all that the profile names".to_owned(),
        Reason::ForeignArchitecture => {
            format!("{} is not in {pointer}/architectures", arch.name())
        }
    };
    format!("{}: {why}", action(answer.action))
}

/// A condition in the syntax of C.
fn condition(condition: &Condition) -> String {
    let Condition {
        argument,
        test,
        mask,
        value,
    } = condition;
    let operator = match test {
        Test::NotEqual => "!=",
        Test::Less => "<",
        Test::LessOrEqual => "<=",
        Test::Equal => "==",
        Test::MaskedEqual => return format!("(arg{argument} & {mask:#x}) == {value:#x}"),
        Test::GreaterOrEqual => ">=",
        Test::Greater => ">",
    };
    format!("arg{argument} {operator} {value:#x}")
}

/// All that is answered to a call, one line for each clause, in the order in which they are tried.
pub(super) fn outline(outline: &Outline) -> Vec<String> {
    let clause = |clause: &Clause| {
        let conditions: Vec<_> = clause.conditions.iter().map(condition).collect();
        if conditions.is_empty() {
            return action(clause.action);
        }
        format!("{} if {}", action(clause.action), conditions.join(" && "))
    };
    let mut lines: Vec<_> = outline.clauses.iter().map(clause).collect();
    let otherwise = action(outline.otherwise);
    lines.push(if lines.is_empty() {
        otherwise
    } else {
        format!("else {otherwise}")
    });
    lines
}

/// A finding, with the JSON pointer of its place.
pub(super) fn finding(finding: &Finding, pointer: &str) -> String {
    let place = |rule: &usize| format!("{pointer}/syscalls/{rule}");
    match finding {
        Finding::UnknownName { rule, name } => format!(
            "{}/names: {name:?} is unknown on every architecture, it is skipped",
            place(rule)
        ),
        Finding::Shadowed { rule, name, by } => format!(
            "{}/names: {name:?} is never answered here, {} always does",
            place(rule),
            place(by)
        ),
        Finding::Duplicate { rule, name } => {
            format!("{}/names: {name:?} stands here twice", place(rule))
        }
        Finding::SaysTheDefault { rule } => format!(
            "{}: the action is the default action, the rule is dropped",
            place(rule)
        ),
        Finding::ArgumentTwice { rule } => format!(
            "{}/args: two conditions on one argument are a rule each, either suffices",
            place(rule)
        ),
        Finding::MissingArchitecture { arch } => format!(
            "{pointer}/architectures: without SCMP_ARCH_{} its programs are killed at their first call",
            arch.name()
        ),
        Finding::UpperBits {
            rule,
            name,
            arg,
            op,
        } => {
            let instead = match op {
                SeccompOp::ScmpCmpEq => "use SCMP_CMP_MASKED_EQ with the mask 4294967295",
                SeccompOp::ScmpCmpMaskedEq => "use the mask 4294967295 at most",
                _ => {
                    "name each value that is meant, by SCMP_CMP_MASKED_EQ with the mask 4294967295"
                }
            };
            format!(
                "{}/args/{arg}: the kernel reads 32 bits of this argument of {name:?} and {} compares 64, so that a caller evades the rule by upper bits; {instead}",
                place(rule),
                words::of(*op)
            )
        }
        Finding::MultiplexedArgument { rule, name, arch } => format!(
            "{}/args: {name:?} can be made by socketcall or ipc on {}, where the first argument is not looked at",
            place(rule),
            arch.name()
        ),
    }
}

fn flags(flags: Option<&Vec<SeccompFlag>>) -> String {
    let word = |flag: &SeccompFlag| words::of(*flag);
    match flags {
        None => "absent".to_owned(),
        Some(flags) if flags.is_empty() => "none".to_owned(),
        Some(flags) => flags.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}

/// The differences of two profiles other than their rules: the property and both values.
pub(super) fn settings(left: &Seccomp, right: &Seccomp) -> Vec<(&'static str, String, String)> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "absent".to_owned());
    let settings = |profile: &Seccomp| {
        let path = profile.listener_path.as_ref();
        [
            ("defaultAction", action(profile.default_action)),
            ("flags", flags(profile.flags.as_ref())),
            ("listenerPath", text(path.map(|path| format!("{path:?}")))),
            (
                "listenerMetadata",
                text(
                    profile
                        .listener_metadata
                        .as_ref()
                        .map(|text| format!("{text:?}")),
                ),
            ),
        ]
    };
    let pairs = settings(left).into_iter().zip(settings(right));
    pairs
        .filter(|(left, right)| left != right)
        .map(|((what, left), (_, right))| (what, left, right))
        .collect()
}
