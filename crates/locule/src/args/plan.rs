//! The command lines of `plan` and `facts`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule plan [OPTIONS] [ID]",
    after_help = "Examples:\n  locule plan --bundle /srv/box\n  \
        locule facts > host.json; locule plan --bundle /srv/box --facts host.json --format json\n\n\
        Any user may ask. Nothing is made, changed or opened for writing. Some things are only known by opening them: \
        whether a path exists, what a mount source is, whether a cgroup is in use. `create` may still refuse those."
)]
pub(crate) struct Plan {
    /// Directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// The configuration, if it is another file; a relative path counts from the bundle [default:
    /// config.json]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How the plan is printed: one line for each decision, or a JSON object with a list for each
    /// room
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,
    /// Facts to plan for instead of this host and this caller, as `locule facts` prints them
    /// [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) facts: Option<PathBuf>,
    /// The container's name, which may name its cgroup [default: container]
    #[arg(value_name = "ID")]
    pub(super) words: Vec<String>,
}

impl Plan {
    /// The container's name.
    pub(crate) fn id(&self) -> &str {
        self.words.first().map_or("container", String::as_str)
    }
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// ROOM: DECISION
    Text,
    /// {"ROOM": ["DECISION", ..], ..}
    Json,
}

/// `facts`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule facts",
    after_help = "Example:\n  locule facts | jq .caller.capabilities\n\n\
        Any user may ask; nothing is changed. The answer is what `locule plan --facts` reads."
)]
pub(crate) struct Facts {
    #[arg(hide = true)]
    pub(super) words: Vec<String>,
}
