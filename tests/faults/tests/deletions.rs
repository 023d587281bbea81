//! What was counted of a deleted snippet goes, whoever dies before that was told.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use faults::{Counts, PATIENCE, Rig, Views, until_degraded, until_ready};
use stack::{Backends, Proxy, shared, until};

/// Reads of each snippet.
const READS: usize = 5;

#[tokio::test]
async fn a_deletion_is_told_although_the_replica_is_killed_without_the_broker() {
    let backends = Backends::fresh(shared()).await;
    let (way, amqp_url) = Proxy::before_url(&backends.amqp_url).await.unwrap();
    // The worker goes there, too, but takes nothing that the replica has not sent.
    let rig =
        Rig::start(Rig::builder(Backends { amqp_url, ..backends }).replicas(1).workers(1)).await.unwrap();
    let (replica, reader) = (&rig.product.snippets[0], &rig.readers().unwrap()[0]);
    let views = Views::default();
    let ids = rig.snippets(3).await.unwrap();
    for id in &ids {
        views.read_times(reader, id, READS).await.unwrap();
    }
    views.until_counted(reader).await.unwrap();
    let counted = rig.totals(&views.acknowledged()).await.unwrap();
    assert_eq!(counted, views.acknowledged());

    way.cut().await;
    until_degraded(replica, "rabbitmq").await.unwrap();
    for id in &ids[..2] {
        rig.owner(reader).delete(id).await.unwrap();
    }
    replica.kill();
    assert_eq!(rig.totals(&counted).await.unwrap(), counted, "nobody was told");
    replica.restart().await.unwrap();
    way.restore().await.unwrap();
    until_ready(replica).await.unwrap();

    let left: Counts =
        ids.iter().map(|id| (id.clone(), if *id == ids[2] { READS as u64 } else { 0 })).collect();
    let gone = async || rig.totals(&counted).await.unwrap() == left;
    until("what was counted of them is gone", PATIENCE, gone).await.unwrap();
    until("nothing is left to be told", PATIENCE, async || rig.untold().await.unwrap() == 0).await.unwrap();
}
