//! Decodes bytes to values. For any bytes the result is a value or an error.

use crate::signature::{Signature, alignment, first};
use crate::{Malformed, Value};

/// The maximum depth of nested variants, arrays and structures.
const DEPTH: usize = 64;

/// The maximum length of an array in bytes.
const ARRAY: usize = 1 << 26;

/// The byte order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// A position in a slice of bytes; alignment counts from the start of the slice.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self {
            bytes,
            at: 0,
            order,
        }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Malformed("the message ends within a value"))?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Malformed("padding is not zero"));
        }
        Ok(())
    }

    /// A number of N bytes, in little-endian order.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.align(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        if self.order == Order::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.number().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.u32()?).map_err(|_too_large| Malformed("a length is too large"))
    }

    fn terminated(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(length)?;
        if self.take(1)? != [0] || bytes.contains(&0) {
            return Err(Malformed("a text does not end with its first NUL"));
        }
        str::from_utf8(bytes).map_err(|_invalid| Malformed("a text is not UTF-8"))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.length()?;
        Ok(self.terminated(length)?.to_owned())
    }

    fn path(&mut self) -> Result<String, Malformed> {
        let path = self.text()?;
        if path.starts_with('/') {
            Ok(path)
        } else {
            Err(Malformed(
                "the path of an object does not begin with a slash",
            ))
        }
    }

    fn signature(&mut self) -> Result<Signature, Malformed> {
        let [length] = self.number()?;
        Signature::parse(self.terminated(length.into())?)
    }

    /// Values of the types of `signature`, one after another.
    pub(crate) fn values(&mut self, signature: &Signature) -> Result<Vec<Value>, Malformed> {
        signature.types().map(|one| self.value(one, 0)).collect()
    }

    /// One value of the complete type `signature`.
    fn value(&mut self, signature: &str, depth: usize) -> Result<Value, Malformed> {
        if depth > DEPTH {
            return Err(Malformed("values are nested too deep"));
        }
        let (letter, rest) = signature
            .split_at_checked(1)
            .ok_or(Malformed("a signature ends within a type"))?;
        Ok(match letter {
            "y" => Value::Byte(self.number().map(u8::from_le_bytes)?),
            "b" => Value::Bool(match self.u32()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("a truth value is neither 0 nor 1")),
            }),
            "n" => Value::I16(self.number().map(i16::from_le_bytes)?),
            "q" => Value::U16(self.number().map(u16::from_le_bytes)?),
            "i" => Value::I32(self.number().map(i32::from_le_bytes)?),
            "u" => Value::U32(self.u32()?),
            "x" => Value::I64(self.number().map(i64::from_le_bytes)?),
            "t" => Value::U64(self.number().map(u64::from_le_bytes)?),
            "d" => Value::Double(self.number().map(f64::from_le_bytes)?),
            "s" => Value::Str(self.text()?),
            "o" => Value::Path(self.path()?),
            "g" => Value::Signature(self.signature()?.as_str().to_owned()),
            "h" => Value::Handle(self.u32()?),
            "a" => self.array(rest, depth)?,
            "(" => Value::Struct(self.fields(rest, depth)?),
            "v" => self.variant(depth)?,
            _ => return Err(Malformed("a signature contains an unknown type")),
        })
    }

    /// The fields of a structure; `rest` is its signature without the first bracket.
    fn fields(&mut self, rest: &str, depth: usize) -> Result<Vec<Value>, Malformed> {
        self.align(8)?;
        let mut fields = Vec::new();
        let mut rest = rest
            .strip_suffix(')')
            .ok_or(Malformed("a structure has no end"))?;
        while !rest.is_empty() {
            let (one, after) = first(rest)?;
            fields.push(self.value(one, depth + 1)?);
            rest = after;
        }
        Ok(fields)
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value, Malformed> {
        let length = self.length()?;
        if length > ARRAY {
            return Err(Malformed("an array is longer than 64 MiB"));
        }
        self.align(alignment(element))?;
        let end = self.at.saturating_add(length);
        if end > self.bytes.len() {
            return Err(Malformed("the message ends within an array"));
        }
        let mut items = Vec::new();
        while self.at < end {
            items.push(match element.strip_prefix('{') {
                Some(rest) => self.entry(rest, depth + 1)?,
                None => self.value(element, depth + 1)?,
            });
        }
        if self.at != end {
            return Err(Malformed("an array ends within an element"));
        }
        Ok(Value::Array(element.to_owned(), items))
    }

    fn entry(&mut self, rest: &str, depth: usize) -> Result<Value, Malformed> {
        self.align(8)?;
        let rest = rest
            .strip_suffix('}')
            .ok_or(Malformed("an element of a dictionary has no end"))?;
        let (key, value) = first(rest)?;
        let key = self.value(key, depth + 1)?;
        let value = self.value(value, depth + 1)?;
        Ok(Value::Entry(Box::new(key), Box::new(value)))
    }

    fn variant(&mut self, depth: usize) -> Result<Value, Malformed> {
        let signature = self.signature()?;
        let mut types = signature.types();
        match (types.next(), types.next()) {
            (Some(one), None) => Ok(Value::variant(self.value(one, depth + 1)?)),
            _ => Err(Malformed("a variant does not have exactly one type")),
        }
    }
}
