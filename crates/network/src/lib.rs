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
pub enum Error {
    /// The caller may not move devices.
    #[error(
        "/linux/netDevices: network devices are moved with CAP_NET_ADMIN and CAP_SYS_ADMIN, which this caller does not have; run as root"
    )]
    Privilege,
    /// The container has no network namespace of its own.
    #[error(
        "/linux/netDevices: the network namespace that /linux/namespaces joins is the runtime's own, and its devices are there already; name another one, or leave the path out for a new one"
    )]
    OwnNamespace,
    /// There is no such device.
    #[error(
        "{pointer}: there is no network device {name:?} in the runtime's network namespace; `ip link` lists those that it has"
    )]
    Missing {
        /// JSON pointer of the device.
        pointer: String,
        /// Its name.
        name: String,
    },
    /// Another device has the name.
    #[error(
        "{pointer}: the container's network namespace has a network device {name:?} already; set another `name`, or a template such as \"eth%d\""
    )]
    Clash {
        /// JSON pointer of the device.
        pointer: String,
        /// The name.
        name: String,
    },
    /// The kernel refuses a step.
    #[error("{pointer}: {step} network device {name:?}: {}{}", words(*errno), hint(*errno))]
    Device {
        /// JSON pointer of the device.
        pointer: String,
        /// Its name before.
        name: String,
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Devices could not be moved back after an error.
    #[error("{error}; and {left}")]
    Stuck {
        /// What had failed.
        error: Box<Error>,
        /// What is left, and why.
        left: Box<Error>,
    },
    /// The kernel refuses a step that concerns all devices.
    #[error("/linux/netDevices: {step}: {}", words(*errno))]
    Netlink {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
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
