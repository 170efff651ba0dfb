//! How and when a container's filter is loaded.
//!
//! This module decides everything before the clone: the program, the flags of seccomp(2), the
//! moment, and the receiver of a listener's descriptor. Init only makes the call. Without
//! noNewPrivileges the call needs CAP_SYS_ADMIN, so init makes it before it drops capabilities.
//! With noNewPrivileges init makes it afterwards, as late as possible.

use crate::bpf;
use crate::compile::{self, Filter};
use crate::notify::Listener;
use crate::syscalls::{Arch, Syscall};
use kernel::seccomp::{FilterFlags, Instruction};
use kernel::{Call, Errno, Failed};
use serde::{Deserialize, Serialize};
use spec::container::{Container, Seccomp, SeccompAction, SeccompFlag};
use spec::state::{StateText, Status};
use spec::{Code, Diagnostic};
use std::fmt;
use std::os::fd::OwnedFd;

/// The annotation that makes an unknown system call name an error ("1"): crun's.
pub const FAIL_UNKNOWN_ANNOTATION: &str = "run.oci.seccomp_fail_unknown_syscall";

/// The input of lowering.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container.
    pub container: &'a Container,
    /// Its id.
    pub id: &'a str,
    /// The status that a listener gets: creating, or running for `exec`.
    pub status: Status,
    /// The features of this kernel.
    pub facts: Facts,
}

/// The features of seccomp(2) that this kernel has and the oldest supported kernel does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.
    pub wait_killable_recv: bool,
}

impl Facts {
    /// Asks the kernel.
    pub fn probe() -> Self {
        let newest = FilterFlags::NEW_LISTENER | FilterFlags::WAIT_KILLABLE_RECV;
        Self {
            wait_killable_recv: kernel::seccomp::flags_available(newest),
        }
    }
}

/// When the filter is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before capabilities are dropped, since it needs CAP_SYS_ADMIN.
    BeforeCapabilities,
    /// After that, right before the last steps.
    AfterCapabilities,
}

/// How init hands the listener's descriptor to the runtime, while the filter is active and no
/// listener answers yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// With a message: sendmsg(2).
    WithMessage,
    /// The runtime copies it by the number that init writes, with pidfd_getfd(2). It must be
    /// privileged over init.
    ByNumber,
}

/// The program that init loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// At most 4096 instructions.
    pub program: Vec<Instruction>,
    /// With NEW_LISTENER if and only if a rule has the action NOTIFY.
    pub flags: FilterFlags,
    /// When it is loaded.
    pub moment: Moment,
    /// Where the listener's descriptor goes.
    pub listener: Option<Listener>,
    /// How the descriptor reaches the runtime.
    pub hand_over: HandOver,
    /// Names that no architecture has, with their JSON pointers: each is logged at debug level.
    pub unknown: Vec<(String, String)>,
}

impl Plan {
    /// Compiles the container's filter. `None`: it has none.
    ///
    /// # Errors
    /// A [`Diagnostic`] with a JSON pointer: NOTIFY without a listener; a program that is too long;
    /// an unknown name if an annotation forbids it; a flag that this kernel does not have.
    pub fn lower(request: &Request<'_>) -> Result<Option<Self>, Diagnostic> {
        let container = request.container;
        let Some(profile) = &container.seccomp else {
            return Ok(None);
        };
        let listener = listener(request, profile)?;
        let Filter { program, unknown } =
            compile::compile(profile).map_err(|error| error.at(SECCOMP))?;
        let unknown: Vec<_> = unknown
            .into_iter()
            .map(|(rule, name)| (format!("{SYSCALLS}/{rule}/names"), name))
            .collect();
        let strict = container.annotations.get(FAIL_UNKNOWN_ANNOTATION);
        if let (Some("1"), Some((pointer, name))) = (strict.map(String::as_str), unknown.first()) {
            let message = format!("system call {name:?} is unknown on every architecture");
            let hint = format!("remove the annotation {FAIL_UNKNOWN_ANNOTATION}");
            return Err(Diagnostic::new(Code::UnknownValue, pointer, message).hint(hint));
        }
        let flags = flags(profile, listener.is_some());
        if flags.contains(FilterFlags::WAIT_KILLABLE_RECV) && !request.facts.wait_killable_recv {
            let pointer = format!("{SECCOMP}/flags");
            let message = format!("this kernel does not know all of the flags {flags:?}");
            let hint = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs Linux 5.19";
            return Err(Diagnostic::new(Code::Host, pointer, message).hint(hint));
        }
        let no_new_privileges = container
            .process
            .as_ref()
            .is_some_and(|process| process.no_new_privileges);
        Ok(Some(Self {
            program,
            flags,
            moment: if no_new_privileges {
                Moment::AfterCapabilities
            } else {
                Moment::BeforeCapabilities
            },
            listener,
            hand_over: match asks_about(profile, "sendmsg") {
                true => HandOver::ByNumber,
                false => HandOver::WithMessage,
            },
            unknown,
        }))
    }

    /// Whether the filter allows this call of this program's architecture, without a question to a
    /// listener.
    pub fn allows(&self, name: &str, args: [u64; 6]) -> bool {
        let allowed = [SeccompAction::Allow, SeccompAction::Log].map(compile::return_value);
        let answer = self.answer(name, args);
        answer.is_some_and(|answer| allowed.contains(&answer))
    }

    /// Whether the filter answers this call, with zeros for its arguments, with this errno.
    pub fn refuses(&self, name: &str, errno: Errno) -> bool {
        let refusal = u16::try_from(errno as i32).map(SeccompAction::Errno);
        let refusal = refusal.map(compile::return_value).ok();
        refusal.is_some() && self.answer(name, [0; 6]) == refusal
    }

    fn answer(&self, name: &str, args: [u64; 6]) -> Option<u32> {
        let number = Syscall::named(name).and_then(|call| call.number(Arch::NATIVE))?;
        bpf::answer(&self.program, Arch::NATIVE, number, &args)
    }

    /// Loads the filter for this process, in init. Returns the listener's descriptor if there is
    /// one: it must go to the runtime with the next message. Allocates nothing.
    pub fn apply(&self) -> Result<Option<OwnedFd>, Failed> {
        kernel::seccomp::load(&self.program, self.flags).map_err(Failed::of(Call::Seccomp))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.flags.iter_names().map(|(name, _)| name).collect();
        let flags = names.join(" ");
        let length = self.program.len();
        writeln!(f, "a filter of {length} instructions, flags ({flags})")?;
        if !self.unknown.is_empty() {
            let names: Vec<_> = self.unknown.iter().map(|(_, name)| name.as_str()).collect();
            writeln!(f, "unknown here and left out: {}", names.join(" "))?;
        }
        match &self.listener {
            Some(listener) => writeln!(f, "its listener goes to {:?}", listener.path()),
            None => Ok(()),
        }
    }
}

const SECCOMP: &str = "/linux/seccomp";
const SYSCALLS: &str = "/linux/seccomp/syscalls";

/// As in runc: SPEC_ALLOW if `flags` is absent, no flag if it is empty. TSYNC is accepted and has
/// no effect, since init has one thread (and TSYNC excludes a listener). WAIT_KILLABLE_RECV needs a
/// listener.
fn flags(profile: &Seccomp, listening: bool) -> FilterFlags {
    let mut flags = match &profile.flags {
        None => FilterFlags::SPEC_ALLOW,
        Some(listed) => listed.iter().fold(FilterFlags::empty(), |flags, flag| {
            flags
                | match flag {
                    SeccompFlag::SeccompFilterFlagTsync => FilterFlags::empty(),
                    SeccompFlag::SeccompFilterFlagLog => FilterFlags::LOG,
                    SeccompFlag::SeccompFilterFlagSpecAllow => FilterFlags::SPEC_ALLOW,
                    SeccompFlag::SeccompFilterFlagWaitKillableRecv => {
                        FilterFlags::WAIT_KILLABLE_RECV
                    }
                }
        }),
    };
    flags.set(FilterFlags::NEW_LISTENER, listening);
    if !listening {
        flags.remove(FilterFlags::WAIT_KILLABLE_RECV);
    }
    flags
}

/// Whether any call goes to the listener.
pub fn asks(profile: &Seccomp) -> bool {
    let mut rules = profile.syscalls.iter();
    rules.any(|rule| rule.action == SeccompAction::Notify)
}

/// Whether this call goes to the listener.
fn asks_about(profile: &Seccomp, call: &str) -> bool {
    profile.syscalls.iter().any(|rule| {
        rule.action == SeccompAction::Notify && rule.names.iter().any(|name| name == call)
    })
}

/// The crate `spec` decides which calls may go to a listener.
fn listener(request: &Request<'_>, profile: &Seccomp) -> Result<Option<Listener>, Diagnostic> {
    let container = request.container;
    if !asks(profile) {
        return Ok(None);
    }
    let Some(path) = profile.listener_path.clone() else {
        let message = "SCMP_ACT_NOTIFY needs `listenerPath`";
        return Err(Diagnostic::new(Code::Conflict, SECCOMP, message));
    };
    let metadata = profile.listener_metadata.as_deref();
    let state = StateText::new(container, request.id, request.status);
    match Listener::new(path, metadata, &state) {
        Ok(listener) => Ok(Some(listener)),
        Err(problem) => {
            let pointer = format!("{SECCOMP}/listenerPath");
            Err(Diagnostic::new(Code::Path, pointer, problem))
        }
    }
}
