//! Device rules in the form of systemd: a list of allowed nodes and classes. It cannot deny a part
//! of them.
//!
//! So the list has what any rule allows, which is at least what all rules together allow. The exact
//! verdict comes from locule's own program, which is attached beside systemd's; both must allow a
//! node. Source: DeviceAllow= in systemd.resource-control(5).

use std::collections::BTreeMap;

use super::{Kind, Rule, letters};

/// Nodes or classes with their access, as "/dev/char/1:3" with "rwm"; `None`: everything is
/// allowed.
pub(super) fn patterns(rules: &[Rule]) -> Option<Vec<(String, String)>> {
    let mut allowed: BTreeMap<String, u8> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.allow) {
        if rule.names_everything() {
            return None;
        }
        let kinds = match rule.kind {
            Some(kind) => vec![kind],
            None => vec![Kind::Block, Kind::Char],
        };
        for kind in kinds {
            *allowed.entry(pattern(kind, rule)).or_default() |= rule.access;
        }
    }
    let list = allowed.into_iter();
    Some(
        list.map(|(pattern, bits)| (pattern, letters(bits)))
            .collect(),
    )
}

fn pattern(kind: Kind, rule: &Rule) -> String {
    let class = match kind {
        Kind::Block => "block",
        Kind::Char => "char",
    };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{class}/{major}:{minor}"),
        (Some(major), None) => format!("{class}-{major}"),
        // systemd cannot express one minor of every major.
        (None, _) => format!("{class}-*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{ALL, READ, WRITE, rules};

    fn rule(
        allow: bool,
        kind: Option<Kind>,
        numbers: (Option<u32>, Option<u32>),
        access: u8,
    ) -> Rule {
        Rule {
            allow,
            kind,
            major: numbers.0,
            minor: numbers.1,
            access,
            index: None,
        }
    }

    fn as_text(rules: &[Rule]) -> Option<Vec<String>> {
        let list = patterns(rules)?.into_iter();
        Some(
            list.map(|(pattern, access)| format!("{pattern} {access}"))
                .collect(),
        )
    }

    #[test]
    fn the_built_in_nodes_are_named() {
        let list = as_text(&rules(&[])).unwrap();
        for wanted in ["/dev/char/1:3 rwm", "char-136 rwm", "char-* m", "block-* m"] {
            assert!(list.iter().any(|line| line == wanted), "{wanted}: {list:?}");
        }
    }

    #[test]
    fn what_any_rule_allows_is_on_the_list() {
        let list = as_text(&[
            rule(true, Some(Kind::Block), (Some(8), Some(0)), READ),
            rule(false, Some(Kind::Block), (Some(8), Some(0)), ALL),
            rule(true, Some(Kind::Block), (Some(8), Some(0)), WRITE),
            rule(true, None, (None, Some(5)), READ),
        ]);
        assert_eq!(
            list.unwrap(),
            ["/dev/block/8:0 rw", "block-* r", "char-* r"]
        );
    }

    #[test]
    fn everything_is_no_list() {
        assert_eq!(as_text(&[rule(true, None, (None, None), ALL)]), None);
    }
}
