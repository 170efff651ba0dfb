//! The `config.json` that `locule spec` writes: a shell in a read-only root, few capabilities.
//!
//! Decides the defaults of a configuration that a person starts from. The text is written here as
//! JSON: the oci-spec crate keeps capabilities in a set without order, so two calls would write two
//! different files. The tests check the result with the types of that crate.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::{VERSION, node};

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

/// The template before it is indented. A word after `$` stands for what the options decide.
const CONFIG: &str = r#"{
  "ociVersion": "$VERSION",
  "process": {
    "terminal": true,
    "user": {"uid": 0, "gid": 0},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    "cwd": "/",
    "capabilities": {
      "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    },
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "locule",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
     "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"$GROUP]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
     "options": ["nosuid", "noexec", "nodev"]},
    $SYS
  ],
  "linux": {
    $LIMITS,
    "namespaces": [
      {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, $NAMESPACES
    ],
    "maskedPaths": [
      "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
      "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
      "/sys/devices/virtual/powercap"
    ],
    "readonlyPaths": [
      "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
    ]
  }
}"#;

const ROOT_SYS: &str = r#"
    {"destination": "/sys", "type": "sysfs", "source": "sysfs",
     "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}"#;

/// A sysfs belongs to a network namespace, and this container has no new one.
const ROOTLESS_SYS: &str = r#"
    {"destination": "/sys", "type": "none", "source": "/sys",
     "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}"#;

/// The template as JSON, indented with tabs, without a newline at the end.
pub fn template(options: Options) -> String {
    let cgroup = match options.cgroups {
        Cgroups::V1 => "",
        Cgroups::V2 => r#"{"type": "cgroup"}, "#,
    };
    // The group 5 has no meaning in a user namespace of one id.
    let (group, sys, limits, own) = match options.caller {
        Caller::Root => {
            let limits = r#""resources": {"devices": [{"allow": false, "access": "rwm"}]}"#;
            (r#", "gid=5""#, ROOT_SYS, limits.to_owned(), "network")
        }
        Caller::Rootless { uid, gid } => {
            let map = |id| format!(r#"[{{"containerID": 0, "hostID": {id}, "size": 1}}]"#);
            let (uids, gids) = (map(uid), map(gid));
            let maps = format!(r#""uidMappings": {uids}, "gidMappings": {gids}"#);
            ("", ROOTLESS_SYS, maps, "user")
        }
    };
    let namespaces = format!(r#"{cgroup}{{"type": "{own}"}}"#);
    let text = CONFIG
        .replace("$VERSION", VERSION)
        .replace("$GROUP", group)
        .replace("$SYS", sys)
        .replace("$LIMITS", &limits)
        .replace("$NAMESPACES", &namespaces);
    indented(&text)
}

/// The same JSON on lines of their own, indented with tabs. The tests read every template, so
/// neither step fails.
fn indented(text: &str) -> String {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let written = node::parse(text.as_bytes()).map(|tree| tree.serialize(&mut writer));
    debug_assert!(matches!(written, Ok(Ok(()))));
    String::from_utf8(out).unwrap_or_default()
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
