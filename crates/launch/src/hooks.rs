//! Hooks: programs of the engine that run at six points of the lifecycle.
//!
//! One runner serves both stages: the runtime's own namespaces (prestart, createRuntime, poststart,
//! poststop) and the container's (createContainer, startContainer). It does not allocate, so init
//! may use it. A hook reads the state from its standard input, has only the descriptors 0, 1 and 2,
//! and leads a process group of its own, which is killed when the time limit is reached.
//! Runtime-spec config.md#posix-platform-hooks.

use kernel::clone::{self, Block, Exit, Side, SingleThread, Target};
use kernel::errno::{description, words};
use kernel::fs::Digits;
use kernel::pipe::{self, Pipe};
use kernel::process::{self, CStringArray, Closing};
use kernel::signal::{self, SignalFd};
use kernel::{Errno, fs};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, fchdir, setpgid};
use spec::container::{Hook, Rlimit};
use spec::state::StateText;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fmt;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How many of the last bytes that a failing hook wrote are kept.
pub const TAIL: usize = 200;

/// The status of a child that has not become the hook, and what it writes before the errno.
const NOT_EXECUTED: u8 = 127;
const NO_PROGRAM: &str = "cannot be executed: ";

/// One kind of hooks, ready to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The property's name: "createRuntime".
    name: &'static str,
    hooks: Vec<Prepared>,
}

#[derive(Debug, PartialEq, Eq)]
struct Prepared {
    path: CString,
    args: CStringArray,
    /// `None`: that of the container's process.
    env: Option<CStringArray>,
    /// Milliseconds.
    timeout: Option<u64>,
}

/// The environment of a hook that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultEnv<'a> {
    /// The runtime's PATH and nothing else: hooks in its namespaces rely on it, and the other
    /// variables are not for them (ADR 9).
    Path(Option<&'a Path>),
    /// None: a hook in the container's namespaces with the host's files gets neither environment.
    Empty,
    /// That of the container's process.
    OfProcess,
}

/// Where hooks start.
#[derive(Debug, Clone, Copy)]
pub enum Directory<'a> {
    /// By name, in the mount namespace of the hook.
    Named(&'a CStr),
    /// By a handle, for a directory that has no name there or cannot be entered by its name.
    Opened(BorrowedFd<'a>),
}

/// The surroundings of a hook when it starts.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The working directory.
    pub directory: Directory<'a>,
    /// For hooks that were lowered with [`DefaultEnv::OfProcess`].
    pub process_env: Option<&'a CStringArray>,
    /// The system call filter that each of them loads, if it does not inherit it.
    pub filter: Option<&'a seccomp::Plan>,
    /// A resource limit that each of them gets, if it does not inherit it.
    pub limit: Option<&'a Rlimit>,
}

impl<'a> Surroundings<'a> {
    /// A directory and no environment of a process.
    pub fn in_directory(directory: &'a CStr) -> Self {
        Self {
            directory: Directory::Named(directory),
            process_env: None,
            filter: None,
            limit: None,
        }
    }
}

/// A string of a hook that contains a NUL byte.
#[derive(Debug, thiserror::Error)]
#[error("/hooks/{name}/{index}: a NUL byte in the path, an argument or the environment")]
pub struct NulByte {
    name: &'static str,
    index: usize,
}

/// Why a hook counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Cause {
    Call(Errno),
    Exit(Exit),
    Timeout,
    Interrupted(i32),
}

/// A failed hook: which one, why, and the end of what it wrote.
#[derive(Debug, Clone, Copy)]
pub struct HookFailed {
    /// Its index in its list.
    pub index: usize,
    /// Why.
    pub cause: Cause,
    /// The last bytes of its standard output and error.
    pub tail: Tail,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    bytes: [u8; TAIL],
    length: usize,
}

impl Tail {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The last bytes of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut tail = Self {
            bytes: [0; TAIL],
            length: 0,
        };
        tail.push(bytes);
        tail
    }

    fn push(&mut self, more: &[u8]) {
        let more = more
            .get(more.len().saturating_sub(TAIL)..)
            .unwrap_or_default();
        let keep = self.length.min(TAIL - more.len());
        self.bytes.copy_within(self.length - keep..self.length, 0);
        if let Some(place) = self.bytes.get_mut(keep..keep + more.len()) {
            place.copy_from_slice(more);
        }
        self.length = keep + more.len();
    }
}

/// The input of hooks: the state document around its "pid", and the signals that stop them.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// The text before and after the pid.
    pub text: &'a StateText,
    /// The pid in the hook's PID namespace; 0 for a container that has ended.
    pub pid: i32,
    /// A signal here ends the running hook.
    pub interrupts: Option<&'a SignalFd>,
}

impl Plan {
    /// Makes the hooks of one list ready.
    pub fn lower(
        name: &'static str,
        hooks: &[Hook],
        default_env: DefaultEnv<'_>,
    ) -> Result<Self, NulByte> {
        let prepare = |(index, hook): (usize, &Hook)| {
            Prepared::lower(hook, default_env).ok_or(NulByte { name, index })
        };
        let hooks = hooks
            .iter()
            .enumerate()
            .map(prepare)
            .collect::<Result<_, _>>()?;
        Ok(Self { name, hooks })
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    /// Runs the hooks in order, in the directory `cwd`, and stops at the first failure.
    pub fn run(
        &self,
        thread: &SingleThread,
        state: State<'_>,
        around: Surroundings<'_>,
    ) -> Result<(), HookFailed> {
        self.hooks.iter().enumerate().try_for_each(|(index, hook)| {
            hook.run(thread, state, around)
                .map_err(|failed| HookFailed { index, ..failed })
        })
    }

    /// Runs every hook and gives each failure to `report`: poststop hooks, whose failures are
    /// warnings.
    pub fn run_all(
        &self,
        thread: &SingleThread,
        state: State<'_>,
        around: Surroundings<'_>,
        mut report: impl FnMut(HookFailed),
    ) {
        for (index, hook) in self.hooks.iter().enumerate() {
            if let Err(failed) = hook.run(thread, state, around) {
                report(HookFailed { index, ..failed });
            }
        }
    }

    /// The sentence for a failure.
    pub fn describe(&self, failed: &HookFailed) -> String {
        let hook = self.hooks.get(failed.index);
        let path = hook.map(|hook| hook.path.to_string_lossy());
        let path = path.unwrap_or_default();
        let seconds = hook.and_then(|hook| hook.timeout).unwrap_or(0) / 1000;
        let tail = String::from_utf8_lossy(failed.tail.as_bytes());
        let mut wrote = tail.trim();
        let cause = match failed.cause {
            // Engines look for the errno in lower case.
            Cause::Exit(Exit::Code(code))
                if code == i32::from(NOT_EXECUTED) && wrote.starts_with(NO_PROGRAM) =>
            {
                mem::take(&mut wrote).to_lowercase()
            }
            Cause::Call(errno) => words(errno),
            Cause::Exit(Exit::Code(code)) => format!("exit status {code}"),
            Cause::Exit(Exit::Signal(signal)) => killed_by(signal),
            Cause::Interrupted(signal) => format!("stopped, since the runtime got signal {signal}"),
            Cause::Timeout => format!("timed out past specified timeout of {seconds} s, killed"),
        };
        // runc's words first.
        let (name, index) = (self.name, failed.index);
        let mut text = format!(
            "error running {name} hook #{index}: hook {path:?} (/hooks/{name}/{index}): {cause}"
        );
        if !wrote.is_empty() {
            text.push_str(&format!("; it wrote {wrote:?}"));
        }
        text
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hooks = self.hooks.iter();
        hooks.try_for_each(|hook| writeln!(f, "{} {:?}", self.name, hook.path))
    }
}

/// The number and, if it has one, the name of a signal; and why it may have come.
fn killed_by(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGSYS) => format!(
            "killed by signal {signal} (SIGSYS): bad system call, one that a seccomp filter forbids"
        ),
        Ok(name) => format!("killed by signal {signal} ({name})"),
        Err(_) => format!("killed by signal {signal}"),
    }
}

impl Prepared {
    fn lower(hook: &Hook, default_env: DefaultEnv<'_>) -> Option<Self> {
        let path = CString::new(hook.path.as_os_str().as_encoded_bytes()).ok()?;
        let strings = |list: &[String]| -> Option<Vec<CString>> {
            list.iter()
                .map(|text| CString::new(text.as_str()).ok())
                .collect()
        };
        let env = match (&hook.env, default_env) {
            (Some(env), _) => Some(strings(env)?),
            (None, DefaultEnv::Empty) => Some(Vec::new()),
            (None, DefaultEnv::Path(path)) => Some(path.and_then(path_entry).into_iter().collect()),
            (None, DefaultEnv::OfProcess) => None,
        };
        Some(Self {
            path,
            args: CStringArray::new(strings(&hook.args)?),
            env: env.map(CStringArray::new),
            timeout: hook.timeout.map(|seconds| u64::from(seconds) * 1000),
        })
    }

    fn run(
        &self,
        thread: &SingleThread,
        state: State<'_>,
        around: Surroundings<'_>,
    ) -> Result<(), HookFailed> {
        let mut tail = Tail::of(&[]);
        let cause = match self.watch(thread, state, around, &mut tail) {
            Ok(Exit::Code(0)) => return Ok(()),
            Ok(exit) => Cause::Exit(exit),
            Err(cause) => cause,
        };
        Err(HookFailed {
            index: 0,
            cause,
            tail,
        })
    }

    fn watch(
        &self,
        thread: &SingleThread,
        state: State<'_>,
        around: Surroundings<'_>,
        tail: &mut Tail,
    ) -> Result<Exit, Cause> {
        let input = pipe::pipe().map_err(Cause::Call)?;
        let output = pipe::pipe().map_err(Cause::Call)?;
        let child = match clone::fork(thread).map_err(Cause::Call)? {
            Side::Child(_) => self.exec(&input, &output, around),
            Side::Parent(child) => child,
        };
        drop((input.read, output.write));
        let pid = Digits::of(usize::try_from(state.pid).unwrap_or(0));
        let mut feed = Feed {
            input: Some(input.write),
            parts: [
                state.text.prefix.as_bytes(),
                pid.as_c_str().to_bytes(),
                state.text.suffix.as_bytes(),
            ],
            interrupts: state.interrupts,
        };
        let waited = feed.until_end(child.pidfd.as_fd(), output.read.as_fd(), self.timeout, tail);
        if waited.is_err() {
            // The process group still exists: its leader has ended, but was not waited for yet.
            let _gone = killpg(Pid::from_raw(child.pid), Signal::SIGKILL);
            let _gone = clone::pidfd_send_signal(child.pidfd.as_fd(), process::SIGKILL);
        }
        let ended =
            clone::wait(Target::Pidfd(child.pidfd.as_fd()), Block::Yes).map_err(Cause::Call);
        drain(output.read.as_fd(), tail);
        waited?;
        match ended? {
            Some((_, exit)) => Ok(exit),
            None => Err(Cause::Call(Errno::ECHILD)),
        }
    }

    /// The hook's side: becomes the program.
    fn exec(&self, input: &Pipe, output: &Pipe, around: Surroundings<'_>) -> ! {
        let errno = match self.become_program(input, output, around) {
            Ok(never) => match never {},
            Err(errno) => errno,
        };
        let text = description(errno).as_bytes();
        let _best_effort = fs::write(output.write.as_fd(), NO_PROGRAM.as_bytes());
        let _best_effort = fs::write(output.write.as_fd(), text);
        process::exit_now(NOT_EXECUTED)
    }

    fn become_program(
        &self,
        input: &Pipe,
        output: &Pipe,
        around: Surroundings<'_>,
    ) -> Result<Infallible, Errno> {
        let env = self.env.as_ref().or(around.process_env);
        let env = env.ok_or(Errno::EINVAL)?;
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        process::place_at(input.read.as_fd(), 0)?;
        process::place_at(output.write.as_fd(), 1)?;
        process::place_at(output.write.as_fd(), 2)?;
        match around.directory {
            Directory::Named(path) => fs::chdir(path)?,
            Directory::Opened(handle) => fchdir(handle)?,
        }
        signal::reset_signals()?;
        hide_descriptors()?;
        if let Some(limit) = around.limit {
            process::prlimit(0, limit.resource, limit.soft, limit.hard)?;
        }
        if let Some(filter) = around.filter {
            filter.apply().map_err(|failed| failed.errno)?;
        }
        Err(process::execve(&self.path, &self.args, env))
    }
}

fn path_entry(path: &Path) -> Option<CString> {
    CString::new([b"PATH=", path.as_os_str().as_encoded_bytes()].concat()).ok()
}

/// Marks every descriptor except 0, 1 and 2 close-on-exec. If the container's filter does not know
/// close_range(2), it does so one by one: this process is then a child of init, which has already
/// closed all descriptors that it does not need.
fn hide_descriptors() -> Result<(), Errno> {
    match process::close_range(3, u32::MAX, Closing::OnExec) {
        Err(Errno::EPERM | Errno::ENOSYS) => {
            for number in 3..OPEN_MAX {
                process::mark_close_on_exec(number);
            }
            Ok(())
        }
        answer => answer,
    }
}

/// The numbers that the slow way looks at: more than the usual limit on open files.
const OPEN_MAX: i32 = 4096;

/// The state that is written to a hook.
struct Feed<'a> {
    /// `None` once everything is written or the reader has closed the pipe.
    input: Option<OwnedFd>,
    parts: [&'a [u8]; 3],
    interrupts: Option<&'a SignalFd>,
}

impl Feed<'_> {
    /// Writes the state and reads the output until the hook has ended.
    fn until_end(
        &mut self,
        pidfd: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
        timeout: Option<u64>,
        tail: &mut Tail,
    ) -> Result<(), Cause> {
        pipe::set_nonblocking(output).map_err(Cause::Call)?;
        if let Some(input) = &self.input {
            pipe::set_nonblocking(input.as_fd()).map_err(Cause::Call)?;
        }
        let end = timeout.map(|timeout| process::monotonic_ms() + timeout);
        let mut output_number = output.as_raw_fd();
        loop {
            self.write();
            let left = end.map(|end| end.saturating_sub(process::monotonic_ms()));
            if left == Some(0) {
                return Err(Cause::Timeout);
            }
            let input = self.input.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let interrupts = self
                .interrupts
                .map_or(-1, |signals| signals.as_fd().as_raw_fd());
            let mut fds = [
                process::poll_in(pidfd.as_raw_fd()),
                process::poll_in(output_number),
                process::poll_out(input),
                process::poll_in(interrupts),
            ];
            match process::poll(&mut fds, left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Cause::Call(errno)),
            }
            if let Some(Ok(Some(signal))) = self.interrupts.map(SignalFd::next) {
                return Err(Cause::Interrupted(signal));
            }
            let [ended, wrote, ..] = fds;
            if wrote.revents != 0 {
                drain(output, tail);
            }
            if ended.revents != 0 {
                return Ok(());
            }
            if wrote.revents != 0 && wrote.revents & process::POLL_IN == 0 {
                // The hook has closed it and still runs: poll(2) skips negative numbers.
                output_number = -1;
            }
        }
    }

    fn write(&mut self) {
        while let Some(input) = &self.input {
            let Some(part) = self.parts.iter_mut().find(|part| !part.is_empty()) else {
                self.input = None;
                return;
            };
            match fs::write(input.as_fd(), part) {
                Ok(count) => *part = part.get(count..).unwrap_or_default(),
                Err(Errno::EAGAIN) => return,
                // EPIPE: a hook is not required to read its state.
                Err(_) => self.input = None,
            }
        }
    }
}

fn drain(output: BorrowedFd<'_>, tail: &mut Tail) {
    let mut buffer = [0; 512];
    while let Ok(count @ 1..) = fs::read(output, &mut buffer) {
        tail.push(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end_of_everything_pushed() {
        let mut tail = Tail::of(b"first ");
        tail.push(b"second");
        assert_eq!(tail.as_bytes(), b"first second");
        tail.push(&[b'x'; TAIL - 3]);
        assert!(tail.as_bytes().starts_with(b"ondx"));
        assert_eq!(tail.as_bytes().len(), TAIL);
        tail.push(&[b'y'; TAIL * 2]);
        assert_eq!(tail.as_bytes(), [b'y'; TAIL]);
    }

    #[test]
    fn a_failure_names_the_hook_its_cause_and_what_it_wrote() {
        let hook = Hook {
            path: "/bin/hook".into(),
            args: vec!["hook".to_owned()],
            env: None,
            timeout: Some(2),
        };
        let plan = Plan::lower("createRuntime", &[hook], DefaultEnv::Empty).unwrap();
        let failed = HookFailed {
            index: 0,
            cause: Cause::Timeout,
            tail: Tail::of(b"waiting\n"),
        };
        assert_eq!(
            plan.describe(&failed),
            "error running createRuntime hook #0: hook \"/bin/hook\" (/hooks/createRuntime/0): timed out past specified timeout of 2 s, \
             killed; it wrote \"waiting\""
        );
    }
}
