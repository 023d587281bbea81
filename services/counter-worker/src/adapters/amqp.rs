//! Batches from RabbitMQ.

mod depths;

use std::sync::Arc;

use async_trait::async_trait;
use broker::{BrokerConnection, BrokerError, Status, Supervisor, bounded, topology};
use chassis::propagation;
use futures_util::StreamExt as _;
use lapin::{
    Channel, Consumer,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions},
    types::FieldTable,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::ports::{BatchQueue, Deliveries, Delivery, QueueError, Settlement, Subscription};

pub use depths::QueueDepths;

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "counter-worker";

/// The queue `views.batches`, connected anew as often as it takes.
pub struct AmqpQueue {
    url: SecretString,
    prefetch: u16,
    supervisor: Supervisor,
}

impl AmqpQueue {
    /// A queue at the broker `url`, of whose deliveries up to `prefetch` are open at a time. Fewer than
    /// a flush gathers would mean that flushes never fill. Nothing is connected yet.
    pub fn new(url: SecretString, prefetch: u16) -> Self {
        Self { url, prefetch, supervisor: Supervisor::new("batch consumer") }
    }

    /// Tells whether the broker delivers, and if not, why.
    pub fn status(&self) -> Status {
        self.supervisor.status()
    }
}

#[async_trait]
impl BatchQueue for AmqpQueue {
    async fn subscribe(
        &mut self,
        mut lost: Option<QueueError>,
        stop: &CancellationToken,
    ) -> Option<Subscription> {
        loop {
            if let Some(cause) = lost {
                self.supervisor.pause(&cause, stop).await;
            }
            match stop.run_until_cancelled(open(&self.url, self.prefetch)).await? {
                Ok(subscription) => {
                    self.supervisor.opened();
                    return Some(subscription);
                }
                Err(error) => lost = Some(error.into()),
            }
        }
    }
}

async fn open(url: &SecretString, prefetch: u16) -> Result<Subscription, BrokerError> {
    let mut connection = BrokerConnection::open(url, CONNECTION_NAME).await?;
    let channel = connection.channel().await?;
    topology::declare(&channel).await?;
    // Before consuming: lapin buffers whatever the broker sends, without a bound.
    bounded("basic.qos", channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let consuming = channel.basic_consume(
        topology::BATCHES_QUEUE.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = bounded("basic.consume", consuming).await?;
    let settlement = Arc::new(AmqpSettlement(channel.clone()));
    Ok(Subscription { deliveries: Box::new(AmqpDeliveries { connection, channel, consumer }), settlement })
}

struct AmqpDeliveries {
    connection: BrokerConnection,
    channel: Channel,
    consumer: Consumer,
}

#[async_trait]
impl Deliveries for AmqpDeliveries {
    async fn next(&mut self) -> Result<Option<Delivery>, QueueError> {
        tokio::select! {
            biased;
            message = self.consumer.next() => match message {
                Some(Ok(message)) => Ok(Some(message.into())),
                Some(Err(error)) => Err(BrokerError::from(error).into()),
                // The broker cancels a consumer when its queue is deleted or moves.
                None => Err(BrokerError::Ended.into()),
            },
            // A consumer can die without a word; the connection and the channel tell.
            error = self.connection.ended(&self.channel) => Err(error.into()),
        }
    }

    async fn close(self: Box<Self>) {
        self.connection.close().await;
    }
}

struct AmqpSettlement(Channel);

#[async_trait]
impl Settlement for AmqpSettlement {
    async fn ack_up_to(&self, tag: u64) -> Result<(), QueueError> {
        let ack = self.0.basic_ack(tag, BasicAckOptions { multiple: true });
        Ok(bounded("basic.ack", ack).await?)
    }

    async fn reject(&self, tag: u64) -> Result<(), QueueError> {
        let reject = self.0.basic_reject(tag, BasicRejectOptions { requeue: false });
        Ok(bounded("basic.reject", reject).await?)
    }
}

impl From<Message> for Delivery {
    fn from(message: Message) -> Self {
        let trace = broker::headers::decode(message.properties.headers().as_ref(), &propagation::HEADERS);
        let (tag, redelivered) = (message.delivery_tag, message.redelivered);
        Self { tag, payload: message.data.into(), redelivered, trace }
    }
}

impl From<BrokerError> for QueueError {
    fn from(error: BrokerError) -> Self {
        Self(Box::new(error))
    }
}
