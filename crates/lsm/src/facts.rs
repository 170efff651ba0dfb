//! The security modules of the host's kernel. The runtime asks before it decides anything, and only
//! if the configuration needs it.

#![expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc and the host's selinuxfs, before any clone"
)]

use crate::apparmor::UNCONFINED;
use kernel::Errno;
use kernel::fs::{SELINUX_MAGIC, filesystem_magic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// The state of the host's security modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The caller's AppArmor profile; `None`: AppArmor is not enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// The state of SELinux.
    pub selinux: Selinux,
    /// The policy's spelling of the requested contexts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, Context>,
}

/// The state of SELinux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selinux {
    /// It is not in the kernel or not enabled.
    Off,
    /// It accepts any label, and the label has no effect.
    NoPolicy,
    /// It has a policy, which it may or may not enforce.
    On,
}

/// The policy's answer about a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// It knows the context, and spells it like this.
    Known(String),
    /// It does not know the context.
    Unknown,
}

impl Facts {
    /// Asks the modules about this thread, and the policy about these contexts.
    pub fn probe<'a>(contexts: impl Iterator<Item = &'a str>) -> Self {
        // Ask the module itself: this works with any /proc. A module that is off answers EINVAL.
        let apparmor = fs::read("/proc/thread-self/attr/apparmor/current").ok();
        let selinux = selinux();
        let mut known = BTreeMap::new();
        if selinux == Selinux::On {
            known
                .extend(contexts.filter_map(|context| Some((context.to_owned(), spell(context)?))));
        }
        Self {
            apparmor: apparmor.map(|label| String::from_utf8_lossy(label.trim_ascii_end()).into()),
            selinux,
            contexts: known,
        }
    }

    /// Whether a profile of AppArmor or a policy of SELinux may confine the caller: it may then
    /// forbid things that root usually may do, such as inspecting its own child process.
    pub fn is_confining(&self) -> bool {
        let profile = self.apparmor.as_deref();
        profile.is_some_and(|profile| profile != UNCONFINED) || self.selinux == Selinux::On
    }
}

/// Only SELinux has `attr/keycreate`; without a policy every process has the context `kernel`.
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

/// Asks with the transaction file of selinuxfs, if it is mounted. `None`: there is no answer.
fn spell(context: &str) -> Option<Context> {
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
    match ask() {
        Ok(spelled) => Some(Context::Known(spelled)),
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Some(Context::Unknown),
        Err(_silent) => None,
    }
}
