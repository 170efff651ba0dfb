//! Points at which a test lets a command die or fail: its system calls, as strace has seen them.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

/// The n-th call of one kind, counted in each process from 1.
pub type Point = (String, usize);

/// The points of a trace, in the order of their first calls. With `--follow-forks` each line begins
/// with the number of a process.
pub fn points(trace: &str) -> Vec<Point> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut points = Vec::new();
    for line in trace.lines() {
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let (process, rest) = match line.split_once(' ') {
            Some((word, rest)) if is_number(word) => (word, rest.trim_start()),
            _ => ("", line),
        };
        let Some((name, _)) = rest.split_once('(') else {
            continue;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let count = counts.entry((process, name)).or_default();
        *count += 1;
        let point = (name.to_owned(), *count);
        if seen.insert(point.clone()) {
            points.push(point);
        }
    }
    points
}

/// As many of them as the environment asks for; `usual` when it says nothing.
pub fn sample(points: Vec<Point>, usual: usize) -> Vec<Point> {
    let wanted = match env::var("LOCULE_FAULTS").as_deref() {
        Ok("all") => points.len(),
        Ok(number) => number.parse().expect("LOCULE_FAULTS is a number or `all`"),
        Err(_) => usual,
    };
    let step = points.len().div_ceil(wanted.max(1)).max(1);
    points.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_each_process() {
        let trace = "7  read(3, \"\") = 0\n7 close(3) = 0\n8 read(3 <unfinished ...>\n\
            8 <... read resumed>) = 0\n7 read(3) = 0\n8 +++ exited with 0 +++\n";
        let point = |name: &str, number| (name.to_owned(), number);
        let found = [point("read", 1), point("close", 1), point("read", 2)];
        assert_eq!(points(trace), found);
        assert_eq!(points("read(3) = 0\nclose(3) = 0\n"), found[..2]);
    }
}
