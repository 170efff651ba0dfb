//! Device rules as a list of cgroup v1: everything or nothing is allowed, with exceptions.
//!
//! The kernel's list cannot take a part out of an exception with wildcards; such rules are refused.
//! Source: Documentation/admin-guide/cgroup-v1/devices.rst.

use std::collections::BTreeMap;

use super::{Kind, MKNOD, READ, Rule, WRITE, letters};

/// The entry for all devices, which changes what the list does by default.
pub(super) const EVERYTHING: &str = "a";

/// The devices of one exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Node {
    /// Whether it names more than one device.
    fn is_wide(self) -> bool {
        self.major.is_none() || self.minor.is_none()
    }

    fn covers(self, other: Self) -> bool {
        let covers = |mine: Option<u32>, other: Option<u32>| mine.is_none() || mine == other;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    /// The devices that both name.
    fn common(self, other: Self) -> Option<Self> {
        let common = |mine: Option<u32>, other: Option<u32>| match (mine, other) {
            (Some(mine), Some(other)) if mine != other => None,
            (mine, other) => Some(mine.or(other)),
        };
        Some(Self {
            kind: (self.kind == other.kind).then_some(self.kind)?,
            major: common(self.major, other.major)?,
            minor: common(self.minor, other.minor)?,
        })
    }

    fn entry(self, access: u8) -> String {
        let number =
            |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let letters = letters(access);
        format!(
            "{kind} {}:{} {letters}",
            number(self.major),
            number(self.minor)
        )
    }
}

/// The device list of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    pub(super) allows: bool,
    pub(super) exceptions: BTreeMap<Node, u8>,
    /// The place in the configuration of the exceptions that it names: they are written in this
    /// order, before the built-in ones.
    pub(super) named: BTreeMap<Node, usize>,
}

/// The most exceptions of a list. Few rules with wildcards can need very many: those that both
/// allow a part have an exception of their own.
pub(super) const LONGEST: usize = 1 << 14;

/// Why rules have no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The rule of this index would remove a part of an exception with wildcards.
    Hole(usize),
    /// There would be more than [`LONGEST`] exceptions.
    TooLong,
}

/// The order does not change what the kernel permits.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        (self.allows, &self.exceptions) == (other.allows, &other.exceptions)
    }
}

impl Eq for List {}

impl List {
    /// The list that does what the rules say. A built-in rule that cannot be expressed is left out,
    /// and the list is stricter.
    ///
    /// # Errors
    /// A configured rule cannot be expressed.
    pub(super) fn of(rules: &[Rule]) -> Result<Self, Refused> {
        let mut list = Self::default();
        for rule in rules {
            match (list.add(rule), rule.index) {
                (Err(Hole), Some(index)) => return Err(Refused::Hole(index)),
                (Ok(()), _) | (Err(Hole), None) => {}
            }
        }
        if !list.allows {
            list.complete()?;
        }
        Ok(list)
    }

    /// Changes nothing if the rule cannot be expressed.
    fn add(&mut self, rule: &Rule) -> Result<(), Hole> {
        if rule.names_everything() {
            self.allows = rule.allow;
            self.exceptions.clear();
            self.named.clear();
            return Ok(());
        }
        let kinds = [Kind::Block, Kind::Char].into_iter();
        let nodes = kinds
            .filter(|kind| rule.kind.is_none_or(|named| named == *kind))
            .map(|kind| Node {
                kind,
                major: rule.major,
                minor: rule.minor,
            });
        let takes = rule.allow == self.allows;
        if takes && nodes.clone().any(|node| self.is_hole(node, rule.access)) {
            return Err(Hole);
        }
        for node in nodes {
            if rule.index.is_some() {
                let place = self.named.len();
                self.named.entry(node).or_insert(place);
            }
            if takes {
                self.take(node, rule.access);
            } else {
                *self.exceptions.entry(node).or_default() |= rule.access;
            }
        }
        Ok(())
    }

    /// Whether `access` to `node` is a part of an exception that has more nodes.
    fn is_hole(&self, node: Node, access: u8) -> bool {
        self.exceptions.iter().any(|(exception, bits)| {
            bits & access != 0 && node.common(*exception).is_some() && !node.covers(*exception)
        })
    }

    /// Removes `access` to `node` from the exceptions.
    fn take(&mut self, node: Node, access: u8) {
        self.exceptions.retain(|exception, bits| {
            if node.covers(*exception) {
                *bits &= !access;
            }
            *bits != 0
        });
    }

    /// For an open to read and write, the kernel needs a single exception that allows both. So each
    /// exception also gets the access that others give to the same nodes. (mknod is always a
    /// separate request.)
    fn complete(&mut self) -> Result<(), Refused> {
        loop {
            let before = self.exceptions.clone();
            // Two exceptions for one device each have no device in common.
            for (one, bits) in before.iter().filter(|(node, _bits)| node.is_wide()) {
                for (other, other_bits) in &before {
                    let both = (bits | other_bits) & (READ | WRITE);
                    let is_given = both & !bits == 0 || both & !other_bits == 0;
                    if let Some(common) = one.common(*other).filter(|_common| !is_given) {
                        *self.exceptions.entry(common).or_default() |= both;
                    }
                }
                if self.exceptions.len() > LONGEST {
                    return Err(Refused::TooLong);
                }
            }
            if self.exceptions == before {
                return Ok(());
            }
        }
    }

    /// Reads devices.list. A group that allows everything does not show its exceptions.
    pub(super) fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines() {
            let mut words = line.split([' ', ':']);
            let (kind, major, minor) = (words.next(), words.next(), words.next());
            let kind = match kind {
                Some("a") => {
                    list.allows = true;
                    continue;
                }
                Some("b") => Kind::Block,
                Some("c") => Kind::Char,
                _ => continue,
            };
            let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
            let node = Node {
                kind,
                major: number(major),
                minor: number(minor),
            };
            let bit = |letter| match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0,
            };
            let access = words.next().unwrap_or_default().chars().map(bit);
            list.exceptions
                .insert(node, access.fold(0, |all, bit| all | bit));
        }
        list
    }

    /// The writes that make `target` of this list, by file: only the differences, removals first.
    pub(super) fn changes_to(&self, target: &Self) -> Vec<(&'static str, Vec<String>)> {
        let (give, take) = if target.allows {
            ("devices.deny", "devices.allow")
        } else {
            ("devices.allow", "devices.deny")
        };
        let place = |node: &Node| target.named.get(node).copied().unwrap_or(usize::MAX);
        let difference = |from: &BTreeMap<Node, u8>, other: &BTreeMap<Node, u8>| {
            let mut nodes: Vec<_> = from.iter().collect();
            nodes.sort_by_key(|(node, _bits)| place(node));
            let left = nodes.into_iter().filter_map(|(node, bits)| {
                let rest = bits & !other.get(node).copied().unwrap_or_default();
                (rest != 0).then(|| node.entry(rest))
            });
            left.collect::<Vec<_>>()
        };
        let (taken, given) = if self.allows == target.allows {
            (
                difference(&self.exceptions, &target.exceptions),
                difference(&target.exceptions, &self.exceptions),
            )
        } else {
            let none = BTreeMap::new();
            (
                vec![EVERYTHING.to_owned()],
                difference(&target.exceptions, &none),
            )
        };
        let mut changes = vec![(take, taken), (give, given)];
        changes.retain(|(_file, entries)| !entries.is_empty());
        changes
    }

    /// The answer of the kernel with this list.
    #[cfg(test)]
    pub(super) fn permits(&self, kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let asked = Node {
            kind,
            major: Some(major),
            minor: Some(minor),
        };
        let mut matching = self
            .exceptions
            .iter()
            .filter(|(node, _bits)| node.covers(asked));
        if self.allows {
            matching.all(|(_node, bits)| bits & access == 0)
        } else {
            matching.any(|(_node, bits)| bits & access == access)
        }
    }
}

/// A rule would remove a part of an exception with wildcards.
struct Hole;
