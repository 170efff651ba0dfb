//! The document as a tree.
//!
//! Decides what counts as a JSON document: one value, no key twice in an object, at most
//! [`DEEPEST`] levels and [`NODES`] values, also below unknown keys. No property is deeper than
//! [`DEPTH`] levels, so the tree leaves out everything below that. Strings are borrowed from the
//! bytes unless they contain an escape. This module does not decide what the values mean.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::str;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::diagnostic::{Code, Diagnostic, escape};
use crate::quote::quote;

/// How many levels of lists and objects the tree has.
pub(crate) const DEPTH: usize = 64;
/// How many a document may have: as many as Go's reader accepts, and with it the other runtimes.
const DEEPEST: usize = 10_000;
/// How many values a document may hold: a tree of this many takes about 10 MiB.
pub(crate) const NODES: usize = 262_144;
/// In objects with more keys than this, repetitions are found in a sorted set.
const FEW: usize = 24;

/// One JSON value.
#[derive(Debug, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    /// Has a fraction or an exponent, or exceeds 64 bits.
    Float(f64),
    String(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// In the order of the document, every key once.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => out.serialize_unit(),
            Self::Bool(value) => out.serialize_bool(*value),
            Self::Unsigned(value) => out.serialize_u64(*value),
            Self::Negative(value) => out.serialize_i64(*value),
            Self::Float(value) => out.serialize_f64(*value),
            Self::String(text) => out.serialize_str(text),
            Self::List(items) => out.collect_seq(items),
            Self::Object(entries) => out.collect_map(entries.iter().map(|(key, node)| (key, node))),
        }
    }
}

/// A key whose value is left out of the tree, or a part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeftOut {
    pub(crate) key: &'static str,
    /// What is left out of the value; if this is empty, all of it.
    pub(crate) of_it: &'static [LeftOut],
}

impl LeftOut {
    /// All of the value of `key`.
    pub(crate) const fn all(key: &'static str) -> Self {
        Self { key, of_it: &[] }
    }
}

/// Reads one document.
///
/// # Errors
/// The first syntax error or exceeded limit, with its position.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node<'_>, Diagnostic> {
    parse_without(bytes, &[])
}

/// The same without some values: their syntax is read, and nothing else.
pub(crate) fn parse_without<'a>(
    bytes: &'a [u8],
    left_out: &'static [LeftOut],
) -> Result<Node<'a>, Diagnostic> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(
            at_start("the file starts with a UTF-8 BOM, which JSON does not permit")
                .hint("save it as UTF-8 without BOM"),
        );
    }
    let text = str::from_utf8(bytes).map_err(|error| invalid_utf8(bytes, error.valid_up_to()))?;
    if text.trim_ascii().is_empty() {
        return Err(at_start("the file is empty, expected a JSON object"));
    }
    let limits = Limits::default();
    let mut input = serde_json::Deserializer::from_str(text);
    let node = Tree {
        limits: &limits,
        depth: 0,
        left_out,
    }
    .deserialize(&mut input);
    if limits.is_deep.get() && levels(text) > DEEPEST {
        let message = format!("the document is nested deeper than {DEEPEST} levels");
        return Err(Diagnostic::new(Code::Range, "", message));
    }
    let node = node.map_err(|error| limits.describe(&error, bytes.len()))?;
    input.end().map_err(|error| {
        let mut found = limits.describe(&error, bytes.len());
        found.message = "data after the end of the document".to_owned();
        found
    })?;
    Ok(node)
}

/// The depth of nested lists and objects at the deepest place.
fn levels(text: &str) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    let mut is_string = false;
    while let Some(byte) = bytes.next() {
        match (is_string, byte) {
            (_, b'"') => is_string = !is_string,
            // An escaped quote does not end a string.
            (true, b'\\') => drop(bytes.next()),
            (false, b'[' | b'{') => {
                level += 1;
                deepest = deepest.max(level);
            }
            (false, b']' | b'}') => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn at_start(message: &str) -> Diagnostic {
    let mut found = Diagnostic::new(Code::Syntax, "", message);
    found.position = Some((1, 1));
    found
}

fn invalid_utf8(bytes: &[u8], offset: usize) -> Diagnostic {
    let before = bytes.get(..offset).unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let column = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .map_or(0, <[u8]>::len)
        + 1;
    let message = format!("invalid UTF-8 at byte offset {offset}");
    let mut found = Diagnostic::new(Code::Syntax, "", message);
    found.position = Some((line, column));
    found
}

/// What one parse has used up, and where it failed.
#[derive(Default)]
struct Limits {
    nodes: Cell<usize>,
    /// Whether something was left out of the tree.
    is_deep: Cell<bool>,
    refusal: Cell<Option<Code>>,
    /// Steps of the pointer of the failure, innermost first; only filled while failing.
    path: RefCell<Vec<String>>,
}

impl Limits {
    fn refuse<E: Error>(&self, code: Code, message: impl fmt::Display) -> E {
        self.refusal.set(Some(code));
        E::custom(message)
    }

    fn describe(&self, error: &serde_json::Error, size: usize) -> Diagnostic {
        let mut pointer = String::new();
        for step in self.path.borrow().iter().rev() {
            pointer.push('/');
            pointer.push_str(&escape(step));
        }
        let (line, column) = (error.line(), error.column());
        let code = self.refusal.get().unwrap_or(Code::Syntax);
        let whole = error.to_string();
        let place = format!(" at line {line} column {column}");
        let mut message = whole.strip_suffix(&place).unwrap_or(&whole).to_owned();
        if error.is_eof() {
            message = format!("the document ends early, at byte {size}: {message}");
        }
        let mut found = Diagnostic::new(code, pointer, message);
        found.position = Some((line, column));
        found
    }
}

#[derive(Clone, Copy)]
struct Tree<'l> {
    limits: &'l Limits,
    depth: usize,
    /// What is left out of this value.
    left_out: &'static [LeftOut],
}

impl Tree<'_> {
    fn deeper(self, left_out: &'static [LeftOut]) -> Self {
        Self {
            limits: self.limits,
            depth: self.depth + 1,
            left_out,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Node<'de>, D::Error> {
        let nodes = self.limits.nodes.get() + 1;
        if nodes > NODES {
            let message = format!("the document has more than {NODES} values");
            return Err(self.limits.refuse(Code::Range, message));
        }
        self.limits.nodes.set(nodes);
        if self.depth > DEPTH {
            self.limits.is_deep.set(true);
            // Without recursion, at any depth.
            return IgnoredAny::deserialize(input).map(|_left_out| Node::Null);
        }
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(u64::try_from(value).map_or(Node::Negative(value), Node::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper(&[]);
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(inner) {
                Ok(Some(node)) => list.push(node),
                Ok(None) => return Ok(Node::List(list)),
                Err(error) => {
                    self.limits.path.borrow_mut().push(list.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node<'de>, A::Error> {
        let mut object: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(Key(key)) = entries.next_key()? {
            let rule = self.left_out.iter().find(|rule| rule.key == key);
            if rule.is_some_and(|rule| rule.of_it.is_empty()) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let inner = self.deeper(rule.map_or(&[], |rule| rule.of_it));
            let again = if object.len() < FEW {
                object.iter().any(|(other, _)| *other == key)
            } else {
                if seen.is_empty() {
                    seen.extend(object.iter().map(|(other, _)| other.clone()));
                }
                !seen.insert(key.clone())
            };
            if again {
                let message = format!("the key {} appears twice in this object", quote(&key));
                return Err(self.limits.refuse(Code::DuplicateKey, message));
            }
            match entries.next_value_seed(inner) {
                Ok(node) => object.push((key, node)),
                Err(error) => {
                    self.limits.path.borrow_mut().push(key.into_owned());
                    return Err(error);
                }
            }
        }
        Ok(Node::Object(object))
    }
}

/// An object's key, borrowed if it contains no escape.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> Diagnostic {
        parse(bytes).expect_err("refused")
    }

    #[test]
    fn values_keep_their_kind_and_order() {
        let node = parse(br#"{"b":[1,-2,1.5,true,null],"a":"x\ny"}"#).unwrap();
        let Node::Object(entries) = node else {
            panic!("an object")
        };
        assert_eq!(entries[0].0, "b");
        assert_eq!(
            entries[0].1,
            Node::List(vec![
                Node::Unsigned(1),
                Node::Negative(-2),
                Node::Float(1.5),
                Node::Bool(true),
                Node::Null,
            ])
        );
        assert_eq!(entries[1].1, Node::String("x\ny".into()));
    }

    #[test]
    fn a_string_without_escape_is_borrowed() {
        let node = parse(br#"["abc"]"#).unwrap();
        let Node::List(items) = node else {
            panic!("a list")
        };
        assert!(matches!(items[0], Node::String(Cow::Borrowed("abc"))));
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_position() {
        let cases: [(&[u8], &str, (usize, usize)); 9] = [
            (b"", "empty", (1, 1)),
            (b" \n\t", "empty", (1, 1)),
            (b"\xef\xbb\xbf{}", "BOM", (1, 1)),
            (b"{\n\"a\": 1", "ends early", (2, 6)),
            (b"{} x", "data after the end", (1, 4)),
            (b"{}\n{}", "data after the end", (2, 1)),
            (b"{\n \"a\xff\"}", "invalid UTF-8 at byte offset 5", (2, 4)),
            (b"{\"a\" 1}", "expected `:`", (1, 6)),
            (b"{\"a\":\"\x01\"}", "control character", (1, 7)),
        ];
        for (bytes, text, position) in cases {
            let found = refused(bytes);
            assert_eq!(found.code, Code::Syntax, "{found}");
            assert!(found.message.contains(text), "{found}");
            assert_eq!(found.position, Some(position), "{found}");
        }
    }

    #[test]
    fn a_key_twice_is_refused_where_it_stands() {
        let found = refused(b"{\"a\": {\n \"x/y\": [{\"k\":1, \"k\":2}]}}");
        assert_eq!(found.code, Code::DuplicateKey);
        assert_eq!(found.pointer, "/a/x~1y/0");
        assert_eq!(found.position.map(|at| at.0), Some(2));
        assert!(found.message.contains("\"k\""), "{found}");
    }

    #[test]
    fn a_key_twice_is_found_in_large_objects() {
        let mut text = String::from("{");
        for index in 0..1000 {
            text.push_str(&format!("\"k{index}\":0,"));
        }
        assert!(parse(format!("{text}\"z\":0}}").as_bytes()).is_ok());
        for again in ["k0", "k24", "k999"] {
            let found = refused(format!("{text}\"{again}\":0}}").as_bytes());
            assert_eq!(found.code, Code::DuplicateKey);
        }
    }

    #[test]
    fn an_escaped_key_counts_as_the_same_key() {
        assert_eq!(refused(br#"{"a":1,"\u0061":2}"#).code, Code::DuplicateKey);
    }

    #[test]
    fn what_is_deep_is_left_out_and_what_is_very_deep_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, DEPTH, DEPTH + 1, DEPTH + 2, 200, DEEPEST] {
            assert!(parse(nested(depth).as_bytes()).is_ok(), "{depth}");
        }
        let strings = format!(
            "{}\"{}\\\"[\"{}",
            "[".repeat(99),
            "[".repeat(99_999),
            "]".repeat(99)
        );
        assert!(parse(strings.as_bytes()).is_ok());
        let found = refused(nested(DEEPEST + 1).as_bytes());
        assert_eq!(found.code, Code::Range);
        let deep = format!("{{\"unknown\":{}", "{\"a\":[".repeat(100_000));
        let found = refused(deep.as_bytes());
        assert!(found.message.contains("10000 levels"), "{found}");
        let broken = format!("{}nonsense", "[".repeat(100));
        assert_eq!(refused(broken.as_bytes()).code, Code::Syntax);
    }

    #[test]
    fn values_are_left_out_where_their_keys_are_named() {
        const RULES: &[LeftOut] = &[
            LeftOut::all("a"),
            LeftOut {
                key: "b",
                of_it: &[LeftOut::all("a")],
            },
        ];
        let whole = br#"{"a":[1],"b":{"a":{},"b":{"a":2}},"c":{"a":3},"d":[{"a":4}]}"#;
        let node = parse_without(whole, RULES).unwrap();
        let rest = br#"{"b":{"b":{"a":2}},"c":{"a":3},"d":[{"a":4}]}"#;
        assert_eq!(node, parse(rest).unwrap());
        let broken = parse_without(b"{\"a\": [1,}", RULES).expect_err("refused");
        assert_eq!(broken.code, Code::Syntax);
    }

    #[test]
    fn too_many_values_are_refused() {
        let text = format!("[{}0]", "0,".repeat(NODES));
        assert!(refused(text.as_bytes()).message.contains("262144 values"));
    }
}
