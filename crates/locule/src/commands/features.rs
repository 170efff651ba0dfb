//! `features`: what this build can do, as JSON.
//!
//! Collects the tables of the rooms. Reads nothing from the host and needs no state directory:
//! engines run it when they start, and wait for the answer.

use super::Env;
use crate::args;
use crate::error::{Error, print};
use crate::exit::ExitCode;
use caps::Capability;
use seccomp::syscalls::Arch;
use spec::container::{SeccompArch, SeccompFlag};
use spec::features::Build;

/// Prints the features.
pub(crate) fn run(_: &args::Features, _: &Env) -> Result<ExitCode, Error> {
    print(&(features() + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn features() -> String {
    let mount_options: Vec<_> = rootfs::option_names().collect();
    let capabilities = capabilities();
    let capabilities: Vec<_> = capabilities.iter().map(String::as_str).collect();
    let architectures: Vec<SeccompArch> = Arch::ALL.iter().map(|arch| arch.0).collect();
    let landlock_abi = spec::landlock::NEWEST_ABI.to_string();
    spec::features::features(&Build {
        mount_options: &mount_options,
        capabilities: &capabilities,
        architectures: &architectures,
        seccomp_flags: &[
            SeccompFlag::SeccompFilterFlagTsync,
            SeccompFlag::SeccompFilterFlagLog,
            SeccompFlag::SeccompFilterFlagSpecAllow,
            SeccompFlag::SeccompFilterFlagWaitKillableRecv,
        ],
        annotations: &[
            ("dev.locule.version", env!("CARGO_PKG_VERSION")),
            ("dev.locule.landlock.abi", &landlock_abi),
        ],
    })
}

/// Full names in the order of their numbers.
fn capabilities() -> Vec<String> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_by_key(Capability::index);
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn has(list: &Value, word: &str) -> bool {
        list.as_array()
            .is_some_and(|list| list.iter().any(|value| value == word))
    }

    #[test]
    fn engines_find_what_they_ask_for() {
        let features: Value = serde_json::from_str(&features()).unwrap();
        assert!(has(&features["mountOptions"], "rro"));
        assert!(has(&features["mountOptions"], "rbind"));
        assert!(has(&features["linux"]["namespaces"], "user"));
        assert!(has(&features["linux"]["capabilities"], "CAP_BPF"));
        assert!(has(
            &features["linux"]["seccomp"]["archs"],
            "SCMP_ARCH_X86_64"
        ));
        assert_eq!(
            features["linux"]["mountExtensions"]["idmap"]["enabled"],
            true
        );
        assert_eq!(features["linux"]["cgroup"]["v2"], true);
        assert_eq!(features["linux"]["cgroup"]["systemd"], true);
        assert_eq!(features["linux"]["cgroup"]["systemdUser"], true);
        assert_eq!(features["linux"]["apparmor"]["enabled"], true);
        assert_eq!(features["linux"]["selinux"]["enabled"], true);
        assert_eq!(features["linux"]["capabilities"][0], "CAP_CHOWN");
        assert_eq!(features["annotations"]["dev.locule.landlock.abi"], "10");
    }
}
