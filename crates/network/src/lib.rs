//! Network devices that move into the network namespace of a container.
//!
//! Decides which devices of `linux.netDevices` move, under which names, and what they keep. Does
//! not make a namespace (crate `namespace`) and does not bring up the loopback link (crate
//! `launch`). A device is found by its name once, before the container's process exists; after that
//! it is named by its index. Source: runtime-spec config-linux.md#network-devices, rtnetlink(7).

#![forbid(unsafe_code)]

mod link;
mod message;
mod plan;
mod route;

pub use plan::{Handles, Moved, Plan, Target};

use kernel::Errno;
use kernel::errno::words;

/// Why a device cannot move.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "/linux/netDevices: network devices are moved with CAP_NET_ADMIN and CAP_SYS_ADMIN, which this caller does not have; run as root"
    )]
    Privilege,
    #[error(
        "/linux/netDevices: the network namespace that /linux/namespaces joins is the runtime's own, and its devices are there already; name another one, or leave the path out for a new one"
    )]
    OwnNamespace,
    #[error(
        "{pointer}: there is no network device {name:?} in the runtime's network namespace; `ip link` lists those that it has"
    )]
    Missing { pointer: String, name: String },
    #[error(
        "{pointer}: the container's network namespace has a network device {name:?} already; set another `name`, or a template such as \"eth%d\""
    )]
    Clash { pointer: String, name: String },
    #[error("{pointer}: {step} network device {name:?}: {}{}", words(*errno), hint(*errno))]
    Device {
        pointer: String,
        name: String,
        step: &'static str,
        errno: Errno,
    },
    #[error("{error}; and {left}")]
    Stuck { error: Box<Error>, left: Box<Error> },
    #[error("/linux/netDevices: {step}: {}", words(*errno))]
    Netlink { step: &'static str, errno: Errno },
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => {
            "; a loopback device, a bridge and some other kinds of devices cannot leave their namespace"
        }
        Errno::EPERM => "; it needs CAP_NET_ADMIN over both network namespaces",
        Errno::EEXIST => "; another device has the name in the other namespace",
        _ => "",
    }
}
