//! The clocks of a new time namespace. See time_namespaces(7).

use spec::container::TimeOffsets;

/// The text for /proc/self/timens_offsets; empty when no offset is asked for.
pub(crate) fn offsets_text(offsets: TimeOffsets) -> Vec<u8> {
    let mut text = String::new();
    for (clock, offset) in [
        ("monotonic", offsets.monotonic),
        ("boottime", offsets.boottime),
    ] {
        if let Some((seconds, nanoseconds)) = offset {
            text.push_str(&format!("{clock} {seconds} {nanoseconds}\n"));
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_given_clocks_are_written() {
        let offsets = TimeOffsets {
            monotonic: Some((-3, 5)),
            boottime: None,
        };
        assert_eq!(offsets_text(offsets), b"monotonic -3 5\n");
        assert_eq!(offsets_text(TimeOffsets::default()), b"");
    }
}
