//! "Did you mean": the known word that is nearest to one that is not.
//!
//! Decides how near is near enough; a word that only differs in case always is.

/// The one of `words` that `text` was probably meant to be.
pub(crate) fn meant<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if text.len() > 64 {
        return None;
    }
    words
        .map(|word| {
            let near = if word.eq_ignore_ascii_case(text) {
                0
            } else {
                distance(text, word)
            };
            (near, word)
        })
        .filter(|(near, word)| *near <= (word.len() / 3).clamp(1, 3) && *near < text.len())
        .min_by_key(|(near, _)| *near)
        .map(|(_, word)| word)
}

/// How many bytes to insert, remove or replace to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, a) in from.bytes().enumerate() {
        let mut corner = done;
        let mut left = done + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.bytes()) {
            let best = (corner + usize::from(a != b)).min(left + 1).min(*cell + 1);
            corner = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        let cases = [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("netDevice", "netDevices", 1),
        ];
        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected);
            assert_eq!(distance(to, from), expected);
        }
    }

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
