//! `linux.namespaces` and `linux.timeOffsets`. Source: config-linux.md#namespaces.

use std::path::PathBuf;

use crate::container::{Namespace, NamespaceKind, Namespaces, TimeOffsets};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::given;

/// Reads `linux.namespaces`; a type that is not listed is inherited.
pub(crate) fn read(o: &Object<'_>) -> Namespaces {
    let mut out = Namespaces::default();
    o.list("namespaces", |item| {
        item.object(|o| {
            let kind = o.required("type").and_then(|v| v.word());
            let namespace = match given(o, "path") {
                Some(value) => value.absolute().map(Namespace::Join),
                None => Some(Namespace::New),
            };
            let slot: &mut Namespace = &mut out[kind?];
            if slot.is_own() {
                item.error(
                    Code::Conflict,
                    "this type of namespace appears twice in the list",
                );
            }
            *slot = namespace?;
            Some(())
        })?
    });
    out
}

/// Reads `linux.timeOffsets`, which need a new time namespace.
pub(crate) fn time_offsets(o: &Object<'_>, namespaces: &Namespaces) -> TimeOffsets {
    let mut out = TimeOffsets::default();
    let Some(value) = o.get("timeOffsets") else {
        return out;
    };
    let given = value.map(|clock, value| {
        let place = match clock {
            "monotonic" => &mut out.monotonic,
            "boottime" => &mut out.boottime,
            _ => {
                let message = format!("the clock {} cannot have an offset", quote(clock));
                return value.refuse_hint(
                    Code::UnknownValue,
                    message,
                    "expected monotonic, boottime",
                );
            }
        };
        *place = value.object(offset)?;
        Some(())
    });
    if !given.is_empty() && namespaces[NamespaceKind::Time] != Namespace::New {
        let hint = "add {\"type\": \"time\"} without a path to `linux.namespaces`";
        value.error_hint(
            Code::Conflict,
            "time offsets need a new time namespace",
            hint,
        );
    }
    out
}

fn offset(o: &Object<'_>) -> Option<(i64, u32)> {
    let seconds = o.number("secs", i64::MIN..=i64::MAX).unwrap_or_default();
    let nanoseconds = o
        .number("nanosecs", 0..=999_999_999_u32)
        .unwrap_or_default();
    Some((seconds, nanoseconds))
}

/// Reads a list of paths that need the container's own mount namespace.
pub(crate) fn sealed_paths(
    o: &Object<'_>,
    key: &'static str,
    namespaces: &Namespaces,
) -> Vec<PathBuf> {
    let Some(value) = o.get(key) else {
        return Vec::new();
    };
    let paths = value.list(|item| item.absolute());
    if !paths.is_empty() && !namespaces[NamespaceKind::Mount].is_own() {
        needs(&value, "mount");
    }
    paths
}

/// Reports that `value` is not possible in the runtime's namespace.
pub(crate) fn needs(value: &Value<'_>, kind: &str) {
    value.error_hint(
        Code::Conflict,
        format!("needs a {kind} namespace of the container's own"),
        format!("add {{\"type\": \"{kind}\"}} to `linux.namespaces`"),
    );
}
