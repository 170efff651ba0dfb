//! Log messages: where they go and their format.
//!
//! Decides the two forms that engines parse (the JSON form of `--log-format json` and the text
//! form) and that no write blocks for ever: on a full pipe the message is dropped after a second.
//! Everything is written with one write a line, so that lines of several processes do not mix in an
//! appended file. The error that ends a command is also printed on stderr, whatever the log is.

use crate::args::{Globals, LogFormat, LogLevel};
use crate::face::{self, Face, Text, Time};
use crate::host_file::HostFile;
use crate::moment;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use spec::quote::visible;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How long one write may wait for a reader, in milliseconds.
const PATIENCE: u16 = 1000;

/// How much a pipe accepts without blocking if it has any room: PIPE_BUF of limits.h.
const PIECE: usize = 4096;

/// The longest message, in bytes. A message can quote megabytes of a configuration, which does not
/// help.
const LONGEST: usize = 16 << 10;

/// How much of the end of a longer one is kept: engines show the last line.
const END: usize = 4 << 10;

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("open the log {path:?}{hint}")]
pub(crate) struct Unavailable {
    path: PathBuf,
    hint: &'static str,
    #[source]
    source: io::Error,
}

/// Receives the messages of this process.
#[derive(Debug)]
struct Log {
    file: Option<File>,
    format: LogFormat,
    level: Level,
    face: &'static Face,
}

/// Sends the messages of this process to the destination in `globals`, in the form of `face`.
///
/// # Errors
/// [`Unavailable`]: the file of `--log` cannot be opened.
pub(crate) fn install(globals: &Globals, face: &'static Face) -> Result<(), Unavailable> {
    let path = globals.log.as_deref().filter(|path| *path != Path::new(""));
    let file = path.map(open).transpose()?;
    let log = Log {
        file,
        format: globals.log_format,
        level: level(globals),
        face,
    };
    // A second call would be a bug, but it would only lose messages.
    drop(tracing::subscriber::set_global_default(log));
    Ok(())
}

fn open(path: &Path) -> Result<File, Unavailable> {
    let opened = HostFile::at(path).and_then(HostFile::append);
    opened.map_err(|errno| Unavailable {
        path: path.to_owned(),
        hint: match errno {
            Errno::ELOOP => ", where links of other users are not followed",
            _ => "",
        },
        source: errno.into(),
    })
}

fn level(globals: &Globals) -> Level {
    match globals.log_level {
        Some(LogLevel::Trace) => Level::TRACE,
        _ if globals.debug => Level::DEBUG,
        Some(LogLevel::Debug) => Level::DEBUG,
        Some(LogLevel::Info) => Level::INFO,
        Some(LogLevel::Warning) => Level::WARN,
        Some(LogLevel::Error) => Level::ERROR,
        // An engine shows its log to its users, so by default only errors go there.
        None if globals.log.is_some() => Level::ERROR,
        None => Level::WARN,
    }
}

/// Reports why the command failed: in the log with its code, and on stderr for people. Each line of
/// the message stands alone, so each gets the prefix.
pub(crate) fn failure(face: &Face, code: &str, message: &str) {
    tracing::error!(code, last = true, "{message}");
    for line in bounded(message).lines() {
        complain(face, &format!("error: {line}"));
    }
}

/// Prints a line on stderr, control characters escaped, the program's name in front.
fn complain(face: &Face, line: &str) {
    let line = visible(&bounded(line));
    write_bounded(&io::stderr(), &format!("{}: {line}\n", face.name));
}

/// Prints on stderr why a command line is not valid. The first paragraph of `text` says what is
/// wrong and comes last, on one line: engines show the last line alone.
pub(crate) fn explain(face: &Face, text: &str) {
    write_bounded(&io::stderr(), &explanation(face.name, &bounded(text)));
}

fn explanation(name: &str, text: &str) -> String {
    let (wrong, usage) = text.split_once("\n\n").unwrap_or((text, ""));
    let usage = usage
        .split("For more information")
        .next()
        .unwrap_or_default()
        .trim();
    let wrong = wrong.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let usage = if usage.is_empty() {
        String::new()
    } else {
        format!("{usage}\n\n")
    };
    format!("{usage}{name}: error: {wrong}\n")
}

/// `text`, or its beginning and its end if it is longer than [`LONGEST`].
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let head = &text[..text.floor_char_boundary(LONGEST - END)];
    let tail = &text[text.ceil_char_boundary(text.len() - END)..];
    let left_out = text.len() - head.len() - tail.len();
    Cow::Owned(format!("{head}... ({left_out} bytes left out) ...{tail}"))
}

/// Writes all of `text`, or as much as a reader accepts in time. A failure cannot be reported
/// anywhere.
fn write_bounded<F>(destination: &F, text: &str)
where
    F: AsFd,
    for<'f> &'f F: io::Write,
{
    for piece in text.as_bytes().chunks(PIECE) {
        let mut left = piece;
        while !left.is_empty() {
            if !ready(destination) {
                return;
            }
            match (&mut &*destination).write(left) {
                Ok(0) => return,
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether a write would not block.
fn ready(destination: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(destination.as_fd(), PollFlags::POLLOUT)];
    let timeout = PollTimeout::from(PATIENCE);
    poll(&mut fds, timeout).is_ok_and(|count| count > 0)
        && fds
            .iter()
            .filter_map(PollFd::revents)
            .any(|events| events.contains(PollFlags::POLLOUT))
}

/// The fields of one event.
#[derive(Debug, Default)]
struct Message {
    text: String,
    code: Option<String>,
    last: bool,
    rest: String,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "code" => self.code = Some(value.to_owned()),
            "message" => self.text.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "last" {
            self.last = value;
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _: fmt::Result = if field.name() == "message" {
            write!(self.text, "{value:?}")
        } else {
            write!(self.rest, " {}={value:?}", field.name())
        };
    }
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

impl Message {
    fn line(&self, format: LogFormat, form: &face::Log, level: Level) -> String {
        let time = match form.time {
            Time::Seconds => moment::seconds(),
            Time::Microseconds => moment::microseconds(),
        };
        self.line_at(format, form.text, level, &time)
    }

    fn line_at(&self, format: LogFormat, form: Text, level: Level, time: &str) -> String {
        let text = format!("{}{}", self.text, self.rest);
        let text = bounded(&text);
        match format {
            LogFormat::Text if form == Text::Bare => visible(&text) + "\n",
            LogFormat::Json => {
                let line = Line {
                    level: word(level),
                    msg: &text,
                    time,
                    code: self.code.as_deref(),
                };
                // Serializing a string does not fail.
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
            LogFormat::Text => {
                let code = self.code.as_deref().map(|code| format!(" code={code}"));
                format!(
                    "time=\"{time}\" level={} msg={}{}\n",
                    word(level),
                    quoted(&text),
                    code.unwrap_or_default()
                )
            }
        }
    }
}

/// In quotes, unless it is one word of harmless characters.
fn quoted(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if text.bytes().all(bare) {
        return text.to_owned();
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", visible(&escaped))
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let mut message = Message::default();
        event.record(&mut message);
        if let Some(file) = &self.file {
            write_bounded(file, &message.line(self.format, &self.face.log, level));
        } else if self.format == LogFormat::Json {
            let line = message.line(self.format, &self.face.log, level);
            write_bounded(&io::stderr(), &line);
        } else if !message.last {
            let line = format!("{}: {}{}", word(level), message.text, message.rest);
            complain(self.face, &line);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests;
