//! `pause`: all processes of a container stand still.
//!
//! Whether they do is kept by the cgroup's freezer alone; the status `paused` is read from there.

use super::{Env, own_group};
use crate::args;
use crate::error::Error;
use crate::state::{Access, ContainerId, Lock};
use crate::status::{Action, observe, permit};
use std::process::ExitCode;
use std::time::Duration;

/// How long the processes may take to stand still: one in an uninterruptible wait holds up all.
const FREEZE: Duration = Duration::from_secs(10);

/// Freezes one container. One that does not stand still in time runs again.
pub(crate) fn run(args: &args::Pause, env: &Env) -> Result<ExitCode, Error> {
    let id = ContainerId::new(args.id())?;
    // Alone: `start` would wait for a process that cannot answer.
    let entry = env.store(Access::Look)?.container(&id, Lock::Exclusive)?;
    let record = entry.record()?;
    permit(Action::Pause, observe(&entry, &record)?.status, &id)?;
    own_group(&record, &id, "pause")?.freeze(FREEZE)?;
    Ok(ExitCode::SUCCESS)
}
