//! What a run has shown of a service, and what several runs show together.

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

/// Rounds of runs of two services, side by side.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) shape: Shape,
    pub(crate) echo: Vec<Measured>,
    pub(crate) product: Vec<Measured>,
}

impl Comparison {
    /// The product's rate over the echo's in each round, ascending.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        let pairs = self.product.iter().zip(&self.echo);
        ascending(pairs.map(|(product, echo)| product.per_second / echo.per_second))
    }
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
    use crate::system::System;

    fn run(per_second: f64) -> Measured {
        Measured { per_second, p50_micros: 1.0, p99_micros: 2.0, cpu_micros: 3.0 }
    }

    #[test]
    fn rounds_are_compared_in_pairs() {
        let comparison = Comparison {
            shape: Shape { connections: 1, streams: 1 },
            echo: [100.0, 200.0, 400.0].map(run).to_vec(),
            product: [50.0, 50.0, 300.0].map(run).to_vec(),
        };
        assert_eq!(comparison.ratios(), [0.25, 0.5, 0.75]);
        assert_eq!(median(comparison.ratios().into_iter()).to_string(), "0.5");
        assert_eq!(median([4.0, 1.0].into_iter()).to_string(), "1");
        assert!(median(std::iter::empty()).is_nan());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn refusals_are_not_measured() {
        let system = System::in_one_process("").await.unwrap();
        let unknown = GetSnippetRequest { id: "00000000000".to_owned(), ..GetSnippetRequest::default() };
        let method = "/snippets.v1.SnippetService/GetSnippet";
        let driven = Driven::new("unknown", &system.services[0], method, &unknown);
        let shape = Shape { connections: 1, streams: 1 };
        let error = Measured::of(&driven, shape, Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().ends_with("calls failed, as gRPC has it"), "{error:#}");
    }
}
