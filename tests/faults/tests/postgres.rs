//! Without Postgres: what is cached is served, the rest is refused at once, and nothing that was viewed is forgotten.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use faults::{Client, Outage, Rig, Views, until_degraded, until_ready};
use rpc::snippets::v1::SnippetView;
use stack::{Backends, Postgres, shared, until};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const PATIENCE: std::time::Duration = faults::PATIENCE;
/// Reads of each replica before the outage, and during it.
const READS: usize = 20;

/// A cached snippet, and one that nobody has read.
struct Snippets {
    cached: String,
    uncached: String,
}

#[tokio::test]
async fn cached_reads_outlive_postgres_and_their_views_are_counted_afterwards() {
    let postgres = Postgres::start().await.unwrap();
    let backends = Backends {
        database_url: postgres.database().await.unwrap().url().to_owned(),
        ..Backends::fresh(shared()).await
    };
    let rig = Rig::start(Rig::builder(backends).workers(1)).await.unwrap();
    let readers = rig.readers().unwrap();
    let views = Views::default();
    for outage in Outage::ALL {
        println!("postgres is {outage:?}");
        let snippets = prepare(&rig, &readers, &views).await;
        outage.begin(&postgres);
        cached_reads_are_served(&readers, &views, &snippets).await;
        the_rest_is_unavailable(&rig, &readers, &snippets).await;
        statistics_are_unavailable(&rig, &readers, &snippets).await;
        for service in rig.product.snippets.iter().chain(&rig.product.counter_workers) {
            until_degraded(service, "postgres").await.unwrap();
        }
        cached_reads_are_served(&readers, &views, &snippets).await;
        outage.end(&postgres).await.unwrap();
        everything_recovers(&rig, &readers, &views, &snippets).await;
    }
    rig.assert_conserved(&views).await.unwrap();
}

/// The first read fills the cache that the replicas share; afterwards each replica knows the count.
async fn prepare(rig: &Rig, readers: &[Client], views: &Views) -> Snippets {
    let [cached, uncached] = rig.snippets(2).await.unwrap().try_into().unwrap();
    views.read_times(&readers[0], &cached, READS).await.unwrap();
    for reader in readers {
        views.until_counted(reader).await.unwrap();
    }
    Snippets { cached, uncached }
}

async fn cached_reads_are_served(readers: &[Client], views: &Views, snippets: &Snippets) {
    for reader in readers {
        for _ in 0..READS {
            let read = views.read(reader, &snippets.cached).await.unwrap();
            assert_eq!(read.body, "snippet 0");
            // The last known count: what is viewed now can't be added up yet.
            assert_eq!(read.view_count, READS as u64);
        }
    }
}

async fn the_rest_is_unavailable(rig: &Rig, readers: &[Client], snippets: &Snippets) {
    for reader in readers {
        let (owner, admin) = (rig.owner(reader), rig.admin(reader));
        // Whose key it is, is remembered for a second.
        let forgotten = async || owner.look(&snippets.cached).await.is_err();
        until("the owner's key is forgotten", PATIENCE, forgotten).await.unwrap();
        let refused = tokio::join!(
            reader.get(&snippets.uncached, SnippetView::Full),
            reader.create("x"),
            admin.create("x"),
            admin.delete(&snippets.cached),
            // Whose key it is can't be looked up; its bearer is nobody else meanwhile, least of all anonymous.
            owner.look(&snippets.cached),
            owner.edit(&snippets.cached, "x"),
        );
        assert_unavailable(refused.0);
        assert_unavailable(refused.1);
        assert_unavailable(refused.2);
        assert_unavailable(refused.3);
        assert_unavailable(refused.4);
        assert_unavailable(refused.5);
    }
}

/// Also those of a snippet of which the cache knows that it is there.
async fn statistics_are_unavailable(rig: &Rig, readers: &[Client], snippets: &Snippets) {
    for reader in readers {
        for id in [&snippets.cached, &snippets.uncached] {
            assert_unavailable(rig.admin(reader).view_stats(id).await);
        }
    }
}

/// And not DEADLINE_EXCEEDED: the service gives up before its callers do.
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let retry = status.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()), "{retry:?}");
    assert!(status.get_details_error_info().is_some(), "{status:?}");
}

async fn everything_recovers(rig: &Rig, readers: &[Client], views: &Views, snippets: &Snippets) {
    for reader in readers {
        let uncached = async || views.read(reader, &snippets.uncached).await.is_ok();
        until("an uncached read is answered", PATIENCE, uncached).await.unwrap();
        let written = async || rig.owner(reader).create("x").await.is_ok();
        until("a write is answered", PATIENCE, written).await.unwrap();
        rig.owner(reader).view_stats(&snippets.cached).await.unwrap();
        views.until_counted(reader).await.unwrap();
    }
    for service in rig.product.services() {
        until_ready(service).await.unwrap();
    }
}
