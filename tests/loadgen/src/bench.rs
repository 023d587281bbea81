//! The benchmark: starts everything, drives the echo and the product in turn, prints what was seen.

use std::env;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use stack::Service;

use crate::driven::Driven;
use crate::measured::{Comparison, Measured};
use crate::shape::Shape;
use crate::system::System;
use crate::{Options, echo, h2load, report, usage};

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    eprintln!("starting the servers and services");
    let system = System::start(options).await?;
    println!("{}", report::memory(&memory(&system)?));
    let (product, answer_bytes) = system.prepare(options).await?;
    let service = start_echo(answer_bytes).await?;
    let request_bytes = product.request.len();
    let echo = Driven::new("echo", &service, echo::METHOD, &echo::request(request_bytes));

    let duration = Duration::from_millis(options.millis.into());
    let mut comparisons = Vec::new();
    for &shape in &options.shapes {
        let (echo, product) = (&echo, &product);
        comparisons.push(compare(echo, product, shape, options.rounds, duration).await?);
    }
    println!("{} rounds of {}\n", options.rounds, h2load::described(duration));
    println!("{} cores for client and servers", available_parallelism()?);
    println!("requests of {request_bytes} bytes, answers of {answer_bytes}\n");
    println!("{}", report::table(product.name, &comparisons));
    Ok(())
}

async fn compare(
    echo: &Driven<'_>,
    product: &Driven<'_>,
    shape: Shape,
    rounds: u32,
    duration: Duration,
) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison { shape, echo: Vec::new(), product: Vec::new() };
    for round in 1..=rounds {
        eprintln!("{shape}, round {round} of {rounds}");
        for (driven, runs) in [(echo, &mut comparison.echo), (product, &mut comparison.product)] {
            runs.push(Measured::of(driven, shape, duration).await.context(driven.name)?);
        }
    }
    Ok(comparison)
}

async fn start_echo(answer_bytes: usize) -> anyhow::Result<Service> {
    let program = env::current_exe()?;
    Service::builder("echo", program).arg("echo").arg(format!("--answer-bytes={answer_bytes}")).start().await
}

fn memory(system: &System) -> anyhow::Result<Vec<(String, u64)>> {
    let of = |service: &Service| {
        let pid = service.pid().context("a service is gone")?;
        Ok((service.name().to_owned(), usage::resident_kib(pid)?))
    };
    system.services.iter().map(of).collect()
}
