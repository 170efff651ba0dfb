//! Plain command lines, read without clap's definition.
//!
//! Engines write every option in full and in its place. For such a line of the commands of a
//! container's life, this reader returns what clap would return, and spares the start the making of
//! clap's definition: two fifths of the instructions of an `exec` (ADR 12). Everything else is left
//! to clap: short options, other spellings, help, mistakes. The tests compare the two readers.

use super::exec::{capability, id, user};
use super::{
    Command, Create, Delete, Exec, Globals, Kill, LogFormat, Rootless, Run, Start, State, log_path,
    number,
};
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::PathBuf;
use std::slice::Iter;

/// A word. An option may have its value behind an equals sign.
enum Word<'w> {
    Option(&'w str, Option<&'w str>),
    Plain(&'w str),
}

/// What is left of the line.
struct Line<'w>(Iter<'w, OsString>);

impl<'w> Line<'w> {
    /// The next word; `None` inside at the end. The outer `None`: it is not plain.
    fn next(&mut self) -> Option<Option<Word<'w>>> {
        let Some(word) = self.0.next() else {
            return Some(None);
        };
        let word = word.to_str()?;
        let Some(option) = word.strip_prefix("--") else {
            let is_plain = !word.is_empty() && !word.starts_with('-');
            return is_plain.then_some(Some(Word::Plain(word)));
        };
        Some(Some(match option.split_once('=') {
            Some((name, value)) => Word::Option(name, Some(value)),
            None => Word::Option(option, None),
        }))
    }

    /// The value of an option, unless it may be another option.
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

    fn text(&mut self, written: Option<&'w str>) -> Option<String> {
        self.value(written).map(str::to_owned)
    }

    /// The words of a command, between its options. `take` returns `None` for an option that it
    /// does not know.
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

    /// The only word of a command that takes no option.
    fn name(self) -> Option<Vec<String>> {
        one(self.words(|_, _, _| None)?)
    }
}

/// The names of a command that takes one.
fn one(names: Vec<String>) -> Option<Vec<String>> {
    (names.len() == 1).then_some(names)
}

/// A switch without a value.
fn set(switch: &mut bool, value: Option<&str>) -> Option<()> {
    *switch = true;
    value.is_none().then_some(())
}

fn one_of<T: ValueEnum>(value: &str) -> Option<T> {
    T::from_str(value, false).ok()
}

/// The command of a plain line; `None`: ask clap.
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
        compat: None,
        version: false,
    };
    loop {
        match line.next()?? {
            Word::Plain(name) => return Some((globals, command(name, line)?)),
            Word::Option(name, value) => global(&mut globals, &mut line, name, value)?,
        }
    }
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
    Some(match name {
        "create" => Command::Create(create(line, |_, _| None)?),
        "start" => Command::Start(Start { ids: line.name()? }),
        "run" => run(line)?,
        "exec" => Command::Exec(exec(line)?),
        "state" => Command::State(State { ids: line.name()? }),
        "kill" => kill(line)?,
        "delete" => delete(line)?,
        _ => return None,
    })
}

fn run(line: Line<'_>) -> Option<Command> {
    let (mut detach, mut keep, mut no_subreaper) = (false, false, false);
    let create = create(line, |name, value| match name {
        "detach" => set(&mut detach, value),
        "keep" => set(&mut keep, value),
        "no-subreaper" => set(&mut no_subreaper, value),
        _ => None,
    })?;
    Some(Command::Run(Run {
        create,
        detach,
        keep,
        no_subreaper,
    }))
}

fn kill(line: Line<'_>) -> Option<Command> {
    let (mut all, mut regex) = (false, false);
    let words = line.words(|_, name, value| match name {
        "all" => set(&mut all, value),
        "regex" => set(&mut regex, value),
        _ => None,
    })?;
    let is_counted = (1..=2).contains(&words.len());
    is_counted.then_some(Command::Kill(Kill { all, regex, words }))
}

fn delete(line: Line<'_>) -> Option<Command> {
    let (mut force, mut regex) = (false, false);
    let ids = one(line.words(|_, name, value| match name {
        "force" => set(&mut force, value),
        "regex" => set(&mut regex, value),
        _ => None,
    })?)?;
    Some(Command::Delete(Delete { force, regex, ids }))
}

/// `switch` takes what only one of the two commands has.
fn create(
    line: Line<'_>,
    mut switch: impl FnMut(&str, Option<&str>) -> Option<()>,
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
            "preserve-fds" => create.preserve_fds = number(line.value(value)?).ok()?,
            _ => switch(name, value)?,
        }
        Some(())
    })?;
    create.ids = one(words)?;
    Some(create)
}

/// Its options stand before the id. What follows is the command, whatever it looks like.
fn exec(mut line: Line<'_>) -> Option<Exec> {
    let mut exec = Exec::default();
    let id = loop {
        match line.next()?? {
            Word::Plain(id) => break OsString::from(id),
            Word::Option(name, value) => option_of_exec(&mut exec, &mut line, name, value)?,
        }
    };
    exec.words = [id].into_iter().chain(line.0.cloned()).collect();
    let is_plain = exec.process.is_none() || !exec.changes_the_process();
    (is_plain && exec.words.iter().all(|word| word != "--")).then_some(exec)
}

fn option_of_exec<'w>(
    exec: &mut Exec,
    line: &mut Line<'w>,
    name: &str,
    value: Option<&'w str>,
) -> Option<()> {
    match name {
        "process" => exec.process = line.path(value)?,
        "detach" => set(&mut exec.detach, value)?,
        "pid-file" => exec.pid_file = line.path(value)?,
        "tty" => set(&mut exec.tty, value)?,
        "console-socket" => exec.console_socket = line.path(value)?,
        "pidfd-socket" => exec.pidfd_socket = line.path(value)?,
        "cwd" => exec.cwd = line.path(value)?,
        "env" => exec.env.push(line.text(value)?),
        "user" => exec.user = Some(user(line.value(value)?).ok()?),
        "additional-gids" => exec.additional_gids.push(id(line.value(value)?).ok()?),
        "process-label" => exec.process_label = Some(line.text(value)?),
        "apparmor" => exec.apparmor = Some(line.text(value)?),
        "no-new-privs" => set(&mut exec.no_new_privs, value)?,
        "cap" => exec.cap.push(capability(line.value(value)?).ok()?),
        "preserve-fds" => exec.preserve_fds = number(line.value(value)?).ok()?,
        "cgroup" => exec.cgroup.push(line.text(value)?),
        "ignore-paused" => set(&mut exec.ignore_paused, value)?,
        _ => return None,
    }
    Some(())
}
