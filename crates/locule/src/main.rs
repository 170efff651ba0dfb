//! An OCI low-level container runtime.
//!
//! Reads the command line, sets up the log, runs one command and turns its error into one line and
//! an exit status: 0 success, 1 any error, 3 unknown command ([`face`] has other ones). `run` and
//! `exec` return the status of the program.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod args;
mod commands;
mod descriptors;
mod error;
mod exit;
mod face;
mod host_file;
mod log;
mod moment;
mod notify;
mod process;
mod signal;
mod state;
mod status;
mod terminal;
#[cfg(test)]
mod testing;

use args::{Command, Globals, Invocation, Wrong};
use commands::Env;
use descriptors::Preserved;
use error::{Error, print};
use exit::ExitCode;
use face::Face;
use kernel::heap::Heap;
use kernel::signal::{ignore_file_size_signal, notice_children};
use nix::sys::prctl::set_dumpable;
use seal::{Origin, Unsealed};
use std::env;
use std::ffi::OsString;

#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> ! {
    run().exit()
}

fn run() -> ExitCode {
    // The standard library has already opened /dev/null for a missing descriptor 0, 1 or 2.
    let words: Vec<_> = env::args_os().skip(1).collect();
    let origin = if seal::is_wanted(words.iter().map(OsString::as_os_str)) {
        seal::reexec().map(Some)
    } else {
        Ok(None)
    };
    let called = face::called(env::args_os().next().as_deref());
    let asked = face::asked(&words);
    let parsed = args::parse(words);
    let (face, failed) = match &parsed {
        Ok(Invocation::Command(globals, Command::Run(_))) => {
            let face = globals.compat.unwrap_or(called);
            (face, face.statuses.run)
        }
        Ok(
            Invocation::Command(globals, _)
            | Invocation::Version(globals)
            | Invocation::Nothing(globals, _),
        ) => (globals.compat.unwrap_or(called), 1),
        Ok(Invocation::Print(_)) | Err(_) => (asked.unwrap_or(called), 1),
    };
    let answer = match parsed {
        Ok(Invocation::Nothing(_, help)) if face.statuses.nothing != 0 => {
            log::explain(face, &format!("please specify a command\n\n{help}"));
            return ExitCode::from(face.statuses.nothing);
        }
        Ok(Invocation::Print(text) | Invocation::Nothing(_, text)) => {
            print(&text).map(|()| ExitCode::SUCCESS)
        }
        Ok(Invocation::Version(globals)) => {
            let root = Env::new(&globals, face).store_path();
            print(&face.version(&root)).map(|()| ExitCode::SUCCESS)
        }
        Ok(Invocation::Command(globals, command)) => execute(&globals, face, &command, origin),
        Err(misuse) => {
            log::explain(face, &misuse.text);
            return ExitCode::from(match misuse.wrong {
                Wrong::Unknown => face.statuses.unknown,
                Wrong::Count => face.statuses.miscount,
                Wrong::Words => face.statuses.misuse,
            });
        }
    };
    answer.unwrap_or_else(|error| {
        log::failure(face, error.code(), &error.chain());
        ExitCode::from(failed)
    })
}

fn execute(
    globals: &Globals,
    face: &'static Face,
    command: &Command,
    origin: Result<Option<Origin>, Unsealed>,
) -> Result<ExitCode, Error> {
    // Before this process opens a descriptor: it could get the number of one to preserve.
    let preserved = match command {
        Command::Create(args) => descriptors::preserved(args.preserve_fds),
        Command::Run(args) => descriptors::preserved(args.create.preserve_fds),
        // Sockets of activation are for the container's own process.
        Command::Exec(args) => descriptors::asked(args.preserve_fds),
        _ => Ok(Preserved::default()),
    };
    log::install(globals, face)?;
    let preserved = match (preserved, command) {
        (Err(error), Command::Exec(_)) => return Ok(commands::exec::failed(&error.into(), face)),
        (preserved, _) => preserved?,
    };
    // The caller may ignore SIGCHLD.
    notice_children().map_err(Error::Harden)?;
    // A write beyond the file size limit must be an error that the command can clean up after, not
    // a signal.
    ignore_file_size_signal().map_err(Error::Harden)?;
    let origin = match origin? {
        // The early check took an option's value for the end of the options. The parsed command
        // decides.
        None if command.enters_a_container() => Some(seal::reexec()?),
        origin => origin,
    };
    if let Some(origin) = origin {
        tracing::debug!("this process runs from {}", origin.as_str());
    }
    let mut env = Env::new(globals, face);
    env.preserved = preserved;
    if command.enters_a_container() {
        harden(preserved)?;
    }
    command.run(&env)
}

/// Protects descriptors that the caller has leaked, and this process itself, from the container.
fn harden(preserved: Preserved) -> Result<(), Error> {
    descriptors::mark_leaked(preserved).map_err(Error::Harden)?;
    // Only with root's rights. Otherwise the /proc files of this process would belong to root, and
    // it could not write the id maps of a user namespace.
    if state::is_host_root() {
        set_dumpable(false).map_err(Error::Harden)?;
    }
    Ok(())
}
