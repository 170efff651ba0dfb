//! A tree of files that no process may touch.
//!
//! Attack tests point symlinks of a hostile root file system at it. Names, types, inodes, owners,
//! modes, times and contents are compared before and after. It has no file `null`: a runtime that
//! wrongly makes its device nodes here would fail at such a file, so nothing would change and the
//! test would not notice.

use crate::Outcome;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

/// The tree, and its state at the beginning.
#[derive(Debug)]
pub struct Canary {
    /// The tree's directory.
    pub path: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// Makes the tree in the sandbox's directory.
    pub fn make(sandbox: &Sandbox) -> Canary {
        let path = sandbox.dir.join("canary");
        fs::create_dir_all(path.join("folder/deep")).expect("mkdir");
        fs::create_dir(path.join("pts")).expect("mkdir");
        for (name, mode) in [("ptmx", 0o644), ("secret", 0o600), ("folder/file", 0o755)] {
            fs::write(path.join(name), name).expect("write");
            fs::set_permissions(path.join(name), Permissions::from_mode(mode)).expect("chmod");
        }
        symlink("secret", path.join("link")).expect("symlink");
        let before = describe(&path);
        Canary { path, before }
    }

    /// Panics when anything in the tree has changed.
    #[track_caller]
    pub fn check(&self) {
        assert_eq!(
            describe(&self.path),
            self.before,
            "the canary tree was touched"
        );
    }
}

fn describe(folder: &Path) -> Vec<String> {
    let mut lines = vec![line(folder, &fs::symlink_metadata(folder).expect("stat"))];
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("list")
        .flatten()
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).expect("stat");
        if metadata.is_dir() {
            lines.extend(describe(&path));
        } else {
            lines.push(line(&path, &metadata));
        }
    }
    lines
}

fn line(path: &Path, m: &Metadata) -> String {
    let content = if m.is_file() {
        fs::read(path).expect("read")
    } else {
        Vec::new()
    };
    format!(
        "{} {:o} {}:{} inode {} rdev {} mtime {}.{} {content:?}",
        path.display(),
        m.mode(),
        m.uid(),
        m.gid(),
        m.ino(),
        m.rdev(),
        m.mtime(),
        m.mtime_nsec()
    )
}

/// Checks the outcome of an attack: no effect, or a refusal by an error of the runtime, no crash.
#[track_caller]
pub fn safe_or_refused(outcome: Outcome) {
    assert!(
        outcome.status.code().is_some(),
        "{}",
        outcome.describe("a crash")
    );
    assert!(
        !outcome.stdout.contains("ESCAPED"),
        "{}",
        outcome.describe("an escape")
    );
    assert!(
        !outcome.stderr.contains("panicked"),
        "{}",
        outcome.describe("a panic")
    );
}
