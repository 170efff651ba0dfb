//! `resume`: thaws the processes of a paused container.

use super::{Env, own_group};
use crate::args;
use crate::error::Error;
use crate::state::{Access, ContainerId, Lock};
use crate::status::{Action, observe, permit};
use std::process::ExitCode;
use std::time::Duration;

/// How long the processes may take to wake up.
const THAW: Duration = Duration::from_secs(10);

/// Thaws one container.
pub(crate) fn run(args: &args::Resume, env: &Env) -> Result<ExitCode, Error> {
    let id = ContainerId::new(args.id())?;
    // Without a lock: the command that holds it may wait for a process that is frozen.
    let entry = env.store(Access::Look)?.container(&id, Lock::None)?;
    let mut record = entry.record()?;
    permit(Action::Resume, observe(&entry, &mut record)?.status, &id)?;
    own_group(&record, &id, "resume")?.thaw(THAW)?;
    Ok(ExitCode::SUCCESS)
}
