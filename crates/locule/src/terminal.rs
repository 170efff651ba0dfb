//! The terminal of a container's process, on the side of the command.
//!
//! Detached, its master end goes to a socket. In the foreground the command forwards bytes between
//! that end and its own standard input and output, in one thread. The caller's terminal is raw
//! during that time, so that every key reaches the program, and is restored afterwards. A slow
//! reader does not delay signals and window sizes.

use crate::commands::create::INTERRUPTS;
use crate::error::Error;
use kernel::path::{self, OpenFlags};
use kernel::process::{POLL_HANG_UP, POLL_IN, POLL_OUT, PollFd, poll, poll_in, poll_out};
use kernel::signal::SignalFd;
use kernel::terminal::{set_size, size};
use kernel::{Errno, fs, pipe};
use launch::terminal::ConsoleSocket;
use nix::sys::signal::Signal;
use nix::sys::termios::{
    InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw,
    tcgetattr, tcsetattr,
};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

const INPUT: BorrowedFd<'static> = pipe::STANDARD[0];
const OUTPUT: BorrowedFd<'static> = pipe::STANDARD[1];

const WINDOW: i32 = Signal::SIGWINCH as i32;
const CONTINUE: i32 = Signal::SIGCONT as i32;

/// How often a state is checked that no event reports, in milliseconds.
const TICK: u64 = 200;

/// The most that the program can have written before its end without a reader: 64 KiB in the
/// kernel, and what a reader has received.
const LEFT: usize = 128 * 1024;

/// Connects to the socket that receives the terminal. `None`: the command serves it, or there is no
/// terminal.
pub(crate) fn console_socket(
    has_terminal: bool,
    is_detached: bool,
    path: Option<&Path>,
) -> Result<Option<ConsoleSocket>, Error> {
    match (has_terminal && is_detached, path) {
        (true, None) => Err(Error::NoConsoleSocket),
        (false, Some(_)) => Err(Error::UnwantedConsoleSocket),
        (true, Some(path)) => Ok(Some(ConsoleSocket::connect(path).map_err(Error::Launch)?)),
        (false, None) => Ok(None),
    }
}

/// Prepares the master end before the program starts: it gets the size of the caller's window and
/// the line endings that its output needs.
pub(crate) fn ready(master: BorrowedFd<'_>) {
    copy_size(master);
    let shown_as_is = tcgetattr(INPUT).is_ok() && tcgetattr(OUTPUT).is_ok();
    if !shown_as_is && let Ok(mut modes) = tcgetattr(master) {
        // A file gets plain line feeds. A terminal that is not raw adds carriage returns itself.
        modes.output_flags.remove(OutputFlags::ONLCR);
        let _best_effort = tcsetattr(master, SetArg::TCSANOW, &modes);
    }
}

/// The size of the first of the caller's streams that is a terminal and has one.
fn copy_size(master: BorrowedFd<'_>) {
    let sizes = pipe::STANDARD.into_iter().filter_map(|fd| size(fd).ok());
    if let Some(size) = sizes.into_iter().find(|size| size.height > 0) {
        let _best_effort = set_size(master, size);
    }
}

/// The caller's terminal, raw while this value exists.
#[derive(Debug)]
struct Caller {
    modes: Termios,
    is_raw: bool,
}

impl Caller {
    /// `None`: the standard input is not a terminal.
    fn new() -> Option<Self> {
        let modes = tcgetattr(INPUT).ok()?;
        let mut caller = Self {
            modes,
            is_raw: false,
        };
        caller.make_raw();
        Some(caller)
    }

    /// Makes it raw, if this process is in its foreground job, not another job of the caller's
    /// shell.
    fn make_raw(&mut self) {
        if !is_foreground() {
            self.is_raw = false;
            return;
        }
        let mut raw = self.modes.clone();
        cfmakeraw(&mut raw);
        // Characters have 8 bits if those of the caller's terminal have.
        raw.input_flags |= self.modes.input_flags & InputFlags::IUTF8;
        self.is_raw = tcsetattr(INPUT, SetArg::TCSANOW, &raw).is_ok();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.is_raw && is_foreground() {
            let _gone = tcsetattr(INPUT, SetArg::TCSANOW, &self.modes);
        }
    }
}

/// Whether this process may use its terminal. A terminal that is not that of its session has no
/// jobs.
fn is_foreground() -> bool {
    tcgetpgrp(INPUT).map_or(true, |group| group == getpgrp())
}

/// A buffer of bytes. It holds as many as a pipe accepts without blocking when it has room
/// (PIPE_BUF).
#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self {
            bytes: vec![0; 4096].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Fills it, when it is empty. 0: the end.
    fn fill(&mut self, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        let count = fs::read(from, &mut self.bytes)?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Fills it with this, when it is empty.
    fn put(&mut self, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..text.len()) {
            place.copy_from_slice(text);
            (self.start, self.end) = (0, text.len());
        }
    }

    fn last(&self) -> Option<u8> {
        self.bytes.get(..self.end)?.last().copied()
    }

    /// Writes what it can.
    fn drain(&mut self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        match fs::write(to, rest) {
            Ok(count) => self.start += count,
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

/// Forwards bytes between the caller and the program.
#[derive(Debug)]
pub(crate) struct Relay {
    /// `None`: the caller has stopped reading, and the terminal has hung up.
    master: Option<OwnedFd>,
    caller: Option<Caller>,
    /// The caller's terminal, opened again so that a write does not block.
    screen: Option<OwnedFd>,
    /// To the program.
    keys: Buffer,
    /// To the caller.
    text: Buffer,
    has_input: bool,
    /// No process has the other end open. A process may open it again.
    is_silent: bool,
    /// Whether the input has ended a line.
    is_line_over: bool,
}

/// What [`Relay::wait_for`] waits for: the input, the master, the output.
pub(crate) type Events = [PollFd; 3];

impl Relay {
    /// Starts with the master end, and makes the caller's terminal raw.
    pub(crate) fn start(master: OwnedFd) -> Result<Self, Errno> {
        pipe::set_nonblocking(master.as_fd())?;
        copy_size(master.as_fd());
        Ok(Self {
            master: Some(master),
            caller: Caller::new(),
            screen: screen(),
            keys: Buffer::new(),
            text: Buffer::new(),
            has_input: true,
            is_silent: false,
            is_line_over: true,
        })
    }

    /// Handles a signal that is for the terminal.
    pub(crate) fn notice(&mut self, signal: i32) {
        match (signal, &self.master, &mut self.caller) {
            (WINDOW, Some(master), _) => copy_size(master.as_fd()),
            (CONTINUE, _, Some(caller)) => caller.make_raw(),
            _ => {}
        }
    }

    /// The events to wait for, and at most how long, in milliseconds.
    pub(crate) fn wait_for(&self) -> (Events, Option<u64>) {
        let mut events = [-1; 3].map(poll_in);
        let in_background = self.caller.as_ref().is_some_and(|caller| !caller.is_raw);
        let Some(master) = &self.master else {
            return (events, None);
        };
        if self.has_input && self.keys.is_empty() {
            events[0] = poll_in(INPUT.as_raw_fd());
            if in_background {
                // Its end alone.
                events[0].events = 0;
            }
        }
        let wanted = match (self.text.is_empty(), self.keys.is_empty()) {
            (true, true) => POLL_IN,
            (true, false) => POLL_IN | POLL_OUT,
            (false, false) => POLL_OUT,
            (false, true) => 0,
        };
        if wanted != 0 && !self.is_silent {
            events[1] = PollFd {
                events: wanted,
                ..poll_in(master.as_raw_fd())
            };
        }
        if !self.text.is_empty() {
            events[2] = poll_out(self.output().as_raw_fd());
        }
        (events, (self.is_silent || in_background).then_some(TICK))
    }

    /// Does what has become possible.
    pub(crate) fn serve(&mut self, [input, master, output]: Events) {
        if let Some(caller) = self.caller.as_mut().filter(|caller| !caller.is_raw) {
            caller.make_raw();
        }
        self.is_silent = master.revents & POLL_HANG_UP != 0 && master.revents & POLL_IN == 0;
        if input.revents != 0 {
            self.read_keys();
        }
        if master.revents & POLL_OUT != 0 && !self.keys.is_empty() {
            self.write_keys();
        }
        if master.revents & POLL_IN != 0 && self.text.is_empty() {
            self.read_text();
        }
        if output.revents != 0 {
            self.write_text();
        }
    }

    fn read_keys(&mut self) {
        match self.keys.fill(INPUT) {
            Ok(1..) => self.is_line_over = self.keys.last() == Some(b'\n'),
            Err(Errno::EAGAIN) => {}
            Ok(0) | Err(_) => match &mut self.caller {
                None => self.end_input(),
                // A raw terminal ends only when it is closed.
                Some(_) if is_foreground() => self.master = None,
                Some(caller) => caller.make_raw(),
            },
        }
    }

    /// Reports the end of the input to a program that reads lines, as the end-of-file key does.
    fn end_input(&mut self) {
        self.has_input = false;
        let Some(modes) = self.master.as_ref().and_then(|fd| tcgetattr(fd).ok()) else {
            return;
        };
        if modes.local_flags.contains(LocalFlags::ICANON) {
            let end = modes.control_chars[SpecialCharacterIndices::VEOF as usize];
            // The first one ends a line that has begun.
            let keys = [end; 2];
            self.keys.put(match self.is_line_over {
                true => &keys[..1],
                false => &keys,
            });
        }
    }

    fn write_keys(&mut self) {
        if let Some(master) = &self.master
            && let Err(_gone) = self.keys.drain(master.as_fd())
        {
            self.keys = Buffer::new();
        }
    }

    /// Returns how much there was.
    fn read_text(&mut self) -> usize {
        let read = self.master.as_ref().map(|fd| self.text.fill(fd.as_fd()));
        match read {
            Some(Ok(count)) => count,
            // EIO: the other end is closed. The next wait reports that too.
            Some(Err(_)) | None => 0,
        }
    }

    fn write_text(&mut self) {
        let output = match &self.screen {
            Some(screen) => screen.as_fd(),
            None => OUTPUT,
        };
        if let Err(_gone) = self.text.drain(output) {
            // The output has no reader: the terminal hangs up, as if its window were closed.
            self.text = Buffer::new();
            self.master = None;
        }
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.screen.as_ref().map_or(OUTPUT, AsFd::as_fd)
    }

    /// Prints the remaining output of the program. Other processes may still write to the terminal,
    /// but it does not wait for them. A signal ends it.
    pub(crate) fn finish(mut self, signals: &SignalFd) {
        self.keys = Buffer::new();
        let mut left = LEFT;
        while self.show(signals) {
            let Some(master) = &self.master else { return };
            let mut events = [poll_in(master.as_raw_fd())];
            // The kernel has made all earlier output readable.
            if !matches!(poll(&mut events, Some(0)), Ok(1..)) {
                return;
            }
            let is_last = events[0].revents & POLL_HANG_UP != 0;
            let count = self.read_text();
            left = match is_last {
                true => left,
                false => left.saturating_sub(count),
            };
            if count == 0 || left == 0 {
                return;
            }
        }
    }

    /// Writes all bytes of the buffer. `false`: a signal asks this process to stop.
    fn show(&mut self, signals: &SignalFd) -> bool {
        while !self.text.is_empty() {
            let mut events = [
                poll_in(signals.as_fd().as_raw_fd()),
                poll_out(self.output().as_raw_fd()),
            ];
            match poll(&mut events, None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
            if events[1].revents != 0 {
                self.write_text();
            }
            if let Ok(Some(signal)) = signals.next()
                && INTERRUPTS.contains(&signal)
            {
                return false;
            }
        }
        true
    }
}

/// The caller's terminal, opened again. Only on a new description can writes be non-blocking
/// without an effect on other processes. If the terminal belongs to another user, this fails, and a
/// reader that stops blocks this process.
fn screen() -> Option<OwnedFd> {
    tcgetattr(OUTPUT).ok()?;
    let flags = OpenFlags::WRITE | OpenFlags::NONBLOCK;
    path::open(c"/proc/self/fd/1", flags).ok()
}
