//! The runtime under test: which program it is, and its version text.
//!
//! `LOCULE_RUNTIME` names it (a path, or a name found in `PATH`). Without it, it is the workspace's
//! own binary, which is built here, since `cargo test` does not build the program of another
//! package.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable by which a sandbox is told the version.
pub const VERSION: &str = "LOCULE_SUBJECT_VERSION";

/// A program with the command line of an OCI runtime.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The program, absolute.
    pub program: PathBuf,
    /// The first line of `--version`.
    pub version: String,
}

impl Subject {
    /// The runtime that the environment names, else the workspace's own. It is built and asked for
    /// its version once per test program: a sandbox is told.
    pub fn get() -> &'static Subject {
        static SUBJECT: OnceLock<Subject> = OnceLock::new();
        SUBJECT.get_or_init(|| {
            let program = match env::var_os("LOCULE_RUNTIME") {
                Some(name) => find(Path::new(&name)),
                None => build(),
            };
            let version = env::var(VERSION).unwrap_or_else(|_| version(&program));
            Subject { program, version }
        })
    }

    /// Whether this is locule and not another runtime.
    pub fn is_locule(&self) -> bool {
        self.version.starts_with("locule ")
    }
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().to_owned()
}

fn find(name: &Path) -> PathBuf {
    if name.components().count() > 1 {
        return name
            .canonicalize()
            .unwrap_or_else(|e| panic!("{}: {e}", name.display()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(name));
    candidates
        .find(|c| c.is_file())
        .unwrap_or_else(|| panic!("{}: not in PATH", name.display()))
}

/// Builds package `locule` with the profile of the running test and returns its program.
fn build() -> PathBuf {
    let exe = env::current_exe().expect("own path");
    let folder = exe
        .ancestors()
        .find(|f| f.ends_with("debug") || f.ends_with("release"));
    let folder = folder.expect("the test runs from a cargo target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "locule", "--target-dir"]);
    cargo.arg(folder.parent().expect("target directory"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(
        cargo.status().expect("cargo").success(),
        "cargo build --package locule"
    );
    folder.join("locule")
}
