//! config.json to a container, or to sentences that can be printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::Host;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    match spec::parse(bytes, Path::new("/bundle"), Host::Ignore) {
        Ok(loaded) => assert_eq!(loaded.bytes, bytes),
        Err(report) => assert!(!report.errors.is_empty() && !report.to_string().is_empty()),
    }
    let _process = spec::load::parse_process(bytes, None);
    let _resources = spec::load::parse_resources(bytes);
});
