//! What the host's kernel enforces. Asked in the runtime, before the clone, and only when a label is asked for.

#![expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc and the host's selinuxfs, before any clone"
)]

use crate::apparmor::UNCONFINED;
use kernel::Errno;
use kernel::fs::{SELINUX_MAGIC, filesystem_magic};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// Answers about the host; functions, so that nothing is asked in vain.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Whether AppArmor is enabled.
    pub apparmor: fn() -> bool,
    /// What SELinux is doing.
    pub selinux: fn() -> Selinux,
    /// How the kernel spells a context.
    pub spell: fn(&str) -> Result<String, Errno>,
}

/// What SELinux is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selinux {
    /// It is not in the kernel or not enabled.
    Off,
    /// It takes any label and means nothing by it.
    NoPolicy,
    /// It has a policy, which it may or may not enforce.
    On,
}

impl Host {
    /// The host that this process runs on.
    pub const REAL: Self = Self {
        apparmor,
        selinux,
        spell,
    };
}

/// By asking the module about this thread: that works wherever there is a /proc. A module that is off says EINVAL.
fn apparmor() -> bool {
    fs::read("/proc/thread-self/attr/apparmor/current").is_ok()
}

/// Whether a profile of AppArmor or a policy of SELinux may confine this process: what is root's to do may be forbidden then, such as to
/// look at a process of its own.
pub fn is_confined() -> bool {
    let by_profile = fs::read("/proc/thread-self/attr/apparmor/current")
        .is_ok_and(|label| label.trim_ascii_end() != UNCONFINED.as_bytes());
    by_profile || selinux() == Selinux::On
}

/// `attr/keycreate` is SELinux's alone; without a policy every process is the kernel's.
fn selinux() -> Selinux {
    if fs::read("/proc/thread-self/attr/keycreate").is_err() {
        return Selinux::Off;
    }
    match fs::read("/proc/thread-self/attr/current").as_deref() {
        Ok(b"kernel" | b"kernel\0") => Selinux::NoPolicy,
        Ok(_) => Selinux::On,
        Err(_) => Selinux::Off,
    }
}

/// By the transaction file of selinuxfs, where it is mounted.
///
/// # Errors
/// EINVAL: the policy has no such context. Everything else says nothing about it.
fn spell(context: &str) -> Result<String, Errno> {
    let ask = || -> io::Result<String> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .open("/sys/fs/selinux/context")?;
        if filesystem_magic(file.as_fd()) != Ok(SELINUX_MAGIC) {
            return Err(Errno::ENOENT.into());
        }
        file.write_all(context.as_bytes())?;
        let mut answer = String::new();
        file.read_to_string(&mut answer)?;
        Ok(answer.trim_end_matches('\0').to_owned())
    };
    ask().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
}
