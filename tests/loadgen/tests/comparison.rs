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

#[test]
fn tells_what_the_worker_counts_beside_updates() {
    let small = ["--snippets=100", "--views=5000", "--window=100", "--seconds=1", "--rounds=1"];
    let table = run(&[&["counting"], &small[..]].concat()).unwrap();
    assert_eq!(rows(&table).filter(|cells| is_rate(cells[2])).count(), 3, "{table}");
}

#[test]
fn tells_how_a_worker_works_off_a_backlog() {
    let table = run(&["backlog", "--snippets=1000", "--views=20000", "--window=100"]).unwrap();
    assert_eq!(rows(&table).filter(|cells| is_rate(cells[3])).count(), 10, "{table}");
}

#[test]
fn tells_what_reads_cost_in_tables_of_different_sizes() {
    let small = ["--snippets=200", "--shape=1x2", "--rounds=1", "--millis=300"];
    let table = run(&[&["reads"], &small[..]].concat()).unwrap();
    assert_eq!(rows(&table).filter(|cells| is_rate(cells[3])).count(), 3, "{table}");
}

#[test]
fn tells_how_soon_a_view_shows() {
    let small = ["--per-second=200", "--snippets=20", "--probes=2", "--seconds=1"];
    let table = run(&[&["freshness"], &small[..]].concat()).unwrap();
    assert_eq!(rows(&table).filter(|cells| is_rate(cells[4])).count(), 2, "{table}");
}

#[test]
fn tells_what_recording_costs() {
    let table = run(&["recording", "--shape=2x4", "--rounds=1", "--millis=200"]).unwrap();
    assert_eq!(rows(&table).filter(|cells| is_rate(cells[3])).count(), 3, "{table}");
}

#[test]
fn tells_how_views_outlive_the_broker() {
    let small = ["--per-second=200", "--snippets=20", "--seconds=2"];
    let said = run(&[&["broker-outage"], &small[..]].concat()).unwrap();
    assert!(said.contains("all views are counted"), "{said}");
}

fn assert_compares(options: &[&str], calls: usize) {
    let small = ["--rounds=1", "--millis=200", "--shape=2x4"];
    let table = run(&[&small, options].concat()).unwrap();
    let rates = rows(&table).filter(|cells| cells.len() > 8 && is_rate(cells[2]) && is_rate(cells[3]));
    assert_eq!(rates.count(), calls, "{table}");
}

fn is_rate(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(|rate| rate > 0.0)
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
