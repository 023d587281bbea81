//! What a Check costs Redis: its processor time for each, beside that of the same script driven by redis-benchmark.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::task::block_in_place;

use crate::calls::Call;
use crate::driven::{Driven, Server};
use crate::h2load;
use crate::limiter::Limiter;
use crate::measured::{Ratios, median};
use crate::report::aligned;
use crate::shape::Shape;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Connections and calls in flight on each, as CxM; of redis-benchmark connections and pipelined commands.
    #[arg(long, default_value = "4x16")]
    shape: Shape,
    /// How often each is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long Checks are driven in a round, in milliseconds.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..))]
    millis: u32,
    /// How often the script is run in a round.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// In processor time of Redis for each call, in microseconds.
#[derive(Default)]
struct Costs {
    pipelined: Vec<f64>,
    one_by_one: Vec<f64>,
    check: Vec<f64>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let limiter = Limiter::start().await?;
    let (check, _) = Call::Check.prepare(Server::Service(&limiter.service), 0).await?;
    let script = Script::load(&limiter)?;
    let Shape { connections, streams } = arguments.shape;
    let in_flight = u32::from(connections) * u32::from(streams);
    let mut costs = Costs::default();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        let pipelined = script.cost(&limiter, connections.into(), streams.into(), arguments.runs);
        costs.pipelined.push(pipelined.await?);
        costs.one_by_one.push(script.cost(&limiter, in_flight, 1, arguments.runs).await?);
        costs.check.push(check_cost(&limiter, &check, arguments).await?);
    }
    println!("{}", table(&costs, arguments.shape));
    Ok(())
}

async fn check_cost(limiter: &Limiter, check: &Driven<'_>, arguments: &Arguments) -> anyhow::Result<f64> {
    let duration = Duration::from_millis(arguments.millis.into());
    let (cpu_micros, before) = (limiter.redis_cpu_micros().await?, check.done().await?);
    let run = block_in_place(|| h2load::drive(check, arguments.shape, duration))?;
    let checks = check.done().await?.since(before, run.answers)?.succeeded;
    Ok((limiter.redis_cpu_micros().await? - cpu_micros) / checks)
}

/// The limiter's script, deciding about one request: its arguments are binary, which redis-benchmark can't pass, so they
/// stand in the script.
struct Script {
    hash: String,
    port: String,
}

impl Script {
    fn load(limiter: &Limiter) -> anyhow::Result<Self> {
        let port =
            limiter.redis.url().trim_end_matches('/').rsplit(':').next().context("no port")?.to_owned();
        let counters = include_str!("../../../services/ratelimit/lua/counters.lua");
        let check = include_str!("../../../services/ratelimit/lua/check.lua");
        let code = format!(
            "local ARGV = {{ {} }}\n{counters}{check}",
            arguments().map(|it| literal(&it)).join(", ")
        );
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &port, "SCRIPT", "LOAD", &code]).stdin(Stdio::null()).output()?;
        let hash = String::from_utf8(output.stdout)?.trim().to_owned();
        ensure!(hash.len() == 40, "the script was refused: {hash}");
        Ok(Self { hash, port })
    }

    async fn cost(&self, limiter: &Limiter, clients: u32, pipelined: u32, runs: u32) -> anyhow::Result<f64> {
        let before = limiter.redis_cpu_micros().await?;
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &self.port, "-c", &clients.to_string(), "-P", &pipelined.to_string()]);
        command.args(["-n", &runs.to_string(), "-q", "EVALSHA", &self.hash, "1", "{raw}"]);
        let output = block_in_place(|| command.stdin(Stdio::null()).output())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && !said.contains("rror"), "redis-benchmark failed: {said}");
        Ok((limiter.redis_cpu_micros().await? - before) / f64::from(runs))
    }
}

/// As the header of check.lua has them: one counter, which is that of the rule `calls` of rules/check.yaml, and a request
/// that charges it 1.
fn arguments() -> [Vec<u8>; 3] {
    let packed = |numbers: &[f64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let counter = [vec![1], packed(&[1e9, -1.0, 3.6e9])].concat();
    let request = [vec![1, 0, 0, 1, 0, 0], packed(&[1.0, 0.0])].concat();
    [vec![1, 0], counter, request]
}

fn literal(bytes: &[u8]) -> String {
    let escaped: Vec<_> = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
    format!("'{}'", escaped.concat())
}

fn table(costs: &Costs, shape: Shape) -> String {
    let row = |name: String, of: &[f64]| {
        let ratios = Ratios::of(of, &costs.pipelined);
        [name, format!("{:.2}", median(of.iter().copied())), ratios.to_string()]
    };
    let head = ["", "Redis CPU µs/call", "ratio (min to max)"].map(str::to_owned);
    aligned(&[
        head,
        row(format!("script, {shape} pipelined"), &costs.pipelined),
        row("script, one at a time".to_owned(), &costs.one_by_one),
        row(format!("Check, {shape}"), &costs.check),
    ])
}
