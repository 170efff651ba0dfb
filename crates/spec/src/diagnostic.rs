//! What was wrong with a configuration, and where.
//!
//! A [`Report`] collects every problem of one load; it never stops at the first. Each message is
//! complete: the object, the value, what was expected, what to do.

use std::borrow::Cow;
use std::fmt;

use crate::quote::printable;

/// A stable, greppable name of a kind of problem. The text of [`Code::as_str`] is API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The bytes are not a JSON document.
    Syntax,
    /// A key appears twice in one object.
    DuplicateKey,
    /// A value has another JSON type than the property requires.
    Type,
    /// A number or a string lies outside what the property permits.
    Range,
    /// A required property is absent.
    Missing,
    /// A word is not one of the property's valid values.
    UnknownValue,
    /// A property that the specification does not have. A warning: config.md#extensibility. An
    /// error in the document of an annotation of locule.
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
            write!(f, "{}: ", printable(&self.pointer))?;
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
    /// Problems that the specification tells runtimes to tolerate.
    pub warnings: Vec<Diagnostic>,
}

impl Report {
    /// A report of one error.
    pub fn of(error: Diagnostic) -> Self {
        Self {
            errors: vec![error],
            warnings: Vec::new(),
        }
    }

    /// Writes the warnings, which may be the cause (a misspelt key is a missing one), and then the
    /// errors. The last line is complete on its own, since engines show only that line: it is the
    /// only error, or it gives the number of errors and the first of them. Every line begins with
    /// `file`; in the last line `subject` follows.
    pub(crate) fn write(
        &self,
        out: &mut impl fmt::Write,
        file: &str,
        subject: &str,
    ) -> fmt::Result {
        let Some(first) = self.errors.first() else {
            return write!(out, "{file}no error");
        };
        for warning in &self.warnings {
            writeln!(out, "{file}warning: {warning}")?;
        }
        if self.errors.len() == 1 {
            return write!(out, "{file}{subject}{first}");
        }
        for error in &self.errors {
            writeln!(out, "{file}{error}")?;
        }
        write!(
            out,
            "{file}{subject}{} errors, the first: {first}",
            self.errors.len()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "", "")
    }
}

impl std::error::Error for Report {}

/// A key as a step of a JSON pointer; see RFC 6901 section 3.
pub fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) {
        Cow::Owned(key.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_one_line() {
        let report = Report::of(Diagnostic::new(Code::Type, "/a", "expected a list"));
        assert_eq!(report.to_string(), "/a: expected a list [type]");
    }

    #[test]
    fn the_last_line_of_many_errors_stands_alone() {
        let mut report = Report::of(Diagnostic::new(Code::Type, "/a", "expected a list"));
        report
            .errors
            .push(Diagnostic::new(Code::Range, "/b", "5 is too big"));
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "/a: expected a list [type]",
                "/b: 5 is too big [range]",
                "2 errors, the first: /a: expected a list [type]",
            ]
        );
    }

    #[test]
    fn warnings_come_before_the_errors() {
        let mut report = Report::of(Diagnostic::new(Code::Missing, "/root", "is required"));
        let warning = Diagnostic::new(Code::UnknownProperty, "/rot", "no such property");
        report.warnings.push(warning.hint("did you mean root?"));
        assert_eq!(
            report.to_string(),
            "warning: /rot: no such property; did you mean root? [unknown-property]\n/root: is required [missing]"
        );
    }

    #[test]
    fn control_characters_of_a_key_do_not_reach_the_terminal() {
        let found = Diagnostic::new(Code::Type, "/a\n\x1b[0m", "expected a list");
        assert_eq!(found.to_string(), r"/a\n\u{1b}[0m: expected a list [type]");
    }
}
