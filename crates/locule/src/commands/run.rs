//! `run`: create, start, wait and delete in one.
//!
//! Attached, it stands in for the container: its exit status is the program's, signals are passed on, and (as a
//! subreaper) it reaps what the container's processes leave behind.

use super::create::{Made, Waits};
use super::{Env, delete, start};
use crate::args;
use crate::error::Error;
use crate::state::{self, Record, Reservation};
use kernel::Errno;
use kernel::clone::{self, Block, Exit, Target};
use kernel::process::{self, poll_in, set_child_subreaper};
use kernel::signal::{SignalFd, catchable};
use launch::{Created, Started};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

/// SIGCHLD, SIGURG, SIGWINCH: they concern the receiver, not the container.
const OWN: [i32; 3] = [17, 23, 28];

/// Runs one container.
pub(crate) fn run(args: &args::Run, env: &Env) -> Result<ExitCode, Error> {
    if !args.detach && !args.no_subreaper {
        set_child_subreaper().map_err(Error::Harden)?;
    }
    let made = Made::make(&args.create, env, Waits::ForUs)?;
    let (started, reservation, record) = made.finish(Created::start)?;
    if let Err(error) = start::after_start(&reservation.config_bytes(), &record) {
        remove(reservation, env)?;
        return Err(error);
    }
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let exit = wait(&started, reservation, args, env, &record)?;
    Ok(ExitCode::from(match exit {
        Exit::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
    }))
}

fn wait(
    started: &Started,
    reservation: Reservation,
    args: &args::Run,
    env: &Env,
    _record: &Record,
) -> Result<Exit, Error> {
    // Others may signal, pause or even delete the container while it runs.
    let entry = reservation.into_entry().release()?;
    let exit = until_end(started).map_err(|source| Error::Process {
        id: entry.id().clone(),
        action: "wait for",
        source,
    })?;
    if !args.keep {
        let id = entry.id().clone();
        drop(entry);
        delete_finished(&id, env)?;
    }
    Ok(exit)
}

fn remove(reservation: Reservation, env: &Env) -> Result<(), Error> {
    let entry = reservation.into_entry().release()?;
    let id = entry.id().clone();
    drop(entry);
    delete_finished(&id, env)
}

/// Deletes the container unless somebody has done so already.
fn delete_finished(id: &state::ContainerId, env: &Env) -> Result<(), Error> {
    match delete::delete(id, crate::status::Action::ForceDelete, env) {
        Err(Error::State(state::Error::Absent { .. })) => Ok(()),
        answer => answer,
    }
}

/// Passes signals on and reaps until the container's first process has ended.
fn until_end(started: &Started) -> Result<Exit, Errno> {
    let signals = SignalFd::block(&catchable().collect::<Vec<_>>())?;
    loop {
        if let Some(exit) = reap(started)? {
            return Ok(exit);
        }
        let mut fds = [poll_in(signals.as_fd().as_raw_fd())];
        match process::poll(&mut fds, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        while let Some(signal) = signals.next()? {
            if !OWN.contains(&signal) {
                // ESRCH: it has ended, which the next round finds.
                let _ended = clone::pidfd_send_signal(started.pidfd.as_fd(), signal);
            }
        }
    }
}

/// Reaps every child that has ended; gives how the container's first process did, if it has.
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
