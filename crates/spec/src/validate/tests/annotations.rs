use super::{accepted, refuses, warns};
use std::path::Path;

const NOTIFIES: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;

#[test]
fn a_filter_without_a_listener_has_the_receiver() {
    let receiver = r#"{"run.oci.seccomp.receiver": "/run/listener"}"#;
    let found = accepted(&[("/annotations", receiver), ("/linux/seccomp", NOTIFIES)]);
    let seccomp = found.seccomp.unwrap();
    let path = seccomp.listener_path.as_deref();
    assert_eq!(path, Some(Path::new("/run/listener")));
    assert_eq!(seccomp.listener_metadata.as_deref(), Some("m"));
    // The configuration's own comes first.
    let named = NOTIFIES.replacen('{', r#"{"listenerPath": "/run/own", "#, 1);
    let found = accepted(&[("/annotations", receiver), ("/linux/seccomp", &named)]);
    let path = found.seccomp.unwrap().listener_path;
    assert_eq!(path.as_deref(), Some(Path::new("/run/own")));
}

#[test]
fn annotations_that_would_change_what_runs_are_refused() {
    refuses(
        r#"
        /annotations = {"run.oci.handler": "wasm"}
            -> unsupported /annotations/run.oci.handler : no handlers
        /annotations = {"run.oci.seccomp.plugins": "x.so"}
            -> unsupported /annotations/run.oci.seccomp.plugins : listenerPath
        /annotations = {"run.oci.seccomp_bpf_data": "AAAA"}
            -> unsupported /annotations/run.oci.seccomp_bpf_data : linux.seccomp
        /annotations = {"run.oci.seccomp.receiver": "relative"}
            -> path /annotations/run.oci.seccomp.receiver : absolute
        /annotations = {"run.oci.pidfd_receiver": ""}
            -> range /annotations/run.oci.pidfd_receiver : empty
        "#,
    );
}

#[test]
fn annotations_without_effect_are_warnings() {
    warns(
        r#"
        /annotations = {"run.oci.hooks.stdout": "/tmp/x"}
            -> unsupported /annotations/run.oci.hooks.stdout : no effect
        /annotations = {"run.oci.delegate-cgroup": "x"}
            -> unsupported /annotations/run.oci.delegate-cgroup : no effect
        /annotations = {"run.oci.seccomp.reciever": "/x"}
            -> unknown-value /annotations/run.oci.seccomp.reciever : did you mean `run.oci.seccomp.receiver`?
        "#,
    );
    accepted(&[(
        "/annotations",
        r#"{"io.container.manager": "x", "run.oci.keep_original_groups": "1"}"#,
    )]);
}
