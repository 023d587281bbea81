//! The benchmark at its smallest: it has to come to its table.

use std::process::Command;

use anyhow::{Context as _, ensure};

#[test]
fn compares_with_the_services() {
    assert_compares(&[]);
}

#[test]
fn compares_with_standalone() {
    assert_compares(&["--standalone"]);
}

#[test]
fn compares_with_the_limiter() {
    assert_compares(&["--standalone", "--call=check"]);
}

fn assert_compares(options: &[&str]) {
    let rates = rates(options).map_err(|error| format!("{error:#}"));
    assert!(matches!(rates, Ok([echo, product]) if echo > 0.0 && product > 0.0), "{rates:?}");
}

/// The echo's and the product's, per second.
fn rates(options: &[&str]) -> anyhow::Result<[f64; 2]> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command.args(["--rounds=1", "--millis=200", "--shape=2x4"]).args(options).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout)?;
    let line = table.lines().find(|line| line.starts_with("|   2x4 |")).with_context(|| table.clone())?;
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    Ok([cells[2].parse()?, cells[3].parse()?])
}
