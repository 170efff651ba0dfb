//! Plain command lines, understood without a definition.
//!
//! Engines write every option in full and in its place. For such a line of the commands of a container's life this gives what the parser
//! would give, and spares each start the making of the parser's definition (a tenth of a `state`). Whatever is not plain is left
//! to it: short options, other spellings, help, mistakes. The tests compare the two.

use super::{Command, Create, Delete, Globals, Kill, LogFormat, Rootless, Run, Start, State};
use super::{log_path, word};
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::PathBuf;
use std::slice::Iter;

/// A word and, of an option, the value that is written behind an equals sign.
enum Word<'w> {
    Option(&'w str, Option<&'w str>),
    Plain(&'w str),
}

/// What is left of the line.
struct Line<'w>(Iter<'w, OsString>);

impl<'w> Line<'w> {
    /// The next word, `None` at the end; the outer `None`: it is not plain.
    fn next(&mut self) -> Option<Option<Word<'w>>> {
        let Some(word) = self.0.next() else {
            return Some(None);
        };
        let word = word.to_str()?;
        let Some(option) = word.strip_prefix("--") else {
            return (!word.starts_with('-')).then_some(Some(Word::Plain(word)));
        };
        Some(Some(match option.split_once('=') {
            Some((name, value)) => Word::Option(name, Some(value)),
            None => Word::Option(option, None),
        }))
    }

    /// The value of an option, unless it could be meant for another option.
    fn value(&mut self, written: Option<&'w str>) -> Option<&'w str> {
        let value = match written {
            Some(value) => value,
            None => self.0.next()?.to_str()?,
        };
        (!value.is_empty() && !value.starts_with('-')).then_some(value)
    }

    fn path(&mut self, written: Option<&'w str>) -> Option<Option<PathBuf>> {
        self.value(written).map(|value| Some(value.into()))
    }

    /// The words and options of a command; `take` answers `None` to an option that it does not know.
    fn words(
        mut self,
        mut take: impl FnMut(&mut Self, &str, Option<&'w str>) -> Option<()>,
    ) -> Option<Vec<String>> {
        let mut words = Vec::new();
        while let Some(word) = self.next()? {
            match word {
                Word::Plain(word) => words.push(word.to_owned()),
                Word::Option(name, value) => take(&mut self, name, value)?,
            }
        }
        Some(words)
    }
}

/// A flag that is given no value.
fn set(flag: &mut bool, value: Option<&str>) -> Option<()> {
    *flag = true;
    value.is_none().then_some(())
}

fn one_of<T: ValueEnum>(value: &str) -> Option<T> {
    T::from_str(value, false).ok()
}

/// The command of a plain line; `None`: ask the parser.
pub(super) fn read(words: &[OsString]) -> Option<(Globals, Command)> {
    let mut line = Line(words.iter());
    let mut globals = Globals {
        root: None,
        log: None,
        log_format: LogFormat::Text,
        log_level: None,
        debug: false,
        systemd_cgroup: false,
        cgroup_manager: None,
        rootless: Rootless::Auto,
        version: false,
    };
    let name = loop {
        match line.next()?? {
            Word::Plain(name) => break name,
            Word::Option(name, value) => global(&mut globals, &mut line, name, value)?,
        }
    };
    let command = command(name, line)?;
    command.miscounted().is_none().then_some((globals, command))
}

fn global<'w>(
    globals: &mut Globals,
    line: &mut Line<'w>,
    name: &str,
    value: Option<&'w str>,
) -> Option<()> {
    match name {
        "root" => globals.root = line.path(value)?,
        "log" => globals.log = Some(log_path(line.value(value)?).ok()?),
        "log-format" => globals.log_format = one_of(line.value(value)?)?,
        "log-level" => globals.log_level = Some(one_of(line.value(value)?)?),
        "debug" => set(&mut globals.debug, value)?,
        "systemd-cgroup" => set(&mut globals.systemd_cgroup, value)?,
        "cgroup-manager" => globals.cgroup_manager = Some(one_of(line.value(value)?)?),
        "rootless" => globals.rootless = one_of(line.value(value)?)?,
        _ => return None,
    }
    Some(())
}

fn command(name: &str, line: Line<'_>) -> Option<Command> {
    let nothing = |_: &mut Line<'_>, _: &str, _: Option<&str>| None;
    Some(match name {
        "create" => Command::Create(create(line, |_, _| None)?),
        "run" => {
            let (mut detach, mut keep, mut no_subreaper) = (false, false, false);
            let create = create(line, |name, value| match name {
                "detach" => set(&mut detach, value),
                "keep" => set(&mut keep, value),
                "no-subreaper" => set(&mut no_subreaper, value),
                _ => None,
            })?;
            Command::Run(Run {
                create,
                detach,
                keep,
                no_subreaper,
            })
        }
        "start" => Command::Start(Start {
            ids: line.words(nothing)?,
        }),
        "state" => Command::State(State {
            ids: line.words(nothing)?,
        }),
        "kill" => {
            let mut all = false;
            let words = line.words(|_, name, value| match name {
                "all" => set(&mut all, value),
                _ => None,
            })?;
            Command::Kill(Kill { all, words })
        }
        "delete" => {
            let mut force = false;
            let ids = line.words(|_, name, value| match name {
                "force" => set(&mut force, value),
                _ => None,
            })?;
            Command::Delete(Delete { force, ids })
        }
        _ => return None,
    })
}

/// `flag` takes what only one of the two commands has.
fn create(
    line: Line<'_>,
    mut flag: impl FnMut(&str, Option<&str>) -> Option<()>,
) -> Option<Create> {
    let mut create = Create {
        bundle: PathBuf::from("."),
        config: None,
        console_socket: None,
        pidfd_socket: None,
        pid_file: None,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        ids: Vec::new(),
    };
    let words = line.words(|line, name, value| {
        match name {
            "bundle" => create.bundle = line.path(value)??,
            "config" => create.config = line.path(value)?,
            "console-socket" => create.console_socket = line.path(value)?,
            "pidfd-socket" => create.pidfd_socket = line.path(value)?,
            "pid-file" => create.pid_file = line.path(value)?,
            "no-pivot" => set(&mut create.no_pivot, value)?,
            "no-new-keyring" => set(&mut create.no_new_keyring, value)?,
            "preserve-fds" => create.preserve_fds = line.value(value)?.parse().ok()?,
            _ => flag(name, value)?,
        }
        Some(())
    })?;
    create.ids = words;
    (!word(&create.ids, 0).is_empty()).then_some(create)
}
