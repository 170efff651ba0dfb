//! What this host and this caller are, as far as a container's plan depends on it.
//!
//! The one place where a creation collects facts before it decides. Each room defines its facts.
//! They are collected here, and only if the container needs them, since each costs time. Lowering
//! is a pure function of the configuration and these facts, which can be written down and read
//! back.

use crate::{Error, Request, exec};
use caller::Caller;
use cgroup::Found;
use landlock::Abi;
use namespace::Kind;
use serde::{Deserialize, Serialize};
use spec::Container;
use spec::container::Namespace;
use std::path::Path;

/// The facts. `None` means that the fact was not collected, since nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What the calling process is.
    pub caller: Caller,
    /// The joined user namespace, and the programs that write id maps.
    #[serde(default)]
    pub namespace: namespace::Facts,
    /// Control groups and systemd.
    pub cgroup: cgroup::Facts,
    /// Whether there is a /proc/kcore.
    pub kcore: bool,
    /// The security modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<lsm::Facts>,
    /// What the kernel knows of seccomp(2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<seccomp::Facts>,
    /// The version of Landlock's interface; 0: the kernel has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<u32>,
    /// Caches and memory bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<resctrl::Facts>,
}

impl Facts {
    /// Collects all facts that do not depend on a container. Changes nothing.
    pub fn probe() -> Result<Self, Error> {
        Self::collect(None, cgroup::Facts::probe_all()?)
    }

    /// Collects the facts that the plan of `request` depends on. Changes nothing. Returns what it
    /// has opened, too.
    pub fn probe_for(request: &Request<'_>) -> Result<(Self, Found), Error> {
        let (cgroup, found) = cgroup::Facts::probe(&request.cgroup())?;
        Ok((Self::collect(Some(request.container), cgroup)?, found))
    }

    /// Collects the facts that a process entering the container of `request` depends on. Changes
    /// nothing.
    pub fn probe_entering(request: &exec::Request<'_>) -> Result<Self, Error> {
        let cgroup = cgroup::Facts::probe_joining(&request.groups)?;
        Self::collect(Some(request.container), cgroup)
    }

    fn collect(container: Option<&Container>, cgroup: cgroup::Facts) -> Result<Self, Error> {
        let caller = Caller::probe().map_err(|errno| Error::Probe {
            what: "the own capabilities",
            errno,
        })?;
        let process = container.and_then(|container| container.process.as_ref());
        let contexts = [
            process.and_then(|process| process.selinux_label.as_deref()),
            container.and_then(|container| container.mount_label.as_deref()),
        ];
        let needs_security = container.is_none_or(|container| {
            process.is_some_and(|process| process.apparmor_profile.is_some())
                || contexts.iter().any(Option::is_some)
                // They decide who brings up its loopback link.
                || container.namespaces[Kind::Network] == Namespace::New
        });
        let contexts = contexts.into_iter().flatten();
        let needs_seccomp = container.is_none_or(|container| container.seccomp.is_some());
        let needs_resctrl = container.is_none_or(|container| container.intel_rdt.is_some());
        let needs_landlock = container.is_none_or(|container| container.landlock.is_some());
        Ok(Self {
            namespace: namespace::Facts::probe(container, &caller),
            cgroup,
            kcore: has_kcore(),
            security: needs_security.then(|| lsm::Facts::probe(contexts)),
            seccomp: needs_seccomp.then(seccomp::Facts::probe),
            landlock: needs_landlock.then(|| Abi::probe().0),
            resctrl: needs_resctrl.then(resctrl::Facts::probe),
            caller,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc, never a container's"
)]
fn has_kcore() -> bool {
    Path::new("/proc/kcore").exists()
}
