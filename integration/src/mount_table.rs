//! Mounts in a configuration, and in the mount table of a container.

use serde_json::{Value, json};

use crate::{Bundle, Sandbox};

/// The mountinfo line of `destination` in a container with one more mount.
pub fn line(s: &Sandbox, bundle: &mut Bundle, destination: &str) -> String {
    bundle.args(&["cat", "/proc/self/mountinfo"]);
    let outcome = s.run(bundle).ok();
    let found = outcome
        .stdout
        .lines()
        .rfind(|l| l.split(' ').nth(4) == Some(destination));
    found
        .unwrap_or_else(|| panic!("{destination}: no mount\n{}", outcome.stdout))
        .to_owned()
}

/// The per-mount options of that line.
pub fn options(line: &str) -> Vec<&str> {
    line.split(' ')
        .nth(5)
        .expect("options")
        .split(',')
        .collect()
}

/// A tmpfs for `/mounts` of a configuration.
pub fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options })
}
