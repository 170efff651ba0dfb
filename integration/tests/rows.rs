//! The rows of the capability table: docs/rows.md names a test for each, and the sources bear it
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many rows the table of the capabilities has.
const ROWS: u32 = 50;

/// Row number to the names of tests, as docs/rows.md says.
fn documented() -> BTreeMap<u32, BTreeSet<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rows.md"));
    let text = text.expect("docs/rows.md");
    let mut rows: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let row = cells[1][1..].parse().expect("a row number");
        assert!(!cells[2].is_empty(), "S{row} says what it shows");
        let tests = cells[3]
            .split(',')
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        rows.entry(row).or_default().extend(tests);
    }
    rows
}

/// Row number to the names of tests, as the doc comments of the tests say: `Row S12` or `Rows S33,
/// S25`.
fn written() -> BTreeMap<u32, BTreeSet<String>> {
    let mut rows: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in fs::read_dir(folder).expect("tests").flatten() {
        let path = entry.path();
        let chapter = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if chapter == "rows" {
            continue;
        }
        let mut comment = String::new();
        for line in fs::read_to_string(&path).expect("source").lines() {
            if let Some(text) = line.strip_prefix("/// ") {
                comment.push_str(text);
                comment.push(' ');
            } else if let Some(rest) = line.strip_prefix("fn ") {
                let name = rest.split('(').next().expect("a name");
                for row in numbers(&comment) {
                    rows.entry(row)
                        .or_default()
                        .insert(format!("{chapter}::{name}"));
                }
                comment.clear();
            } else if !line.starts_with("#[") {
                comment.clear();
            }
        }
    }
    rows
}

/// The numbers in `Row S1`, `Rows S33, S25` of a comment.
fn numbers(comment: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for (at, _) in comment.match_indices("Row") {
        let rest = comment[at..]
            .trim_start_matches("Rows")
            .trim_start_matches("Row");
        let list = rest.split(':').next().unwrap_or_default();
        let words = list.split([',', ' ', '.']);
        found.extend(words.filter_map(|word| word.strip_prefix('S')?.parse::<u32>().ok()));
    }
    found
}

/// Every row has a test.
#[test]
fn every_row_has_a_test() {
    let rows = written();
    for row in 1..=ROWS {
        assert!(rows.contains_key(&row), "no test names row S{row}");
    }
}

/// docs/rows.md and the doc comments say the same.
#[test]
fn the_table_is_true() {
    assert_eq!(documented(), written());
}

/// Every test that docs/security.md names exists: a CVE's test cannot be deleted unnoticed.
#[test]
fn the_tests_of_past_vulnerabilities_exist() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(here.join("../docs/security.md")).expect("docs/security.md");
    let mut named = 0;
    for (chapter, test) in text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|n| n.split_once("::"))
    {
        let source = fs::read_to_string(here.join(format!("tests/{chapter}.rs")));
        let source = source.unwrap_or_else(|e| panic!("tests/{chapter}.rs: {e}"));
        let function = source.contains(&format!("fn {test}()"));
        let line = source.contains(&format!("    {test}: b =>"));
        assert!(function || line, "{chapter}::{test} does not exist");
        named += 1;
    }
    assert!(named > 20, "{named} tests are named");
}

/// docs/errors.md lists the codes of the source.
#[test]
fn the_error_codes_are_listed() {
    let source = include_str!("../../crates/spec/src/diagnostic.rs");
    let codes = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    let codes: BTreeSet<_> = codes
        .map(|(_, rest)| rest.trim_end_matches("\","))
        .collect();
    let lines = include_str!("../../docs/errors.md").lines();
    let listed = lines.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<_> = listed.collect();
    assert!(!codes.is_empty());
    assert_eq!(listed, codes);
}

/// Every annotation of crun's that a room reads, but for tests.
fn annotations(file: &Path) -> BTreeSet<String> {
    let source = fs::read_to_string(file).expect("source");
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = source.split('"').skip(1).step_by(2);
    let named = quoted.filter(|text| text.len() > PREFIX.len() && text.starts_with(PREFIX));
    named.map(str::to_owned).collect()
}

/// The prefix of crun's annotations.
const PREFIX: &str = "run.oci.";

/// R20: an annotation that is read is told by `features`, and docs/security.md says what it widens
/// or narrows.
#[test]
fn every_annotation_is_in_features_and_in_the_table() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let features = top.join("crates/spec/src/features.rs");
    let listed = annotations(&features);
    let mut read = BTreeSet::new();
    let mut folders = vec![top.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_source = path.extension().is_some_and(|end| end == "rs");
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if is_source && name != "tests.rs" && name != "features.rs" {
                read.append(&mut annotations(&path));
            }
        }
    }
    assert!(read.len() >= 4, "{read:?}");
    assert_eq!(read, listed, "read, and listed by features");
    let table = fs::read_to_string(top.join("docs/security.md")).expect("docs/security.md");
    for name in read {
        assert!(
            table.contains(&format!("| `{name}` |")),
            "{name} has no row"
        );
    }
}
