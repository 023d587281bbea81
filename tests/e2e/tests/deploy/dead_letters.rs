//! What an operator does to dead letters in the name of the worker.

use e2e::{PATIENCE, service};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use stack::{ServiceBuilder, until};

use crate::refusals::connect;
use crate::servers::Servers;

/// Demands that the worker's user may look at dead letters, bring them back, and throw them away. What dies is no batch, so the
/// running workers reject it each time.
pub async fn are_listed_replayed_and_purged(servers: &Servers) {
    let publisher = connect(&servers.url("amqp", "snippets")).await.unwrap();
    let channel = publisher.create_channel().await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("views".into(), "batches".into(), options, b"no batch", properties).await.unwrap();

    until_one_is_dead(servers).await;
    let replayed = run(servers, &["replay", "--malformed"], "--all").await.unwrap();
    assert!(replayed.contains("1 dead letter replayed"), "{replayed}");
    until_one_is_dead(servers).await;
    let purged = run(servers, &["purge"], "--all").await.unwrap();
    assert!(purged.contains("1 dead letter purged"), "{purged}");
    publisher.close(200, "OK".into()).await.unwrap();
}

async fn until_one_is_dead(servers: &Servers) {
    let mut listed = String::new();
    let is_listed = async || {
        listed = run(servers, &["list"], "--limit=10").await.unwrap();
        listed.contains("rejected 1x in views.batches")
    };
    until("a dead letter is listed", PATIENCE, is_listed)
        .await
        .unwrap_or_else(|error| panic!("{error}: {listed}"));
}

async fn run(servers: &Servers, action: &[&str], last: &str) -> anyhow::Result<String> {
    let worker = service("counter-worker")?.env("AMQP_URL", servers.url("amqp", "counter-worker"));
    let arguments = ["dead-letters"].iter().chain(action);
    arguments.fold(worker, ServiceBuilder::arg).run(last).await
}
