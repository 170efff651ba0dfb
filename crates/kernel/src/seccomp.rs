//! seccomp(2): load a classic BPF filter, ask about the mode, and pass the notification descriptor on.

use crate::errno::{Errno, ret, ret_fd, ret_number};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

bitflags::bitflags! {
    /// How a filter is installed. See seccomp(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct FilterFlags: u32 {
        /// For every thread of the process; Linux 3.17.
        const TSYNC = 1;
        /// Every action but ALLOW is logged; Linux 4.14.
        const LOG = 1 << 1;
        /// No speculative store bypass mitigation; Linux 4.17.
        const SPEC_ALLOW = 1 << 2;
        /// A descriptor for notifications comes back; Linux 5.0.
        const NEW_LISTENER = 1 << 3;
        /// A caller whose notification was received waits killable only; Linux 5.19, with a listener.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

/// One instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions a jump skips when its test holds.
    pub jt: u8,
    /// How many it skips otherwise.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

const SET_MODE_FILTER: libc::c_uint = 1;
const GET_ACTION_AVAIL: libc::c_uint = 2;

/// Installs `program` over the filters that this process has. The descriptor for notifications, which
/// is close-on-exec, comes back if and only if `flags` has NEW_LISTENER. See seccomp(2).
///
/// # Errors
/// EINVAL: more than 4096 instructions, or the kernel's checker refuses them. EACCES: neither
/// no_new_privs nor CAP_SYS_ADMIN. EBUSY: a filter of this process has a listener already. ENOMEM: all filters
/// together are too long.
pub fn load(program: &[Instruction], flags: FilterFlags) -> Result<Option<OwnedFd>, Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_too_long| Errno::EINVAL)?;
    let fprog = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the pointer and the length are of one slice whose elements have the layout of
    // `struct sock_filter`; the kernel only reads them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            &raw const fprog,
        )
    };
    if flags.contains(FilterFlags::NEW_LISTENER) {
        return ret_fd(answer).map(Some);
    }
    // With TSYNC the id of a thread that could not follow is a failure, too.
    match ret_number(answer)? {
        0 => Ok(None),
        _thread => Err(Errno::ESRCH),
    }
}

/// Whether this kernel knows the action with this SECCOMP_RET_* value. Linux 4.14.
pub fn action_available(value: u32) -> bool {
    // SAFETY: the kernel reads one 32-bit number, which outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const value) };
    answer == 0
}

/// Whether this kernel knows the flags: a load with a bad address tells EFAULT from EINVAL.
pub fn flags_available(flags: FilterFlags) -> bool {
    // SAFETY: a null program is refused by the kernel before anything is installed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            flags.bits(),
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    ret(answer) == Err(Errno::EFAULT)
}

/// What `PR_GET_SECCOMP` says of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No filter.
    Disabled,
    /// At least one filter.
    Filter,
}

/// The mode of this process. A filter that forbids prctl(2) answers for itself.
pub fn mode() -> Result<Mode, Errno> {
    // SAFETY: no memory is passed.
    let answer = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    match ret_number(answer.into())? {
        0 => Ok(Mode::Disabled),
        _ => Ok(Mode::Filter),
    }
}

/// How many descriptors [`send_fds`] takes at most.
pub const FDS_MAX: usize = 4;

/// Sends all of `message` over a stream socket, the descriptors with its first byte (SCM_RIGHTS), without
/// SIGPIPE. Tries again on EINTR and after a part. See unix(7).
///
/// # Errors
/// EINVAL: more than [`FDS_MAX`] descriptors, or no byte to send with them. EPIPE, ECONNRESET: the other
/// end is gone. EAGAIN: the socket's send time-out has passed.
pub fn send_fds(
    socket: BorrowedFd<'_>,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    const ROOM: usize = size_of::<[RawFd; FDS_MAX]>();
    // u64s for the alignment of `struct cmsghdr`; twice its size is more than header and padding.
    let mut control = [0_u64; (2 * size_of::<libc::cmsghdr>() + ROOM) / 8];
    if fds.len() > FDS_MAX || message.is_empty() {
        return Err(Errno::EINVAL);
    }
    let mut iov = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: a C structure of numbers and pointers for which all zeroes are "nothing".
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = u32::try_from(size_of_val(fds)).map_err(|_too_many| Errno::EINVAL)?;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: computes on numbers only.
        let space = unsafe { libc::CMSG_SPACE(bytes) };
        header.msg_controllen = space as _;
        // SAFETY: the control buffer is larger than one header.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY: computes on numbers only.
        let length = unsafe { libc::CMSG_LEN(bytes) };
        // SAFETY: `first` is the aligned start of the control buffer.
        let cmsg = unsafe { &mut *first };
        cmsg.cmsg_level = libc::SOL_SOCKET;
        cmsg.cmsg_type = libc::SCM_RIGHTS;
        cmsg.cmsg_len = length as _;
        // SAFETY: the data follows the header within the control buffer.
        let data = unsafe { libc::CMSG_DATA(first) }.cast::<RawFd>();
        for (index, fd) in fds.iter().enumerate() {
            // SAFETY: `index` is below FDS_MAX, for which the buffer has room.
            let place = unsafe { data.add(index) };
            // SAFETY: as above; the data of a control message may be unaligned.
            unsafe { place.write_unaligned(fd.as_raw_fd()) };
        }
    }
    let mut sent = send_message(socket, &header)?;
    while sent < message.len() {
        iov.iov_base = message[sent..].as_ptr().cast_mut().cast();
        iov.iov_len = message.len() - sent;
        header.msg_iov = &raw mut iov;
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        sent += send_message(socket, &header)?;
    }
    Ok(())
}

fn send_message(socket: BorrowedFd<'_>, header: &libc::msghdr) -> Result<usize, Errno> {
    loop {
        // SAFETY: every pointer in the header is to memory that its caller holds.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), header, libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(count) => return Ok(count),
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    }
}
