//! What a system call filter costs a run: Podman's profile, and none.

use std::path::Path;

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

/// Runs with and without, alternating.
pub(crate) fn rows(subjects: &[Subject], plain: &Path, filtered: &Path, count: usize) -> Vec<Row> {
    let mut samples = vec![[const { Vec::new() }; 2]; subjects.len()];
    for round in 0..count + 5 {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            for (bundle, samples) in [plain, filtered].into_iter().zip(samples) {
                let elapsed = timed(&mut subject.run(bundle, &name()));
                if round >= 5 {
                    samples.push(elapsed);
                }
            }
        }
    }
    let column = |n: usize| samples.iter().map(|s| median(&s[n])).collect::<Vec<_>>();
    let (without, with) = (column(0), column(1));
    let ratios = with.iter().zip(&without).map(|(w, o)| w / o).collect();
    vec![
        ("run without a filter", "us", without),
        ("run with Podman's seccomp profile", "us", with),
        ("with against without", "x", ratios),
    ]
}
