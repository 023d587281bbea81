//! The worker's own process, on Postgres and RabbitMQ.

use std::{future::ready, sync::Arc};

use chassis::{App, Background, Bound, Health, Need, config::Problems, telemetry::Telemetry};
use database::DatabaseArgs;
use secrecy::SecretString;

use super::start;
use crate::{
    Retention, Settings,
    adapters::{
        amqp::{AmqpQueue, QueueDepths},
        postgres::PostgresTotals,
    },
    config::{Cli, Command, ServeArgs},
    dead_letters,
    ports::{StoreError, TotalsStore as _},
};

const NAME: &str = "counter-worker";

/// Does what the command line says.
///
/// # Errors
/// For a person to read.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve(args).await,
        Command::Migrate(args) => migrate(&args).await,
        Command::DeadLetters(args) => Ok(dead_letters::run(args).await?),
        Command::Healthcheck(args) => Ok(args.run()?),
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.validate()?;
    let telemetry = Telemetry::install(NAME, config.telemetry)?;
    let bound = Bound::bind(config.server).await?;
    let app = app(&config.database_url, config.amqp_url, config.settings, config.retention)?;
    Ok(chassis::serve_until_signal(bound, app, telemetry).await?)
}

async fn migrate(args: &DatabaseArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let url = args.validate(&mut problems);
    PostgresTotals::migrate(&problems.finish(url)?).await?;
    println!("the schema views is up to date");
    Ok(())
}

/// A dependency that is away is waited for; only a malformed address is an error.
fn app(
    database_url: &SecretString,
    amqp_url: SecretString,
    settings: Settings,
    retention: Retention,
) -> Result<App, StoreError> {
    let store = Arc::new(PostgresTotals::new(database_url)?);
    let mut background = Background::default();
    let depths = QueueDepths::new(amqp_url.clone());
    background.start("queue depths", |stop| depths.run(stop));
    let queue = AmqpQueue::new(amqp_url, prefetch(settings));
    let broker = queue.status();
    let status = start(store.clone(), queue, settings, retention, &mut background);
    let postgres = move || {
        let store = store.clone();
        async move { store.ready().await.map_err(Into::into) }
    };
    // A worker that receives nothing does not know why; whoever connects for it does.
    let rabbitmq =
        move || ready(status.check().map_err(|worker| broker.check().err().unwrap_or(worker).into()));
    let health = Health::new().dependency("postgres", Need::ToStart, postgres).dependency(
        "rabbitmq",
        Need::ToStart,
        rabbitmq,
    );
    Ok(App { error_domain: NAME, routes: axum::Router::new().into(), health, background })
}

/// Two flushes: while one is being committed the next one arrives. The snippets service's greatest batch has 128 KiB, so that
/// a backlog of such takes 32 MiB by default.
fn prefetch(settings: Settings) -> u16 {
    u16::try_from(settings.flush_batches_max.saturating_mul(2)).unwrap_or(u16::MAX)
}
