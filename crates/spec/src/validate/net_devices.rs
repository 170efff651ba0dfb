//! `linux.netDevices`: names of network devices. Source: config-linux.md#network-devices.

use std::collections::BTreeSet;

use crate::container::{Namespace, NamespaceKind, Namespaces, NetDevice};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::{given, namespaces};

/// The most bytes of a name: IFNAMSIZ of linux/if.h without the NUL.
const LENGTH: usize = 15;

/// Reads `linux.netDevices`, which need a network namespace that is not the runtime's.
pub(super) fn read(o: &Object<'_>, namespaces: &Namespaces) -> Vec<NetDevice> {
    let Some(value) = o.get("netDevices") else {
        return Vec::new();
    };
    let mut names = BTreeSet::new();
    let devices = value.map(|host, value| {
        let name = name(host, value)?;
        // The kernel makes a name of a template that no other device has.
        if !is_template(&name) && !names.insert(name.clone()) {
            let message = format!("two devices are to have the name {}", quote(&name));
            value.error(Code::Conflict, message);
        }
        Some(NetDevice {
            host: host.to_owned(),
            name,
        })
    });
    if !devices.is_empty() && namespaces[NamespaceKind::Network] == Namespace::Inherit {
        namespaces::needs(&value, "network");
    }
    devices
}

/// The name that the device `host` has in the container.
fn name(host: &str, value: &Value<'_>) -> Option<String> {
    let key = match fault(host).or_else(|| host.contains('%').then_some("it contains `%`")) {
        Some(fault) => {
            value.error(Code::Range, wrong(host, fault));
            None
        }
        None => Some(host.to_owned()),
    };
    if value.is_null() {
        return key;
    }
    value.object(|o| {
        let Some(name) = given(o, "name") else {
            return key;
        };
        let text = name.text()?;
        let without = text.replacen("%d", "", 1);
        let percent = without
            .contains('%')
            .then_some("only one `%d` may be in it, and no other `%`");
        if let Some(fault) = fault(text).or(percent) {
            return name.refuse(Code::Range, wrong(text, fault));
        }
        key.map(|_valid| text.to_owned())
    })?
}

fn wrong(name: &str, fault: &str) -> String {
    format!("{} is not a name of a network device: {fault}", quote(name))
}

/// Why the kernel refuses the name, apart from `%`: dev_valid_name of net/core/dev.c.
fn fault(name: &str) -> Option<&'static str> {
    let forbidden = |byte| matches!(byte, b'/' | b':' | b' ' | b'\0' | 0x09..=0x0d);
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("the kernel reserves it"),
        _ if name.len() > LENGTH => Some("it has more than 15 bytes"),
        _ if name.bytes().any(forbidden) => Some("it contains `/`, `:`, white space or NUL"),
        // The second byte of "à": isspace of lib/ctype.c.
        _ if name.bytes().any(|byte| byte == 0xa0) => {
            Some("it contains the byte 0xA0, which is white space for the kernel")
        }
        _ => None,
    }
}

fn is_template(name: &str) -> bool {
    name.contains('%')
}
