//! Types as text: `a(ss)` is a list of pairs of strings.

use crate::Malformed;

/// The maximum depth of arrays in arrays, and of structures in structures.
const DEPTH: usize = 32;
/// The maximum length of a signature in bytes.
const LENGTH: usize = 255;

/// One or more complete types, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(String);

impl Signature {
    /// Checks `text`.
    ///
    /// # Errors
    /// It has unknown letters or open brackets, or it is too long or too deep.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LENGTH {
            return Err(Malformed("a signature is longer than 255 bytes"));
        }
        let mut rest = text;
        while !rest.is_empty() {
            rest = first(rest)?.1;
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The complete types, one by one.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.as_str();
        std::iter::from_fn(move || {
            let (one, after) = first(rest).ok()?;
            rest = after;
            Some(one)
        })
    }
}

/// Splits off the first complete type.
pub(crate) fn first(text: &str) -> Result<(&str, &str), Malformed> {
    let end = end_of(text.as_bytes(), 0, 0, 0)?;
    text.split_at_checked(end)
        .ok_or(Malformed("a signature is not ASCII text"))
}

/// The end of the complete type that begins at `at`.
fn end_of(text: &[u8], at: usize, arrays: usize, structs: usize) -> Result<usize, Malformed> {
    if arrays > DEPTH || structs > DEPTH {
        return Err(Malformed("a type is nested too deep"));
    }
    match text.get(at) {
        None => Err(Malformed("a signature ends within a type")),
        Some(letter) if is_basic(*letter) || *letter == b'v' => Ok(at + 1),
        Some(b'a') if text.get(at + 1) == Some(&b'{') => entry_end(text, at + 2, arrays, structs),
        Some(b'a') => end_of(text, at + 1, arrays + 1, structs),
        Some(b'(') => {
            let mut at = end_of(text, at + 1, arrays, structs + 1)?;
            while text.get(at) != Some(&b')') {
                at = end_of(text, at, arrays, structs + 1)?;
            }
            Ok(at + 1)
        }
        Some(_) => Err(Malformed("a signature contains an unknown type")),
    }
}

/// The end of a dictionary's element whose key begins at `at`.
fn entry_end(text: &[u8], at: usize, arrays: usize, structs: usize) -> Result<usize, Malformed> {
    if !text.get(at).copied().is_some_and(is_basic) {
        return Err(Malformed("the key of a dictionary is not of a basic type"));
    }
    let end = end_of(text, at + 1, arrays + 1, structs + 1)?;
    if text.get(end) == Some(&b'}') {
        Ok(end + 1)
    } else {
        Err(Malformed(
            "an element of a dictionary does not have two parts",
        ))
    }
}

pub(crate) fn is_basic(letter: u8) -> bool {
    b"ybnqiuxtdsogh".contains(&letter)
}

/// The alignment of a type's values in bytes.
pub(crate) fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_types_are_told_apart() {
        let signature = Signature::parse("ssa(sv)a{s(ii)}aas").unwrap();
        let types: Vec<_> = signature.types().collect();
        assert_eq!(types, ["s", "s", "a(sv)", "a{s(ii)}", "aas"]);
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "a", "(", "()", "(s", "a{", "a{s}", "a{vs}", "a{sss}", "{ss}", "z", "e", "ä", "s)",
        ] {
            assert!(Signature::parse(text).is_err(), "{text:?}");
        }
        assert!(Signature::parse(&"a".repeat(40)).is_err());
        assert!(Signature::parse(&format!("{}s", "a".repeat(32))).is_ok());
        assert!(Signature::parse(&format!("{}s", "a".repeat(33))).is_err());
        assert!(Signature::parse(&"s".repeat(256)).is_err());
    }
}
