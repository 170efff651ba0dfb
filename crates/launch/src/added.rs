//! Mounts that are added to a running container, and removed from it.
//!
//! The runtime opens the sources. A process of its own enters the namespaces of the container,
//! attaches or detaches the mounts and reports their numbers; the runtime never leaves its own
//! namespaces. That process does not enter the PID namespace, so no process there sees it. Mounts
//! stay only if the runtime says that it has recorded them: if it is killed, they are undone.

use crate::exec::Target;
use crate::{Error, tree};
use caller::Caller;
use kernel::clone::{self, Block, Child, NamespaceFlags, Side, SingleThread};
use kernel::path::{self, OpenFlags};
use kernel::signal::SignalFd;
use kernel::{Errno, ids, process, socket};
use namespace::{Kind, Running};
use nix::sys::prctl::set_dumpable;
use rootfs::{Added, Descriptors, Failure, Handles, Plan, root_of_this_process};
use spec::Container;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// How long the file systems of a container may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the process may then take to undo what it has done, and to end when it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The length of a frame.
const FRAME: usize = 9;
/// The number of a mount.
const NUMBER: u8 = 0;
/// What failed in the plan.
const FAILURE: u8 = 1;
/// The errno of the way into the container.
const ENTER: u8 = 2;
/// The errno of a removal, and which mount it was.
const REMOVAL: u8 = 3;

/// The mounts are made, and the process waits for one byte; or the mount is removed.
const DONE: u8 = 4;
/// The mount namespace belongs to another user namespace.
const FOREIGN: u8 = 5;

/// A frame to the runtime: what kind it is, and eight bytes.
type Frame = (u8, [u8; 8]);

fn not_made(failure: Failure) -> Frame {
    (FAILURE, failure.to_bytes())
}

fn not_entered(errno: Errno) -> Frame {
    (ENTER, number(errno))
}

/// Makes the plan for `container.mounts`, on the container that `container` describes.
///
/// # Errors
/// A property that is not possible, with its JSON pointer.
pub fn lower(container: &Container) -> Result<Plan, Error> {
    let caller = Caller::probe().map_err(|errno| Error::Probe {
        what: "the own capabilities",
        errno,
    })?;
    tree::lower_added(container, &caller)
}

/// Opens the sources of `plan`, makes its mounts in the container, and calls `record` with them. If
/// that fails, or if this process is killed before it returns, the mounts are removed again.
/// Returns the answer of `record`. One of `interrupts` ends the wait, and so does time.
///
/// # Errors
/// A source that cannot be opened; a mount that cannot be made. Nothing is left then, but after
/// [`Error::Unfinished`] it may be.
pub fn add<E>(
    plan: &Plan,
    target: Target<'_>,
    running: &Running,
    interrupts: &SignalFd,
    record: impl FnOnce(Vec<Added>) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let mut handles = plan.open()?;
    let kept = handles.descriptors().map(|fd| fd.as_raw_fd());
    let kept = kept.chain([target.pidfd.as_raw_fd()]).collect();
    let work = |link: BorrowedFd<'_>| {
        let own = enter(target, running, Some((plan, &mut handles)))?;
        let root = root_of_this_process().map_err(not_entered)?;
        for number in plan.add(&mut handles, &root, &own).map_err(not_made)? {
            tell(link, (NUMBER, number.to_ne_bytes()));
        }
        tell(link, (DONE, [0; 8]));
        let is_recorded = matches!(socket::receive(link, &mut [0]), Ok(1..));
        if !is_recorded {
            plan.undo_added(&handles, &own);
        }
        Ok(())
    };
    let mut answer = Ok(());
    let settle = |numbers: Vec<u64>| {
        let made = plan.destinations().zip(numbers);
        let made = made.map(|(destination, id)| Added {
            destination: destination.clone(),
            id,
        });
        answer = record(made.collect());
        answer.is_ok()
    };
    let failed = Error::Link;
    let process = start(work, kept)?;
    let describe = |failure: &_| Some(plan.describe(failure));
    process.settle(interrupts, settle, describe, failed)?;
    Ok(answer)
}

/// Unmounts a mount that [`add`] has made.
///
/// # Errors
/// [`Error::Removal`]: it is not the topmost mount at its destination any more.
/// [`Error::Unfinished`]: it may be there or not.
pub fn remove(
    mount: &Added,
    target: Target<'_>,
    running: &Running,
    interrupts: &SignalFd,
) -> Result<(), Error> {
    let work = |link: BorrowedFd<'_>| {
        let own = enter(target, running, None)?;
        let root = root_of_this_process().map_err(not_entered)?;
        let removed = mount.remove(&root, &own);
        removed.map_err(|errno| (REMOVAL, number(errno)))?;
        tell(link, (DONE, [0; 8]));
        Ok(())
    };
    let failed = |errno| Error::Removal {
        destination: mount.destination.clone(),
        errno,
    };
    let process = start(work, vec![target.pidfd.as_raw_fd()])?;
    process.settle(interrupts, |_numbers| false, |_failure| None, failed)
}

/// A process that works in the container.
struct Helper {
    child: Child,
    link: OwnedFd,
}

/// Does `work` in a process of its own, with the descriptors `kept`. It has no others: if it never
/// ends, it holds neither the lock of the container nor the streams of the caller.
fn start(
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), Frame>,
    mut kept: Vec<RawFd>,
) -> Result<Helper, Error> {
    let proof = SingleThread::prove().ok_or(Error::Threads)?;
    let (ours, theirs) = socket::pair().map_err(Error::Link)?;
    match clone::fork(&proof).map_err(Error::Link)? {
        Side::Parent(child) => Ok(Helper { child, link: ours }),
        Side::Child(_) => {
            let link = theirs.as_fd();
            kept.push(link.as_raw_fd());
            let done = leave_the_caller(&mut kept).map_err(not_entered);
            if let Err(frame) = done.and_then(|()| work(link)) {
                tell(link, frame);
            }
            process::exit_now(0)
        }
    }
}

/// Closes all descriptors except `kept`; the streams become /dev/null.
fn leave_the_caller(kept: &mut Vec<RawFd>) -> Result<(), Errno> {
    let null = path::open(c"/dev/null", OpenFlags::READ_WRITE)?;
    for stream in 0..3 {
        process::place_at(null.as_fd(), stream)?;
        kept.push(stream);
    }
    kept.push(null.as_raw_fd());
    process::close_all_but(kept)
}

impl Helper {
    /// Hears what it has done, and waits for its end. `settle` gets the numbers of its mounts, and
    /// says whether they stay.
    fn settle(
        self,
        interrupts: &SignalFd,
        settle: impl FnOnce(Vec<u64>) -> bool,
        describe: impl Fn(&Failure) -> Option<String>,
        removal: impl Fn(Errno) -> Error,
    ) -> Result<(), Error> {
        let deadline = process::in_monotonic_ms(PATIENCE);
        let mut numbers = Vec::new();
        let answer = loop {
            let (kind, bytes) = match self.next(interrupts, deadline) {
                Ok(frame) => frame,
                Err(error) => break Err(error),
            };
            let value = u64::from_ne_bytes(bytes);
            let errno = Errno::from_raw(i32::try_from(value).unwrap_or(0));
            match kind {
                NUMBER => numbers.push(value),
                DONE => {
                    break match settle(numbers) {
                        true => socket::send(self.link.as_fd(), &[1]).map_err(Error::Link),
                        false => Ok(()),
                    };
                }
                ENTER => {
                    let what = "join its namespaces";
                    break Err(Error::Enter { what, errno });
                }
                FOREIGN => {
                    let what = "its mount namespace belongs to another user namespace";
                    let errno = Errno::EPERM;
                    break Err(Error::Enter { what, errno });
                }
                REMOVAL => break Err(removal(errno)),
                _ => {
                    let message = Failure::from_bytes(bytes).and_then(|it| describe(&it));
                    break Err(match message {
                        Some(message) => Error::Added(message),
                        None => Error::Link(Errno::EBADMSG),
                    });
                }
            }
        };
        let Self { child, link } = self;
        // The process sees that there is no word for it.
        drop(link);
        end(&child)?;
        answer
    }

    /// Its next frame.
    fn next(&self, interrupts: &SignalFd, deadline: u64) -> Result<Frame, Error> {
        let unfinished = |why| Err(Error::Unfinished(why));
        loop {
            let left = deadline.saturating_sub(process::monotonic_ms());
            let mut fds = [&self.link.as_fd(), &interrupts.as_fd()]
                .map(|fd| process::poll_in(fd.as_raw_fd()));
            match process::poll(&mut fds, Some(left)) {
                Err(Errno::EINTR) => continue,
                Ok(0) => {
                    let seconds = PATIENCE.as_secs();
                    return unfinished(format!(
                        "a file system of the container has not answered within {seconds} seconds"
                    ));
                }
                answer => answer.map_err(Error::Link)?,
            };
            if fds[0].revents != 0 {
                break;
            }
            if let Some(signal) = interrupts.next().map_err(Error::Link)? {
                return unfinished(format!("interrupted by signal {signal}"));
            }
        }
        let mut frame = [0; FRAME];
        match socket::receive(self.link.as_fd(), &mut frame) {
            Ok(0) => unfinished("the process that enters the container was killed".to_owned()),
            Ok(FRAME) => {
                let [kind, bytes @ ..] = frame;
                Ok((kind, bytes))
            }
            Ok(_odd) => Err(Error::Link(Errno::EBADMSG)),
            Err(errno) => Err(Error::Link(errno)),
        }
    }
}

/// Waits for the end of a process that has no more to do, and kills it if it does not come. A call
/// to a file system that does not answer may hold even a killed process: it is left then.
fn end(child: &Child) -> Result<(), Error> {
    let ended = |time| {
        let deadline = process::in_monotonic_ms(time);
        loop {
            let left = deadline.saturating_sub(process::monotonic_ms());
            let mut fds = [process::poll_in(child.pidfd.as_raw_fd())];
            match process::poll(&mut fds, Some(left)) {
                Err(Errno::EINTR) => {}
                answer => return answer.map(|count| count > 0).map_err(Error::Link),
            }
        }
    };
    if !ended(GRACE)? {
        clone::pidfd_send_signal(child.pidfd.as_fd(), process::SIGKILL).map_err(Error::Link)?;
        ended(GRACE)?;
    }
    let target = clone::Target::Pidfd(child.pidfd.as_fd());
    clone::wait(target, Block::No)
        .map(drop)
        .map_err(Error::Link)
}

fn number(errno: Errno) -> [u8; 8] {
    u64::from((errno as i32).unsigned_abs()).to_ne_bytes()
}

/// The other end sees the end of this process if this fails.
fn tell(link: BorrowedFd<'_>, (kind, bytes): Frame) {
    let mut frame = [kind; FRAME];
    frame[1..].copy_from_slice(&bytes);
    let _gone = socket::send(link, &frame);
}

/// Enters the user and the mount namespace of the container, with the sources of a plan.
fn enter(
    target: Target<'_>,
    running: &Running,
    sources: Option<(&Plan, &mut Handles)>,
) -> Result<Descriptors, Frame> {
    let own = Descriptors::open().map_err(not_entered)?;
    // A container's process with CAP_SYS_PTRACE could seize it as soon as it is in there.
    set_dumpable(false).map_err(not_entered)?;
    let changes_user = running.inode(Kind::User).is_some();
    let Some((plan, handles)) = sources else {
        if changes_user {
            enter_user_namespace(target, running).map_err(not_entered)?;
        }
        return enter_mount_namespace(target, own);
    };
    let unshare = || clone::unshare(NamespaceFlags::MOUNT).map_err(not_entered);
    if changes_user {
        if plan.stages_added() {
            unshare()?;
            plan.stage_added(handles).map_err(not_made)?;
        }
        enter_user_namespace(target, running).map_err(not_entered)?;
        // The kernel locks what is in the table that it copies.
        unshare()?;
    }
    plan.take_added(handles).map_err(not_made)?;
    enter_mount_namespace(target, own)
}

/// The container may have changed its namespaces since they were looked at. In a mount namespace of
/// another user namespace nothing that comes from the host would be locked.
fn enter_mount_namespace(target: Target<'_>, own: Descriptors) -> Result<Descriptors, Frame> {
    clone::setns(target.pidfd, NamespaceFlags::MOUNT).map_err(not_entered)?;
    match own.owns_mounts().map_err(not_entered)? {
        true => Ok(own),
        false => Err((FOREIGN, [0; 8])),
    }
}

/// Becomes root there. What a user namespace does not map cannot own a file.
fn enter_user_namespace(target: Target<'_>, running: &Running) -> Result<(), Errno> {
    clone::setns(target.pidfd, NamespaceFlags::USER)?;
    let (uid, gid) = running.root;
    // A change of ids may make it visible to tracers.
    set_dumpable(false)?;
    ids::setresgid(gid)?;
    set_dumpable(false)?;
    ids::setresuid(uid)?;
    set_dumpable(false)?;
    // Groups of the host would give access to its files. If setgroups is denied, they have to stay.
    match ids::setgroups(&[]) {
        Err(Errno::EPERM) => Ok(()),
        answer => answer,
    }
}
