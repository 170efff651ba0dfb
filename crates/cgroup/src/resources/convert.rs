//! Conversions between the units of v1, which are the specification's, and those of v2.

/// cpu.weight for `cpu.shares`: 2 and less are 1, the default 1024 is 100, the maximum 262144 is
/// 10000; between them a curve, so that a v1 and a v2 group get the same part of a busy CPU.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "between 2 and 262144 every step is exact or positive and small"
)]
pub(super) fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

/// io.weight (1 to 10000) for `blockIO.weight` (10 to 1000).
pub(super) fn io_weight(weight: u64) -> u64 {
    1 + weight.saturating_sub(10) * 9999 / 990
}

/// The name of a huge page size, given in KiB: the largest unit that divides it by 1024.
pub(super) fn page_size(kib: u64) -> String {
    let mut size = kib;
    let mut units = ["KB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1024
        && size.is_multiple_of(1024)
        && let Some(larger) = units.next()
    {
        size /= 1024;
        unit = larger;
    }
    format!("{size}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_on_the_newest_curve() {
        let cases = [
            (1, 1),
            (2, 1),
            (3, 2),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (102_400, 4429),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in cases {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }

    #[test]
    fn weights_grow_with_shares() {
        let weights: Vec<_> = (2..=262_144).step_by(97).map(cpu_weight).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn block_weights_span_the_whole_range() {
        for (weight, expected) in [(10, 1), (500, 4950), (600, 5960), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected);
        }
    }

    #[test]
    fn page_sizes_are_named_as_hugetlb_does() {
        for (kib, name) in [
            (64, "64KB"),
            (2048, "2MB"),
            (32_768, "32MB"),
            (1_048_576, "1GB"),
        ] {
            assert_eq!(page_size(kib), name);
        }
    }
}
