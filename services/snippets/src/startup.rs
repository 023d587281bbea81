//! Puts the service together: for its own process, and for the embedded mode.

use std::sync::Arc;

use axum::Router;
use chassis::Background;

use crate::{
    cached::CachedSnippets,
    config::ApiConfig,
    grpc::Api,
    ports::{AccountStore, BatchPublisher, RateLimiter, SnippetCache, SnippetStore, ViewHistory, ViewTotals},
    views::{self, OpenSpoolError, Spool, ViewAggregator, ViewCounts, ViewFlusher},
};

#[cfg(all(feature = "amqp", feature = "postgres", feature = "redis"))]
mod process;

#[cfg(all(feature = "amqp", feature = "postgres", feature = "redis"))]
pub use process::run;

/// A window of so many snippets is closed before its time, so that its batches don't leave all at once.
const MANY_SNIPPETS: usize = 10_000;

/// The adapters that the API stands on.
pub struct Backends {
    /// Where snippets are kept, with its cache in front.
    pub snippets: Arc<dyn SnippetStore>,
    /// Where accounts and keys are kept.
    pub accounts: Arc<dyn AccountStore>,
    /// Where views are added up.
    pub totals: Arc<dyn ViewTotals>,
    /// And by the hour and day.
    pub history: Arc<dyn ViewHistory>,
    /// How batches of views get there.
    pub publisher: Arc<dyn BatchPublisher>,
    /// Limits writes.
    pub limiter: Arc<dyn RateLimiter>,
}

/// Puts a cache in front of a store; the background makes up for invalidations that failed.
pub fn cached(
    store: impl SnippetStore + 'static,
    cache: impl SnippetCache + 'static,
    background: &mut Background,
) -> Arc<dyn SnippetStore> {
    let cached = Arc::new(CachedSnippets::new(store, cache));
    let invalidations = cached.clone();
    background.start("cache invalidations", |stop| async move { invalidations.run(stop).await });
    cached
}

/// The API over these backends; what counts and publishes views is started in the background.
///
/// # Errors
/// When views are to be spooled, and the spool can't be used.
pub fn build(
    backends: Backends,
    config: ApiConfig,
    background: &mut Background,
) -> Result<Router, OpenSpoolError> {
    let view_counts = Arc::new(ViewCounts::new(backends.totals));
    let refreshed = view_counts.clone();
    background.start("view count refresher", |stop| async move { refreshed.run(stop).await });
    let views = start_counting(backends.publisher, &config, background)?;
    let api = Api {
        snippets: backends.snippets,
        accounts: backends.accounts,
        views,
        view_counts,
        view_history: backends.history,
        limiter: backends.limiter,
        bootstrap_admin: config.bootstrap_admin,
        trusted_proxies: config.trusted_proxies,
    };
    Ok(api.routes())
}

/// What views are counted by; its flusher is started in the background.
fn start_counting(
    publisher: Arc<dyn BatchPublisher>,
    config: &ApiConfig,
    background: &mut Background,
) -> Result<Arc<ViewAggregator>, OpenSpoolError> {
    let spool = config.view_spool.as_ref().map(Spool::open).transpose()?;
    let views = Arc::new(ViewAggregator::new(config.views_pending_max, MANY_SNIPPETS));
    // Only for people who read the queue; batches are told apart by their ids.
    let mut options = views::Options::new(format!("snippets-{}", std::process::id()));
    options.interval = config.views_flush_interval;
    let flusher = ViewFlusher::new(views.clone(), spool, publisher, options);
    background.start("view flusher", |stop| flusher.run(stop));
    Ok(views)
}
