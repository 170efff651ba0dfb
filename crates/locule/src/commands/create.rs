//! `create`: makes a container that waits for its start.
//!
//! Also has the steps that `create` and `run` share: they reserve a name, decide everything, write
//! down what they will make, and then make it. A failure leaves nothing behind.

use super::told::{Role, Told};
use super::{Env, delete, hooks, plan, warn};
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::notify::{self, Proxy};
use crate::process::start_time;
use crate::state::{self, Access, ContainerId, Entry, Record, Reservation, Store};
use crate::terminal::console_socket;
use kernel::signal::SignalFd;
use launch::terminal::ConsoleSocket;
use launch::{Created, Facts, Keyring, Plan, Start, Started};
use spec::Container;
use spec::container::PIDFD_RECEIVER;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The signals that ask a command to stop: SIGHUP, SIGINT, SIGQUIT, SIGTERM.
pub(crate) const INTERRUPTS: [i32; 4] = [1, 2, 3, 15];

/// Makes one container.
pub(crate) fn run(args: &args::Create, env: &Env) -> Result<ExitCode, Error> {
    let made = Made::make(args, env, Start::ByCommand(()), Terminal::Sent)?;
    made.release()?;
    Ok(ExitCode::SUCCESS)
}

/// Who serves the container's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// The process that listens at the console socket: the command does not stay.
    Sent,
    /// This command.
    Kept,
}

/// A container that is set up, recorded, and not yet released.
#[derive(Debug)]
pub(crate) struct Made {
    reservation: Reservation,
    record: Record,
    /// Whether the record with its process was written.
    prepared: Result<(), Error>,
    created: Created,
    told: Told,
    interrupts: SignalFd,
    /// The proxy that forwards the readiness of the container.
    pub(crate) proxy: Option<Proxy>,
}

impl Made {
    /// Does everything up to the release.
    pub(crate) fn make(
        args: &args::Create,
        env: &Env,
        start: Start<()>,
        terminal: Terminal,
    ) -> Result<Self, Error> {
        let interrupts = SignalFd::block(&INTERRUPTS).map_err(Error::Harden)?;
        let id = ContainerId::new(args.id())?;
        let config = args
            .config
            .as_deref()
            .unwrap_or(Path::new(spec::load::CONFIG));
        let mut loaded = spec::load::load(&args.bundle, config)?;
        warn(&loaded.warnings);
        if start == Start::ByRuntime && loaded.container.process.is_none() {
            return Err(Error::NoProcess);
        }
        let annotated = loaded.container.annotations.get(PIDFD_RECEIVER);
        let receiver = args.pidfd_socket.as_deref().or(annotated.map(Path::new));
        let told = Told::of(args.pid_file.as_deref(), receiver)?;
        let process = loaded.container.process.as_ref();
        let console = console_socket(
            process.is_some_and(|process| process.terminal),
            terminal == Terminal::Sent,
            args.console_socket.as_deref(),
        )?;
        let store = env.store(Access::Make)?;
        let reservation = store.reserve(&id)?;
        let making = Making {
            args,
            env,
            interrupts: &interrupts,
            reservation: &reservation,
        };
        let made = proxy(&reservation, &store, &mut loaded.container, start).and_then(|proxy| {
            let made = making.make(loaded.container, &loaded.bytes, start, console)?;
            Ok((proxy, made))
        });
        match made {
            Ok((proxy, (record, created, prepared))) => Ok(Self {
                reservation,
                record,
                prepared,
                created,
                told,
                interrupts,
                proxy,
            }),
            Err(error) => {
                give_back(reservation);
                Err(error)
            }
        }
    }

    /// The master end of the terminal that this command serves.
    pub(crate) fn master(&self) -> Option<BorrowedFd<'_>> {
        self.created.master()
    }

    /// Records the process, writes its pid file and releases it.
    pub(crate) fn release(self) -> Result<Released, Error> {
        let Self {
            reservation,
            record,
            prepared,
            created,
            told,
            interrupts,
            proxy: _,
        } = self;
        let recorded = prepared.and_then(|()| {
            reservation.show()?;
            told.tell(&created, Role::First)
        });
        let released = recorded.and_then(|()| Ok(created.release()?));
        let entry = reservation.into_entry();
        if let Err(error) = released {
            undo(entry, created, &record, &told);
            return Err(error);
        }
        Ok(Released {
            // From here on other commands may start, signal, pause or even delete the container.
            entry: entry.release(),
            record,
            created,
            told,
            interrupts,
        })
    }
}

/// A container that lives without this command. Other commands may work on it.
#[derive(Debug)]
pub(crate) struct Released {
    entry: Entry,
    record: Record,
    created: Created,
    told: Told,
    interrupts: SignalFd,
}

impl Released {
    /// Waits until its program runs. After a failure it deletes the container, unless another
    /// command has done so.
    pub(crate) fn until_started(self) -> Result<(Started, Entry, Record), Error> {
        let Self {
            entry,
            record,
            created,
            told,
            interrupts,
        } = self;
        if let Err(error) = created.until_started(&interrupts) {
            match entry.acquire() {
                Ok(entry) => undo(entry, created, &record, &told),
                Err(state::Error::Absent { .. }) => {}
                Err(left) => tracing::error!(code = left.code(), "{left}"),
            }
            return Err(error.into());
        }
        Ok((created.into_started(), entry, record))
    }
}

/// Ends a recorded container, whose lock the caller holds, and frees its name.
fn undo(entry: Entry, created: Created, record: &Record, told: &Told) {
    if let Err(left) = created.discard() {
        tracing::error!("{left}");
    }
    told.undo();
    give_mounts_back(record);
    hooks::poststop(|| entry.config().unwrap_or_default(), record);
    if let Err(error) = entry.remove() {
        tracing::error!(code = error.code(), "{error}");
    }
}

fn give_mounts_back(record: &Record) {
    if let Err(left) = delete::remove_mounts(record) {
        tracing::error!(code = left.code(), "{left}");
    }
}

/// A container that is being made.
struct Making<'a> {
    args: &'a args::Create,
    env: &'a Env,
    interrupts: &'a SignalFd,
    reservation: &'a Reservation,
}

impl Making<'_> {
    fn make(
        &self,
        mut container: Box<Container>,
        config: &[u8],
        start: Start<()>,
        console: Option<ConsoleSocket>,
    ) -> Result<(Record, Created, Result<(), Error>), Error> {
        let annotations = container.annotations.clone();
        self.env.annotate(&mut container);
        let request = launch::Request {
            container: &container,
            id: self.reservation.id().as_str(),
            manager: self.env.cgroup_manager,
            rootless: self.env.rootless,
            pivot: if self.args.no_pivot {
                rootfs::Pivot::Move
            } else {
                rootfs::Pivot::PivotRoot
            },
            keyring: if self.args.no_new_keyring {
                Keyring::Inherit
            } else {
                Keyring::New
            },
            keep_fds: self.env.preserved.count(),
            listen_fds: self.env.preserved.listening,
        };
        let (facts, found) = Facts::probe_for(&request)?;
        let (plan, warnings) = Plan::lower(&request, &facts)?;
        plan::log(&plan, &warnings);
        let mut handles = plan.open(found)?;
        if let Some(socket) = console {
            handles.send_terminal_to(socket);
        }
        let mut record = Record::of(self.reservation.id(), &container, handles.cgroup());
        record.resctrl = handles.resctrl().cloned();
        record.keeps_keyring = self.args.no_new_keyring;
        record.annotations = annotations;
        // To free its many texts takes longer than the clone needs for their few pages.
        std::mem::forget(container);
        plan.look_for_others(&handles)?;
        self.reservation.config(config)?;
        self.reservation.journal(&record)?;
        let start = match start {
            Start::ByCommand(()) => Start::ByCommand(self.reservation.dir()),
            Start::ByRuntime => Start::ByRuntime,
        };
        let prepare = |pid, groups: &_| self.prepare(&mut record, pid, groups);
        match launch::launch(plan, handles, start, self.interrupts, prepare) {
            Ok((created, prepared)) => {
                let prepared = prepared.and_then(|()| self.note_mounts(&mut record));
                Ok((record, created, prepared))
            }
            Err(error) => {
                give_mounts_back(&record);
                hooks::poststop(|| config.to_vec(), &record);
                Err(error.into())
            }
        }
    }

    /// Adds the mounts of a container without a mount namespace of its own to the record. All of
    /// them exist now.
    fn note_mounts(&self, record: &mut Record) -> Result<(), Error> {
        if record.host_mounts.is_none() {
            return Ok(());
        }
        record.identify_mounts().map_err(|source| Error::Mounted {
            id: record.id.clone(),
            point: record.rootfs.clone(),
            source,
        })?;
        Ok(self.reservation.prepare(record)?)
    }

    /// Adds the process to the record. Other commands see it when all is ready.
    fn prepare(
        &self,
        record: &mut Record,
        pid: i32,
        groups: &cgroup::Location,
    ) -> Result<(), Error> {
        let time = start_time(pid).map_err(|source| Error::Process {
            id: self.reservation.id().clone(),
            action: "look at",
            source,
        })?;
        let time = time.ok_or(Error::Launch(launch::Error::InitGone))?;
        record.set_process(pid, time);
        record.cgroup = Some(groups.clone());
        Ok(self.reservation.prepare(record)?)
    }
}

/// Makes the proxy for a caller with NOTIFY_SOCKET. A container that waits for its start gets its
/// socket at its start.
fn proxy(
    reservation: &Reservation,
    store: &Store,
    container: &mut Container,
    start: Start<()>,
) -> Result<Option<Proxy>, Error> {
    let Some(host) = notify::Host::of_caller() else {
        return Ok(None);
    };
    let path = store.path().join(reservation.id().as_str());
    notify::offer(&host, reservation.dir(), &path, container)?;
    match start {
        Start::ByCommand(()) => Ok(None),
        Start::ByRuntime => Proxy::listen(host, reservation.dir()),
    }
}

pub(super) fn give_back(reservation: Reservation) {
    if let Err(error) = reservation.discard() {
        tracing::error!(code = error.code(), "{error}");
    }
}
