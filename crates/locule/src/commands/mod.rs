//! One file for each command: `pub fn run(args, env) -> Result<ExitCode, Error>`.

pub(crate) mod checkpoint;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod hooks;
mod image;
pub(crate) mod kill;
pub(crate) mod list;
mod matching;
pub(crate) mod mounts;
pub(crate) mod pause;
mod pid_file;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod seccomp;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod template;
mod told;
pub(crate) mod update;

use crate::args::{self, CgroupManager, Globals, Rootless};
use crate::descriptors::Preserved;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::face::Face;
use crate::state::{Access, ContainerId, Entry, Lock, Record, Store, is_host_root};
use crate::status::{Action, Observed, observe, permit};
use kernel::signal::{SignalFd, catchable};
use spec::load::Host;
use spec::{Container, Diagnostic, Report};
use std::path::PathBuf;

/// `init`, an internal command that refuses to run.
pub(crate) fn init(_: &args::Init, _: &Env) -> Result<ExitCode, Error> {
    Err(Error::InitByHand)
}

/// The global options, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    /// Whose place the program takes.
    pub(crate) face: &'static Face,
    /// `--root`, as typed.
    pub(crate) root: Option<PathBuf>,
    /// Who makes cgroups. For an existing container its record decides.
    pub(crate) cgroup_manager: cgroup::Manager,
    /// Whether this process lacks the rights of the host's root.
    pub(crate) rootless: bool,
    /// `--rootless`, as typed: for a plan of another host.
    pub(crate) rootless_option: Rootless,
    /// The descriptors of the caller that a container gets.
    pub(crate) preserved: Preserved,
}

impl Env {
    /// Resolves what the global options leave open.
    pub(crate) fn new(globals: &Globals, face: &'static Face) -> Self {
        let cgroup_manager = match (globals.cgroup_manager, globals.systemd_cgroup) {
            (Some(CgroupManager::Cgroupfs), _) | (None, false) => cgroup::Manager::Cgroupfs,
            (Some(CgroupManager::Systemd), _) | (None, true) => cgroup::Manager::Systemd,
            (Some(CgroupManager::Disabled), _) => cgroup::Manager::Disabled,
        };
        let rootless = match globals.rootless {
            Rootless::True => true,
            Rootless::False => false,
            Rootless::Auto => !is_host_root(),
        };
        Self {
            face,
            root: globals.root.clone(),
            cgroup_manager,
            rootless,
            rootless_option: globals.rootless,
            preserved: Preserved::default(),
        }
    }

    /// The state directory.
    pub(crate) fn store(&self, access: Access) -> Result<Store, Error> {
        Ok(Store::open(self.root.as_deref(), self.face, access)?)
    }

    /// Looks the container `id` up. `lock` is what the command needs to work on it.
    pub(crate) fn look_up(&self, id: &str, lock: Lock) -> Result<(Entry, Record, Observed), Error> {
        let id = ContainerId::new(id)?;
        let entry = self.store(Access::Look)?.container(&id, lock)?;
        let mut record = entry.record()?;
        let observed = observe(&entry, &mut record)?;
        Ok((entry, record, observed))
    }

    /// The same for a command that does `action`, if the status of the container permits it.
    pub(crate) fn find(
        &self,
        id: &str,
        lock: Lock,
        action: Action,
    ) -> Result<(Entry, Record, Observed), Error> {
        let (entry, record, observed) = self.look_up(id, lock)?;
        permit(action, observed.status, entry.id())?;
        Ok((entry, record, observed))
    }

    /// Adds the annotations that the face has by default.
    pub(crate) fn annotate(&self, container: &mut Container) {
        for (name, value) in self.face.annotations {
            let entry = container.annotations.entry((*name).to_owned());
            entry.or_insert_with(|| (*value).to_owned());
        }
    }

    /// Where the state directory is, or would be.
    pub(crate) fn store_path(&self) -> PathBuf {
        Store::place(self.root.as_deref(), self.face).0
    }
}

/// The container's own cgroup, for `action`.
///
/// # Errors
/// [`Error::NoGroup`]: it was made without one. The cgroup of its creator also has other processes,
/// so it is not used.
pub(crate) fn own_group<'r>(
    record: &'r Record,
    id: &ContainerId,
    action: &'static str,
) -> Result<&'r cgroup::Location, Error> {
    record.groups().ok_or_else(|| Error::NoGroup {
        id: id.clone(),
        action,
    })
}

/// Logs the warnings about a document.
fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        tracing::warn!(code = warning.code.as_str(), "{warning}");
    }
}

/// What an attached command passes on to the container, or notices. To be called before the process
/// exists whose end the signals report.
fn signals_to_pass(is_detached: bool) -> Result<Option<SignalFd>, Error> {
    if is_detached {
        return Ok(None);
    }
    let signals = SignalFd::block(&catchable().collect::<Vec<_>>());
    signals.map(Some).map_err(Error::Harden)
}

/// The configuration that was saved when the container was made.
pub(crate) fn kept_container(config: &[u8], record: &Record) -> Result<Box<Container>, Error> {
    let loaded = spec::load::parse(config, &record.bundle, Host::Ignore);
    let container = loaded.map(|loaded| loaded.container);
    container.map_err(damaged_config)
}

/// The saved configuration is not the one that was saved.
fn damaged_config(report: Report) -> Error {
    Error::KeptConfig {
        report: report.to_string(),
    }
}

#[cfg(test)]
mod tests;
