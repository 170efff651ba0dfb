//! What the parser knows of the commands.
//!
//! A start does not pay for the options of other commands: only those that some word names are defined
//! for it. Whatever the parser has to explain is explained by the whole definition.

use super::{
    Args, Command, Create, Delete, Events, Exec, Facts, Features, FromArgMatches, Globals, Init,
    Kill, List, Pause, Plan, Ps, Resume, Run, Seccomp, Spec, Start, State, Update,
};
use clap::ArgMatches;
use std::ffi::OsString;

/// One command.
struct Row {
    name: &'static str,
    about: &'static str,
    define: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

macro_rules! rows {
    ($($kind:ident $name:literal $about:literal)*) => {
        &[$(Row {
            name: $name,
            about: $about,
            define: $kind::augment_args,
            read: |matches| $kind::from_arg_matches(matches).map(Command::$kind),
        }),*]
    };
}

/// In the order of the help.
const ROWS: &[Row] = rows! {
    Create "create" "Make a container from a bundle, up to the point where its program could run"
    Start "start" "Run the program of a created container"
    Run "run" "Create and start a container, wait for its program and delete it"
    Exec "exec" "Run one more process in a container"
    State "state" "Print the state of a container as JSON"
    Kill "kill" "Send a signal to a container"
    Delete "delete" "Remove what a stopped (or created) container holds: its cgroup and its state"
    List "list" "List the containers of the state directory"
    Pause "pause" "Stop all processes of a container where they are"
    Resume "resume" "Let the processes of a paused container run on"
    Ps "ps" "List the processes of a container"
    Update "update" "Change the limits of a container"
    Events "events" "Print what a container uses, and when its memory has run out"
    Spec "spec" "Write a config.json to start from"
    Features "features" "Print as JSON what this build supports"
    Facts "facts" "Print as JSON what this host and this caller are"
    Plan "plan" "Print what create would do with a bundle on this host"
    Seccomp "seccomp" "Compile, check, question and compare system call filters, without any container"
    Init "init" "Refuses: containers are made by create and run"
};

/// What the program does.
const ABOUT: &str = "Runs containers that the OCI runtime specification describes: low-level, for engines and scripts";

/// All commands.
pub(super) fn whole() -> clap::Command {
    define(ROWS.iter())
}

/// The commands that a word names: one of them may be the line's. Has no `help` command, which would
/// need all the others.
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
             locule --root /run/mine list\n\n\
             Global options stand before the command. `locule COMMAND --help` explains a command.\n\
             Exit status: 0 done, 1 any error, 3 no such command; `run` gives that of the container's program.",
        );
    // Which brings a description of its own.
    let program = Globals::augment_args(program).about(ABOUT);
    program.subcommands(rows.map(|row| {
        let command = (row.define)(clap::Command::new(row.name)).about(row.about);
        command.hide(row.name == "init")
    }))
}

/// What was matched.
pub(super) fn read(matches: &ArgMatches) -> Result<(Globals, Option<Command>), clap::Error> {
    let globals = Globals::from_arg_matches(matches)?;
    let named = |name| ROWS.iter().find(|row| row.name == name);
    let command = match matches.subcommand() {
        Some((name, matches)) => named(name).map(|row| (row.read)(matches)).transpose()?,
        None => None,
    };
    Ok((globals, command))
}
