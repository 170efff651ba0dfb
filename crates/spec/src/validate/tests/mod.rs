//! Every rule of the configuration, one row each: a change to a valid document, and the only error
//! (or warning) that it causes.

mod annotations;
mod attributes;
mod intel_rdt;
mod linux;
mod mounts;
mod net_devices;
mod process;
mod resources;
mod seccomp;

use std::borrow::Cow;
use std::path::Path;

use crate::VERSION;
use crate::container::{Capabilities, Container, Namespace, NamespaceKind};
use crate::diagnostic::{Diagnostic, Report};
use crate::node::{self, Node};
use crate::reader::{Notes, Value};
use crate::validate::{MINOR, container};

/// Checks a document without the table of unsupported properties.
pub(super) fn judge(json: &str) -> (Option<Container>, Report) {
    let document = node::parse(json.as_bytes()).unwrap();
    let notes = Notes::default();
    let found = container(&Value::root(&document, &notes), Path::new("/bundle"));
    (found, notes.into_report())
}

/// A valid document, in which `sections` replaces the values at its pointers. A pointer may name
/// keys that do not exist yet; the text `-` removes.
pub(super) fn document(sections: &[(&str, &str)]) -> String {
    let base = r#"{
        "ociVersion": "1.2.1",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"},
                                 {"type": "ipc"}, {"type": "network"}]}
    }"#;
    let mut tree: serde_json::Value = serde_json::from_str(base).unwrap();
    for (pointer, text) in sections {
        let mut steps: Vec<&str> = pointer.split('/').skip(1).collect();
        let last = steps.pop().unwrap().replace("~1", "/");
        let mut place = &mut tree;
        for step in steps {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        if *text == "-" {
            place.as_object_mut().unwrap().remove(&last);
        } else {
            place[last.as_str()] = serde_json::from_str(text).unwrap();
        }
    }
    tree.to_string()
}

pub(super) fn accepted(sections: &[(&str, &str)]) -> Container {
    let (found, report) = judge(&document(sections));
    assert_eq!(report, Report::default(), "{sections:?}");
    found.unwrap()
}

/// One row of a table: `POINTER = JSON && ..` makes the document wrong, and below it `-> CODE
/// POINTER : WORDS` is the expected problem (the pointer `.` is the whole document).
struct Row<'t> {
    sections: Vec<(&'t str, &'t str)>,
    code: &'t str,
    pointer: &'t str,
    words: &'t str,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut out = Vec::new();
    while let (Some(left), Some(right)) = (lines.next(), lines.next()) {
        let sections = left
            .split(" && ")
            .map(|part| part.split_once(" = ").unwrap())
            .collect();
        let (place, words) = right
            .strip_prefix("-> ")
            .unwrap()
            .split_once(" : ")
            .unwrap();
        let (code, pointer) = place.split_once(' ').unwrap();
        out.push(Row {
            sections,
            code,
            pointer: pointer.trim_start_matches('.'),
            words,
        });
    }
    assert!(!out.is_empty());
    out
}

impl Row<'_> {
    fn fits(&self, found: &[Diagnostic]) -> bool {
        matches!(found, [only] if only.code.as_str() == self.code
            && only.pointer == self.pointer
            && only.to_string().contains(self.words))
    }
}

pub(super) fn refuses(table: &str) {
    for row in rows(table) {
        let (_, report) = judge(&document(&row.sections));
        assert!(
            row.fits(&report.errors),
            "{:?} {}: {report}",
            row.sections,
            row.words
        );
    }
}

pub(super) fn warns(table: &str) {
    for row in rows(table) {
        let (found, report) = judge(&document(&row.sections));
        assert_eq!(report.errors, [], "{:?}", row.sections);
        assert!(found.is_some(), "{:?}", row.sections);
        assert!(
            row.fits(&report.warnings),
            "{:?}: {:?}",
            row.sections,
            report.warnings
        );
    }
}

#[test]
fn a_small_document_gets_the_defaults() {
    let found = accepted(&[]);
    assert_eq!(found.root.path, Path::new("/bundle/rootfs"));
    assert_eq!(found.bundle, Path::new("/bundle"));
    let process = found.process.unwrap();
    assert_eq!(process.user.umask, 0o022);
    assert_eq!(process.oom_score_adj, None);
    assert_eq!(process.capabilities, Capabilities::default());
    assert_eq!(found.namespaces[NamespaceKind::User], Namespace::Inherit);
    assert_eq!(found.namespaces[NamespaceKind::Pid], Namespace::New);
}

#[test]
fn a_document_without_process_is_accepted() {
    assert_eq!(accepted(&[("/process", "-")]).process, None);
    assert_eq!(accepted(&[("/process", "null")]).process, None);
}

#[test]
fn a_document_without_linux_inherits_every_namespace() {
    assert_eq!(accepted(&[("/linux", "-")]).namespaces, <_>::default());
}

#[test]
fn sections_of_other_systems_are_not_looked_at() {
    for section in ["/windows", "/solaris", "/zos", "/freebsd"] {
        accepted(&[(section, "[1, \"x\"]")]);
    }
}

#[test]
fn a_virtual_machine_is_a_warning() {
    warns(
        r#"
        /vm = {"x": 1}
            -> unsupported /vm : virtual machines
        "#,
    );
}

#[test]
fn the_version_is_semver_with_major_one() {
    refuses(
        r#"
        /ociVersion = -
            -> missing . : ociVersion
        /ociVersion = "99.0.0"
            -> unsupported /ociVersion : 99.0.0
        /ociVersion = "0.9.0"
            -> unsupported /ociVersion : 0.9.0
        /ociVersion = "foo"
            -> range /ociVersion : expected a version
        /ociVersion = "1.2"
            -> range /ociVersion : expected a version
        /ociVersion = "1.02.0"
            -> range /ociVersion : expected a version
        /ociVersion = "1.2.0-"
            -> range /ociVersion : expected a version
        /ociVersion = "1.2.0.0"
            -> range /ociVersion : expected a version
        /ociVersion = "v1.2.0"
            -> range /ociVersion : expected a version
        /ociVersion = 1
            -> type /ociVersion : expected a string
        "#,
    );
    for version in [
        "\"1.0.2-dev\"",
        "\"1.3.0\"",
        "\"1.2.0-rc.1+build-7.01\"",
        "\"1.0.0+x\"",
    ] {
        accepted(&[("/ociVersion", version)]);
    }
    warns(
        r#"
        /ociVersion = "1.9.0"
            -> unsupported /ociVersion : newer
        "#,
    );
}

#[test]
fn the_root_is_required() {
    refuses(
        r#"
        /root = -
            -> missing . : `root`
        /root = []
            -> type /root : expected an object, found a list
        /root/path = -
            -> missing /root : `path`
        /root/path = ""
            -> range /root/path : empty
        /root/path = "a\u0000"
            -> range /root/path : NUL
        /root/readonly = 1
            -> type /root/readonly : true or false
        /root/readonly = true && /linux/namespaces = []
            -> conflict /root : mount namespace
        "#,
    );
    assert_eq!(
        accepted(&[("/root/path", "\"/r\"")]).root.path,
        Path::new("/r")
    );
    assert!(accepted(&[("/root/readonly", "true")]).root.readonly);
}

#[test]
fn names_of_the_host_need_a_uts_namespace() {
    refuses(
        r#"
        /hostname = "h" && /linux/namespaces = []
            -> conflict /hostname : uts namespace
        /domainname = "d" && /linux/namespaces = []
            -> conflict /domainname : uts namespace
        /hostname = "a\u0000b"
            -> range /hostname : NUL
        /hostname = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            -> range /hostname : 65 bytes
        "#,
    );
    assert_eq!(
        accepted(&[("/hostname", "\"h\"")]).hostname.as_deref(),
        Some("h")
    );
    assert_eq!(
        accepted(&[("/hostname", "\"\""), ("/linux/namespaces", "[]")]).hostname,
        None
    );
    let joined = "[{\"type\": \"uts\", \"path\": \"/proc/1/ns/uts\"}]";
    accepted(&[("/domainname", "\"d\""), ("/linux/namespaces", joined)]);
}

#[test]
fn annotations_are_strings_with_a_name() {
    refuses(
        r#"
        /annotations = {"": "x"}
            -> range /annotations/ : empty key
        /annotations = {"a": 1}
            -> type /annotations/a : expected a string
        /annotations = []
            -> type /annotations : expected an object
        "#,
    );
    assert_eq!(
        accepted(&[("/annotations", "{\"a\": \"\"}")]).annotations["a"],
        ""
    );
}

#[test]
fn a_misspelled_key_is_a_warning() {
    warns(
        r#"
        /linux/netDevice = {}
            -> unknown-property /linux/netDevice : did you mean `netDevices`?
        /HostName = "x"
            -> unknown-property /HostName : did you mean `hostname`?
        /process/Args = []
            -> unknown-property /process/Args : did you mean `args`?
        /linux/resources = {"memory": {"Limit": 5}}
            -> unknown-property /linux/resources/memory/Limit : did you mean `limit`?
        /frobnicate = 1
            -> unknown-property /frobnicate : unknown and ignored
        "#,
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let (_, report) = judge(&document(&[
        ("/ociVersion", "\"x\""),
        ("/process/cwd", "\"x\""),
        ("/process/env", "[\"x\", \"y\"]"),
        ("/linux/cgroupsPath", "1"),
        ("/root", "-"),
    ]));
    let mut pointers: Vec<_> = report.errors.iter().map(|error| &*error.pointer).collect();
    pointers.sort_unstable();
    let expected = [
        "",
        "/linux/cgroupsPath",
        "/ociVersion",
        "/process/cwd",
        "/process/env/0",
        "/process/env/1",
    ];
    assert_eq!(pointers, expected);
}

#[test]
fn null_is_the_same_as_absent() {
    let before = accepted(&[]);
    for place in [
        "/hostname",
        "/mounts",
        "/hooks",
        "/annotations",
        "/process/env",
        "/linux/seccomp",
    ] {
        assert_eq!(accepted(&[(place, "null")]), before, "{place}");
    }
    let text = document(&[("/root", "null")]);
    let node = node::parse(text.as_bytes()).unwrap();
    let has_null = |(key, value): &(Cow<'_, str>, Node<'_>)| key == "root" && *value == Node::Null;
    assert!(matches!(&node, Node::Object(entries) if entries.iter().any(has_null)));
    refuses(
        r#"
        /root = null
            -> missing . : `root`
        "#,
    );
}

#[test]
fn the_newest_minor_version_is_that_of_the_known_specification() {
    assert!(VERSION.starts_with(&format!("1.{MINOR}.")));
}
