//! The status of a container, and which commands it permits.
//!
//! The status is never stored: it follows from whether the recorded process lives, whether its
//! cgroup is frozen and whether it still waits to be started. This file has the one table of
//! permitted commands. The messages of a refusal are API: engines match them.

use crate::error::Error;
use crate::process::Process;
use crate::state::{ContainerId, Entry, Record};
pub(crate) use spec::state::Status;

/// What is known of the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It does not exist yet, and the container is still being created.
    ToCome,
    /// It lives.
    Alive { frozen: bool, waits: bool },
    /// It has ended, or its creation was aborted.
    Gone,
}

/// A container's status and the process it was read from.
#[derive(Debug)]
pub(crate) struct Observed {
    /// The status.
    pub(crate) status: Status,
    /// The first process, if it lives.
    pub(crate) process: Option<Process>,
}

/// Asks the kernel about the container of `record`. The groups that its first process is in count
/// as its own from then on.
///
/// # Errors
/// Descriptors or memory are short, or the cgroup or the entry cannot be read.
pub(crate) fn observe(entry: &Entry, record: &mut Record) -> Result<Observed, Error> {
    let process = Process::of(record).map_err(|source| Error::Process {
        id: entry.id().clone(),
        action: "look at",
        source,
    })?;
    let first = if let Some(process) = &process {
        record.hold_groups(process.pid())?;
        let frozen = match record.groups() {
            Some(cgroup) => cgroup.is_frozen()?,
            None => false,
        };
        let waits = entry.waits_for_start()?;
        First::Alive { frozen, waits }
    } else if record.pid.is_none() && entry.is_held() {
        First::ToCome
    } else {
        First::Gone
    };
    Ok(Observed {
        status: derive(first),
        process,
    })
}

fn derive(first: First) -> Status {
    match first {
        First::ToCome => Status::Creating,
        First::Alive { frozen: true, .. } => Status::Paused,
        First::Alive { waits: true, .. } => Status::Created,
        First::Alive { .. } => Status::Running,
        First::Gone => Status::Stopped,
    }
}

/// What a command wants to do to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run its program.
    Start,
    /// Signal its first process.
    Kill,
    /// Signal whatever is left of it.
    KillAll,
    /// Remove it.
    Delete,
    /// Remove it, if its program has ended.
    DeleteStopped,
    /// Kill and remove it.
    ForceDelete,
    /// Freeze its processes.
    Pause,
    /// Thaw them.
    Resume,
    /// Change its limits.
    Update,
    /// Follow what it uses.
    Watch,
    /// Add or remove mounts.
    Mount,
    /// Run another process in it.
    Exec,
    /// Run another process in it, which may have to wait until it is resumed.
    ExecPaused,
    /// Save its processes.
    Checkpoint,
}

/// A command that the status forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("cannot start an already running container: {id}")]
    AlreadyRunning { id: ContainerId },
    #[error("cannot start a container that has stopped: {id}; delete it and create it again")]
    HasStopped { id: ContainerId },
    #[error("cannot start a container in the {status} state: {id}")]
    Start { id: ContainerId, status: Status },
    #[error("container not running: {id} has stopped")]
    NotRunning { id: ContainerId },
    #[error("container not running: {id} is still being created")]
    NotYetRunning { id: ContainerId },
    #[error("container not running: {id} is paused already")]
    PausedAlready { id: ContainerId },
    #[error("cannot exec in a stopped container: {id}; create it again")]
    ExecStopped { id: ContainerId },
    #[error("cannot exec in a paused container (use --ignore-paused to override): {id}")]
    ExecFrozen { id: ContainerId },
    #[error("Container cannot be checkpointed in {status} state: {id} must be running or paused")]
    Checkpoint { id: ContainerId, status: Status },
    #[error("container not paused: {id} is {status}")]
    NotPaused { id: ContainerId, status: Status },
    #[error("cannot delete container {id} that is not stopped: {status}")]
    Delete { id: ContainerId, status: Status },
}

/// Whether `action` is permitted.
pub(crate) fn permit(action: Action, status: Status, id: &ContainerId) -> Result<(), Refusal> {
    let id = || id.clone();
    match (action, status) {
        (Action::Start, Status::Created)
        | (Action::Kill | Action::Update | Action::Watch | Action::Mount, Status::Created | Status::Running | Status::Paused)
        // A created container is deleted like a stopped one: engines do this without --force.
        | (Action::Delete, Status::Created | Status::Stopped)
        | (Action::DeleteStopped, Status::Stopped)
        | (Action::Pause, Status::Created | Status::Running)
        | (Action::Resume, Status::Paused)
        | (Action::Exec, Status::Created | Status::Running)
        | (Action::ExecPaused, Status::Created | Status::Running | Status::Paused)
        | (Action::Checkpoint, Status::Running | Status::Paused)
        | (Action::ForceDelete, _) => Ok(()),
        (Action::KillAll, Status::Created | Status::Running | Status::Paused | Status::Stopped) => {
            Ok(())
        }
        (Action::Checkpoint, Status::Creating | Status::Created | Status::Stopped) => {
            Err(Refusal::Checkpoint { id: id(), status })
        }
        (Action::Exec, Status::Paused) => Err(Refusal::ExecFrozen { id: id() }),
        (Action::Exec | Action::ExecPaused, Status::Stopped) => Err(Refusal::ExecStopped { id: id() }),
        (Action::Start, Status::Running) => Err(Refusal::AlreadyRunning { id: id() }),
        (Action::Start, Status::Stopped) => Err(Refusal::HasStopped { id: id() }),
        (Action::Start, Status::Creating | Status::Paused) => Err(Refusal::Start { id: id(), status }),
        (Action::Kill | Action::Pause | Action::Update | Action::Watch | Action::Mount, Status::Stopped) => Err(Refusal::NotRunning { id: id() }),
        (Action::Kill | Action::KillAll | Action::Pause | Action::Update | Action::Watch | Action::Mount | Action::Exec | Action::ExecPaused, Status::Creating) => {
            Err(Refusal::NotYetRunning { id: id() })
        }
        (Action::Pause, Status::Paused) => Err(Refusal::PausedAlready { id: id() }),
        (Action::Resume, Status::Creating | Status::Created | Status::Running | Status::Stopped) => {
            Err(Refusal::NotPaused { id: id(), status })
        }
        (Action::Delete, Status::Creating | Status::Running | Status::Paused)
        | (Action::DeleteStopped, Status::Creating | Status::Created | Status::Running | Status::Paused) => {
            Err(Refusal::Delete {
                id: id(),
                status,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_from_what_the_kernel_says() {
        let alive = |frozen, waits| derive(First::Alive { frozen, waits });
        assert_eq!(alive(false, false), Status::Running);
        assert_eq!(alive(false, true), Status::Created);
        assert_eq!(alive(true, false), Status::Paused);
        assert_eq!(alive(true, true), Status::Paused);
        assert_eq!(derive(First::ToCome), Status::Creating);
        assert_eq!(derive(First::Gone), Status::Stopped);
    }

    #[test]
    fn each_command_is_permitted_or_refused_in_the_words_that_engines_know() {
        const START: &str = "cannot start a container in the";
        const CREATING: &str = "container not running: box is still being created";
        const STOPPED: &str = "container not running: box has stopped";
        use Action::{Delete, ForceDelete, Kill, KillAll, Pause, Resume, Start, Update};
        use Status::{Created, Creating, Paused, Running, Stopped};
        let id = ContainerId::new("box").unwrap();
        for (action, status, words) in [
            (Start, Creating, &*format!("{START} creating state: box")),
            (Start, Created, ""),
            (
                Start,
                Running,
                "cannot start an already running container: box",
            ),
            (Start, Paused, &*format!("{START} paused state: box")),
            (
                Start,
                Stopped,
                "cannot start a container that has stopped: box; delete it and create it again",
            ),
            (Kill, Creating, CREATING),
            (Kill, Created, ""),
            (Kill, Running, ""),
            (Kill, Paused, ""),
            (Kill, Stopped, STOPPED),
            (KillAll, Creating, CREATING),
            (KillAll, Created, ""),
            (KillAll, Running, ""),
            (KillAll, Paused, ""),
            (KillAll, Stopped, ""),
            (
                Delete,
                Creating,
                "cannot delete container box that is not stopped: creating",
            ),
            (Delete, Created, ""),
            (
                Delete,
                Running,
                "cannot delete container box that is not stopped: running",
            ),
            (
                Delete,
                Paused,
                "cannot delete container box that is not stopped: paused",
            ),
            (Delete, Stopped, ""),
            (ForceDelete, Creating, ""),
            (ForceDelete, Created, ""),
            (ForceDelete, Running, ""),
            (ForceDelete, Paused, ""),
            (ForceDelete, Stopped, ""),
            (Pause, Creating, CREATING),
            (Pause, Created, ""),
            (Pause, Running, ""),
            (
                Pause,
                Paused,
                "container not running: box is paused already",
            ),
            (Pause, Stopped, STOPPED),
            (Update, Creating, CREATING),
            (Update, Created, ""),
            (Update, Running, ""),
            (Update, Paused, ""),
            (Update, Stopped, STOPPED),
            (Resume, Creating, "container not paused: box is creating"),
            (Resume, Created, "container not paused: box is created"),
            (Resume, Running, "container not paused: box is running"),
            (Resume, Paused, ""),
            (Resume, Stopped, "container not paused: box is stopped"),
        ] {
            let answer = permit(action, status, &id);
            let said = answer.map_or_else(|refusal| refusal.to_string(), |()| String::new());
            assert_eq!(said, words, "{action:?} when {status}");
        }
    }

    #[test]
    fn only_what_runs_or_is_paused_can_be_saved() {
        use Status::{Created, Creating, Paused, Running, Stopped};
        let id = ContainerId::new("box").unwrap();
        for status in [Running, Paused] {
            assert_eq!(permit(Action::Checkpoint, status, &id), Ok(()));
        }
        for status in [Creating, Created, Stopped] {
            let refusal = permit(Action::Checkpoint, status, &id).unwrap_err();
            let words = format!("Container cannot be checkpointed in {status} state");
            assert!(refusal.to_string().starts_with(&words), "{refusal}");
        }
    }
}
