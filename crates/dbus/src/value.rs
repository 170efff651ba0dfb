//! Values, each of which knows its type.

/// One value of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `h`: an index into the descriptors of the message.
    Handle(u32),
    /// `a`, with the signature of its elements.
    Array(String, Vec<Value>),
    /// In parentheses; at least one.
    Struct(Vec<Value>),
    /// An element of a dictionary; its key is of a basic type.
    Entry(Box<Value>, Box<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// A value with its type: a variant.
    pub fn variant(value: Self) -> Self {
        Self::Variant(Box::new(value))
    }

    /// A list of strings, for tests.
    #[cfg(any(test, feature = "fake"))]
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Array("s".to_owned(), texts.into_iter().map(Self::text).collect())
    }

    /// A list of bytes.
    pub fn bytes(bytes: &[u8]) -> Self {
        let items = bytes.iter().copied().map(Self::Byte);
        Self::Array("y".to_owned(), items.collect())
    }

    /// The type.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::Double(_) => "d".to_owned(),
            Self::Str(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Handle(_) => "h".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", signatures(fields)),
            Self::Entry(key, value) => format!("{{{}{}}}", key.signature(), value.signature()),
            Self::Variant(_) => "v".to_owned(),
        }
    }

    /// The content of a string or of an object path.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Path(text) => Some(text),
            _ => None,
        }
    }

    /// The value in a variant; for any other value, the value itself.
    pub fn into_inner(self) -> Self {
        match self {
            Self::Variant(value) => *value,
            other => other,
        }
    }
}

/// The signature of several values.
pub(crate) fn signatures(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}
