//! `delete`: ends what a container holds.
//!
//! The order is: the processes, the cgroup, the poststop hooks, the state directory. If a step
//! fails, the state stays, so that the command can be repeated. Hooks that fail are a warning
//! (runtime.md#delete). With `--force` the journal says how to clean up a damaged or incomplete
//! entry.

use super::{Env, hooks, kill, matching};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::process::Process;
use crate::signal;
use crate::state::{self, Access, ContainerId, Entry, Lock, Record};
use crate::status::{Action, Observed, Status, observe, permit};
use kernel::Errno;
use spec::load::Host;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long other processes may stay in the cgroup of a container that has ended. After that the
/// cgroup stays.
const PATIENCE_WITH_STRANGERS: Duration = Duration::from_millis(500);

/// Deletes one container, or those that `--regex` matches.
pub(crate) fn run(args: &args::Delete, env: &Env) -> Result<ExitCode, Error> {
    let action = if args.force {
        Action::ForceDelete
    } else {
        env.face.deletion
    };
    let absent_is_deleted = args.force || args.regex;
    let delete = |id: &ContainerId| match delete(id, action, env) {
        Err(Error::State(state::Error::Absent { .. })) if absent_is_deleted => Ok(()),
        answer => answer,
    };
    if args.regex {
        return matching::each(args.id(), env, delete);
    }
    delete(&ContainerId::new(args.id())?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn delete(id: &ContainerId, action: Action, env: &Env) -> Result<(), Error> {
    let store = env.store(Access::Look)?;
    if action != Action::ForceDelete {
        // A running container is refused at once, even if another command holds the lock.
        let entry = store.container(id, Lock::None)?;
        if let Ok(mut record) = entry.record() {
            let mut observed = observe(&entry, &mut record)?;
            // A process does not end at once after `kill ID KILL`.
            if let Some(dying) = observed.process.take_if(|process| process.is_ending())
                && dying.has_ended(PATIENCE)
            {
                observed = observe(&entry, &mut record)?;
            }
            let status = observed.status;
            if status != Status::Creating {
                permit(action, status, id)?;
            }
        }
    }
    let lock = if action == Action::ForceDelete {
        Lock::Insist
    } else {
        Lock::Exclusive
    };
    let entry = store.container(id, lock)?;
    let mut record = match (entry.record(), action) {
        (Ok(record), _) => Some(record),
        (Err(error), Action::ForceDelete) => salvage(&entry, &error, env),
        (Err(error), _) => return Err(error.into()),
    };
    if let Some(record) = &mut record {
        let observed = observe(&entry, record)?;
        permit(action, observed.status, id)?;
        end(id, record, &observed)?;
        // Its processes cannot be looked up once its cgroups are gone.
        remove_mounts(record)?;
        remove_groups(record, &observed)?;
        // What an init has made that was not dead yet: now it is.
        remove_mounts(record)?;
        return finish(entry, record);
    }
    Ok(entry.remove()?)
}

/// Deletes the rest of a container whose processes, mounts and cgroups are gone. Every deletion
/// ends with it.
fn finish(entry: Entry, record: &Record) -> Result<(), Error> {
    remove_shares(record)?;
    hooks::poststop(|| entry.config().unwrap_or_default(), record);
    Ok(entry.remove()?)
}

/// Deletes a container. The caller has waited for its first process and has released the lock.
///
/// # Errors
/// [`state::Error::Absent`]: another command has deleted it.
pub(crate) fn delete_ended(entry: Entry, record: &Record) -> Result<(), Error> {
    let entry = entry.acquire()?;
    // In most cases its cgroup is empty.
    remove_mounts(record)?;
    let removed = record.groups().map(|cgroup| cgroup.remove(Duration::ZERO));
    match removed {
        Some(Ok(taken)) => warn_of_taken(&record.id, &taken),
        None => {}
        Some(Err(_in_use)) => {
            let ended = Observed {
                status: Status::Stopped,
                process: None,
            };
            end(entry.id(), record, &ended)?;
            remove_groups(record, &ended)?;
        }
    }
    finish(entry, record)
}

/// Deletes a container whose processes were saved and killed. The caller holds the lock.
///
/// # Errors
/// What cannot be removed; the container is then stopped.
pub(super) fn delete_saved(entry: Entry, mut record: Record) -> Result<(), Error> {
    let observed = observe(&entry, &mut record)?;
    let record = &record;
    end(entry.id(), record, &observed)?;
    remove_mounts(record)?;
    remove_groups(record, &observed)?;
    finish(entry, record)
}

/// What remains when the record is damaged: the journal, else the configuration, which at least
/// says where the cgroup is.
fn salvage(entry: &Entry, error: &state::Error, env: &Env) -> Option<Record> {
    if matches!(error, state::Error::Unrecorded { .. }) {
        // Nothing was made yet: a cgroup at the path of the configuration belongs to another
        // program.
        tracing::info!(code = error.code(), "{error}");
        return None;
    }
    tracing::warn!(code = error.code(), "{error}");
    let error = match entry.journal() {
        Ok(record) => return Some(record),
        Err(error) => error,
    };
    let record = from_config(entry, env);
    let rest = match record {
        Some(_) => "its configuration says where its cgroup is",
        None => "only the directory is removed",
    };
    tracing::warn!(code = error.code(), "{error}; {rest}");
    record
}

fn from_config(entry: &Entry, env: &Env) -> Option<Record> {
    let config = entry.config().ok()?;
    let loaded = spec::load::parse(&config, Path::new("/"), Host::Ignore).ok()?;
    // Engines give --systemd-cgroup to `create` alone, and this form of path has no other meaning.
    let is_scope = |path: &str| !path.starts_with('/') && path.split(':').count() == 3;
    let manager = match &loaded.container.cgroups_path {
        Some(path) if is_scope(path) => cgroup::Manager::Systemd,
        _ => env.cgroup_manager,
    };
    let request = cgroup::Request {
        container: &loaded.container,
        id: entry.id().as_str(),
        manager,
        rootless: env.rootless,
        writable: false,
    };
    let (facts, _found) = cgroup::Facts::probe(&request).ok()?;
    // Checks the mark that every creation of this id leaves.
    let plan = cgroup::Plan::lower(&request, &facts).ok()?;
    Some(Record::of(entry.id(), &loaded.container, plan.location()))
}

/// Kills the processes of the container and waits until its first process has ended.
fn end(id: &ContainerId, record: &Record, observed: &Observed) -> Result<(), Error> {
    if let Some(process) = &observed.process {
        match process.signal(signal::KILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(source) => {
                return Err(Error::Process {
                    id: id.clone(),
                    action: "kill",
                    source,
                });
            }
        }
    }
    if let Some(cgroup) = record.groups().filter(|_| !has_ended(record, observed)) {
        // Kill them even if they cannot be listed: cgroup.kill does not need the list.
        if !cgroup.pids().is_ok_and(|pids| pids.is_empty()) {
            cgroup.signal_all(signal::KILL)?;
        }
        if observed.status == Status::Paused || cgroup.is_frozen()? {
            kill::thaw(record);
        }
    }
    match &observed.process {
        Some(process) => wait(id, process),
        None => Ok(()),
    }
}

/// Unmounts what a container without a mount namespace of its own has mounted.
pub(super) fn remove_mounts(record: &Record) -> Result<(), Error> {
    record
        .remove_mounts()
        .map_err(|(point, source)| Error::Mounted {
            id: record.id.clone(),
            point,
            source,
        })
}

/// Whether every process of the container has ended. All processes of its own PID namespace end
/// with the first one, so any process still in its cgroup does not belong to the container, even in
/// a cgroup that the container has made.
pub(super) fn has_ended(record: &Record, observed: &Observed) -> bool {
    record.own_pid_namespace && record.pid.is_some() && observed.process.is_none()
}

/// Removes the container's groups. Keeps a group that is not provably its own, and logs a warning.
fn remove_groups(record: &Record, observed: &Observed) -> Result<(), Error> {
    let id = &record.id;
    let Some(cgroup) = record.groups() else {
        let present = match &record.cgroup {
            Some(cgroup) if record.is_of_another_boot() => cgroup.present()?,
            Some(_) | None => Vec::new(),
        };
        if !present.is_empty() {
            tracing::warn!(
                "{present:?} left alone: container {id} is from an earlier boot of this host, but these cgroups are not"
            );
        }
        return Ok(());
    };
    let is_over = has_ended(record, observed);
    let patience = if is_over {
        PATIENCE_WITH_STRANGERS
    } else {
        PATIENCE
    };
    match cgroup.remove(patience) {
        Err(cgroup::Error::Survivors { group, pids, .. })
            if is_over || cgroup.pids()?.is_empty() =>
        {
            tracing::warn!(
                "{group:?} left alone: processes {pids:?} in this cgroup do not belong to container {id}"
            );
            Ok(())
        }
        answer => {
            warn_of_taken(id, &answer?);
            Ok(())
        }
    }
}

fn warn_of_taken(id: &str, taken: &[PathBuf]) {
    if !taken.is_empty() {
        tracing::warn!(
            "{taken:?} left alone: another program has made or taken over these cgroups of container {id}"
        );
    }
}

/// Removes the container's groups of resctrl. Keeps those that its creation has not made, and logs
/// a warning.
fn remove_shares(record: &Record) -> Result<(), Error> {
    let left = record
        .shares()
        .map_or(Ok(Vec::new()), |shares| shares.remove())?;
    if !left.is_empty() {
        tracing::warn!(
            "{left:?} left alone: another program has made these groups of {} anew",
            resctrl::MOUNT
        );
    }
    Ok(())
}

fn wait(id: &ContainerId, process: &Process) -> Result<(), Error> {
    if process.has_ended(PATIENCE) {
        return Ok(());
    }
    Err(Error::Survivor {
        id: id.clone(),
        seconds: PATIENCE.as_secs(),
    })
}
