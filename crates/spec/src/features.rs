//! What `locule features` prints: the abilities that are compiled in, independent of the host.
//!
//! Decides the shape of the answer and the words that the readers of this crate know. The crates
//! with the tables supply the mount options, capabilities and architectures. Source: features.md,
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
    /// Architectures with a table of system calls.
    pub architectures: &'a [SeccompArch],
    /// The flags of seccomp that are passed to the kernel.
    pub seccomp_flags: &'a [SeccompFlag],
    /// `annotations`, such as the version of this build.
    pub annotations: &'a [(&'a str, &'a str)],
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
    out.set_seccomp(Some(seccomp(build)));
    let mut cgroup = oci::Cgroup::default();
    cgroup
        .set_v1(Some(true))
        .set_v2(Some(true))
        .set_systemd(Some(true))
        .set_systemd_user(Some(true))
        .set_rdma(Some(true));
    out.set_cgroup(Some(cgroup));
    let mut apparmor = oci::Apparmor::default();
    apparmor.set_enabled(Some(true));
    out.set_apparmor(Some(apparmor));
    let mut selinux = oci::Selinux::default();
    selinux.set_enabled(Some(true));
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
    idmap.set_enabled(Some(true));
    let mut extensions = oci::MountExtensions::default();
    extensions.set_idmap(Some(idmap));
    out.set_mount_extensions(Some(extensions));
    let mut net_devices = oci::NetDevices::default();
    net_devices.set_enabled(Some(true));
    out.set_net_devices(Some(net_devices));
    out
}

/// The compiler supports all actions and operators.
fn seccomp(build: &Build<'_>) -> oci::Seccomp {
    let supported = build.seccomp_flags.iter();
    let supported = supported.map(|flag| words::of(*flag).to_owned());
    let mut out = oci::Seccomp::default();
    out.set_enabled(Some(true))
        .set_actions(Some(every()))
        .set_operators(Some(owned(words::all::<SeccompOp>())))
        .set_archs(Some(build.architectures.to_vec()))
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

    const BUILD: Build<'_> = Build {
        mount_options: &["rw", "bind", "ro"],
        capabilities: &["CAP_CHOWN"],
        architectures: &[SeccompArch::ScmpArchX86],
        seccomp_flags: &[SeccompFlag::SeccompFilterFlagLog],
        annotations: &[("dev.locule.version", "0.1.0")],
    };

    fn answer() -> Value {
        serde_json::from_str(&features(&BUILD)).unwrap()
    }

    #[test]
    fn what_is_compiled_in_is_told() {
        let answer = answer();
        assert_eq!(answer["ociVersionMin"], "1.0.0");
        assert_eq!(answer["ociVersionMax"], VERSION);
        assert_eq!(answer["mountOptions"], json!(["bind", "ro", "rw"]));
        assert_eq!(answer["hooks"].as_array().map(Vec::len), Some(6));
        assert_eq!(
            answer["linux"]["namespaces"].as_array().map(Vec::len),
            Some(8)
        );
        assert_eq!(answer["linux"]["cgroup"]["systemdUser"], true);
        assert_eq!(answer["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(answer["linux"]["netDevices"]["enabled"], true);
        let rdt = json!({"enabled": true, "schemata": true, "monitoring": true});
        assert_eq!(answer["linux"]["intelRdt"], rdt);
        assert_eq!(answer["annotations"]["dev.locule.version"], "0.1.0");
        assert_eq!(answer["potentiallyUnsafeConfigAnnotations"], json!(UNSAFE));
    }

    #[test]
    fn every_memory_policy_is_told() {
        let policy = &answer()["linux"]["memoryPolicy"];
        assert_eq!(policy["modes"].as_array().map(Vec::len), Some(7));
        assert_eq!(policy["modes"][3], "MPOL_WEIGHTED_INTERLEAVE");
        assert_eq!(policy["flags"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn seccomp_tells_its_words_and_what_is_supported_of_them() {
        let seccomp = &answer()["linux"]["seccomp"];
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
