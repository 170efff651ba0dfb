//! Lines of a `schemata` file: `L3:0=7f0;1=1f`.

/// The line of `file` that differs from `line`, or "" if it has none: a domain of `line` has
/// another value there.
pub(crate) fn differing<'f>(line: &str, file: &'f str) -> Option<&'f str> {
    let (resource, wanted) = parts(line)?;
    let found = file
        .lines()
        .map(str::trim)
        .find(|found| parts(found).is_some_and(|(name, _)| name == resource));
    let Some(found) = found else {
        return Some("");
    };
    let there = parts(found).map(|(_, values)| values).unwrap_or_default();
    let is_there = |value: &(&str, &str)| there.contains(value);
    (!wanted.iter().all(is_there)).then_some(found)
}

/// The resource, and the value of each domain without leading zeros.
fn parts(line: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let values = values.split(';').filter_map(|value| {
        let (domain, value) = value.split_once('=')?;
        Some((domain.trim(), value.trim().trim_start_matches('0')))
    });
    Some((resource.trim(), values.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_by_their_values() {
        let file = "    MB:0=100;1=100\n    L3:0=7f0;1=01f\n";
        for (line, expected) in [
            ("L3:0=7f0;1=1f", None),
            ("L3:1=1f", None),
            ("L3: 0 = 07f0 ", None),
            ("MB:0=100", None),
            ("MB:0=90", Some("MB:0=100;1=100")),
            ("L3:2=1", Some("L3:0=7f0;1=01f")),
            ("L2:0=1", Some("")),
        ] {
            assert_eq!(differing(line, file), expected, "{line}");
        }
    }
}
