//! Strings of a configuration as they appear in messages.
//!
//! What came from outside must neither break a line nor talk to a terminal, so control bytes are
//! escaped; and a megabyte of it explains nothing, so it is cut.

use std::borrow::Cow;

/// How many characters of a string a message shows.
const SHOWN: usize = 80;

/// `text` in double quotes, escaped, at most [`SHOWN`] characters of it.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{:?}... ({} bytes)", &text[..cut], text.len()),
        None => format!("{text:?}"),
    }
}

/// `text` without quotes, its control characters escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(
            text.chars()
                .map(|c| {
                    if c.is_control() {
                        c.escape_default().to_string()
                    } else {
                        c.to_string()
                    }
                })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_escaped() {
        assert_eq!(quote("a\x1b[31m\nb"), r#""a\u{1b}[31m\nb""#);
        assert_eq!(printable("a\x1b\nb"), r"a\u{1b}\nb");
        assert_eq!(printable("plain/é"), "plain/é");
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        let text = "é".repeat(100);
        let shown = quote(&text);
        assert!(shown.ends_with("... (200 bytes)"), "{shown}");
        assert_eq!(shown.matches('é').count(), 80);
    }
}
