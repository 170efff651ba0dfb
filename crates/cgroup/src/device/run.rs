//! Consecutive rules with the same verdict mean "any of these". Their order does not matter, so
//! they are merged into as few comparisons as possible. The kernel's verifier takes most of the
//! time of loading a device program, and each branch adds to it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ALL, Kind, Rule};

/// Nodes of one type and major that get the same bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    /// Empty: every minor.
    pub(super) minors: BTreeSet<u32>,
    pub(super) access: u8,
}

/// A run of rules with one verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) allow: bool,
    /// In any order.
    pub(super) groups: Vec<Group>,
}

type Node = (Option<Kind>, Option<u32>, Option<u32>);

/// The runs of `rules`, in order.
pub(super) fn runs(rules: &[Rule]) -> Vec<Run> {
    let runs = rules
        .chunk_by(|one, next| one.allow == next.allow)
        .map(|chunk| Run {
            allow: chunk.first().is_some_and(|rule| rule.allow),
            groups: groups(merge(chunk)),
        });
    runs.collect()
}

fn merge(chunk: &[Rule]) -> BTreeMap<Node, u8> {
    let mut nodes: BTreeMap<Node, u8> = BTreeMap::new();
    for rule in chunk {
        *nodes
            .entry((rule.kind, rule.major, rule.minor))
            .or_default() |= rule.access;
    }
    // Bits that both types get do not depend on the type.
    let numbers: BTreeSet<_> = nodes
        .keys()
        .map(|(_kind, major, minor)| (*major, *minor))
        .collect();
    for (major, minor) in numbers {
        let bits = |kind| {
            nodes
                .get(&(Some(kind), major, minor))
                .copied()
                .unwrap_or_default()
        };
        let both = bits(Kind::Block) & bits(Kind::Char);
        if both != 0 {
            *nodes.entry((None, major, minor)).or_default() |= both;
        }
    }
    // A group is redundant if wider groups give all of its bits.
    let wide = nodes.clone();
    nodes.retain(|(kind, major, minor), bits| {
        let wider = widenings(*kind, *major, *minor);
        let given = wider.iter().filter_map(|node| wide.get(node));
        *bits & !given.fold(0, |all, bits| all | bits) != 0
    });
    nodes
}

/// Every form of the node with one or more of the three fields as wildcards.
fn widenings(kind: Option<Kind>, major: Option<u32>, minor: Option<u32>) -> Vec<Node> {
    let mut wider = BTreeSet::new();
    for kind in [kind, None] {
        for major in [major, None] {
            for minor in [minor, None] {
                wider.insert((kind, major, minor));
            }
        }
    }
    wider.remove(&(kind, major, minor));
    wider.into_iter().collect()
}

fn groups(nodes: BTreeMap<Node, u8>) -> Vec<Group> {
    let mut whole = Vec::new();
    let mut sets: BTreeMap<(Option<Kind>, Option<u32>, u8), BTreeSet<u32>> = BTreeMap::new();
    for ((kind, major, minor), access) in nodes {
        match minor {
            Some(minor) => {
                sets.entry((kind, major, access)).or_default().insert(minor);
            }
            None => whole.push(Group {
                kind,
                major,
                minors: BTreeSet::new(),
                access,
            }),
        }
    }
    let parts = sets
        .into_iter()
        .map(|((kind, major, access), minors)| Group {
            kind,
            major,
            minors,
            access,
        });
    whole.extend(parts);
    whole
}

impl Group {
    /// Whether nothing is left to decide after this group.
    pub(super) fn names_everything(&self) -> bool {
        self.names_every_node() && self.access == ALL
    }

    pub(super) fn names_every_node(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minors.is_empty()
    }

    /// The minors as windows of 32: the first, and a bit for each.
    pub(super) fn windows(&self) -> Vec<(u32, u32)> {
        let mut windows: Vec<(u32, u32)> = Vec::new();
        for minor in &self.minors {
            match windows.last_mut() {
                Some((first, bits)) if minor - *first < 32 => *bits |= 1 << (minor - *first),
                _ => windows.push((*minor, 1)),
            }
        }
        windows
    }
}
