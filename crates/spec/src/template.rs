//! The `config.json` that `locule spec` writes: a shell in a read-only root, few capabilities.
//!
//! Decides the defaults of a configuration that a person starts from. The module has its own types:
//! the oci-spec crate keeps capabilities in a set without order, so two calls would write two
//! different files. The tests check the result with the types of that crate.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::VERSION;

/// Who will run the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Root of the host.
    Root,
    /// A user without privileges, mapped to root of a new user namespace (`--rootless`).
    Rootless {
        /// The user's effective user id.
        uid: u32,
        /// The user's effective group id.
        gid: u32,
    },
}

/// Which control groups the host mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 1 or hybrid.
    V1,
    /// Version 2: the template has a cgroup namespace.
    V2,
}

/// What the template depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Who will run the container.
    pub caller: Caller,
    /// Which control groups the host mounts.
    pub cgroups: Cgroups,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: &'static [&'static str],
    effective: &'static [&'static str],
    permitted: &'static [&'static str],
}

#[derive(Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[Extent; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[Extent; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
struct Extent {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    r#type: &'static str,
}

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Which templates have a mount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    All,
    Root,
    Rootless,
}

type Row = (
    For,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

/// When, destination, type, source, options.
const MOUNTS: &[Row] = &[
    (For::All, "/proc", "proc", "proc", &[]),
    (
        For::All,
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "strictatime", "mode=755", "size=65536k"],
    ),
    (
        For::Root,
        "/dev/pts",
        "devpts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
    ),
    // The group 5 has no meaning in a user namespace of one id.
    (
        For::Rootless,
        "/dev/pts",
        "devpts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
        ],
    ),
    (
        For::All,
        "/dev/shm",
        "tmpfs",
        "shm",
        &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    ),
    (
        For::All,
        "/dev/mqueue",
        "mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ),
    (
        For::Root,
        "/sys",
        "sysfs",
        "sysfs",
        &["nosuid", "noexec", "nodev", "ro"],
    ),
    // A sysfs belongs to a network namespace, and this container has no new one.
    (
        For::Rootless,
        "/sys",
        "none",
        "/sys",
        &["rbind", "nosuid", "noexec", "nodev", "ro"],
    ),
    (
        For::Root,
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", "ro"],
    ),
];

/// The template as JSON, indented with tabs, without a newline at the end.
pub fn template(options: Options) -> String {
    let config = Config {
        oci_version: VERSION,
        process: Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: ["sh"],
            env: [PATH, "TERM=xterm"],
            cwd: "/",
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit {
                r#type: "RLIMIT_NOFILE",
                hard: 1024,
                soft: 1024,
            }],
            no_new_privileges: true,
        },
        root: Root {
            path: "rootfs",
            readonly: true,
        },
        hostname: "locule",
        mounts: mounts(options),
        linux: linux(options),
    };
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Serializing these types into a Vec cannot fail.
    let written = config.serialize(&mut writer);
    debug_assert!(written.is_ok());
    String::from_utf8(out).unwrap_or_default()
}

fn mounts(options: Options) -> Vec<Mount> {
    let belongs = |place| match place {
        For::All => true,
        For::Root => options.caller == Caller::Root,
        For::Rootless => options.caller != Caller::Root,
    };
    MOUNTS
        .iter()
        .filter(|row| belongs(row.0))
        .map(|&(_, destination, r#type, source, options)| Mount {
            destination,
            r#type,
            source,
            options,
        })
        .collect()
}

fn linux(options: Options) -> Linux {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    if options.cgroups == Cgroups::V2 {
        namespaces.push("cgroup");
    }
    let only = |host| {
        Some([Extent {
            container: 0,
            host,
            size: 1,
        }])
    };
    let (uid_mappings, gid_mappings, resources) = match options.caller {
        Caller::Root => {
            namespaces.push("network");
            let devices = [DeviceRule {
                allow: false,
                access: "rwm",
            }];
            (None, None, Some(Resources { devices }))
        }
        Caller::Rootless { uid, gid } => {
            namespaces.push("user");
            (only(uid), only(gid), None)
        }
    };
    Linux {
        uid_mappings,
        gid_mappings,
        resources,
        namespaces: namespaces
            .into_iter()
            .map(|r#type| Namespace { r#type })
            .collect(),
        masked_paths: MASKED,
        readonly_paths: READONLY,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oci_spec::runtime::Spec as OciSpec;

    use super::*;
    use crate::container::{IdMapping, Namespace, NamespaceKind};
    use crate::load::{Host, parse};

    const ROOTLESS: Caller = Caller::Rootless {
        uid: 1000,
        gid: 1001,
    };

    fn options(caller: Caller, cgroups: Cgroups) -> Options {
        Options { caller, cgroups }
    }

    #[test]
    fn every_template_is_accepted_without_a_warning_here_and_by_the_specification() {
        for caller in [Caller::Root, ROOTLESS] {
            for cgroups in [Cgroups::V1, Cgroups::V2] {
                let text = template(options(caller, cgroups));
                let loaded = parse(text.as_bytes(), Path::new("/b"), Host::Ignore).unwrap();
                assert_eq!(loaded.warnings, []);
                let container = loaded.container;
                assert_eq!(container.hostname.as_deref(), Some("locule"));
                assert!(container.root.readonly);
                assert_eq!(
                    container.namespaces[NamespaceKind::Cgroup].is_own(),
                    cgroups == Cgroups::V2
                );
                let oracle: OciSpec = serde_json::from_str(&text).unwrap();
                assert_eq!(oracle.version(), VERSION);
                assert!(
                    text.contains("\n\t\"process\": {\n\t\t\"terminal\": true"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_rootless_template_maps_root_to_the_caller() {
        let text = template(options(ROOTLESS, Cgroups::V2));
        let container = parse(text.as_bytes(), Path::new("/b"), Host::Ignore)
            .unwrap()
            .container;
        assert_eq!(
            container.uid_mappings,
            [IdMapping {
                container: 0,
                host: 1000,
                size: 1
            }]
        );
        assert_eq!(
            container.gid_mappings,
            [IdMapping {
                container: 0,
                host: 1001,
                size: 1
            }]
        );
        assert_eq!(container.namespaces[NamespaceKind::User], Namespace::New);
        assert_eq!(
            container.namespaces[NamespaceKind::Network],
            Namespace::Inherit
        );
        assert!(
            !text.contains("gid=5") && !text.contains("\"cgroup\","),
            "{text}"
        );
        assert!(container.resources.devices.is_empty());
    }

    #[test]
    fn cgroups_are_shown_to_root_on_every_host() {
        for cgroups in [Cgroups::V1, Cgroups::V2] {
            let text = template(options(Caller::Root, cgroups));
            let container = parse(text.as_bytes(), Path::new("/b"), Host::Ignore)
                .unwrap()
                .container;
            let shown = container.mounts.last().unwrap();
            assert_eq!(shown.kind.as_deref(), Some("cgroup"));
            assert!(shown.options.iter().any(|option| option == "ro"));
            assert!(text.contains("TERM=xterm"), "{text}");
        }
    }
}
