//! Timing of commands and the statistics of the samples.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::table::Row;

/// Runs a command to its end with no input and no output and returns how long it took. Panics when
/// it fails: a failed run is no sample.
pub(crate) fn timed(command: &mut Command) -> Duration {
    to_the_end(command.stdin(Stdio::null()).stdout(Stdio::null()))
}

/// The same with a terminal as input and output.
pub(crate) fn timed_on_terminal(command: &mut Command) -> Duration {
    let pair = openpty(None, None).expect("openpty");
    let again = pair.slave.try_clone().expect("dup");
    to_the_end(command.stdin(pair.slave).stdout(again))
}

fn to_the_end(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed
}

/// The middle of the samples, in microseconds.
pub(crate) fn median(samples: &[Duration]) -> f64 {
    let seconds = samples.iter().map(Duration::as_secs_f64);
    middle(seconds) * 1e6
}

fn middle(samples: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = samples.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What some work costs, in samples: wall time, and the processor time and page faults of all
/// processes that were waited for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Costs {
    wall: Vec<Duration>,
    processor: Vec<Duration>,
    faults: Vec<f64>,
}

impl Costs {
    /// Does the work once. Nothing else may run meanwhile. Only what it waits for is counted.
    pub(crate) fn sample(&mut self, work: impl FnOnce()) {
        let (before, start) = (usage(), Instant::now());
        work();
        self.wall.push(start.elapsed());
        let after = usage();
        self.processor
            .push(processor_time(&after) - processor_time(&before));
        self.faults.push(faults(&after) - faults(&before));
    }

    /// The lines of the table, as medians: wall time, processor time and faults under these names.
    pub(crate) fn rows(all: &[Self], names: [&'static str; 3]) -> Vec<Row> {
        let [wall, processor, faults] = names;
        let column = |of: &dyn Fn(&Self) -> f64| all.iter().map(of).collect();
        vec![
            (wall, "us", column(&|costs| median(&costs.wall))),
            (processor, "us", column(&|costs| median(&costs.processor))),
            (
                faults,
                "",
                column(&|costs| middle(costs.faults.iter().copied())),
            ),
        ]
    }
}

/// Of the children of this process, and theirs: those that were waited for.
fn usage() -> Usage {
    getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage")
}

fn processor_time(usage: &Usage) -> Duration {
    let time = |value: TimeVal| {
        let seconds = u64::try_from(value.tv_sec()).expect("seconds");
        let rest = u64::try_from(value.tv_usec()).expect("microseconds");
        Duration::from_secs(seconds) + Duration::from_micros(rest)
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Those that read a file, too.
fn faults(usage: &Usage) -> f64 {
    let count = usage.minor_page_faults() + usage.major_page_faults();
    f64::from(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The largest resident set of any process of a command, in KiB, as `peak` measures it.
pub(crate) fn peak(peak: &Path, command: &Command) -> u64 {
    let mut outer = Command::new(peak);
    outer
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    let output = outer.output().unwrap_or_else(|e| panic!("{outer:?}: {e}"));
    assert!(
        output.status.success(),
        "{outer:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{outer:?} printed {text:?}"))
}
