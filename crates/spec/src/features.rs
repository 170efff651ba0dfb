//! What `locule features` prints: the abilities that are compiled in, independent of the host.
//!
//! Decides the shape of the answer and the words that the readers of this crate know. The crates
//! with the tables supply the mount options, capabilities and cgroup drivers. A list is empty where
//! nothing is supported: `null` would mean that the answer is unknown. Source: features.md,
//! features-linux.md.

use oci_spec::runtime as oci;
use serde::de::DeserializeOwned;

use crate::VERSION;
use crate::container::{MemoryFlag, MemoryMode, SeccompArch, SeccompFlag, SeccompOp};
use crate::words;

/// The hook lists that the runtime runs, by their names in `hooks`.
const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Annotations by which an unprivileged user could change what happens on the host. A trailing dot
/// means every annotation with this prefix. For `run.oci.`, the annotations that the runtime
/// knows are listed too.
const UNSAFE: [&str; 17] = [
    "run.oci.",
    "run.oci.delegate-cgroup",
    "run.oci.handler",
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.plugins",
    "run.oci.seccomp.receiver",
    "run.oci.seccomp_bpf_data",
    "run.oci.seccomp_fail_unknown_syscall",
    "run.oci.systemd.force_cgroup_v1",
    "run.oci.systemd.subgroup",
    "org.criu.",
    "org.systemd.property.",
    "dev.locule.",
];

/// What the other crates of this build can do.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// Every mount option that the runtime itself interprets; all others go to the file system.
    pub mount_options: &'a [&'a str],
    /// Every capability, by its full name.
    pub capabilities: &'a [&'a str],
    /// The cgroup drivers.
    pub cgroups: Cgroups,
    /// Seccomp support; `None` when it is not compiled in.
    pub seccomp: Option<Filters<'a>>,
    /// Whether AppArmor profiles are applied.
    pub apparmor: bool,
    /// Whether SELinux labels are applied.
    pub selinux: bool,
    /// Whether `uidMappings` of mounts are supported.
    pub idmapped_mounts: bool,
    /// `annotations`, such as the version of this build.
    pub annotations: &'a [(&'a str, &'a str)],
}

/// Which cgroup drivers are compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroups {
    /// Version 1 hierarchies.
    pub v1: bool,
    /// The unified hierarchy.
    pub v2: bool,
    /// Scopes of the system's systemd.
    pub systemd: bool,
    /// Scopes of a user's systemd.
    pub systemd_user: bool,
    /// The rdma controller.
    pub rdma: bool,
}

/// What the seccomp compiler supports. It supports all actions and operators, so they have no
/// field.
#[derive(Debug, Clone, Copy)]
pub struct Filters<'a> {
    /// Architectures with a table of system calls.
    pub architectures: &'a [SeccompArch],
    /// Flags that are passed to the kernel.
    pub flags: &'a [SeccompFlag],
}

/// The answer as JSON on several lines, without a newline at the end.
pub fn features(build: &Build<'_>) -> String {
    let mut answer = oci::Features::default();
    answer.set_oci_version_min("1.0.0".to_owned());
    answer.set_oci_version_max(VERSION.to_owned());
    answer.set_hooks(Some(owned(&HOOKS)));
    let mut options = owned(build.mount_options);
    options.sort_unstable();
    answer.set_mount_options(Some(options));
    answer.set_linux(Some(linux(build)));
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    answer.set_annotations(Some(build.annotations.iter().map(pair).collect()));
    answer.set_potentially_unsafe_config_annotations(Some(owned(&UNSAFE)));
    // Serializing strings and booleans cannot fail.
    serde_json::to_string_pretty(&answer).unwrap_or_default()
}

fn linux(build: &Build<'_>) -> oci::LinuxFeature {
    let mut out = oci::LinuxFeature::default();
    out.set_namespaces(Some(every()));
    out.set_capabilities(Some(owned(build.capabilities)));
    out.set_cgroup(Some(cgroup(build.cgroups)));
    out.set_seccomp(Some(seccomp(build.seccomp)));
    let mut apparmor = oci::Apparmor::default();
    apparmor.set_enabled(Some(build.apparmor));
    out.set_apparmor(Some(apparmor));
    let mut selinux = oci::Selinux::default();
    selinux.set_enabled(Some(build.selinux));
    out.set_selinux(Some(selinux));
    let mut intel_rdt = oci::IntelRdt::default();
    intel_rdt
        .set_enabled(Some(true))
        .set_schemata(Some(true))
        .set_monitoring(Some(true));
    out.set_intel_rdt(Some(intel_rdt));
    let mut memory_policy = oci::MemoryPolicy::default();
    memory_policy
        .set_modes(Some(owned(words::all::<MemoryMode>())))
        .set_flags(Some(owned(words::all::<MemoryFlag>())));
    out.set_memory_policy(Some(memory_policy));
    let mut idmap = oci::IDMap::default();
    idmap.set_enabled(Some(build.idmapped_mounts));
    let mut extensions = oci::MountExtensions::default();
    extensions.set_idmap(Some(idmap));
    out.set_mount_extensions(Some(extensions));
    let mut net_devices = oci::NetDevices::default();
    net_devices.set_enabled(Some(true));
    out.set_net_devices(Some(net_devices));
    out
}

fn cgroup(cgroups: Cgroups) -> oci::Cgroup {
    let mut out = oci::Cgroup::default();
    out.set_v1(Some(cgroups.v1))
        .set_v2(Some(cgroups.v2))
        .set_systemd(Some(cgroups.systemd))
        .set_systemd_user(Some(cgroups.systemd_user))
        .set_rdma(Some(cgroups.rdma));
    out
}

fn seccomp(filters: Option<Filters<'_>>) -> oci::Seccomp {
    let mut out = oci::Seccomp::default();
    out.set_enabled(Some(filters.is_some()));
    let Some(filters) = filters else {
        return out;
    };
    let supported = filters.flags.iter().map(|flag| words::of(*flag).to_owned());
    out.set_actions(Some(every()))
        .set_operators(Some(owned(words::all::<SeccompOp>())))
        .set_archs(Some(filters.architectures.to_vec()))
        .set_known_flags(Some(owned(words::all::<SeccompFlag>())))
        .set_supported_flags(Some(supported.collect()));
    out
}

/// Every value of a type.
fn every<T: DeserializeOwned>() -> Vec<T> {
    let words = words::all::<T>().iter();
    words.filter_map(|word| words::parse(word).ok()).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn build() -> Build<'static> {
        Build {
            mount_options: &["rw", "bind", "ro"],
            capabilities: &["CAP_CHOWN"],
            cgroups: Cgroups {
                v1: true,
                v2: true,
                systemd: false,
                systemd_user: false,
                rdma: true,
            },
            seccomp: None,
            apparmor: false,
            selinux: false,
            idmapped_mounts: true,
            annotations: &[("dev.locule.version", "0.1.0")],
        }
    }

    fn answer(build: &Build<'_>) -> Value {
        serde_json::from_str(&features(build)).unwrap()
    }

    #[test]
    fn what_is_compiled_in_is_told() {
        let answer = answer(&build());
        assert_eq!(answer["ociVersionMin"], "1.0.0");
        assert_eq!(answer["ociVersionMax"], VERSION);
        assert_eq!(answer["mountOptions"], json!(["bind", "ro", "rw"]));
        assert_eq!(answer["hooks"].as_array().map(Vec::len), Some(6));
        assert_eq!(
            answer["linux"]["namespaces"].as_array().map(Vec::len),
            Some(8)
        );
        assert_eq!(answer["linux"]["cgroup"]["systemdUser"], false);
        assert_eq!(answer["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(answer["linux"]["netDevices"]["enabled"], true);
        let rdt = json!({"enabled": true, "schemata": true, "monitoring": true});
        assert_eq!(answer["linux"]["intelRdt"], rdt);
        assert_eq!(answer["annotations"]["dev.locule.version"], "0.1.0");
        assert_eq!(answer["potentiallyUnsafeConfigAnnotations"], json!(UNSAFE));
    }

    #[test]
    fn what_is_not_supported_is_said_to_be_off() {
        let linux = &answer(&build())["linux"];
        for section in ["seccomp", "apparmor", "selinux"] {
            assert_eq!(linux[section]["enabled"], false, "{section}");
        }
    }

    #[test]
    fn every_memory_policy_is_told() {
        let policy = &answer(&build())["linux"]["memoryPolicy"];
        assert_eq!(policy["modes"].as_array().map(Vec::len), Some(7));
        assert_eq!(policy["modes"][3], "MPOL_WEIGHTED_INTERLEAVE");
        assert_eq!(policy["flags"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn security_modules_are_told_apart() {
        let with = |apparmor, selinux| {
            let linux = &answer(&Build {
                apparmor,
                selinux,
                ..build()
            })["linux"];
            ["apparmor", "selinux"].map(|section| linux[section]["enabled"] == true)
        };
        assert_eq!(with(true, false), [true, false]);
        assert_eq!(with(false, true), [false, true]);
    }

    #[test]
    fn seccomp_tells_its_words_and_what_is_supported_of_them() {
        let filters = Filters {
            architectures: &[SeccompArch::ScmpArchX86],
            flags: &[SeccompFlag::SeccompFilterFlagLog],
        };
        let answer = answer(&Build {
            seccomp: Some(filters),
            ..build()
        });
        let seccomp = &answer["linux"]["seccomp"];
        assert_eq!(seccomp["enabled"], true);
        assert_eq!(seccomp["archs"], json!(["SCMP_ARCH_X86"]));
        assert_eq!(seccomp["actions"][0], "SCMP_ACT_KILL");
        assert_eq!(seccomp["actions"].as_array().map(Vec::len), Some(9));
        assert_eq!(seccomp["operators"][6], "SCMP_CMP_MASKED_EQ");
        assert_eq!(seccomp["knownFlags"].as_array().map(Vec::len), Some(4));
        assert_eq!(
            seccomp["supportedFlags"],
            json!(["SECCOMP_FILTER_FLAG_LOG"])
        );
    }
}
