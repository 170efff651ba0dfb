//! Strings of a configuration as they appear in messages.
//!
//! Text from outside must not break a line or send commands to a terminal, so control bytes are
//! escaped. A very long text explains nothing, so it is cut.

/// How many characters of a string a message shows.
const SHOWN: usize = 80;

/// `text` in double quotes, escaped, at most [`SHOWN`] characters of it.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{:?}... ({} bytes)", &text[..cut], text.len()),
        None => format!("{text:?}"),
    }
}

/// How many characters of a pointer a message shows: the longest sensible one is far shorter.
const POINTER_SHOWN: usize = 400;

/// `text` without quotes, its control characters escaped, at most [`POINTER_SHOWN`] characters of
/// it.
pub(crate) fn printable(text: &str) -> String {
    match text.char_indices().nth(POINTER_SHOWN) {
        Some((cut, _)) => format!("{}... ({} bytes)", visible(&text[..cut]), text.len()),
        None => visible(text),
    }
}

/// `text` with its control characters escaped, since they could control the terminal. A line break
/// is escaped too.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
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
    fn long_pointers_are_cut() {
        let shown = printable(&"é".repeat(1000));
        assert!(shown.ends_with("é... (2000 bytes)"), "{shown}");
        assert_eq!(shown.matches('é').count(), 400);
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        let text = "é".repeat(100);
        let shown = quote(&text);
        assert!(shown.ends_with("... (200 bytes)"), "{shown}");
        assert_eq!(shown.matches('é').count(), 80);
    }
}
