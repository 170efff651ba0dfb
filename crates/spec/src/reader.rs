//! Reading the tree without stopping at the first problem.
//!
//! A [`Value`] knows its place (the JSON pointer is only written out for a problem) and where to
//! report. A getter that cannot return the value reports why and returns `None`; the caller
//! continues with the rest. An [`Object`] remembers which keys were read, so that it can report
//! each unknown key with the key that was probably meant. `null` counts as absent, as in the other
//! runtimes.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::diagnostic::{Code, Diagnostic, Report, escape};
use crate::node::Node;
use crate::quote::quote;
use crate::suggestion::meant;
use crate::words::{self, Unknown};

/// How many errors, and how many warnings, one report keeps.
pub(crate) const KEPT: usize = 100;

/// Collects what the readers find.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    report: RefCell<Report>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

impl Notes {
    /// A problem that forbids the container. `found` is only called if the report has room.
    pub(crate) fn error(&self, found: impl FnOnce() -> Diagnostic) {
        self.errors.set(self.errors.get() + 1);
        if self.errors.get() <= KEPT {
            self.report.borrow_mut().errors.push(found());
        }
    }

    /// A problem that is tolerated.
    pub(crate) fn warn(&self, found: impl FnOnce() -> Diagnostic) {
        self.warnings.set(self.warnings.get() + 1);
        if self.warnings.get() <= KEPT {
            self.report.borrow_mut().warnings.push(found());
        }
    }

    /// All problems, with a last entry that counts the ones left out.
    pub(crate) fn into_report(self) -> Report {
        let mut report = self.report.into_inner();
        for (list, all) in [
            (&mut report.errors, self.errors.get()),
            (&mut report.warnings, self.warnings.get()),
        ] {
            if let Some(more) = all.checked_sub(KEPT).filter(|more| *more > 0) {
                list.push(Diagnostic::new(
                    Code::Range,
                    "",
                    format!("{more} more of this kind"),
                ));
            }
        }
        report
    }
}

/// The place of a value: the document, or a step below another place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'p> {
    Root,
    Key(&'p At<'p>, &'p str),
    Index(&'p At<'p>, usize),
}

impl At<'_> {
    /// The JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(above, key) => format!("{}/{}", above.pointer(), escape(key)),
            Self::Index(above, index) => format!("{}/{index}", above.pointer()),
        }
    }
}

/// A value that is not `null`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'p> {
    node: &'p Node<'p>,
    at: At<'p>,
    /// Where to report.
    pub(crate) notes: &'p Notes,
}

impl<'p> Value<'p> {
    /// The whole document.
    pub(crate) fn root(node: &'p Node<'p>, notes: &'p Notes) -> Self {
        Self::new(node, At::Root, notes)
    }

    fn new(node: &'p Node<'p>, at: At<'p>, notes: &'p Notes) -> Self {
        Self { node, at, notes }
    }

    /// Reports an error about this value.
    pub(crate) fn error(&self, code: Code, message: impl Into<String>) {
        self.notes
            .error(|| Diagnostic::new(code, self.at.pointer(), message));
    }

    /// Reports an error about this value with advice.
    pub(crate) fn error_hint(
        &self,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.notes
            .error(|| Diagnostic::new(code, self.at.pointer(), message).hint(hint));
    }

    /// Reports an error about this value, which then has no result.
    pub(crate) fn refuse<T>(&self, code: Code, message: impl Into<String>) -> Option<T> {
        self.error(code, message);
        None
    }

    /// The same with advice.
    pub(crate) fn refuse_hint<T>(
        &self,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.error_hint(code, message, hint);
        None
    }

    /// Reports a warning about this value.
    pub(crate) fn warn(&self, code: Code, message: impl Into<String>) {
        self.notes
            .warn(|| Diagnostic::new(code, self.at.pointer(), message));
    }

    /// Reports a warning about a word that is not one of `words`.
    pub(crate) fn warn_word(&self, message: &str, word: &str, mut known: Vec<String>) {
        self.notes.warn(|| {
            let found = Diagnostic::new(Code::UnknownValue, self.at.pointer(), message);
            // The crate's set has no order, and the first of two equally near words is suggested.
            known.sort_unstable();
            match meant(word, known.iter().map(String::as_str)) {
                Some(known) => found.hint(format!("did you mean `{known}`?")),
                None => found,
            }
        });
    }

    /// Whether this is `null`, which counts as absent; only [`Value::map`] returns one.
    pub(crate) fn is_null(&self) -> bool {
        *self.node == Node::Null
    }

    /// Whether this is an object.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self.node, Node::Object(_))
    }

    /// Whether this is an object that has a value for `key`, other than `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        let is_it = |(name, node): &(Cow<'_, str>, Node<'_>)| name == key && *node != Node::Null;
        matches!(self.node, Node::Object(entries) if entries.iter().any(is_it))
    }

    /// Whether this is a list without elements.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self.node, Node::List(items) if items.is_empty())
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        let found = describe(self.node);
        self.refuse(Code::Type, format!("expected {expected}, found {found}"))
    }

    /// A string, as written.
    pub(crate) fn verbatim(&self) -> Option<&'p str> {
        match self.node {
            Node::String(text) => Some(text),
            _ => self.wrong("a string"),
        }
    }

    /// A string that can be passed to the kernel: without NUL.
    pub(crate) fn text(&self) -> Option<&'p str> {
        let text = self.verbatim()?;
        if text.contains('\0') {
            return self.refuse(Code::Range, format!("{} contains a NUL byte", quote(text)));
        }
        Some(text)
    }

    /// A string that is not empty and has no NUL.
    pub(crate) fn filled(&self) -> Option<&'p str> {
        let text = self.text()?;
        if text.is_empty() {
            return self.refuse(Code::Range, "expected a value, found an empty string");
        }
        Some(text)
    }

    /// A path that starts at the root.
    pub(crate) fn absolute(&self) -> Option<PathBuf> {
        let text = self.filled()?;
        if !text.starts_with('/') {
            return self.refuse(
                Code::Path,
                format!("expected an absolute path, found {}", quote(text)),
            );
        }
        Some(Path::new(text).to_owned())
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.node {
            Node::Bool(value) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    /// A whole number within `range`.
    pub(crate) fn number<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy,
    {
        let (low, high) = ((*range.start()).into(), (*range.end()).into());
        let value: i128 = match *self.node {
            Node::Unsigned(value) => value.into(),
            Node::Negative(value) => value.into(),
            // A number beyond 64 bits arrives as a float: report it as out of range.
            Node::Float(value) if value.fract() == 0.0 && value.abs() >= 9.2e18 => {
                let text = match value.abs() < 1e21 {
                    true => format!("{value}"),
                    false => format!("{value:e}"),
                };
                return self.outside(&text, value, low, high);
            }
            _ => return self.wrong("a whole number"),
        };
        if !(low..=high).contains(&value) {
            return self.outside(&value.to_string(), value as f64, low, high);
        }
        T::try_from(value).ok()
    }

    /// Refuses a number. JavaScript, and jq before version 1.7, keep numbers as floats: they make
    /// 18446744073709552000 of a limit of 2^64 - 1 that an engine has written.
    fn outside<T>(&self, text: &str, value: f64, low: i128, high: i128) -> Option<T> {
        let message = format!("{text} is outside the range from {low} to {high}");
        if value == high as f64 {
            let hint = format!(
                "a program that keeps numbers as floats, such as jq 1.6, has rounded it: write {high}"
            );
            return self.refuse_hint(Code::Range, message, hint);
        }
        self.refuse(Code::Range, message)
    }

    /// A user or group id. 2^32-1 is refused: the kernel reads it as "no change".
    pub(crate) fn id(&self) -> Option<u32> {
        let id = self.number(0..=u32::MAX)?;
        if id == u32::MAX {
            return self.refuse(
                Code::Range,
                "4294967295 is not an id: the kernel reads it as \"no change\"",
            );
        }
        Some(id)
    }

    /// A word of a type of the specification.
    pub(crate) fn word<T: DeserializeOwned>(&self) -> Option<T> {
        self.parsed(|word| format!("{word} is not one of the property's values"))
    }

    /// The same; the message for another word begins with `invalid WHAT`, as runc's does.
    pub(crate) fn word_of<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        self.parsed(|word| format!("invalid {what} {word}"))
    }

    fn parsed<T: DeserializeOwned>(&self, message: impl Fn(&str) -> String) -> Option<T> {
        let parsed = words::parse(self.verbatim()?);
        parsed
            .map_err(|Unknown(known)| self.unknown_word(known, message))
            .ok()
    }

    /// A word of `table`, for properties without a type in the specification's crate.
    pub(crate) fn word_in<T: Copy>(&self, table: &[(&str, T)]) -> Option<T> {
        let text = self.verbatim()?;
        let found = table.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = table.iter().map(|row| row.0).collect();
            self.unknown_word(&known, |word| {
                format!("{word} is not one of the property's values")
            });
        }
        found.map(|row| row.1)
    }

    fn unknown_word(&self, known: &[&str], message: impl Fn(&str) -> String) {
        let Some(text) = self.verbatim() else { return };
        self.notes.error(|| {
            let message = message(&quote(text));
            let found = Diagnostic::new(Code::UnknownValue, self.at.pointer(), message);
            match meant(text, known.iter().copied()) {
                Some(word) => found.hint(format!("did you mean `{word}`?")),
                None if known.len() <= 10 => found.hint(format!("expected {}", known.join(", "))),
                None => found,
            }
        });
    }

    /// The result of `read` for each element that it can read.
    pub(crate) fn list<T>(&self, mut read: impl FnMut(&Value<'_>) -> Option<T>) -> Vec<T> {
        let Node::List(items) = self.node else {
            return self.wrong("a list").unwrap_or_default();
        };
        let mut out = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            let at = At::Index(&self.at, index);
            out.extend(read(&Value::new(node, at, self.notes)));
        }
        out
    }

    /// The result of `read` for each pair of an object with free keys.
    pub(crate) fn map<T>(&self, mut read: impl FnMut(&str, &Value<'_>) -> Option<T>) -> Vec<T> {
        let Node::Object(entries) = self.node else {
            return self.wrong("an object").unwrap_or_default();
        };
        let mut out = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            let at = At::Key(&self.at, key);
            out.extend(read(key, &Value::new(node, at, self.notes)));
        }
        out
    }

    /// The result of `read` for an object with known keys; warns about other keys.
    pub(crate) fn object<T>(&self, read: impl FnOnce(&Object<'_>) -> T) -> Option<T> {
        self.with_known_keys(read, Others::Ignored)
    }

    /// The result of `read` for an object with known keys; any other key is an error.
    pub(crate) fn exact<T>(&self, read: impl FnOnce(&Object<'_>) -> T) -> Option<T> {
        self.with_known_keys(read, Others::Refused)
    }

    fn with_known_keys<T>(&self, read: impl FnOnce(&Object<'_>) -> T, others: Others) -> Option<T> {
        let Node::Object(entries) = self.node else {
            return self.wrong("an object");
        };
        let object = Object {
            entries,
            value: *self,
            asked: RefCell::default(),
        };
        let out = read(&object);
        object.name_unasked(others);
        Some(out)
    }
}

/// What happens with keys that were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// A warning: config.md#extensibility.
    Ignored,
    /// An error.
    Refused,
}

/// An object with known keys.
#[derive(Debug)]
pub(crate) struct Object<'p> {
    entries: &'p [(Cow<'p, str>, Node<'p>)],
    /// The object as a value, to report about it as a whole.
    pub(crate) value: Value<'p>,
    asked: RefCell<Vec<&'static str>>,
}

impl Object<'_> {
    /// The value of `key`, unless it is absent or `null`.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'_>> {
        self.asked.borrow_mut().push(key);
        let (name, node) = self.entries.iter().find(|(name, _)| name == key)?;
        if *node == Node::Null {
            return None;
        }
        let at = At::Key(&self.value.at, name);
        Some(Value::new(node, at, self.value.notes))
    }

    /// Whether `key` is missing, `null`, or empty: an empty string, list or object.
    pub(crate) fn absent(&self, key: &str) -> bool {
        match self.entries.iter().find(|(name, _)| name == key) {
            None | Some((_, Node::Null)) => true,
            Some((_, Node::String(text))) => text.is_empty(),
            Some((_, Node::List(items))) => items.is_empty(),
            Some((_, Node::Object(entries))) => entries.is_empty(),
            Some(_) => false,
        }
    }

    /// The value of `key`; its absence is an error.
    pub(crate) fn required(&self, key: &'static str) -> Option<Value<'_>> {
        let value = self.get(key);
        if value.is_none() {
            self.value.error(
                Code::Missing,
                format!("the required property `{key}` is missing"),
            );
        }
        value
    }

    /// Accepts `keys` without looking at them.
    pub(crate) fn ignore(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend_from_slice(keys);
    }

    /// A string without NUL.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.text().map(str::to_owned)
    }

    /// A string without NUL; an empty one counts as absent.
    pub(crate) fn text_or_none(&self, key: &'static str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// The label of a security module; an empty one counts as absent. The kernel does not treat
    /// surrounding white space or a newline as a part of the label. A quote would end the label in
    /// the options of mount(2), and what follows would be options.
    pub(crate) fn label(&self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        let text = value.text().filter(|text| !text.is_empty())?;
        let is_foreign = |letter: char| letter.is_control() || letter == '"';
        if text.chars().any(is_foreign) || text.trim() != text {
            let message = format!(
                "{} contains control characters or quotes, or begins or ends with white space",
                quote(text)
            );
            return value.refuse(Code::Range, message);
        }
        Some(text.to_owned())
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.flag()
    }

    /// A whole number within `range`.
    pub(crate) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy,
    {
        self.get(key)?.number(range)
    }

    /// The result of `read` for each element of the list; empty when absent.
    pub(crate) fn list<T>(
        &self,
        key: &'static str,
        read: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Vec<T> {
        self.get(key)
            .map(|value| value.list(read))
            .unwrap_or_default()
    }

    /// A list of strings without NUL; empty when absent.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<String> {
        self.list(key, |item| item.text().map(str::to_owned))
    }

    fn name_unasked(&self, others: Others) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries {
            if asked.iter().any(|known| *known == key) {
                continue;
            }
            let found = || {
                let at = At::Key(&self.value.at, key);
                let ignored = match others {
                    Others::Ignored => " and ignored",
                    Others::Refused => "",
                };
                let message = format!("the property {} is unknown{ignored}", quote(key));
                let found = Diagnostic::new(Code::UnknownProperty, at.pointer(), message);
                match meant(key, asked.iter().copied()) {
                    Some(known) => found.hint(format!("did you mean `{known}`?")),
                    None => found,
                }
            };
            match others {
                Others::Ignored => self.value.notes.warn(found),
                Others::Refused => self.value.notes.error(found),
            }
        }
    }
}

fn describe(node: &Node<'_>) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Unsigned(value) => format!("the number {value}"),
        Node::Negative(value) => format!("the number {value}"),
        Node::Float(value) => format!("the number {value:?}"),
        Node::String(text) => format!("the string {}", quote(text)),
        Node::List(_) => "a list".to_owned(),
        Node::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node;

    fn read<T>(json: &str, read: impl FnOnce(&Object<'_>) -> T) -> (T, Report) {
        let node = node::parse(json.as_bytes()).unwrap();
        let notes = Notes::default();
        let out = Value::root(&node, &notes).object(read).unwrap();
        (out, notes.into_report())
    }

    #[test]
    fn an_unknown_key_is_a_warning_with_the_key_that_was_meant() {
        let (_, report) = read(
            r#"{"netDevice":1,"HOSTNAME":2,"x":3,"hostname":null}"#,
            |o| {
                o.ignore(&["netDevices"]);
                o.text("hostname")
            },
        );
        assert!(report.errors.is_empty());
        let shown: Vec<_> = report
            .warnings
            .iter()
            .map(|w| (&*w.pointer, w.hint.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("/netDevice", Some("did you mean `netDevices`?")),
                ("/HOSTNAME", Some("did you mean `hostname`?")),
                ("/x", None),
            ]
        );
    }

    /// `jq 1.6` writes back what it has read as a float.
    #[test]
    fn a_number_that_was_rounded_is_told_from_one_that_is_too_large() {
        for (value, high, is_rounded) in [
            ("18446744073709552000", u64::MAX, true),
            ("18446744073709551616", u64::MAX, true),
            ("9223372036854775808", i64::MAX as u64, true),
            ("9223372036854776000", i64::MAX as u64, true),
            ("18446744073709555712", u64::MAX, false),
            ("1e30", u64::MAX, false),
            ("-1", u64::MAX, false),
            ("256", 255, false),
        ] {
            let (out, report) = read(&format!("{{\"hard\":{value}}}"), |o| {
                o.number::<u64>("hard", 0..=high)
            });
            assert_eq!(out, None, "{value}");
            let hint = report.errors[0].hint.as_deref();
            assert_eq!(hint.is_some(), is_rounded, "{value}: {hint:?}");
            let exact = format!("write {high}");
            assert!(hint.is_none_or(|hint| hint.ends_with(&exact)), "{hint:?}");
        }
    }

    #[test]
    fn numbers_out_of_type_or_range_are_named() {
        let cases = [
            (
                "-1",
                Code::Range,
                "-1 is outside the range from 0 to 4294967295",
            ),
            ("4294967296", Code::Range, "4294967296 is outside"),
            (
                "18446744073709551616",
                Code::Range,
                "18446744073709552000 is outside the range",
            ),
            ("1e30", Code::Range, "outside the range"),
            (
                "1.5",
                Code::Type,
                "expected a whole number, found the number 1.5",
            ),
            ("1e3", Code::Type, "expected a whole number"),
            ("\"0\"", Code::Type, "found the string \"0\""),
            ("true", Code::Type, "found true"),
            ("[]", Code::Type, "found a list"),
            ("{}", Code::Type, "found an object"),
        ];
        for (value, code, text) in cases {
            let (out, report) = read(&format!("{{\"uid\":{value}}}"), |o| {
                o.number::<u32>("uid", 0..=u32::MAX)
            });
            assert_eq!(out, None);
            assert_eq!(report.errors.len(), 1);
            assert_eq!(report.errors[0].code, code);
            assert_eq!(report.errors[0].pointer, "/uid");
            assert!(
                report.errors[0].message.contains(text),
                "{}",
                report.errors[0]
            );
        }
    }

    #[test]
    fn every_element_with_a_problem_is_reported() {
        let (out, report) = read(r#"{"a/b":[1,"x",false]}"#, |o| o.texts("a/b"));
        assert_eq!(out, ["x"]);
        let pointers: Vec<_> = report.errors.iter().map(|e| &*e.pointer).collect();
        assert_eq!(pointers, ["/a~1b/0", "/a~1b/2"]);
    }

    #[test]
    fn a_flood_of_problems_is_counted() {
        let json = format!("{{\"a\":[{}0]}}", "0,".repeat(999));
        let (_, report) = read(&json, |o| o.texts("a"));
        assert_eq!(report.errors.len(), KEPT + 1);
        assert_eq!(report.errors[KEPT].message, "900 more of this kind");
    }
}
