//! Sequenced-packet sockets: one message is one frame.

use crate::errno::{Errno, ret, ret_fd, ret_number};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A connected pair, both close-on-exec. See unix(7).
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for both descriptors.
    ret(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    // SAFETY: the call has just made both, and nobody else knows them.
    let first = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let second = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((first, second))
}

/// Sends one whole frame, without SIGPIPE. Tries again on EINTR.
///
/// # Errors
/// EPIPE: the other end is gone. EMSGSIZE: the frame was cut.
pub fn send(socket: BorrowedFd<'_>, frame: &[u8]) -> Result<(), Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let sent = unsafe {
            libc::send(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        match ret_number(sent as libc::c_long) {
            Ok(count) if count == frame.len() as u64 => return Ok(()),
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one frame and gives its length; 0 says that the other end is closed. A frame longer than
/// `buffer` gives its real length, which the caller must refuse. Tries again on EINTR.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the pointer and the length are of one slice.
        let got = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
            )
        };
        match usize::try_from(got) {
            Ok(length) => return Ok(length),
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    }
}

/// Receives one frame as [`receive`] does, and the descriptor that came with it, if one did; close-on-exec.
pub fn receive_with_fd(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    // u64s for the alignment of `struct cmsghdr`; room for its header and one descriptor, padding included.
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
    header.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    let length = loop {
        // SAFETY: the header points to two live buffers and says their lengths.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        match usize::try_from(got) {
            Ok(length) => break length,
            Err(_negative) if Errno::last() == Errno::EINTR => {}
            Err(_negative) => return Err(Errno::last()),
        }
    };
    // SAFETY: recvmsg(2) has left a valid control length in the header.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    if first.is_null() {
        return Ok((length, None));
    }
    // SAFETY: CMSG_FIRSTHDR gives null or a whole header in the control buffer.
    let found = unsafe { first.read() };
    if (found.cmsg_level, found.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Ok((length, None));
    }
    // SAFETY: the address of the data of a whole header.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: an SCM_RIGHTS message that fits holds at least one descriptor.
    let number = unsafe { data.cast::<libc::c_int>().read_unaligned() };
    // SAFETY: the kernel has just installed it for this process, and nobody else knows it.
    Ok((length, Some(unsafe { OwnedFd::from_raw_fd(number) })))
}

/// An address for the socket `name` in the directory behind `directory`. Goes through /proc/self/fd, since an
/// address has room for 107 bytes and a state directory may have a longer path.
fn address(directory: BorrowedFd<'_>, name: &str) -> Result<libc::sockaddr_un, Errno> {
    // SAFETY: a C structure for which all zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = FAMILY;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    if path.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (place, byte) in address.sun_path.iter_mut().zip(path.bytes()) {
        *place = byte.cast_signed();
    }
    Ok(address)
}

fn socket() -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    ret_fd(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())
}

const ADDRESS_LENGTH: libc::socklen_t = 110;
const _: () = assert!(size_of::<libc::sockaddr_un>() == ADDRESS_LENGTH as usize);
const UCRED_LENGTH: libc::socklen_t = 12;
const _: () = assert!(size_of::<libc::ucred>() == UCRED_LENGTH as usize);
/// AF_UNIX in the type of the address.
const FAMILY: libc::sa_family_t = 1;

/// A socket that waits for one connection at `name` in `directory`; close-on-exec. Needs /proc.
///
/// # Errors
/// EADDRINUSE: the name exists.
pub fn listen_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    let address = address(directory, name)?;
    // SAFETY: the address is a whole sockaddr_un.
    ret(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            ADDRESS_LENGTH,
        )
    }
    .into())?;
    // SAFETY: no memory is passed.
    ret(unsafe { libc::listen(socket.as_raw_fd(), 1) }.into())?;
    Ok(socket)
}

/// Connects to the socket `name` in `directory`; close-on-exec. Needs /proc.
///
/// # Errors
/// ECONNREFUSED: nobody listens any more. ENOENT: no such socket.
pub fn connect_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    let address = address(directory, name)?;
    // SAFETY: the address is a whole sockaddr_un.
    ret(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            ADDRESS_LENGTH,
        )
    }
    .into())?;
    Ok(socket)
}

/// Connects a stream socket to a path, or to a name in the abstract name space; close-on-exec and
/// non-blocking. See unix(7).
///
/// # Errors
/// EAGAIN: the listener's queue is full. ENAMETOOLONG: more than 107 bytes.
pub fn connect_stream(name: &[u8], is_abstract: bool) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let socket = ret_fd(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    // SAFETY: a C structure for which all zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = FAMILY;
    let first = usize::from(is_abstract);
    if first + name.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (place, byte) in address.sun_path[first..].iter_mut().zip(name) {
        *place = byte.cast_signed();
    }
    // An abstract name ends where the address does, a path at its NUL.
    let unused = address.sun_path.len() - first - name.len();
    let length = match libc::socklen_t::try_from(unused) {
        Ok(unused) if is_abstract => ADDRESS_LENGTH - unused,
        _ => ADDRESS_LENGTH,
    };
    // SAFETY: the address is a whole sockaddr_un, and no longer than that.
    ret(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) }.into())?;
    Ok(socket)
}

/// The process that the other end of a connection belongs to, or that listens there: in this process' PID
/// namespace, 0 if it is outside of it. See SO_PEERCRED in unix(7).
pub fn peer_pid(socket: BorrowedFd<'_>) -> Result<i32, Errno> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = UCRED_LENGTH;
    // SAFETY: the buffer is a whole ucred, and the length says so.
    ret(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    }
    .into())?;
    Ok(peer.pid)
}

/// Takes the next connection, close-on-exec. Tries again on EINTR.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    loop {
        // SAFETY: null pointers say that the peer's address is not wanted.
        let fd = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_CLOEXEC,
            )
        };
        match ret_fd(fd.into()) {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}
