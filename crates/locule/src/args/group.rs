//! Options of the commands that act on the processes of a container that exists: pause and resume.

use clap::Args;

/// `pause`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule pause ID",
    after_help = "Example:\n  locule pause box1; locule state box1 | jq -r .status; locule resume box1\n\n\
        All processes of the container's cgroup and of the groups below it stand still until `resume`. \
        Signals wait, but KILL ends them. A container that is created or running can be paused."
)]
pub(crate) struct Pause {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule resume ID",
    after_help = "Example:\n  locule resume box1\n\n\
        Fails if the container is not paused, and if a cgroup above its own is frozen."
)]
pub(crate) struct Resume {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Pause {
    /// The container's name, as typed.
    pub(crate) fn id(&self) -> &str {
        super::word(&self.ids, 0)
    }

    /// How many names were typed.
    pub(super) fn given(&self) -> usize {
        self.ids.len()
    }
}

impl Resume {
    /// The container's name, as typed.
    pub(crate) fn id(&self) -> &str {
        super::word(&self.ids, 0)
    }

    /// How many names were typed.
    pub(super) fn given(&self) -> usize {
        self.ids.len()
    }
}
