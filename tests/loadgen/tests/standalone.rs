//! The benchmark at its smallest, in one process: it has to come to its table.

use std::process::Command;

#[test]
fn it_compares_with_calls_that_all_succeed() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--standalone", "--rounds=1", "--millis=200", "--shape=2x4"])
        .output()
        .expect("it was built");
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let line = table.lines().find(|line| line.contains("2x4")).unwrap_or_else(|| panic!("{table}"));
    let rates: Vec<f64> = line.split('|').skip(2).take(2).map(|cell| cell.trim().parse().unwrap()).collect();
    assert!(rates.iter().all(|&rate| rate > 0.0), "{table}");
}
