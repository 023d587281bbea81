//! What a run has shown of a service, and what several runs show together.

use std::fmt;
use std::time::Duration;

use tokio::task::block_in_place;

use crate::driven::Driven;
use crate::h2load;
use crate::shape::Shape;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// Processor time of the server for one call.
    pub(crate) cpu_micros: f64,
}

impl Measured {
    /// Drives a service once. Fails if not every answer was a success of gRPC.
    pub(crate) async fn of(driven: &Driven<'_>, shape: Shape, duration: Duration) -> anyhow::Result<Self> {
        let before = driven.done().await?;
        let run = block_in_place(|| h2load::drive(driven, shape, duration))?;
        let done = driven.done().await?.since(before, run.answers)?;
        Ok(Self {
            per_second: run.per_second,
            p50_micros: run.p50.as_secs_f64() * 1e6,
            p99_micros: run.p99.as_secs_f64() * 1e6,
            cpu_micros: done.cpu_micros / done.succeeded,
        })
    }
}

/// Rounds of runs of a call and of the echo, side by side.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) echo: Vec<Measured>,
    pub(crate) product: Vec<Measured>,
}

impl Comparison {
    /// Nothing yet of the call that is called so.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, echo: Vec::new(), product: Vec::new() }
    }

    /// The product's rate over the echo's in each round.
    pub(crate) fn ratios(&self) -> Ratios {
        let rates = |runs: &[Measured]| runs.iter().map(|run| run.per_second).collect::<Vec<_>>();
        Ratios::of(&rates(&self.product), &rates(&self.echo))
    }
}

/// How many times as much one is as the other, in each round; ascending. Written as the median and the extremes.
#[derive(Debug, PartialEq)]
pub(crate) struct Ratios(Vec<f64>);

impl Ratios {
    pub(crate) fn of(values: &[f64], bases: &[f64]) -> Self {
        Self(ascending(values.iter().zip(bases).map(|(value, base)| value / base)))
    }
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, most] = [self.0.first(), self.0.last()].map(|it| it.copied().unwrap_or(f64::NAN));
        write!(f, "{:.2} ({least:.2} to {most:.2})", median(self.0.iter().copied()))
    }
}

/// The least of the values that at least so many percent of all do not exceed (nearest rank). Zero if there is none.
pub(crate) fn percentile(ascending: &[Duration], percent: usize) -> Duration {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).copied().unwrap_or_default()
}

/// The middle value; of an even number the lower of the two. NaN if there is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = ascending(values);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use rpc::snippets::v1::GetSnippetRequest;

    use super::*;
    use crate::driven::Server;
    use crate::system::System;

    fn run(per_second: f64) -> Measured {
        Measured { per_second, p50_micros: 1.0, p99_micros: 2.0, cpu_micros: 3.0 }
    }

    #[test]
    fn rounds_are_compared_in_pairs() {
        let comparison = Comparison {
            name: "Get",
            echo: [100.0, 200.0, 400.0].map(run).to_vec(),
            product: [50.0, 50.0, 300.0].map(run).to_vec(),
        };
        assert_eq!(comparison.ratios(), Ratios(vec![0.25, 0.5, 0.75]));
        assert_eq!(comparison.ratios().to_string(), "0.50 (0.25 to 0.75)");
        assert_eq!(median([4.0, 1.0].into_iter()).to_string(), "1");
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let ascending: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&ascending, 50), Duration::from_micros(100));
        assert_eq!(percentile(&ascending, 99), Duration::from_micros(198));
        assert_eq!(percentile(&[Duration::from_micros(7)], 99), Duration::from_micros(7));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn refusals_are_not_measured() {
        let system = System::in_one_process().await.unwrap();
        let unknown = GetSnippetRequest { id: "00000000000".to_owned(), ..GetSnippetRequest::default() };
        let method = "/snippets.v1.SnippetService/GetSnippet";
        let driven = Driven::new("unknown", Server::Service(&system.services[0]), method, &unknown);
        let shape = Shape { connections: 1, streams: 1 };
        let error = Measured::of(&driven, shape, Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().ends_with("calls failed, as gRPC has it"), "{error:#}");
    }
}
