//! `resume`: thaws the processes of a paused container.

use super::{Env, own_group};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::state::Lock;
use crate::status::Action;
use std::time::Duration;

/// How long the processes may take to wake up.
const THAW: Duration = Duration::from_secs(10);

/// Thaws one container.
pub(crate) fn run(args: &args::Resume, env: &Env) -> Result<ExitCode, Error> {
    // Without a lock: the command that holds it may wait for a process that is frozen.
    let (entry, record, _) = env.find(args.id(), Lock::None, Action::Resume)?;
    own_group(&record, entry.id(), "resume")?.thaw(THAW)?;
    Ok(ExitCode::SUCCESS)
}
