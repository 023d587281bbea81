//! The benchmark at its smallest: it has to come to its table.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use anyhow::ensure;

#[test]
fn compares_calls_of_the_services() {
    assert_compares(&["--call=get", "--call=check-two-limits", "--call=envoy"], 3);
}

#[test]
fn compares_calls_of_standalone() {
    assert_compares(&["--standalone"], 4);
}

#[test]
fn tells_what_a_check_costs_redis() {
    let table = run(&["redis-cost", "--shape=2x4", "--rounds=1", "--millis=200", "--runs=2000"]).unwrap();
    assert_eq!(rows(&table).filter(|cells| cells[2].parse::<f64>().is_ok_and(|cost| cost > 0.0)).count(), 3);
}

#[test]
fn tells_what_many_keys_cost() {
    let table = run(&["keys", "--keys=20000", "--at-once=4", "--rounds=1", "--millis=200"]).unwrap();
    let p99s = rows(&table).filter(|cells| cells[3].parse::<u32>().is_ok_and(|p99| p99 > 0)).count();
    assert_eq!(p99s, 2, "{table}");
}

#[test]
fn tells_what_an_outage_costs() {
    let table = run(&["outage", "--at-once=4", "--millis=500"]).unwrap();
    assert_eq!(
        rows(&table).filter(|cells| cells[3].parse::<u32>().is_ok_and(|checks| checks > 0)).count(),
        6
    );
}

fn assert_compares(options: &[&str], calls: usize) {
    let small = ["--rounds=1", "--millis=200", "--shape=2x4"];
    let table = run(&[&small, options].concat()).unwrap();
    let is_rate = |cell: &str| cell.parse::<f64>().is_ok_and(|rate| rate > 0.0);
    let rates = rows(&table).filter(|cells| cells.len() > 8 && is_rate(cells[2]) && is_rate(cells[3]));
    assert_eq!(rates.count(), calls, "{table}");
}

/// What it prints.
fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The cells of its tables; the first is what stands before the first bar.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}
