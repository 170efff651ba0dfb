//! Values as text, in the form of GVariant's text format: `uint64 5000000`, `'word'`, `['a', 'b']`.
//!
//! Numbers without a type are int32, or double with a point or an exponent; `@as []` gives an empty
//! list its type. Source: the text format chapter of GLib's GVariant documentation.

use dbus::{Signature, Value};

/// The maximum depth of nested brackets.
const DEPTH: usize = 16;

/// Words for basic types.
const KEYWORDS: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("handle", "h"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// Reads one value.
///
/// # Errors
/// A sentence that says why the text is not such a value.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    parser.space();
    if parser.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("{:?} is left over after the value", parser.rest))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `token`, if it comes next.
    fn eat(&mut self, token: char) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.eat(token) {
            Ok(())
        } else if self.rest.is_empty() {
            Err(format!("{token:?} is missing at the end"))
        } else {
            Err(format!("{token:?} is missing before {:?}", self.rest))
        }
    }

    /// Letters, digits and the other characters of numbers.
    fn word(&mut self) -> &'a str {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "+-._".contains(letter);
        let end = self.rest.find(|letter| !is_part(letter));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// One value, of type `wanted` if that is given.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err("brackets are nested too deep".to_owned());
        }
        self.space();
        let value = match self.rest.chars().next() {
            None => Err("a value is missing".to_owned()),
            Some('@') => self.typed(depth),
            Some('\'' | '"') => self.text(wanted),
            Some('[') => self.list(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('{') => self.dictionary(wanted, depth),
            Some('<') => {
                self.expect('<')?;
                let value = self.value(None, depth + 1)?;
                self.expect('>')?;
                Ok(Value::variant(value))
            }
            Some(_) => self.plain(wanted, depth),
        }?;
        match wanted {
            Some(wanted) if value.signature() != wanted => Err(format!(
                "a value has type {:?}, expected {wanted:?}",
                value.signature()
            )),
            _ => Ok(value),
        }
    }

    /// `@TYPE VALUE`
    fn typed(&mut self, depth: usize) -> Result<Value, String> {
        self.expect('@')?;
        let end = self.rest.find(char::is_whitespace);
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let signature =
            Signature::parse(text).map_err(|error| format!("type {text:?}: {error}"))?;
        if signature.types().count() != 1 {
            return Err(format!("{text:?} is not one type"));
        }
        self.value(Some(text), depth + 1)
    }

    /// A word: a truth value, a number, or the type of what follows.
    fn plain(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let whole = self.rest;
        let word = self.word();
        if let Some((_word, signature)) = KEYWORDS.iter().find(|(known, _)| *known == word) {
            return self.value(Some(signature), depth + 1);
        }
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "b" if self.rest.starts_with(['\'', '"']) => {
                let mut bytes = self.quoted()?.into_bytes();
                bytes.push(0);
                Ok(Value::bytes(&bytes))
            }
            "just" | "nothing" => Err("D-Bus cannot carry a value that may be absent".to_owned()),
            "" => Err(format!("{whole:?} is not a value")),
            number => self::number(number, wanted),
        }
    }

    fn text(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let text = self.quoted()?;
        match wanted {
            Some("o") if text.starts_with('/') => Ok(Value::Path(text)),
            Some("o") => Err(format!("{text:?} is not the path of an object")),
            Some("g") => match Signature::parse(&text) {
                Ok(_) => Ok(Value::Signature(text)),
                Err(error) => Err(format!("type {text:?}: {error}")),
            },
            _ => Ok(Value::Str(text)),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next().unwrap_or_default();
        let mut text = String::new();
        loop {
            let letter = match letters.next() {
                None => return Err(format!("{quote} is missing at the end of {text:?}")),
                Some(letter) if letter == quote => break,
                Some('\\') => escape(&mut letters)?,
                Some(letter) => letter,
            };
            if letter == '\0' {
                return Err("a string contains a NUL".to_owned());
            }
            text.push(letter);
        }
        self.rest = letters.as_str();
        Ok(text)
    }

    fn list(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.expect('[')?;
        let mut element = wanted
            .map(|wanted| {
                wanted
                    .strip_prefix('a')
                    .ok_or_else(|| format!("found a list, expected a value of type {wanted:?}"))
            })
            .transpose()?
            .map(str::to_owned);
        let mut items = Vec::new();
        if !self.eat(']') {
            loop {
                let item = self.value(element.as_deref(), depth + 1)?;
                element.get_or_insert_with(|| item.signature());
                items.push(item);
                if self.eat(']') {
                    break;
                }
                self.expect(',')?;
            }
        }
        match element {
            Some(element) => Ok(Value::Array(element, items)),
            None => Err("an empty list needs its type, as in \"@as []\"".to_owned()),
        }
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.expect('(')?;
        let inner = wanted.and_then(|text| text.strip_prefix('(')?.strip_suffix(')'));
        let inner = inner.and_then(|text| Signature::parse(text).ok());
        let mut types = inner.iter().flat_map(Signature::types);
        let mut fields = Vec::new();
        loop {
            fields.push(self.value(types.next(), depth + 1)?);
            if !self.eat(',') {
                break;
            }
            if self.rest.trim_start().starts_with(')') {
                break;
            }
        }
        self.expect(')')?;
        Ok(Value::Struct(fields))
    }

    fn dictionary(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.expect('{')?;
        let inner = wanted.and_then(|text| text.strip_prefix("a{")?.strip_suffix('}'));
        let (mut key, mut value) = match inner.and_then(|text| text.split_at_checked(1)) {
            Some((key, value)) => (Some(key.to_owned()), Some(value.to_owned())),
            None => (None, None),
        };
        let mut items = Vec::new();
        if !self.eat('}') {
            loop {
                let one = self.value(key.as_deref(), depth + 1)?;
                self.expect(':')?;
                let other = self.value(value.as_deref(), depth + 1)?;
                if one.signature().len() != 1 || one.signature() == "v" {
                    return Err("a key of a dictionary is neither text nor number".to_owned());
                }
                key.get_or_insert_with(|| one.signature());
                value.get_or_insert_with(|| other.signature());
                items.push(Value::Entry(Box::new(one), Box::new(other)));
                if self.eat('}') {
                    break;
                }
                self.expect(',')?;
            }
        }
        match (key, value) {
            (Some(key), Some(value)) => Ok(Value::Array(format!("{{{key}{value}}}"), items)),
            _ => Err("an empty dictionary needs its type, as in \"@a{sv} {}\"".to_owned()),
        }
    }
}

fn escape(letters: &mut std::str::Chars<'_>) -> Result<char, String> {
    let letter = letters.next().ok_or("a string ends with a backslash")?;
    let digits = match letter {
        'a' => return Ok('\u{7}'),
        'b' => return Ok('\u{8}'),
        'f' => return Ok('\u{c}'),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        'v' => return Ok('\u{b}'),
        'u' => 4,
        'U' => 8,
        other => return Ok(other),
    };
    let code: String = letters.by_ref().take(digits).collect();
    let number = (code.len() == digits && code.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(&code, 16).ok())
        .flatten();
    number
        .and_then(char::from_u32)
        .ok_or_else(|| format!("\\{letter}{code} is not a character"))
}

/// A number of type `wanted`.
fn number(word: &str, wanted: Option<&str>) -> Result<Value, String> {
    let (is_negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some(two) if two.starts_with('0') && two.as_bytes()[1].is_ascii_digit() => (digits, 8),
        _ => (digits, 10),
    };
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = match is_whole {
        true => i128::from_str_radix(digits, radix).ok(),
        false => None,
    };
    let whole = whole.map(|whole| if is_negative { -whole } else { whole });
    let is_double = matches!(wanted, Some("d")) || (wanted.is_none() && whole.is_none());
    if is_double {
        let starts_well =
            digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
        let double = word
            .parse::<f64>()
            .ok()
            .filter(|_| starts_well && radix == 10);
        return double
            .map(Value::Double)
            .ok_or_else(|| format!("{word:?} is not a value"));
    }
    let whole = whole.ok_or_else(|| format!("{word:?} is not a whole number"))?;
    let kind = wanted.unwrap_or("i");
    let value = match kind {
        "y" => u8::try_from(whole).map(Value::Byte),
        "n" => i16::try_from(whole).map(Value::I16),
        "q" => u16::try_from(whole).map(Value::U16),
        "i" => i32::try_from(whole).map(Value::I32),
        "u" => u32::try_from(whole).map(Value::U32),
        "x" => i64::try_from(whole).map(Value::I64),
        "t" => u64::try_from(whole).map(Value::U64),
        "h" => u32::try_from(whole).map(Value::Handle),
        _ => {
            return Err(format!("found {word:?}, expected a value of type {kind:?}"));
        }
    };
    value.map_err(|_outside| format!("{word:?} does not fit into type {kind:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_with_their_types() {
        let list = |signature: &str, items| Value::Array(signature.to_owned(), items);
        let table = [
            ("uint64 5000000", Value::U64(5_000_000)),
            (" true ", Value::Bool(true)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            (r"'a\'b\n\u00e4\\'", Value::text("a'b\nä\\")),
            ("15", Value::I32(15)),
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("0", Value::I32(0)),
            ("1.5", Value::Double(1.5)),
            ("1e3", Value::Double(1000.0)),
            ("double 2", Value::Double(2.0)),
            ("byte 0xff", Value::Byte(255)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("objectpath '/a'", Value::Path("/a".to_owned())),
            ("signature 'a{sv}'", Value::Signature("a{sv}".to_owned())),
            (
                "['a.service', 'b.service']",
                Value::texts(["a.service", "b.service"]),
            ),
            ("@as []", list("s", vec![])),
            ("@au [1,2]", list("u", vec![Value::U32(1), Value::U32(2)])),
            (
                "[uint32 1, 2]",
                list("u", vec![Value::U32(1), Value::U32(2)]),
            ),
            ("@ay [0x01, 255]", Value::bytes(&[1, 255])),
            ("b'ab'", Value::bytes(b"ab\0")),
            ("<'x'>", Value::variant(Value::text("x"))),
            (
                "@a(st) [('/dev/sda', 5)]",
                list(
                    "(st)",
                    vec![Value::Struct(vec![Value::text("/dev/sda"), Value::U64(5)])],
                ),
            ),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
            (
                "{'k': <1>}",
                list(
                    "{sv}",
                    vec![Value::Entry(
                        Box::new(Value::text("k")),
                        Box::new(Value::variant(Value::I32(1))),
                    )],
                ),
            ),
            ("@a{sv} {}", list("{sv}", vec![])),
        ];
        for (text, value) in table {
            assert_eq!(parse(text).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_value_is_refused() {
        let table = [
            ("", "a value is missing"),
            ("word", "\"word\" is not a value"),
            ("inactive-or-failed", "is not a value"),
            ("inf", "is not a value"),
            ("1 2", "\"2\" is left over"),
            ("'a", "' is missing at the end"),
            ("['a'", "',' is missing at the end"),
            ("['a' 'b']", "',' is missing before"),
            ("['a', 1]", "found \"1\", expected a value of type \"s\""),
            ("[]", "needs its type"),
            ("{}", "needs its type"),
            ("()", "is not a value"),
            ("@zz 1", "unknown type"),
            ("@ss 'a'", "is not one type"),
            ("@s 1", "expected a value"),
            ("uint64 -1", "does not fit into type \"t\""),
            ("uint64 'a'", "expected"),
            ("byte 256", "does not fit"),
            ("2147483648", "does not fit into type \"i\""),
            ("uint32 1.5", "is not a whole number"),
            ("0x", "is not a value"),
            ("09", "is not a value"),
            ("objectpath 'a'", "is not the path"),
            ("nothing", "absent"),
            (r"'\u0000'", "NUL"),
            (r"'\ud800'", "is not a character"),
            (r"'\u12", "is not a character"),
            ("'\\", "backslash"),
            ("{[1]: 2}", "neither text nor number"),
            ("ä", "is not a value"),
        ];
        for (text, told) in table {
            let error = parse(text).unwrap_err();
            assert!(
                error.contains(told),
                "{text}: {error:?} instead of {told:?}"
            );
        }
        assert!(
            parse(&"[".repeat(100_000))
                .unwrap_err()
                .contains("too deep")
        );
        assert!(
            parse(&"<".repeat(100_000))
                .unwrap_err()
                .contains("too deep")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text in r#"[\[\]\(\){}<>@,:'\"\\ abstu0-9x.-]{0,40}|.{0,40}"#) {
            let _either = parse(&text);
        }
    }
}
