//! The names and properties of every exchange and queue, and their declaration: the one place for both.
//!
//! ```text
//! publisher -> exchange views (direct) -batches-> queue views.batches (quorum) -> counter worker
//!                                                       | rejected, or delivered too often
//!                                                       v
//!                                     exchange views.dlx (fanout) -> queue views.dead (quorum)
//! ```
//!
//! Declared alike by publishers and consumers, so whoever comes first may be first. The arguments are
//! understood by RabbitMQ 3.10 and 4.x; changing one of a queue that exists is refused by the broker.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use crate::{BrokerError, bounded};

/// Where publishers send view batches.
pub const VIEWS_EXCHANGE: &str = "views";
/// The routing key of a view batch.
pub const BATCHES_ROUTING_KEY: &str = "batches";
/// The queue that counter workers consume.
pub const BATCHES_QUEUE: &str = "views.batches";
/// Where the broker sends what a worker rejected.
pub const DEAD_LETTER_EXCHANGE: &str = "views.dlx";
/// The queue that keeps rejected batches for a person to look at.
pub const DEAD_QUEUE: &str = "views.dead";

/// How often a batch is delivered before the broker sets it aside. Every lost connection counts, and the
/// broker also ends a worker's channel when Postgres keeps it from acknowledging for half an hour: 100 outlasts
/// an outage of two days, while a batch that kills its worker is still put aside in the end. 4.x would say 20.
const BATCHES_DELIVERY_LIMIT: i64 = 100;
/// Dead letters have nowhere to go, so beyond the limit they would be dropped; 4.x would say 20, and 3.10 does
/// not know "unlimited".
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// Declares everything; harmless when it is there already.
///
/// # Errors
/// When the broker refuses (a queue exists with other arguments, no permission) or does not answer in time.
pub async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    // Fanout: a dead letter keeps the routing key it was published with, and none may be unroutable here.
    exchange(channel, DEAD_LETTER_EXCHANGE, ExchangeKind::Fanout).await?;
    queue(channel, DEAD_QUEUE, dead_arguments()).await?;
    bind(channel, DEAD_QUEUE, DEAD_LETTER_EXCHANGE, "").await?;
    exchange(channel, VIEWS_EXCHANGE, ExchangeKind::Direct).await?;
    queue(channel, BATCHES_QUEUE, batches_arguments()).await?;
    bind(channel, BATCHES_QUEUE, VIEWS_EXCHANGE, BATCHES_ROUTING_KEY).await
}

fn batches_arguments() -> FieldTable {
    let mut arguments = quorum(BATCHES_DELIVERY_LIMIT);
    arguments.insert("x-dead-letter-exchange".into(), text(DEAD_LETTER_EXCHANGE));
    // A dead letter leaves this queue only once the other has it; the broker wants "reject-publish" for that.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn dead_arguments() -> FieldTable {
    quorum(DEAD_DELIVERY_LIMIT)
}

fn quorum(delivery_limit: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(delivery_limit));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    bounded("exchange.declare", channel.exchange_declare(name.into(), kind, options, FieldTable::default()))
        .await
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    bounded("queue.declare", channel.queue_declare(name.into(), options, arguments)).await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bounded("queue.bind", binding).await
}
