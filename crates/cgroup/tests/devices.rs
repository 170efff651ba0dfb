//! The effect of device rules on processes: real opens, in real groups.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use cgroup::Group;
use fixture::{DEADLINE, Name, in_v2_view, is_possible};
use spec::container::{DeviceKind, DeviceRule, Resources};
use std::process::{Command, Stdio};

/// Whether a process in `group` can do this with the node.
fn can(group: &Group, redirection: &str) -> bool {
    let script = format!("read line; true {redirection}");
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.join(i32::try_from(shell.id()).unwrap()).unwrap();
    drop(shell.stdin.take());
    shell.wait().unwrap().success()
}

fn rule(allow: bool, device: Option<(u32, u32)>, access: &str) -> DeviceRule {
    DeviceRule {
        allow,
        kind: device.map(|_device| DeviceKind::Char),
        major: device.map(|(major, _minor)| major),
        minor: device.map(|(_major, minor)| minor),
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

/// /dev/kmsg is 1:11 and in no built-in rule.
const KMSG: Option<(u32, u32)> = Some((1, 11));

fn opens() {
    let cases: [(&[DeviceRule], bool, bool); 4] = [
        (&[], false, false),
        (&[rule(true, None, "rwm")], true, true),
        (
            &[rule(false, None, "rwm"), rule(true, KMSG, "r")],
            true,
            false,
        ),
        (
            &[rule(true, None, "rwm"), rule(false, KMSG, "w")],
            true,
            false,
        ),
    ];
    for (devices, reads, writes) in cases {
        let name = Name::new();
        let asked = Resources {
            devices: devices.to_vec(),
            ..Resources::default()
        };
        let group = name.plan(asked.clone()).unwrap().create().unwrap();
        assert_eq!(can(&group, "< /dev/kmsg"), reads, "read: {devices:?}");
        assert_eq!(can(&group, ">> /dev/kmsg"), writes, "write: {devices:?}");
        assert!(can(&group, "< /dev/zero > /dev/null"), "{devices:?}");

        // The group is made again with other rules: the old ones no longer apply.
        let opposite = Resources {
            devices: vec![rule(true, KMSG, "w")],
            ..Resources::default()
        };
        let group = name.plan(opposite).unwrap().create().unwrap();
        assert!(!can(&group, "< /dev/kmsg"));
        assert!(can(&group, ">> /dev/kmsg"));
        group.location().remove(DEADLINE).unwrap();
    }
}

#[test]
fn opens_are_refused_by_rule_on_the_host() {
    if is_possible() {
        opens();
    }
}

#[test]
fn opens_are_refused_by_rule_on_v2() {
    in_v2_view("opens_are_refused_by_rule_on_v2", opens);
}

/// A profile with many devices: thousands of rules pass the verifier.
#[test]
fn many_rules_are_loaded_on_v2() {
    in_v2_view("many_rules_are_loaded_on_v2", || {
        let name = Name::new();
        let rules =
            (0..2000).map(|minor| rule(minor % 3 != 0, Some((200 + minor % 97, minor)), "rw"));
        let asked = Resources {
            devices: rules.collect(),
            ..Resources::default()
        };
        let group = name.plan(asked).unwrap().create().unwrap();
        assert!(can(&group, "> /dev/null"));
        assert!(!can(&group, "< /dev/kmsg"));
        group.location().remove(DEADLINE).unwrap();
    });
}
