//! h2load, of Debian's nghttp2-client: a client that is light enough not to hide what the server costs.

use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, bail, ensure};

use crate::driven::Driven;
use crate::measured::percentile;
use crate::shape::Shape;

/// The part of a run that does not count: connections are opened.
const WARM_UP: Duration = Duration::from_millis(500);

/// What h2load has seen. That an answer was a success of gRPC, it can't see.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) answers: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Drives a service for that long, after a warm-up.
pub(crate) fn drive(driven: &Driven<'_>, shape: Shape, duration: Duration) -> anyhow::Result<Run> {
    let dir = tempfile::tempdir()?;
    let (request, log) = (dir.path().join("request"), dir.path().join("log"));
    fs::write(&request, driven.framed_request())?;
    let mut command = Command::new("h2load");
    let arguments = arguments(&shape.connections.to_string(), &shape.streams.to_string(), duration);
    command.args(arguments).arg("--data").arg(&request).arg("--log-file").arg(&log);
    let output = command.arg(driven.url()).stdin(Stdio::null()).output().map_err(explain)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "h2load failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    let answers = answers(&said)?;
    let latencies = latencies(&fs::read_to_string(&log)?).context("in h2load's log")?;
    Ok(Run {
        answers,
        per_second: per_second(&said).with_context(|| format!("no rate in {said}"))?,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
    })
}

/// What a reader needs to repeat it.
pub(crate) fn described(duration: Duration) -> String {
    let quoted = arguments("C", "M", duration).map(|argument| format!("'{argument}'"));
    format!("h2load {} --data=REQUEST --log-file=LOG URL", quoted.join(" "))
}

fn arguments(connections: &str, streams: &str, duration: Duration) -> [String; 6] {
    [
        format!("--clients={connections}"),
        format!("--max-concurrent-streams={streams}"),
        format!("--duration={}ms", duration.as_millis()),
        format!("--warm-up-time={}ms", WARM_UP.as_millis()),
        "--header=content-type: application/grpc".to_owned(),
        "--header=te: trailers".to_owned(),
    ]
}

fn explain(error: io::Error) -> anyhow::Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let hint = if missing { ": run `scripts/install-packages.sh bench`" } else { "" };
    anyhow::Error::new(error).context(format!("h2load can't be run{hint}"))
}

/// From a line such as `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`.
fn answers(said: &str) -> anyhow::Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("requests: ")).unwrap_or_default();
    let number = |what: &str| -> Option<u64> {
        line.split(", ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
    };
    match (number("succeeded"), number("failed"), number("errored")) {
        (Some(answers @ 1..), Some(0), Some(0)) => Ok(answers),
        _ => bail!("not every request was answered: {line:?}"),
    }
}

/// From a line such as `finished in 3.50s, 120800.00 req/s, 1.73MB/s`.
fn per_second(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.starts_with("finished in "))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s")?.parse().ok())
}

/// Ascending, from lines of start, HTTP status and duration, separated by tabs.
fn latencies(log: &str) -> anyhow::Result<Vec<Duration>> {
    let duration = |line: &str| Some(Duration::from_micros(line.split('\t').nth(2)?.parse().ok()?));
    let latencies = log.lines().map(|line| duration(line).with_context(|| format!("no duration: {line:?}")));
    let mut latencies = latencies.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!latencies.is_empty(), "no requests");
    latencies.sort_unstable();
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Stopped all clients for thread #0\n\n\
        finished in 2.50s, 120800.00 req/s, 1.73MB/s\n\
        requests: 241600 total, 241600 started, 241600 done, 241600 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 241600 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn reads_what_h2load_says() {
        assert_eq!(answers(SAID).unwrap(), 241_600);
        assert_eq!(per_second(SAID), Some(120_800.0));
        assert!(answers(&SAID.replace("0 errored", "1 errored")).is_err());
        assert!(answers(&SAID.replace("241600 succeeded", "0 succeeded")).is_err());
        assert!(answers("").is_err());
    }

    #[test]
    fn latencies_are_sorted() {
        let log = "1795223256339338\t200\t40\n1795223256339338\t200\t7\n";
        assert_eq!(latencies(log).unwrap(), [7, 40].map(Duration::from_micros));
    }

    #[test]
    fn a_log_that_is_not_understood_is_refused() {
        assert!(latencies("").is_err());
        assert!(latencies("1795223256339338\t200\n").is_err());
    }
}
