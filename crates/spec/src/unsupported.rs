//! Properties of the specification that this version of locule does not support.
//!
//! Such a property is an error and is not ignored: a container that needs a network device and runs
//! without it is worse than one that does not start. To permit a property, delete its row.

use crate::diagnostic::{Code, Diagnostic};
use crate::node::Node;
use crate::reader::Notes;

/// One property: the keys that lead to it, and whether its value asks for something.
type Row = (&'static [&'static str], fn(&Node<'_>) -> bool);

/// Every row is one property.
const ROWS: &[Row] = &[(&["linux", "intelRdt"], asks)];

/// Everything but null, false and empty values.
fn asks(node: &Node<'_>) -> bool {
    match node {
        Node::Null | Node::Bool(false) => false,
        Node::String(text) => !text.is_empty(),
        Node::List(items) => !items.is_empty(),
        Node::Object(entries) => !entries.is_empty(),
        Node::Bool(true) | Node::Unsigned(_) | Node::Negative(_) | Node::Float(_) => true,
    }
}

/// Reports each property that is present, asks for something and is not supported.
pub(crate) fn refuse(document: &Node<'_>, notes: &Notes) {
    for (path, meaningful) in ROWS {
        check(document, path, *meaningful, notes);
    }
}

/// The same for a document that is only the `process` section.
pub(crate) fn refuse_in_process(process: &Node<'_>, notes: &Notes) {
    for (path, meaningful) in ROWS {
        if let Some(rest) = path.strip_prefix(&["process"]) {
            check(process, rest, *meaningful, notes);
        }
    }
}

fn check(document: &Node<'_>, path: &[&str], meaningful: fn(&Node<'_>) -> bool, notes: &Notes) {
    let value = path.iter().try_fold(document, |node, key| node.get(key));
    if value.is_some_and(meaningful) {
        notes.error(|| {
            let message = format!("`{}` is not supported yet", path.join("."));
            Diagnostic::new(Code::Unsupported, format!("/{}", path.join("/")), message)
                .hint("remove it from the configuration to run without it")
        });
    }
}

/// Whether there is a row for `pointer`.
#[cfg(test)]
pub(crate) fn has_row(pointer: &str) -> bool {
    ROWS.iter()
        .any(|(path, _)| format!("/{}", path.join("/")) == pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node;
    use crate::reader::Notes;

    fn refused(json: &str) -> Vec<String> {
        let document = node::parse(json.as_bytes()).unwrap();
        let notes = Notes::default();
        refuse(&document, &notes);
        notes
            .into_report()
            .errors
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_row_is_refused_by_name_when_it_asks_for_something() {
        for (path, meaningful) in ROWS {
            let asking = r#"{"a":1}"#;
            assert!(meaningful(&node::parse(asking.as_bytes()).unwrap()));
            let mut json = asking.to_owned();
            for key in path.iter().rev() {
                json = format!("{{\"{key}\":{json}}}");
            }
            let (pointer, name) = (path.join("/"), path.join("."));
            let text = format!(
                "/{pointer}: `{name}` is not supported yet; remove it from the configuration to run without it [unsupported]"
            );
            assert_eq!(refused(&json), [text]);
        }
    }

    #[test]
    fn what_asks_for_nothing_is_accepted() {
        for (path, _) in ROWS {
            for nothing in ["null", "false", "\"\"", "[]", "{}"] {
                let mut json = nothing.to_owned();
                for key in path.iter().rev() {
                    json = format!("{{\"{key}\":{json}}}");
                }
                assert_eq!(refused(&json), [""; 0], "{json}");
            }
        }
    }

    #[test]
    fn a_process_of_its_own_is_judged_by_the_same_rows() {
        let document = node::parse(br#"{"terminal":true,"linux":{"seccomp":{"a":1}}}"#).unwrap();
        let notes = Notes::default();
        refuse_in_process(&document, &notes);
        let found: Vec<_> = notes
            .into_report()
            .errors
            .into_iter()
            .map(|e| e.pointer)
            .collect();
        let expected: &[&str] = if has_row("/process/terminal") {
            &["/terminal"]
        } else {
            &[]
        };
        assert_eq!(found, expected);
    }
}
