//! `start`: lets a created container run its program.

use super::{Env, hooks};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::notify::{Host, Proxy};
use crate::process::Process;
use crate::signal;
use crate::state::{Entry, Lock, Record};
use crate::status::Action;
use launch::create::{Starting, patience};
use launch::describe;
use spec::Container;

/// Starts one container.
pub(crate) fn run(args: &args::Start, env: &Env) -> Result<ExitCode, Error> {
    let (entry, record, _) = env.find(args.id(), Lock::Exclusive, Action::Start)?;
    let Some(program) = &record.program else {
        return Err(Error::NoProcess);
    };
    let proxy = proxy(&entry)?;
    let starting = Starting::reach(entry.dir())?;
    // Before, not after: if this process is killed, either init ends too or the container counts as
    // running.
    entry.remove_start_socket()?;
    starting.go()?;
    // The container runs. A hook may look at it, and a hook that hangs must not block a `delete`.
    let entry = entry.release();
    let container = || kept(&entry, &record);
    let started = starting.until_started(
        |failure| describe::start(failure, program, container().as_deref()),
        || container().as_deref().and_then(patience),
    );
    if let Err(launch::Error::SilentListener) = started {
        end(&record);
    }
    started?;
    after_start(&entry, &record)?;
    if let Some(proxy) = proxy
        && let Ok(Some(process)) = Process::of(&record)
    {
        proxy.until_ready(process.pidfd(), process.pid().unsigned_abs())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What passes on that the container is ready, if the caller wants to know.
fn proxy(entry: &Entry) -> Result<Option<Proxy>, Error> {
    let Some(host) = Host::of_caller() else {
        return Ok(None);
    };
    let proxy = Proxy::listen(host, entry.dir())?;
    if proxy.is_none() {
        tracing::warn!(
            "NOTIFY_SOCKET was not set when the container was created, so the container cannot report that it is ready"
        );
    }
    Ok(proxy)
}

/// Runs the poststart hooks; one that fails ends the container (runtime.md#lifecycle).
pub(crate) fn after_start(entry: &Entry, record: &Record) -> Result<(), Error> {
    let config = || entry.config().unwrap_or_default();
    hooks::poststart(config, record).inspect_err(|_failed| end(record))
}

/// Ends the container.
fn end(record: &Record) {
    if let Ok(Some(process)) = Process::of(record) {
        let _ended = process.signal(signal::KILL);
    }
}

/// The configuration, if it can be read. Without it a message does not name hooks.
fn kept(entry: &Entry, record: &Record) -> Option<Box<Container>> {
    let config = entry.config().ok()?;
    super::kept_container(&config, record).ok()
}
