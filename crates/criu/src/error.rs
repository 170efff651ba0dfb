//! Why CRIU did not do what it was asked.

use crate::request::Task;
use crate::worker::{MINIMUM, Version};
use kernel::Errno;
use kernel::errno::words;
use std::io;
use std::process::ExitStatus;

/// CRIU cannot be used, or has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No program of that name.
    #[error(
        "`criu` is not in PATH: install CRIU {MINIMUM} or newer to checkpoint and restore containers"
    )]
    Missing,
    /// The program cannot be run.
    #[error("could not run `criu`")]
    Run(#[source] io::Error),
    /// An old version.
    #[error("the installed CRIU has version {found}, but {MINIMUM} or newer is needed: update it")]
    TooOld {
        /// What is installed.
        found: Version,
    },
    /// The kernel lacks something.
    #[error("{option} needs {feature}, which CRIU says this kernel does not have")]
    NoFeature {
        /// What was asked for.
        option: &'static str,
        /// What is missing.
        feature: &'static str,
    },
    /// CRIU says that it has failed. Engines know the first words.
    #[error("criu failed: type {task} errno {errno}{reason}")]
    Failed {
        /// What it was asked.
        task: Task,
        /// As CRIU reports it; 0 if it has no number for the failure.
        errno: i32,
        /// `: ` and CRIU's own words, or nothing.
        reason: String,
    },
    /// It ended without an answer.
    #[error("criu failed: type {task}: it ended without an answer, {status}")]
    Died {
        /// What it was asked.
        task: Task,
        /// How it ended.
        status: ExitStatus,
    },
    /// It neither answers nor ends.
    #[error("criu failed: type {task}: no answer and no end within {seconds} s; it was killed")]
    Hangs {
        /// What it was asked.
        task: Task,
        /// How long it had.
        seconds: u64,
    },
    /// It answered something else.
    #[error("criu failed: type {task}: its answer is not one of its protocol")]
    Malformed {
        /// What it was asked.
        task: Task,
    },
    /// The socket does not work.
    #[error("could not exchange messages with criu: {}", words(*errno))]
    Link {
        /// The kernel's answer.
        errno: Errno,
    },
    /// A signal asks this process to stop.
    #[error("interrupted by signal {signal} while criu was at work")]
    Interrupted {
        /// The signal.
        signal: i32,
    },
}
