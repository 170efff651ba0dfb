//! `process`: user, program, capabilities, limits. Source: config.md#process.

use crate::capability::NAMED;
use caps::Capability;
use std::collections::BTreeSet;

use crate::container::{CapSet, Capabilities, Process, Rlimit, User};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::attributes;
use crate::words::resource;

/// umask(2) when `process.user.umask` is absent, as in the other runtimes.
const UMASK: u32 = 0o022;

/// Reads `process`, or the whole document of `exec --process`.
pub(crate) fn read(value: &Value<'_>) -> Option<Process> {
    value.object(|o| {
        // `commandLine` is for Windows.
        o.ignore(&["commandLine"]);
        let terminal = o.flag("terminal").unwrap_or_default();
        let console_size = o
            .get("consoleSize")
            .filter(|_| terminal)
            .and_then(|v| console_size(&v));
        let user = o.get("user").and_then(|v| user(&v)).unwrap_or(User {
            uid: 0,
            gid: 0,
            umask: UMASK,
            additional_gids: Vec::new(),
        });
        let cwd = o.required("cwd").and_then(|v| v.absolute());
        let args = o.required("args").map(|v| {
            let args = v.list(|item| item.text().map(str::to_owned));
            if v.is_empty_list() {
                v.error(
                    Code::Range,
                    "expected at least one argument, found an empty list",
                );
            }
            args
        });
        let env = environment(o);
        let rlimits = rlimits(o);
        let capabilities = o.get("capabilities").and_then(|v| capabilities(&v));
        let no_new_privileges = o.flag("noNewPrivileges").unwrap_or_default();
        let apparmor_profile = o.label("apparmorProfile");
        let selinux_label = o.label("selinuxLabel");
        let oom_score_adj = o.number("oomScoreAdj", -1000_i16..=1000);
        let scheduler = o.get("scheduler").and_then(|v| attributes::scheduler(&v));
        let io_priority = o
            .get("ioPriority")
            .and_then(|v| attributes::io_priority(&v));
        let affinity = o
            .get("execCPUAffinity")
            .and_then(|v| attributes::exec_cpu_affinity(&v));
        Some(Process {
            terminal,
            console_size,
            cwd: cwd?,
            env,
            args: args?,
            rlimits,
            user,
            capabilities: capabilities.unwrap_or_default(),
            no_new_privileges,
            apparmor_profile,
            selinux_label,
            oom_score_adj,
            scheduler,
            io_priority,
            exec_cpu_affinity: affinity.unwrap_or_default(),
        })
    })?
}

/// `env` of a process or a hook: each entry is `NAME=value`. If a name appears twice, the last
/// entry counts.
pub(crate) fn environment(o: &Object<'_>) -> Vec<String> {
    let mut entries = o.list("env", |item| {
        let text = item.text()?;
        if name(text).is_empty() {
            return item.refuse(
                Code::Range,
                format!(
                    "invalid environment variable: expected NAME=value, found {}",
                    quote(text)
                ),
            );
        }
        Some(text.to_owned())
    });
    let mut names = BTreeSet::new();
    entries.reverse();
    entries.retain(|entry| names.insert(name(entry).to_owned()));
    entries.reverse();
    entries
}

/// The text before the `=`; `None` without one.
fn name(entry: &str) -> &str {
    entry.split_once('=').map_or("", |(name, _)| name)
}

fn console_size(value: &Value<'_>) -> Option<(u16, u16)> {
    value.object(|o| {
        let height = o.required("height").and_then(|v| v.number(0..=u16::MAX));
        let width = o.required("width").and_then(|v| v.number(0..=u16::MAX));
        height.zip(width)
    })?
}

fn user(value: &Value<'_>) -> Option<User> {
    value.object(|o| {
        o.ignore(&["username"]);
        let uid = o.get("uid").map_or(Some(0), |v| v.id());
        let gid = o.get("gid").map_or(Some(0), |v| v.id());
        let umask = o.number("umask", 0..=0o777_u32).unwrap_or(UMASK);
        let additional_gids = o.list("additionalGids", |item| item.id());
        Some(User {
            uid: uid?,
            gid: gid?,
            umask,
            additional_gids,
        })
    })?
}

fn rlimits(o: &Object<'_>) -> Vec<Rlimit> {
    let mut seen = BTreeSet::new();
    o.list("rlimits", |item| {
        item.object(|o| {
            let resource = o.required("type").and_then(|v| {
                let resource = resource(v.word()?);
                if !seen.insert(resource) {
                    v.error(Code::Conflict, "this limit appears twice in the list");
                }
                Some(resource)
            });
            let soft = o.required("soft").and_then(|v| limit(&v));
            let hard = o.required("hard").and_then(|v| limit(&v));
            let (soft, hard) = (soft?, hard?);
            if soft > hard {
                let message = format!("the soft limit {soft} is above the hard limit {hard}");
                item.error(Code::Conflict, message);
            }
            Some(Rlimit {
                resource: resource?,
                soft,
                hard,
            })
        })?
    })
}

/// A soft or hard limit. -1 is RLIM_INFINITY in C, and crun takes it.
fn limit(value: &Value<'_>) -> Option<u64> {
    match value.number(-1..=i128::from(u64::MAX))? {
        -1 => {
            let hint = format!("write {} for no limit", u64::MAX);
            value.refuse_hint(Code::Range, "-1 is negative", hint)
        }
        limit => u64::try_from(limit).ok(),
    }
}

fn capabilities(value: &Value<'_>) -> Option<Capabilities> {
    value.object(|o| Capabilities {
        bounding: capability_set(o, "bounding"),
        effective: capability_set(o, "effective"),
        inheritable: capability_set(o, "inheritable"),
        permitted: capability_set(o, "permitted"),
        ambient: capability_set(o, "ambient"),
    })
}

/// A name that does not exist is a warning: config.md requires that the container starts without
/// it.
fn capability_set(o: &Object<'_>, key: &'static str) -> CapSet {
    let mut set = CapSet::default();
    o.list(key, |item| {
        let name = item.text()?;
        match name.parse::<Capability>() {
            Ok(capability) => set = set.or(CapSet::of(capability.index())),
            Err(_unknown) => {
                let quoted = quote(name);
                let message = format!("the capability {quoted} does not exist and is ignored");
                let known = NAMED.iter().map(Capability::to_string).collect();
                item.warn_word(&message, name, known);
            }
        }
        Some(())
    });
    set
}
