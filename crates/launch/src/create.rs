//! The creation of a container, on the runtime's side.
//!
//! [`launch`] makes a process from a lowered plan. It is set up and waits. The runtime releases it
//! to run the container's program ([`Created::until_started`]), or leaves it waiting for `start`.
//! After a failure before the release, this module kills init, waits for it and removes its cgroup.
//! After the release the caller decides when to do so ([`Created::discard`]), since another command
//! may have done it.

use crate::attributes;
use crate::failure::Failure;
use crate::plan::{FileHandles, Files, Handles, Loopback, Plan};
use crate::protocol::{self, End, Link, Runtime};
use crate::stage::init;
use crate::stage::runtime::{LISTENER, Opened, Stage, lost};
use crate::{Error, Start};
use kernel::clone::{self, Block, Child, CloneOptions, NamespaceFlags, Side, SingleThread, Target};
use kernel::errno::{chain, words};
use kernel::signal::SignalFd;
use kernel::{Errno, link, process, schedule, socket};
use namespace::Kind;
use namespace::join::Joined;
use nix::poll::{PollFd, PollFlags, poll};
use rootfs::Away;
use spec::Container;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The name of the socket in the state directory at which a created container waits for its start.
pub const START_SOCKET: &str = "start.sock";

/// How long the removal of the cgroup of a failed creation may take.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// How long a killed process may take to end, in milliseconds.
const DEATH: u16 = 2000;

/// A process that is set up as the plan says, and waits to be released.
#[derive(Debug)]
pub struct Created {
    plan: Box<Plan>,
    group: cgroup::Group,
    child: Child,
    link: Link<Runtime>,
    master: Option<OwnedFd>,
    moved: Option<network::Moved>,
    shares: Option<resctrl::Groups>,
}

/// Makes the cgroup and init, and answers init until it is ready. `prepare` is called once with the
/// pid of init and its groups, while init works.
pub fn launch<T>(
    plan: Box<Plan>,
    mut handles: Handles,
    start: Start<BorrowedFd<'_>>,
    interrupts: &SignalFd,
    prepare: impl FnOnce(i32, &cgroup::Location) -> T,
) -> Result<(Created, T), Error> {
    let thread = SingleThread::prove().ok_or(Error::Threads)?;
    let start = match start {
        Start::ByRuntime => Start::ByRuntime,
        Start::ByCommand(directory) => Start::ByCommand(
            socket::listen_at(directory, START_SOCKET)
                .map_err(|errno| Error::StartSocket { why: words(errno) })?,
        ),
    };
    let (mut group, unrestricted) = make_group(&plan, &handles)?;
    let shares = match make_shares(&plan, handles.resctrl.take()) {
        Ok(shares) => shares,
        Err(error) => return Err(undo_group(&group, error.into())),
    };
    let own_limit = plan.own_limit;
    let made = make_init(plan, handles, start, &group, &thread);
    if let Some(limit) = own_limit {
        // What takes many descriptors is done, and hooks inherit the limit. To lower it needs no
        // rights.
        let _lowered = process::prlimit(0, limit.resource, limit.soft, limit.hard);
    }
    let (plan, mut opened, child, link) = match made {
        Ok(made) => made,
        Err(error) => return Err(undo_groups(&group, None, shares, error)),
    };
    let mut stage = Stage {
        plan: &plan,
        opened: &mut opened,
        group: &mut group,
        link: &link,
        interrupts,
        thread: &thread,
        child,
        deadline: None,
        master: None,
        moved: None,
    };
    let ready = stage.until_ready(|stage| {
        if let Some(unrestricted) = unrestricted {
            stage.plan.cgroup.restrict(stage.group, unrestricted)?;
        }
        if plan.loopback == Loopback::ByRuntime {
            loopback_up(stage.child.pidfd.as_fd())?;
        }
        if let Some(shares) = &shares {
            shares.admit(stage.child.pid)?;
        }
        Ok(prepare(stage.child.pid, stage.group.location()))
    });
    let Stage {
        child,
        master,
        moved,
        ..
    } = stage;
    match ready {
        Ok(done) => {
            let created = Created {
                plan,
                group,
                child,
                link,
                master,
                moved,
                shares,
            };
            Ok((created, done))
        }
        Err(error) => {
            kill(&child);
            Err(undo_groups(&group, moved, shares, error))
        }
    }
}

/// Makes the groups of resctrl, if the plan has any.
fn make_shares(
    plan: &Plan,
    handles: Option<resctrl::Handles>,
) -> Result<Option<resctrl::Groups>, resctrl::Error> {
    let both = plan.resctrl.as_ref().zip(handles);
    both.map(|(plan, handles)| plan.create(handles)).transpose()
}

/// Makes the cgroup. Its limits are set while init works, unless init runs hooks or opens devices
/// without a request before.
fn make_group(
    plan: &Plan,
    handles: &Handles,
) -> Result<(cgroup::Group, Option<cgroup::Unrestricted>), Error> {
    let opens_devices = matches!(&plan.files, Files::Make(tree) if tree.may_open_devices());
    if opens_devices || !plan.hooks.create_container.is_empty() {
        return Ok((plan.cgroup.create(&handles.cgroup)?, None));
    }
    let (group, unrestricted) = plan.cgroup.create_unrestricted(&handles.cgroup)?;
    Ok((group, Some(unrestricted)))
}

/// Clones init. In the new process this does not return.
fn make_init(
    plan: Box<Plan>,
    mut handles: Handles,
    start: Start<OwnedFd>,
    group: &cgroup::Group,
    thread: &SingleThread,
) -> Result<(Box<Plan>, Opened, Child, Link<Runtime>), Error> {
    if let Some(cpus) = &plan.outside.cpus {
        schedule::set_cpus(&cpus.0)
            .map_err(|errno| Error::Init(attributes::describe_cpus("initial", cpus, errno)))?;
    }
    let (runtime, init) = protocol::pair().map_err(Error::Link)?;
    let options = CloneOptions {
        namespaces: plan.entry.clone,
        cgroup: group.clone_into(),
        sibling: false,
    };
    let away = match (&plan.files, &mut handles.files) {
        (Files::Make(tree), FileHandles::Make(files)) => tree.enter(files)?,
        _ => None,
    };
    let child = match clone::clone(thread, options) {
        Ok(Side::Child(thread)) => {
            drop(runtime);
            init::run(plan, handles, start, init, thread)
        }
        Ok(Side::Parent(child)) => Ok(child),
        Err(errno) => Err(errno),
    };
    // This comes first: paths are not valid before it.
    match (away.map_or(Ok(()), Away::back), child) {
        (Ok(()), Ok(child)) => Ok((plan, Opened::of(handles), child, runtime)),
        (Ok(()), Err(errno)) => Err(clone_error(errno, &plan, group.location())),
        (Err(error), child) => {
            child.iter().for_each(kill);
            Err(error.into())
        }
    }
}

/// Enters init's network namespace, brings up its loopback link, and returns to the own namespace.
pub fn loopback_up(init: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = |errno| Error::Loopback { why: words(errno) };
    let own = Joined::open(Kind::Network, Path::new("/proc/self/ns/net"))?;
    match clone::setns(init, NamespaceFlags::NETWORK) {
        Ok(()) => {}
        // Init has ended, and its message says why.
        Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    }
    let up = link::loopback_up();
    // This comes first: hooks run in the namespace of this process.
    clone::setns(own.fd.as_fd(), NamespaceFlags::NETWORK).map_err(failed)?;
    up.map_err(failed)
}

/// The limit on processes that was reached (EAGAIN), if it can be found.
pub(crate) fn process_limit(location: &cgroup::Location) -> String {
    match location.process_limit() {
        Some(found) => format!(
            "; a limit on processes is reached: pids.max of cgroup {:?} is {}",
            found.group, found.limit
        ),
        None => "; a limit on processes is reached: pids.max of a cgroup, ulimit -u or kernel.threads-max".to_owned(),
    }
}

fn clone_error(errno: Errno, plan: &Plan, location: &cgroup::Location) -> Error {
    let hint = match errno {
        Errno::EAGAIN => &process_limit(location),
        Errno::EACCES if plan.first.is_some() => {
            "; this user may not move a process from the caller's cgroup to the container's: run the command in the cgroup tree of the container, such as by `systemd-run --user --scope`"
        }
        Errno::ENOSPC => "; a limit below /proc/sys/user (max_*_namespaces) is reached",
        Errno::EPERM => {
            "; an ordinary user needs a user namespace in /linux/namespaces, and /proc/sys/user/max_user_namespaces above 0"
        }
        _ => "",
    };
    Error::Clone {
        namespaces: plan.entry.describe_clone(),
        why: words(errno),
        hint: hint.to_owned(),
    }
}

impl Created {
    /// The pid in the runtime's namespace.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Init's handle.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The master of the terminal, if it has one and no socket was given for it.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().map(OwnedFd::as_fd)
    }

    /// Lets init continue: it waits for its start, or runs the program. From here on the container
    /// lives without the runtime.
    pub fn release(&self) -> Result<(), Error> {
        self.link.go().map_err(Error::Link)
    }

    /// Waits until the released init has run its startContainer hooks and has become the program. A
    /// signal at `interrupts` ends the wait. After an error init is dead, but its cgroup still
    /// exists.
    ///
    /// # Errors
    /// [`Error::Init`]; how init was ended; [`Error::Interrupted`]; [`Error::Link`].
    pub fn until_started(&self, interrupts: &SignalFd) -> Result<(), Error> {
        let error = match end(&self.link, Some(interrupts), self.plan.patience()) {
            Ok(End::Program) => return Ok(()),
            Ok(End::Failure(failure)) => Error::Init(self.plan.describe(&failure)),
            Ok(End::Lost) => lost(&self.child, &self.group),
            Ok(End::Interrupted(signal)) => Error::Interrupted { signal },
            Ok(End::Silent) => Error::SilentListener,
            Err(error) => error,
        };
        kill(&self.child);
        Err(error)
    }

    /// The running process, for a caller that waits for it.
    pub fn into_started(self) -> Started {
        Started {
            pid: self.child.pid,
            pidfd: self.child.pidfd,
            master: self.master,
        }
    }

    /// Kills init, removes its groups and takes its network devices back. The error says what is
    /// left.
    pub fn discard(self) -> Result<(), Error> {
        kill(&self.child);
        let taken_back = take_back(self.moved, self.shares);
        self.group.end(CLEAN_UP)?;
        taken_back
    }
}

/// A process that has become the container's program.
#[derive(Debug)]
pub struct Started {
    /// In the runtime's namespace.
    pub pid: i32,
    /// Close-on-exec.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one and no socket was given for it; close-on-exec.
    pub master: Option<OwnedFd>,
}

/// A created container that this process is about to start.
#[derive(Debug)]
pub struct Starting(Link<Runtime>);

impl Starting {
    /// Connects to the created container of this state directory. The container continues to wait.
    ///
    /// # Errors
    /// [`Error::InitGone`]; [`Error::StartSocket`].
    pub fn reach(directory: BorrowedFd<'_>) -> Result<Self, Error> {
        match socket::connect_at(directory, START_SOCKET) {
            Ok(socket) => Ok(Self(Link::over(socket))),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => Err(Error::InitGone),
            Err(errno) => Err(Error::StartSocket { why: words(errno) }),
        }
    }

    /// Releases it.
    pub fn go(&self) -> Result<(), Error> {
        self.0.go().map_err(Error::Link)
    }

    /// Waits until it has run its startContainer hooks and has become its program. `explain` makes
    /// the sentence for a failure of init. After a while `patience` is asked how long it may take:
    /// see [`patience`].
    ///
    /// # Errors
    /// [`Error::Init`]; [`Error::EndedBefore`]; [`Error::SilentListener`]; [`Error::Link`].
    pub fn until_started(
        self,
        explain: impl FnOnce(&Failure) -> String,
        patience: impl FnOnce() -> Option<Duration>,
    ) -> Result<(), Error> {
        let ended = match end(&self.0, None, Some(LISTENER))? {
            End::Silent if patience().is_none() => end(&self.0, None, None)?,
            ended => ended,
        };
        match ended {
            End::Program => Ok(()),
            End::Silent => Err(Error::SilentListener),
            End::Failure(failure) => Err(Error::Init(explain(&failure))),
            End::Lost => Err(Error::EndedBefore),
            End::Interrupted(signal) => Err(Error::Interrupted { signal }),
        }
    }
}

fn end(
    link: &Link<Runtime>,
    interrupts: Option<&SignalFd>,
    patience: Option<Duration>,
) -> Result<End, Error> {
    link.end(interrupts, patience).map_err(Error::Link)
}

/// How long a container of this configuration may take from its start to its program. `None` means
/// no limit: its hooks have no limit, or no seccomp listener has to answer for init.
pub fn patience(container: &Container) -> Option<Duration> {
    let asks = container.seccomp.as_ref().is_some_and(seccomp::asks);
    (asks && container.hooks.start_container.is_empty()).then_some(LISTENER)
}

/// Takes the network devices back and removes the groups. If that fails, both errors are reported.
fn undo_groups(
    group: &cgroup::Group,
    moved: Option<network::Moved>,
    shares: Option<resctrl::Groups>,
    error: Error,
) -> Error {
    let error = match take_back(moved, shares) {
        Ok(()) => error,
        Err(left) => undo_failed(error, &left),
    };
    undo_group(group, error)
}

/// Moves the network devices back and removes the groups of resctrl.
fn take_back(moved: Option<network::Moved>, shares: Option<resctrl::Groups>) -> Result<(), Error> {
    let given_back = moved.map_or(Ok(()), network::Moved::give_back);
    let removed = shares.map_or(Ok(()), |shares| shares.remove());
    given_back?;
    Ok(removed?)
}

fn undo_group(group: &cgroup::Group, error: Error) -> Error {
    match group.end(CLEAN_UP) {
        Ok(()) => error,
        Err(left) => undo_failed(error, &left),
    }
}

fn undo_failed(error: Error, left: &dyn std::error::Error) -> Error {
    let (error, left) = (Box::new(error), chain(left));
    Error::Undo { error, left }
}

/// Kills init and waits until it has ended. A killed process in a frozen group of cgroup v1 ends
/// when the group is thawed, so the wait has a limit.
pub(crate) fn kill(child: &Child) {
    let pidfd = child.pidfd.as_fd();
    let _gone_already = clone::pidfd_send_signal(pidfd, process::SIGKILL);
    let _ended = poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], DEATH);
    let _waited_already = clone::wait(Target::Pidfd(pidfd), Block::No);
}
