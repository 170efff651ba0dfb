//! The annotation for Landlock, and programs that try what it denies.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::sandbox::Sandbox;

/// The place of the annotation in the configuration.
pub const ANNOTATION: &str = "/annotations/dev.locule.landlock";

/// Whether the test cannot run: another runtime, or a kernel whose Landlock has an older interface
/// than `needed`.
pub fn lacks(s: &Sandbox, needed: i64) -> bool {
    if s.is_control("the annotation is locule's") {
        return true;
    }
    let found = abi(s);
    if found < needed {
        s.skip(&format!(
            "Landlock has ABI {found} here, {needed} is needed; covered in the virtual machine with Linux 7.2"
        ));
    }
    found < needed
}

/// The ABI of Landlock in this kernel: landlock_create_ruleset(NULL, 0,
/// LANDLOCK_CREATE_RULESET_VERSION). -1 without Landlock.
pub fn abi(s: &Sandbox) -> i64 {
    let answer = s.tool("perl", &["-e", "print syscall(444, 0, 0, 1)"]);
    answer.parse().expect("a number")
}

/// Sets the annotation.
pub fn set<'a>(bundle: &'a mut Bundle, document: &Value) -> &'a mut Bundle {
    bundle.set(ANNOTATION, json!(document.to_string()))
}

/// An element of `pathBeneath` with one path.
pub fn rule(path: &str, access: &[&str]) -> Value {
    json!({ "paths": [path], "allowedAccess": access })
}

/// Prints for each command whether it was denied by EACCES.
pub fn tries(commands: &[&str]) -> String {
    let each = commands.iter().map(|command| {
        format!(
            "if ({command}) > /tmp/out 2> /tmp/err; then echo yes; else grep -q 'Permission denied' /tmp/err && echo no || cat /tmp/err; fi; "
        )
    });
    each.collect()
}
