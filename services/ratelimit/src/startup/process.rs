//! The service's own process, counting in Redis.

use std::{path::PathBuf, sync::Arc};

use chassis::{App, Background, Bound, Health, Need, telemetry::Telemetry};
use ratelimit_core::RuleSet;

use crate::{
    DenialLog, Limiter,
    config::{Cli, Command, ServeArgs},
    grpc,
    reload::Reloader,
    rules,
    stores::{
        Breaker, CounterStore, DenialMemory, Fallback, Leases, MemoryCounters, Prober, RedisCounters,
        RedisCountersConfig, StoreError,
    },
};

const NAME: &str = "ratelimit";

/// Does what the command line says.
///
/// # Errors
/// For a person to read.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve(args).await,
        Command::Healthcheck(args) => Ok(args.run()?),
        Command::CheckRules(args) => args.run(),
        Command::Explain(args) => args.run(),
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.validate()?;
    let rules = rules::load(config.rules.as_deref())?;
    let telemetry = Telemetry::install(NAME, config.telemetry)?;
    log_rules(config.rules.as_ref(), &rules);
    let bound = Bound::bind(config.server).await?;
    let (counters, prober) = counters(config.counters, config.local_counters_max)?;
    let limiter = Limiter::new(rules, counters.clone(), config.request_id_ttl);
    let limiter = Arc::new(limiter.with_denial_log(DenialLog::per_second(config.denial_log_per_second)));
    let mut background = Background::default();
    background.start("counters probe", |stop| prober.run(stop));
    if let Some(path) = config.rules {
        let reloader = Reloader::new(path, limiter.clone());
        background.start("rules reload", |stop| reloader.run(stop));
    }
    let routes = grpc::routes(limiter, config.envoy_response_headers);
    let app = App { error_domain: NAME, routes: routes.into(), health: health(counters), background };
    Ok(chassis::serve_until_signal(bound, app, telemetry).await?)
}

fn log_rules(path: Option<&PathBuf>, rules: &RuleSet) {
    let path = path.map_or_else(|| "built in".to_owned(), |path| path.display().to_string());
    tracing::info!(path, version = rules.version(), "rules loaded");
    for warning in rules.warnings() {
        tracing::warn!(%warning, "rules are valid, and most likely not meant so");
    }
}

/// Redis may be away: it is reached for with the first Check or probe.
fn counters(
    config: RedisCountersConfig,
    local_max: usize,
) -> Result<(Arc<dyn CounterStore>, Prober<RedisCounters>), StoreError> {
    let (breaker, prober) = Breaker::new(|watch| RedisCounters::new(config, watch))?;
    // Denials of the local counters are not remembered: those of Redis take over at once.
    let fallback = Fallback::new(DenialMemory::new(breaker), MemoryCounters::new(local_max));
    Ok((Arc::new(Leases::new(fallback)), prober))
}

/// Without Redis the limiter answers by each rule's `on_error`, so its services depend on nothing.
fn health(counters: Arc<dyn CounterStore>) -> Health {
    let redis = move || {
        let counters = counters.clone();
        async move { counters.ping().await.map_err(Into::into) }
    };
    Health::new()
        .dependency("redis", Need::ToStart, redis)
        .service("ratelimit.v1.RateLimitService", &[])
        .service("envoy.service.ratelimit.v3.RateLimitService", &[])
}
