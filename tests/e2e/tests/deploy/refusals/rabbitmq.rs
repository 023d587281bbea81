//! Users of RabbitMQ.

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::servers::Servers;

#[derive(Debug, Clone, Copy)]
enum Attempt {
    Get(&'static str),
    Consume(&'static str),
    Purge(&'static str),
    /// To an exchange.
    Publish(&'static str),
    /// Of a queue.
    Declare(&'static str),
}
use Attempt::{Consume, Declare, Get, Publish, Purge};

const REFUSED: [(&str, Attempt); 11] = [
    ("snippets", Get("views.batches")),
    ("snippets", Consume("views.batches")),
    ("snippets", Purge("views.batches")),
    ("snippets", Get("views.dead")),
    ("snippets", Consume("views.dead")),
    ("snippets", Publish("views.dlx")),
    ("snippets", Publish("")),
    ("snippets", Declare("mine")),
    ("counter-worker", Publish("views.dlx")),
    ("counter-worker", Publish("")),
    ("counter-worker", Declare("mine")),
];

/// Demands that each user is refused what it does not need, and that nobody else is let in.
pub async fn of_rabbitmq(servers: &Servers) {
    for user in ["snippets", "counter-worker"] {
        let connection = connect(&servers.url("amqp", user)).await.unwrap();
        for (_, attempt) in REFUSED.into_iter().filter(|(of, _)| *of == user) {
            // Each refusal is the end of its channel.
            let channel = connection.create_channel().await.unwrap();
            let outcome = timeout(e2e::PATIENCE, attempt.make(&channel)).await.unwrap();
            let error = outcome.expect_err(&format!("{user} may {attempt:?}"));
            assert!(error.to_string().contains("ACCESS_REFUSED"), "{user}: {attempt:?}: {error}");
        }
        connection.close(200, "OK".into()).await.unwrap();
    }
    // The image's own, which everybody knows.
    let guest = format!("amqp://guest:guest@{}/views", servers.addr("rabbitmq:5672"));
    assert!(connect(&guest).await.is_err(), "guest is let in");
}

pub async fn connect(url: &str) -> lapin::Result<Connection> {
    timeout(e2e::PATIENCE, Connection::connect(url, ConnectionProperties::default())).await.unwrap()
}

impl Attempt {
    async fn make(self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Get(queue) => channel.basic_get(queue.into(), BasicGetOptions::default()).await.map(drop),
            Consume(queue) => {
                let options = BasicConsumeOptions::default();
                channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.map(drop)
            }
            Purge(queue) => channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop),
            Publish(exchange) => publish(channel, exchange).await,
            Declare(queue) => {
                let options = QueueDeclareOptions::default();
                channel.queue_declare(queue.into(), options, FieldTable::default()).await.map(drop)
            }
        }
    }
}

/// Confirmed: the broker says nothing about a message otherwise.
async fn publish(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish(exchange.into(), "batches".into(), options, b"x", BasicProperties::default())
        .await?;
    confirm.await.map(drop)
}
