//! Puts the service together: for its own process, and for the embedded mode.

use std::{sync::Arc, time::Duration};

use axum::Router;
use chassis::{Background, Routes};

use crate::{
    cached::CachedSnippets,
    cached_accounts::CachedAccounts,
    config::ApiConfig,
    grpc::Api,
    near::NearSnippets,
    ports::{
        AccountStore, BatchPublisher, Deletions, Invalidations, PageTokenKeys, RateLimiter, SnippetCache,
        SnippetLists, SnippetStore, Sweep, ViewHistory, ViewTotals,
    },
    sweeper::Sweeper,
    views::{
        self, DeletionTeller, ListViews, OpenSpoolError, Spool, ViewAggregator, ViewCounts, ViewFlusher,
    },
};

#[cfg(all(feature = "amqp", feature = "postgres", feature = "redis"))]
mod process;

#[cfg(all(feature = "amqp", feature = "postgres", feature = "redis"))]
pub use process::run;

/// A window of so many snippets is closed before its time, so that its batches don't leave all at once.
const MANY_SNIPPETS: usize = 10_000;
/// Of the time that all background tasks have to finish, the flusher's part, which is stopped first. The rest is for its last
/// words, of views that are lost, and for those that it relies on.
const FLUSHER_SHARE: f64 = 0.8;

/// The adapters that the API stands on.
pub struct Backends {
    /// Where snippets are kept, with its cache in front.
    pub snippets: Arc<dyn SnippetStore>,
    /// Lists snippets.
    pub lists: Arc<dyn SnippetLists>,
    /// Removes snippets there that are over.
    pub sweep: Arc<dyn Sweep>,
    /// Where those are noted that were removed there.
    pub deletions: Arc<dyn Deletions>,
    /// Where accounts and keys are kept; keys are remembered in front of it.
    pub accounts: Arc<dyn AccountStore>,
    /// Where the key of page tokens is kept.
    pub page_token_keys: Arc<dyn PageTokenKeys>,
    /// Where views are added up.
    pub totals: Arc<dyn ViewTotals>,
    /// And by the hour and day.
    pub history: Arc<dyn ViewHistory>,
    /// How batches of views get there.
    pub publisher: Arc<dyn BatchPublisher>,
    /// Limits writes.
    pub limiter: Arc<dyn RateLimiter>,
}

/// Puts caches in front of a store: one that replicas share, whose failed invalidations the background makes up for, also those
/// of other replicas that are noted in `invalidations`, and before it one of up to `near_bytes_max` bytes in this process.
pub fn cached(
    store: impl SnippetStore + 'static,
    cache: impl SnippetCache + 'static,
    invalidations: Option<Arc<dyn Invalidations>>,
    near_bytes_max: u64,
    background: &mut Background,
) -> Arc<dyn SnippetStore> {
    let cached = Arc::new(CachedSnippets::new(store, cache));
    let retried = cached.clone();
    background.start("cache invalidations", |stop| async move { retried.run(stop).await });
    if let Some(invalidations) = invalidations {
        let relay = cached.clone();
        background.start("cache invalidations of others", |stop| async move {
            relay.relay(invalidations, stop).await;
        });
    }
    let near = Arc::new(NearSnippets::new(cached.clone(), near_bytes_max));
    let changed = near.clone();
    let heard = metrics::counter!("snippets_changes_heard_total");
    let listener = Arc::new(move |id| {
        heard.increment(1);
        changed.forget(&id);
    });
    background.start("changes of other replicas", |stop| async move { cached.follow(listener, stop).await });
    near
}

/// The API over these backends; what counts and publishes views is started in the background, which has
/// `background_timeout` to finish. `for_admins` is served beside it, to admins alone.
///
/// # Errors
/// When views are to be spooled, and the spool can't be used.
pub fn build(
    backends: Backends,
    config: ApiConfig,
    for_admins: Router,
    background_timeout: Duration,
    background: &mut Background,
) -> Result<Routes, OpenSpoolError> {
    let view_counts = Arc::new(ViewCounts::new(backends.totals));
    let refreshed = view_counts.clone();
    background.start("view count refresher", |stop| async move { refreshed.run(stop).await });
    let copier = ListViews::new(backends.lists.clone());
    background.start("list views", |stop| copier.run(stop));
    let teller = DeletionTeller::new(backends.deletions, backends.publisher.clone(), publisher_name());
    background.start("deletions", |stop| teller.run(stop));
    let views = start_counting(backends.publisher, &config, background_timeout, background)?;
    let sweeper = Sweeper::new(backends.sweep);
    background.start("sweeper", |stop| sweeper.run(stop));
    let api = Api {
        snippets: backends.snippets,
        lists: backends.lists,
        accounts: Arc::new(CachedAccounts::new(backends.accounts)),
        page_token_keys: backends.page_token_keys,
        views,
        view_counts,
        view_history: backends.history,
        limiter: backends.limiter,
        bootstrap_admin: config.bootstrap_admin,
        trusted_proxies: config.trusted_proxies,
        for_admins,
    };
    Ok(api.routes())
}

/// What views are counted by; its flusher is started in the background.
fn start_counting(
    publisher: Arc<dyn BatchPublisher>,
    config: &ApiConfig,
    background_timeout: Duration,
    background: &mut Background,
) -> Result<Arc<ViewAggregator>, OpenSpoolError> {
    let spool = config.view_spool.as_ref().map(Spool::open).transpose()?;
    let views = Arc::new(ViewAggregator::new(config.views_pending_max, MANY_SNIPPETS));
    let mut options = views::Options::new(publisher_name());
    options.interval = config.views_flush_interval;
    options.stop_timeout = background_timeout.mul_f64(FLUSHER_SHARE);
    let flusher = ViewFlusher::new(views.clone(), spool, publisher, options);
    background.start("view flusher", |stop| flusher.run(stop));
    Ok(views)
}

/// Only for people who read the queue; batches are told apart by their ids.
fn publisher_name() -> String {
    format!("snippets-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        domain::SnippetId,
        ports::{PendingBatch, PublishError, ViewSink as _},
    };

    /// Never answers.
    struct Silent;

    #[async_trait]
    impl BatchPublisher for Silent {
        async fn publish(&self, _: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_flusher_ends_by_itself_in_the_time_that_the_background_has() {
        let config = ApiConfig {
            bootstrap_admin: None,
            trusted_proxies: "".parse().unwrap(),
            near_cache_bytes: 0,
            views_flush_interval: Duration::from_millis(200),
            views_pending_max: 10,
            view_spool: None,
        };
        for background_timeout in [250, 3_750, 900_000].map(Duration::from_millis) {
            let mut background = Background::default();
            let publisher = Arc::new(Silent);
            let views = start_counting(publisher, &config, background_timeout, &mut background).unwrap();
            views.record(&SnippetId::generate());
            let since = Instant::now();
            background.stop(background_timeout).await;
            let took = since.elapsed();
            assert!(took < background_timeout, "it was aborted after {took:?}");
            assert!(took > background_timeout / 2, "it had more time than {took:?}");
        }
    }
}
