//! The layers of docs/architecture.md: which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate with the lower ones that it may use. A room never uses another room; `kernel` and
/// `spec` use no crate of the workspace.
const LAYERS: [(&str, &[&str]); 19] = [
    ("kernel", &[]),
    ("seal", &["kernel"]),
    ("spec", &[]),
    ("caller", &["kernel"]),
    ("namespace", &["kernel", "spec", "caller"]),
    ("network", &["kernel", "spec", "caller"]),
    ("resctrl", &["kernel", "spec"]),
    ("rootfs", &["kernel", "spec"]),
    ("capability", &["kernel", "spec", "caller"]),
    ("seccomp", &["kernel", "spec"]),
    ("lsm", &["kernel", "spec"]),
    ("landlock", &["kernel", "spec"]),
    ("dbus", &["kernel"]),
    ("criu", &["kernel"]),
    ("cgroup", &["kernel", "spec", "dbus"]),
    (
        "launch",
        &[
            "kernel",
            "spec",
            "caller",
            "namespace",
            "network",
            "resctrl",
            "rootfs",
            "capability",
            "seccomp",
            "lsm",
            "landlock",
            "cgroup",
        ],
    ),
    (
        "locule",
        &[
            "kernel",
            "spec",
            "caller",
            "caller",
            "namespace",
            "resctrl",
            "rootfs",
            "capability",
            "seccomp",
            "lsm",
            "landlock",
            "cgroup",
            "launch",
            "seal",
            "criu",
        ],
    ),
    ("integration", &[]),
    ("bench", &[]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Crate to its dependencies of one kind (`null` is normal), own and foreign.
fn dependencies(kind: Option<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("name").to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter();
        all.filter(|d| d["kind"].as_str() == kind)
            .map(name)
            .collect()
    };
    packages
        .iter()
        .map(|package| (name(package), of(package)))
        .collect()
}

/// No arrow points up or sideways, tests of the crates included.
#[test]
fn arrows_point_downward() {
    let ours: BTreeSet<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    for kind in [None, Some("dev"), Some("build")] {
        for (package, dependencies) in dependencies(kind) {
            let row = LAYERS.iter().find(|(name, _)| *name == package);
            let (_, allowed) =
                row.unwrap_or_else(|| panic!("{package} is not in the table of layers"));
            for dependency in dependencies.iter().filter(|d| ours.contains(d.as_str())) {
                assert!(
                    allowed.contains(&dependency.as_str()),
                    "{package} uses {dependency}: up or sideways"
                );
            }
        }
    }
}

/// docs/dependencies.md has a line for every crate that is used directly, and for no other.
#[test]
fn every_direct_dependency_has_its_reason() {
    let ours: BTreeSet<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    let mut used = BTreeSet::new();
    for kind in [None, Some("dev"), Some("build")] {
        for dependencies in dependencies(kind).into_values() {
            used.extend(
                dependencies
                    .into_iter()
                    .filter(|d| !ours.contains(d.as_str())),
            );
        }
    }
    let text = include_str!("../../docs/dependencies.md");
    let lines = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<_> = lines
        .map(|line| line.split('`').next().expect("name").to_owned())
        .collect();
    assert_eq!(listed, used);
}

/// Only `kernel` and `seal` have unsafe code: every other crate forbids it in its root.
#[test]
fn only_two_crates_may_be_unsafe() {
    for package in metadata()["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name");
        if ["kernel", "seal", "integration"].contains(&name) {
            continue; // integration forbids it in its manifest
        }
        let targets = package["targets"].as_array().expect("targets");
        let root = targets[0]["src_path"].as_str().expect("path");
        let text = fs::read_to_string(root).expect("source");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{root}");
    }
}

/// oci-spec brings the regex crate along for one property; its tables would be relocated at every
/// start, so no code of the workspace may reach it (ADR 3).
#[test]
fn the_program_holds_no_regular_expressions() {
    let subject = integration::subject::Subject::get();
    if !subject.is_locule() {
        println!("skipped: not our program");
        return;
    }
    let output = Command::new("nm").arg(&subject.program).output();
    let symbols = String::from_utf8(output.expect("nm").stdout).expect("names");
    assert!(symbols.contains("oci_spec"), "a program without symbols");
    let found: Vec<_> = symbols
        .lines()
        .filter(|line| line.contains("regex_automata"))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The names of a row of the map at the beginning of each entry: "`a`, `b/*` what they decide".
fn mapped(row: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in row.split(';') {
        let mut rest = entry.trim();
        while let Some((name, after)) = rest.strip_prefix('`').and_then(|r| r.split_once('`')) {
            names.insert(name.trim_end_matches("/*").to_owned());
            rest = after.strip_prefix(", ").unwrap_or_default();
        }
    }
    names
}

/// The modules directly below the root of a crate.
fn modules(package: &str) -> BTreeSet<String> {
    // The sentence below the map is about `error`; the last two are for tests.
    let others = ["lib", "error", "samples", "testing"];
    let folder = format!("../crates/{package}/src");
    let entries = std::fs::read_dir(folder).expect("sources");
    let names = entries.map(|entry| entry.expect("entry").path());
    let stems = names.map(|path| {
        path.file_stem()
            .expect("name")
            .to_string_lossy()
            .into_owned()
    });
    stems.filter(|name| !others.contains(&&**name)).collect()
}

/// The map of docs/architecture.md has every module of every crate, and no other.
#[test]
fn the_map_names_every_module() {
    let text = include_str!("../../docs/architecture.md");
    for (package, _lower) in LAYERS {
        if ["integration", "bench", "caller"].contains(&package) {
            continue; // the first two are no crates of the map, and the last has no modules
        }
        let start = format!("| `{package}` | ");
        let row = text.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("{package} is not in the map"));
        let (mapped, modules) = (mapped(row.trim_end_matches(" |")), modules(package));
        let missing: Vec<_> = modules.difference(&mapped).collect();
        let strange: Vec<_> = mapped.difference(&modules).collect();
        assert!(
            missing.is_empty() && strange.is_empty(),
            "{package}: not in the map: {missing:?}; no module: {strange:?}"
        );
    }
}

/// CONTRIBUTING.md says "`NAME` in `FILE`" of the places that a new thing needs. A path begins
/// below the root of the repository or below `crates`.
#[test]
fn the_places_of_a_new_thing_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let (_, text) = text
        .split_once("## Adding a thing")
        .expect("the list of places");
    // Every second part is between backticks.
    let parts: Vec<_> = text.split('`').collect();
    let mut files = 0;
    for at in (1..parts.len()).step_by(2) {
        let path = parts[at];
        if !path.contains('/') || !path.ends_with(".rs") {
            continue;
        }
        let found = [root.join(path), root.join("crates").join(path)];
        let found = found.iter().find_map(|path| fs::read_to_string(path).ok());
        let found = found.unwrap_or_else(|| panic!("{path} does not exist"));
        files += 1;
        // `locule plan` is no name of the source.
        if parts[at - 1] == " in " && at > 1 && !parts[at - 2].contains(' ') {
            let name = parts[at - 2].trim_end_matches('*');
            assert!(found.contains(name), "{name} is not in {path}");
        }
    }
    assert!(files > 30, "{files} files");
}
