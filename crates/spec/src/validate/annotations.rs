//! `annotations`, and which of crun's mean something to locule.
//!
//! An annotation of crun that locule does not honour is an error if the container would run with
//! another filter or program without it, and a warning otherwise. The values of the honoured ones
//! are checked by the code that uses them. Source: config.md#annotations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::container::{KEEP_GROUPS, PIDFD_RECEIVER};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::Value;

/// The path of a seccomp listener, for a filter that names none.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// Those that other code reads.
const HONOURED: [&str; 6] = [
    KEEP_GROUPS,
    PIDFD_RECEIVER,
    RECEIVER,
    "run.oci.mount_context_type",
    "run.oci.seccomp_fail_unknown_syscall",
    "run.oci.systemd.subgroup",
];

/// Those that are refused, and what to do instead.
const REFUSED: [(&str, &str); 3] = [
    (
        "run.oci.handler",
        "locule runs the container's program itself and has no handlers; use a runtime that has this one",
    ),
    (
        "run.oci.seccomp.plugins",
        "locule loads no code of others; use `listenerPath` in `linux.seccomp`",
    ),
    (
        "run.oci.seccomp_bpf_data",
        "it would replace the filter by a program that no one can read; describe the filter in `linux.seccomp`",
    ),
];

/// Those without effect.
const WITHOUT_EFFECT: [&str; 4] = [
    "run.oci.delegate-cgroup",
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.systemd.force_cgroup_v1",
];

/// The annotations, and what the other sections need of them.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    pub(super) all: BTreeMap<String, String>,
    /// [`RECEIVER`].
    pub(super) seccomp_receiver: Option<PathBuf>,
}

/// Reads `annotations`.
pub(super) fn read(value: &Value<'_>) -> Annotations {
    let mut seccomp_receiver = None;
    let pairs = value.map(|key, item| {
        if key.is_empty() {
            item.error(Code::Range, "an annotation with an empty key");
        }
        let text = item.verbatim()?;
        match key {
            RECEIVER => seccomp_receiver = item.absolute(),
            PIDFD_RECEIVER => _ = item.absolute(),
            key if key.starts_with("run.oci.") => check(key, item),
            _ => {}
        }
        Some((key.to_owned(), text.to_owned()))
    });
    Annotations {
        all: pairs.into_iter().collect(),
        seccomp_receiver,
    }
}

fn check(key: &str, value: &Value<'_>) {
    if let Some((_, instead)) = REFUSED.iter().find(|(name, _)| *name == key) {
        let message = format!("locule does not support the annotation {}", quote(key));
        value.error_hint(Code::Unsupported, message, *instead);
    } else if WITHOUT_EFFECT.contains(&key) {
        let message = format!("the annotation {} has no effect in locule", quote(key));
        value.warn(Code::Unsupported, message);
    } else if !HONOURED.contains(&key) {
        let message = format!("the annotation {} is unknown and ignored", quote(key));
        let known = HONOURED.map(str::to_owned).to_vec();
        value.warn_word(&message, key, known);
    }
}
