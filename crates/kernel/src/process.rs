//! Process calls that nix does not have: limits, descriptors by number, execution, time.

use crate::clone::SingleThread;
use crate::errno::{Errno, ret, ret_fd, ret_number};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// The number of CPUs in a mask: more than any kernel supports (CONFIG_NR_CPUS, at most 8192).
const CPUS: usize = 8192;

/// The bytes of a page of memory: 4096, or on some processors 16384 or 65536. Several limits of the
/// kernel are a page.
pub fn page_size() -> usize {
    // SAFETY: it reads a number that the kernel gave the program at its start.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Removes a CPU mask of sched_setaffinity(2): this process may then run on every CPU of its
/// cpuset, now and after changes of the cpuset. Call it when the process is in its cgroups.
///
/// # Errors
/// ENOSYS, EPERM, EACCES: a filter or a security module forbids it. See
/// [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
pub fn allow_every_cpu() -> Result<(), Errno> {
    let mask = [u8::MAX; CPUS / 8];
    // SAFETY: the pointer and the size are of one array. The kernel reads only the part for its
    // CPUs.
    ret(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, mask.len(), mask.as_ptr()) })
}

/// Overwrites the environment of this process, which /proc/PID/environ shows, with NUL bytes. A
/// copy of a variable that was made before stays.
pub fn forget_environment(_: &SingleThread) {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: the C library has set the variable before main.
    let mut entry = unsafe { environ };
    while !entry.is_null() {
        // SAFETY: the list ends with a null pointer, which has not been reached yet.
        let text = unsafe { *entry };
        if text.is_null() {
            return;
        }
        // SAFETY: an entry is a C string.
        let length = unsafe { libc::strlen(text) };
        // SAFETY: it is memory of the process that can be written, and `SingleThread` proves that
        // no other thread reads it.
        unsafe { text.write_bytes(0, length) };
        // SAFETY: the next entry, or the null pointer at the end.
        entry = unsafe { entry.add(1) };
    }
}

/// Sets the NIS domain name of the UTS namespace: at most 64 bytes.
pub fn setdomainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of one slice.
    ret(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())
}

/// Sets a resource limit of `pid` (0: this process); `u64::MAX` is no limit. See prlimit(2).
pub fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit is a whole structure, and the old one is not requested.
    ret(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            ptr::null_mut::<libc::rlimit64>(),
        )
    })
}

/// The soft and the hard limit of this process for a resource; `u64::MAX` is no limit. See
/// prlimit(2).
pub fn rlimit(resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the old limit is a whole structure, and no new one is given.
    ret(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// The number of RLIMIT_NOFILE, the limit on descriptors.
pub const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE as _;

/// RLIMIT_NPROC.
pub const PROCESSES: u32 = libc::RLIMIT_NPROC as _;

/// What close_range(2) does with the descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Close them.
    Now,
    /// Close them when the program is executed; Linux 5.11.
    OnExec,
}

/// Closes all descriptors from `first` to `last`, both included.
pub fn close_range(first: u32, last: u32, closing: Closing) -> Result<(), Errno> {
    let flags = match closing {
        Closing::Now => 0,
        Closing::OnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: this can close descriptors with another owner. Callers close unknown descriptors only
    // right before an exec, or only mark them.
    ret(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
}

/// Closes every descriptor except `kept`. Call it in a process that has just been made and that
/// ends with [`exit_now`]: what owns the others there must not use them or be dropped.
pub fn close_all_but(kept: &mut [RawFd]) -> Result<(), Errno> {
    kept.sort_unstable();
    let mut first = 0;
    for number in kept.iter().filter_map(|number| u32::try_from(*number).ok()) {
        if number > first {
            close_range(first, number - 1, Closing::Now)?;
        }
        first = first.max(number.saturating_add(1));
    }
    close_range(first, u32::MAX, Closing::Now)
}

/// Sets or clears close-on-exec.
pub fn set_close_on_exec(fd: BorrowedFd<'_>, set: bool) -> Result<(), Errno> {
    let mut flags = FdFlag::empty();
    flags.set(FdFlag::FD_CLOEXEC, set);
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop)
}

/// Marks `number` close-on-exec, if it is open.
pub fn mark_close_on_exec(number: RawFd) {
    // SAFETY: the request changes a flag of the descriptor; the kernel refuses a number that is not
    // open.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Whether `number` is an open descriptor of this process.
pub fn is_open(number: u32) -> bool {
    // SAFETY: the request reads a flag of the descriptor; the kernel refuses a number that is not
    // open.
    RawFd::try_from(number).is_ok_and(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1)
}

/// Makes another descriptor, close-on-exec, for what `number` refers to. The caller of this process
/// has opened `number`.
///
/// # Errors
/// EBADF: it is not open. EMFILE: too many descriptors.
pub fn duplicate(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the request makes a new descriptor; the kernel refuses a number that is not open.
    let made = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    ret_fd(made.into())
}

/// Makes `number` a copy of `fd` that stays open over exec. If `number` is `fd` already, only the
/// flag changes. See dup2(2).
pub fn place_at(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == number {
        return set_close_on_exec(fd, false);
    }
    // SAFETY: callers own the number: it is 0, 1 or 2 in a process that is about to exec.
    ret(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into())
}

/// A vector of C strings that ends with a null pointer, as execve(2) requires.
#[derive(Debug)]
pub struct CStringArray {
    strings: Vec<Vec<u8>>,
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    /// Keeps the strings and the pointers to them together.
    pub fn new(strings: impl IntoIterator<Item = CString>) -> Self {
        let strings: Vec<_> = strings
            .into_iter()
            .map(CString::into_bytes_with_nul)
            .collect();
        let mut pointers: Vec<_> = strings
            .iter()
            .map(|string| string.as_ptr().cast())
            .collect();
        pointers.push(ptr::null());
        Self { strings, pointers }
    }

    /// The strings, each without its NUL.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let strings = self.strings.iter();
        strings.map(|string| string.split_last().map_or(&[][..], |(_nul, text)| text))
    }

    /// Writes `text` over the string at `index` without allocating.
    ///
    /// # Errors
    /// ENAMETOOLONG: the text is too long. EINVAL: the text has a NUL, or there is no such string.
    pub fn overwrite(&mut self, index: usize, text: &[u8]) -> Result<(), Errno> {
        let string = self.strings.get_mut(index).ok_or(Errno::EINVAL)?;
        if text.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let (place, rest) = string
            .split_at_mut_checked(text.len())
            .ok_or(Errno::ENAMETOOLONG)?;
        *rest.first_mut().ok_or(Errno::ENAMETOOLONG)? = 0;
        place.copy_from_slice(text);
        if let Some(pointer) = self.pointers.get_mut(index) {
            *pointer = string.as_ptr().cast();
        }
        Ok(())
    }
}

/// Compares the strings, not their addresses.
impl PartialEq for CStringArray {
    fn eq(&self, other: &Self) -> bool {
        self.strings == other.strings
    }
}

impl Eq for CStringArray {}

impl fmt::Display for CStringArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.strings().map(String::from_utf8_lossy))
            .finish()
    }
}

/// Replaces this program. Returns only on failure. See execve(2).
pub fn execve(path: &CStr, args: &CStringArray, env: &CStringArray) -> Errno {
    // SAFETY: both arrays end with a null pointer and own the strings they point to.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}

/// Sets the mask of the modes of new files. See umask(2).
///
/// # Errors
/// A filter forbids the call. nix's function would panic.
pub fn set_umask(mask: u32) -> Result<(), Errno> {
    umask(mask).map(drop)
}

/// Does `act` while new files get the modes that they are made with.
///
/// # Errors
/// A filter forbids umask(2).
pub fn without_umask<T>(act: impl FnOnce() -> T) -> Result<T, Errno> {
    let own = umask(0)?;
    let done = act();
    umask(own)?;
    Ok(done)
}

fn umask(mask: u32) -> Result<u32, Errno> {
    // SAFETY: takes a number.
    let own = ret_number(unsafe { libc::syscall(libc::SYS_umask, libc::c_long::from(mask)) })?;
    u32::try_from(own).map_err(|_negative| Errno::ERANGE)
}

/// Ends this process at once: no destructors, no exit handlers, no flushing. Where a filter forbids
/// exit_group(2), a fault ends it.
pub fn exit_now(status: u8) -> ! {
    // The raw call: _exit(3) of musl tries again for ever.
    // SAFETY: ends the process, or has no effect.
    unsafe { libc::syscall(libc::SYS_exit_group, libc::c_long::from(status)) };
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::abort() }
}

/// Reads the path of the working directory into `buffer`; returns its length. See getcwd(2).
///
/// # Errors
/// ENOENT: the directory was removed. ERANGE: longer than the buffer.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize, Errno> {
    // The raw call: libc's function does more than the kernel's call.
    // SAFETY: the pointer and the length are those of one slice.
    let length =
        ret_number(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    usize::try_from(length).map_err(|_too_large| Errno::ERANGE)
}

/// Whether this process may execute the file `path`, with its effective ids and capabilities. Linux
/// 5.8. See [faccessat2(2)](https://man7.org/linux/man-pages/man2/access.2.html). Do not use it for
/// names that a container controls, except in a process that is confined to the container.
///
/// # Errors
/// EACCES: not permitted. ENOSYS, EPERM: a system call filter does not know the call.
pub fn may_execute(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string.
    ret(unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS,
        )
    })
}

/// The same with access(2), which every filter knows: with the *real* ids and, unless they are
/// root's, without capabilities.
///
/// # Errors
/// EACCES: not permitted, or only with the process' capabilities.
pub fn may_execute_without_capabilities(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string.
    ret(unsafe { libc::access(path.as_ptr(), libc::X_OK) }.into())
}

/// A descriptor and the events that [`poll`] waits for, with the answer in `revents`. A negative
/// number is skipped: nix has no such place in its list.
pub use libc::pollfd as PollFd;

/// There is something to read: a bit of `revents`.
pub const POLL_IN: i16 = libc::POLLIN;

/// There is room to write: a bit of `revents`.
pub const POLL_OUT: i16 = libc::POLLOUT;

/// The other end is closed: a bit of `revents`.
pub const POLL_HANG_UP: i16 = libc::POLLHUP;

/// SIGKILL.
pub const SIGKILL: i32 = libc::SIGKILL;

/// Waits for something to read, an end or an error on descriptor `number`.
pub fn poll_in(number: RawFd) -> PollFd {
    PollFd {
        fd: number,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Waits for room to write, or an error, on descriptor `number`.
pub fn poll_out(number: RawFd) -> PollFd {
    PollFd {
        fd: number,
        events: libc::POLLOUT,
        revents: 0,
    }
}

/// Waits until one of the descriptors has an event, at most `timeout` milliseconds (`None`: no
/// limit). Returns the number of descriptors with events; 0 means that the time is over. Returns
/// EINTR to the caller. See poll(2).
pub fn poll(fds: &mut [PollFd], timeout: Option<u64>) -> Result<usize, Errno> {
    let timeout = timeout.map_or(-1, |ms| {
        libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: the pointer and the length are those of one slice.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    usize::try_from(count).map_err(|_negative| Errno::last())
}

/// Waits until the other end of a connection is closed (data from it is ignored) or until there is
/// something to read from `other`, at most `timeout` milliseconds (`None`: no limit). Returns
/// whether the connection was closed. Returns EINTR to the caller.
pub fn wait_for_hang_up(
    socket: BorrowedFd<'_>,
    other: Option<BorrowedFd<'_>>,
    timeout: Option<u64>,
) -> Result<bool, Errno> {
    let hang_up = PollFd {
        fd: socket.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // poll(2) skips negative numbers.
    let mut fds = [hang_up, poll_in(other.map_or(-1, |fd| fd.as_raw_fd()))];
    poll(&mut fds, timeout)?;
    Ok(fds[0].revents != 0)
}

/// The value of [`monotonic_ms`] when this much time has passed.
pub fn in_monotonic_ms(time: Duration) -> u64 {
    monotonic_ms().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds of CLOCK_MONOTONIC.
pub fn monotonic_ms() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the buffer is a whole timespec; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}
