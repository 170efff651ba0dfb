//! Options of the commands that act on the processes of a container that exists: pause, resume and ps.

use super::{ListFormat, list_format};
use clap::Args;
use std::ffi::{OsStr, OsString};

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

/// `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule ps [OPTIONS] ID [PS OPTIONS]",
    after_help = "Example:\n  locule ps box1 -o pid,user,args; locule ps --format json box1\n\n\
        Shows the processes of the container's cgroup and of the groups below it, by their process ids on \
        the host. PS OPTIONS go to the host's `ps` [default: -ef]; its output must have the column PID."
)]
pub(crate) struct Ps {
    /// How to print: what the host's `ps` says, or the process ids as one json array
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = list_format)]
    pub(crate) format: ListFormat,
    /// The container's name in the state directory, and what the host's `ps` is to be told
    #[arg(
        value_name = "ID [PS OPTIONS]",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<OsString>,
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

impl Ps {
    /// The container's name, as typed; bytes that are no text make it an invalid one.
    pub(crate) fn id(&self) -> String {
        let word = self.words.first().map(OsString::as_os_str);
        word.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What the host's `ps` is to be told.
    pub(crate) fn options(&self) -> Vec<&OsStr> {
        let mut options: Vec<_> = self.words.iter().skip(1).map(OsString::as_os_str).collect();
        if options.first().is_some_and(|word| *word == "--") {
            options.remove(0);
        }
        if options.is_empty() {
            options.push(OsStr::new("-ef"));
        }
        options
    }

    /// How many words were typed.
    pub(super) fn given(&self) -> usize {
        self.words.len()
    }
}
