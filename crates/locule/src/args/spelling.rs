//! Spellings that come from Go programs.
//!
//! `-root x` means `--root x`, `--debug=true` means `--debug`, and `--debug=false` is left out; the
//! same with the short names of switches: `-f=true`. An option of [`OPTIONAL`] with an empty value
//! is left out. Only option names that the command has are changed. The value of another option,
//! the words after `--` and the words of a command to run stay as they are.

use clap::{Arg, ArgAction, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// The options whose empty value means that there is none, as with runc: scripts pass variables
/// that may be empty. `--root`, `--bundle` and `--user` are not among them: runc then takes the
/// working directory, or the container's user, who may be root.
const OPTIONAL: &[&str] = &[
    "apparmor",
    "console-socket",
    "cwd",
    "image-path",
    "log-format",
    "lsm-mount-context",
    "lsm-profile",
    "page-server",
    "parent-path",
    "pid-file",
    "pidfd-socket",
    "process",
    "process-label",
    "work-path",
];

/// Whether an option is followed by a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
}

/// Rewrites the words to the spellings that the parser knows.
pub(super) fn normalize(definition: &Command, words: Vec<OsString>) -> Vec<OsString> {
    let mut command = definition;
    let mut long = long_names(command);
    let mut normal = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            normal.push(word);
            normal.extend(words);
            break;
        }
        if let Some((switch, is_on)) = word.to_str().and_then(|word| short_switch(command, word)) {
            if is_on {
                normal.push(switch.into());
            }
            continue;
        }
        if let Some(name) = word.to_str().and_then(|word| short_option(command, word)) {
            match words.next() {
                Some(value) if value.is_empty() && OPTIONAL.contains(&name) => {}
                value => normal.extend([word].into_iter().chain(value)),
            }
            continue;
        }
        let Some(name) = word.to_str().and_then(option_name) else {
            // The first plain word is the command: its options count from here on.
            if command.get_positionals().any(Arg::is_trailing_var_arg_set) {
                normal.push(word);
                normal.extend(words);
                break;
            }
            if let Some(found) = command.find_subcommand(&word) {
                command = found;
                long = long_names(command);
            }
            normal.push(word);
            continue;
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        match (long.get(name), value) {
            (None, _) => normal.push(word),
            (Some(Takes::Nothing), Some(value)) if is_on(value).is_some() => {
                if is_on(value) == Some(true) {
                    normal.push(format!("--{name}").into());
                }
            }
            (Some(Takes::Value), Some("")) if OPTIONAL.contains(&name) => {}
            (Some(_), Some(value)) => normal.push(format!("--{name}={value}").into()),
            (Some(takes), None) => {
                let mut option = OsString::from(format!("--{name}"));
                if *takes == Takes::Value
                    && let Some(value) = words.next()
                {
                    if value.is_empty() && OPTIONAL.contains(&name) {
                        continue;
                    }
                    option.push("=");
                    option.push(value);
                }
                normal.push(option);
            }
        }
    }
    normal
}

fn is_on(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The switch of `-f=true`, if the command has it, and whether it is on.
fn short_switch<'a>(command: &Command, word: &'a str) -> Option<(&'a str, bool)> {
    let (switch, value) = word.split_once('=')?;
    by_letter(command, switch).filter(|option| takes(option) == Takes::Nothing)?;
    is_on(value).map(|is_on| (switch, is_on))
}

/// The long name of the option `-p`, if the command has it and its value is the next word.
fn short_option<'a>(command: &'a Command, word: &str) -> Option<&'a str> {
    let option = by_letter(command, word).filter(|option| takes(option) == Takes::Value);
    option?.get_long()
}

/// The option with this single letter after its dash.
fn by_letter<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    let mut options = command.get_arguments();
    options.find(|option| option.get_short() == Some(letter))
}

fn takes(option: &Arg) -> Takes {
    match option.get_action() {
        ArgAction::Set | ArgAction::Append => Takes::Value,
        _ => Takes::Nothing,
    }
}

/// What follows one or two dashes, if it is longer than a cluster's single letter.
fn option_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (name.len() > 1).then_some(name)
}

fn long_names(command: &Command) -> BTreeMap<&str, Takes> {
    let options = command.get_arguments();
    let named = options.filter_map(|option| Some((option.get_long()?, takes(option))));
    named.collect()
}
