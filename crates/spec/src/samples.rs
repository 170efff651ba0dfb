//! Configurations that engines really sent: each has to be readable here, and what is accepted here
//! has to be what the specification's own types accept.

use std::path::Path;

use oci_spec::runtime::{Process as OciProcess, Spec as OciSpec};

use crate::diagnostic::{Code, Report};
use crate::load::{Host, parse, parse_process};
use crate::node;
use crate::reader::{Notes, Value};
use crate::unsupported::has_row;
use crate::validate;

macro_rules! sample {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../tests/samples/", $name)).as_slice(),
        )
    };
}

const TERMINAL: &str = "/process/terminal";
const SECCOMP: &str = "/linux/seccomp";
const RESOURCES: &str = "/linux/resources";

type Sample = ((&'static str, &'static [u8]), &'static [&'static str]);

/// Each document with the properties that it uses and that locule may not have yet.
pub(crate) const CONFIGS: [Sample; 12] = [
    (sample!("cri-container.json"), &[RESOURCES]),
    (sample!("cri-pod.json"), &[RESOURCES]),
    (sample!("ctr21.json"), &[RESOURCES]),
    (sample!("docker20-cgroupfs.json"), &[SECCOMP, RESOURCES]),
    (sample!("docker28-privileged.json"), &[]),
    (sample!("docker28-systemd.json"), &[SECCOMP]),
    (sample!("podman43-cgroupfs.json"), &[SECCOMP, RESOURCES]),
    (
        sample!("podman58-rootful-limits.json"),
        &[SECCOMP, RESOURCES],
    ),
    (sample!("podman58-rootful-privileged.json"), &[RESOURCES]),
    (
        sample!("podman58-rootful-systemd.json"),
        &[SECCOMP, RESOURCES],
    ),
    (
        sample!("podman58-rootful-tty.json"),
        &[TERMINAL, SECCOMP, RESOURCES],
    ),
    (
        sample!("podman58-rootless-systemd.json"),
        &[SECCOMP, RESOURCES],
    ),
];

const PROCESSES: [Sample; 3] = [
    (sample!("docker28-exec-process.json"), &[]),
    (sample!("podman58-exec-process.json"), &[]),
    (sample!("podman58-exec-tty-process.json"), &[TERMINAL]),
];

fn expect(name: &str, uses: &[&str], prefix: &str, report: Option<Report>) {
    let expected: Vec<String> = uses
        .iter()
        .filter(|pointer| has_row(pointer))
        .map(|pointer| pointer.strip_prefix(prefix).unwrap_or(pointer).to_owned())
        .collect();
    let report = report.unwrap_or_default();
    let found: Vec<&str> = report.errors.iter().map(|error| &*error.pointer).collect();
    assert_eq!(found, expected, "{name}: {report}");
    assert!(
        report
            .errors
            .iter()
            .all(|error| error.code == Code::Unsupported),
        "{name}"
    );
    assert_eq!(report.warnings, [], "{name}");
}

#[test]
fn configurations_of_engines_have_no_other_problem_than_what_is_unsupported() {
    for ((name, bytes), uses) in CONFIGS {
        let loaded = parse(bytes, Path::new("/bundle"), Host::Ignore);
        if let Ok(loaded) = &loaded {
            assert_eq!(loaded.warnings, [], "{name}");
            assert_eq!(loaded.bytes, bytes, "{name}");
        }
        expect(name, uses, "", loaded.err());
    }
}

#[test]
fn processes_of_engines_have_no_other_problem_than_what_is_unsupported() {
    for ((name, bytes), uses) in PROCESSES {
        expect(name, uses, "/process", parse_process(bytes).err());
    }
}

#[test]
fn configurations_of_engines_are_read_whole() {
    for ((name, bytes), _) in CONFIGS {
        let document = node::parse(bytes).unwrap();
        let notes = Notes::default();
        let root = Value::root(&document, &notes);
        let container = validate::container(&root, Path::new("/bundle"), &notes).unwrap();
        assert_eq!(notes.into_report(), Report::default(), "{name}");

        // The specification's types are the oracle for what was there to be read.
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
    for ((name, bytes), _) in PROCESSES {
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
