//! The table of commands, and what the parser knows of them.
//!
//! Only the commands that a word of the command line names are defined, so that a start does not
//! pay for the options of other commands. Help and error texts use the whole definition.

use super::{
    Checkpoint, Create, Delete, Events, Exec, Facts, Features, Globals, Init, Kill, List, Mounts,
    Pause, Plan, Ps, Restore, Resume, Run, Seccomp, Spec, Start, State, Update,
};
use crate::commands::{self, Env};
use crate::error::Error;
use crate::exit::ExitCode;
use clap::{Arg, ArgMatches, Args, FromArgMatches};
use std::ffi::OsString;
use std::ops::RangeInclusive;

/// One command.
struct Row {
    name: &'static str,
    /// How many words it takes.
    words: RangeInclusive<usize>,
    about: &'static str,
    define: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

macro_rules! commands {
    ($($kind:ident $name:literal $words:expr, $run:path, $about:literal;)*) => {
        /// The commands, each with its words and options.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Command {
            $(#[doc = $about] $kind($kind)),*
        }

        impl Command {
            /// Runs the command.
            pub(crate) fn run(&self, env: &Env) -> Result<ExitCode, Error> {
                match self {
                    $(Self::$kind(args) => apart($run, args, env)),*
                }
            }

        }

        const ROWS: &[Row] = &[$(Row {
            name: $name,
            words: $words,
            about: $about,
            define: $kind::augment_args,
            read: |matches| $kind::from_arg_matches(matches).map(Command::$kind),
        }),*];
    };
}

// In the order of the help: how the command is called, how many words it takes, what runs it, and
// what it does.
commands! {
    Create "create" 1..=1, commands::create::run,
        "Make a container from a bundle, but do not run its program yet";
    Start "start" 1..=1, commands::start::run,
        "Run the program of a created container";
    Run "run" 1..=1, commands::run::run,
        "Create and start a container, wait for its program and delete it";
    Exec "exec" 1..=usize::MAX, commands::exec::run,
        "Run one more process in a container";
    State "state" 1..=1, commands::state::run,
        "Print the state of a container as JSON";
    Kill "kill" 1..=2, commands::kill::run,
        "Send a signal to a container";
    Delete "delete" 1..=1, commands::delete::run,
        "Remove what a stopped (or created) container holds: its cgroup and its state";
    List "list" 0..=0, commands::list::run,
        "List the containers of the state directory";
    Pause "pause" 1..=1, commands::pause::run,
        "Freeze all processes of a container";
    Resume "resume" 1..=1, commands::resume::run,
        "Let the processes of a paused container run again";
    Ps "ps" 1..=usize::MAX, commands::ps::run,
        "List the processes of a container";
    Update "update" 1..=1, commands::update::run,
        "Change the limits of a container";
    Mounts "mounts" 2..=3, commands::mounts::run,
        "Add mounts to a running container, or remove them";
    Events "events" 1..=1, commands::events::run,
        "Print what resources a container uses, and when it runs out of memory";
    Checkpoint "checkpoint" 1..=1, commands::checkpoint::run,
        "Save the processes of a container as image files";
    Restore "restore" 1..=1, commands::restore::run,
        "Make the processes again that checkpoint has saved";
    Spec "spec" 0..=0, commands::template::run,
        "Write a config.json to start from";
    Features "features" 0..=0, commands::features::run,
        "Print as JSON what this build supports";
    Facts "facts" 0..=0, commands::plan::facts,
        "Print as JSON what this host and this caller are";
    Plan "plan" 0..=1, commands::plan::run,
        "Print what create would do with a bundle on this host, or exec in a container";
    // Its words are those of the commands below it.
    Seccomp "seccomp" 0..=usize::MAX, commands::seccomp::run,
        "Compile, check, test and compare system call filters, without a container";
    Init "init" 0..=usize::MAX, commands::init,
        "Internal: create and run make containers";
}

/// Runs one command in a stack frame of its own. All commands in one frame need a hundred KiB of
/// stack, and every start would touch them.
#[inline(never)]
fn apart<A>(
    run: impl FnOnce(&A, &Env) -> Result<ExitCode, Error>,
    args: &A,
    env: &Env,
) -> Result<ExitCode, Error> {
    run(args, env)
}

/// What the program does.
const ABOUT: &str = "Runs containers that the OCI runtime specification describes: low-level, for engines and scripts";

/// All commands.
pub(super) fn whole() -> clap::Command {
    define(ROWS.iter())
}

/// What a person has a use for: completion and man pages are about this.
#[cfg(test)]
pub(super) fn shown() -> clap::Command {
    let is_shown = |row: &&Row| row.name != "init";
    define(ROWS.iter().filter(is_shown)).disable_help_subcommand(true)
}

/// The commands that a word of the line names; one of them may be the command. There is no `help`
/// command, because it would need all the others.
pub(super) fn of_named(words: &[OsString]) -> clap::Command {
    let is_named = |row: &&Row| words.iter().any(|word| word == row.name);
    define(ROWS.iter().filter(is_named)).disable_help_subcommand(true)
}

fn define(rows: impl Iterator<Item = &'static Row>) -> clap::Command {
    let program = clap::Command::new("locule")
        .disable_version_flag(true)
        .args_override_self(true)
        .after_help(
            "Examples:\n  \
             locule spec --bundle /srv/box; locule run --bundle /srv/box box1\n  \
             locule --root /run/mine list; locule --compat crun list\n\n\
             Global options stand before the command. `locule COMMAND --help` explains a command.\n\
             Exit status: 0 done, 1 any error, 3 no such command; `run` gives that of the container's program.\n\
             Called runc, crun or youki, locule has the exit statuses and the printed forms of that program.",
        );
    // `augment_args` sets a description of its own.
    let program = Globals::augment_args(program).about(ABOUT);
    program.subcommands(rows.map(|row| {
        let command = (row.define)(clap::Command::new(row.name)).about(row.about);
        let command = command.hide(row.name == "init");
        match row.words.end() {
            // They are counted, and refused by that.
            0 => command.arg(Arg::new("words").num_args(0..).hide(true)),
            _ => command,
        }
    }))
}

/// Whether this word is a global option.
pub(super) fn is_global(word: &str) -> bool {
    let program = Globals::augment_args(clap::Command::new("locule"));
    let mut options = program.get_arguments().filter_map(clap::Arg::get_long);
    word.strip_prefix("--")
        .is_some_and(|name| options.any(|long| long == name))
}

/// A command, and what is wrong with the number of its words, if anything.
pub(super) struct Named {
    pub(super) command: Command,
    pub(super) name: &'static str,
    pub(super) miscounted: Option<String>,
}

/// What was matched.
pub(super) fn read(matches: &ArgMatches) -> Result<(Globals, Option<Named>), clap::Error> {
    let globals = Globals::from_arg_matches(matches)?;
    let Some((name, matches)) = matches.subcommand() else {
        return Ok((globals, None));
    };
    let row = ROWS.iter().find(|row| row.name == name);
    let named = row.map(|row| {
        let command = (row.read)(matches)?;
        let miscounted = match &command {
            // One of them is the id, the others are the words of a command.
            Command::Plan(plan) if plan.exec => None,
            _ => miscounted(row, given(matches)),
        };
        Ok::<_, clap::Error>(Named {
            command,
            name: row.name,
            miscounted,
        })
    });
    Ok((globals, named.transpose()?))
}

/// How many words follow the command.
fn given(matches: &ArgMatches) -> usize {
    let count = |id| {
        matches
            .try_get_raw(id)
            .ok()
            .flatten()
            .map(|words| words.len())
    };
    count("ids").or_else(|| count("words")).unwrap_or_default()
}

fn miscounted(row: &Row, given: usize) -> Option<String> {
    let (name, least, most) = (row.name, *row.words.start(), *row.words.end());
    let (bound, count) = match given {
        given if row.words.contains(&given) => return None,
        given if most == 0 => return Some(format!("{name:?} takes no arguments, {given} given")),
        _ if least == most => ("exactly", least),
        given if given < least => ("a minimum of", least),
        _ => ("a maximum of", most),
    };
    let plural = if count == 1 { "" } else { "s" };
    Some(format!(
        "{name:?} requires {bound} {count} argument{plural}"
    ))
}
