//! Why CRIU did not do what it was asked.

use crate::request::Task;
use crate::worker::{MINIMUM, Version};
use kernel::Errno;
use kernel::errno::words;
use std::io;
use std::process::ExitStatus;

/// CRIU cannot be used, or has failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "`criu` is not in PATH: install CRIU {MINIMUM} or newer to checkpoint and restore containers"
    )]
    Missing,
    #[error("could not run `criu`")]
    Run(#[source] io::Error),
    #[error("the installed CRIU has version {found}, but {MINIMUM} or newer is needed: update it")]
    TooOld { found: Version },
    #[error("{option} needs {feature}, which CRIU says this kernel does not have")]
    NoFeature {
        option: &'static str,
        feature: &'static str,
    },
    /// CRIU says that it has failed. Engines know the first words.
    #[error("criu failed: type {task} errno {errno}{reason}")]
    Failed {
        task: Task,
        /// As CRIU reports it; 0 if it has no number for the failure.
        errno: i32,
        /// `: ` and CRIU's own words, or nothing.
        reason: String,
    },
    #[error("criu failed: type {task}: it ended without an answer, {status}")]
    Died { task: Task, status: ExitStatus },
    #[error("criu failed: type {task}: no answer and no end within {seconds} s; it was killed")]
    Hangs { task: Task, seconds: u64 },
    #[error("criu failed: type {task}: its answer is not one of its protocol")]
    Malformed { task: Task },
    #[error("could not exchange messages with criu: {}", words(*errno))]
    Link { errno: Errno },
    #[error("interrupted by signal {signal} while criu was at work")]
    Interrupted { signal: i32 },
}
