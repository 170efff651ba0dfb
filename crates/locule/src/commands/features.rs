//! `features`: what this build supports, as JSON. Looks at nothing of the host and needs no state.

use super::Env;
use crate::args;
use crate::error::{Error, print};
use std::process::ExitCode;

/// Prints the features.
pub fn run(_: &args::Features, _: &Env) -> Result<ExitCode, Error> {
    print("\n")?;
    Ok(ExitCode::SUCCESS)
}
