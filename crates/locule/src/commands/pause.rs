//! `pause`: freezes all processes of a container.
//!
//! Only the cgroup's freezer stores this; the status `paused` is read from it.

use super::{Env, own_group};
use crate::args;
use crate::error::Error;
use crate::state::{Access, ContainerId, Lock};
use crate::status::{Action, observe, permit};
use std::process::ExitCode;
use std::time::Duration;

/// How long the processes may take to freeze. One process in an uninterruptible wait delays the
/// whole group.
const FREEZE: Duration = Duration::from_secs(10);

/// Freezes one container. If it does not freeze in time, it is thawed again.
pub(crate) fn run(args: &args::Pause, env: &Env) -> Result<ExitCode, Error> {
    let id = ContainerId::new(args.id())?;
    // With the lock: `start` would wait for a process that cannot answer.
    let entry = env.store(Access::Look)?.container(&id, Lock::Exclusive)?;
    let mut record = entry.record()?;
    permit(Action::Pause, observe(&entry, &mut record)?.status, &id)?;
    own_group(&record, &id, "pause")?.freeze(FREEZE)?;
    Ok(ExitCode::SUCCESS)
}
