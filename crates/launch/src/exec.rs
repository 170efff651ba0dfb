//! One more process in a running container.
//!
//! Decides what `exec` does, from the configuration that was saved when the container was made and
//! the facts of its first process. The process is then set up as init is ([`crate::launch()`]), but
//! it makes nothing: it joins the namespaces and the cgroups, and uses the files as they are.

use crate::plan::{FileHandles, Files, Handles, Part, Plan};
use crate::terminal::Receiver;
use crate::{Error, Facts, Keyring, process};
use kernel::Errno;
use kernel::clone::pidfd_send_signal;
use kernel::errno::errno_of;
use namespace::entry::CgroupEntry;
use namespace::{Entry, Kind, Running};
use spec::Container;
use spec::container::{Hooks, Namespace, Namespaces, Process};
use spec::state::Status;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What `exec` is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container, reduced to the properties of a further process: see [`reduce`].
    pub container: &'a Container,
    /// Its id.
    pub id: &'a str,
    /// Its first process, in the runtime's PID namespace.
    pub pid: i32,
    /// The cgroups that the process joins; without groups it stays in the caller's.
    pub groups: cgroup::Location,
    /// The groups of resctrl that the process joins.
    pub resctrl: Option<resctrl::Location>,
    /// The namespaces of the container's first process.
    pub running: Running,
    /// The session keyring.
    pub keyring: Keyring,
    /// How many descriptors from 3 on the process gets.
    pub keep_fds: u32,
}

/// The container's first process, whose namespaces are entered.
#[derive(Debug, Clone, Copy)]
pub struct Target<'fd> {
    /// In the runtime's PID namespace.
    pub pid: i32,
    /// It.
    pub pidfd: BorrowedFd<'fd>,
}

/// Reduces the saved container to the properties of a further process: it makes nothing, runs no
/// hook, and has the properties of `process`.
pub fn reduce(container: &mut Container, process: Process, running: &Running) {
    container.process = Some(process);
    container.hooks = Hooks::default();
    container.mounts.clear();
    container.devices.clear();
    container.net_devices.clear();
    container.intel_rdt = None;
    container.sysctl.clear();
    (container.hostname, container.domainname) = (None, None);
    container.uid_mappings.clear();
    container.gid_mappings.clear();
    container.namespaces = Namespaces::default();
    if running.inode(Kind::User).is_some() {
        container.namespaces[Kind::User] = Namespace::New;
    }
}

/// Makes the plan. Returns the warnings too.
///
/// # Errors
/// A property of the process that this host does not support, with its JSON pointer.
pub fn lower(request: &Request<'_>, facts: &Facts) -> Result<(Box<Plan>, Vec<String>), Error> {
    let cgroup = cgroup::Plan::join(request.groups.clone(), &facts.cgroup);
    let cgroup_entry = match cgroup.moves_in() {
        true => CgroupEntry::ByRuntime,
        false => CgroupEntry::AtClone,
    };
    let part = Part {
        container: request.container,
        id: request.id,
        status: Status::Running,
        keyring: request.keyring,
        keep_fds: request.keep_fds,
        listen_fds: 0,
        own_limit: None,
        denies_setgroups: request.running.denies_setgroups,
        first: Some(request.pid),
        resctrl: request.resctrl.clone(),
    };
    let entry = Entry::into_running(request.container, request.running.clone(), cgroup_entry);
    part.lower(facts, cgroup, entry, Files::Join)
}

/// Opens what the plan works with.
///
/// # Errors
/// [`Error::InitGone`]: the container has ended. [`Error::Enter`]: too few descriptors are left, or
/// the kernel does not permit this caller to enter.
pub fn open(plan: &Plan, target: Target<'_>) -> Result<Handles, Error> {
    let failed = |what: &'static str| move |errno| Error::Enter { what, errno };
    let root = match plan.entry.enters(Kind::Mount) {
        true => None,
        // Its root is not the root of a mount namespace of its own.
        false => {
            let path = format!("/proc/{}/root", target.pid);
            Some(directory(&path).map_err(failed("open the container's root"))?)
        }
    };
    let procfs = match plan.lsm.needs_procfs() {
        true => Some(rootfs::own_procfs().map_err(failed("open /proc"))?),
        false => None,
    };
    let process = target
        .pidfd
        .try_clone_to_owned()
        .map_err(|_full| failed("hold the container's process")(Errno::EMFILE))?;
    // If the process still lives, the handles that were opened by its pid belong to it.
    match pidfd_send_signal(target.pidfd, 0) {
        Err(Errno::ESRCH) => Err(Error::InitGone),
        _ => Ok(Handles {
            cgroup: plan.cgroup.open(cgroup::Found::default())?,
            namespaces: namespace::Handles::of_running(process),
            files: FileHandles::Join { root, procfs },
            process: plan.process.as_ref().map(process::Plan::open),
            receiver: Receiver::default(),
            network: None,
            resctrl: plan.open_resctrl()?,
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc, before the clone"
)]
fn directory(path: &str) -> Result<OwnedFd, Errno> {
    let file = File::open(path);
    file.map(OwnedFd::from).map_err(|error| errno_of(&error))
}
