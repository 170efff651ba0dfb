//! Compares both forms of the rules with a simple model: for each bit of access the last rule that
//! names the node and the bit decides.

use super::*;
use kernel::bpf::Instruction;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// All rules, including those without effect.
fn every_rule(given: &[DeviceRule]) -> Vec<Rule> {
    let (built_in, mut all) = (rules(&[]), Vec::new());
    for (index, rule) in given.iter().enumerate() {
        let kind = rule.kind.map(|kind| match kind {
            DeviceKind::Block => Kind::Block,
            _ => Kind::Char,
        });
        let letters = [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)];
        let named = letters.iter().filter(|(named, _bit)| *named);
        all.push(Rule {
            allow: rule.allow,
            kind,
            major: rule.major,
            minor: rule.minor,
            access: named.fold(0, |all, (_named, bit)| all | bit),
            index: Some(index),
        });
    }
    all.extend(built_in);
    all
}

fn reference(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
    [MKNOD, READ, WRITE]
        .into_iter()
        .filter(|bit| access & bit != 0)
        .all(|bit| {
            let names = |rule: &&Rule| {
                rule.access & bit != 0
                    && rule.kind.is_none_or(|named| named == kind)
                    && rule.major.is_none_or(|named| named == major)
                    && rule.minor.is_none_or(|named| named == minor)
            };
            rules
                .iter()
                .rev()
                .find(names)
                .is_some_and(|rule| rule.allow)
        })
}

fn bytes(program: &[Instruction]) -> Vec<u8> {
    let instructions = program.iter().flat_map(|instruction| {
        let mut bytes = vec![instruction.code, instruction.registers];
        bytes.extend(instruction.offset.to_le_bytes());
        bytes.extend(instruction.immediate.to_le_bytes());
        bytes
    });
    instructions.collect()
}

/// The answer of the program in a virtual machine.
fn run(machine: &rbpf::EbpfVmRaw<'_>, kind: Kind, major: u32, minor: u32, access: u8) -> bool {
    let access_type = (u32::from(access) << 16) | kind as u32;
    let mut context = Vec::new();
    for number in [access_type, major, minor] {
        context.extend(number.to_le_bytes());
    }
    machine.execute_program(&mut context).unwrap() == 1
}

fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let number = || prop_oneof![Just(None), (0u32..4).prop_map(Some), Just(Some(u32::MAX))];
    let kind = prop_oneof![
        Just(None),
        Just(Some(DeviceKind::Char)),
        Just(Some(DeviceKind::Block))
    ];
    let access = prop_oneof![2 => 1u8..8, 1 => Just(7u8)];
    (any::<bool>(), kind, number(), number(), access).prop_map(
        |(allow, kind, major, minor, access)| DeviceRule {
            allow,
            kind,
            major,
            minor,
            read: access & READ != 0,
            write: access & WRITE != 0,
            mknod: access & MKNOD != 0,
        },
    )
}

const NUMBERS: [u32; 7] = [0, 1, 2, 3, 5, 136, u32::MAX];

/// Every node of interest.
fn nodes() -> impl Iterator<Item = (Kind, u32, u32)> {
    let majors = NUMBERS
        .into_iter()
        .flat_map(|major| NUMBERS.map(|minor| (major, minor)));
    majors.flat_map(|(major, minor)| [Kind::Block, Kind::Char].map(|kind| (kind, major, minor)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_program_answers_as_the_rules_say(given in prop::collection::vec(any_rule(), 0..12)) {
        let every = every_rule(&given);
        let rules = rules(&given);
        let program = bytes(&program::encode(&rules));
        let machine = rbpf::EbpfVmRaw::new(Some(&program)).unwrap();
        for (kind, major, minor) in nodes() {
            for access in 1..8 {
                prop_assert_eq!(
                    run(&machine, kind, major, minor, access),
                    reference(&every, kind, major, minor, access),
                    "{:?} {}:{} {}", kind, major, minor, access
                );
            }
        }
    }

    #[test]
    fn the_list_answers_as_the_rules_say(given in prop::collection::vec(any_rule(), 0..5)) {
        let every = every_rule(&given);
        let rules = rules(&given);
        let Ok(list) = list::List::of(&rules) else {
            return Ok(());
        };
        for (kind, major, minor) in nodes() {
            for access in [MKNOD, READ, WRITE, READ | WRITE] {
                let said = reference(&every, kind, major, minor, access);
                let answer = list.permits(kind, major, minor, access);
                // A built-in rule that the list cannot express is left out: it never allows more
                // than the rules do.
                let is_built_in = access == MKNOD || BUILT_IN.iter().any(|(_kind, m, _n, _a)| *m == Some(major));
                prop_assert!(
                    answer == said || (list.allows && is_built_in && said),
                    "{kind:?} {major}:{minor} {access}: {list:?}"
                );
            }
        }
    }

    #[test]
    fn changes_make_one_list_of_another(
        before in prop::collection::vec(any_rule(), 0..4),
        after in prop::collection::vec(any_rule(), 0..4),
    ) {
        let (Ok(before), Ok(after)) = (list::List::of(&rules(&before)), list::List::of(&rules(&after))) else {
            return Ok(());
        };
        prop_assert_eq!(&carry_out(&before, &before.changes_to(&after)), &after);
        prop_assert!(after.changes_to(&after).is_empty());
    }
}

/// A model of the kernel: writes to devices.allow and devices.deny.
fn carry_out(list: &list::List, changes: &[(&str, Vec<String>)]) -> list::List {
    let mut list = list.clone();
    let entries = changes
        .iter()
        .flat_map(|(file, entries)| entries.iter().map(move |entry| (file, entry)));
    for (file, entry) in entries {
        let gives = *file == "devices.allow";
        if entry == "a" {
            list = list::List {
                allows: gives,
                ..list::List::default()
            };
            continue;
        }
        let one = list::List::parse(entry);
        for (node, bits) in one.exceptions {
            let kept = list.exceptions.entry(node).or_default();
            if gives == list.allows {
                *kept &= !bits;
            } else {
                *kept |= bits;
            }
        }
        list.exceptions.retain(|_node, bits| *bits != 0);
    }
    list
}

fn rule(
    allow: bool,
    kind: Option<DeviceKind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: &str,
) -> DeviceRule {
    DeviceRule {
        allow,
        kind,
        major,
        minor,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

#[test]
fn without_rules_only_the_built_in_nodes_are_allowed() {
    let list = list::List::of(&rules(&[])).unwrap();
    let changes = list::List {
        allows: true,
        ..list::List::default()
    }
    .changes_to(&list);
    assert_eq!(changes[0], ("devices.deny", vec!["a".to_owned()]));
    let (file, entries) = &changes[1];
    assert_eq!((*file, entries.len()), ("devices.allow", BUILT_IN.len()));
    assert!(entries.contains(&"c 1:3 rwm".to_owned()));
    assert!(entries.contains(&"b *:* m".to_owned()));
}

/// "The runtime MUST apply entries in the listed order": the validation suite's
/// `linux_cgroups_devices` reads them back in that order.
#[test]
fn rules_of_the_configuration_are_written_first_and_in_their_order() {
    let given = [
        rule(false, None, None, None, "rwm"),
        rule(true, Some(DeviceKind::Char), Some(10), Some(229), "rwm"),
        rule(true, Some(DeviceKind::Block), Some(8), Some(20), "rw"),
        rule(true, Some(DeviceKind::Block), Some(10), Some(200), "r"),
    ];
    let list = list::List::of(&rules(&given)).unwrap();
    let unlimited = list::List {
        allows: true,
        ..list::List::default()
    };
    let changes = unlimited.changes_to(&list);
    let (_file, entries) = &changes[1];
    assert_eq!(entries[..3], ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"]);
}

#[test]
fn a_privileged_container_needs_no_rule_and_no_write() {
    let given = [
        rule(false, None, None, None, "rwm"),
        rule(true, None, None, None, "rwm"),
    ];
    let rules = rules(&given);
    assert_eq!(rules.len(), 1);
    let list = list::List::of(&rules).unwrap();
    let unlimited = list::List {
        allows: true,
        ..list::List::default()
    };
    assert!(unlimited.changes_to(&list).is_empty());
}

#[test]
fn rules_before_the_last_one_for_everything_are_left_out() {
    let given = [
        rule(true, Some(DeviceKind::Char), Some(7), None, "rwm"),
        rule(false, None, None, None, "rwm"),
        rule(false, Some(DeviceKind::Char), Some(7), None, "rwm"),
        rule(true, Some(DeviceKind::Char), Some(8), None, "r"),
        rule(false, Some(DeviceKind::Char), Some(8), Some(1), "r"),
    ];
    let indices: Vec<_> = rules(&given).iter().filter_map(|rule| rule.index).collect();
    assert_eq!(indices, [3, 4]);
}

#[test]
fn an_engines_rules_become_five_groups() {
    let char = Some(DeviceKind::Char);
    let mut given = vec![rule(false, None, None, None, "rwm")];
    for (major, minor) in [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)] {
        given.push(rule(true, char, Some(major), Some(minor), "rwm"));
    }
    given.push(rule(false, char, Some(10), Some(229), "rwm"));
    let runs = run::runs(&rules(&given));
    assert_eq!(runs.len(), 1);
    let groups: Vec<_> = runs[0]
        .groups
        .iter()
        .map(|group| (group.major, group.minors.len(), group.access))
        .collect();
    let expected = [
        (None, 0, MKNOD),
        (Some(136), 0, ALL),
        (Some(1), 5, ALL),
        (Some(5), 3, ALL),
        (Some(10), 1, ALL),
    ];
    assert_eq!(groups, expected);
}

#[test]
fn minors_are_looked_up_in_windows() {
    let group = run::Group {
        kind: None,
        major: None,
        minors: [3, 5, 34, 35, 200, u32::MAX].into(),
        access: READ,
    };
    let expected = [
        (3, 0b1000_0000_0000_0000_0000_0000_0000_0101),
        (35, 1),
        (200, 1),
        (u32::MAX, 1),
    ];
    assert_eq!(group.windows(), expected);
}

#[test]
fn a_part_of_a_wildcard_cannot_be_taken_back_on_v1() {
    let given = [
        rule(false, None, None, None, "rwm"),
        rule(true, Some(DeviceKind::Char), Some(10), None, "rw"),
        rule(false, Some(DeviceKind::Char), Some(10), Some(229), "rwm"),
    ];
    let resources = Resources {
        devices: given.to_vec(),
        ..Resources::default()
    };
    let problem = Devices::lower_v1(&resources).unwrap_err();
    assert_eq!(problem.pointer, "/linux/resources/devices/2");
}

/// 400 rules would become 40,000 entries. 6000 rules were copied 6000 times.
#[test]
fn very_many_rules_take_no_time_and_memory() {
    let read = (0..200).map(|n| rule(true, Some(DeviceKind::Char), Some(n), None, "r"));
    let write = (0..200).map(|n| rule(true, Some(DeviceKind::Char), None, Some(n), "w"));
    let problem = Devices::lower_v1(&Resources {
        devices: read.chain(write).collect(),
        ..Resources::default()
    });
    let problem = problem.unwrap_err();
    assert_eq!(problem.pointer, "/linux/resources/devices");
    assert!(problem.message.contains("more than 16384"), "{problem}");
    let start = Instant::now();
    let each = (0..6000).map(|n| rule(true, Some(DeviceKind::Char), Some(7), Some(n), "rw"));
    let devices = Devices::lower_v1(&Resources {
        devices: each.collect(),
        ..Resources::default()
    });
    assert_eq!(devices.unwrap().patterns().unwrap().len(), 6011);
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(10), "{taken:?}");
}

#[test]
fn what_the_kernel_lists_is_read_back() {
    let text = "c *:* m\nb 8:0 rw\nc 136:* rwm\n";
    let list = list::List::parse(text);
    assert_eq!(list.exceptions.len(), 3);
    assert!(list.permits(Kind::Block, 8, 0, READ | WRITE));
    assert!(!list.permits(Kind::Block, 8, 0, MKNOD));
    assert!(list::List::parse("a *:* rwm\n").allows);
}
