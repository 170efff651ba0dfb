//! Network links: the loopback link with the old ioctls, which need neither netlink messages nor
//! allocation, and sockets for netlink messages.

use crate::errno::{Errno, ret, ret_fd};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Brings the loopback link of this network namespace up. See netdevice(7).
pub fn loopback_up() -> Result<(), Errno> {
    const IFF_UP: libc::c_short = 1;
    // Any socket works; one of this family needs no network protocol in the kernel.
    // SAFETY: no memory is passed.
    let socket = ret_fd(
        unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    // SAFETY: a C structure for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    // SAFETY: the request is a whole ifreq with a name that ends with a NUL.
    ret(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &raw mut request,
        )
    }
    .into())?;
    // SAFETY: the call above has filled in this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | IFF_UP;
    // SAFETY: as above.
    ret(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    }
    .into())
}

/// A socket for messages of [rtnetlink(7)] about the network namespace of this process;
/// close-on-exec.
///
/// # Errors
/// EMFILE, ENFILE: too many descriptors.
///
/// [rtnetlink(7)]: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
pub fn route_socket() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let protocol = SockProtocol::NetlinkRoute;
    socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
}

/// The network namespace that the socket was made in; close-on-exec. SIOCGSKNS, Linux 4.10.
///
/// # Errors
/// EPERM: this needs CAP_NET_ADMIN over that namespace.
pub fn namespace_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: no memory is passed; the descriptor that is returned is new.
    ret_fd(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) }.into())
}
