//! The store of totals on a Postgres that hangs.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::{Duration, Instant};

use counter_worker::{adapters::postgres::PostgresTotals, ports::TotalsStore as _};
use database::Options;
use secrecy::SecretString;
use support::{batch, worker::PATIENCE};
use uuid::Uuid;

const CONNECTIONS_MAX: u32 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_database_that_hangs_is_given_up_and_found_again_with_every_connection() {
    let server = stack::Postgres::start().await.unwrap();
    let url = SecretString::from(server.database().await.unwrap().url());
    PostgresTotals::migrate(&url).await.unwrap();
    let options = Options {
        connections_max: CONNECTIONS_MAX,
        acquire_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(500),
        ..Options::new(url)
    };
    let store = PostgresTotals::with_options(&options).unwrap();
    let count = async || store.apply(&[batch(Uuid::now_v7(), &[("a", 1)])]).await;
    count().await.unwrap();

    server.pause();
    let began = Instant::now();
    for _ in 0..2 * CONNECTIONS_MAX {
        assert!(store.ready().await.unwrap_err().is_transient());
        assert!(count().await.unwrap_err().is_transient());
        assert!(store.prune_hourly(DAY, 10).await.unwrap_err().is_transient());
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    server.resume();
    let all_at_once = async || {
        let (ready, counted, pruned) = tokio::join!(store.ready(), count(), store.prune_hourly(DAY, 10));
        ready?;
        counted?;
        Ok(pruned?)
    };
    stack::eventually(PATIENCE, all_at_once).await.unwrap();
}
