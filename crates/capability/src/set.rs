//! A set of capabilities as one number.

use caps::Capability;
use std::fmt;

/// A set: bit n is capability number n.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    /// Whether capability `number` is in it.
    pub fn has(self, number: u8) -> bool {
        number < 64 && self.0 & (1 << number) != 0
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
pub fn name(number: u8) -> String {
    caps::all()
        .into_iter()
        .find(|capability| capability.index() == number)
        .map_or_else(
            || format!("capability {number}"),
            |capability| capability.to_string(),
        )
}

/// The number of the capability called `name` ("CAP_CHOWN").
pub fn number(name: &str) -> Option<u8> {
    name.parse::<Capability>()
        .ok()
        .map(|capability| capability.index())
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
    fn a_set_holds_the_numbers_of_its_bits() {
        let set = CapSet(0b1001);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [0, 3]);
        assert!(!CapSet(u64::MAX).has(64));
    }

    #[test]
    fn names_and_numbers_are_those_of_the_kernel() {
        assert_eq!(number("CAP_CHOWN"), Some(0));
        assert_eq!(number("CAP_SYS_ADMIN"), Some(21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("cap_chown"), None);
        for n in 0..=40 {
            assert_eq!(number(&name(n)), Some(n));
        }
        assert_eq!(name(63), "capability 63");
    }
}
