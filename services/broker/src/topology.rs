//! The names and properties of every exchange and queue, and their declaration: the one place for both.
//!
//! ```text
//! publisher -> exchange views (direct) -batches-> queue views.batches (quorum) -> counter worker
//!                                                       | rejected, or delivered too often
//!                                                       v
//!                                     exchange views.dlx (fanout) -> queue views.dead (quorum)
//! ```
//!
//! Declared alike by publishers and consumers, so whoever comes first may be first. `deploy/rabbitmq/definitions.json`
//! says the same, which a test holds against this module. Changing an argument of what exists is refused by the broker,
//! and told as a [`Mismatch`](crate::Mismatch).
//!
//! All of it means the same to RabbitMQ 3.10 and 4.x, and is tested on both:
//!
//! - Queues are quorum queues, durable and shared: 4.x has no mirrored classic ones any more, and is about to refuse transient
//!   ones that are not exclusive.
//! - `x-delivery-limit` is said always: 3.10 has none by default, 4.0 has 20. Up to 4.2 every redelivery counts, from 4.3 on
//!   those after a failure alone, not those after a `basic.nack`.
//! - `x-dead-letter-strategy: at-least-once` takes effect only beside `x-overflow: reject-publish` and with the feature flag
//!   `stream_queue`. 4.x has that always; a 3.10 that was upgraded from 3.8 wants it enabled, and drops to at-most-once without.
//! - A quorum queue takes no `global` QoS, so consumers set theirs without.
//! - From 4.1 on a connection must agree to frames of 8 KiB at least; [`BrokerConnection`](crate::BrokerConnection) asks for 16.

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

/// An exchange, which is durable and takes no arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// How it routes: `direct` or `fanout`.
    pub kind: &'static str,
}

/// A queue, which is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: &'static str,
    /// What makes it what it is, by the broker's names.
    pub arguments: &'static [(&'static str, Argument)],
}

/// The value of a queue's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A word.
    Text(&'static str),
    /// A count.
    Number(i64),
}

/// A way from an exchange to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// From here.
    pub exchange: &'static str,
    /// To there.
    pub queue: &'static str,
    /// For messages of this key; a fanout exchange does not look at it.
    pub routing_key: &'static str,
}

/// Every exchange. The dead letters' is a fanout: they keep the routing key they were published with, and none may be
/// unroutable there.
pub const EXCHANGES: [Exchange; 2] = [
    Exchange { name: DEAD_LETTER_EXCHANGE, kind: "fanout" },
    Exchange { name: VIEWS_EXCHANGE, kind: "direct" },
];

/// Every queue.
pub const QUEUES: [Queue; 2] = [
    Queue {
        name: DEAD_QUEUE,
        arguments: &[
            ("x-queue-type", Argument::Text("quorum")),
            ("x-delivery-limit", Argument::Number(DEAD_DELIVERY_LIMIT)),
        ],
    },
    Queue {
        name: BATCHES_QUEUE,
        arguments: &[
            ("x-queue-type", Argument::Text("quorum")),
            ("x-delivery-limit", Argument::Number(BATCHES_DELIVERY_LIMIT)),
            ("x-dead-letter-exchange", Argument::Text(DEAD_LETTER_EXCHANGE)),
            // A dead letter leaves this queue only once the other has it; the broker wants "reject-publish" for that.
            ("x-dead-letter-strategy", Argument::Text("at-least-once")),
            ("x-overflow", Argument::Text("reject-publish")),
        ],
    },
];

/// Every binding. The publishers' is the last: what they send has all the rest behind it.
pub const BINDINGS: [Binding; 2] = [
    Binding { exchange: DEAD_LETTER_EXCHANGE, queue: DEAD_QUEUE, routing_key: "" },
    Binding { exchange: VIEWS_EXCHANGE, queue: BATCHES_QUEUE, routing_key: BATCHES_ROUTING_KEY },
];

/// Declares everything; harmless when it is there already.
///
/// # Errors
/// [`BrokerError::Mismatch`] when something is there and not as it must be, which ends the channel; others when the broker
/// refuses or does not answer in time.
pub async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    for exchange in EXCHANGES {
        exchange.declare(channel).await.map_err(|error| error.of_declaring("exchange", exchange.name))?;
    }
    for queue in QUEUES {
        queue.declare(channel).await.map_err(|error| error.of_declaring("queue", queue.name))?;
    }
    for binding in BINDINGS {
        binding.declare(channel).await?;
    }
    Ok(())
}

/// How many messages of a queue wait to be delivered. The queue is looked at and not declared: it may have other arguments.
///
/// # Errors
/// When it is not there, which ends the channel, or the broker does not answer in time.
pub async fn waiting(channel: &Channel, queue: &'static str) -> Result<u32, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let looking = channel.queue_declare(queue.into(), options, FieldTable::default());
    Ok(bounded("queue.declare", looking).await?.message_count())
}

impl Exchange {
    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        // The name is all that is sent, of the broker's own kinds too.
        let kind = ExchangeKind::Custom(self.kind.to_owned());
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declaring = channel.exchange_declare(self.name.into(), kind, options, FieldTable::default());
        bounded("exchange.declare", declaring).await
    }
}

impl Queue {
    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        let mut arguments = FieldTable::default();
        for (name, value) in self.arguments {
            arguments.insert((*name).into(), (*value).into());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        bounded("queue.declare", channel.queue_declare(self.name.into(), options, arguments)).await.map(drop)
    }
}

impl Binding {
    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        let (queue, exchange, key) = (self.queue.into(), self.exchange.into(), self.routing_key.into());
        let options = QueueBindOptions::default();
        bounded("queue.bind", channel.queue_bind(queue, exchange, key, options, FieldTable::default())).await
    }
}

impl From<Argument> for AMQPValue {
    fn from(argument: Argument) -> Self {
        match argument {
            Argument::Text(text) => Self::LongString(text.into()),
            Argument::Number(number) => Self::LongLongInt(number),
        }
    }
}
