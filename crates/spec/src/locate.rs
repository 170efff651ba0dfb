//! Line and column of a value, found again when there is a problem to report.
//!
//! The tree keeps no positions: a correct document never needs one. A second pass walks to the
//! value and raises an error there, so that the JSON reader reports the position.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// 1-based line and column of the last byte of the value, or of the first byte within a list or an
/// object.
///
/// `None` when `pointer` (RFC 6901) leads to no value in `bytes`.
pub(crate) fn position(bytes: &[u8], pointer: &str) -> Option<(usize, usize)> {
    let steps: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|s| s.replace("~1", "/").replace("~0", "~"))
        .collect();
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let error = Walk { steps: &steps }.deserialize(&mut input).err()?;
    let (line, column) = (error.line(), error.column());
    let found = format!("{FOUND} at line {line} column {column}");
    error
        .to_string()
        .ends_with(&found)
        .then_some((line, column))
}

const FOUND: &str = "the value is here";

/// Every other value than a list or an object is an error, whose text says what was expected.
struct Walk<'s> {
    steps: &'s [String],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.steps {
            [] => FOUND,
            _ => "a list or an object",
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (step, rest) = self
            .steps
            .split_first()
            .ok_or_else(|| A::Error::custom(FOUND))?;
        let mut index = 0;
        loop {
            let more = if *step == index.to_string() {
                items.next_element_seed(Walk { steps: rest })?.is_some()
            } else {
                items.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (step, rest) = self
            .steps
            .split_first()
            .ok_or_else(|| A::Error::custom(FOUND))?;
        while let Some(key) = entries.next_key::<Cow<'_, str>>()? {
            if key == *step {
                entries.next_value_seed(Walk { steps: rest })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_again() {
        let bytes = b"{\n \"a/b\": [0,\n  {\"c\": \"x\"}],\n \"d\": 7\n}";
        let cases = [
            ("", Some((2, 1))),
            ("/d", Some((4, 7))),
            ("/a~1b/1/c", Some((3, 11))),
            ("/a~1b/2", None),
            ("/e", None),
            ("/d/x", None),
        ];
        for (pointer, expected) in cases {
            assert_eq!(position(bytes, pointer), expected, "{pointer}");
        }
    }
}
