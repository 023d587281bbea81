//! The API in this process, over SQLite and memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use chassis::Background;
use snippets::{
    adapters::{
        memory_cache::MemorySnippetCache,
        sqlite::{
            Database, SqliteAccountStore, SqliteDeletions, SqlitePageTokenKeys, SqliteSnippetLists,
            SqliteSnippetStore, SqliteSweep, SqliteViewHistory, SqliteViewTotals,
        },
    },
    config::ApiConfig,
    domain::{Caller, KeyHash},
    ports::{BatchPublisher, Charge, LimitDecision, PendingBatch, PublishError, RateLimiter},
    startup::{self, Backends},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// The key of the admin.
pub const ADMIN_KEY: &str = "the admin's key";
const BYTES_MAX: u64 = 1024 * 1024;

/// The routes, and what they stand on.
pub struct Api {
    /// gRPC and HTTP.
    pub routes: Router,
    /// Nothing goes on outside of it.
    pub runtime: Runtime,
    _background: Background,
    _data_dir: TempDir,
}

impl Api {
    /// On an empty database.
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let data_dir = TempDir::new().expect("a folder");
        let mut background = Background::default();
        let routes = runtime.block_on(routes(&data_dir, &mut background));
        Self { routes, runtime, _background: background, _data_dir: data_dir }
    }
}

async fn routes(data_dir: &TempDir, background: &mut Background) -> Router {
    let views = data_dir.path().join("views.db");
    let settings = counter_worker::Settings::default();
    counter_worker::startup::start_embedded(&views, settings, background)
        .await
        .expect("views can be counted");
    let database = Database::open(data_dir.path()).await.expect("a database");
    let store = SqliteSnippetStore::new(database.clone());
    let cache = MemorySnippetCache::new(BYTES_MAX);
    let backends = Backends {
        snippets: startup::cached(store, cache, None, BYTES_MAX, background),
        deletions: Arc::new(SqliteDeletions::new(database.clone())),
        sweep: Arc::new(SqliteSweep::new(database.clone())),
        lists: Arc::new(SqliteSnippetLists::new(database.clone())),
        accounts: Arc::new(SqliteAccountStore::new(database.clone())),
        page_token_keys: Arc::new(SqlitePageTokenKeys::new(database.clone())),
        totals: Arc::new(SqliteViewTotals::new(database.clone())),
        history: Arc::new(SqliteViewHistory::new(database)),
        publisher: Arc::new(Nobody),
        limiter: Arc::new(Nobody),
    };
    let config = ApiConfig {
        bootstrap_admin: Some(KeyHash::of(ADMIN_KEY)),
        trusted_proxies: "127.0.0.0/8".parse().expect("a network"),
        near_cache_bytes: BYTES_MAX,
        views_flush_interval: Duration::from_secs(1),
        views_pending_max: 1000,
        view_spool: None,
    };
    let second = Duration::from_secs(1);
    let routes = startup::build(backends, config, Router::new(), second, background);
    routes.expect("there is no spool to fail").into_router()
}

/// Limits nothing, and takes any batch.
struct Nobody;

#[async_trait]
impl RateLimiter for Nobody {
    async fn check(&self, _: &Caller, _: Charge) -> LimitDecision {
        LimitDecision::Allowed
    }
}

#[async_trait]
impl BatchPublisher for Nobody {
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
        batches.iter().map(|_| Ok(())).collect()
    }
}
