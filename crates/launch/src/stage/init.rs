//! Init: from the clone to the container's program.
//!
//! [`story`] reads from top to bottom as the lifecycle of the runtime specification. It uses only
//! data of the plan and system calls: no allocation on the success path, no formatting, no logging,
//! no panics, and it never returns (`-> !`). A failure goes to the runtime in a few bytes. If the
//! runtime has ended, init ends too.

use crate::Start;
use crate::birth::Birth;
use crate::failure::{Failure, Phase};
use crate::hooks::{Directory, State, Surroundings};
use crate::locks::{Before, Locks};
use crate::plan::{FileHandles, Files, Handles, Loopback, OomScore, Plan};
use crate::protocol::{Init, Link, Lost, Request};
use crate::{process, terminal};
use kernel::clone::{self, CloneOptions, NamespaceFlags, Sibling, Side, SingleThread};
use kernel::path::{self, OpenFlags};
use kernel::process::Closing;
use kernel::{Call, Errno, Failed, fs, link as network, pipe, process as own, signal, socket};
use namespace::Hop;
use namespace::entry::Hidden;
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{fchdir, getpid};
use rootfs::RootFd;
use std::convert::Infallible;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Why init ends without becoming the program.
enum End {
    /// A failure to report to the runtime.
    Failure(Failure),
    /// The runtime has ended.
    Orphaned,
    /// Another process continues in this one's place.
    Relayed,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Lost> for End {
    fn from(_: Lost) -> Self {
        Self::Orphaned
    }
}

/// Carries out the plan and becomes the program.
pub(crate) fn run(
    plan: Box<Plan>,
    mut handles: Handles,
    start: Start<OwnedFd>,
    link: Link<Init>,
    thread: SingleThread,
) -> ! {
    kernel::heap::forbid();
    let mut link = link;
    match story(&plan, &mut handles, start, &mut link, thread) {
        Ok(never) => match never {},
        Err(End::Failure(failure)) => {
            link.tell(&failure);
            own::exit_now(1)
        }
        Err(End::Relayed) => own::exit_now(0),
        Err(End::Orphaned) => own::exit_now(1),
    }
}

fn story(
    plan: &Plan,
    handles: &mut Handles,
    start: Start<OwnedFd>,
    link: &mut Link<Init>,
    thread: SingleThread,
) -> Result<Infallible, End> {
    let mut thread = enter_namespaces(plan, handles, link, thread)?;
    // Until the container is created, init must not outlive the runtime.
    die_with_runtime(Some(Signal::SIGKILL))?;
    leave_caller(plan)?;
    if let (Files::Make(tree), FileHandles::Make(files)) = (&plan.files, &mut handles.files)
        && plan.lsm.needs_procfs()
    {
        tree.make_procfs(files).map_err(rootfs_failure)?;
    }
    let joined = plan.lsm.join_keyring(handles.files.procfs());
    joined.map_err(Failure::at(Phase::Label))?;
    if plan.loopback == Loopback::ByInit {
        network::loopback_up().map_err(Failure::of(Phase::Process, Call::Netlink))?;
    }
    if plan.network.is_some() {
        let socket = network::route_socket().map_err(Failed::at(Call::Netlink, 1));
        link.take_devices(socket.map_err(Failure::at(Phase::Process))?)?;
    }
    let root = match (&plan.files, &mut handles.files) {
        (Files::Make(tree), FileHandles::Make(files)) => {
            make_files(plan, tree, files, link, &thread)?
        }
        (_, FileHandles::Join { root, .. }) => {
            let root = join_files(root.take())?;
            make_terminal(plan, &root, link)?;
            root
        }
        (Files::Join, FileHandles::Make(_)) => join_files(None)?,
    };
    let labelled = plan.lsm.apply(handles.files.procfs());
    labelled.map_err(Failure::at(Phase::Label))?;
    let root = close_all_but(plan, link, &start, root)?;
    let mut locks = Locks::make(&plan.locks, plan.seccomp.as_ref(), &root)?;
    if plan.birth == Birth::First {
        thread = be_born(plan, link, &thread, Request::Relayed)?;
        // A clone does not inherit it.
        die_with_runtime(Some(Signal::SIGKILL))?;
    }
    become_user(plan, handles, &root, &mut locks, link)?;
    drop(root);
    let has_hooks = !plan.hooks.start_container.is_empty();
    thread = match plan.birth {
        Birth::Last { .. } => be_born_ready(plan, &mut locks, link, &thread)?,
        Birth::Before | Birth::First => {
            be_ready(has_hooks, &mut locks, link)?;
            thread
        }
    };

    if let Start::ByCommand(listener) = &start {
        *link = Link::over(wait_for_start(listener.as_fd())?);
        link.wait_for_go()?;
    }
    let env = handles.process.as_ref().map(|its| &its.env);
    start_container_hooks(plan, &thread, env, locks.of_hooks())?;
    if let Some(process) = &plan.process {
        process
            .set_late_limit()
            .map_err(Failure::at(Phase::Limits))?;
    }
    // The container continues even if the `start` command was killed.
    let _nobody_listens = link.announce(Request::Exec);
    if has_hooks {
        reset_signals()?;
    }
    become_program(plan, handles, locks, link)
}

/// Becomes the user of the program, with its capabilities and limits.
fn become_user(
    plan: &Plan,
    handles: &mut Handles,
    root: &RootFd,
    locks: &mut Locks,
    link: &Link<Init>,
) -> Result<(), Failure> {
    let (Some(process), Some(its)) = (&plan.process, &mut handles.process) else {
        return Ok(());
    };
    let failed = Failure::at(Phase::Process);
    let cwd = process.prepare_user(its, root).map_err(&failed)?;
    locks.shut_before(Before::Drop, link).map_err(&failed)?;
    process
        .become_user(its, root, &plan.capability, cwd)
        .map_err(&failed)?;
    // The change of ids has cleared the signal.
    die_with_runtime(Some(Signal::SIGKILL))?;
    process.look_up(its).map_err(Failure::at(Phase::Lookup))?;
    verify(process, its, &plan.capability)?;
    process.set_limits().map_err(Failure::at(Phase::Limits))
}

/// Leaves the caller's CPUs and session. The session of a process that is still to be born is not
/// this one.
fn leave_caller(plan: &Plan) -> Result<(), Failure> {
    let Some(process) = &plan.process else {
        return Ok(());
    };
    process.leave_cpus().map_err(Failure::at(Phase::Process))?;
    match plan.birth {
        Birth::Before => process::Plan::leave_session().map_err(Failure::at(Phase::Process)),
        Birth::First | Birth::Last { .. } => Ok(()),
    }
}

/// Gives each signal its default action.
fn reset_signals() -> Result<(), Failure> {
    signal::reset_actions().map_err(Failure::of(Phase::Exec, Call::Prctl))
}

/// Makes the tree, runs the hooks of the creation, and makes the tree's root `/`.
fn make_files(
    plan: &Plan,
    tree: &rootfs::Plan,
    files: &mut rootfs::Handles,
    link: &Link<Init>,
    thread: &SingleThread,
) -> Result<RootFd, End> {
    let root = tree.attach(files).map_err(rootfs_failure)?;
    tree.mount(files, &root).map_err(rootfs_failure)?;
    if let Some(process) = &plan.process {
        process
            .make_cwd(&root)
            .map_err(Failure::at(Phase::Process))?;
    }
    if plan.hooks.has_runtime_hooks() {
        link.ask(Request::RunHooks)?;
    }
    create_container_hooks(plan, thread, &root)?;
    tree.pivot(files, &root).map_err(rootfs_failure)?;
    if let Some(process) = &plan.process {
        process.set_names().map_err(Failure::at(Phase::Process))?;
    }
    make_terminal(plan, &root, link)?;
    tree.seal(files, &root).map_err(rootfs_failure)?;
    Ok(root)
}

/// Makes the terminal and gives its master away. From here on the standard streams are the
/// terminal.
fn make_terminal(plan: &Plan, root: &RootFd, link: &Link<Init>) -> Result<(), End> {
    if let Some(terminal) = &plan.terminal {
        let pair = terminal.make(root).map_err(Failure::at(Phase::Terminal))?;
        if plan.birth == Birth::Before {
            terminal::Plan::control().map_err(Failure::at(Phase::Terminal))?;
        }
        link.hand_over_terminal(pair.master)?;
    }
    Ok(())
}

/// Takes the root directory of the container that was entered. `root` is set if it is not the root
/// of the mount namespace.
fn join_files(root: Option<OwnedFd>) -> Result<RootFd, Failure> {
    let at = |call| Failure::of(Phase::Rootfs, call);
    if let Some(root) = root {
        fchdir(root.as_fd()).map_err(at(Call::Chdir))?;
        fs::chroot_here().map_err(at(Call::Chroot))?;
    }
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    path::open(c"/", flags)
        .map(RootFd::new)
        .map_err(at(Call::Openat2))
}

/// Carries out the hops of the route. A sibling may make the last ones.
fn enter_namespaces(
    plan: &Plan,
    handles: &Handles,
    link: &Link<Init>,
    mut thread: SingleThread,
) -> Result<SingleThread, End> {
    let mut journey = plan.entry.begin().map_err(Failure::at(Phase::Entry))?;
    if plan.oom_score() == OomScore::ByInit {
        set_oom_score(plan)?;
    }
    if plan.entry.hidden() == Hidden::AtOnce {
        hide()?;
    }
    for (index, hop) in plan.entry.hops.iter().enumerate() {
        match hop {
            Hop::AwaitCgroup => link.ask(Request::JoinCgroup)?,
            Hop::MapIds => {
                link.ask(Request::MapIds)?;
                hide()?;
            }
            Hop::Relay(namespaces) => thread = relay(*namespaces, index, link, &thread)?,
            _ => plan
                .entry
                .hop(index, &handles.namespaces, &mut journey)
                .map_err(Failure::at(Phase::Entry))?,
        }
    }
    Ok(thread)
}

/// Continues as a sibling in these namespaces. This process ends without waiting for the runtime's
/// answer. The sibling waits for it, so each answer on the socket has one reader.
fn relay(
    namespaces: NamespaceFlags,
    index: usize,
    link: &Link<Init>,
    thread: &SingleThread,
) -> Result<SingleThread, End> {
    let options = CloneOptions {
        namespaces,
        cgroup: None,
        sibling: true,
    };
    let at = |errno| Failure::at(Phase::Entry)(Failed::at(Call::Clone, index)(errno));
    match clone::clone(thread, options).map_err(at)? {
        Side::Parent(sibling) => {
            link.announce(Request::Relayed(sibling.pid))?;
            Err(End::Relayed)
        }
        Side::Child(thread) => {
            link.wait_for_go()?;
            Ok(thread)
        }
    }
}

/// Says that everything is set up, and waits for the runtime's answer.
fn be_ready(has_hooks: bool, locks: &mut Locks<'_>, link: &Link<Init>) -> Result<(), End> {
    locks
        .shut_before(Before::Ready, link)
        .map_err(Failure::at(Phase::Seccomp))?;
    // From here on a closed link says that the runtime has ended. After its answer the runtime may
    // end.
    die_with_runtime(None)?;
    // After the hooks, if there are any: with the default action of SIGPIPE, init would be killed
    // when it writes to a hook that does not read.
    link.ask_and(Request::Ready, || match has_hooks {
        true => Ok(()),
        false => reset_signals(),
    })??;
    Ok(())
}

/// The same for a process that enters its PID namespace last. There are no hooks.
fn be_born_ready(
    plan: &Plan,
    locks: &mut Locks<'_>,
    link: &Link<Init>,
    thread: &SingleThread,
) -> Result<SingleThread, End> {
    reset_signals()?;
    locks
        .shut_before(Before::Birth, link)
        .map_err(Failure::at(Phase::Seccomp))?;
    be_born(plan, link, thread, Request::Born)
}

/// Continues as a sibling in the container's PID namespace, which waits for the runtime's answer.
/// This process ends, and `request` tells the runtime the pid of the sibling.
fn be_born(
    plan: &Plan,
    link: &Link<Init>,
    thread: &SingleThread,
    request: fn(i32) -> Request,
) -> Result<SingleThread, End> {
    // A tracer in the container could read it.
    own::forget_environment(thread);
    let index = plan.entry.hops.len();
    let at = |errno| Failure::at(Phase::Entry)(Failed::at(Call::Clone, index)(errno));
    match clone::fork_sibling(thread).map_err(at)? {
        Sibling::Made(pid) => {
            link.announce(request(pid))?;
            Err(End::Relayed)
        }
        Sibling::Own(thread) => {
            process::Plan::leave_session().map_err(Failure::at(Phase::Process))?;
            if plan.terminal.is_some() {
                terminal::Plan::control().map_err(Failure::at(Phase::Terminal))?;
            }
            link.wait_for_go()?;
            Ok(thread)
        }
    }
}

/// Before [`hide`]: after it the file may belong to another user.
fn set_oom_score(plan: &Plan) -> Result<(), Failure> {
    let Some(score) = &plan.outside.oom_score_adj else {
        return Ok(());
    };
    pipe::write_file(c"/proc/self/oom_score_adj", score.as_bytes())
        .map_err(Failure::of(Phase::Process, Call::OomScore))
}

/// Makes this process not dumpable. From here on only a process with capabilities over the
/// runtime's own user namespace can trace it or look into its /proc entry. A clone inherits this.
fn hide() -> Result<(), Failure> {
    set_dumpable(false).map_err(Failure::of(Phase::Process, Call::Prctl))
}

/// Whether init is to be killed when the runtime ends.
fn die_with_runtime(signal: Option<Signal>) -> Result<(), Failure> {
    set_pdeathsig(signal).map_err(Failure::of(Phase::Process, Call::Prctl))
}

/// They run in the container's root, since the mapped root may have no access to the bundle. ADR 9.
fn create_container_hooks(
    plan: &Plan,
    thread: &SingleThread,
    root: &RootFd,
) -> Result<(), Failure> {
    let hooks = &plan.hooks.create_container;
    if hooks.is_empty() {
        return Ok(());
    }
    let around = Surroundings {
        directory: Directory::Opened(root.as_fd()),
        process_env: None,
        filter: None,
        limit: plan.own_limit.as_ref(),
    };
    hooks
        .run(thread, state_of(&plan.state.creating), around)
        .map_err(Failure::of_hook(Phase::CreateContainer))
}

fn start_container_hooks(
    plan: &Plan,
    thread: &SingleThread,
    env: Option<&own::CStringArray>,
    filter: Option<&seccomp::Plan>,
) -> Result<(), Failure> {
    let hooks = &plan.hooks.start_container;
    if hooks.is_empty() {
        return Ok(());
    }
    let around = Surroundings {
        directory: Directory::Named(c"/"),
        process_env: env,
        filter,
        limit: plan.process.as_ref().and_then(process::Plan::late_limit),
    };
    hooks
        .run(thread, state_of(&plan.state.created), around)
        .map_err(Failure::of_hook(Phase::StartContainer))
}

/// With the pid that this process has in its own namespace.
fn state_of(text: &spec::state::StateText) -> State<'_> {
    State {
        text,
        pid: getpid().as_raw(),
        interrupts: None,
    }
}

/// Compares the state of the process in the kernel with the plan, before any code of the container
/// runs.
fn verify(
    process: &process::Plan,
    its: &process::Handles,
    capability: &capability::Plan,
) -> Result<(), Failure> {
    process.verify(its).map_err(Failure::at(Phase::Verify))?;
    capability
        .verify()
        .map_err(|failed| Failure::at(Phase::Verify)(Failed { index: 5, ..failed }))
}

/// The container is created: it waits without the runtime until a command starts it, or a signal
/// asks it to stop.
fn wait_for_start(listener: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    signal::end_when_asked().map_err(Failure::of(Phase::Process, Call::Prctl))?;
    socket::accept(listener).map_err(Failure::of(Phase::Process, Call::Receive))
}

/// Closes every descriptor except those of the container, those that the start needs (which the
/// exec closes) and the root, which it returns. This comes before the filter, which may not know
/// close_range(2). The handles are not used again.
fn close_all_but(
    plan: &Plan,
    link: &Link<Init>,
    start: &Start<OwnedFd>,
    root: RootFd,
) -> Result<RootFd, Failure> {
    let failed = |errno| Failure::of(Phase::Process, Call::CloseRange)(errno);
    let handle = root
        .as_fd()
        .try_clone_to_owned()
        .map_err(|_full| failed(Errno::EMFILE))?;
    // The descriptor is closed by number here, so its owner must not close it again.
    mem::forget(root);
    let link = link.as_fd().as_raw_fd();
    let listener = match start {
        Start::ByCommand(listener) => listener.as_raw_fd(),
        Start::ByRuntime => link,
    };
    let mut keep = [link, listener, handle.as_raw_fd()];
    keep.sort_unstable();
    let mut first = plan.keep_fds.saturating_add(3);
    for number in keep {
        let number = u32::try_from(number).map_err(|_negative| failed(Errno::EBADF))?;
        if first < number {
            own::close_range(first, number - 1, Closing::Now).map_err(failed)?;
        }
        first = first.max(number.saturating_add(1));
    }
    own::close_range(first, u32::MAX, Closing::Now).map_err(failed)?;
    Ok(RootFd::new(handle))
}

fn become_program(
    plan: &Plan,
    handles: &Handles,
    mut locks: Locks<'_>,
    link: &Link<Init>,
) -> Result<Infallible, End> {
    signal::unblock_signals().map_err(Failure::of(Phase::Exec, Call::Prctl))?;
    let (Some(process), Some(its)) = (&plan.process, &handles.process) else {
        return Err(Failure::of(Phase::Exec, Call::Exec)(Errno::EINVAL).into());
    };
    locks
        .shut_before(Before::Exec, link)
        .map_err(Failure::at(Phase::Seccomp))?;
    Err(process.exec(its).into())
}

fn rootfs_failure(failure: rootfs::Failure) -> Failure {
    Failure {
        detail: failure.to_bytes(),
        ..Failure::at(Phase::Rootfs)(failure.failed)
    }
}
