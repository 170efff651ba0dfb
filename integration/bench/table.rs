//! The markdown tables of the results.

use std::fmt::Write as _;

/// One line: what, unit, and a value for each subject, NaN where it has none. A unit of `x` is a
/// ratio already; a number has no unit.
pub(crate) type Row = (&'static str, &'static str, Vec<f64>);

/// Value and, in brackets, its ratio to the first one of the line.
pub(crate) fn print(names: &[&str], rows: &[Row]) {
    let mut text = format!("\n| what | unit | {} |\n", names.join(" | "));
    writeln!(text, "| --- | --- |{}", " --- |".repeat(names.len())).expect("text");
    for (what, unit, values) in rows {
        let base = values.iter().copied().find(|v| !v.is_nan());
        let base = base.unwrap_or(f64::NAN);
        let cell = |v: &f64| match (v.is_nan(), *unit) {
            (true, _) => "-".to_owned(),
            (false, "x") => format!("{v:.2}"),
            (false, _) => format!("{v:.0} ({:.2})", v / base),
        };
        let cells: Vec<_> = values.iter().map(cell).collect();
        writeln!(text, "| {what} | {unit} | {} |", cells.join(" | ")).expect("text");
    }
    print!("{text}");
}
