//! Which device nodes a container may open and make.
//!
//! The rules of `linux.resources.devices` apply in order: the last rule that names a bit of access
//! decides it. The rules for the nodes that every container may use come last. Without any rule
//! only those nodes are allowed. cgroup v2 gets one eBPF program, v1 the shortest list of changes.

mod list;
mod pattern;
mod program;
mod run;

use kernel::Errno;
use kernel::bpf::{
    attach_device_program, detach_device_program, device_programs, load_device_program,
    program_by_id,
};
use spec::container::{DeviceKind, DeviceRule, Resources};
use spec::{Code, Diagnostic};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use crate::Error;
use crate::directory::{Directory, Made};

/// Bits of access, with the values of BPF_DEVCG_ACC_*.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// Access as letters.
fn letters(access: u8) -> String {
    let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
    let named = letters.iter().filter(|(bit, _letter)| access & bit != 0);
    named.map(|(_bit, letter)| *letter).collect()
}

/// The types that have rules, with the numbers of BPF_DEVCG_DEV_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block = 1,
    Char = 2,
}

/// One rule. `None` is every type or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
    /// The index in the configuration; `None`: built in.
    index: Option<usize>,
}

/// The nodes that every container may use: type, major, minor, access.
const BUILT_IN: &[(Kind, Option<u32>, Option<u32>, u8)] = &[
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL),    // /dev/null
    (Kind::Char, Some(1), Some(8), ALL),    // /dev/random
    (Kind::Char, Some(1), Some(7), ALL),    // /dev/full
    (Kind::Char, Some(5), Some(0), ALL),    // /dev/tty
    (Kind::Char, Some(1), Some(5), ALL),    // /dev/zero
    (Kind::Char, Some(1), Some(9), ALL),    // /dev/urandom
    (Kind::Char, Some(136), None, ALL),     // /dev/pts/*
    (Kind::Char, Some(5), Some(2), ALL),    // /dev/ptmx
    (Kind::Char, Some(10), Some(200), ALL), // /dev/net/tun
];

/// The configuration's rules and the built-in ones.
fn rules(configured: &[DeviceRule]) -> Vec<Rule> {
    let given = configured.iter().enumerate().filter_map(|(index, rule)| {
        let kind = match rule.kind {
            None => None,
            Some(DeviceKind::Char) => Some(Kind::Char),
            Some(DeviceKind::Block) => Some(Kind::Block),
            // No rule applies to these types.
            Some(DeviceKind::Fifo) => return None,
        };
        let bit = |is_named: bool, bit: u8| if is_named { bit } else { 0 };
        let access = bit(rule.read, READ) | bit(rule.write, WRITE) | bit(rule.mknod, MKNOD);
        Some(Rule {
            allow: rule.allow,
            kind,
            major: rule.major,
            minor: rule.minor,
            access,
            index: Some(index),
        })
    });
    let built_in = BUILT_IN.iter().map(|(kind, major, minor, access)| Rule {
        allow: true,
        kind: Some(*kind),
        major: *major,
        minor: *minor,
        access: *access,
        index: None,
    });
    let all = given.chain(built_in);
    without_idle_rules(all.filter(|rule| rule.access != 0).collect())
}

/// Removes rules without effect: those before the last rule that names everything, and those that
/// repeat the verdict that would apply without them. Without any rule the verdict is no.
fn without_idle_rules(mut rules: Vec<Rule>) -> Vec<Rule> {
    let last = rules.iter().rposition(Rule::names_everything);
    let mut verdict = false;
    if let Some(last) = last {
        verdict = rules[last].allow;
        rules.drain(..last + usize::from(!verdict));
    }
    let mut kept: Vec<Rule> = Vec::with_capacity(rules.len());
    for rule in rules {
        let takes_back = |earlier: &Rule| earlier.allow != verdict && earlier.meets(&rule);
        let is_first = verdict && kept.is_empty();
        if is_first || rule.allow != verdict || kept.iter().any(takes_back) {
            kept.push(rule);
        }
    }
    kept
}

impl Rule {
    /// Whether both name some access to the same node.
    fn meets(&self, other: &Self) -> bool {
        fn common<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.access & other.access != 0
            && common(self.kind, other.kind)
            && common(self.major, other.major)
            && common(self.minor, other.minor)
    }

    fn names_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// The rules of one container, lowered for both interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Devices {
    rules: Vec<Rule>,
    list: Option<list::List>,
}

/// The result of a refusal by the kernel. For an ordinary user it is not an error: the user gets no
/// more devices than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Fails,
    IsIgnored,
}

impl Devices {
    /// For cgroup v2.
    pub(crate) fn lower_v2(resources: &Resources) -> Self {
        Self {
            rules: rules(&resources.devices),
            list: None,
        }
    }

    /// For cgroup v1.
    ///
    /// # Errors
    /// A rule that a v1 list cannot express after the earlier rules; a list that is too long.
    pub(crate) fn lower_v1(resources: &Resources) -> Result<Self, Diagnostic> {
        let rules = rules(&resources.devices);
        let pointer = "/linux/resources/devices";
        let list = list::List::of(&rules).map_err(|refused| match refused {
            list::Refused::Hole(index) => Diagnostic::new(
                Code::Unsupported,
                format!("{pointer}/{index}"),
                "removes a part of what an earlier rule with wildcards allows; cgroup v1 cannot express this",
            )
            .hint("name the devices of the earlier rule one by one"),
            list::Refused::TooLong => Diagnostic::new(
                Code::Range,
                pointer,
                format!("the rules need more than {} entries of cgroup v1", list::LONGEST),
            )
            .hint("give rules that name the same devices the same access"),
        })?;
        Ok(Self {
            rules,
            list: Some(list),
        })
    }

    /// The rules in the form of systemd; `None`: everything is allowed.
    pub(crate) fn patterns(&self) -> Option<Vec<(String, String)>> {
        pattern::patterns(&self.rules)
    }

    /// Applies the rules to `group`.
    pub(crate) fn apply(
        &self,
        group: &Directory,
        made: Made,
        refusal: Refusal,
    ) -> Result<(), Error> {
        let answer = match &self.list {
            Some(list) => apply_list(list, group),
            None => apply_program(&self.rules, group, made),
        };
        match answer {
            Err(error) if refusal == Refusal::IsIgnored && is_permission(&error) => {
                tracing::debug!("device rules are left as they are: {error}");
                Ok(())
            }
            answer => answer,
        }
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(patterns) = self.patterns() else {
            return writeln!(f, "all devices");
        };
        let patterns = patterns
            .iter()
            .map(|(node, access)| format!("{node} {access}"));
        writeln!(f, "devices {}", patterns.collect::<Vec<_>>().join(", "))
    }
}

fn is_permission(error: &Error) -> bool {
    matches!(
        error,
        Error::WriteFile {
            source: Errno::EPERM | Errno::EACCES,
            ..
        } | Error::DeviceProgram {
            source: Errno::EPERM,
            ..
        }
    )
}

fn apply_list(target: &list::List, group: &Directory) -> Result<(), Error> {
    let current = list::List::parse(&group.read_named("devices.list")?);
    for (file, values) in current.changes_to(target) {
        group.write_each(file, &values).map_err(|(index, source)| {
            let (file, value) = (group.path().join(file), values[index].clone());
            if value == list::EVERYTHING && source == Errno::EINVAL {
                let pointer = "/linux/resources/devices".to_owned();
                let reason = "the cgroup has groups below it, and then cgroup v1 does not \
                                  change what it allows by default; choose another cgroupsPath"
                    .to_owned();
                return Error::Limit {
                    pointer,
                    file,
                    value,
                    reason,
                    source,
                };
            }
            Error::WriteFile {
                file,
                value,
                source,
            }
        })?;
    }
    Ok(())
}

fn apply_program(rules: &[Rule], group: &Directory, made: Made) -> Result<(), Error> {
    let failed = |call, log: String| {
        let group = group.path().to_owned();
        move |source| Error::DeviceProgram {
            call,
            group,
            log,
            source,
        }
    };
    let attached = match made {
        Made::New => Vec::new(),
        Made::Existing => attached(group).map_err(failed("list", String::new()))?,
    };
    let detach = |old: &OwnedFd| {
        let answer = detach_device_program(group.fd(), old.as_fd());
        answer.map_err(failed("detach", String::new()))
    };
    if let [only] = rules
        && only.allow
        && only.names_everything()
    {
        return attached.iter().try_for_each(detach);
    }
    let program = program::encode(rules);
    let loaded = load_device_program(&program, &mut []).or_else(|errno| {
        // Load it once more, to get the verifier's log.
        let mut log = vec![0; 1 << 16];
        load_device_program(&program, &mut log).map_err(|_same| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
            failed("load", last_lines(&String::from_utf8_lossy(&log[..end])))(errno)
        })
    })?;
    // A single program is replaced in one step, so the rules always apply.
    let replaced = match &attached[..] {
        [only] => Some(only.as_fd()),
        _ => None,
    };
    attach_device_program(group.fd(), loaded.as_fd(), replaced)
        .map_err(failed("attach", String::new()))?;
    match replaced {
        Some(_program) => Ok(()),
        None => attached.iter().try_for_each(detach),
    }
}

/// The verifier's verdict, without the steps before it.
fn last_lines(log: &str) -> String {
    let mut lines: Vec<&str> = log.trim_end().lines().rev().take(3).collect();
    lines.reverse();
    lines.join("; ")
}

/// The programs that are attached to `group` itself.
fn attached(group: &Directory) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0; 64];
    let count = device_programs(group.fd(), &mut ids)?;
    ids[..count.min(ids.len())]
        .iter()
        .map(|id| program_by_id(*id))
        .collect()
}

#[cfg(test)]
mod tests;
