//! What is printed: tables in Markdown.

use crate::measured::{Comparison, Measured, median};

/// A line for each call; each number is the median of its rounds.
pub(crate) fn table(comparisons: &[Comparison]) -> String {
    let head = [
        "call",
        "echo/s",
        "call/s",
        "ratio (min to max)",
        "echo p50, p99 µs",
        "call p50, p99 µs",
        "echo CPU µs/call",
        "call CPU µs/call",
    ];
    let head = head.map(str::to_owned);
    aligned(&[head].into_iter().chain(comparisons.iter().map(row)).collect::<Vec<_>>())
}

/// Memory of each process, in KiB.
pub(crate) fn memory(processes: &[(String, u64)]) -> String {
    let head = ["process".to_owned(), "idle RSS KiB".to_owned()];
    let rows = processes.iter().map(|(name, kib)| [name.clone(), kib.to_string()]);
    aligned(&[head].into_iter().chain(rows).collect::<Vec<_>>())
}

fn row(comparison: &Comparison) -> [String; 8] {
    let Comparison { name, echo, product } = comparison;
    [
        (*name).to_owned(),
        format!("{:.0}", of(echo, |run| run.per_second)),
        format!("{:.0}", of(product, |run| run.per_second)),
        comparison.ratios().to_string(),
        latency(echo),
        latency(product),
        format!("{:.1}", of(echo, |run| run.cpu_micros)),
        format!("{:.1}", of(product, |run| run.cpu_micros)),
    ]
}

fn latency(runs: &[Measured]) -> String {
    format!("{:.0}, {:.0}", of(runs, |run| run.p50_micros), of(runs, |run| run.p99_micros))
}

fn of(runs: &[Measured], value: impl Fn(&Measured) -> f64) -> f64 {
    median(runs.iter().map(value))
}

/// Rows of cells as a table; the first is its head.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.map(|width| format!("{}:", "-".repeat(width.saturating_sub(1))));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1.min(lines.len()), line(&rule));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_under_their_heads() {
        let table = memory(&[("snippets".into(), 13_740), ("ratelimit".into(), 11_000)]);
        let expected = "|   process | idle RSS KiB |\n\
                        | --------: | -----------: |\n\
                        |  snippets |        13740 |\n\
                        | ratelimit |        11000 |\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_call_is_a_line() {
        let run =
            |per_second| Measured { per_second, p50_micros: 100.4, p99_micros: 900.0, cpu_micros: 9.04 };
        let comparison = Comparison {
            name: "Get",
            echo: vec![run(1_000.0), run(1_000.0)],
            product: vec![run(500.0), run(750.0)],
        };
        let table = table(&[comparison]);
        let line = table.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        let numbers = "Get | 1000 | 500 | 0.50 (0.50 to 0.75) | 100, 900 | 100, 900 | 9.0 | 9.0";
        assert_eq!(line, format!("| {numbers} |"));
    }
}
