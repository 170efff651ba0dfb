//! `linux.devices` and `linux.resources.devices`. Source: config-linux.md#devices.

use crate::container::{Device, DeviceKind, DeviceRule};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use std::collections::BTreeMap;

/// The kernel has 12 bits for a major number, see linux/kdev_t.h.
const MAJOR: u32 = (1 << 12) - 1;
/// And 20 bits for a minor number.
const MINOR: u32 = (1 << 20) - 1;

/// The most rules. To combine them takes time that grows with the square of their number.
const MOST_RULES: usize = 8192;

/// `linux.devices[].type`.
const NODES: [(&str, DeviceKind); 4] = [
    ("c", DeviceKind::Char),
    ("u", DeviceKind::Char),
    ("b", DeviceKind::Block),
    ("p", DeviceKind::Fifo),
];

/// `linux.resources.devices[].type`.
const RULES: [(&str, Option<DeviceKind>); 5] = [
    ("a", None),
    ("c", Some(DeviceKind::Char)),
    ("u", Some(DeviceKind::Char)),
    ("b", Some(DeviceKind::Block)),
    ("p", Some(DeviceKind::Fifo)),
];

/// A major and a minor number of an object that must have both.
pub(crate) fn numbers(o: &Object<'_>) -> (Option<u32>, Option<u32>) {
    (
        o.required("major").and_then(|v| v.number(0..=MAJOR)),
        o.required("minor").and_then(|v| v.number(0..=MINOR)),
    )
}

/// Reads `linux.devices`. Engines repeat entries, but one path cannot be two devices.
pub(crate) fn nodes(o: &Object<'_>) -> Vec<Device> {
    let mut seen = BTreeMap::new();
    let mut index = 0;
    o.list("devices", |item| {
        let here = index;
        index += 1;
        let device = item.object(node)??;
        let is = (device.kind, device.major, device.minor);
        let (first, was) = *seen.entry(device.path.clone()).or_insert((here, is));
        if was != is {
            let path = quote(&device.path.display().to_string());
            let message = format!(
                "the path {path} is that of /linux/devices/{first} too, with another type or other numbers"
            );
            item.error_hint(Code::Conflict, message, "remove one of the two");
        }
        Some(device)
    })
}

fn node(o: &Object<'_>) -> Option<Device> {
    let path = o.required("path").and_then(|v| v.absolute());
    let kind = o.required("type").and_then(|v| v.word_in(&NODES));
    let (major, minor) = match kind {
        Some(DeviceKind::Fifo) | None => {
            o.ignore(&["major", "minor"]);
            (Some(0), Some(0))
        }
        Some(DeviceKind::Char | DeviceKind::Block) => numbers(o),
    };
    // Docker and containerd put the S_IFMT bits there too; they repeat the type.
    let mode = o
        .number("fileMode", 0..=0o177_777_u32)
        .map_or(0o666, |mode| mode & 0o7777);
    let uid = o.get("uid").map_or(Some(0), |v| v.id());
    let gid = o.get("gid").map_or(Some(0), |v| v.id());
    Some(Device {
        path: path?,
        kind: kind?,
        major: major?,
        minor: minor?,
        mode,
        uid: uid?,
        gid: gid?,
    })
}

/// Reads `linux.resources.devices`.
pub(crate) fn rules(o: &Object<'_>) -> Vec<DeviceRule> {
    let Some(value) = o.get("devices") else {
        return Vec::new();
    };
    let rules = value.list(|item| item.object(rule)?);
    if rules.len() > MOST_RULES {
        let message = format!(
            "the list has {} rules; locule accepts at most {MOST_RULES}",
            rules.len()
        );
        value.error_hint(
            Code::Range,
            message,
            "name a class of devices by `major` alone",
        );
    }
    rules
}

fn rule(o: &Object<'_>) -> Option<DeviceRule> {
    let allow = o.required("allow").and_then(|v| v.flag());
    let kind = o.get("type").map_or(Some(None), |v| v.word_in(&RULES));
    let major = o
        .get("major")
        .map_or(Some(None), |v| number_or_all(&v, MAJOR));
    let minor = o
        .get("minor")
        .map_or(Some(None), |v| number_or_all(&v, MINOR));
    let access = o.get("access").map_or(Some("rwm"), |v| access(&v))?;
    Some(DeviceRule {
        allow: allow?,
        kind: kind?,
        major: major?,
        minor: minor?,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    })
}

/// -1 means every number, like an absent property.
fn number_or_all(value: &Value<'_>, most: u32) -> Option<Option<u32>> {
    let number = value.number(-1..=i64::from(most))?;
    Some(u32::try_from(number).ok())
}

fn access<'v>(value: &Value<'v>) -> Option<&'v str> {
    let text = value.filled()?;
    if !text.chars().all(|c| "rwm".contains(c)) {
        let message = format!("expected letters of \"rwm\", found {}", quote(text));
        return value.refuse(Code::UnknownValue, message);
    }
    Some(text)
}
