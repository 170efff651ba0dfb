//! `mounts`: adds mounts to a running container, and removes them.
//!
//! The record has what was added, so that nothing else is removed: not a mount of the
//! configuration, and not one that the container has made.

use super::create::INTERRUPTS;
use super::{Env, kept_container, warn};
use crate::args;
use crate::error::{Error, print};
use crate::exit::ExitCode;
use crate::process::Process;
use crate::state::{Access, ContainerId, Entry, Lock, Record};
use crate::status::{Action, Refusal};
use kernel::signal::SignalFd;
use launch::added;
use launch::exec::Target;
use namespace::{Kind, Running};
use spec::container::{Mount, Namespace, clean};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Adds, removes or lists.
pub(crate) fn run(args: &args::Mounts, env: &Env) -> Result<ExitCode, Error> {
    let wrong = |option, given: &str, expected| Error::Option {
        option,
        given: given.to_owned(),
        expected,
    };
    let change = match args.action() {
        "add" => MountTable::add,
        "remove" => MountTable::remove,
        "list" => match args.file() {
            None => return list(args, env),
            Some(file) => {
                let given = file.to_string_lossy();
                return Err(wrong("FILE", &given, "none after `mounts list ID`"));
            }
        },
        other => return Err(wrong("ACTION", other, "add, remove or list")),
    };
    let file = args
        .file()
        .ok_or_else(|| wrong("FILE", "", "a file with a list of mounts"))?;
    // A signal for the whole group would also end the process that undoes the mounts.
    let interrupts = SignalFd::block(&INTERRUPTS).map_err(Error::Harden)?;
    let mut table = MountTable::find(args.id(), env, interrupts)?;
    let (mounts, warnings) = spec::load::load_mounts(file, &table.record.bundle)?;
    warn(&warnings);
    change(&mut table, mounts)?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &args::Mounts, env: &Env) -> Result<ExitCode, Error> {
    let id = ContainerId::new(args.id())?;
    let entry = env.store(Access::Look)?.container(&id, Lock::None)?;
    let record = entry.record()?;
    let added = record.added_mounts.iter();
    let added: Vec<&Path> = added.map(|mount| mount.destination.as_path()).collect();
    print(&(serde_json::to_string(&added)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The mount namespace of one container.
struct MountTable {
    entry: Entry,
    record: Record,
    first: Process,
    running: Running,
    interrupts: SignalFd,
}

impl MountTable {
    fn find(id: &str, env: &Env, interrupts: SignalFd) -> Result<Self, Error> {
        let (entry, record, observed) = env.find(id, Lock::Exclusive, Action::Mount)?;
        let gone = || Refusal::NotRunning {
            id: entry.id().clone(),
        };
        let first = observed.process.ok_or_else(gone)?;
        let running = Running::probe(first.pid()).map_err(launch::Error::from)?;
        // The namespaces were looked up by the pid.
        if first.has_ended(Duration::ZERO) {
            return Err(gone().into());
        }
        if running.inode(Kind::Mount).is_none() {
            let id = entry.id().clone();
            return Err(Error::NoMountNamespace { id });
        }
        Ok(Self {
            entry,
            record,
            first,
            running,
            interrupts,
        })
    }

    fn add(&mut self, mounts: Vec<Mount>) -> Result<(), Error> {
        let mut container = kept_container(&self.entry.config()?, &self.record)?;
        container.mounts = mounts;
        // The container may have entered a user namespace by itself.
        let user = &mut container.namespaces[Kind::User];
        if self.running.inode(Kind::User).is_some() && !user.is_own() {
            *user = Namespace::New;
        }
        let plan = added::lower(&container)?;
        for line in plan.to_string().lines() {
            tracing::debug!("{line}");
        }
        let target = target(&self.first);
        let (entry, record) = (&self.entry, &mut self.record);
        let interrupts = &self.interrupts;
        let saved = added::add(&plan, target, &self.running, interrupts, |made| {
            record.added_mounts.extend(made);
            entry.save(record)
        })?;
        Ok(saved?)
    }

    fn remove(&mut self, mounts: Vec<Mount>) -> Result<(), Error> {
        let mut rest = self.record.added_mounts.clone();
        let mut found = Vec::new();
        // Before any of them is removed.
        for mount in mounts.iter().rev() {
            let destination: PathBuf = Path::new("/").join(clean(&mount.destination));
            let last = rest
                .iter()
                .rposition(|added| added.destination == destination);
            found.push(rest.remove(last.ok_or(Error::NotAdded { destination })?));
        }
        for mount in found {
            added::remove(&mount, target(&self.first), &self.running, &self.interrupts)?;
            let added = &mut self.record.added_mounts;
            if let Some(index) = added.iter().rposition(|added| *added == mount) {
                added.remove(index);
            }
            self.entry.save(&self.record)?;
        }
        Ok(())
    }
}

fn target(first: &Process) -> Target<'_> {
    Target {
        pid: first.pid(),
        pidfd: first.pidfd(),
    }
}
