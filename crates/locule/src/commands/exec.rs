//! `exec`: runs one more process in a container.
//!
//! Decides what the process is: the container's process of the saved configuration, changed by the
//! options, or the process of a file. The bundle's configuration is not read, because it may have
//! changed. Attached, the command represents the process, as `run` does.

use super::create::INTERRUPTS;
use super::run::{exit_code, until_end};
use super::told::{Role, Told};
use super::{Env, damaged_config, plan, signals_to_pass, warn};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::face::Face;
use crate::process::Process as First;
use crate::state::{ContainerId, Lock, Record};
use crate::status::{Action, Refusal};
use crate::terminal::{console_socket, ready};
use kernel::signal::SignalFd;
use launch::exec::{Request, Target, lower, open, reduce};
use launch::terminal::ConsoleSocket;
use launch::{Facts, Keyring, Plan, Start, Started};
use namespace::Running;
use spec::container::{CapSet, Process};
use spec::{Container, Diagnostic};
use std::ffi::OsString;
use std::path::Path;

/// Runs one command.
pub(crate) fn run(args: &args::Exec, env: &Env) -> Result<ExitCode, Error> {
    Ok(exec(args, env).unwrap_or_else(|error| failed(&error, env.face)))
}

/// Reports why there is no process, and returns the face's status for that.
pub(crate) fn failed(error: &Error, face: &Face) -> ExitCode {
    let chain = error.chain();
    // Engines show only the last line.
    let lines = chain.lines().map(|line| format!("exec failed: {line}"));
    let text = lines.collect::<Vec<_>>().join("\n");
    crate::log::failure(face, error.code(), &text);
    ExitCode::from(face.statuses.exec)
}

/// What `exec` would do with this command line, and the warnings. Makes nothing.
pub(crate) fn plan(args: &args::Exec, env: &Env) -> Result<(Box<Plan>, Vec<String>), Error> {
    let (way, mut container) = Way::find(args, env)?;
    let (process, loaded) = way.process(container.process.take())?;
    let (plan, warnings) = way.plan(container, process)?;
    let loaded = loaded.iter().map(ToString::to_string);
    Ok((plan, loaded.chain(warnings).collect()))
}

fn exec(args: &args::Exec, env: &Env) -> Result<ExitCode, Error> {
    let interrupts = SignalFd::block(&INTERRUPTS).map_err(Error::Harden)?;
    let (way, container) = Way::find(args, env)?;
    let signals = signals_to_pass(args.detach)?;
    let entered = way.enter(container, &interrupts);
    let mut started = entered.map_err(|error| match way.first.is_ending() {
        true => Error::EndedMeanwhile {
            source: Box::new(error),
        },
        false => error,
    })?;
    let Some(signals) = signals else {
        return Ok(ExitCode::SUCCESS);
    };
    let exit = until_end(&mut started, &signals, None).map_err(|source| Error::Process {
        id: way.id,
        action: "wait for",
        source,
    })?;
    Ok(exit_code(exit, env))
}

/// The way into one container.
struct Way<'a> {
    args: &'a args::Exec,
    id: ContainerId,
    record: Record,
    first: First,
}

impl<'a> Way<'a> {
    /// Finds the container, and its saved configuration.
    fn find(args: &'a args::Exec, env: &Env) -> Result<(Self, Box<Container>), Error> {
        let action = match args.ignore_paused {
            true => Action::ExecPaused,
            false => Action::Exec,
        };
        let (entry, record, observed) = env.find(&args.id(), Lock::None, action)?;
        let id = entry.id().clone();
        let first = observed
            .process
            .ok_or_else(|| Refusal::ExecStopped { id: id.clone() })?;
        let container = spec::load::parse_entered(&entry.config()?, &record.bundle);
        let container = container.map_err(damaged_config)?;
        let way = Self {
            args,
            id,
            record,
            first,
        };
        Ok((way, container))
    }

    /// Decides what the process is. Returns the warnings about its file too.
    fn process(&self, saved: Option<Process>) -> Result<(Process, Vec<Diagnostic>), Error> {
        match &self.args.process {
            Some(path) => from_file(path, self.args, saved.as_ref()),
            None => Ok((from_options(self.args, saved)?, Vec::new())),
        }
    }

    /// Decides how it is made.
    fn plan(
        &self,
        mut container: Box<Container>,
        process: Process,
    ) -> Result<(Box<Plan>, Vec<String>), Error> {
        let running = Running::probe(self.first.pid()).map_err(launch::Error::from)?;
        reduce(&mut container, process, &running);
        let request = Request {
            container: &container,
            id: &self.record.id,
            pid: self.first.pid(),
            groups: groups(self.args, &self.record)?,
            resctrl: self.record.shares().cloned(),
            running,
            keyring: match self.record.keeps_keyring {
                true => Keyring::Inherit,
                false => Keyring::New,
            },
            keep_fds: self.args.preserve_fds,
        };
        let facts = Facts::probe_entering(&request)?;
        Ok(lower(&request, &facts)?)
    }

    /// Decides what the process is, and makes it.
    fn enter(
        &self,
        mut container: Box<Container>,
        interrupts: &SignalFd,
    ) -> Result<Started, Error> {
        let (process, warnings) = self.process(container.process.take())?;
        warn(&warnings);
        let told = Told::of(
            self.args.pid_file.as_deref(),
            self.args.pidfd_socket.as_deref(),
        )?;
        let console = console_socket(
            process.terminal,
            self.args.detach,
            self.args.console_socket.as_deref(),
        )?;
        let (plan, warnings) = self.plan(container, process)?;
        plan::log(&plan, &warnings);
        self.start(plan, console, &told, interrupts)
    }

    /// Makes the process, writes its pid file and waits until it runs.
    fn start(
        &self,
        plan: Box<Plan>,
        console: Option<ConsoleSocket>,
        told: &Told,
        interrupts: &SignalFd,
    ) -> Result<Started, Error> {
        let target = Target {
            pid: self.first.pid(),
            pidfd: self.first.pidfd(),
        };
        let mut handles = open(&plan, target)?;
        if let Some(socket) = console {
            handles.send_terminal_to(socket);
        }
        let start = Start::ByRuntime;
        let (created, ()) = launch::launch(plan, handles, start, interrupts, |_pid, _groups| ())?;
        created.master().into_iter().for_each(ready);
        let started = told
            .tell(&created, Role::Further)
            .and_then(|()| Ok(created.release()?))
            .and_then(|()| Ok(created.until_started(interrupts)?));
        match started {
            Ok(()) => Ok(created.into_started()),
            Err(error) => {
                if let Err(left) = created.discard() {
                    tracing::error!("{left}");
                }
                told.undo();
                Err(error)
            }
        }
    }
}

/// The cgroups to join: where the container's first process is now, or below the container's own.
fn groups(args: &args::Exec, record: &Record) -> Result<cgroup::Location, Error> {
    let Some(own) = record.groups() else {
        if let Some(given) = args.cgroup.first() {
            return Err(Error::NoSubGroup {
                given: given.clone(),
            });
        }
        return Ok(cgroup::Location::none(record.cgroup_manager));
    };
    if args.cgroup.is_empty() {
        return Ok(own.of_first());
    }
    let mut groups = own.clone();
    for given in &args.cgroup {
        let below = match given.split_once(':') {
            None => groups.below(given),
            Some((controllers, path)) => {
                let controllers: Vec<&str> = controllers.split(',').collect();
                groups.below_for(&controllers, path)
            }
        };
        groups = below.map_err(|source| Error::SubGroup {
            given: given.clone(),
            source,
        })?;
    }
    Ok(groups)
}

/// The process of a file.
fn from_file(
    path: &Path,
    args: &args::Exec,
    first: Option<&Process>,
) -> Result<(Process, Vec<Diagnostic>), Error> {
    if let Some(extra) = args.command().first() {
        return Err(Error::Option {
            option: "--process",
            given: extra.to_string_lossy().into_owned(),
            expected: "nothing after the id, because the file has the command",
        });
    }
    let (mut process, warnings) = spec::load::load_process(path, first)?;
    process.terminal |= args.tty;
    Ok((process, warnings))
}

/// The process of the configuration, changed by the options.
fn from_options(args: &args::Exec, saved: Option<Process>) -> Result<Process, Error> {
    let mut process = saved.ok_or(Error::NoProcessToChange)?;
    let command = args.command();
    if command.is_empty() {
        return Err(Error::NoCommand);
    }
    process.args = command.iter().map(word).collect::<Result<_, _>>()?;
    process.terminal = args.tty;
    process.console_size = None;
    if let Some(cwd) = &args.cwd {
        if !cwd.is_absolute() {
            return Err(Error::Option {
                option: "--cwd",
                given: cwd.display().to_string(),
                expected: "an absolute path in the container",
            });
        }
        process.cwd.clone_from(cwd);
    }
    for variable in &args.env {
        add_variable(&mut process.env, variable)?;
    }
    if let Some((uid, gid)) = args.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(&args.additional_gids);
    for capability in &args.cap {
        let capability = CapSet::of(*capability);
        let sets = &mut process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            *set = set.or(capability);
        }
        // The inheritable set is never widened (CVE-2022-29162); without it there is no ambient
        // one.
        sets.ambient = sets.ambient.or(capability.and(sets.inheritable));
    }
    process.no_new_privileges |= args.no_new_privs;
    if let Some(label) = &args.process_label {
        process.selinux_label = Some(label.clone());
    }
    if let Some(profile) = &args.apparmor {
        process.apparmor_profile = Some(profile.clone());
    }
    Ok(process)
}

/// Adds one `NAME=VALUE`, in place of the one that has its name.
fn add_variable(env: &mut Vec<String>, variable: &str) -> Result<(), Error> {
    let name = variable.split_once('=').map_or("", |(name, _)| name);
    if name.is_empty() {
        return Err(Error::Option {
            option: "--env",
            given: variable.to_owned(),
            expected: "NAME=VALUE",
        });
    }
    env.retain(|entry| entry.split_once('=').is_none_or(|(other, _)| other != name));
    env.push(variable.to_owned());
    Ok(())
}

fn word(word: &OsString) -> Result<String, Error> {
    word.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::Option {
            option: "COMMAND",
            given: word.to_string_lossy().into_owned(),
            expected: "UTF-8",
        })
}
