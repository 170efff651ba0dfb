//! A container that traces what comes into its namespaces.

use crate::{Bundle, Sandbox};
use std::time::{Duration, Instant};
use std::{env, fs};

/// The tracer's source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tracer.c");

/// A container with CAP_SYS_PTRACE that traces whatever comes into its PID namespace, until its
/// file /end exists. `LOCULE_TRACER` names a tracer for machines that have no compiler.
pub fn tracer(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle
        .capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_PTRACE"])
        .args(&["/tracer", "/end"]);
    let program = bundle.file("/tracer", "", 0o755);
    if let Some(built) = env::var_os("LOCULE_TRACER") {
        fs::copy(built, program).expect("tracer");
    } else {
        let program = program.to_str().expect("UTF-8");
        s.tool("cc", &["-O1", "-static", "-o", program, SOURCE]);
    }
    bundle
}

/// Counts to `times`, for a minute at most: beside a tracer that never rests, a process takes long
/// to start in an emulated machine.
pub fn times(times: usize) -> impl Iterator<Item = usize> {
    let end = Instant::now() + Duration::from_secs(60);
    (0..times).take_while(move |_| Instant::now() < end)
}
