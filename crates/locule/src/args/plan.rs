//! The command lines of `plan` and `facts`.

use super::Exec;
use clap::builder::Resettable;
use clap::{Arg, Args, ValueEnum};
use std::path::PathBuf;

/// `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule plan [OPTIONS] [ID]\n       locule plan --exec [OPTIONS] ID [COMMAND [ARG...]]",
    after_help = "Examples:\n  locule plan --bundle /srv/box\n  \
        locule facts > host.json; locule plan --bundle /srv/box --facts host.json --format json\n  \
        locule plan --exec --user 1000:1000 --cap NET_ADMIN box1 sh -c id\n\n\
        Any user may ask. Nothing is made, changed or opened for writing. Some things are only known by opening them: \
        whether a path exists, what a mount source is, whether a cgroup is in use. `create` and `exec` may still \
        refuse those. Options stand before the ID.",
    mut_args(of_exec)
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
    /// Print what `exec` would do in a running container: its command line, with `plan --exec` in
    /// place of `exec` [default: off]
    #[arg(long, requires = "words", conflicts_with_all = ["bundle", "config", "facts"])]
    pub(crate) exec: bool,
    /// What `exec` takes.
    #[command(flatten, next_help_heading = "With --exec, as for exec")]
    pub(crate) process: Exec,
}

impl Plan {
    /// The name of the container to make.
    pub(crate) fn id(&self) -> String {
        match self.process.words.is_empty() {
            true => "container".to_owned(),
            false => self.process.id(),
        }
    }
}

/// What `plan` changes of a word or an option of `exec`.
fn of_exec(arg: Arg) -> Arg {
    match (arg.get_help_heading(), arg.is_positional()) {
        (None, _) => arg,
        (Some(_), false) => arg.requires("exec"),
        (Some(_), true) => arg.help_heading(Resettable::Reset).help(
            "The container's name, which may name its cgroup [default: container]; \
             with --exec that of a running container, and the command",
        ),
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
pub(crate) struct Facts {}
