//! A set of capabilities as one number.

use caps::Capability::{self, *};
use std::fmt;

/// All that have names, each at the place of its number. `caps::all` makes a hashed set, which asks
/// the kernel for random numbers.
pub(crate) const NAMED: [Capability; 41] = [
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_KILL,
    CAP_SETGID,
    CAP_SETUID,
    CAP_SETPCAP,
    CAP_LINUX_IMMUTABLE,
    CAP_NET_BIND_SERVICE,
    CAP_NET_BROADCAST,
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CAP_IPC_LOCK,
    CAP_IPC_OWNER,
    CAP_SYS_MODULE,
    CAP_SYS_RAWIO,
    CAP_SYS_CHROOT,
    CAP_SYS_PTRACE,
    CAP_SYS_PACCT,
    CAP_SYS_ADMIN,
    CAP_SYS_BOOT,
    CAP_SYS_NICE,
    CAP_SYS_RESOURCE,
    CAP_SYS_TIME,
    CAP_SYS_TTY_CONFIG,
    CAP_MKNOD,
    CAP_LEASE,
    CAP_AUDIT_WRITE,
    CAP_AUDIT_CONTROL,
    CAP_SETFCAP,
    CAP_MAC_OVERRIDE,
    CAP_MAC_ADMIN,
    CAP_SYSLOG,
    CAP_WAKE_ALARM,
    CAP_BLOCK_SUSPEND,
    CAP_AUDIT_READ,
    CAP_PERFMON,
    CAP_BPF,
    CAP_CHECKPOINT_RESTORE,
];

/// A set: bit n is capability number n of linux/capability.h.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    /// Whether capability `number` is in it.
    pub fn has(self, number: u8) -> bool {
        self.and(Self::of(number)) != Self::default()
    }

    /// The set of one capability.
    pub fn of(number: u8) -> Self {
        Self(1_u64.checked_shl(number.into()).unwrap_or(0))
    }

    /// The capabilities in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities only in this set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Its numbers, in ascending order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.has(*number))
    }
}

/// The name of capability `number` ("CAP_CHOWN"), or its number if it has no name yet.
fn name(number: u8) -> String {
    match NAMED.get(usize::from(number)) {
        Some(capability) => capability.to_string(),
        None => format!("capability {number}"),
    }
}

impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("none"),
            _ => f.write_str(&self.numbers().map(name).collect::<Vec<_>>().join(" ")),
        }
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.numbers().map(name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_at_the_place_of_its_number() {
        let listed: std::collections::HashSet<_> = NAMED.into_iter().collect();
        assert_eq!(listed, caps::all());
        for (number, capability) in NAMED.into_iter().enumerate() {
            assert_eq!(usize::from(capability.index()), number);
        }
    }

    #[test]
    fn a_set_holds_the_numbers_of_its_bits() {
        let set = CapSet(0b1001);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [0, 3]);
        assert!(!CapSet(u64::MAX).has(64));
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        for (number, expected) in [
            (0, "CAP_CHOWN"),
            (21, "CAP_SYS_ADMIN"),
            (40, "CAP_CHECKPOINT_RESTORE"),
            (63, "capability 63"),
        ] {
            assert_eq!(name(number), expected);
        }
        assert_eq!(CapSet(0).to_string(), "none");
        assert_eq!(CapSet(0b1001).to_string(), "CAP_CHOWN CAP_FOWNER");
    }
}
