//! The hooks of the runtime's namespaces that run after a container is created: poststart and
//! poststop.
//!
//! They come from the configuration that was saved when the container was made; later edits of the
//! bundle have no effect (runtime.md#create).

use crate::error::Error;
use crate::state::Record;
use kernel::clone::SingleThread;
use kernel::signal::SignalFd;
use launch::hooks::{DefaultEnv, Plan, State, Surroundings};
use spec::container::{Hook, Hooks};
use spec::state::{StateText, Status};
use std::env;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Runs the poststart hooks; stops at the first failure.
pub(crate) fn poststart(config: impl FnOnce() -> Vec<u8>, record: &Record) -> Result<(), Error> {
    if !record.has_poststart {
        return Ok(());
    }
    let list = |hooks: Hooks| hooks.poststart;
    let prepared = Prepared::of("poststart", &config(), record, Status::Running, list)?;
    prepared.run(record.pid.unwrap_or(0), None)
}

/// Runs the prestart and createRuntime hooks of a container that is being restored: its namespaces
/// exist, and its first process is `pid`.
pub(crate) fn before_start(
    config: &[u8],
    record: &Record,
    pid: i32,
    interrupts: &SignalFd,
) -> Result<(), Error> {
    let list = |hooks: Hooks| hooks.prestart;
    let prepared = Prepared::of("prestart", config, record, Status::Creating, list)?;
    prepared.run(pid, Some(interrupts))?;
    let list = |hooks: Hooks| hooks.create_runtime;
    let prepared = Prepared::of("createRuntime", config, record, Status::Creating, list)?;
    prepared.run(pid, Some(interrupts))
}

/// Runs the poststop hooks, all of them: a failure is a warning (runtime.md#lifecycle).
pub(crate) fn poststop(config: impl FnOnce() -> Vec<u8>, record: &Record) {
    if record.has_poststop
        && let Err(error) = run_poststop(&config(), record)
    {
        tracing::warn!(code = error.code(), "poststop hooks: {}", error.chain());
    }
}

fn run_poststop(config: &[u8], record: &Record) -> Result<(), Error> {
    let list = |hooks: Hooks| hooks.poststop;
    let prepared = Prepared::of("poststop", config, record, Status::Stopped, list)?;
    let thread = SingleThread::prove().ok_or(launch::Error::Threads)?;
    let around = Surroundings::in_directory(&prepared.bundle);
    let (hooks, state) = (&prepared.hooks, prepared.state(0, None));
    hooks.run_all(&thread, state, around, |failed| {
        tracing::warn!(code = "hook", "{}", hooks.describe(&failed));
    });
    Ok(())
}

/// The hooks of one list, and what they get.
struct Prepared {
    hooks: Plan,
    text: StateText,
    bundle: CString,
}

impl Prepared {
    fn of(
        name: &'static str,
        config: &[u8],
        record: &Record,
        status: Status,
        list: impl FnOnce(Hooks) -> Vec<Hook>,
    ) -> Result<Self, Error> {
        let container = super::kept_container(config, record)?;
        let text = StateText::new(&container, &record.id, status);
        let path = env::var_os("PATH").map(PathBuf::from);
        let default_env = DefaultEnv::Path(path.as_deref());
        let hooks = Plan::lower(name, &list(container.hooks), default_env);
        Ok(Self {
            hooks: hooks.map_err(launch::Error::from)?,
            text,
            bundle: CString::new(record.bundle.as_os_str().as_bytes()).unwrap_or_default(),
        })
    }

    fn state<'a>(&'a self, pid: i32, interrupts: Option<&'a SignalFd>) -> State<'a> {
        State {
            text: &self.text,
            pid,
            interrupts,
        }
    }

    /// Runs them; stops at the first failure.
    fn run(&self, pid: i32, interrupts: Option<&SignalFd>) -> Result<(), Error> {
        let thread = SingleThread::prove().ok_or(launch::Error::Threads)?;
        let around = Surroundings::in_directory(&self.bundle);
        let ran = self.hooks.run(&thread, self.state(pid, interrupts), around);
        ran.map_err(|failed| {
            let message = self.hooks.describe(&failed);
            Error::Launch(launch::Error::Hook(message))
        })
    }
}
