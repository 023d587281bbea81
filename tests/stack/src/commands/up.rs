//! `stack up`

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use stack::{Backends, PostgresOptions, Product, SharedServers};

use crate::interrupt::Interrupt;

/// Longer than the services' own deadline for draining.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The product's settings that whoever starts it may want to set.
const PASSED_ON: [&str; 6] = [
    "BOOTSTRAP_ADMIN_KEY",
    "RATELIMIT_RULES",
    "TRUSTED_PROXIES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "LOG_FORMAT",
    "SERVER_THREADS",
];

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with the services' binaries; by default the one that `stack` itself is in
    #[arg(long)]
    bin_dir: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut interrupt = Interrupt::listen()?;
    let (servers, product) = tokio::select! {
        started = start(arguments) => started?,
        code = interrupt.received() => return Ok(code),
    };
    print_addresses(&servers, &product);
    interrupt.received().await;
    println!("stopping; once more to stop at once");
    tokio::select! {
        stopped = product.stop(STOP_WITHIN) => stopped.map(|()| ExitCode::SUCCESS),
        code = interrupt.received() => Ok(code),
    }
}

async fn start(arguments: Arguments) -> anyhow::Result<(SharedServers, Product)> {
    println!("starting Postgres, Redis and RabbitMQ");
    // As in production: this is also what measurements are taken on.
    let servers = SharedServers::start(PostgresOptions { fsync: true, port: None }).await?;
    println!("migrating and starting the services");
    let mut product = Product::builder(Backends::of(&servers)).bin_dir(arguments.bin_dir).design_ports();
    for name in PASSED_ON {
        if let Ok(value) = env::var(name) {
            product = product.env(name, value);
        }
    }
    let product = product.start().await?;
    Ok((servers, product))
}

fn print_addresses(servers: &SharedServers, product: &Product) {
    println!("\n{:<18} {:<24} admin port", "service", "gRPC");
    for service in product.services() {
        // The workers serve nothing but their admin port.
        let grpc = match service.name() {
            name if name.starts_with("counter-worker") => "-".to_owned(),
            _ => service.grpc_addr().to_string(),
        };
        println!("{:<18} {grpc:<24} http://{}/metrics", service.name(), service.admin_addr());
    }
    println!();
    for (name, value) in servers.variables() {
        println!("{name}={value}");
    }
    if let Some(snippets) = product.snippets.first() {
        println!("\nTry it (Ctrl-C ends everything):\n");
        println!(
            "grpcurl -plaintext -d '{{\"snippet\":{{\"body\":\"hello\"}}}}' {} \
             snippets.v1.SnippetService/CreateSnippet",
            snippets.grpc_addr()
        );
    }
}
