//! That services are whole, and if one is not, what it says about it.

use anyhow::ensure;
use e2e::PATIENCE;
use stack::{Product, Service, eventually, http_get};

/// What is counted when a service is refused something and makes do without it.
const FAILURES: [&str; 9] = [
    "broker_connection_failures_total",
    "counter_worker_batches_total{outcome=\"rejected\"}",
    "counter_worker_commit_failures_total",
    "ratelimit_fallbacks_total",
    "snippets_cache_fills_total{outcome=\"error\"}",
    "snippets_cache_invalidation_failures_total",
    "snippets_unchecked_writes_total",
    "snippets_view_batches_total{outcome=\"failed\"}",
    "snippets_view_count_refresh_failures_total",
];

const LOG_LINES: usize = 15;

/// Waits until every service is ready and misses nothing.
pub async fn until_nothing_is_degraded(product: &Product) {
    for service in product.services() {
        let ready = eventually(PATIENCE, async || {
            let answer = http_get(service.admin_addr(), "/readyz").await?;
            ensure!((answer.status, answer.body.as_str()) == (200, "ready\n"), "{}", answer.body);
            Ok(())
        });
        let complain = |error| panic!("{} is {error:#}\n{}", service.name(), end_of_log(service));
        ready.await.unwrap_or_else(complain);
    }
}

/// Demands that no service had to do without something.
pub async fn assert_nothing_failed(product: &Product) {
    for service in product.services() {
        for failures in FAILURES {
            let counted = service.metric(failures).await.unwrap();
            let log = end_of_log(service);
            assert!(counted < 0.5, "{}: {failures} is {counted}\n{log}", service.name());
        }
    }
}

/// The last that a service has said.
pub fn end_of_log(service: &Service) -> String {
    let log = service.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
