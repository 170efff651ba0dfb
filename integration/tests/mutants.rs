//! The patches of `integration/mutants/`, as far as can be told without a build: each fits the
//! sources and names tests that exist. Whether the tests fail is for `just mutants`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_owned()
}

/// The text of a file of the workspace; empty if there is none.
fn text(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_default()
}

/// The patches by their names.
fn patches() -> BTreeMap<String, String> {
    let entries = fs::read_dir(top().join("integration/mutants")).expect("mutants");
    let paths = entries.flatten().map(|entry| entry.path());
    let patches = paths.filter(|path| path.extension().is_some_and(|end| end == "patch"));
    patches
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let patch = fs::read_to_string(&path).expect("a patch");
            (name.into_owned(), patch)
        })
        .collect()
}

/// The values of the header lines `# key: value`.
fn header<'p>(patch: &'p str, key: &str) -> Vec<&'p str> {
    let start = format!("# {key}: ");
    let lines = patch.lines().take_while(|line| line.starts_with("# "));
    lines
        .filter_map(|line| line.strip_prefix(&start))
        .map(str::trim)
        .collect()
}

/// The chapter `attack` has the test `name`, or a crate the unit test `module::tests::name`.
fn exists(test: &str) -> bool {
    let words: Vec<_> = test.split(' ').collect();
    let contains = |path: &str, name: &str| {
        let source = text(path);
        source.contains(&format!("fn {name}("))
            || source.contains(&format!("    {name}: b =>"))
            || source.contains(&format!("    {name},"))
            || source.contains(&format!("\"{name}\","))
    };
    match &words[..] {
        ["-p", package, "--test", _, name @ ..] | ["-p", package, name @ ..] => {
            let folder = top().join("crates").join(package);
            let path = name.join(" ");
            let (_, name) = path.rsplit_once("::").unwrap_or(("", &path));
            let mut folders = vec![folder];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                    let path = entry.path();
                    let within = path.strip_prefix(top()).expect("below the workspace");
                    if path.is_dir() {
                        folders.push(path);
                    } else if contains(&within.to_string_lossy(), name) {
                        return true;
                    }
                }
            }
            false
        }
        [test] | [test, "host" | "pure-v2"] => {
            test.split_once("::").is_some_and(|(chapter, name)| {
                contains(&format!("integration/tests/{chapter}.rs"), name)
            })
        }
        _ => false,
    }
}

/// The old lines of every hunk, with the file that they are in.
fn hunks(patch: &str) -> Vec<(String, String)> {
    let mut hunks: Vec<(String, String)> = Vec::new();
    let mut file = "";
    for line in patch.lines() {
        if let Some(name) = line.strip_prefix("--- a/") {
            file = name;
        } else if line.starts_with("@@") {
            hunks.push((file.to_owned(), String::new()));
        } else if let Some((_, old)) = hunks.last_mut()
            && let Some(line) = line.strip_prefix([' ', '-'])
        {
            old.push_str(line);
            old.push('\n');
        } else if let Some((_, old)) = hunks.last_mut()
            && line.is_empty()
        {
            old.push('\n');
        }
    }
    hunks
}

/// Every patch says what it takes out and which tests must fail then.
#[test]
fn every_patch_names_tests_that_exist() {
    let patches = patches();
    assert!(!patches.is_empty());
    for (name, patch) in patches {
        assert!(
            header(&patch, "protection").len() <= 1,
            "{name}: protection"
        );
        let tests = header(&patch, "test");
        assert!(!tests.is_empty(), "{name}: no test");
        for test in tests {
            assert!(exists(test), "{name}: {test} does not exist");
        }
    }
}

/// Every patch can be applied: the lines that it expects are there, and no hunk ends with a change,
/// which git only takes at the end of a file.
#[test]
fn every_patch_fits_the_sources() {
    for (name, patch) in patches() {
        let hunks = hunks(&patch);
        assert!(!hunks.is_empty(), "{name} changes nothing");
        for hunk in patch.split("\n@@ ").skip(1) {
            let hunk = hunk.split("\n--- ").next().unwrap_or(hunk);
            let hunk = hunk.split("\ndiff ").next().unwrap_or(hunk);
            let last = hunk.trim_end_matches('\n').lines().last();
            let is_change = last.is_some_and(|line| line.starts_with(['+', '-']));
            assert!(
                !is_change,
                "{name}.patch: a hunk ends with a change; add the line after it"
            );
        }
        for (file, old) in hunks {
            assert!(
                text(&file).contains(&old),
                "{name}.patch no longer fits {file}; write it anew. It expects:\n{old}"
            );
        }
    }
}

/// The rows that a patch names are in docs/security.md.
#[test]
fn every_row_of_a_patch_exists() {
    let rows = rows();
    for (name, patch) in patches() {
        for row in header(&patch, "row") {
            let found = rows.iter().any(|cell| cell.contains(row));
            assert!(found, "{name}: docs/security.md has no row {row}");
        }
    }
}

/// Every row of docs/security.md has a patch, or the README says why it has none; not both.
#[test]
fn every_row_has_a_patch_or_a_reason() {
    let patches = patches();
    let named: Vec<_> = patches
        .values()
        .flat_map(|patch| header(patch, "row"))
        .collect();
    let reasons = cells("integration/mutants/README.md", "| row |");
    let rows = rows();
    assert!(rows.len() > 20, "{rows:?}");
    for row in &rows {
        let patched = named.iter().any(|name| row.contains(name));
        let excused = reasons.contains(row);
        assert!(
            patched != excused,
            "{row}: a patch {patched}, a reason {excused}"
        );
    }
    for reason in reasons {
        assert!(
            rows.contains(&reason),
            "docs/security.md has no row {reason}"
        );
    }
}

/// The first cells of the table in docs/security.md.
fn rows() -> Vec<String> {
    cells("docs/security.md", "| vulnerability |")
}

/// The first cells of the table below this heading.
fn cells(path: &str, heading: &str) -> Vec<String> {
    let text = text(path);
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip(2);
    let lines = table.take_while(|line| line.starts_with('|'));
    lines
        .filter_map(|line| line.split('|').nth(1))
        .map(|cell| cell.trim().to_owned())
        .collect()
}
