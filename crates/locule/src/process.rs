//! Whether a process is still the one of a record.
//!
//! Decides what identifies a process: its pid, its start time and the boot. Signals go only through
//! a pidfd. It is opened first and then compared with the record, so a signal never reaches another
//! process that has got the same pid.

use crate::signal;
use crate::state::Record;
use kernel::Errno;
use kernel::clone::{pidfd_open, pidfd_send_signal};
use kernel::fs::read_proc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A living process that is the recorded one.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The process of `record`; `None` if it has ended (a zombie counts as ended), or if another
    /// process has its pid now.
    ///
    /// # Errors
    /// The answer is unknown: descriptors or memory are short, or /proc does not tell the start
    /// time of a process that lives.
    pub(crate) fn of(record: &Record) -> Result<Option<Self>, Errno> {
        let (Some(pid), Some(start_time)) = (record.pid, record.start_time) else {
            return Ok(None);
        };
        if pid <= 0 || record.is_of_another_boot() {
            return Ok(None);
        }
        let pidfd = match pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            // EINVAL: a thread has this number now.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let process = Self { pid, pidfd };
        // In this order: while the process of the descriptor lives, the number belongs to it.
        let found = self::start_time(pid);
        if process.has_ended(Duration::ZERO) {
            return Ok(None);
        }
        // It lives: without a start time it is unknown which process it is.
        let found = found?.ok_or(Errno::ENOENT)?;
        Ok((found == start_time).then_some(process))
    }

    /// The pid in the runtime's PID namespace. It belongs to this process while it lives.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal. ESRCH: the process has ended.
    pub(crate) fn signal(&self, number: i32) -> Result<(), Errno> {
        pidfd_send_signal(self.pidfd.as_fd(), number)
    }

    /// The pidfd: readable when all its threads have ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits at most `patience` for the end of all its threads. Returns whether they have ended. A
    /// zombie counts as ended.
    pub(crate) fn has_ended(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(count) => return count > 0,
                Err(Errno::EINTR) if !left.is_zero() => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether it has ended, or is about to end: SIGKILL is on its way, or it exits, for which the
    /// first process of a PID namespace waits for the end of all others.
    pub(crate) fn is_ending(&self) -> bool {
        /// PF_EXITING of linux/sched.h.
        const EXITING: u64 = 4;
        /// The bit of SIGKILL among the pending signals.
        const KILLED: u64 = 1 << (signal::KILL - 1);
        let stat = read_proc(&format!("{}/stat", self.pid)).unwrap_or_default();
        let has = |number, bit| field_of(&stat, number).is_some_and(|bits| bits & bit != 0);
        has(9, EXITING) || has(31, KILLED) || self.has_ended(Duration::ZERO)
    }
}

/// When `pid` was started: field 22 of /proc/PID/stat, clock ticks since boot. See
/// proc_pid_stat(5). `None`: /proc does not have the process.
///
/// # Errors
/// The file cannot be read; EBADMSG: it does not have the field.
pub(crate) fn start_time(pid: i32) -> Result<Option<u64>, Errno> {
    match read_proc(&format!("{pid}/stat")) {
        Ok(stat) => field_of(&stat, 22).map(Some).ok_or(Errno::EBADMSG),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether a signal such as SIGSTOP has stopped the process.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stat = read_proc(&format!("{pid}/stat")).unwrap_or_default();
    word_of(&stat, 3) == Some("T")
}

/// A number of /proc/PID/stat, from its fourth field on.
fn field_of(stat: &[u8], number: usize) -> Option<u64> {
    word_of(stat, number)?.parse().ok()
}

/// A word of /proc/PID/stat, from its third field on. Field 2 is the program's name in
/// parentheses and can contain any byte. Only this field can contain a parenthesis, so fields are
/// counted from the last one.
fn word_of(stat: &[u8], number: usize) -> Option<&str> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    let index = number.checked_sub(3)?;
    rest.split_ascii_whitespace().nth(index)
}

/// The id of this boot; `None` if /proc does not have it.
pub(crate) fn boot_id() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let text = String::from_utf8(read_proc("sys/kernel/random/boot_id").ok()?).ok()?;
        Some(text.trim_end().to_owned())
    });
    boot.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::process::{Command, Stdio};

    #[test]
    fn the_start_time_is_found_behind_a_hostile_name() {
        let stat =
            b"7 (a) S 1 (\xff) 1) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 815 20 21\n";
        assert_eq!(field_of(stat, 22), Some(815));
        assert_eq!(word_of(stat, 3), Some("R"));
        assert_eq!(field_of(b"7 (a) R 1 2", 22), None);
        assert_eq!(field_of(b"", 22), None);
    }

    #[test]
    fn a_process_is_known_by_pid_start_time_and_boot() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let record = testing::record_of(i32::try_from(child.id()).unwrap());
        let process = Process::of(&record).unwrap().unwrap();
        assert!(!process.has_ended(Duration::ZERO));
        assert_eq!(process.signal(0), Ok(()));

        let mut other = record.clone();
        other.start_time = record.start_time.map(|time| time + 1);
        assert!(Process::of(&other).unwrap().is_none());
        other.clone_from(&record);
        other.boot_id.push('x');
        assert!(Process::of(&other).unwrap().is_none());

        // A zombie counts as ended, even before a process has waited for it.
        process.signal(crate::signal::KILL).unwrap();
        assert!(process.has_ended(Duration::from_secs(10)));
        assert!(Process::of(&record).unwrap().is_none());
        child.wait().unwrap();
        assert_eq!(process.signal(0), Err(Errno::ESRCH));
        assert!(Process::of(&record).unwrap().is_none());
    }
}
