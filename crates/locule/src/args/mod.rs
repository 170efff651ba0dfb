//! What a person or an engine types.
//!
//! Decides which command lines are understood, and explains them. Global options stand before the
//! command, the command's own after it. Nothing is looked up or resolved here: paths stay as typed,
//! and the command checks ids and signals. [`spelling`] first rewrites the single-dash and `=true`
//! spellings of Go programs.

mod checkpoint;
mod definition;
mod exec;
mod group;
mod mounts;
#[cfg(test)]
mod pages;
mod plain;
mod plan;
mod refusal;
mod restore;
mod seccomp;
mod spelling;
mod update;

pub(crate) use checkpoint::{Checkpoint, Images};
pub(crate) use definition::Command;
use definition::{Named, read};
pub(crate) use exec::Exec;
pub(crate) use group::{Events, Pause, Ps, Resume};
pub(crate) use mounts::Mounts;
pub(crate) use plan::{Facts, Plan, PlanFormat};
pub(crate) use restore::Restore;
pub(crate) use update::{Kind, Limit, Limits, Update};

pub(crate) use self::seccomp::{
    Compile, Diff, Lint, ProgramFormat, Seccomp, SeccompCommand, Test, argument,
};
use crate::face::{self, Face};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Options that stand before the command.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Globals {
    /// Directory that holds the state of all containers, one folder each, made when it is missing
    /// [default: /run/locule; without root's rights $XDG_RUNTIME_DIR/locule, else
    /// /run/user/UID/locule, else /tmp/locule-UID]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// File that messages are appended to; errors are printed on stderr as well. `file:PATH` is
    /// accepted too [default: stderr only]
    #[arg(long, value_name = "PATH", value_parser = log_path)]
    pub(crate) log: Option<PathBuf>,
    /// How a message is written: a line of text or a JSON object with level, msg, time and code
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// The least serious messages that are written [default: error with --log, else warning]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
    /// Write every message: the same as --log-level debug [default: off]
    #[arg(long)]
    pub(crate) debug: bool,
    /// Have systemd make the container's cgroup; linux.cgroupsPath is then SLICE:PREFIX:NAME. The
    /// same as --cgroup-manager systemd [default: off]
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// How the container's cgroup is made: by locule in the file system, by systemd over D-Bus, or
    /// not at all (the container stays in its caller's cgroup). Overrides --systemd-cgroup
    /// [default: cgroupfs]
    #[arg(long, value_enum, value_name = "MANAGER")]
    pub(crate) cgroup_manager: Option<CgroupManager>,
    /// Whether to continue when a step needs the rights of the host's root, such as making cgroups;
    /// auto decides by the user id and the user namespace
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Rootless::Auto)]
    pub(crate) rootless: Rootless,
    /// Behave as this program where the three differ: state directory, exit statuses, printed forms
    /// [default: the name that the program was called by, else locule]
    #[arg(long, value_name = "NAME", value_parser = compatibility())]
    pub(crate) compat: Option<&'static Face>,
    /// Print the versions of locule and of the specification, and end
    #[arg(short = 'v', short_alias = 'V', long)]
    pub(crate) version: bool,
}

/// How a log message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// time="..." level=... msg="..."
    Text,
    /// One JSON object a line
    Json,
}

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// The command has failed
    Error,
    /// The command continues despite a problem
    #[value(alias = "warn")]
    Warning,
    /// Milestones
    Info,
    /// Each step
    Debug,
    /// Everything
    Trace,
}

/// Who makes the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    /// Directories in /sys/fs/cgroup
    Cgroupfs,
    /// A scope unit
    Systemd,
    /// No cgroup is touched
    Disabled,
}

/// Whether the host's root is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    /// Behave as without root's rights
    #[value(alias = "1")]
    True,
    /// Behave as root
    #[value(alias = "0")]
    False,
    /// Find out
    Auto,
}

/// The names of faces.
fn compatibility() -> impl TypedValueParser<Value = &'static Face> {
    let names = PossibleValuesParser::new(face::names());
    names.map(|name| face::named(&name).unwrap_or_else(face::own))
}

fn log_path(text: &str) -> Result<PathBuf, String> {
    match text.split_once(':') {
        Some(("file", path)) => Ok(path.into()),
        Some((scheme @ ("journald" | "syslog"), _)) => Err(format!(
            "the log destination {scheme} is not supported, give a file"
        )),
        Some(_) | None => Ok(text.into()),
    }
}

/// A count or a descriptor.
fn number(text: &str) -> Result<u32, String> {
    let expected = || format!("expected a whole number from 0 to {}", u32::MAX);
    text.parse().map_err(|_other| expected())
}

/// `create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule create [OPTIONS] ID",
    after_help = "Example:\n  locule create --bundle /srv/box --pid-file /run/box.pid box1\n\n\
        The program does not run before `locule start ID`. Its input and output are those of this command."
)]
pub(crate) struct Create {
    /// Directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// The configuration, if it is another file; a relative path counts from the bundle [default:
    /// config.json]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Unix socket that is sent the master end of the terminal; needed when process.terminal is
    /// true and the command does not stay to serve the terminal [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Unix socket that is sent a pidfd of the container's first process [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// File that the process id is written to, replaced as a whole [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Move the root instead of pivoting to it: for a host that runs from a ramdisk, less secure
    /// [default: off]
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Keep the caller's session keyring instead of making one [default: off]
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// How many descriptors from 3 on the program inherits, on top of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number)]
    pub(crate) preserve_fds: u32,
    /// The container's name, unique in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// `start`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule start ID",
    after_help = "Example:\n  locule start box1"
)]
pub(crate) struct Start {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule run [OPTIONS] ID",
    after_help = "Example:\n  locule run --bundle /srv/box box1; echo $?\n\n\
        The exit status is the program's, or 128 and the number of the signal that killed it. With a \
        terminal, the caller's is raw until the end; if KILL ends this command, `stty sane` restores it."
)]
pub(crate) struct Run {
    /// What `create` takes.
    #[command(flatten)]
    pub(crate) create: Create,
    /// Return when the program runs, without waiting for its end [default: off]
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not delete the container when its program has ended [default: off]
    #[arg(long)]
    pub(crate) keep: bool,
    /// Do not adopt the container's orphans while waiting [default: off]
    #[arg(long)]
    pub(crate) no_subreaper: bool,
}

/// `state`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule state ID",
    after_help = "Example:\n  locule state box1 | jq -r .status\n\n\
        The status is one of creating, created, running, paused, stopped."
)]
pub(crate) struct State {
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// `kill`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule kill [OPTIONS] ID [SIGNAL]",
    after_help = "Example:\n  locule kill box1 TERM; locule kill --all box1 9\n  \
        locule kill --regex '^box[0-9]+$' HUP\n\n\
        SIGNAL is a name with or without SIG, RTMIN+n, RTMAX-n or a number. In a container without a pid \
        namespace of its own, KILL goes to every process of the container's cgroup."
)]
pub(crate) struct Kill {
    /// Signal every process of the container, not only its first; it is then no error if there is
    /// none [default: off]
    #[arg(short, long)]
    pub(crate) all: bool,
    /// ID is a regular expression that may match anywhere in a name: signal every container that it
    /// matches. One that has stopped is passed over [default: off]
    #[arg(short, long)]
    pub(crate) regex: bool,
    /// The container's name, and the signal [default: TERM]
    #[arg(value_name = "ID [SIGNAL]")]
    words: Vec<String>,
}

/// `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule delete [OPTIONS] ID",
    after_help = "Example:\n  locule delete --force box1\n  locule delete --force --regex '^box'"
)]
pub(crate) struct Delete {
    /// Kill a running container first, clean up an incomplete one, and accept that there is none
    /// [default: off]
    #[arg(short, long)]
    pub(crate) force: bool,
    /// ID is a regular expression that may match anywhere in a name: delete every container that it
    /// matches. The status is 1 if one of them cannot be deleted [default: off]
    #[arg(short, long)]
    pub(crate) regex: bool,
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// `list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule list [OPTIONS]",
    after_help = "Example:\n  locule list --format json | jq -r '.[].id'"
)]
pub(crate) struct List {
    /// How to print: a table for people, or one json array
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = list_format)]
    pub(crate) format: ListFormat,
    /// Print names only, one a line [default: off]
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How `list` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat {
    /// Columns.
    Table,
    /// One array on one line.
    Json,
}

fn list_format(text: &str) -> Result<ListFormat, &'static str> {
    match text {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err("invalid format option, it is table or json"),
    }
}

/// `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule spec [OPTIONS]",
    after_help = "Example:\n  locule spec --bundle /srv/box --rootless"
)]
pub(crate) struct Spec {
    /// Directory that config.json is written to; an existing one is never overwritten
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// The file to write, if it is not config.json; a relative path counts from the directory
    /// [default: config.json]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write one that works without root's rights: a new user namespace, no resource limits
    /// [default: off]
    #[arg(long)]
    pub(crate) rootless: bool,
}

/// `features`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule features",
    after_help = "Example:\n  locule features | jq .linux.namespaces"
)]
pub(crate) struct Features {}

/// `init`, an internal command that refuses to run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Init {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

fn word(words: &[String], index: usize) -> &str {
    words.get(index).map_or("", String::as_str)
}

/// Commands for one container.
macro_rules! for_one_container {
    ($($command:ident)*) => {$(
        impl $command {
            /// The container's name, as typed.
            pub(crate) fn id(&self) -> &str {
                word(&self.ids, 0)
            }
        }
    )*};
}

for_one_container!(Create Start State Delete Pause Resume Events Update Checkpoint Restore);

impl Kill {
    /// The container's name, as typed.
    pub(crate) fn id(&self) -> &str {
        word(&self.words, 0)
    }

    /// The signal, as typed. An empty word is none.
    pub(crate) fn signal(&self) -> Option<&str> {
        Some(word(&self.words, 1)).filter(|word| !word.is_empty())
    }
}

impl Command {
    /// Whether a process of this program enters a container.
    pub(crate) fn enters_a_container(&self) -> bool {
        matches!(
            self,
            Self::Create(_) | Self::Run(_) | Self::Exec(_) | Self::Mounts(_)
        )
    }
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// Text for stdout: help.
    Print(String),
    /// No command; the text is the help.
    Nothing(Globals, String),
    /// `--version`.
    Version(Globals),
    /// A command.
    Command(Globals, Command),
}

/// A command line that is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misuse {
    /// The whole text for stderr, without `locule: ` in front; the first line says what is wrong.
    pub(crate) text: String,
    /// The face has an exit status for it.
    pub(crate) wrong: Wrong,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The command does not exist.
    Unknown,
    /// Too few or too many words.
    Count,
    /// Anything else.
    Words,
}

/// Parses the words after the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Misuse> {
    let words: Vec<_> = words.into_iter().collect();
    match plain::read(&words) {
        Some((globals, command)) => Ok(Invocation::Command(globals, command)),
        None => parse_any(words),
    }
}

/// The answer of clap. It has a stack frame of its own, which a plain line does not touch.
#[inline(never)]
fn parse_any(words: Vec<OsString>) -> Result<Invocation, Misuse> {
    // Never freed: this process ends soon, and the tree has thousands of allocations.
    let definition = Box::leak(Box::new(definition::of_named(&words)));
    match understand(definition, words.clone()) {
        Ok((globals, Some(named))) if !globals.version && named.miscounted.is_none() => {
            Ok(Invocation::Command(globals, named.command))
        }
        // Help, a mistake, or no command: the text needs all commands.
        Ok(_) | Err(_) => explain(words),
    }
}

fn understand(
    definition: &mut clap::Command,
    words: Vec<OsString>,
) -> Result<(Globals, Option<Named>), clap::Error> {
    let words = spelling::normalize(definition, words);
    let name = OsString::from("locule");
    read(&definition.try_get_matches_from_mut([name].into_iter().chain(words))?)
}

/// The answer of the whole definition. It has a stack frame of its own, which a start does not
/// touch.
#[inline(never)]
fn explain(words: Vec<OsString>) -> Result<Invocation, Misuse> {
    let definition = Box::leak(Box::new(definition::whole()));
    let (globals, named) = match understand(definition, words) {
        Ok(read) => read,
        Err(error) => return refused(&error),
    };
    if globals.version {
        return Ok(Invocation::Version(globals));
    }
    let Some(named) = named else {
        definition.build();
        let help = definition.render_long_help().to_string();
        return Ok(Invocation::Nothing(globals, help));
    };
    let Some(text) = named.miscounted else {
        return Ok(Invocation::Command(globals, named.command));
    };
    definition.build();
    let usage = definition
        .find_subcommand_mut(named.name)
        .map(|command| command.render_long_help().to_string())
        .unwrap_or_default();
    Err(Misuse {
        text: format!("{text}\n\n{usage}"),
        wrong: Wrong::Count,
    })
}

fn refused(error: &clap::Error) -> Result<Invocation, Misuse> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Ok(Invocation::Print(error.render().to_string()))
        }
        _ => Err(refusal::of(error)),
    }
}

#[cfg(test)]
mod tests;
