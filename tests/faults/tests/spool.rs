//! With a spool, a replica that is killed while the broker is away loses its open window at most.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use faults::{Flood, PATIENCE, Rig, Views, metric, until_degraded};
use stack::{Backends, Proxy, Service, shared, until};

const BATCHED: &str = "snippets_views_batched_total";
const HELD: &str = "snippets_view_snippets_pending{state=\"unconfirmed\"}";
const UNCONFIRMED: &str = "snippets_view_batches_unconfirmed";
/// So many closed windows that the replay is of more than one, in each life.
const WINDOWS: usize = 4;

#[tokio::test]
async fn closed_windows_outlive_a_kill_without_the_broker() {
    let spool = tempfile::tempdir().unwrap();
    let backends = Backends::fresh(shared()).await;
    let (way, amqp_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
    let builder = Rig::builder(Backends { amqp_url, ..backends }).replicas(1).workers(1);
    let dir = spool.path().join("replica");
    let rig = Rig::start(builder.env("VIEW_SPOOL_DIR", dir.display().to_string())).await.unwrap();
    let (replica, reader) = (&rig.product.snippets[0], &rig.readers().unwrap()[0]);
    let ids = rig.snippets(5).await.unwrap();
    let views = Arc::<Views>::default();

    // Several windows, and two lives, so that what the first left is spooled beside what the second counts.
    way.cut().await;
    until_degraded(replica, "rabbitmq").await.unwrap();
    for seed in 1..=2 {
        let (before, spooled) = (views.total(), batches_in(&dir));
        let flood = Flood::start(&views, std::slice::from_ref(reader), &ids, seed);
        let several = async || batches_in(&dir) >= spooled + WINDOWS;
        until("several windows are on disk", PATIENCE, several).await.unwrap();
        let failed = flood.stop().await;
        assert!(failed.is_empty(), "{failed:?}");
        until_closed(replica, views.total() - before).await;
        assert_eq!(metric(replica, UNCONFIRMED).await.unwrap(), batches_in(&dir) as u64);
        replica.kill();
        replica.restart().await.unwrap();
    }
    way.restore().await.unwrap();
    views.until_counted(reader).await.unwrap();
    rig.assert_conserved(&views).await.unwrap();
    assert_eq!(batches_in(&dir), 0, "what is safe takes no room");
}

/// Waits until a replica, whose life has seen so many views, has closed the window of the last, and holds none in memory.
async fn until_closed(replica: &Service, views: u64) {
    let closed = async || {
        let batched = metric(replica, BATCHED).await.unwrap();
        batched == views && metric(replica, HELD).await.unwrap() == 0
    };
    until("everything is on disk", PATIENCE, closed).await.unwrap();
}

fn batches_in(dir: &Path) -> usize {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "batch")).count()
}
