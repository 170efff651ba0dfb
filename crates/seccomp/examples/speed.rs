//! Prints the median time of compiling Podman's profile for three architectures, in microseconds.

#![allow(unreachable_pub, reason = "the readers are shared with tests")]

use std::time::Instant;

#[path = "../tests/common/mod.rs"]
mod common;

fn main() {
    let profile = common::read(common::PODMAN);
    let mut times: Vec<_> = (0..1000)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(seccomp::compile(std::hint::black_box(&profile)).ok());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let filter = seccomp::compile(&profile);
    let length = filter.map_or(0, |filter| filter.program.len());
    println!(
        "{} us, {length} instructions",
        times[times.len() / 2].as_nanos() as f64 / 1000.0
    );
    println!(
        "first: {} us",
        times[times.len() - 1].as_nanos() as f64 / 1000.0
    );
}
