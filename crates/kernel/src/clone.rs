//! clone3(2), unshare(2), setns(2), pidfds and waiting.

use crate::errno::{Errno, ret, ret_fd};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

bitflags::bitflags! {
    /// The namespaces that a new process does not share with its parent. See clone(2),
    /// namespaces(7).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NamespaceFlags: u64 {
        /// Mount namespace.
        const MOUNT = libc::CLONE_NEWNS as u64;
        /// Cgroup namespace.
        const CGROUP = libc::CLONE_NEWCGROUP as u64;
        /// UTS namespace.
        const UTS = libc::CLONE_NEWUTS as u64;
        /// IPC namespace.
        const IPC = libc::CLONE_NEWIPC as u64;
        /// User namespace.
        const USER = libc::CLONE_NEWUSER as u64;
        /// PID namespace.
        const PID = libc::CLONE_NEWPID as u64;
        /// Network namespace.
        const NETWORK = libc::CLONE_NEWNET as u64;
        /// Time namespace; Linux 5.6.
        const TIME = 0x80;
    }
}

/// The proof that this process has one thread. Without it a clone is not sound: another thread
/// could hold a lock (such as the allocator's) that the child could never take.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread(());

impl SingleThread {
    /// Checks the thread count once. `None` if a second thread runs, or if the count is unknown.
    pub fn prove() -> Option<Self> {
        // A directory has two links plus one for each sub-directory; here, one for each thread.
        let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the path is a C string and the buffer is a whole `stat`.
        let answer = unsafe { libc::stat(c"/proc/self/task".as_ptr(), stat.as_mut_ptr()) };
        if answer != 0 {
            return None;
        }
        // SAFETY: a successful stat(2) has filled the whole buffer.
        let stat = unsafe { stat.assume_init() };
        (stat.st_nlink == 3).then_some(Self(()))
    }

    /// The proof in a process that [`clone`] has just made: a clone has exactly one thread.
    fn of_a_clone() -> Self {
        Self(())
    }
}

/// The side of a clone.
#[derive(Debug)]
pub enum Side {
    /// The parent.
    Parent(Child),
    /// The new process.
    Child(SingleThread),
}

/// A process made by [`clone`] that has not been waited for.
#[derive(Debug)]
pub struct Child {
    /// The pid in the parent's PID namespace.
    pub pid: i32,
    /// The pidfd; close-on-exec.
    pub pidfd: OwnedFd,
}

/// The options for a new process.
#[derive(Debug, Clone, Copy)]
pub struct CloneOptions<'fd> {
    /// The namespaces that it gets.
    pub namespaces: NamespaceFlags,
    /// The cgroup v2 directory that it starts in (CLONE_INTO_CGROUP; Linux 5.7).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Whether it becomes a sibling instead of a child (CLONE_PARENT).
    pub sibling: bool,
}

/// Makes a process that is a copy of this one (copy on write), like fork(2). See clone(2); Linux
/// 5.7.
///
/// # Errors
/// EAGAIN (pids limit or RLIMIT_NPROC), ENOMEM, EPERM, ENOSPC (a limit on namespaces), EBUSY (the
/// cgroup is not a leaf).
pub fn clone(_: &SingleThread, options: CloneOptions<'_>) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let mut flags = options.namespaces.bits() | libc::CLONE_PIDFD as u64;
    // SAFETY: a C structure of plain numbers, for which zero is "not given".
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    if let Some(cgroup) = options.cgroup {
        // libc's own constant overflows its type.
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_negative| Errno::EBADF)?;
    }
    if options.sibling {
        flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    args.flags = flags;
    args.pidfd = (&raw mut pidfd).addr() as u64;
    // SAFETY: without CLONE_VM this is a fork; `SingleThread` proves that no lock is held by
    // another thread; `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    side(pid, pidfd)
}

/// Makes a child that is a copy of this process, with the old call. System call filters that answer
/// clone3(2) with ENOSYS permit it. See clone(2); Linux 5.2.
pub fn fork(_: &SingleThread) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = libc::SIGCHLD | libc::CLONE_PIDFD;
    // SAFETY: without CLONE_VM and with no stack given this is a fork; `SingleThread` proves that
    // no lock is held by another thread; `pidfd` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    side(pid, pidfd)
}

/// Decodes the answer of a clone with CLONE_PIDFD, which has stored a new descriptor in `pidfd`.
fn side(pid: libc::c_long, pidfd: RawFd) -> Result<Side, Errno> {
    match pid {
        -1 => Err(Errno::last()),
        0 => Ok(Side::Child(SingleThread::of_a_clone())),
        pid => Ok(Side::Parent(Child {
            pid: i32::try_from(pid).map_err(|_too_large| Errno::ERANGE)?,
            pidfd: ret_fd(pidfd.into())?,
        })),
    }
}

/// The side of [`fork_sibling`].
#[derive(Debug)]
pub enum Sibling {
    /// The process that has made it, with its pid in the PID namespace of this process.
    Made(i32),
    /// The new process.
    Own(SingleThread),
}

/// Makes a sibling that is a copy of this process, with the old call: see [`fork`]. It takes no
/// descriptor and no flag of a namespace, so most system call filters permit it.
///
/// # Errors
/// EAGAIN (pids limit or RLIMIT_NPROC), ENOMEM.
pub fn fork_sibling(_: &SingleThread) -> Result<Sibling, Errno> {
    let flags = SIBLING_FLAGS as libc::c_long;
    // SAFETY: without CLONE_VM and with no stack given this is a fork; `SingleThread` proves that
    // no lock is held by another thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match pid {
        -1 => Err(Errno::last()),
        0 => Ok(Sibling::Own(SingleThread::of_a_clone())),
        pid => i32::try_from(pid)
            .map(Sibling::Made)
            .map_err(|_too_large| Errno::ERANGE),
    }
}

/// The flags of [`fork_sibling`]: the first argument of its clone(2) on every architecture but
/// s390x, where it is the second.
pub const SIBLING_FLAGS: u64 = libc::CLONE_PARENT as u64;

/// Moves this process to new namespaces of the types in `flags`. See unshare(2).
pub fn unshare(flags: NamespaceFlags) -> Result<(), Errno> {
    let flags = libc::c_int::try_from(flags.bits()).map_err(|_too_large| Errno::EINVAL)?;
    // SAFETY: no memory is passed.
    ret(unsafe { libc::unshare(flags) }.into())
}

/// Enters the namespace `fd`, whose type must be in `kind`. See setns(2).
pub fn setns(fd: BorrowedFd<'_>, kind: NamespaceFlags) -> Result<(), Errno> {
    let flags = libc::c_int::try_from(kind.bits()).map_err(|_too_large| Errno::EINVAL)?;
    // SAFETY: the descriptor is open for the call.
    ret(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into())
}

/// The type of the namespace that `fd` refers to, as one flag. See ioctl_ns(2).
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<NamespaceFlags, Errno> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    let bits = u64::try_from(answer).map_err(|_negative| Errno::last())?;
    Ok(NamespaceFlags::from_bits_retain(bits))
}

/// The user namespace that owns the namespace behind `fd`. See ioctl_ns(2); Linux 4.9.
///
/// # Errors
/// EPERM: it is neither this process' own user namespace nor below it.
pub fn namespace_owner(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: this request takes no argument.
    ret_fd(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS) }.into())
}

/// A descriptor of the process `pid`, close-on-exec. See pidfd_open(2); Linux 5.3.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    ret_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// A copy of descriptor `number` of the process behind `pidfd`, close-on-exec. See pidfd_getfd(2);
/// Linux 5.6.
///
/// # Errors
/// EPERM: this process may not trace the other one. EBADF: it has no such descriptor. ESRCH: it has
/// ended.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    ret_fd(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// The namespace of type `kind`, one flag, that the process behind `pidfd` is in; close-on-exec.
/// See PIDFD_GET_*_NAMESPACE in `linux/pidfd.h`; Linux 6.11.
///
/// # Errors
/// ENOTTY, EINVAL: the kernel does not know this request. EACCES: this process may not look.
/// ESRCH: the process has ended.
pub fn namespace_of(pidfd: BorrowedFd<'_>, kind: NamespaceFlags) -> Result<OwnedFd, Errno> {
    let request: libc::Ioctl = match kind {
        NamespaceFlags::CGROUP => 0xff01,
        NamespaceFlags::IPC => 0xff02,
        NamespaceFlags::MOUNT => 0xff03,
        NamespaceFlags::NETWORK => 0xff04,
        NamespaceFlags::PID => 0xff05,
        NamespaceFlags::TIME => 0xff07,
        NamespaceFlags::USER => 0xff09,
        NamespaceFlags::UTS => 0xff0a,
        _ => return Err(Errno::EINVAL),
    };
    // SAFETY: these requests take the argument 0.
    ret_fd(unsafe { libc::ioctl(pidfd.as_raw_fd(), request, 0) }.into())
}

/// Sends `signal` (0 only checks) to the process behind `pidfd`. See pidfd_send_signal(2).
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: for a null siginfo the kernel fills one in.
    ret(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status, 0 to 255.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Which child to wait for.
#[derive(Debug, Clone, Copy)]
pub enum Target<'fd> {
    /// This one.
    Pidfd(BorrowedFd<'fd>),
    /// Any child.
    Any,
}

/// Waits for the end of a child and reaps it. Returns its pid and how it ended; `None` if `block`
/// is false and no child has ended yet. Tries again on EINTR. See waitid(2).
///
/// # Errors
/// ECHILD: not (or no longer) a child of this process.
pub fn wait(target: Target<'_>, block: Block) -> Result<Option<(i32, Exit)>, Errno> {
    let (kind, id) = match target {
        Target::Pidfd(fd) => (
            libc::P_PIDFD,
            u32::try_from(fd.as_raw_fd()).map_err(|_negative| Errno::EBADF)?,
        ),
        Target::Any => (libc::P_ALL, 0),
    };
    let options = match block {
        Block::Yes => libc::WEXITED,
        Block::No => libc::WEXITED | libc::WNOHANG,
    };
    loop {
        // SAFETY: a C structure for which all zeroes are valid.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        // SAFETY: `info` is a whole siginfo_t.
        let answer = unsafe { libc::waitid(kind, id, &raw mut info, options) };
        if answer == -1 {
            match Errno::last() {
                Errno::EINTR => continue,
                errno => return Err(errno),
            }
        }
        // SAFETY: waitid(2) has filled in the SIGCHLD fields, or left the zeroes.
        let pid = unsafe { info.si_pid() };
        if pid == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let status = unsafe { info.si_status() };
        let exit = if info.si_code == libc::CLD_EXITED {
            Exit::Code(status)
        } else {
            Exit::Signal(status)
        };
        return Ok(Some((pid, exit)));
    }
}

/// Whether a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Wait until a child has ended.
    Yes,
    /// Return at once.
    No,
}
