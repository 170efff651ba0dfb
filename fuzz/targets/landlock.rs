//! The annotation for Landlock to what is restricted, or to sentences with its pointer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use spec::Host;
use spec::landlock::{ANNOTATION, pointer};
use std::path::Path;

fuzz_target!(|text: &str| {
    let config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "annotations": { ANNOTATION: text },
    });
    let config = config.to_string();
    match spec::parse(config.as_bytes(), Path::new("/bundle"), Host::Ignore) {
        Ok(loaded) => {
            let landlock = loaded.container.landlock.expect("a document");
            let ports = landlock.ports.iter().any(Option::is_some);
            assert!(landlock.handled_fs != 0 || landlock.scoped != 0 || ports);
            for rule in &landlock.path_beneath {
                assert!(rule.allowed != 0 && !rule.paths.is_empty());
                assert_eq!(rule.allowed & !landlock.handled_fs, 0);
                assert_eq!(rule.named & !rule.allowed, 0);
                assert!(rule.paths.iter().all(|path| path.is_absolute()));
            }
        }
        Err(report) => {
            let place = pointer("");
            let mut errors = report.errors.iter().map(|error| &error.pointer);
            assert!(errors.all(|error| error.starts_with(&place) || error.is_empty()));
        }
    }
});
