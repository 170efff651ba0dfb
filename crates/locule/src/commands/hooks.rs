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
    let (hooks, text, bundle) =
        prepare("poststart", &config(), record, Status::Running, |hooks| {
            hooks.poststart
        })?;
    let thread = SingleThread::prove().ok_or(launch::Error::Threads)?;
    let state = State {
        text: &text,
        pid: record.pid.unwrap_or(0),
        interrupts: None,
    };
    hooks
        .run(&thread, state, Surroundings::in_directory(&bundle))
        .map_err(|failed| {
            Error::Launch(launch::Error::Hook {
                message: hooks.describe(&failed),
            })
        })
}

/// Runs the prestart and createRuntime hooks of a container that is being restored: its namespaces
/// exist, and its first process is `pid`.
pub(crate) fn before_start(
    config: &[u8],
    record: &Record,
    pid: i32,
    interrupts: &SignalFd,
) -> Result<(), Error> {
    let thread = SingleThread::prove().ok_or(launch::Error::Threads)?;
    for (name, list) in [
        (
            "prestart",
            (|hooks| hooks.prestart) as fn(Hooks) -> Vec<Hook>,
        ),
        ("createRuntime", |hooks| hooks.create_runtime),
    ] {
        let (hooks, text, bundle) = prepare(name, config, record, Status::Creating, list)?;
        let state = State {
            text: &text,
            pid,
            interrupts: Some(interrupts),
        };
        hooks
            .run(&thread, state, Surroundings::in_directory(&bundle))
            .map_err(|failed| {
                Error::Launch(launch::Error::Hook {
                    message: hooks.describe(&failed),
                })
            })?;
    }
    Ok(())
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
    let (hooks, text, bundle) = prepare("poststop", config, record, Status::Stopped, |hooks| {
        hooks.poststop
    })?;
    let thread = SingleThread::prove().ok_or(launch::Error::Threads)?;
    hooks.run_all(
        &thread,
        State {
            text: &text,
            pid: 0,
            interrupts: None,
        },
        Surroundings::in_directory(&bundle),
        |failed| {
            tracing::warn!(code = "hook", "{}", hooks.describe(&failed));
        },
    );
    Ok(())
}

fn prepare(
    name: &'static str,
    config: &[u8],
    record: &Record,
    status: Status,
    list: impl FnOnce(spec::container::Hooks) -> Vec<Hook>,
) -> Result<(Plan, StateText, CString), Error> {
    let container = super::kept_container(config, record)?;
    let text = StateText::new(&container, &record.id, status);
    let path = env::var_os("PATH").map(PathBuf::from);
    let default_env = DefaultEnv::Path(path.as_deref());
    let hooks = Plan::lower(name, &list(container.hooks), default_env);
    let bundle = CString::new(record.bundle.as_os_str().as_bytes()).unwrap_or_default();
    Ok((hooks.map_err(launch::Error::from)?, text, bundle))
}
