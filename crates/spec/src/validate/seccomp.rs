//! `linux.seccomp`: words into numbers. Source: config-linux.md#seccomp.
//!
//! System call names are not looked up here: which of them exist depends on the architecture, and a
//! profile may name some that this kernel does not have.

use oci_spec::runtime::LinuxSeccompAction as Action;

use std::path::Path;

use crate::container::{Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompFlag, SeccompRule};
use crate::diagnostic::Code;
use crate::reader::{Object, Value};
use crate::validate::given;

/// MAX_ERRNO of linux/err.h: the kernel cuts a larger one to it.
const MAX_ERRNO: u16 = 4095;
/// The number when none is given, as in the other runtimes.
const EPERM: u16 = 1;

/// Reads a document that is only a filter, or the filter of a whole configuration, and returns the
/// JSON pointer of the filter too.
pub(crate) fn read_document(document: &Value<'_>) -> Option<(Seccomp, &'static str)> {
    let (mut whole, mut template) = (false, false);
    let inner = document.map(|key, value| {
        whole |= matches!(key, "linux" | "ociVersion" | "process" | "root");
        template |= key == "archMap";
        if key != "linux" {
            return None;
        }
        let filter = |key: &str, value: &Value<'_>| {
            let present = key == "seccomp" && !value.is_null();
            present.then(|| read(value, None))
        };
        Some(value.map(filter))
    });
    if template {
        let message = "this is a template from which an engine makes the filter of each container";
        let hint = "give the config.json that the engine has written";
        return document.refuse_hint(Code::Unsupported, message, hint);
    }
    if !whole {
        return Some((read(document, None)?, ""));
    }
    let filter = inner.into_iter().flatten().next();
    if filter.is_none() {
        document.error(
            Code::Missing,
            "the configuration has no `linux.seccomp`, so there is no filter",
        );
    }
    Some((filter??, "/linux/seccomp"))
}

/// Reads `linux.seccomp`. Without `listenerPath` the listener is at `receiver`.
pub(crate) fn read(value: &Value<'_>, receiver: Option<&Path>) -> Option<Seccomp> {
    value.object(|o| {
        let default_action = action(o, "defaultAction", "defaultErrnoRet");
        let architectures = architectures(o);
        let flags = o.get("flags").map(|value| value.list(|item| item.word()));
        let listener = given(o, "listenerPath");
        let listener_path = match listener {
            Some(value) => value.absolute(),
            None => receiver.map(Path::to_owned),
        };
        let has_listener = listener.is_some() || receiver.is_some();
        let syscalls = o.list("syscalls", rule);
        let metadata = o
            .get("listenerMetadata")
            .and_then(|value| metadata(&value, has_listener));
        if default_action == Some(SeccompAction::Notify) {
            // The socket to the listener needs system calls before the listener is there.
            o.value.error(
                Code::Conflict,
                "SCMP_ACT_NOTIFY cannot be the default action",
            );
        }
        let notifies = syscalls
            .iter()
            .any(|rule| rule.action == SeccompAction::Notify);
        if notifies && !has_listener {
            o.value
                .error(Code::Conflict, "SCMP_ACT_NOTIFY needs `listenerPath`");
        }
        let waits =
            |flags: &Vec<_>| flags.contains(&SeccompFlag::SeccompFilterFlagWaitKillableRecv);
        if flags.as_ref().is_some_and(waits) && !notifies {
            let message =
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY";
            o.value.error(Code::Conflict, message);
        }
        Some(Seccomp {
            default_action: default_action?,
            architectures,
            flags,
            listener_path,
            listener_metadata: metadata,
            syscalls,
        })
    })?
}

fn metadata(value: &Value<'_>, has_listener: bool) -> Option<String> {
    let text = value.verbatim()?;
    if text.is_empty() {
        return None;
    }
    if !has_listener {
        value.error(Code::Conflict, "`listenerMetadata` needs `listenerPath`");
    }
    Some(text.to_owned())
}

fn architectures(o: &Object<'_>) -> Vec<SeccompArch> {
    let mut out: Vec<SeccompArch> = Vec::new();
    o.list("architectures", |item| {
        let word = item.word()?;
        if word == SeccompArch::ScmpArchNative {
            let message = "SCMP_ARCH_NATIVE is not an architecture of the specification";
            let hint = "leave it out: the native architecture is always part of the filter";
            item.error_hint(Code::UnknownValue, message, hint);
        } else if !out.contains(&word) {
            out.push(word);
        }
        Some(())
    });
    out
}

fn action(o: &Object<'_>, key: &'static str, number: &'static str) -> Option<SeccompAction> {
    let action = o.required(key).and_then(|v| v.word());
    let errno = o.get(number);
    let number = |most| errno.map_or(Some(EPERM), |v| v.number(0..=most));
    let plain = match action? {
        Action::ScmpActErrno => return number(MAX_ERRNO).map(SeccompAction::Errno),
        Action::ScmpActTrace => return number(u16::MAX).map(SeccompAction::Trace),
        Action::ScmpActKillProcess => SeccompAction::KillProcess,
        Action::ScmpActKill | Action::ScmpActKillThread => SeccompAction::KillThread,
        Action::ScmpActTrap => SeccompAction::Trap,
        Action::ScmpActLog => SeccompAction::Log,
        Action::ScmpActAllow => SeccompAction::Allow,
        Action::ScmpActNotify => SeccompAction::Notify,
    };
    if let Some(value) = errno {
        let message =
            "this action takes no number: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one";
        value.error(Code::Conflict, message);
    }
    Some(plain)
}

fn rule(value: &Value<'_>) -> Option<SeccompRule> {
    value.object(|o| {
        let names = o.required("names").map(|v| {
            if v.is_empty_list() {
                v.error(
                    Code::Range,
                    "expected at least one name, found an empty list",
                );
            }
            v.list(|item| item.filled().map(str::to_owned))
        });
        let action = action(o, "action", "errnoRet");
        let args = o.list("args", |item| item.object(arg)?);
        let (names, action) = (names?, action?);
        if action == SeccompAction::Notify && names.iter().any(|name| name == "write") {
            // runc's words come first. No other call needs an answer before the listener has the
            // descriptor.
            let message = "SCMP_ACT_NOTIFY cannot be used for the write syscall: the container process needs it to hand over the listener's descriptor";
            value.error(Code::Conflict, message);
        }
        Some(SeccompRule {
            names,
            action,
            args,
        })
    })?
}

fn arg(o: &Object<'_>) -> Option<SeccompArg> {
    let index = o.required("index").and_then(|v| v.number(0..=5_u8));
    let value = o.required("value").and_then(|v| v.number(0..=u64::MAX));
    let value_two = o.number("valueTwo", 0..=u64::MAX).unwrap_or_default();
    let op = o.required("op").and_then(|v| v.word());
    Some(SeccompArg {
        index: index?,
        op: op?,
        value: value?,
        value_two,
    })
}
