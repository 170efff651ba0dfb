//! Processes of the runtime in namespaces that others are in: ptrace(2), "Ptrace access mode
//! checking".

use std::fs;

use integration::tracer::{self, tracer};
use integration::{Bundle, Sandbox, sandbox};

/// How many containers come into the tracer's namespaces.
const JOINS: usize = 200;

/// What joins the PID and user namespaces of a process, and ends.
fn joining(s: &Sandbox, pid: i64) -> Bundle {
    let mut bundle = s.bundle();
    bundle
        .join("pid", format!("/proc/{pid}/ns/pid"))
        .args(&["true"]);
    bundle.inherit("user");
    bundle.join("user", format!("/proc/{pid}/ns/user"));
    if s.environment.is_user() {
        bundle
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings");
    }
    bundle
}

fn catches_nothing(s: &Sandbox, bundle: &Bundle) {
    let end = bundle.root().join("end");
    let container = s.started(bundle);
    let bundle = joining(s, container.pid());
    bundle.write();
    for _ in tracer::times(JOINS) {
        s.run(&bundle).ok();
    }
    fs::write(end, "").expect("the end");
    container.wait_for("stopped");
    assert_eq!(container.output(), "hits 0\n");
    container.delete().ok();
}

/// Issue 9, A1: no process of the runtime that is in the namespaces of another container can be
/// traced there, whichever runtime made that container.
#[test]
fn a_tracer_in_joined_namespaces_catches_nothing_of_a_user() {
    sandbox::user(|s| {
        catches_nothing(s, &tracer(s));
    });
}

/// The same with root's runtime.
#[test]
fn a_tracer_in_joined_namespaces_catches_nothing_of_root() {
    sandbox::host(|s| {
        let mut bundle = tracer(s);
        // No id changes on the way in, which alone would hide init from the tracer.
        bundle.user_namespace(&[(0, 0, 65536)]);
        catches_nothing(s, &bundle);
    });
}
