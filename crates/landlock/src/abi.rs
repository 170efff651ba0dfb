//! The table of rights and the kernels that know them.

use kernel::landlock;
use spec::landlock::fs_name;

/// A version of the kernel's interface; 0 if the kernel has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Abi(pub u32);

impl Abi {
    /// Asks the kernel. Any error counts as "no Landlock".
    pub fn probe() -> Self {
        Self(landlock::abi().unwrap_or(0))
    }
}

/// One right or feature that a configuration can request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// A bit of LANDLOCK_ACCESS_FS_*.
    Fs(u64),
    /// A bit of LANDLOCK_ACCESS_NET_*, by its number.
    Net(usize),
    /// A bit of LANDLOCK_SCOPE_*, by its number.
    Scope(usize),
    /// Denials in the audit log.
    Audit,
}

/// The first ABI with the LANDLOCK_ACCESS_FS_* bit of this number; all bits before it are in every
/// ABI.
const FS: [(u32, u32); 4] = [(13, 2), (14, 3), (15, 5), (16, 9)];
/// The first ABI with each of LANDLOCK_ACCESS_NET_*, in order.
const NET: [u32; 4] = [4, 4, 10, 10];
/// The first ABI with each of LANDLOCK_SCOPE_*, in order.
const SCOPE: [u32; 2] = [6, 6];
/// The first ABI with the flag for the audit log.
const AUDIT: u32 = 7;

/// The kernel that an ABI came with.
const LINUX: [&str; 10] = [
    "5.13", "5.19", "6.2", "6.7", "6.10", "6.12", "6.15", "7.0", "7.1", "7.2",
];

impl Right {
    /// The ABI that the right came with.
    pub(crate) fn since(self) -> Abi {
        let later = |bit: u64| FS.iter().find(|(number, _)| 1 << number == bit);
        Abi(match self {
            Self::Fs(bit) => later(bit).map_or(1, |(_, abi)| *abi),
            Self::Net(number) => NET.get(number).copied().unwrap_or(u32::MAX),
            Self::Scope(number) => SCOPE.get(number).copied().unwrap_or(u32::MAX),
            Self::Audit => AUDIT,
        })
    }

    /// Its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        let word = |words: &[&'static str], number: usize| words.get(number).copied();
        match self {
            Self::Fs(bit) => fs_name(bit),
            Self::Net(number) => word(&spec::landlock::PORT_KEYS, number).unwrap_or_default(),
            Self::Scope(number) => {
                let words = spec::landlock::SCOPES.map(|(name, _)| name);
                word(&words, number).unwrap_or_default()
            }
            Self::Audit => "audit",
        }
    }

    /// The property of the annotation's document for it.
    pub(crate) fn pointer(self) -> String {
        spec::landlock::pointer(&match self {
            Self::Fs(_) => "/handledAccessFs".to_owned(),
            Self::Net(_) | Self::Audit => format!("/{}", self.name()),
            Self::Scope(_) => "/scoped".to_owned(),
        })
    }
}

/// The version of Linux that an ABI came with.
pub(crate) fn linux(abi: Abi) -> &'static str {
    let index = usize::try_from(abi.0).unwrap_or_default().wrapping_sub(1);
    LINUX.get(index).copied().unwrap_or("a later one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::landlock::{Handled, create_ruleset};

    #[test]
    fn every_word_has_an_abi_that_is_known_by_its_kernel() {
        let newest = Abi(spec::landlock::NEWEST_ABI);
        assert_eq!(LINUX.len(), usize::try_from(newest.0).unwrap());
        let files = (0..17).map(|number| Right::Fs(1 << number));
        let rest = [Right::Net(0), Right::Net(3), Right::Scope(1), Right::Audit];
        for right in files.chain(rest) {
            assert!((Abi(1)..=newest).contains(&right.since()), "{right:?}");
            assert!(!right.name().is_empty());
            assert_ne!(linux(right.since()), "a later one");
        }
        assert_eq!(linux(Abi(11)), "a later one");
        assert_eq!(linux(Abi(0)), "a later one");
    }

    /// Compares the table with the kernel: the kernel accepts a ruleset with a right if and only if
    /// its ABI has the right.
    #[test]
    fn the_kernel_agrees_about_every_right() {
        let abi = Abi::probe();
        let takes = |handled| create_ruleset(handled).is_ok();
        let none = Handled::default();
        for number in 0..17 {
            let fs = 1 << number;
            let known = Right::Fs(fs).since() <= abi;
            assert_eq!(takes(Handled { fs, ..none }), known, "{}", fs_name(fs));
        }
        for number in 0..4 {
            let net = 1 << number;
            let known = Right::Net(number).since() <= abi;
            assert_eq!(takes(Handled { net, ..none }), known, "network {number}");
        }
        for number in 0..2 {
            let scoped = 1 << number;
            let known = Right::Scope(number).since() <= abi;
            assert_eq!(takes(Handled { scoped, ..none }), known, "scope {number}");
        }
    }
}
