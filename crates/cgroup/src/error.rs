//! What can go wrong with a group, one variant per thing that a caller or a user can act on.

use kernel::Errno;
use spec::Diagnostic;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to do where the mount of cgroups is read-only, as in most containers.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::EROFS => {
            " (mount the cgroups read-write, or use --cgroup-manager disabled, which limits nothing)"
        }
        _ => "",
    }
}

/// The processes of an occupied group, as far as this PID namespace shows them: cgroups(7).
fn others(pids: &[i32]) -> String {
    let shown: Vec<_> = pids.iter().filter(|pid| **pid != 0).collect();
    match (pids, &*shown) {
        ([], _) => "other processes".to_owned(),
        (_, []) => "processes outside of this PID namespace".to_owned(),
        _ => format!("other processes ({shown:?})"),
    }
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("unknown controller {controller:?}: the container has no cgroup of it")]
    NoController { controller: String },
    #[error("bad sub cgroup path")]
    SubGroup(#[source] Diagnostic),
    #[error(
        "CRIU has taken options of cgroup v2 away, and they cannot be set again: {}",
        kernel::errno::words(*.0)
    )]
    SharedOptions(Errno),
    #[error(transparent)]
    Config(#[from] Diagnostic),

    #[error(
        "systemd does not run on this host ({missing:?} is missing): leave out --systemd-cgroup, or use --cgroup-manager cgroupfs"
    )]
    NoSystemd { missing: PathBuf },

    #[error(
        "the systemd cgroup manager needs a host with only cgroup v2, and {path:?} is cgroup v1: use --cgroup-manager cgroupfs"
    )]
    LegacyHierarchy { path: PathBuf },

    #[error(
        "systemd cannot be reached: {}; an ordinary user needs a session of systemd (XDG_RUNTIME_DIR, `loginctl enable-linger`)",
        if tried.is_empty() { "XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS name no bus".to_owned() } else { tried.join("; ") }
    )]
    NoBus { tried: Vec<String> },

    #[error("call systemd over D-Bus")]
    Bus(#[from] dbus::Error),

    #[error(
        "systemd at {bus} is outside this process' PID namespace and would see another process under the container's pid: use --cgroup-manager cgroupfs"
    )]
    OutOfSight { bus: String },

    #[error("systemd at {bus} reports {what} in an unknown form")]
    Unexpected { bus: String, what: &'static str },

    #[error("{pointer}systemd refuses unit {unit:?}")]
    Refused {
        /// JSON pointer of the refused property, with ": "; empty if it is not known.
        pointer: String,
        unit: String,
        #[source]
        source: dbus::Error,
    },

    #[error(
        "systemd already has a unit {unit:?} ({state}): another container or service has that name; choose another in cgroupsPath"
    )]
    UnitExists { unit: String, state: String },

    #[error(
        "systemd did not start unit {unit:?}: the job ended as {result:?}; its journal says why"
    )]
    Job { unit: String, result: String },

    #[error("systemd does not move process {pid} to {group:?}")]
    NotAttached {
        pid: i32,
        /// The unit, and the path of the sub-group.
        group: String,
        #[source]
        source: dbus::Error,
    },

    #[error("systemd no longer has unit {unit:?}")]
    NoUnit { unit: String },

    #[error("the state names {unit:?} as the container's unit, and that is not a scope")]
    NoScope { unit: String },

    #[error(
        "no cgroup file system is mounted on {path:?} or on its sub-directories; mount it, or use --cgroup-manager disabled, which limits nothing"
    )]
    NotMounted { path: PathBuf },

    #[error("{path:?} is not on a cgroup file system")]
    Foreign { path: PathBuf },

    #[error("read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: Errno,
    },

    #[error(
        "cgroup {own:?} of this process is outside the mount {mount:?}: a relative cgroupsPath cannot be resolved"
    )]
    OwnGroupHidden { own: String, mount: PathBuf },

    #[error("{action} cgroup {group:?}{}", advice(*source))]
    Directory {
        /// The action: "make", "open", "list", "remove".
        action: &'static str,
        group: PathBuf,
        #[source]
        source: Errno,
    },

    #[error("write {value:?} to {file:?}")]
    WriteFile {
        file: PathBuf,
        value: String,
        #[source]
        source: Errno,
    },

    #[error("{pointer}: write {value:?} to {file:?}: {reason}")]
    Limit {
        pointer: String,
        file: PathBuf,
        value: String,
        reason: String,
        #[source]
        source: Errno,
    },

    #[error(
        "{pointer}: cgroup controller {controller} is not enabled for {group:?}; write \"+{controller}\" to cgroup.subtree_control of {above:?} (this fails while processes are in that group)"
    )]
    NotEnabled {
        pointer: String,
        controller: String,
        group: PathBuf,
        /// The first group on the way down that does not pass it on.
        above: PathBuf,
        #[source]
        source: Errno,
    },

    #[error("{call} the device program of cgroup {group:?}{}{log}", if log.is_empty() { "" } else { ": " })]
    DeviceProgram {
        /// The action: "load", "list", "attach", "detach".
        call: &'static str,
        group: PathBuf,
        log: String,
        #[source]
        source: Errno,
    },

    /// The kernel returned no random number. The number distinguishes one creation from another.
    #[error("get a random number")]
    Random(#[source] Errno),

    #[error(
        "container's cgroup is not empty: cgroup {group:?} is occupied by {}; choose another cgroupsPath",
        others(pids)
    )]
    Occupied {
        group: PathBuf,
        /// Some of its processes; 0 is one of another PID namespace.
        pids: Vec<i32>,
    },

    #[error(
        "container's cgroup unexpectedly frozen: cgroup {group:?} is frozen; thaw it or choose another cgroupsPath"
    )]
    Frozen { group: PathBuf },

    #[error("cgroup {group:?} is of type {kind:?} and takes no processes")]
    Threaded {
        group: PathBuf,
        /// The content of cgroup.type.
        kind: String,
    },

    #[error(
        "cgroup {group:?} enables the controllers {controllers:?} for the groups below it, so it takes no processes; remove them from its cgroup.subtree_control or choose another cgroupsPath"
    )]
    PassesOn {
        group: PathBuf,
        /// The controllers that do not work on threads.
        controllers: String,
    },

    #[error("move process {pid} to cgroup {group:?}")]
    Join {
        pid: i32,
        group: PathBuf,
        #[source]
        source: Errno,
    },

    #[error("process {pid} is in cgroup {found:?}, not in {group:?}")]
    Misplaced {
        pid: i32,
        group: PathBuf,
        found: String,
    },

    #[error("the container has no cgroup of its own")]
    NoGroup,

    #[error(
        "the container has no freezer: it has neither a cgroup v2 group nor the v1 controller freezer"
    )]
    NoFreezer,

    #[error("cgroup {group:?} was not {state} within {deadline:?}")]
    FreezerTimeout {
        group: PathBuf,
        /// "frozen" or "thawed".
        state: &'static str,
        deadline: Duration,
    },

    #[error("send signal {signal} to process {pid} of cgroup {group:?}")]
    Signal {
        signal: i32,
        pid: i32,
        group: PathBuf,
        #[source]
        source: Errno,
    },

    #[error(
        "cgroup {group:?} could not be removed within {deadline:?}: processes {pids:?} are still in it"
    )]
    Survivors {
        group: PathBuf,
        /// The processes in it and in its sub-groups.
        pids: Vec<i32>,
        deadline: Duration,
    },
}

impl Error {
    /// A failed action on the directory of a group or of a hierarchy.
    pub(crate) fn about(action: &'static str, group: &Path) -> impl Fn(Errno) -> Self {
        move |source| Self::Directory {
            action,
            group: group.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_this_pid_namespace_does_not_show_are_no_numbers() {
        assert_eq!(others(&[7, 0, 9]), "other processes ([7, 9])");
        assert_eq!(others(&[0, 0]), "processes outside of this PID namespace");
        assert_eq!(others(&[]), "other processes");
    }
}
