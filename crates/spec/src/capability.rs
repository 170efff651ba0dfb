//! A set of capabilities as one number.

use std::fmt;

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
    caps::all()
        .into_iter()
        .find(|capability| capability.index() == number)
        .map_or_else(
            || format!("capability {number}"),
            |capability| capability.to_string(),
        )
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
