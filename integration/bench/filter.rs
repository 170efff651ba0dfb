//! What a property costs a run, such as a system call filter: runs with it and without.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::measure::{median, timed};
use crate::name;
use crate::subject::Subject;
use crate::table::Row;

/// Podman's default profile as it arrives in config.json.
const PROFILE: &str = include_str!("../../crates/seccomp/tests/profiles/podman.json");

/// Adds the profile.
pub(crate) fn with_profile(config: &mut Value) {
    config["linux"]["seccomp"] = serde_json::from_str(PROFILE).expect("JSON");
}

/// Runs with and without.
pub(crate) fn rows(subjects: &[Subject], bundles: [&Path; 2], count: usize) -> Vec<Row> {
    let names = [
        "run without a filter",
        "run with Podman's seccomp profile",
        "with against without",
    ];
    compared(names, subjects, bundles, count, timed)
}

/// Runs of two bundles, alternating, and the ratio of the second one to the first.
pub(crate) fn compared(
    names: [&'static str; 3],
    subjects: &[Subject],
    bundles: [&Path; 2],
    count: usize,
    time: impl Fn(&mut Command) -> Duration,
) -> Vec<Row> {
    let mut samples = vec![[const { Vec::new() }; 2]; subjects.len()];
    for round in 0..count + 5 {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            for (bundle, samples) in bundles.into_iter().zip(samples) {
                let elapsed = time(&mut subject.run(bundle, &name()));
                if round >= 5 {
                    samples.push(elapsed);
                }
            }
        }
    }
    let column = |n: usize| samples.iter().map(|s| median(&s[n])).collect::<Vec<_>>();
    let (without, with) = (column(0), column(1));
    let ratios = with.iter().zip(&without).map(|(w, o)| w / o).collect();
    let [first, second, ratio] = names;
    vec![
        (first, "us", without),
        (second, "us", with),
        (ratio, "x", ratios),
    ]
}
