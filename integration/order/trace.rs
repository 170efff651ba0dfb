//! Which functions are called, in the order of their first calls: with ptrace(2) and breakpoints.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The instruction int3.
const BREAKPOINT: u8 = 0xcc;

/// The key of the program headers' address in the auxiliary values of a process.
const AT_PHDR: u64 = 3;

/// The program headers follow the header of the file.
const HEADER: u64 = 64;

/// Runs the script and returns the addresses of the called functions.
#[expect(clippy::zombie_processes, reason = "it waits for every process itself")]
pub(crate) fn first_calls(
    program: &Path,
    script: &Path,
    functions: impl Iterator<Item = u64>,
) -> Vec<u64> {
    let mut tracer = Tracer::new(program, functions.collect());
    // The shell waits for the line until it is traced.
    let mut shell = Command::new("sh");
    shell.args(["-c", "read -r go; exec \"$0\" < /dev/null"]);
    shell.arg(script).env("LOCULE", program);
    let mut child = shell.stdin(Stdio::piped()).spawn().expect("sh");
    let first = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(first, options).expect("ptrace");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"\n").expect("write");
    drop(input);
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == first => {
                assert_eq!(status, 0, "{script:?}");
            }
            Ok(status) => tracer.go_on(status),
            Err(Errno::ECHILD) => return tracer.arranged(),
            Err(errno) => panic!("waitpid: {errno}"),
        }
    }
}

struct Tracer {
    /// Device and inode of the program.
    program: (u64, u64),
    functions: HashSet<u64>,
    /// The address of the first function, and the text from there.
    start: u64,
    text: Vec<u8>,
    met: HashSet<u64>,
    order: Vec<u64>,
    /// The processes that have not executed a file: init, and what becomes it.
    forked: HashSet<Pid>,
    /// The functions that they call, in order.
    init: Vec<u64>,
    /// How many functions were met before the first of these.
    before: usize,
}

impl Tracer {
    fn new(program: &Path, functions: HashSet<u64>) -> Self {
        let found = fs::metadata(program).expect("the program");
        let (start, end) = (functions.iter().min(), functions.iter().max());
        let (start, end) = (*start.expect("functions"), *end.expect("functions"));
        let length = usize::try_from(end - start + 1).expect("a length");
        Self {
            program: (found.dev(), found.ino()),
            functions,
            start,
            text: vec![0; length],
            met: HashSet::new(),
            order: Vec::new(),
            forked: HashSet::new(),
            init: Vec::new(),
            before: 0,
        }
    }

    /// The functions in the order of their first calls, except those of init. A new process has no
    /// page of the text, so it has a fault for each piece that it touches. So what init calls lies
    /// side by side: together with what the short commands call too at the front, the rest behind
    /// the short commands.
    fn arranged(&self) -> Vec<u64> {
        let of_init: HashSet<u64> = self.init.iter().copied().collect();
        let (early, late) = self.order.split_at(self.before);
        let is_early: HashSet<u64> = early.iter().copied().collect();
        let shared = early.iter().filter(|f| of_init.contains(f));
        let short = early.iter().filter(|f| !of_init.contains(f));
        let init = self.init.iter().filter(|f| !is_early.contains(f));
        let rest = late.iter().filter(|f| !of_init.contains(f));
        shared
            .chain(short)
            .chain(init)
            .chain(rest)
            .copied()
            .collect()
    }

    fn go_on(&mut self, status: WaitStatus) {
        let (pid, signal) = match status {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
                    self.forked.remove(&pid);
                    self.set_breakpoints(pid, true);
                } else if event == ptrace::Event::PTRACE_EVENT_STOP as i32 {
                    self.forked.insert(pid);
                    self.set_breakpoints(pid, false);
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, Signal::SIGTRAP) if self.meet(pid) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => return,
        };
        match ptrace::cont(pid, signal) {
            // Another process has killed it.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("ptrace: {errno}"),
        }
    }

    /// In a process that has executed a file, if that is the program, and in one that was forked by
    /// it, where some are gone. The text of the first is the original.
    fn set_breakpoints(&mut self, pid: Pid, is_original: bool) {
        let Ok(found) = fs::metadata(format!("/proc/{pid}/exe")) else {
            return;
        };
        if (found.dev(), found.ino()) != self.program {
            return;
        }
        let at = base(pid) + self.start;
        let memory = memory(pid);
        if is_original {
            memory.read_exact_at(&mut self.text, at).expect("the text");
        }
        let mut text = self.text.clone();
        for function in &self.functions {
            text[self.offset(*function)] = BREAKPOINT;
        }
        memory.write_all_at(&text, at).expect("breakpoints");
    }

    /// Whether the process has met a breakpoint. It is removed.
    fn meet(&mut self, pid: Pid) -> bool {
        let Ok(mut registers) = ptrace::getregs(pid) else {
            return false;
        };
        let at = registers.rip.wrapping_sub(1);
        let function = at.wrapping_sub(base(pid));
        if !self.functions.contains(&function) {
            return false;
        }
        if self.forked.contains(&pid) && !self.init.contains(&function) {
            if self.init.is_empty() {
                self.before = self.order.len();
            }
            self.init.push(function);
        }
        if self.met.insert(function) {
            self.order.push(function);
        }
        let byte = self.text[self.offset(function)];
        memory(pid).write_all_at(&[byte], at).expect("the text");
        registers.rip = at;
        ptrace::setregs(pid, registers).expect("ptrace");
        true
    }

    fn offset(&self, function: u64) -> usize {
        usize::try_from(function - self.start).expect("an offset")
    }
}

fn memory(pid: Pid) -> File {
    let path = format!("/proc/{pid}/mem");
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("the memory")
}

/// Where the program lies in the memory of a process.
fn base(pid: Pid) -> u64 {
    let values = fs::read(format!("/proc/{pid}/auxv")).expect("auxiliary values");
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let mut pairs = values.chunks_exact(16).map(|pair| pair.split_at(8));
    let headers = pairs.find(|(key, _)| number(key) == AT_PHDR);
    number(headers.expect("AT_PHDR").1) - HEADER
}
