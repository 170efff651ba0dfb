//! `linux`: the section as a whole. Source: config-linux.md.

use crate::container::{
    Device, IdMapping, IntelRdt, MemoryPolicy, Namespace, NamespaceKind, Namespaces, NetDevice,
    Personality, Propagation, Resources, Seccomp, TimeOffsets,
};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::{
    attributes, devices, ids, intel_rdt, namespaces, net_devices, resources, seccomp, sysctl,
};
use crate::words::PROPAGATIONS;
use std::path::{Path, PathBuf};

/// The content of `linux`, before it is combined with the other sections.
#[derive(Debug, Default)]
pub(crate) struct Linux {
    pub(crate) namespaces: Namespaces,
    pub(crate) uid_mappings: Vec<IdMapping>,
    pub(crate) gid_mappings: Vec<IdMapping>,
    pub(crate) time_offsets: TimeOffsets,
    pub(crate) devices: Vec<Device>,
    pub(crate) net_devices: Vec<NetDevice>,
    pub(crate) cgroups_path: Option<String>,
    pub(crate) resources: Resources,
    pub(crate) rootfs_propagation: Option<Propagation>,
    pub(crate) masked_paths: Vec<PathBuf>,
    pub(crate) readonly_paths: Vec<PathBuf>,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) seccomp: Option<Seccomp>,
    pub(crate) mount_label: Option<String>,
    pub(crate) personality: Option<Personality>,
    pub(crate) memory_policy: Option<MemoryPolicy>,
    pub(crate) intel_rdt: Option<IntelRdt>,
}

/// Reads `linux`. A seccomp filter without `listenerPath` has this `receiver`.
pub(crate) fn read(value: &Value<'_>, receiver: Option<&Path>) -> Linux {
    value.object(|o| section(o, receiver)).unwrap_or_default()
}

fn section(o: &Object<'_>, receiver: Option<&Path>) -> Linux {
    let namespaces = namespaces::read(o);
    let uid_mappings = ids::map(o, "uidMappings");
    let gid_mappings = ids::map(o, "gidMappings");
    check_maps(o, &namespaces);
    Linux {
        uid_mappings,
        gid_mappings,
        time_offsets: namespaces::time_offsets(o, &namespaces),
        devices: devices::nodes(o),
        net_devices: net_devices::read(o, &namespaces),
        cgroups_path: o.get("cgroupsPath").and_then(|v| cgroups_path(&v)),
        resources: o
            .get("resources")
            .map(|v| resources::read(&v))
            .unwrap_or_default(),
        rootfs_propagation: rootfs_propagation(o),
        masked_paths: namespaces::sealed_paths(o, "maskedPaths", &namespaces),
        readonly_paths: namespaces::sealed_paths(o, "readonlyPaths", &namespaces),
        sysctl: sysctl::read(o, &namespaces),
        seccomp: o.get("seccomp").and_then(|v| seccomp::read(&v, receiver)),
        mount_label: o.label("mountLabel"),
        personality: o.get("personality").and_then(|v| personality(&v)),
        memory_policy: o
            .get("memoryPolicy")
            .and_then(|v| attributes::memory_policy(&v)),
        intel_rdt: o.get("intelRdt").and_then(|v| intel_rdt::read(&v)),
        namespaces,
    }
}

/// A new user namespace needs both maps; a joined one may come with its maps (Kubernetes sends
/// them); without a user namespace there is nothing to map.
fn check_maps(o: &Object<'_>, namespaces: &Namespaces) {
    let given = [
        ("uidMappings", !o.absent("uidMappings")),
        ("gidMappings", !o.absent("gidMappings")),
    ];
    let any = given.iter().any(|(_, given)| *given);
    for (key, given) in given {
        match &namespaces[NamespaceKind::User] {
            Namespace::Inherit if given => {
                if let Some(value) = o.get(key) {
                    namespaces::needs(&value, "user");
                }
            }
            Namespace::New if !given => {
                let message = format!("a new user namespace needs `{key}`");
                o.value.error(Code::Missing, message);
            }
            Namespace::Join(_) if any && !given => {
                let message =
                    "`uidMappings` and `gidMappings` need each other: give both or neither";
                o.value.error(Code::Conflict, message);
            }
            Namespace::Inherit | Namespace::New | Namespace::Join(_) => {}
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

fn rootfs_propagation(o: &Object<'_>) -> Option<Propagation> {
    if o.absent("rootfsPropagation") {
        o.ignore(&["rootfsPropagation"]);
        return None;
    }
    o.get("rootfsPropagation")?.word_in(&PROPAGATIONS)
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
