//! A private Prometheus, and its checking tool.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, anyhow};

use crate::http::http_get;
use crate::ports::Port;
use crate::programs::{clean_command, installed, run};
use crate::server::{Server, probe, temp_dir};

/// A Prometheus with its data in a folder of its own; ends when dropped, and shows its log when a test fails.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    port: Port,
}

/// One series of the answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name and labels, as in `up{instance="127.0.0.1:80", job="web"}`; `{}` if it has neither.
    pub series: String,
    /// Its value at the time of the query.
    pub value: f64,
}

impl Prometheus {
    /// Starts Prometheus with that `prometheus.yml` and waits until it is ready. Copies of the rule files lie beside it, under
    /// their own names, for its `rule_files` to name. It takes 5 s more before it reads its targets for the first time.
    pub async fn start(configuration: &str, rule_files: &[&Path]) -> anyhow::Result<Self> {
        let port = Port::free()?;
        let dir = temp_dir("prometheus")?;
        fs::write(dir.path().join("prometheus.yml"), configuration)?;
        for rule_file in rule_files {
            let name = rule_file.file_name().context("a rule file without a name")?;
            let copied = fs::copy(rule_file, dir.path().join(name));
            copied.with_context(|| format!("cannot copy {}", rule_file.display()))?;
        }
        let command = command(dir.path(), &port)?;
        let addr = port.addr();
        let probe =
            probe(move || async move { http_get(addr, "/-/ready").await.is_ok_and(|it| it.status == 200) });
        Ok(Self { server: Server::start("prometheus", dir, command, probe).await?, port })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.port.addr())
    }

    /// What `promtool query instant` finds now, series by series.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Sample>> {
        let answer = promtool(["query", "instant", &self.url(), expression]).await?;
        let samples = answer.lines().filter(|line| !line.is_empty());
        samples.map(|line| sample(line).ok_or_else(|| anyhow!("not a sample: {line}"))).collect()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("prometheus: {}", self.server.log_tail());
        }
    }
}

/// Runs promtool, as in `promtool(["check", "rules", path])`, and gives what it prints; fails with what it
/// complains about.
pub async fn promtool<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> anyhow::Result<String> {
    let mut command = clean_command(installed("promtool", &[])?);
    command.args(arguments);
    run(command).await
}

fn command(dir: &Path, port: &Port) -> anyhow::Result<Command> {
    let mut command = clean_command(installed("prometheus", &[])?);
    // Debian's build would use the data of the system's own Prometheus.
    command.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
    command.arg(format!("--web.listen-address={}", port.addr()));
    Ok(command)
}

/// `SERIES => VALUE @[TIME]`
fn sample(line: &str) -> Option<Sample> {
    let (series, rest) = line.rsplit_once(" => ")?;
    let value = rest.split(' ').next()?.parse().ok()?;
    Some(Sample { series: series.to_owned(), value })
}
