//! What the parser's errors say: on one line what is wrong and what to do, since engines show the
//! last line alone.

use super::definition;
use super::{Misuse, Wrong};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The answer to a command line that the parser does not accept.
pub(super) fn of(error: &clap::Error) -> Misuse {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (wrong, usage) = text.split_once("\n\n").unwrap_or((text, ""));
    // The tips are in the first line.
    let usage = usage.find("Usage: ").map_or("", |start| &usage[start..]);
    let text = format!("{}\n\n{usage}", sentence(error, wrong));
    let wrong = match error.kind() {
        ErrorKind::InvalidSubcommand => Wrong::Unknown,
        _ => Wrong::Words,
    };
    Misuse { text, wrong }
}

fn sentence(error: &clap::Error, wrong: &str) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let meant = |kind| context(kind).map(|word| format!("{wrong}; did you mean '{word}'?"));
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let given = context(ContextKind::InvalidArg).unwrap_or_default();
            match definition::is_global(&given) {
                true => format!("{wrong}; it is a global option, which stands before the command"),
                false => meant(ContextKind::SuggestedArg)
                    .unwrap_or_else(|| format!("{wrong}; --help lists the options")),
            }
        }
        ErrorKind::InvalidSubcommand => {
            meant(ContextKind::SuggestedSubcommand).unwrap_or_else(|| wrong.to_owned())
        }
        ErrorKind::TooManyValues => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            match context(ContextKind::InvalidArg) {
                Some(switch) if switch.starts_with('-') => format!(
                    "unexpected value '{value}' for '{switch}', which takes none, or true or false"
                ),
                _ => format!("unexpected argument '{value}', after the last that is expected"),
            }
        }
        // runc's words: Podman asks by them what `restore` can do.
        _ if wrong.starts_with("a value is required for") => {
            format!("flag needs an argument: {wrong}")
        }
        _ => wrong.to_owned(),
    }
}
