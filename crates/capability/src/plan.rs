//! The bounding drops, the final capset and the ambient raises of one container.

use caller::Caller;
use kernel::ids::{self, CapabilitySets};
use kernel::{Call, Errno, Failed};
use spec::Container;
use spec::container::{CapSet, Capabilities};
use std::fmt;

/// The changes of the capability sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Capabilities to remove from the bounding set.
    drop: CapSet,
    /// The bounding set afterwards.
    bounding: CapSet,
    sets: CapabilitySets,
    ambient: CapSet,
}

/// A capability that the configuration lists but the process cannot get. The specification requires
/// a warning: config.md#linux-process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The name of the set.
    pub set: &'static str,
    /// The capabilities.
    pub capabilities: CapSet,
    /// Why.
    pub reason: &'static str,
}

/// The capabilities of the process that applies the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// All capabilities that this kernel knows.
    pub known: CapSet,
    /// The capabilities of init once it is in its user namespace.
    pub obtainable: CapSet,
}

impl Available {
    /// In a new user namespace init has all capabilities; elsewhere it has those of the caller.
    pub fn of(caller: &Caller, own_user_namespace: bool) -> Self {
        let sets = caller.capabilities;
        let known = CapSet(sets.known);
        let obtainable = match own_user_namespace {
            true => known,
            false => CapSet(sets.bounding & sets.permitted),
        };
        Self { known, obtainable }
    }
}

impl Plan {
    /// Computes the plan, and returns the capabilities that had to be left out.
    pub fn lower(container: &Container, available: Available) -> (Self, Vec<Refused>) {
        let lists = container
            .process
            .as_ref()
            .map(|process| process.capabilities);
        Self::from_lists(lists.unwrap_or_default(), available)
    }

    fn from_lists(lists: Capabilities, available: Available) -> (Self, Vec<Refused>) {
        let mut refused = Vec::new();
        let mut within = |set, list: CapSet, bound: CapSet, reason| {
            let capabilities = list.without(bound);
            if capabilities != CapSet::default() {
                refused.push(Refused {
                    set,
                    capabilities,
                    reason,
                });
            }
            list.and(bound)
        };
        let (own, host) = (available.obtainable, "the runtime does not have it");
        let bounding = within("bounding", lists.bounding, own, host);
        let permitted = within("permitted", lists.permitted, own, host);
        let inheritable = within("inheritable", lists.inheritable, own, host);
        let reason = "it is not in the permitted set";
        let effective = within("effective", lists.effective, permitted, reason);
        let reason = "it is not in both the permitted and the inheritable set";
        let ambient = within("ambient", lists.ambient, permitted.and(inheritable), reason);
        let plan = Self {
            drop: available.known.without(bounding),
            bounding,
            sets: CapabilitySets {
                effective: effective.0,
                permitted: permitted.0,
                inheritable: inheritable.0,
            },
            ambient,
        };
        (plan, refused)
    }

    /// Whether the program's effective set has the capability of this number.
    pub fn has_effective(&self, number: u8) -> bool {
        CapSet(self.sets.effective).has(number)
    }

    /// Narrows the bounding set, and keeps the permitted set during the change of user ids that
    /// follows.
    pub fn drop_bounding(&self) -> Result<(), Failed> {
        for number in self.drop.numbers() {
            match ids::bounding_drop(number) {
                // With nothing to drop, no call needs CAP_SETPCAP.
                Err(Errno::EPERM) if ids::bounding_has(number) == Ok(false) => Ok(()),
                answer => answer,
            }
            .map_err(Failed::at(Call::BoundingDrop, number.into()))?;
        }
        ids::keep_capabilities(true).map_err(Failed::of(Call::Prctl))
    }

    /// Sets the other four sets. Call it after setresuid, which clears the effective and the
    /// ambient set.
    pub fn apply(&self) -> Result<(), Failed> {
        ids::ambient_clear().map_err(Failed::of(Call::AmbientRaise))?;
        ids::capset(self.sets).map_err(Failed::of(Call::Capset))?;
        for number in self.ambient.numbers() {
            ids::ambient_raise(number).map_err(Failed::at(Call::AmbientRaise, number.into()))?;
        }
        ids::keep_capabilities(false).map_err(Failed::of(Call::Prctl))
    }

    /// Reads all five sets back and compares. The index of the failure is the capability that
    /// differs (of the bounding or ambient set), or 64 for the other three.
    pub fn verify(&self) -> Result<(), Failed> {
        let differs = |number: usize| verify_at(number)(Errno::EPERM);
        // The kernel keeps the ambient set a subset of these two; see capabilities(7).
        let ambient = CapSet(self.sets.permitted & self.sets.inheritable);
        if ids::capget().map_err(verify_at(64))? != self.sets {
            return Err(differs(64));
        }
        for number in 0..64_u8 {
            let index = usize::from(number);
            let in_bounding = match ids::bounding_has(number) {
                Ok(has) => has,
                Err(Errno::EINVAL) => break,
                Err(errno) => return Err(verify_at(index)(errno)),
            };
            let in_ambient = match ambient.has(number) {
                true => ids::ambient_has(number).map_err(verify_at(index))?,
                false => false,
            };
            if in_bounding != self.bounding.has(number) || in_ambient != self.ambient.has(number) {
                return Err(differs(index));
            }
        }
        Ok(())
    }
}

/// The five sets; equal sets are grouped.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [
            ("bounding", self.bounding),
            ("permitted", CapSet(self.sets.permitted)),
            ("effective", CapSet(self.sets.effective)),
            ("inheritable", CapSet(self.sets.inheritable)),
            ("ambient", self.ambient),
        ];
        for (index, (_, set)) in sets.iter().enumerate() {
            if sets[..index].iter().any(|(_, earlier)| earlier == set) {
                continue;
            }
            let equal = sets.iter().filter(|(_, other)| other == set);
            let names: Vec<_> = equal.map(|(name, _)| *name).collect();
            writeln!(f, "{}: {set}", names.join(", "))?;
        }
        Ok(())
    }
}

fn verify_at(number: usize) -> impl Fn(Errno) -> Failed {
    Failed::at(Call::Verify, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVAILABLE: Available = Available {
        known: CapSet(0xff),
        obtainable: CapSet(0x7f),
    };

    fn lower(capabilities: Capabilities) -> (Plan, Vec<Refused>) {
        Plan::from_lists(capabilities, AVAILABLE)
    }

    #[test]
    fn absent_lists_are_five_empty_sets() {
        let (plan, refused) = lower(Capabilities::default());
        assert_eq!(plan.sets, CapabilitySets::default());
        assert_eq!(plan.bounding, CapSet(0));
        assert_eq!(plan.ambient, CapSet(0));
        assert_eq!(plan.drop, CapSet(0xff));
        assert!(refused.is_empty());
    }

    #[test]
    fn inheritable_is_filled_by_its_own_list_only() {
        let (plan, _) = lower(Capabilities {
            permitted: CapSet(3),
            effective: CapSet(3),
            bounding: CapSet(3),
            ..Default::default()
        });
        assert_eq!(plan.sets.inheritable, 0);
    }

    #[test]
    fn what_the_runtime_lacks_is_left_out_and_told() {
        let (plan, refused) = lower(Capabilities {
            bounding: CapSet(0x81),
            ..Default::default()
        });
        assert_eq!(plan.bounding, CapSet(1));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].set, "bounding");
        assert_eq!(refused[0].capabilities, CapSet(0x80));
    }

    #[test]
    fn ambient_needs_permitted_and_inheritable() {
        let lists = Capabilities {
            ambient: CapSet(7),
            permitted: CapSet(3),
            inheritable: CapSet(6),
            ..Default::default()
        };
        let (plan, refused) = lower(lists);
        assert_eq!(plan.ambient, CapSet(2));
        assert_eq!(refused[0].capabilities, CapSet(5));
    }

    #[test]
    fn effective_needs_permitted() {
        let (plan, _) = lower(Capabilities {
            effective: CapSet(7),
            permitted: CapSet(3),
            ..Default::default()
        });
        assert_eq!(plan.sets.effective, 3);
    }
}
