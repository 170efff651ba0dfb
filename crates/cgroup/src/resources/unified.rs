//! `linux.resources.unified`: files of cgroup v2 by name, written after everything else.

use spec::container::Resources;
use spec::diagnostic::escape;
use spec::{Code, Diagnostic};

use super::{Controllers, Limit, Lowered, Missing, Value, table};

/// Files that act on processes or on the tree and set no limit; only the runtime writes them.
const RESERVED: &[&str] = &[
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

/// A name that is one file of one group: lower-case controller, dot, letters, digits, `_`, `.` and
/// `-`.
fn is_file_name(name: &str) -> bool {
    let Some((controller, rest)) = name.split_once('.') else {
        return false;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_controller =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !controller.is_empty()
        && controller.bytes().all(is_controller)
        && !rest.is_empty()
        && rest.bytes().all(is_plain)
}

pub(super) fn lower(
    resources: &Resources,
    controllers: &Controllers,
    lowered: &mut Lowered,
) -> Result<(), Diagnostic> {
    for (file, value) in &resources.unified {
        let pointer = format!("/linux/resources/unified/{}", escape(file));
        let problem = |code, message: String| Diagnostic::new(code, pointer.clone(), message);
        if !is_file_name(file) {
            return Err(problem(
                Code::Range,
                format!("{file:?} is not the name of a cgroup v2 file"),
            ));
        }
        if RESERVED.contains(&&**file) {
            return Err(problem(
                Code::Unsupported,
                format!("{file:?} is not a limit"),
            ));
        }
        let Some(group) = controllers.unified else {
            let message = format!("{file:?} cannot be set: this host has cgroup v1 only");
            return Err(problem(Code::Host, message));
        };
        let controller = file.split('.').next().unwrap_or_default();
        if controller != "cgroup" && !controllers.v2.iter().any(|name| name == controller) {
            let message =
                format!("cgroup v2 controller {controller} is not available on this host");
            return Err(problem(Code::Host, message)
                .hint(format!("this host has {:?}", controllers.v2.join(" "))));
        }
        let lines = value.lines().filter(|line| !line.is_empty());
        let found = lines.flat_map(|line| limits(group, file, line, &pointer));
        lowered.limits.extend(found);
    }
    Ok(())
}

/// The limits in one line for a file.
pub(crate) fn limits(group: usize, file: &str, line: &str, pointer: &str) -> Vec<Limit> {
    let values = Value::parse(file, line).into_iter();
    let limit = |value| {
        let key = match &value {
            Value::Device { key, .. } => key,
            _ => "",
        };
        Limit {
            group,
            file: file.to_owned(),
            properties: table::properties(file, key),
            value,
            pointer: pointer.to_owned(),
            missing: Missing::Fails,
        }
    };
    values.map(limit).collect()
}
