//! Network links with the old ioctls, which need neither netlink messages nor allocation.

use crate::errno::{Errno, ret, ret_fd};
use std::mem;
use std::os::fd::AsRawFd;

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
        *place = byte.cast_signed();
    }
    // SAFETY: the request is a whole ifreq with a name that ends with a NUL.
    ret(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) }.into())?;
    // SAFETY: the call above has filled in this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | IFF_UP;
    // SAFETY: as above.
    ret(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
}
