//! Runs with limits of memory, cpu and pids and an engine's device rules, and the smallest memory
//! limit that works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};

use serde_json::{Value, json};

use crate::subject::Subject;
use crate::table::{self, Row};
use crate::{Options, compile, make_bundle, name, names, runs, runtimes, works};

/// The largest limit that is tried, in KiB.
const LARGEST: u32 = 64 << 10;

/// How often a limit has to work.
const TRIES: usize = 5;

/// What `floor --limits` writes, too; the device rule is that of Podman and containerd's template,
/// to which every runtime adds the default devices.
fn limit(config: &mut Value) {
    config["linux"]["resources"] = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": { "limit": 64 << 20 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
        "pids": { "limit": 2048 },
    });
}

/// Measures and prints.
pub(crate) fn measure(options: &Options) {
    let work = PathBuf::from(format!("/dev/shm/locule-bench-{}", id()));
    let bundle = work.join("bundle");
    make_bundle(options, &bundle, "true", &limit);
    let floor = compile(&work, "floor");
    let mut subjects = vec![Subject::floor(&floor, &["--limits"])];
    subjects.extend(runtimes(options, &work));
    subjects.retain(|subject| works(subject, &bundle));
    let what = ["run with limits", "its processor time", "its page faults"];
    let mut rows = runs(what, &subjects, &bundle, options.count);
    rows.push(smallest(&subjects, options, &work));
    table::print(&names(&subjects), &rows);
    fs::remove_dir_all(&work).expect("clean up");
}

/// The smallest memory limit with which a static `true` runs every time, to a page.
fn smallest(subjects: &[Subject], options: &Options, work: &Path) -> Row {
    let bundle = work.join("small");
    make_bundle(options, &bundle, "true", &limit);
    let search = |subject: &Subject| {
        if subject.is_floor {
            return f64::NAN;
        }
        let (mut refused, mut enough) = (0, LARGEST);
        while enough - refused > 4 {
            let middle = (refused + enough) / 8 * 4;
            if (0..TRIES).all(|_| runs_within(subject, &bundle, middle)) {
                enough = middle;
            } else {
                refused = middle;
            }
        }
        f64::from(enough)
    };
    let values = subjects.iter().map(search).collect();
    ("smallest memory limit of a static `true`", "KiB", values)
}

fn runs_within(subject: &Subject, bundle: &Path, kib: u32) -> bool {
    let file = bundle.join("config.json");
    let text = fs::read(&file).expect("config");
    let mut config: Value = serde_json::from_slice(&text).expect("JSON");
    config["linux"]["resources"]["memory"]["limit"] = json!(u64::from(kib) << 10);
    fs::write(&file, serde_json::to_vec(&config).expect("JSON")).expect("config");
    let id = name();
    let run = subject.run(bundle, &id);
    // A runtime whose init was killed may wait for its word for ever.
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=1", "5"])
        .arg(run.get_program())
        .args(run.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let done = command.status().expect("timeout").success();
    if !done {
        let mut clean_up = subject.command(&["delete", "--force", &id]);
        let _nothing_left = clean_up.output().expect("delete");
    }
    done
}
