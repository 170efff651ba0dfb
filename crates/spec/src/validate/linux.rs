//! `linux`: the section as a whole. Source: config-linux.md.

use crate::container::{Container, Namespace, NamespaceKind, Namespaces, Personality};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::{
    attributes, devices, given, ids, intel_rdt, namespaces, net_devices, resources, seccomp, sysctl,
};
use crate::words::PROPAGATIONS;
use std::path::Path;

/// Reads `linux` into `out`. A seccomp filter without `listenerPath` has this `receiver`.
pub(crate) fn read(value: &Value<'_>, receiver: Option<&Path>, out: &mut Container) {
    let _not_an_object = value.object(|o| section(o, receiver, out));
}

fn section(o: &Object<'_>, receiver: Option<&Path>, out: &mut Container) {
    out.namespaces = namespaces::read(o);
    let namespaces = &out.namespaces;
    out.uid_mappings = ids::map(o, "uidMappings");
    out.gid_mappings = ids::map(o, "gidMappings");
    check_maps(o, namespaces);
    out.time_offsets = namespaces::time_offsets(o, namespaces);
    out.devices = devices::nodes(o);
    out.net_devices = net_devices::read(o, namespaces);
    out.cgroups_path = o.get("cgroupsPath").and_then(|v| cgroups_path(&v));
    let resources = o.get("resources").map(|v| resources::read(&v));
    out.resources = resources.unwrap_or_default();
    let propagation = given(o, "rootfsPropagation");
    out.rootfs_propagation = propagation.and_then(|v| v.word_in(&PROPAGATIONS));
    out.masked_paths = namespaces::sealed_paths(o, "maskedPaths", namespaces);
    out.readonly_paths = namespaces::sealed_paths(o, "readonlyPaths", namespaces);
    out.sysctl = sysctl::read(o, namespaces);
    out.seccomp = o.get("seccomp").and_then(|v| seccomp::read(&v, receiver));
    out.mount_label = o.label("mountLabel");
    out.personality = o.get("personality").and_then(|v| personality(&v));
    let policy = o.get("memoryPolicy");
    out.memory_policy = policy.and_then(|v| attributes::memory_policy(&v));
    out.intel_rdt = o.get("intelRdt").and_then(|v| intel_rdt::read(&v));
}

/// A new user namespace needs both maps; a joined one may come with its maps (Kubernetes sends
/// them); without a user namespace there is nothing to map.
fn check_maps(o: &Object<'_>, namespaces: &Namespaces) {
    let given = ["uidMappings", "gidMappings"].map(|key| (key, given(o, key)));
    let any = given.iter().any(|(_, value)| value.is_some());
    for (key, value) in given {
        match (&namespaces[NamespaceKind::User], value) {
            (Namespace::Inherit, Some(value)) => namespaces::needs(&value, "user"),
            (Namespace::New, None) => {
                let message = format!("a new user namespace needs `{key}`");
                o.value.error(Code::Missing, message);
            }
            (Namespace::Join(_), None) if any => {
                let message =
                    "`uidMappings` and `gidMappings` need each other: give both or neither";
                o.value.error(Code::Conflict, message);
            }
            (Namespace::Inherit | Namespace::New | Namespace::Join(_), _) => {}
        }
    }
}

fn cgroups_path(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.split(['/', ':']).any(|part| part == "..") {
        let message = format!("{} leads upwards with `..`", quote(text));
        return value.refuse(Code::Path, message);
    }
    if text.contains('\n') {
        return value.refuse(Code::Range, format!("{} contains a newline", quote(text)));
    }
    (!text.is_empty()).then(|| text.to_owned())
}

fn personality(value: &Value<'_>) -> Option<Personality> {
    value.object(|o| {
        let domain = o.required("domain").and_then(|v| v.word());
        if let Some(flags) = o.get("flags").filter(|flags| !flags.is_empty_list()) {
            let message = "the specification defines no flags for a personality";
            flags.error_hint(Code::UnknownValue, message, "leave `flags` out");
        }
        domain
    })?
}
