//! What can go wrong with a group, one variant per thing that a caller or a user can act on.

use kernel::Errno;
use spec::Diagnostic;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container has no group in a hierarchy with the controller.
    #[error("the container has no cgroup of the controller {controller:?}")]
    NoController {
        /// As given.
        controller: String,
    },
    /// The configuration asks for what cannot be done.
    #[error(transparent)]
    Config(#[from] Diagnostic),

    /// The systemd manager was asked for where there is none.
    #[error(
        "systemd does not run this host ({missing:?} is missing): leave --systemd-cgroup out, or say --cgroup-manager cgroupfs"
    )]
    NoSystemd {
        /// What is there where it does.
        missing: PathBuf,
    },

    /// The systemd manager needs cgroup v2.
    #[error(
        "the systemd cgroup manager needs a host with cgroup v2 alone, and {path:?} is of cgroup v1: say --cgroup-manager cgroupfs"
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
        /// What each place has answered.
        tried: Vec<String>,
    },

    /// Something is wrong with the bus, or systemd has refused.
    #[error("ask systemd by D-Bus")]
    Bus(#[from] dbus::Error),

    /// Process numbers mean something else there.
    #[error(
        "systemd at {bus} is outside of this process' PID namespace and would take the container's pid for another's: say --cgroup-manager cgroupfs"
    )]
    OutOfSight {
        /// The address.
        bus: String,
    },

    /// An answer is none.
    #[error("systemd at {bus} does not say {what} in a form that is known")]
    Unexpected {
        /// The address.
        bus: String,
        /// What was asked for.
        what: &'static str,
    },

    /// The unit cannot be made as it should be.
    #[error("{pointer}systemd refuses unit {unit:?}")]
    Refused {
        /// JSON pointer of the property that it does not like, with ": "; empty if that is not known.
        pointer: String,
        /// The unit.
        unit: String,
        /// Its answer.
        #[source]
        source: dbus::Error,
    },

    /// Somebody else has a unit of that name.
    #[error(
        "systemd has a unit {unit:?} already ({state}): another container or service has that name; choose another in cgroupsPath"
    )]
    UnitExists {
        /// The unit.
        unit: String,
        /// Its state.
        state: String,
    },

    /// systemd has given up on the unit.
    #[error(
        "systemd did not start unit {unit:?}: the job ended as {result:?}; its journal says why"
    )]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word.
        result: String,
    },

    /// The unit is gone.
    #[error("systemd has no unit {unit:?} any more")]
    NoUnit {
        /// The unit.
        unit: String,
    },

    /// The state names what is no scope.
    #[error("the state names {unit:?} as the container's unit, which is no scope")]
    NoScope {
        /// The unit.
        unit: String,
    },

    /// Nothing at the usual place is a cgroup file system.
    #[error("no cgroup file system is mounted on {path:?} or on its sub-directories")]
    NotMounted {
        /// Where it was looked for.
        path: PathBuf,
    },

    /// A directory is there but of another file system than it should be.
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

    /// A relative path counts from the caller's own group, and that is out of sight.
    #[error(
        "cgroup {own:?} of this process is outside of the mount {mount:?}; a relative cgroupsPath cannot be resolved"
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
        /// What was tried: "make", "open", "list", "remove".
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

    /// A file of a group did not take a value.
    #[error("write {value:?} to {file:?}")]
    WriteFile {
        /// The file.
        file: PathBuf,
        /// What was written.
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
        /// What was written.
        value: String,
        /// What the refusal means.
        reason: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// A v2 controller that a limit needs could not be enabled for the group.
    #[error(
        "{pointer}: cgroup controller {controller} is not enabled for {group:?}; write \"+{controller}\" to cgroup.subtree_control of {above:?} (which fails while processes are in that very group)"
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
        /// What was tried: "load", "list", "attach", "detach".
        call: &'static str,
        /// The directory.
        group: PathBuf,
        /// What the kernel's verifier says.
        log: String,
        /// The kernel's answer.
        #[source]
        source: Errno,
    },

    /// The kernel gives no random number, which tells one creation from another.
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

    /// The group (or one above it) is frozen: a process born there would never run.
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

    /// The group passes controllers on, which one with processes may not.
    #[error(
        "cgroup {group:?} passes the controllers {controllers:?} on to groups below it and so takes no processes; take them out of its cgroup.subtree_control or choose another cgroupsPath"
    )]
    PassesOn {
        /// The directory.
        group: PathBuf,
        /// Those that do not work on threads.
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

    /// The kernel says that the process is elsewhere.
    #[error("process {pid} is in cgroup {found:?} and not in {group:?}")]
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
        "no freezer: neither a cgroup v2 group nor the v1 controller freezer is there for this container"
    )]
    NoFreezer,

    /// The freezer did not finish.
    #[error("cgroup {group:?} was not {state} within {deadline:?}")]
    FreezerTimeout {
        /// The directory.
        group: PathBuf,
        /// "frozen" or "thawed".
        state: &'static str,
        /// How long was waited.
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
        /// Who is in it, sub-groups included.
        pids: Vec<i32>,
        /// How long was waited.
        deadline: Duration,
    },
}
