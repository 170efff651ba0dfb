//! What can go wrong with a group, one variant per thing that a caller or a user can act on.

use kernel::Errno;
use spec::Diagnostic;
use std::path::PathBuf;
use std::time::Duration;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container has no group in a hierarchy with the controller.
    #[error("unknown controller {controller:?}: the container has no cgroup of it")]
    NoController {
        /// The name as given.
        controller: String,
    },
    /// The path of a group below the container's is no such path.
    #[error("bad sub cgroup path")]
    SubGroup(#[source] Diagnostic),
    /// CRIU has changed the options of the host's cgroup v2, and they cannot be set again.
    #[error(
        "CRIU has taken options of cgroup v2 away, and they cannot be set again: {}",
        kernel::errno::words(*.0)
    )]
    SharedOptions(Errno),
    /// The configuration asks for something that is not possible.
    #[error(transparent)]
    Config(#[from] Diagnostic),

    /// The systemd manager was requested, but systemd does not run.
    #[error(
        "systemd does not run on this host ({missing:?} is missing): leave out --systemd-cgroup, or use --cgroup-manager cgroupfs"
    )]
    NoSystemd {
        /// The path that exists where systemd runs.
        missing: PathBuf,
    },

    /// The systemd manager needs cgroup v2.
    #[error(
        "the systemd cgroup manager needs a host with only cgroup v2, and {path:?} is cgroup v1: use --cgroup-manager cgroupfs"
    )]
    LegacyHierarchy {
        /// A v1 hierarchy.
        path: PathBuf,
    },

    /// systemd cannot be reached.
    #[error(
        "systemd cannot be reached: {}; an ordinary user needs a session of systemd (XDG_RUNTIME_DIR, `loginctl enable-linger`)",
        if tried.is_empty() { "XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS name no bus".to_owned() } else { tried.join("; ") }
    )]
    NoBus {
        /// The answer of each place.
        tried: Vec<String>,
    },

    /// The bus does not work, or systemd refused the request.
    #[error("call systemd over D-Bus")]
    Bus(#[from] dbus::Error),

    /// Process ids have a different meaning there.
    #[error(
        "systemd at {bus} is outside this process' PID namespace and would see another process under the container's pid: use --cgroup-manager cgroupfs"
    )]
    OutOfSight {
        /// The address.
        bus: String,
    },

    /// An answer has an unknown form.
    #[error("systemd at {bus} reports {what} in an unknown form")]
    Unexpected {
        /// The address.
        bus: String,
        /// The question.
        what: &'static str,
    },

    /// The unit cannot be created as requested.
    #[error("{pointer}systemd refuses unit {unit:?}")]
    Refused {
        /// JSON pointer of the refused property, with ": "; empty if it is not known.
        pointer: String,
        /// The unit.
        unit: String,
        /// Its answer.
        #[source]
        source: dbus::Error,
    },

    /// A unit of that name exists already.
    #[error(
        "systemd already has a unit {unit:?} ({state}): another container or service has that name; choose another in cgroupsPath"
    )]
    UnitExists {
        /// The unit.
        unit: String,
        /// Its state.
        state: String,
    },

    /// systemd could not start the unit.
    #[error(
        "systemd did not start unit {unit:?}: the job ended as {result:?}; its journal says why"
    )]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word.
        result: String,
    },

    /// systemd did not move a process to the unit.
    #[error("systemd does not move process {pid} to {group:?}")]
    NotAttached {
        /// The process.
        pid: i32,
        /// The unit, and the path of the sub-group.
        group: String,
        /// Its answer.
        #[source]
        source: dbus::Error,
    },

    /// The unit is gone.
    #[error("systemd no longer has unit {unit:?}")]
    NoUnit {
        /// The unit.
        unit: String,
    },

    /// The state names a unit that is not a scope.
    #[error("the state names {unit:?} as the container's unit, and that is not a scope")]
    NoScope {
        /// The unit.
        unit: String,
    },

    /// Nothing at the usual place is a cgroup file system.
    #[error("no cgroup file system is mounted on {path:?} or on its sub-directories")]
    NotMounted {
        /// The directory that was searched.
        path: PathBuf,
    },

    /// The directory exists, but not on a cgroup file system.
    #[error("{path:?} is not on a cgroup file system")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },

    /// The kernel's list of a process' groups cannot be read.
    #[error("read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A relative path starts at the caller's own group, and that group is not visible.
    #[error(
        "cgroup {own:?} of this process is outside the mount {mount:?}: a relative cgroupsPath cannot be resolved"
    )]
    OwnGroupHidden {
        /// The caller's group as the kernel names it.
        own: String,
        /// Where the hierarchy is mounted.
        mount: PathBuf,
    },

    /// A system call on a group's directory failed.
    #[error("{action} cgroup {group:?}")]
    Directory {
        /// The action: "make", "open", "list", "remove".
        action: &'static str,
        /// The directory.
        group: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A file of a group could not be read.
    #[error("read {file:?}")]
    ReadFile {
        /// The file.
        file: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A file of a group did not accept a value.
    #[error("write {value:?} to {file:?}")]
    WriteFile {
        /// The file.
        file: PathBuf,
        /// The value.
        value: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A limit was refused.
    #[error("{pointer}: write {value:?} to {file:?}: {reason}")]
    Limit {
        /// JSON pointer of the property.
        pointer: String,
        /// The file.
        file: PathBuf,
        /// The value.
        value: String,
        /// The reason for the refusal.
        reason: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A v2 controller that a limit needs could not be enabled for the group.
    #[error(
        "{pointer}: cgroup controller {controller} is not enabled for {group:?}; write \"+{controller}\" to cgroup.subtree_control of {above:?} (this fails while processes are in that group)"
    )]
    NotEnabled {
        /// JSON pointer of the first property that needs it.
        pointer: String,
        /// The controller.
        controller: String,
        /// The directory of the container's group.
        group: PathBuf,
        /// The first group on the way down that does not pass it on.
        above: PathBuf,
        /// The kernel's answer to the attempt.
        #[source]
        source: Errno,
    },

    /// The program that decides about devices was refused.
    #[error("{call} the device program of cgroup {group:?}{}{log}", if log.is_empty() { "" } else { ": " })]
    DeviceProgram {
        /// The action: "load", "list", "attach", "detach".
        call: &'static str,
        /// The directory.
        group: PathBuf,
        /// The log of the kernel's verifier.
        log: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// The kernel returned no random number. The number distinguishes one creation from another.
    #[error("get a random number")]
    Random(#[source] Errno),

    /// The group has processes already.
    #[error(
        "container's cgroup is not empty: cgroup {group:?} is occupied by other processes ({pids:?}); choose another cgroupsPath"
    )]
    Occupied {
        /// The directory.
        group: PathBuf,
        /// Some of its processes.
        pids: Vec<i32>,
    },

    /// The group (or one above it) is frozen: a process that starts there would never run.
    #[error(
        "container's cgroup unexpectedly frozen: cgroup {group:?} is frozen; thaw it or choose another cgroupsPath"
    )]
    Frozen {
        /// The directory.
        group: PathBuf,
    },

    /// The group cannot hold processes, since it is part of a threaded tree.
    #[error("cgroup {group:?} is of type {kind:?} and takes no processes")]
    Threaded {
        /// The directory.
        group: PathBuf,
        /// The content of cgroup.type.
        kind: String,
    },

    /// The group passes controllers on, so it may not have processes.
    #[error(
        "cgroup {group:?} enables the controllers {controllers:?} for the groups below it, so it takes no processes; remove them from its cgroup.subtree_control or choose another cgroupsPath"
    )]
    PassesOn {
        /// The directory.
        group: PathBuf,
        /// The controllers that do not work on threads.
        controllers: String,
    },

    /// The process could not be moved.
    #[error("move process {pid} to cgroup {group:?}")]
    Join {
        /// The process.
        pid: i32,
        /// The directory.
        group: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// According to the kernel, the process is in another group.
    #[error("process {pid} is in cgroup {found:?}, not in {group:?}")]
    Misplaced {
        /// The process.
        pid: i32,
        /// Where it should be.
        group: PathBuf,
        /// Where it is.
        found: String,
    },

    /// The container has no group of its own.
    #[error("the container has no cgroup of its own")]
    NoGroup,

    /// The group has no freezer.
    #[error(
        "the container has no freezer: it has neither a cgroup v2 group nor the v1 controller freezer"
    )]
    NoFreezer,

    /// The freezer did not finish.
    #[error("cgroup {group:?} was not {state} within {deadline:?}")]
    FreezerTimeout {
        /// The directory.
        group: PathBuf,
        /// "frozen" or "thawed".
        state: &'static str,
        /// The time waited.
        deadline: Duration,
    },

    /// Processes could not be signalled.
    #[error("send signal {signal} to process {pid} of cgroup {group:?}")]
    Signal {
        /// The signal.
        signal: i32,
        /// The process.
        pid: i32,
        /// The directory.
        group: PathBuf,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// The group is still in use.
    #[error(
        "cgroup {group:?} could not be removed within {deadline:?}: processes {pids:?} are still in it"
    )]
    Survivors {
        /// The directory.
        group: PathBuf,
        /// The processes in it and in its sub-groups.
        pids: Vec<i32>,
        /// The time waited.
        deadline: Duration,
    },
}
