//! Lowers properties of the process to writes, which init makes at two moments.
//!
//! Init joins the keyring early, before it uses anything of the container. It writes the labels of
//! the next program after the file system is ready, and before ids, capabilities and filter change,
//! since each of these could forbid the write. From then on startContainer hooks run under the
//! labels too. The kernel applies them at the exec.

use crate::apparmor::{COMMAND, UNCONFINED};
use crate::attribute::{Attribute, LIMIT, Write};
use crate::facts::{Context, Facts, Selinux};
use kernel::errno::words;
use kernel::keyring::{self, KeyPermissions};
use kernel::{Call, Errno, Failed};
use spec::container::Process;
use spec::{Code, Diagnostic};
use std::fmt;
use std::os::fd::BorrowedFd;

/// The longest string that fsconfig(2) accepts, without the NUL.
const MOUNT_LIMIT: usize = 255;
const MOUNT_LABEL: &str = "/linux/mountLabel";

/// The session keyring. See session-keyring(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyring {
    /// The process gets a new one.
    New,
    /// The process keeps the caller's.
    Inherit,
}

/// The input of lowering.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `process`, or that of `exec`. `None`: there is no program to run.
    pub process: Option<&'a Process>,
    /// `linux.mountLabel`, which is only checked.
    pub mount_label: Option<&'a str>,
    /// What happens with the session keyring.
    pub keyring: Keyring,
    /// The facts about the host. Without facts it has no security module.
    pub facts: Option<&'a Facts>,
}

/// The writes of init about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    keyring: Keyring,
    /// The label for keys: written before the keyring is made, undone afterwards.
    key: Option<Write>,
    /// The labels for the next program.
    exec: Vec<Write>,
}

impl Plan {
    /// Decides the writes.
    ///
    /// # Errors
    /// A label that this host does not support, or that is too long for the kernel.
    pub fn lower(request: &Request<'_>) -> Result<Self, Diagnostic> {
        let host = request.facts;
        let mut plan = Self {
            keyring: request.keyring,
            key: None,
            exec: Vec::new(),
        };
        if let Some(label) = request.mount_label {
            context(host, label, MOUNT_LABEL, MOUNT_LIMIT)?;
        }
        let Some(process) = request.process else {
            return Ok(plan);
        };
        if let Some(profile) = &process.apparmor_profile {
            plan.exec.extend(apparmor(host, profile)?);
        }
        if let Some(label) = &process.selinux_label {
            let write = |attribute: Attribute| -> Result<Write, Diagnostic> {
                let value = context(host, label, attribute.pointer(), LIMIT)?.into_bytes();
                Ok(Write { attribute, value })
            };
            plan.exec.push(write(Attribute::SelinuxExec)?);
            if request.keyring == Keyring::New {
                plan.key = Some(write(Attribute::SelinuxKey)?);
            }
        }
        Ok(plan)
    }

    /// Whether the calls below need a procfs.
    pub fn needs_procfs(&self) -> bool {
        self.key.is_some() || !self.exec.is_empty()
    }

    /// Replaces the caller's session keyring with a new one that only its possessors may use. With
    /// the kernel's default, every process of the same user could read it, in any container.
    /// `procfs` must belong to this process' own PID namespace, and the container must not be able
    /// to change it.
    pub fn join_keyring(&self, procfs: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        if self.keyring == Keyring::Inherit {
            return Ok(());
        }
        if let Some(write) = &self.key {
            write.apply(vouched(procfs)?, KEY)?;
        }
        match keyring::join_new_session() {
            Ok(()) => keyring::set_session_permissions(KeyPermissions::POSSESSOR_ALL)
                .map_err(Failed::at(Call::KeyPermissions, KEY))?,
            // A kernel without keyrings cannot leak one.
            Err(Errno::ENOSYS) => {}
            Err(errno) => return Err(Failed::at(Call::Keyctl, KEY)(errno)),
        }
        match &self.key {
            Some(write) => write.reset(vouched(procfs)?, KEY),
            None => Ok(()),
        }
    }

    /// Tells the kernel to label the next program, and verifies it. `procfs` is as for
    /// [`Self::join_keyring`].
    pub fn apply(&self, procfs: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        for (index, write) in self.exec.iter().enumerate() {
            write.apply(vouched(procfs)?, index)?;
        }
        Ok(())
    }

    /// The message for a failure.
    pub fn describe(&self, failed: &Failed) -> String {
        let index = usize::from(failed.index);
        let why = words(failed.errno);
        let write = match index {
            KEY => self.key.as_ref(),
            _ => self.exec.get(index),
        };
        match (failed.call, write) {
            (Call::Keyctl, _) => {
                format!("make a session keyring: {why}; --no-new-keyring keeps the caller's")
            }
            (Call::KeyPermissions, _) => {
                format!("restrict the session keyring: {why}; --no-new-keyring keeps the caller's")
            }
            (_, None) => format!("label the process: {}: {why}", failed.call.name()),
            (call, Some(write)) => {
                let name = write.value.strip_prefix(COMMAND).unwrap_or(&write.value);
                let name = String::from_utf8_lossy(name);
                let pointer = write.attribute.pointer();
                match reason(write.attribute, call, failed.errno) {
                    Some(reason) => format!("{pointer}: {name:?}: {reason}"),
                    None => format!("{pointer}: {name:?}: {}: {why}", call.name()),
                }
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keyring {
            Keyring::New => writeln!(f, "a new session keyring")?,
            Keyring::Inherit => writeln!(f, "the caller's session keyring")?,
        }
        for (what, write) in self
            .key
            .iter()
            .map(|write| ("keys", write))
            .chain(self.exec.iter().map(|write| ("the program", write)))
        {
            let value = String::from_utf8_lossy(&write.value);
            writeln!(f, "label of {what}: {:?} {value:?}", write.attribute)?;
        }
        Ok(())
    }
}

/// The index of failures with the keyring.
const KEY: usize = 0xffff;

/// The meaning of an errno here.
fn reason(attribute: Attribute, call: Call, errno: Errno) -> Option<&'static str> {
    let denied = matches!(errno, Errno::EACCES | Errno::EPERM);
    match (call, attribute) {
        (Call::Verify, _) => {
            Some("the kernel reports another label than the one written; locule does not continue")
        }
        (Call::Attribute, Attribute::ApparmorExec) if errno == Errno::ENOENT => {
            Some("no such profile is loaded on this host; load it with apparmor_parser")
        }
        (Call::Attribute, Attribute::ApparmorExec) if denied => Some(
            "the profile that the runtime itself runs under does not permit the change; it needs a change_profile rule",
        ),
        (Call::Attribute, Attribute::SelinuxExec | Attribute::SelinuxKey)
            if errno == Errno::EINVAL =>
        {
            Some(NOT_VALID)
        }
        (Call::Attribute, Attribute::SelinuxExec) if denied => {
            Some("the policy of SELinux does not permit the runtime to choose it (process setexec)")
        }
        (Call::Attribute, Attribute::SelinuxKey) if denied => Some(
            "the policy of SELinux does not permit the runtime to label keys with it (process setkeycreate)",
        ),
        _ => None,
    }
}

const NOT_VALID: &str = "the policy of SELinux on this host has no such context";

fn vouched(procfs: Option<BorrowedFd<'_>>) -> Result<BorrowedFd<'_>, Failed> {
    procfs.ok_or_else(|| Failed::at(Call::Openat2, KEY)(Errno::EBADF))
}

fn apparmor(host: Option<&Facts>, profile: &str) -> Result<Option<Write>, Diagnostic> {
    let attribute = Attribute::ApparmorExec;
    let problem = |code, message: String| Diagnostic::new(code, attribute.pointer(), message);
    if host.is_none_or(|host| host.apparmor.is_none()) {
        // Without AppArmor every process is unconfined, which is what this value requests.
        if profile == UNCONFINED {
            return Ok(None);
        }
        let message = format!("profile {profile:?}: AppArmor is not enabled on this host");
        return Err(problem(Code::Host, message).hint(
            "enable it (kernel parameter lsm=), or remove the property to run without a profile",
        ));
    }
    let value = [COMMAND, profile.as_bytes()].concat();
    if value.len() > LIMIT {
        let limit = LIMIT - COMMAND.len();
        let message = format!("is longer than the {limit} bytes that the kernel accepts");
        return Err(problem(Code::Range, message));
    }
    Ok(Some(Write { attribute, value }))
}

/// The context as the kernel spells it, so that it can be compared.
fn context(
    host: Option<&Facts>,
    label: &str,
    pointer: &str,
    limit: usize,
) -> Result<String, Diagnostic> {
    let problem = |code, message: String| Diagnostic::new(code, pointer, message);
    let missing = match host.map_or(Selinux::Off, |host| host.selinux) {
        Selinux::Off => Some("SELinux is not enabled on this host"),
        Selinux::NoPolicy => Some("SELinux has no policy loaded on this host"),
        Selinux::On => None,
    };
    if let Some(missing) = missing {
        return Err(problem(Code::Host, format!("label {label:?}: {missing}")).hint(
            "enable it (kernel parameter lsm=, and a policy), or remove the property to run without a label",
        ));
    }
    if label.len() > limit {
        let message = format!("is longer than the {limit} bytes that the kernel accepts");
        return Err(problem(Code::Range, message));
    }
    match host.and_then(|host| host.contexts.get(label)) {
        Some(Context::Known(spelled)) => Ok(spelled.clone()),
        Some(Context::Unknown) => Err(problem(Code::Host, format!("label {label:?}: {NOT_VALID}"))),
        None => Ok(label.to_owned()),
    }
}

#[cfg(test)]
mod tests;
