//! A queue that is not as it must be keeps views waiting, not lost: the services say what differs, and go on by themselves
//! once an operator has mended it.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use anyhow::ensure;
use e2e::{Client, PATIENCE, until_views};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use rpc::snippets::v1::Snippet;
use stack::{Service, StartedWhen, eventually, http_get};

const QUEUE: &str = "views.dead";
const DIFFERENCE: &str =
    "rabbitmq: the queue views.dead is not as it must be: x-delivery-limit is 7 instead of 1000000";

async fn until_readyz(service: &Service, text: &str) {
    let said = eventually(PATIENCE, async || {
        let answer = http_get(service.admin_addr(), "/readyz").await?;
        ensure!(answer.body.contains(text), "{}: {answer:?}", service.name());
        Ok(())
    });
    said.await.unwrap();
}

#[tokio::test]
async fn a_queue_with_another_argument_is_named_until_it_is_deleted() {
    let backends = e2e::backends().await;
    let broker = Connection::connect(&backends.amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(7));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, arguments).await.unwrap();

    for program in ["snippets", "counter-worker"] {
        e2e::service_of(&backends, program).unwrap().run("migrate").await.unwrap();
    }
    let start = async |program| {
        // Whether the limiter is there makes no difference.
        let service = e2e::service_of(&backends, program).unwrap().env("RATELIMIT_URL", "http://127.0.0.1:1");
        service.started_when(StartedWhen::Live).start().await.unwrap()
    };
    let services = [start("snippets").await, start("counter-worker").await];
    for service in &services {
        until_readyz(service, DIFFERENCE).await;
        assert!(service.log().contains("delete the queue once it is empty"), "{}", service.log());
        assert!(!service.log().contains("amqp://"), "an address with a password is logged");
    }
    let client = Client::to(&services[0]).await.unwrap();
    let created = client.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap();
    client.get(&created.id).await.unwrap();

    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(until_views(&client, &created.id, 1).await.unwrap(), 1);
    until_readyz(&services[1], "ready\n").await;
}
