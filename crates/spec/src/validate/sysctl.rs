//! `linux.sysctl`: which kernel parameters a container may set, and how their names are written.
//!
//! Only parameters that belong to one of the container's own namespaces are permitted; all others
//! would change the host. A name has dots or slashes as separators. As in sysctl(8) the first
//! separator decides, and the other character is then a dot within a name:
//! `net.ipv4.conf.eth0/1.mtu` is `net/ipv4/conf/eth0.1/mtu`.

use std::collections::BTreeSet;

use crate::container::{NamespaceKind, Namespaces};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};

/// Parameters of the IPC namespace, see ipc_namespaces(7).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads `linux.sysctl`; the keys become dotted.
pub(crate) fn read(o: &Object<'_>, namespaces: &Namespaces) -> Vec<(String, String)> {
    let Some(value) = o.get("sysctl") else {
        return Vec::new();
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    value.map(|key, value| {
        let setting = value.text();
        let Some(name) = dotted(key) else {
            let message = format!("{} is not the name of a kernel parameter", quote(key));
            return value.refuse_hint(
                Code::Range,
                message,
                "expected one such as net.ipv4.ip_forward",
            );
        };
        permit(value, &name, namespaces)?;
        if !seen.insert(name.clone()) {
            value.error(
                Code::Conflict,
                "the parameter appears twice, in two spellings",
            );
        }
        Some((name, setting?.to_owned()))
    })
}

/// The name with dots between its components (and `/` for a dot within one).
fn dotted(key: &str) -> Option<String> {
    let first = key.find(['.', '/'])?;
    let name: String = if key.get(first..=first) == Some("/") {
        key.chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect()
    } else {
        key.to_owned()
    };
    let sound = |part: &str| {
        !part.is_empty()
            && part != "/"
            && part != "//"
            && !part.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    name.split('.').all(sound).then_some(name)
}

fn permit(value: &Value<'_>, name: &str, namespaces: &Namespaces) -> Option<()> {
    if name == "kernel.hostname" {
        let message = "the host name cannot be set as a kernel parameter";
        return value.refuse_hint(Code::Conflict, message, "use the property `hostname`");
    }
    let kind = if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        NamespaceKind::Ipc
    } else if name.starts_with("net.") {
        NamespaceKind::Network
    } else if name == "kernel.domainname" {
        NamespaceKind::Uts
    } else if name.starts_with("user.") {
        NamespaceKind::User
    } else {
        let message = format!(
            "{} belongs to no namespace: setting it would change the host",
            quote(name)
        );
        return value.refuse(Code::Conflict, message);
    };
    if namespaces[kind].is_own() {
        return Some(());
    }
    let kind = kind.name();
    let message = format!(
        "{} needs a {kind} namespace of the container's own",
        quote(name)
    );
    let hint = format!("add {{\"type\": \"{kind}\"}} to `linux.namespaces`");
    value.error_hint(Code::Conflict, message, hint);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        let cases = [
            ("net.ipv4.ip_forward", Some("net.ipv4.ip_forward")),
            ("net/ipv4/ip_forward", Some("net.ipv4.ip_forward")),
            ("net.ipv4.conf.eth0/1.mtu", Some("net.ipv4.conf.eth0/1.mtu")),
            ("net/ipv4/conf/eth0.1/mtu", Some("net.ipv4.conf.eth0/1.mtu")),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel.core_pattern", None),
            ("net./.x", None),
            ("net/./x", None),
            ("net..x", None),
            ("net//x", None),
            (".net.x", None),
            ("/net/x", None),
            ("net.x.", None),
            ("net.x\n", None),
            ("net.x y", None),
            ("net.x\0", None),
            ("hostname", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(dotted(key).as_deref(), expected, "{key:?}");
        }
    }
}
