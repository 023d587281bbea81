//! Puts the three libraries together.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use chassis::{App, Background, Bound, Health, Need, telemetry::Telemetry};
use ratelimit::{Limiter, grpc::ResponseHeaders, reload::Reloader};
use snippets::{
    adapters::{
        memory_cache::MemorySnippetCache,
        sqlite::{
            Database, SqliteAccountStore, SqliteDeletions, SqlitePageTokenKeys, SqliteSnippetLists,
            SqliteSnippetStore, SqliteSweep, SqliteViewHistory, SqliteViewTotals,
        },
    },
    config::ApiConfig,
    startup::Backends,
};

use crate::{
    config::{Cli, Command, ServeArgs},
    data_dir::DataDir,
    embedded::{EmbeddedLimiter, EmbeddedPublisher},
};

/// Counters kept in memory at most.
const COUNTERS_MAX: usize = 1_000_000;
/// Memory for copies of snippets.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve(cli.serve).await,
        Some(Command::Serve(args)) => serve(args).await,
        Some(Command::Healthcheck(args)) => Ok(args.run()?),
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = args.validate()?;
    let telemetry = Telemetry::install("standalone", config.telemetry)?;
    let data_dir = DataDir::open(config.data_dir)?;
    let limiter = ratelimit::startup::embedded(config.ratelimit_rules.as_deref(), COUNTERS_MAX)?;
    let background_timeout = config.server.background_timeout();
    let bound = Bound::bind(config.server).await?;
    let mut app = app(data_dir.path(), config.api, background_timeout, limiter.clone()).await?;
    if let Some(path) = config.ratelimit_rules {
        let reloader = Reloader::new(path, limiter);
        app.background.start("rules reload", |stop| reloader.run(stop));
    }
    welcome(bound.listen_addr()?, data_dir.path());
    Ok(chassis::serve_until_signal(bound, app, telemetry).await?)
}

async fn app(
    data_dir: &Path,
    api: ApiConfig,
    background_timeout: Duration,
    limiter: Arc<Limiter>,
) -> anyhow::Result<App> {
    let mut background = Background::default();
    // The worker makes views.db, which the snippets' connections attach, and outlives the flusher, which needs it.
    let settings = counter_worker::Settings::default();
    let views = data_dir.join("views.db");
    let sender = counter_worker::startup::start_embedded(&views, settings, &mut background).await?;
    let database = Database::open(data_dir).await?;
    let snippets = SqliteSnippetStore::new(database.clone());
    let cache = MemorySnippetCache::new(CACHE_BYTES_MAX);
    let backends = Backends {
        snippets: snippets::startup::cached(snippets, cache, None, api.near_cache_bytes, &mut background),
        sweep: Arc::new(SqliteSweep::new(database.clone())),
        deletions: Arc::new(SqliteDeletions::new(database.clone())),
        lists: Arc::new(SqliteSnippetLists::new(database.clone())),
        accounts: Arc::new(SqliteAccountStore::new(database.clone())),
        page_token_keys: Arc::new(SqlitePageTokenKeys::new(database.clone())),
        totals: Arc::new(SqliteViewTotals::new(database.clone())),
        history: Arc::new(SqliteViewHistory::new(database.clone())),
        publisher: Arc::new(EmbeddedPublisher(sender)),
        limiter: Arc::new(EmbeddedLimiter(limiter.clone())),
    };
    // Whoever reaches the API reaches the limiter, too.
    let for_admins = ratelimit::grpc::routes_for_operators(limiter.clone());
    let routes = snippets::startup::build(backends, api, for_admins, background_timeout, &mut background)?;
    let routes = routes.merge(ratelimit::grpc::routes(limiter, ResponseHeaders::None));
    Ok(App { error_domain: "snippets", routes, health: health(database), background })
}

fn health(database: Database) -> Health {
    let probe = move || {
        let database = database.clone();
        async move { Ok(database.check().await?) }
    };
    Health::new()
        .dependency("sqlite", Need::ToStart, probe)
        .service("snippets.v1.SnippetService", &["sqlite"])
        .service("snippets.v1.AccountService", &["sqlite"])
        .service("ratelimit.v1.RateLimitService", &[])
        .service("envoy.service.ratelimit.v3.RateLimitService", &[])
}

/// Tells a newcomer what to do next.
fn welcome(addr: SocketAddr, data_dir: &Path) {
    println!("The data lies in {}. Try:\n", data_dir.display());
    println!(
        "grpcurl -plaintext -d '{{\"snippet\": {{\"title\": \"Hello\", \"body\": \"Hello, world\"}}}}' {addr} \
         snippets.v1.SnippetService/CreateSnippet\n"
    );
    println!("or share a text at http://{addr}/\n");
}
