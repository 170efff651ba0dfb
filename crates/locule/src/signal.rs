//! Signals by name.
//!
//! Decides which number a user's word means: a name with or without `SIG`, in any case, `RTMIN+n`,
//! `RTMAX-n`, or a number from 0 to 64. The names and their numbers, which differ by architecture,
//! are those of nix; see [signal(7)].
//!
//! [signal(7)]: https://man7.org/linux/man-pages/man7/signal.7.html

use nix::sys::signal::Signal;
use std::str::FromStr;

/// SIGKILL.
pub(crate) const KILL: i32 = Signal::SIGKILL as i32;

/// The real-time range that programs may use: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Second names, which nix leaves out.
const ALIASES: [(&str, Signal); 3] = [
    ("IOT", Signal::SIGABRT),
    ("CLD", Signal::SIGCHLD),
    ("POLL", Signal::SIGIO),
];

/// The word does not name a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {word:?}: expected a name such as TERM or a number from 1 to 64")]
pub(crate) struct Unknown {
    word: String,
}

/// The number that `word` means. 0 sends no signal, but checks whether one could be sent.
pub(crate) fn number(word: &str) -> Result<i32, Unknown> {
    let unknown = || Unknown {
        word: word.to_owned(),
    };
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return in_range(word).ok_or_else(unknown);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let alias = ALIASES.iter().find(|(known, _)| *known == name);
    let named = match alias {
        Some((_, signal)) => Some(*signal),
        None => Signal::from_str(&format!("SIG{name}")).ok(),
    };
    named
        .map(|signal| signal as i32)
        .or_else(|| real_time(name))
        .ok_or_else(unknown)
}

fn in_range(digits: &str) -> Option<i32> {
    let number = digits.parse().ok()?;
    (0..=RTMAX).contains(&number).then_some(number)
}

fn real_time(name: &str) -> Option<i32> {
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => RTMAX,
        (Some(rest), _) => RTMIN + in_range(digits(rest, '+')?)?,
        (_, Some(rest)) => RTMAX - in_range(digits(rest, '-')?)?,
        (None, None) => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn digits(text: &str, sign: char) -> Option<&str> {
    let digits = text.strip_prefix(sign)?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_with_and_without_prefix_in_any_case() {
        for word in ["TERM", "SIGTERM", "term", "sigterm", "SigTerm", "15"] {
            assert_eq!(number(word), Ok(15), "{word}");
        }
        assert_eq!(number("kill"), Ok(9));
        assert_eq!(number("iot"), number("ABRT"));
        assert_eq!(number("CLD"), number("CHLD"));
        assert_eq!(number("STKFLT"), Ok(16));
        assert_eq!(number("SIGPOLL"), number("io"));
    }

    #[test]
    fn real_time_signals_count_from_both_ends() {
        assert_eq!(number("RTMIN"), Ok(34));
        assert_eq!(number("SIGRTMIN+3"), Ok(37));
        assert_eq!(number("rtmax-1"), Ok(63));
        assert_eq!(number("RTMAX"), Ok(64));
        assert_eq!(number("64"), Ok(64));
    }

    #[test]
    fn other_words_are_refused_with_their_spelling() {
        for word in [
            "",
            "SIG",
            "SIGSIG",
            "65",
            "-1",
            "+9",
            "9 ",
            "0x9",
            "TERM1",
            "RTMIN-1",
            "RTMIN+31",
            "RTMIN++1",
            "RTMAX+1",
            "RTMAX-31",
            "4294967305",
            "SIGTERM\n",
            "ſigterm",
        ] {
            let refused = number(word).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("unknown signal {word:?}")),
                "{refused}"
            );
        }
    }
}
