//! What was wrong with a configuration, and where.
//!
//! A [`Report`] collects every problem of one load; it never stops at the first. Messages stand alone:
//! the object, the value, what was expected, what to do.

use std::fmt;

/// A stable, greppable name of a kind of problem. The text of [`Code::as_str`] is API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The bytes are no JSON document.
    Syntax,
    /// A key stands twice in one object.
    DuplicateKey,
    /// A value has another JSON type than the property wants.
    Type,
    /// A number or a string lies outside what the property permits.
    Range,
    /// A required property is absent.
    Missing,
    /// A word is none of the property's valid values.
    UnknownValue,
    /// A property that the specification does not have. A warning: config.md#extensibility.
    UnknownProperty,
    /// Two properties contradict each other, or one needs another that is absent.
    Conflict,
    /// A path is relative where it must be absolute, or does not lead where it must.
    Path,
    /// The specification has the property, this version of locule does not.
    Unsupported,
    /// The host lacks what the property asks for.
    Host,
}

impl Code {
    /// The stable name, as printed and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::DuplicateKey => "duplicate-key",
            Self::Type => "type",
            Self::Range => "range",
            Self::Missing => "missing",
            Self::UnknownValue => "unknown-value",
            Self::UnknownProperty => "unknown-property",
            Self::Conflict => "conflict",
            Self::Path => "path",
            Self::Unsupported => "unsupported",
            Self::Host => "host",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind.
    pub code: Code,
    /// JSON pointer (RFC 6901) of the value; empty for the whole document.
    pub pointer: String,
    /// 1-based line and column, known for syntax and type errors.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what was expected, one line, lower case, no trailing dot.
    pub message: String,
    /// What to do about it, one line.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem with the value at `pointer`.
    pub fn new(code: Code, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: pointer.into(),
            position: None,
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)?;
        if let Some((line, column)) = self.position {
            write!(f, " (line {line}, column {column})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, " [{}]", self.code.as_str())
    }
}

impl std::error::Error for Diagnostic {}

/// Everything found in one load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Problems that forbid the container.
    pub errors: Vec<Diagnostic>,
    /// Problems that the specification wants tolerated.
    pub warnings: Vec<Diagnostic>,
}
