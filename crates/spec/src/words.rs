//! The words of the specification. The oci-spec crate spells them, once for the whole program.
//!
//! Each type of that crate knows its words. A new word comes with a new version of the crate, and
//! the compiler then reports every match that lacks it. Words that are only text in the crate have
//! a table here.

use std::fmt;

use oci_spec::runtime::PosixRlimitType;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer};

use crate::container::{Propagation, PropagationKind, SchedulerPolicy};

/// The text is not a word of its type; contains the words that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", .0.join(", "))]
pub struct Unknown(pub &'static [&'static str]);

impl de::Error for Unknown {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

/// The value of a type of the specification for the word `text`.
///
/// # Errors
/// There is no such word.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Unknown> {
    let input: StrDeserializer<'_, Unknown> = text.into_deserializer();
    T::deserialize(input)
}

/// Every word of a type.
pub fn all<T: DeserializeOwned>() -> &'static [&'static str] {
    match parse::<T>("") {
        Err(Unknown(words)) => words,
        Ok(_) => &[],
    }
}

/// The word for `value`.
pub fn of<T: DeserializeOwned + PartialEq>(value: T) -> &'static str {
    let is_it = |word: &&&str| parse::<T>(word).as_ref() == Ok(&value);
    all::<T>().iter().find(is_it).copied().unwrap_or_default()
}

/// The number that setrlimit(2) has for a resource. C libraries differ in its type.
pub(crate) fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU as _,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE as _,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA as _,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK as _,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE as _,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS as _,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC as _,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE as _,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK as _,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS as _,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS as _,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING as _,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE as _,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE as _,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO as _,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME as _,
    }
}

const fn alone(kind: PropagationKind) -> Propagation {
    Propagation {
        kind,
        recursive: false,
    }
}

const fn with_mounts_below(kind: PropagationKind) -> Propagation {
    Propagation {
        kind,
        recursive: true,
    }
}

/// `linux.rootfsPropagation`, which is text in the crate.
pub(crate) const PROPAGATIONS: [(&str, Propagation); 8] = [
    ("private", alone(PropagationKind::Private)),
    ("rprivate", with_mounts_below(PropagationKind::Private)),
    ("slave", alone(PropagationKind::Slave)),
    ("rslave", with_mounts_below(PropagationKind::Slave)),
    ("shared", alone(PropagationKind::Shared)),
    ("rshared", with_mounts_below(PropagationKind::Shared)),
    ("unbindable", alone(PropagationKind::Unbindable)),
    (
        "runbindable",
        with_mounts_below(PropagationKind::Unbindable),
    ),
];

/// `process.scheduler.policy`: the type of the crate lacks SCHED_EXT.
pub(crate) const POLICIES: [(&str, SchedulerPolicy); 8] = [
    ("SCHED_OTHER", SchedulerPolicy::Other),
    ("SCHED_FIFO", SchedulerPolicy::Fifo),
    ("SCHED_RR", SchedulerPolicy::Rr),
    ("SCHED_BATCH", SchedulerPolicy::Batch),
    ("SCHED_ISO", SchedulerPolicy::Iso),
    ("SCHED_IDLE", SchedulerPolicy::Idle),
    ("SCHED_DEADLINE", SchedulerPolicy::Deadline),
    ("SCHED_EXT", SchedulerPolicy::Ext),
];

/// `process.scheduler.flags`, with the bits of linux/sched.h: the type of the crate spells two of
/// them differently from the specification.
pub(crate) const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{NamespaceKind, Personality, SeccompArch, SeccompFlag, SeccompOp};
    use oci_spec::runtime::{LinuxNamespaceType, LinuxSchedulerPolicy, LinuxSeccompAction};

    /// The number of words in config-linux.md and config.md.
    #[test]
    fn the_crate_has_every_word_of_the_specification() {
        let kinds = NamespaceKind::ALL.map(NamespaceKind::name);
        assert_eq!(all::<NamespaceKind>(), kinds);
        for word in all::<LinuxNamespaceType>() {
            assert!(kinds.contains(word), "{word}");
        }
        let counts = [
            (all::<LinuxNamespaceType>().len(), kinds.len()),
            (all::<PosixRlimitType>().len(), 16),
            (all::<LinuxSeccompAction>().len(), 9),
            (all::<SeccompOp>().len(), 7),
            (all::<SeccompFlag>().len(), 4),
            (all::<Personality>().len(), 2),
            // One more: SCMP_ARCH_NATIVE, which is not in the specification.
            (all::<SeccompArch>().len(), 24),
        ];
        for (found, expected) in counts {
            assert_eq!(found, expected, "{counts:?}");
        }
    }

    #[test]
    fn the_table_has_every_policy_of_the_crate() {
        let table = POLICIES.map(|(word, _)| word);
        for word in all::<LinuxSchedulerPolicy>() {
            assert!(table.contains(word), "{word}");
        }
        for (number, (word, policy)) in (0..).zip(POLICIES) {
            assert_eq!(policy as u32, number, "{word}");
        }
    }

    #[test]
    fn words_and_values_are_a_pair() {
        assert_eq!(of(SeccompArch::ScmpArchMips64n32), "SCMP_ARCH_MIPS64N32");
        assert_eq!(parse("SCMP_CMP_MASKED_EQ"), Ok(SeccompOp::ScmpCmpMaskedEq));
        let words = parse::<Personality>("linux").unwrap_err();
        assert_eq!(words, Unknown(&["LINUX", "LINUX32"]));
        for word in all::<SeccompArch>() {
            assert_eq!(of(parse::<SeccompArch>(word).unwrap()), *word);
        }
    }

    #[test]
    fn resources_have_the_numbers_of_the_kernel() {
        for (number, word) in (0_u32..).zip(all::<PosixRlimitType>()) {
            assert_eq!(resource(parse(word).unwrap()), number, "{word}");
        }
    }
}
