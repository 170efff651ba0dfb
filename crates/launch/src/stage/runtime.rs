//! The runtime's side of a creation: it answers the requests of init until init is ready.

use crate::Error;
use crate::create::{kill, process_limit};
use crate::describe;
use crate::failure::Phase;
use crate::hooks::{Cause, State, Surroundings};
use crate::plan::{Handles, OomScore, Plan};
use crate::process::give_stream_to;
use crate::protocol::{Link, Message, Request, Runtime};
use crate::terminal::{self, Receiver};
use kernel::clone::{self, Block, Child, Exit, SingleThread, Target};
use kernel::errno::{chain, words};
use kernel::process;
use kernel::signal::SignalFd;
use kernel::{Errno, pipe};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long a seccomp listener may take to accept the connection. After that, how long init may
/// take to be ready, including the listener's answers. After that, how long it may take to become
/// the program.
pub(crate) const LISTENER: Duration = Duration::from_secs(10);

/// How far init is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    AtWork,
    Ready,
}

/// The handles that the runtime needs after the clone. The trees of the host are closed: init has
/// them now.
#[derive(Debug)]
pub(crate) struct Opened {
    namespaces: namespace::Handles,
    cgroup: cgroup::Handles,
    receiver: Receiver,
    network: Option<network::Handles>,
}

impl Opened {
    pub(crate) fn of(handles: Handles) -> Self {
        Self {
            namespaces: handles.namespaces,
            cgroup: handles.cgroup,
            receiver: handles.receiver,
            network: handles.network,
        }
    }
}

/// A conversation with init.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) opened: &'a mut Opened,
    pub(crate) group: &'a mut cgroup::Group,
    pub(crate) link: &'a Link<Runtime>,
    pub(crate) interrupts: &'a SignalFd,
    pub(crate) thread: &'a SingleThread,
    /// The process that is init: a relay replaces it.
    pub(crate) child: Child,
    /// When the time limit of the listener ends: see [`process::monotonic_ms`].
    pub(crate) deadline: Option<u64>,
    /// The master of the terminal, for the caller.
    pub(crate) master: Option<OwnedFd>,
    /// The network devices that have moved.
    pub(crate) moved: Option<network::Moved>,
}

impl Stage<'_> {
    /// Serves init until it is ready and verified against the plan. `work` is called once, when
    /// init works alone for the longest time: after its last request on the way into the
    /// namespaces.
    pub(crate) fn until_ready<T>(
        &mut self,
        work: impl FnOnce(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.plan.oom_score() == OomScore::BeforeMaps {
            self.set_oom_score()?;
        }
        self.give_streams(|uid| self.plan.entry.running_uid(uid));
        for _question in 0..self.plan.entry.questions() {
            if self.answer()? == Progress::Ready {
                let errno = Errno::EPROTO;
                return Err(Error::Link(errno));
            }
        }
        if self.plan.oom_score() == OomScore::AfterHops {
            self.set_oom_score()?;
        }
        let done = work(self)?;
        // If this fails, init may be about to report why.
        let verified = self.plan.entry.ends_with_the_clone() && self.verify_place().is_ok();
        while self.answer()? == Progress::AtWork {}
        self.set_limits()?;
        if !verified {
            self.verify_place()?;
        }
        self.verify_filter()?;
        Ok(done)
    }

    /// Serves one request of init.
    fn answer(&mut self) -> Result<Progress, Error> {
        match self.next()? {
            Message::Request(request, fd) => self.serve(request, fd),
            Message::Failure(failure) => {
                let mut message = self.plan.describe(&failure);
                if failure.phase == Phase::Entry && failure.errno() == Errno::EAGAIN {
                    message.push_str(&process_limit(self.group.location()));
                }
                Err(Error::Init(message))
            }
            Message::Closed => Err(lost(&self.child, self.group)),
        }
    }

    /// Waits for init's next message, or for a signal that asks this process to stop.
    fn next(&self) -> Result<Message, Error> {
        loop {
            let mut fds = [
                PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            let left = self
                .deadline
                .map(|until| until.saturating_sub(process::monotonic_ms()));
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut fds, timeout) {
                Ok(0) if left == Some(0) => return Err(Error::SilentListener),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Link(errno)),
            }
            let news = fds.map(|fd| fd.any() == Some(true));
            if news[1]
                && let Ok(Some(signal)) = self.interrupts.next()
            {
                return Err(Error::Interrupted { signal });
            }
            if news[0] {
                return self.link.next().map_err(Error::Link);
            }
            if news[2] {
                // Init has ended without a message, but a sibling that was not announced yet may
                // still hold the link.
                return Ok(Message::Closed);
            }
        }
    }

    fn serve(&mut self, request: Request, fd: Option<OwnedFd>) -> Result<Progress, Error> {
        match (request, fd) {
            (Request::JoinCgroup, _) => {
                let plan = &self.plan.cgroup;
                plan.admit(&self.opened.cgroup, self.group, self.child.pid)?;
            }
            (Request::MapIds, _) => {
                if let Some(maps) = &self.plan.entry.id_maps {
                    self.give_streams(|uid| maps.host_uid(uid));
                    maps.write(self.child.pid)?;
                }
            }
            (Request::Relayed(pid), _) => self.adopt(pid)?,
            (Request::Born(pid), _) => {
                self.adopt(pid)?;
                return Ok(Progress::Ready);
            }
            (Request::RunHooks, _) => self.run_hooks()?,
            (Request::Notify, Some(listener)) => self.notify(&listener)?,
            (Request::TakeListener(number), _) => {
                let listener = clone::pidfd_getfd(self.child.pidfd.as_fd(), number);
                let listener = listener.map_err(|errno| Error::Listener(format!(
                        "take the descriptor of the filter from the container process: pidfd_getfd: {}; SCMP_ACT_NOTIFY for `sendmsg` needs CAP_SYS_PTRACE of the runtime",
                        words(errno)
                    )))?;
                self.notify(&listener)?;
            }
            (Request::Terminal, Some(master)) => self.take_terminal(master)?,
            (Request::MoveDevices, Some(socket)) => self.move_devices(&socket)?,
            (Request::Ready, _) => return Ok(Progress::Ready),
            (Request::Notify | Request::Terminal | Request::MoveDevices, None)
            | (Request::Exec, _) => return Err(Error::Link(Errno::EPROTO)),
        }
        self.link.go().map_err(Error::Link)?;
        Ok(Progress::AtWork)
    }

    /// Gives the standard streams to the container's user: in its user namespace init has no rights
    /// over what belongs to an id that is not mapped. ADR 10.
    fn give_streams(&self, host_uid: impl Fn(u32) -> Option<u32>) {
        if self.plan.terminal.is_some() {
            // Init has streams of its own.
            return;
        }
        let user = self.plan.process.as_ref().map(crate::process::Plan::uid);
        let Some(uid) = user.and_then(host_uid) else {
            return;
        };
        for stream in pipe::STANDARD {
            // A stream of another user stays as it is. A failure does not matter: the stream still
            // works.
            let _best_effort = give_stream_to(stream, uid);
        }
    }

    /// Takes the sibling that the first process has made for the container's init.
    fn adopt(&mut self, pid: i32) -> Result<(), Error> {
        let failed = Error::Link;
        let pidfd = clone::pidfd_open(pid).map_err(failed)?;
        // It must be a child of this process: init may already be in the hands of the container.
        if clone::wait(Target::Pidfd(pidfd.as_fd()), Block::No)
            .map_err(failed)?
            .is_some()
        {
            return Err(failed(Errno::ESRCH));
        }
        let relay = std::mem::replace(&mut self.child, Child { pid, pidfd });
        // It ends at once, unless it is stopped, or frozen with its cgroup.
        while clone::wait(Target::Pidfd(relay.pidfd.as_fd()), Block::No)
            .map_err(failed)?
            .is_none()
        {
            let mut fds = [
                PollFd::new(self.interrupts.as_fd(), PollFlags::POLLIN),
                PollFd::new(relay.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
            if let Ok(Some(signal)) = self.interrupts.next() {
                kill(&relay);
                return Err(Error::Interrupted { signal });
            }
        }
        Ok(())
    }

    /// Moves the network devices to init, once.
    fn move_devices(&mut self, socket: &OwnedFd) -> Result<(), Error> {
        let (Some(plan), Some(handles)) = (&self.plan.network, self.opened.network.take()) else {
            return Err(Error::Link(Errno::EPROTO));
        };
        self.moved = Some(plan.move_to(handles, socket)?);
        Ok(())
    }

    /// Gives the master of the terminal to the process that serves it.
    fn take_terminal(&mut self, master: OwnedFd) -> Result<(), Error> {
        if self.plan.terminal.is_none() || !terminal::is_master(master.as_fd()) {
            return Err(Error::Link(Errno::EPROTO));
        }
        match &self.opened.receiver {
            Receiver::Socket(socket) => socket.send(master.as_fd()),
            Receiver::Caller => {
                self.master = Some(master);
                Ok(())
            }
        }
    }

    /// Sends the descriptor of the filter's notifications to the listener of the configuration.
    fn notify(&mut self, fd: &OwnedFd) -> Result<(), Error> {
        let listener = self
            .plan
            .seccomp
            .as_ref()
            .and_then(|plan| plan.listener.as_ref());
        let Some(listener) = listener else {
            return Err(Error::Link(Errno::EPROTO));
        };
        // For a further process the state also has the container's first process.
        let container = self.plan.first.unwrap_or(self.child.pid);
        listener
            .send(fd.as_fd(), (container, self.child.pid), LISTENER)
            .map_err(|error| {
                let message = chain(&error);
                Error::Listener(message)
            })?;
        self.deadline = Some(process::in_monotonic_ms(LISTENER));
        Ok(())
    }

    /// A filter that is loaded before init is ready must be in force now. A container without a
    /// process has no program to filter.
    fn verify_filter(&self) -> Result<(), Error> {
        let early = self.plan.seccomp.as_ref().is_some_and(|plan| {
            plan.listener.is_some() || plan.moment == seccomp::Moment::BeforeCapabilities
        });
        if !early || self.plan.process.is_none() {
            return Ok(());
        }
        let path = format!("/proc/{}/status", self.child.pid);
        #[expect(
            clippy::disallowed_methods,
            reason = "the host's /proc; the process is our child"
        )]
        let status = std::fs::read(path).unwrap_or_default();
        let filtered = status
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"Seccomp:\t2");
        if filtered {
            Ok(())
        } else {
            Err(Error::NoFilter)
        }
    }

    fn run_hooks(&self) -> Result<(), Error> {
        let hooks = &self.plan.hooks;
        let state = State {
            text: &self.plan.state.creating,
            pid: self.child.pid,
            interrupts: Some(self.interrupts),
        };
        for list in [&hooks.prestart, &hooks.create_runtime] {
            list.run(
                self.thread,
                state,
                Surroundings::in_directory(&hooks.bundle),
            )
            .map_err(|failed| match failed.cause {
                Cause::Interrupted(signal) => Error::Interrupted { signal },
                _ => Error::Hook(list.describe(&failed)),
            })?;
        }
        Ok(())
    }

    /// Sets the score of init: [`OomScore`] says when.
    fn set_oom_score(&self) -> Result<(), Error> {
        let Some(score) = &self.plan.outside.oom_score_adj else {
            return Ok(());
        };
        let path =
            CString::new(format!("/proc/{}/oom_score_adj", self.child.pid)).unwrap_or_default();
        pipe::write_file(&path, score.as_bytes()).map_err(|errno| Error::OomScore {
            score: score.clone(),
            why: words(errno),
        })
    }

    /// What init may not set on itself. Last: limits would hold for the set-up too.
    fn set_limits(&self) -> Result<(), Error> {
        let attributes = &self.plan.outside.attributes;
        attributes
            .apply(self.child.pid)
            .map_err(|failed| Error::Init(attributes.describe(&failed)))?;
        for (index, limit) in self.plan.outside.rlimits.iter().enumerate() {
            process::prlimit(self.child.pid, limit.resource, limit.soft, limit.hard)
                .map_err(|errno| Error::Init(describe::limit(index, &words(errno))))?;
        }
        Ok(())
    }

    /// Checks that init is in the namespaces and groups of the plan.
    fn verify_place(&self) -> Result<(), Error> {
        self.plan
            .entry
            .verify(&self.opened.namespaces, &self.child)
            .map_err(|kind| Error::WrongNamespace { kind: kind.name() })?;
        Ok(self.group.verify(self.child.pid)?)
    }
}

/// How init ended, after it closed the link without a message.
pub(crate) fn lost(init: &Child, group: &cgroup::Group) -> Error {
    match clone::wait(Target::Pidfd(init.pidfd.as_fd()), Block::Yes) {
        Ok(Some((_, Exit::Code(code)))) => Error::InitExited { code },
        Ok(Some((_, Exit::Signal(signal)))) => match group.out_of_memory() {
            Ok(Some(memory)) => Error::OutOfMemory {
                limit: memory.limit.unwrap_or(u64::MAX),
                peak: memory.peak,
            },
            Ok(None) | Err(_) => Error::InitKilled { signal },
        },
        Ok(None) => Error::Link(Errno::ECHILD),
        Err(errno) => Error::Link(errno),
    }
}
