//! `run`: create, start, wait and delete in one.
//!
//! Attached, it represents the container: its exit status is the program's, it forwards signals,
//! and as a subreaper it reaps the orphans of the container's processes.

use super::create::{Made, Terminal};
use super::{Env, delete, signals_to_pass, start};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::notify::Proxy;
use crate::state::{self, Entry, Record};
use crate::terminal::{Relay, ready};
use kernel::Errno;
use kernel::clone::{self, Block, Exit, Target};
use kernel::process::{poll, poll_in};
use kernel::signal::SignalFd;
use launch::{Start, Started};
use nix::sys::prctl::set_child_subreaper;
use std::os::fd::{AsFd, AsRawFd};

/// SIGCHLD, SIGURG, SIGWINCH: they concern the receiver, not the container.
const OWN: [i32; 3] = [17, 23, 28];

/// Runs one container.
pub(crate) fn run(args: &args::Run, env: &Env) -> Result<ExitCode, Error> {
    if !args.detach && !args.no_subreaper {
        set_child_subreaper(true).map_err(Error::Harden)?;
    }
    let terminal = match args.detach {
        true => Terminal::Sent,
        false => Terminal::Kept,
    };
    let signals = signals_to_pass(args.detach)?;
    let mut made = Made::make(&args.create, env, Start::ByRuntime, terminal)?;
    made.master().into_iter().for_each(ready);
    let proxy = made.proxy.take();
    let (mut started, entry, record) = made.release()?.until_started()?;
    if let Err(error) = start::after_start(&entry, &record) {
        delete_failed(entry.id(), env)?;
        return Err(error);
    }
    let Some(signals) = signals else {
        if let Some(proxy) = proxy {
            proxy.until_ready(started.pidfd.as_fd(), started.pid.unsigned_abs())?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let place = (entry, &record);
    let exit = attend(&mut started, &signals, proxy, place, (args.keep, env))?;
    Ok(exit_code(exit, env))
}

/// Represents the container until its first process has ended, and deletes it then unless it is to
/// be kept.
pub(super) fn attend(
    started: &mut Started,
    signals: &SignalFd,
    proxy: Option<Proxy>,
    (entry, record): (Entry, &Record),
    (keep, env): (bool, &Env),
) -> Result<Exit, Error> {
    let exit = match until_end(started, signals, proxy) {
        Ok(exit) => exit,
        Err(source) => {
            let id = entry.id().clone();
            if !keep {
                delete_failed(&id, env)?;
            }
            let action = "wait for";
            return Err(Error::Process { id, action, source });
        }
    };
    if !keep {
        match delete::delete_ended(entry, record) {
            Ok(()) | Err(Error::State(state::Error::Absent { .. })) => {}
            // The program's status is what the caller asked for.
            Err(error) => tracing::error!(code = error.code(), "delete: {}", error.chain()),
        }
    }
    Ok(exit)
}

/// The exit status of a command that represents a program.
pub(super) fn exit_code(exit: Exit, env: &Env) -> ExitCode {
    ExitCode::from(match exit {
        Exit::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Exit::Signal(signal) => u8::try_from(env.face.statuses.signal + signal).unwrap_or(u8::MAX),
    })
}

/// Kills and deletes the container unless another command has done so.
pub(super) fn delete_failed(id: &state::ContainerId, env: &Env) -> Result<(), Error> {
    match delete::delete(id, crate::status::Action::ForceDelete, env) {
        Err(Error::State(state::Error::Absent { .. })) => Ok(()),
        answer => answer,
    }
}

/// Forwards signals and the bytes of the terminal, and reaps processes, until the process has
/// ended. Reports once that the container is ready. If it cannot go on, it kills the process: the
/// caller would take it for one that has ended.
pub(super) fn until_end(
    started: &mut Started,
    signals: &SignalFd,
    proxy: Option<Proxy>,
) -> Result<Exit, Errno> {
    let ended = represent(started, signals, proxy);
    if ended.is_err() {
        let _ended = clone::pidfd_send_signal(started.pidfd.as_fd(), kernel::process::SIGKILL);
    }
    ended
}

fn represent(
    started: &mut Started,
    signals: &SignalFd,
    mut proxy: Option<Proxy>,
) -> Result<Exit, Errno> {
    let mut relay = started.master.take().map(Relay::start).transpose()?;
    loop {
        if let Some(exit) = reap(started)? {
            if let Some(relay) = relay {
                relay.finish(signals);
            }
            return Ok(exit);
        }
        let (events, timeout) = match &relay {
            Some(relay) => relay.wait_for(),
            None => ([-1; 3].map(poll_in), None),
        };
        let [input, master, output] = events;
        let news = proxy.as_ref().map_or(poll_in(-1), Proxy::awaits);
        let mut fds = [
            poll_in(signals.as_fd().as_raw_fd()),
            news,
            input,
            master,
            output,
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let [_, _, input, master, output] = fds;
        proxy.take_if(is_told);
        while let Some(signal) = signals.next()? {
            if !OWN.contains(&signal) {
                // ESRCH: it has ended; the next round finds that.
                let _ended = clone::pidfd_send_signal(started.pidfd.as_fd(), signal);
            }
            if let Some(relay) = &mut relay {
                relay.notice(signal);
            }
        }
        if let Some(relay) = &mut relay {
            relay.serve([input, master, output]);
        }
    }
}

/// Forwards the message that the container is ready, if it is. Returns whether nothing remains to
/// be forwarded. The unit watches this process.
fn is_told(proxy: &mut Proxy) -> bool {
    proxy.advance(std::process::id()).unwrap_or_else(|error| {
        tracing::error!(code = error.code(), "{}", error.chain());
        true
    })
}

/// Reaps every child that has ended. Returns how the container's first process ended, if it has.
fn reap(started: &Started) -> Result<Option<Exit>, Errno> {
    let mut ended = None;
    loop {
        match clone::wait(Target::Any, Block::No) {
            Ok(Some((pid, exit))) if pid == started.pid => ended = Some(exit),
            Ok(Some(_orphan)) => {}
            Ok(None) | Err(Errno::ECHILD) => return Ok(ended),
            Err(errno) => return Err(errno),
        }
    }
}
