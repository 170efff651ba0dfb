//! Points in time as RFC 3339 text, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, to the second: `2026-01-02T03:04:05Z`.
pub(crate) fn seconds() -> String {
    format(since_epoch().as_secs(), "")
}

/// Now, to the microsecond: `2026-01-02T03:04:05.000006Z`.
pub(crate) fn microseconds() -> String {
    let now = since_epoch();
    format(now.as_secs(), &format!(".{:06}", now.subsec_micros()))
}

/// Now, to the nanosecond: `2026-01-02T03:04:05.000000006Z`.
pub(crate) fn nanoseconds() -> String {
    let now = since_epoch();
    format(now.as_secs(), &format!(".{:09}", now.subsec_nanos()))
}

/// A clock before 1970 counts as 1970.
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

fn format(seconds: u64, fraction: &str) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The date `day` days after 1970-01-01, in the Gregorian calendar. Years are counted from March,
/// so that the leap day is the last of its year.
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let day = day + 719_468; // since 0000-03-01
    let (era, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_text() {
        // Each number is the output of `date -u +%s` for the text.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_323_045, "2026-01-02T03:04:05Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(format(seconds, ""), text);
        }
        assert_eq!(format(1, ".000000002"), "1970-01-01T00:00:01.000000002Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..146_097 {
            let (year, month, this) = date(day);
            let same_month = (year, month, this) == (before.0, before.1, before.2 + 1);
            let next_month = (year, month, this) == (before.0, before.1 + 1, 1) && before.2 >= 28;
            let next_year =
                (year, month, this) == (before.0 + 1, 1, 1) && before.1 == 12 && before.2 == 31;
            assert!(same_month || next_month || next_year, "day {day}");
            before = (year, month, this);
        }
    }
}
