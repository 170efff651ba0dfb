//! The birth of a further process in the container's PID namespace.
//!
//! Only a child enters a PID namespace that exists, and there the processes of the container see
//! it. One of them that has CAP_SYS_PTRACE over the runtime's own user namespace can take it over.
//! So the set-up is done before the birth, and the process is born with nothing that its program
//! does not have too, except the socket to the runtime. Decides where that is not possible.

use crate::process;
use kernel::clone::SIBLING_FLAGS;
use namespace::Entry;
use std::fmt;

/// TIOCSCTTY of asm-generic/ioctls.h.
const TIOCSCTTY: u64 = 0x540e;

/// When the process is made that the container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Birth {
    /// On the way into the namespaces, or by the clone itself.
    Before,
    /// Before it has its attributes, user and capabilities: it needs something that is not
    /// inherited, or that a filter would forbid later.
    First,
    /// After the set-up. `locked`: Landlock and the filter are in force.
    Last {
        /// Whether the filter permits what is still to be done.
        locked: bool,
    },
}

impl Birth {
    pub(crate) fn lower(
        entry: &Entry,
        process: Option<&process::Plan>,
        has_terminal: bool,
        filter: Option<&seccomp::Plan>,
    ) -> Self {
        let (true, Some(process)) = (entry.ends_before_the_pid_namespace(), process) else {
            return Self::Before;
        };
        let locked = filter.is_none_or(|filter| permits(filter, process, has_terminal));
        // The listener is told the pid of the process. A filter that comes before the drop of
        // capabilities cannot wait for the birth.
        let is_asked = filter.is_some_and(|filter| filter.listener.is_some());
        let is_early =
            filter.is_some_and(|filter| filter.moment == seccomp::Moment::BeforeCapabilities);
        // The process that makes it counts too.
        let counts = process.limits_processes();
        match is_asked || (is_early && !locked) || counts || !process.inherits_attributes() {
            true => Self::First,
            false => Self::Last { locked },
        }
    }
}

/// Whether the filter permits the birth and what follows it.
fn permits(filter: &seccomp::Plan, process: &process::Plan, has_terminal: bool) -> bool {
    let flags = match cfg!(target_arch = "s390x") {
        true => [0, SIBLING_FLAGS, 0, 0, 0, 0],
        false => [SIBLING_FLAGS, 0, 0, 0, 0, 0],
    };
    let always = [
        "setsid",
        "recvfrom",
        "sendto",
        "rt_sigprocmask",
        "exit_group",
    ];
    filter.allows("clone", flags)
        && always.iter().all(|name| filter.allows(name, [0; 6]))
        && (!has_terminal || filter.allows("ioctl", [0, TIOCSCTTY, 0, 0, 0, 0]))
        && (process.late_limit().is_none() || filter.allows("prlimit64", [0; 6]))
}

impl fmt::Display for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => Ok(()),
            Self::First => {
                writeln!(
                    f,
                    "in the container's PID namespace, before the change of user"
                )
            }
            Self::Last { .. } => {
                writeln!(f, "in the container's PID namespace, after the set-up")
            }
        }
    }
}
