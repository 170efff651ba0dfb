//! The annotation that restricts the container with Landlock; see docs/landlock.md.
//!
//! The value of the annotation is a document of its own, and the check is strict: an unknown key or
//! word is an error, not a warning, since a restriction that is silently left out does not
//! restrict.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, escape};
use crate::landlock::{
    ANNOTATION, DEFAULT_HANDLED_FS, FS, Landlock, MODES, Mode, OWN, PORT_KEYS, PathBeneath, SCOPES,
    pointer,
};
use crate::node;
use crate::reader::{Notes, Object, Value};

/// Reads the annotation and refuses other annotations with locule's prefix: a misspelt one would
/// restrict nothing.
pub(crate) fn read(annotations: &BTreeMap<String, String>, notes: &Notes) -> Option<Landlock> {
    for key in annotations.keys() {
        if key.starts_with(OWN) && key != ANNOTATION {
            notes.error(|| {
                let place = format!("/annotations/{}", escape(key));
                Diagnostic::new(Code::UnknownValue, place, "the annotation is unknown")
                    .hint(format!("did you mean `{ANNOTATION}`?"))
            });
        }
    }
    parse(annotations.get(ANNOTATION)?, notes)
}

/// Checks the annotation's value.
fn parse(text: &str, notes: &Notes) -> Option<Landlock> {
    let tree = match node::parse(text.as_bytes()) {
        Ok(tree) => tree,
        Err(found) => {
            notes.error(|| in_annotation(found));
            return None;
        }
    };
    let inner = Notes::default();
    let landlock = Value::root(&tree, &inner).exact(document);
    let report = inner.into_report();
    for found in report.errors {
        notes.error(|| in_annotation(found));
    }
    landlock?
}

/// A problem of the inner document as a problem of the configuration.
fn in_annotation(mut found: Diagnostic) -> Diagnostic {
    if let Some((line, column)) = found.position.take() {
        found
            .message
            .push_str(&format!(" at line {line}, column {column} of the value"));
    }
    found.pointer = pointer(&found.pointer);
    found
}

fn document(o: &Object<'_>) -> Option<Landlock> {
    let mode = match o.get("mode") {
        Some(mode) => mode.word_in(&MODES),
        None => Some(Mode::Strict),
    };
    let rules = o.get("pathBeneath");
    let handled_fs = match o.get("handledAccessFs") {
        Some(list) => bits(&list, &FS),
        None if rules.is_some() => DEFAULT_HANDLED_FS,
        None => 0,
    };
    let path_beneath = rules
        .map(|list| list.list(|item| item.exact(|o| rule(o, handled_fs))?))
        .unwrap_or_default();
    let ports = PORT_KEYS.map(|key| Some(o.get(key)?.list(|port| port.number(0..=u16::MAX))));
    let scoped = o.get("scoped").map_or(0, |list| bits(&list, &SCOPES));
    let audit = o.flag("audit").unwrap_or_default();
    if handled_fs == 0 && scoped == 0 && ports.iter().all(Option::is_none) {
        let hint = format!(
            "give `pathBeneath`, `handledAccessFs`, `scoped`, or a list of ports (`{}`)",
            PORT_KEYS.join("`, `")
        );
        o.value
            .error_hint(Code::Missing, "the document restricts nothing", hint);
    }
    Some(Landlock {
        mode: mode?,
        handled_fs,
        path_beneath,
        ports,
        scoped,
        audit,
    })
}

/// The bits of a list of words.
fn bits(list: &Value<'_>, table: &[(&str, u64)]) -> u64 {
    let words = list.list(|item| item.word_in(table));
    words.iter().fold(0, |all, bits| all | bits)
}

fn rule(o: &Object<'_>, handled: u64) -> Option<PathBeneath> {
    let paths = o.required("paths").map(|list| {
        refuse_empty(&list, "path");
        list.list(|item| item.absolute())
    });
    let (mut allowed, mut named) = (0, 0);
    if let Some(list) = o.required("allowedAccess") {
        refuse_empty(&list, "right");
        list.list(|item| {
            let bits = item.word_in(&FS)?;
            if bits & handled == 0 {
                let message = "the right is not restricted, so it cannot be allowed";
                let hint = "add it to `handledAccessFs`, or leave it out here";
                item.error_hint(Code::Conflict, message, hint);
            }
            allowed |= bits & handled;
            if bits.is_power_of_two() {
                named |= bits & handled;
            }
            Some(())
        });
    }
    let optional = o.flag("optional").unwrap_or_default();
    Some(PathBeneath {
        paths: paths?,
        allowed,
        named,
        optional,
    })
}

fn refuse_empty(list: &Value<'_>, what: &str) {
    if list.is_empty_list() {
        let message = format!("expected at least one {what}, found an empty list");
        list.error(Code::Range, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landlock::fs_name;

    fn judge(text: &str) -> (Option<Landlock>, Vec<String>) {
        let notes = Notes::default();
        let annotations = BTreeMap::from([(ANNOTATION.to_owned(), text.to_owned())]);
        let landlock = read(&annotations, &notes);
        let report = notes.into_report();
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        let errors = report.errors.iter().map(ToString::to_string);
        (landlock, errors.collect())
    }

    fn good(text: &str) -> Landlock {
        let (landlock, errors) = judge(text);
        assert!(errors.is_empty(), "{text}: {errors:?}");
        landlock.unwrap()
    }

    #[test]
    fn every_word_of_the_kernel_has_one_bit_of_its_own() {
        let single = FS.iter().filter(|(_, bits)| bits.is_power_of_two());
        let numbers: Vec<_> = single.map(|(_, bits)| bits.trailing_zeros()).collect();
        assert_eq!(numbers, (0..17).collect::<Vec<_>>());
        let names = |bits: u64| -> Vec<_> {
            let each = (0..17).map(|n| 1 << n).filter(|bit| bits & bit != 0);
            each.map(fs_name).collect()
        };
        let of = |word| FS.iter().find(|(name, _)| *name == word).unwrap().1;
        assert_eq!(names(of("read")), ["read_file", "read_dir"]);
        assert_eq!(
            names(of("write")),
            [
                "write_file",
                "remove_dir",
                "remove_file",
                "make_char",
                "make_dir",
                "make_reg",
                "make_sock",
                "make_fifo",
                "make_block",
                "make_sym",
                "refer",
                "truncate",
            ]
        );
    }

    #[test]
    fn rules_without_a_list_of_rights_restrict_reading_writing_and_executing() {
        let landlock = good(
            r#"{"pathBeneath": [{"paths": ["/", "/x"], "allowedAccess": ["read", "execute"]}]}"#,
        );
        assert_eq!(landlock.mode, Mode::Strict);
        assert_eq!(landlock.handled_fs, 0x7fff);
        let rule = &landlock.path_beneath[0];
        assert_eq!((rule.allowed, rule.named, rule.optional), (0xd, 1, false));
        assert_eq!(rule.paths, ["/", "/x"].map(std::path::PathBuf::from));
        assert_eq!(landlock.ports, [const { None }; 4]);
    }

    #[test]
    fn everything_else_is_restricted_where_it_is_named() {
        let landlock = good(
            r#"{"mode": "bestEffort", "bindTcp": [0, 65535], "connectTcp": [], "connectSendUdp": [53],
                "scoped": ["signal", "abstract_unix_socket"], "audit": true}"#,
        );
        assert_eq!(landlock.mode, Mode::BestEffort);
        assert_eq!(landlock.handled_fs, 0);
        let expected = [Some(vec![0, 65535]), Some(vec![]), None, Some(vec![53])];
        assert_eq!(landlock.ports, expected);
        assert_eq!((landlock.scoped, landlock.audit), (3, true));
        let denied = good(r#"{"handledAccessFs": ["make_sock"]}"#);
        assert_eq!((denied.handled_fs, denied.path_beneath), (1 << 9, vec![]));
    }

    #[test]
    fn of_a_group_what_is_restricted_is_allowed() {
        let landlock = good(
            r#"{"handledAccessFs": ["write_file", "make_reg"],
                "pathBeneath": [{"paths": ["/tmp"], "allowedAccess": ["write"], "optional": true}]}"#,
        );
        let rule = &landlock.path_beneath[0];
        assert_eq!((rule.allowed, rule.named), (1 << 1 | 1 << 8, 0));
        assert!(rule.optional);
    }

    /// Each document, with the pointer within it and a part of the message.
    const BAD: &[(&str, &str, &str)] = &[
        ("", "", "the file is empty"),
        ("{", "", "at line 1, column 1 of the value"),
        ("[]", "", "expected an object, found a list"),
        ("{}", "", "the document restricts nothing"),
        (r#"{"audit": true}"#, "", "the document restricts nothing"),
        (
            r#"{"handledAccessFs": []}"#,
            "",
            "the document restricts nothing",
        ),
        (r#"{"scoped": [], "scoped": []}"#, "", "appears twice"),
        (
            r#"{"mode": "strikt", "bindTcp": []}"#,
            "/mode",
            "did you mean `strict`?",
        ),
        (
            r#"{"mode": 1, "bindTcp": []}"#,
            "/mode",
            "expected a string",
        ),
        (
            r#"{"bindTCP": [], "connectTcp": []}"#,
            "/bindTCP",
            "did you mean `bindTcp`?",
        ),
        (r#"{"bindTcp": 80}"#, "/bindTcp", "expected a list"),
        (
            r#"{"bindTcp": [80, 65536]}"#,
            "/bindTcp/1",
            "65536 is outside the range from 0 to 65535",
        ),
        (r#"{"connectTcp": [-1]}"#, "/connectTcp/0", "-1 is outside"),
        (
            r#"{"bindUdp": ["53"]}"#,
            "/bindUdp/0",
            "expected a whole number",
        ),
        (
            r#"{"scoped": ["signals"]}"#,
            "/scoped/0",
            "did you mean `signal`?",
        ),
        (
            r#"{"handledAccessFs": ["read_files"]}"#,
            "/handledAccessFs/0",
            "did you mean `read_file`?",
        ),
        (
            r#"{"handledAccessFs": ["READ_FILE"]}"#,
            "/handledAccessFs/0",
            "not one of the property's values",
        ),
        (
            r#"{"handledAccessFs": "read"}"#,
            "/handledAccessFs",
            "expected a list",
        ),
        (
            r#"{"scoped": ["signal"], "audit": 1}"#,
            "/audit",
            "expected true or false",
        ),
        (r#"{"pathBeneath": {}}"#, "/pathBeneath", "expected a list"),
        (
            r#"{"pathBeneath": [{"allowedAccess": ["read"]}]}"#,
            "/pathBeneath/0",
            "`paths` is missing",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/"]}]}"#,
            "/pathBeneath/0",
            "`allowedAccess` is missing",
        ),
        (
            r#"{"pathBeneath": [{"paths": [], "allowedAccess": ["read"]}]}"#,
            "/pathBeneath/0/paths",
            "at least one path",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/"], "allowedAccess": []}]}"#,
            "/pathBeneath/0/allowedAccess",
            "at least one right",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["tmp"], "allowedAccess": ["read"]}]}"#,
            "/pathBeneath/0/paths/0",
            "absolute path",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/\u0000"], "allowedAccess": ["read"]}]}"#,
            "/pathBeneath/0/paths/0",
            "NUL",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/"], "allowedAccess": ["ioctl_dev"]}]}"#,
            "/pathBeneath/0/allowedAccess/0",
            "not restricted",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/"], "allowedAccess": ["read"], "option": true}]}"#,
            "/pathBeneath/0/option",
            "did you mean `optional`?",
        ),
        (
            r#"{"pathBeneath": [{"paths": ["/"], "allowedAccess": ["read"], "optional": 0}]}"#,
            "/pathBeneath/0/optional",
            "expected true or false",
        ),
    ];

    #[test]
    fn bad_input_is_named() {
        const RULE: &str = r#"{"pathBeneath": [{"paths": ["/"], "allowedAccess": ["read"]}]"#;
        for (text, inner, words) in BAD {
            let (_, errors) = judge(text);
            let start = format!("/annotations/dev.locule.landlock#{inner}: ");
            let found = errors
                .iter()
                .any(|error| error.starts_with(&start) && error.contains(words));
            assert!(found, "{text}: {errors:#?}");
        }
        assert_eq!(judge(&format!("{RULE}}}")).1, [""; 0]);
        let (_, errors) = judge(&format!("{RULE}, \"comment\": \"\"}}"));
        assert_eq!(
            errors,
            [
                "/annotations/dev.locule.landlock#/comment: the property \"comment\" is unknown [unknown-property]"
            ]
        );
    }

    #[test]
    fn other_annotations_of_ours_are_unknown() {
        let notes = Notes::default();
        let names = ["dev.locule.landlock.paths", "dev.locule.landlok"];
        let pairs = names.map(|name| (name.to_owned(), "{}".to_owned()));
        assert_eq!(read(&BTreeMap::from(pairs), &notes), None);
        let errors = notes.into_report().errors;
        let pointers: Vec<_> = errors.iter().map(|error| &*error.pointer).collect();
        assert_eq!(pointers, names.map(|name| format!("/annotations/{name}")));
    }

    #[test]
    fn no_annotation_is_no_restriction() {
        let notes = Notes::default();
        assert_eq!(read(&BTreeMap::new(), &notes), None);
        assert!(notes.into_report().errors.is_empty());
    }
}
