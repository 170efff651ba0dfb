//! "Did you mean": the known word that is nearest to one that is not.
//!
//! Decides how near a word must be. A word that differs only in case is always near enough.

use strsim::levenshtein;

/// The word of `words` that `text` probably stands for.
pub(crate) fn meant<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if text.len() > 64 {
        return None;
    }
    words
        .map(|word| {
            let near = if word.eq_ignore_ascii_case(text) {
                0
            } else {
                levenshtein(text, word)
            };
            (near, word)
        })
        .filter(|(near, word)| *near <= (word.len() / 3).clamp(1, 3) && *near < text.len())
        .min_by_key(|(near, _)| *near)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_was_meant() {
        let words = ["hostname", "hooks", "root"];
        let cases = [
            ("HOSTNAME", Some("hostname")),
            ("hostnam", Some("hostname")),
            ("hook", Some("hooks")),
            ("toor", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(meant(text, words.into_iter()), expected, "{text}");
        }
        assert_eq!(meant(&"h".repeat(65), words.into_iter()), None);
    }
}
