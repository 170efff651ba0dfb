//! Lines of a `schemata` file: `L3:0=7f0;1=1f`.

/// The resources whose values are bandwidths, not masks.
const BANDWIDTHS: [&str; 2] = ["MB", "SMBA"];

/// The line of `file` that differs from `line`, or "" if it has none: a domain of `line` has
/// another value there. The kernel rounds bandwidths up to a multiple of `step`.
pub(crate) fn differing<'f>(line: &str, file: &'f str, step: Option<u64>) -> Option<&'f str> {
    let (resource, wanted) = parts(line)?;
    let found = file
        .lines()
        .map(str::trim)
        .find(|found| parts(found).is_some_and(|(name, _)| name == resource));
    let Some(found) = found else {
        return Some("");
    };
    let step = step.filter(|_| BANDWIDTHS.contains(&resource));
    let there = parts(found).map(|(_, values)| values).unwrap_or_default();
    let is_there = |(domain, value): &(&str, &str)| {
        let mut values = there.iter().filter(|(other, _)| other == domain);
        values.any(|(_, there)| is_same(value, there, step))
    };
    (!wanted.iter().all(is_there)).then_some(found)
}

/// Whether the kernel prints `value` as `there`: masks in lower case, bandwidths rounded up.
fn is_same(value: &str, there: &str, step: Option<u64>) -> bool {
    let rounded = || value.parse::<u64>().ok()?.checked_next_multiple_of(step?);
    value.eq_ignore_ascii_case(there) || rounded().is_some_and(|up| there.parse() == Ok(up))
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
            ("L3:0=7F0", None),
            ("L3:0=7F1", Some("L3:0=7f0;1=01f")),
            ("MB:0=100", None),
            ("MB:0=91;1=100", None),
            ("MB:0=90", Some("MB:0=100;1=100")),
            ("MB:0=101", Some("MB:0=100;1=100")),
            ("L3:2=1", Some("L3:0=7f0;1=01f")),
            ("L2:0=1", Some("")),
            ("L3:1=1e", Some("L3:0=7f0;1=01f")),
        ] {
            assert_eq!(differing(line, file, Some(10)), expected, "{line}");
        }
        for step in [None, Some(0)] {
            let expected = Some("MB:0=100;1=100");
            assert_eq!(differing("MB:0=91", file, step), expected, "{step:?}");
        }
    }
}
