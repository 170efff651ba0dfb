//! `pause`: freezes all processes of a container.
//!
//! Only the cgroup's freezer stores this; the status `paused` is read from it.

use super::{Env, own_group};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::state::Lock;
use crate::status::Action;
use std::time::Duration;

/// How long the processes may take to freeze. One process in an uninterruptible wait delays the
/// whole group.
const FREEZE: Duration = Duration::from_secs(10);

/// Freezes one container. If it does not freeze in time, it is thawed again.
pub(crate) fn run(args: &args::Pause, env: &Env) -> Result<ExitCode, Error> {
    // With the lock: `start` would wait for a process that cannot answer.
    let (entry, record, _) = env.find(args.id(), Lock::Exclusive, Action::Pause)?;
    own_group(&record, entry.id(), "pause")?.freeze(FREEZE)?;
    Ok(ExitCode::SUCCESS)
}
