//! The order in which libseccomp tries rules with conditions for one call.
//!
//! libseccomp keeps the comparisons of all rules of a call in one tree of 32-bit words: a level of
//! the tree is sorted, and rules that begin with the same comparison share it. A walk through this
//! tree gives the order. On a level the highest argument comes first, the high word before the low;
//! then equality before "less" before "greater"; then the larger value, but for "less" the smaller
//! one; then the earlier rule. A comparison that is already in the tree is shared, independent of
//! the branch that the rule takes.

use crate::bpf::LENGTH_MAX;
use crate::rule::{Clause, Condition, Test, split};
use crate::syscalls::Width;

/// The properties of one word's comparison that decide the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    argument: u8,
    part: Part,
    test: Test,
    mask: u32,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Low,
    High,
}

impl Word {
    /// Equality before "less" before "greater".
    fn rank(self) -> u8 {
        match self.test {
            Test::NotEqual | Test::Equal | Test::MaskedEqual => 3,
            Test::Less | Test::LessOrEqual => 2,
            Test::GreaterOrEqual | Test::Greater => 1,
        }
    }

    /// The comparison as the program makes it; the other operators have swapped branches.
    fn comparison(self) -> Test {
        match (self.test, self.part) {
            (Test::MaskedEqual, _) => Test::MaskedEqual,
            (Test::Equal | Test::NotEqual, _) => Test::Equal,
            (_, Part::High) | (Test::Greater | Test::LessOrEqual, Part::Low) => Test::Greater,
            (Test::GreaterOrEqual | Test::Less, Part::Low) => Test::GreaterOrEqual,
        }
    }

    fn is_shared_with(self, other: Self) -> bool {
        let same = |word: Self| {
            (
                word.argument,
                word.part,
                word.comparison(),
                word.mask,
                word.value,
            )
        };
        same(self) == same(other)
    }

    /// Whether `self` comes after `other` on a level.
    fn comes_after(self, other: Self) -> bool {
        let key = |word: Self| {
            let value = if word.rank() == 2 {
                u32::MAX - word.value
            } else {
                word.value
            };
            (word.argument, word.part, word.rank(), value)
        };
        key(self) < key(other)
    }
}

/// The words of a clause, starting with the lowest argument.
fn words(conditions: &[Condition], width: Width) -> impl Iterator<Item = Word> + '_ {
    conditions.iter().flat_map(move |condition| {
        let [mask, value] = [split(condition.mask), split(condition.value)];
        let word = |part| {
            let index = usize::from(part == Part::High);
            Word {
                argument: condition.argument,
                part,
                test: condition.test,
                mask: mask[index],
                value: value[index],
            }
        };
        (width == Width::Bits64)
            .then(|| word(Part::High))
            .into_iter()
            .chain([word(Part::Low)])
    })
}

#[derive(Debug, Default)]
struct Level {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    word: Word,
    ends: Vec<usize>,
    next: Level,
}

impl Level {
    /// The place of `word` on this level; it is added if it is missing.
    fn place(&mut self, word: Word) -> &mut Node {
        let found = self
            .nodes
            .iter()
            .position(|node| node.word.is_shared_with(word) || node.word.comes_after(word));
        let at = match found {
            Some(at) if self.nodes[at].word.is_shared_with(word) => at,
            other => {
                let at = other.unwrap_or(self.nodes.len());
                self.nodes.insert(
                    at,
                    Node {
                        word,
                        ends: Vec::new(),
                        next: Self::default(),
                    },
                );
                at
            }
        };
        &mut self.nodes[at]
    }

    fn walk(&self, order: &mut Vec<usize>) {
        for node in &self.nodes {
            // A rule that ends here is wider than those below.
            order.extend(&node.ends);
            node.next.walk(order);
        }
    }
}

/// Sorts clauses, each with conditions, into the order of evaluation.
pub(crate) fn order(clauses: Vec<Clause>, width: Width) -> Vec<Clause> {
    let same_action = clauses
        .windows(2)
        .all(|pair| pair[0].action == pair[1].action);
    // Each clause takes at least one instruction, so a program with this many clauses is impossible
    // anyway.
    if same_action || clauses.len() > LENGTH_MAX {
        return clauses;
    }
    let mut root = Level::default();
    for (index, clause) in clauses.iter().enumerate() {
        let mut words = words(&clause.conditions, width);
        let Some(first) = words.next() else { continue };
        let mut node = root.place(first);
        for word in words {
            node = node.next.place(word);
        }
        node.ends.push(index);
    }
    let mut order = Vec::with_capacity(clauses.len());
    root.walk(&mut order);
    let mut clauses: Vec<_> = clauses.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|index| clauses[index].take())
        .collect()
}
