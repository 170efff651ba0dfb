//! Configurations that engines really sent. The reader must accept each of them, and must accept
//! only what the specification's own types accept.

use std::path::Path;

use oci_spec::runtime::{Process as OciProcess, Spec as OciSpec};

use crate::diagnostic::Report;
use crate::load::{Host, parse, parse_process};
use crate::node;
use crate::reader::{Notes, Value};
use crate::validate;

macro_rules! sample {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../tests/samples/", $name)).as_slice(),
        )
    };
}

type Sample = (&'static str, &'static [u8]);

pub(crate) const CONFIGS: [Sample; 12] = [
    sample!("cri-container.json"),
    sample!("cri-pod.json"),
    sample!("ctr21.json"),
    sample!("docker20-cgroupfs.json"),
    sample!("docker28-privileged.json"),
    sample!("docker28-systemd.json"),
    sample!("podman43-cgroupfs.json"),
    sample!("podman58-rootful-limits.json"),
    sample!("podman58-rootful-privileged.json"),
    sample!("podman58-rootful-systemd.json"),
    sample!("podman58-rootful-tty.json"),
    sample!("podman58-rootless-systemd.json"),
];

const PROCESSES: [Sample; 3] = [
    sample!("docker28-exec-process.json"),
    sample!("podman58-exec-process.json"),
    sample!("podman58-exec-tty-process.json"),
];

#[test]
fn configurations_of_engines_have_no_problem() {
    for (name, bytes) in CONFIGS {
        match parse(bytes, Path::new("/bundle"), Host::Ignore) {
            Ok(loaded) => {
                assert_eq!(loaded.warnings, [], "{name}");
                assert_eq!(loaded.bytes, bytes, "{name}");
            }
            Err(report) => panic!("{name}: {report}"),
        }
    }
}

#[test]
fn processes_of_engines_have_no_problem() {
    for (name, bytes) in PROCESSES {
        let (_, warnings) = parse_process(bytes, None).unwrap();
        assert_eq!(warnings, [], "{name}");
    }
}

#[test]
fn configurations_of_engines_are_read_whole() {
    for (name, bytes) in CONFIGS {
        let document = node::parse(bytes).unwrap();
        let notes = Notes::default();
        let root = Value::root(&document, &notes);
        let container = validate::container(&root, Path::new("/bundle")).unwrap();
        assert_eq!(notes.into_report(), Report::default(), "{name}");

        // The specification's types say what the document contains.
        let oracle: OciSpec = serde_json::from_slice(bytes).unwrap();
        let linux = oracle.linux().as_ref().unwrap();
        let process = container.process.unwrap();
        let other = oracle.process().as_ref().unwrap();
        assert_eq!(&container.version, oracle.version(), "{name}");
        assert_eq!(Some(&process.args), other.args().as_ref(), "{name}");
        assert_eq!(
            process.env,
            other.env().clone().unwrap_or_default(),
            "{name}"
        );
        assert_eq!(&process.cwd, other.cwd(), "{name}");
        assert_eq!(process.user.uid, other.user().uid(), "{name}");
        let mounts = oracle.mounts().as_ref().map_or(0, Vec::len);
        assert_eq!(container.mounts.len(), mounts, "{name}");
        let devices = linux.devices().as_ref().map_or(0, Vec::len);
        assert_eq!(container.devices.len(), devices, "{name}");
        let masked = linux.masked_paths().as_ref().map_or(0, Vec::len);
        assert_eq!(container.masked_paths.len(), masked, "{name}");
        let sysctl = linux.sysctl().as_ref().map_or(0, |map| map.len());
        assert_eq!(container.sysctl.len(), sysctl, "{name}");
        let seccomp = linux.seccomp().as_ref().and_then(|s| s.syscalls().clone());
        let names: usize = seccomp
            .iter()
            .flatten()
            .map(|rule| rule.names().len())
            .sum();
        let ours = container
            .seccomp
            .map(|seccomp| seccomp.syscalls)
            .unwrap_or_default();
        assert_eq!(
            ours.iter().map(|rule| rule.names.len()).sum::<usize>(),
            names,
            "{name}"
        );
        let resources = linux.resources().as_ref();
        let rules = resources
            .and_then(|r| r.devices().clone())
            .map_or(0, |list| list.len());
        assert_eq!(container.resources.devices.len(), rules, "{name}");
    }
}

#[test]
fn processes_of_engines_are_those_of_the_specification() {
    for (name, bytes) in PROCESSES {
        let document = node::parse(bytes).unwrap();
        let notes = Notes::default();
        let process = validate::process::read(&Value::root(&document, &notes)).unwrap();
        let oracle: OciProcess = serde_json::from_slice(bytes).unwrap();
        assert_eq!(Some(&process.args), oracle.args().as_ref(), "{name}");
        assert_eq!(
            process.terminal,
            oracle.terminal().unwrap_or_default(),
            "{name}"
        );
    }
}

mod mutated {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::locate;

    /// Walks through `tree`, taking at each level the child of the next number, and puts `value`
    /// where the walk ends.
    fn replace(tree: &mut Json, walk: &[usize], value: Json) {
        let Some((step, rest)) = walk.split_first() else {
            *tree = value;
            return;
        };
        let child = match tree {
            Json::Array(items) if !items.is_empty() => {
                let index = step % items.len();
                items.get_mut(index)
            }
            Json::Object(entries) if !entries.is_empty() => {
                let index = step % entries.len();
                entries.values_mut().nth(index)
            }
            _ => None,
        };
        match child {
            Some(child) => replace(child, rest, value),
            None => *tree = value,
        }
    }

    fn small_json() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f32>().prop_map(|number| Json::from(f64::from(number))),
            ".{0,12}".prop_map(Json::from),
            Just(serde_json::json!({"a/~b": [1, {"": []}]})),
            Just(serde_json::json!([])),
        ]
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_judged_without_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, Path::new("/b"), Host::Ignore);
            let _ = parse_process(&bytes, None);
        }

        #[test]
        fn arbitrary_json_text_is_judged_without_panic(text in "[\\[\\]{}:,\"a1\\\\u0 -]{0,80}") {
            let _ = parse(text.as_bytes(), Path::new("/b"), Host::Ignore);
        }

        #[test]
        fn samples_with_other_bytes_are_judged_without_panic(
            which in 0..CONFIGS.len(),
            changes in vec((any::<usize>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = CONFIGS[which].1.to_owned();
            for (place, byte) in changes {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            if let Err(report) = parse(&bytes, Path::new("/b"), Host::Ignore) {
                prop_assert!(!report.errors.is_empty());
                prop_assert!(!report.to_string().is_empty());
            }
        }

        #[test]
        fn every_problem_of_a_sample_with_another_value_points_into_the_document(
            which in 0..CONFIGS.len(),
            walk in vec(any::<usize>(), 1..6),
            value in small_json(),
        ) {
            let mut tree: Json = serde_json::from_slice(CONFIGS[which].1).unwrap();
            replace(&mut tree, &walk, value);
            let text = tree.to_string();
            let found = match parse(text.as_bytes(), Path::new("/b"), Host::Ignore) {
                Ok(loaded) => loaded.warnings,
                Err(report) => report.errors.into_iter().chain(report.warnings).collect(),
            };
            for problem in found {
                let place = locate::position(text.as_bytes(), &problem.pointer);
                prop_assert!(place.is_some(), "{problem}");
            }
        }
    }
}
