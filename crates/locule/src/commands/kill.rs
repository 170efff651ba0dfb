//! `kill`: a signal for a container.
//!
//! Goes to the first process by pidfd. SIGKILL for a container that shares its PID namespace goes
//! to the whole cgroup, because nothing else would end its other processes; also after its first
//! process has ended.

use super::delete::has_ended;
use super::{Env, matching};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::signal;
use crate::state::{self, ContainerId, Lock, Record};
use crate::status::{Action, Observed, Refusal, Status, permit};
use kernel::Errno;
use std::time::Duration;

/// How long a frozen cgroup may take to thaw.
const THAW: Duration = Duration::from_secs(2);

/// Sends one signal, to one container or to those that `--regex` matches.
pub(crate) fn run(args: &args::Kill, env: &Env) -> Result<ExitCode, Error> {
    let given = args.signal().or(env.face.signal);
    let number = signal::number(given.ok_or(Error::NoSignal)?)?;
    if args.regex {
        return matching::each(args.id(), env, |id| match send(args, number, id, env) {
            // The pattern asks for those that can be signalled.
            Err(Error::Refused(Refusal::NotRunning { .. })) => Ok(()),
            Err(Error::State(state::Error::Absent { .. })) => Ok(()),
            answer => answer,
        });
    }
    send(args, number, &ContainerId::new(args.id())?, env)?;
    Ok(ExitCode::SUCCESS)
}

fn send(args: &args::Kill, number: i32, id: &ContainerId, env: &Env) -> Result<(), Error> {
    let (_entry, record, observed) = env.look_up(id.as_str(), Lock::None)?;
    // Nothing else would end the remaining processes of the container.
    let outlives = number == signal::KILL && !record.own_pid_namespace;
    let leftover = || match record.groups() {
        Some(cgroup) => cgroup.pids().map(|pids| !pids.is_empty()),
        None => Ok(false),
    };
    let is_stopped = observed.status == Status::Stopped;
    let action = if args.all || (outlives && is_stopped && leftover()?) {
        Action::KillAll
    } else {
        Action::Kill
    };
    permit(action, observed.status, id)?;
    let groups = record
        .groups()
        .filter(|_| (args.all || outlives) && !has_ended(&record, &observed));
    match groups {
        Some(cgroup) => cgroup.signal_all(number)?,
        // Without a cgroup only the first process is known.
        None => signal_first(id, &observed, action, number)?,
    }
    if number == signal::KILL && observed.status == Status::Paused {
        thaw(&record);
    }
    Ok(())
}

fn signal_first(
    id: &ContainerId,
    observed: &Observed,
    action: Action,
    number: i32,
) -> Result<(), Error> {
    let answer = match &observed.process {
        Some(process) => process.signal(number),
        None => Err(Errno::ESRCH),
    };
    match answer {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) if action == Action::KillAll => Ok(()),
        Err(Errno::ESRCH) => Err(Refusal::NotRunning { id: id.clone() }.into()),
        Err(source) => Err(Error::Process {
            id: id.clone(),
            action: "signal",
            source,
        }),
    }
}

/// Lets the processes of a frozen cgroup see their SIGKILL: cgroup version 1 delivers it only then.
/// Version 2 has delivered it already, so a group that cannot thaw (because one above it is frozen)
/// is only a warning.
pub(super) fn thaw(record: &Record) {
    if let Some(cgroup) = record.groups()
        && let Err(error) = cgroup.thaw(THAW)
    {
        let error = Error::from(error);
        tracing::warn!(code = error.code(), "thaw {}: {}", record.id, error.chain());
    }
}
