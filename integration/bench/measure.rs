//! Timing of commands and the statistics of the samples.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end with no input and no output and returns how long it took. Panics when it fails: a failed run is no sample.
pub(crate) fn timed(command: &mut Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
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
    let mut sorted: Vec<_> = samples.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len() / 2)
        .map_or(f64::NAN, |seconds| seconds * 1e6)
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
