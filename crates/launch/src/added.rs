//! Mounts that are added to a running container, and removed from it.
//!
//! The runtime opens the sources. A process of its own enters the namespaces of the container,
//! attaches or detaches the mounts and reports their numbers; the runtime never leaves its own
//! namespaces. That process does not enter the PID namespace, so no process there sees it. Mounts
//! stay only if the runtime says that it has recorded them: if it is killed, they are undone.

use crate::exec::Target;
use crate::{Error, tree};
use caller::Caller;
use kernel::clone::{self, Block, NamespaceFlags, Side, SingleThread};
use kernel::{Errno, ids, process, socket};
use namespace::{Kind, Running};
use nix::sys::prctl::set_dumpable;
use rootfs::{Added, Descriptors, Handles, Place, Plan, root_of_this_process};
use spec::Container;
use std::os::fd::{AsFd, BorrowedFd};

/// A frame to the runtime: what kind it is, and eight bytes.
const FRAME: usize = 9;
/// The number of a mount.
const NUMBER: u8 = 0;
/// What failed in the plan.
const PLACE: u8 = 1;
/// The errno of the way into the container.
const ENTER: u8 = 2;
/// The errno of a removal, and which mount it was.
const REMOVAL: u8 = 3;

/// The mounts are made, and the process waits for one byte; or the mount is removed.
const DONE: u8 = 4;
/// The mount namespace belongs to another user namespace.
const FOREIGN: u8 = 5;

/// What ended the work of the process.
enum Failure {
    Place(Place),
    Enter(Errno),
    Foreign,
    Removal(Errno),
}

impl From<Place> for Failure {
    fn from(place: Place) -> Self {
        Self::Place(place)
    }
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
/// that fails, or this process is killed meanwhile, the mounts are removed again. Returns the answer
/// of `record`.
///
/// # Errors
/// A source that cannot be opened; a mount that cannot be made. Nothing is left then, but after
/// [`Error::Unfinished`] it may be.
pub fn add<E>(
    plan: &Plan,
    target: Target<'_>,
    running: &Running,
    record: impl FnOnce(Vec<Added>) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let mut handles = plan.open()?;
    let work = |link: BorrowedFd<'_>| {
        let own = enter(target, running, Some((plan, &mut handles)))?;
        let root = root_of_this_process().map_err(Failure::Enter)?;
        for number in plan.add(&mut handles, &root, &own)? {
            tell(link, NUMBER, number.to_ne_bytes());
        }
        tell(link, DONE, [0; 8]);
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
    let failed = |errno| Error::Link { errno };
    run(work, settle, |place| Some(plan.describe(place)), failed)?;
    Ok(answer)
}

/// Unmounts a mount that [`add`] has made.
///
/// # Errors
/// [`Error::Removal`]: it is not the topmost mount at its destination any more.
/// [`Error::Unfinished`]: it may be there or not.
pub fn remove(mount: &Added, target: Target<'_>, running: &Running) -> Result<(), Error> {
    let work = |link: BorrowedFd<'_>| {
        let own = enter(target, running, None)?;
        let root = root_of_this_process().map_err(Failure::Enter)?;
        mount.remove(&root, &own).map_err(Failure::Removal)?;
        tell(link, DONE, [0; 8]);
        Ok(())
    };
    let failed = |errno| Error::Removal {
        destination: mount.destination.clone(),
        errno,
    };
    run(work, |_numbers| false, |_place| None, failed)
}

/// Does `work` in a process of its own. `settle` gets the numbers of its mounts, and says whether
/// they stay.
fn run(
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), Failure>,
    settle: impl FnOnce(Vec<u64>) -> bool,
    describe: impl Fn(&Place) -> Option<String>,
    removal: impl Fn(Errno) -> Error,
) -> Result<(), Error> {
    let broken = |errno| Error::Link { errno };
    let proof = SingleThread::prove().ok_or(Error::Threads)?;
    let (ours, theirs) = socket::pair().map_err(broken)?;
    let child = match clone::fork(&proof).map_err(broken)? {
        Side::Parent(child) => child,
        Side::Child(_) => {
            drop(ours);
            let link = theirs.as_fd();
            match work(link) {
                Ok(()) => {}
                Err(Failure::Place(place)) => tell(link, PLACE, place.to_bytes()),
                Err(Failure::Enter(errno)) => tell(link, ENTER, number(errno)),
                Err(Failure::Foreign) => tell(link, FOREIGN, [0; 8]),
                Err(Failure::Removal(errno)) => tell(link, REMOVAL, number(errno)),
            }
            process::exit_now(0)
        }
    };
    drop(theirs);
    let mut numbers = Vec::new();
    let answer = loop {
        let mut frame = [0; FRAME];
        match socket::receive(ours.as_fd(), &mut frame) {
            Ok(0) => {
                let why = "the process that enters the container was killed".to_owned();
                break Err(Error::Unfinished { why });
            }
            Ok(FRAME) => {}
            Ok(_odd) => break Err(broken(Errno::EBADMSG)),
            Err(errno) => break Err(broken(errno)),
        }
        let [kind, bytes @ ..] = frame;
        let value = u64::from_ne_bytes(bytes);
        let errno = Errno::from_raw(i32::try_from(value).unwrap_or(0));
        match kind {
            NUMBER => numbers.push(value),
            DONE => {
                break match settle(numbers) {
                    true => socket::send(ours.as_fd(), &[1]).map_err(broken),
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
                let message = Place::from_bytes(bytes).and_then(|place| describe(&place));
                break Err(match message {
                    Some(message) => Error::Added { message },
                    None => broken(Errno::EBADMSG),
                });
            }
        }
    };
    // The process sees that there is no word for it.
    drop(ours);
    clone::wait(clone::Target::Pidfd(child.pidfd.as_fd()), Block::Yes).map_err(broken)?;
    answer
}

fn number(errno: Errno) -> [u8; 8] {
    u64::from((errno as i32).unsigned_abs()).to_ne_bytes()
}

/// The other end sees the end of this process if this fails.
fn tell(link: BorrowedFd<'_>, kind: u8, bytes: [u8; 8]) {
    let mut frame = [kind; FRAME];
    frame[1..].copy_from_slice(&bytes);
    let _gone = socket::send(link, &frame);
}

/// Enters the user and the mount namespace of the container, with the sources of a plan.
fn enter(
    target: Target<'_>,
    running: &Running,
    sources: Option<(&Plan, &mut Handles)>,
) -> Result<Descriptors, Failure> {
    let own = Descriptors::open().map_err(Failure::Enter)?;
    let changes_user = running.inode(Kind::User).is_some();
    let Some((plan, handles)) = sources else {
        if changes_user {
            enter_user_namespace(target, running).map_err(Failure::Enter)?;
        }
        return enter_mount_namespace(target, own);
    };
    let unshare = || clone::unshare(NamespaceFlags::MOUNT).map_err(Failure::Enter);
    if changes_user {
        if plan.stages_added() {
            unshare()?;
            plan.stage_added(handles)?;
        }
        enter_user_namespace(target, running).map_err(Failure::Enter)?;
        // The kernel locks what is in the table that it copies.
        unshare()?;
    }
    plan.take_added(handles)?;
    enter_mount_namespace(target, own)
}

/// The container may have changed its namespaces since they were looked at. In a mount namespace of
/// another user namespace nothing that comes from the host would be locked.
fn enter_mount_namespace(target: Target<'_>, own: Descriptors) -> Result<Descriptors, Failure> {
    clone::setns(target.pidfd, NamespaceFlags::MOUNT).map_err(Failure::Enter)?;
    match own.owns_mounts().map_err(Failure::Enter)? {
        true => Ok(own),
        false => Err(Failure::Foreign),
    }
}

/// Becomes root there. What a user namespace does not map cannot own a file.
fn enter_user_namespace(target: Target<'_>, running: &Running) -> Result<(), Errno> {
    clone::setns(target.pidfd, NamespaceFlags::USER)?;
    let (uid, gid) = running.root;
    ids::setresgid(gid)?;
    ids::setresuid(uid)?;
    // A change of ids makes it visible to tracers.
    set_dumpable(false)
}
