//! Local sockets: pairs, connections, and descriptors that are sent over them.
//!
//! In a sequenced-packet socket one message is one frame. nix has the plain calls. This module adds
//! a retry on EINTR, whole frames, and addresses by descriptor. See [unix(7)].
//!
//! [unix(7)]: https://man7.org/linux/man-pages/man7/unix.7.html

use crate::errno::{Errno, again};
use nix::sys::socket::{
    self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, sockopt,
};
use nix::sys::time::TimeVal;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// A connected pair of sequenced-packet sockets, both close-on-exec.
///
/// # Errors
/// EMFILE, ENFILE: too many descriptors.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
}

/// Sends one whole frame, without SIGPIPE. Tries again on EINTR.
///
/// # Errors
/// EPIPE: the other end is closed. EMSGSIZE: the frame was cut.
pub fn send(socket: BorrowedFd<'_>, frame: &[u8]) -> Result<(), Errno> {
    send_with(socket, frame, MsgFlags::empty())
}

/// Sends one whole frame as [`send`] does, and never waits.
///
/// # Errors
/// EAGAIN: the receiver's queue is full. EPIPE, EMSGSIZE: as for [`send`].
pub fn send_now(socket: BorrowedFd<'_>, frame: &[u8]) -> Result<(), Errno> {
    send_with(socket, frame, MsgFlags::MSG_DONTWAIT)
}

fn send_with(socket: BorrowedFd<'_>, frame: &[u8], flags: MsgFlags) -> Result<(), Errno> {
    let number = socket.as_raw_fd();
    match again(|| socket::send(number, frame, flags | MsgFlags::MSG_NOSIGNAL))? {
        count if count == frame.len() => Ok(()),
        _cut => Err(Errno::EMSGSIZE),
    }
}

/// Receives one frame and returns its length; 0 means that the other end is closed. For a frame
/// longer than `buffer` it returns the real length, and the caller must refuse the frame. Tries
/// again on EINTR.
///
/// # Errors
/// ECONNRESET: the other end was closed with frames unread.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    again(|| socket::recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC))
}

/// Receives one frame as [`receive`] does, and the descriptor that came with it, if one did;
/// close-on-exec.
pub fn receive_with_fd(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    // u64s for the alignment of `struct cmsghdr`; room for its header and one descriptor, padding
    // included.
    let mut control = [0_u64; 3];
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a C structure of numbers and pointers for which all zeroes are "nothing".
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    let length = again(|| {
        // SAFETY: the header points to two live buffers and has their lengths.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        usize::try_from(got).map_err(|_negative| Errno::last())
    })?;
    // SAFETY: recvmsg(2) has left a valid control length in the header.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    if first.is_null() {
        return Ok((length, None));
    }
    // SAFETY: CMSG_FIRSTHDR returns null or a whole header in the control buffer.
    let found = unsafe { first.read() };
    if (found.cmsg_level, found.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Ok((length, None));
    }
    // SAFETY: the address of the data of a whole header.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: an SCM_RIGHTS message that fits holds at least one descriptor.
    let number = unsafe { data.cast::<libc::c_int>().read_unaligned() };
    // SAFETY: the kernel has just installed it for this process, and no other owner exists.
    Ok((length, Some(unsafe { OwnedFd::from_raw_fd(number) })))
}

/// An address for the socket `name` in the directory behind `directory`. It uses /proc/self/fd,
/// since an address has room for 107 bytes and the path of a state directory may be longer.
fn address(directory: BorrowedFd<'_>, name: &str) -> Result<UnixAddr, Errno> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    UnixAddr::new(path.as_str())
}

fn open(kind: SockType, flags: SockFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    socket::socket(AddressFamily::Unix, kind, flags, None)
}

/// A sequenced-packet socket that waits for one connection at `name` in `directory`; close-on-exec.
/// Needs /proc.
///
/// # Errors
/// EADDRINUSE: the name exists.
pub fn listen_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::SeqPacket, SockFlag::empty())?;
    socket::bind(socket.as_raw_fd(), &address(directory, name)?)?;
    socket::listen(&socket, Backlog::new(1)?)?;
    Ok(socket)
}

/// Connects to the sequenced-packet socket `name` in `directory`; close-on-exec. Needs /proc.
///
/// # Errors
/// ECONNREFUSED: no process listens any more. ENOENT: no such socket.
pub fn connect_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::SeqPacket, SockFlag::empty())?;
    socket::connect(socket.as_raw_fd(), &address(directory, name)?)?;
    Ok(socket)
}

/// Connects a stream socket to a path, or to a name in the abstract name space; close-on-exec and
/// non-blocking.
///
/// # Errors
/// EAGAIN: the listener's queue is full. ENAMETOOLONG: more than 107 bytes.
pub fn connect_stream(name: &[u8], is_abstract: bool) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::Stream, SockFlag::SOCK_NONBLOCK)?;
    socket::connect(socket.as_raw_fd(), &named(name, is_abstract)?)?;
    Ok(socket)
}

/// Connects to a stream socket of the file system; the descriptor is close-on-exec. Connecting and
/// every send on it wait at most `timeout`, which must not be zero.
///
/// # Errors
/// ENAMETOOLONG: more than 107 bytes. ENOENT, ECONNREFUSED: no process listens. EAGAIN: the
/// listener's queue was full for the whole time. EPROTOTYPE: another type of socket.
pub fn connect_within(path: &Path, timeout: Duration) -> Result<OwnedFd, Errno> {
    connect_stream_within(&UnixAddr::new(path)?, timeout)
}

/// As [`connect_within`], to the socket `name` in `directory`, whose path may be of any length.
/// Needs /proc.
pub fn connect_within_at(
    directory: BorrowedFd<'_>,
    name: &str,
    timeout: Duration,
) -> Result<OwnedFd, Errno> {
    connect_stream_within(&address(directory, name)?, timeout)
}

fn connect_stream_within(address: &UnixAddr, timeout: Duration) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::Stream, SockFlag::empty())?;
    limit_sends(&socket, timeout)?;
    again(|| socket::connect(socket.as_raw_fd(), address))?;
    Ok(socket)
}

/// A datagram socket that receives at `name` in `directory`; close-on-exec and non-blocking. Needs
/// /proc.
///
/// # Errors
/// EADDRINUSE: the name exists.
pub fn receive_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::Datagram, SockFlag::SOCK_NONBLOCK)?;
    socket::bind(socket.as_raw_fd(), &address(directory, name)?)?;
    Ok(socket)
}

/// Connects to a datagram socket at a path, or at a name in the abstract name space; close-on-exec.
/// Every send on it waits at most `timeout`, which must not be zero.
///
/// # Errors
/// ENAMETOOLONG: more than 107 bytes. ENOENT, ECONNREFUSED: no process receives there. EPROTOTYPE:
/// another type of socket.
pub fn connect_datagrams(
    name: &[u8],
    is_abstract: bool,
    timeout: Duration,
) -> Result<OwnedFd, Errno> {
    let socket = open(SockType::Datagram, SockFlag::empty())?;
    limit_sends(&socket, timeout)?;
    socket::connect(socket.as_raw_fd(), &named(name, is_abstract)?)?;
    Ok(socket)
}

/// A path, or a name in the abstract name space.
fn named(name: &[u8], is_abstract: bool) -> Result<UnixAddr, Errno> {
    match is_abstract {
        true => UnixAddr::new_abstract(name),
        false => UnixAddr::new(name),
    }
}

/// Limits the wait of a send, and of a connection, to `timeout`.
fn limit_sends(socket: &OwnedFd, timeout: Duration) -> Result<(), Errno> {
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let timeout = TimeVal::new(seconds, timeout.subsec_micros().into());
    socket::setsockopt(socket, sockopt::SendTimeout, &timeout)
}

/// Accepts the next connection, close-on-exec. Tries again on EINTR.
///
/// # Errors
/// EMFILE, ENFILE: too many descriptors.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let number = again(|| socket::accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC))?;
    // SAFETY: the call has just made it, and no other owner exists.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The maximum number of descriptors for [`send_fds`].
pub const FDS_MAX: usize = 4;

/// Sends all of `message` over a socket, the descriptors with its first byte (SCM_RIGHTS), without
/// SIGPIPE. Tries again on EINTR and after a partial send. Unlike nix's call, it does not allocate.
///
/// # Errors
/// EINVAL: more than [`FDS_MAX`] descriptors, or no byte to send with them. EPIPE, ECONNRESET: the
/// other end is closed. EAGAIN: the socket's send time-out has passed.
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
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = u32::try_from(size_of_val(fds)).map_err(|_too_many| Errno::EINVAL)?;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: it only computes with numbers.
        let space = unsafe { libc::CMSG_SPACE(bytes) };
        header.msg_controllen = space as _;
        // SAFETY: the control buffer is larger than one header.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY: it only computes with numbers.
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
    again(|| {
        // SAFETY: every pointer in the header refers to memory that the caller holds.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), header, libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_negative| Errno::last())
    })
}
