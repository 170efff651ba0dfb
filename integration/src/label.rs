//! Profiles and labels on a host that does not have their security module.

use std::path::Path;

use serde_json::json;

use crate::bundle::{self, Bundle};
use crate::sandbox::Sandbox;

/// Checks that `create` with a label at `pointer` fails with `words` before anything is made.
pub fn refused(s: &Sandbox, pointer: &str, words: &str) {
    let trace = s.dir.join("trace");
    let mut bundle = s.bundle();
    bundle.set(pointer, json!("some:label_t:s0"));
    trace_hook(&mut bundle, &trace);
    let outcome = s.try_create(&bundle, &s.id(), &[]);
    if s.subject.is_locule() {
        outcome.fails_with(&[pointer, words, "remove the property"]);
    } else {
        outcome.fails();
    }
    assert!(!trace.exists(), "a hook has run");
}

/// Checks that `exec` with `option` fails with `words` and runs nothing.
pub fn refused_for_a_further_process(s: &Sandbox, option: &str, words: &str) {
    let container = s.started(&s.bundle_that_waits());
    let outcome = container.exec(&[option, "some:label_t:s0"], &["echo", "ran"]);
    assert!(!outcome.stdout.contains("ran"), "{option}");
    if s.subject.is_locule() {
        outcome.exits(255).fails_with(&[words]);
    }
    container.remove();
}

/// Gives `bundle` a createRuntime hook that leaves the file `trace`.
pub fn trace_hook(bundle: &mut Bundle, trace: &Path) {
    let args = json!(["touch", trace]);
    let hook = json!([{ "path": bundle::busybox(), "args": args }]);
    bundle.set("/hooks/createRuntime", hook);
}
