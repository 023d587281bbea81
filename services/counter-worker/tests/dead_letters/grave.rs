//! Makes dead letters, and counts them.

use broker::{BrokerConnection, headers, topology};
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
        ConfirmSelectOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use secrecy::SecretString;
use stack::until;

use crate::support::worker::PATIENCE;

pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A message that is to die.
pub struct Buried {
    pub id: Option<String>,
    pub payload: Bytes,
}

impl Buried {
    pub fn named(id: &str, payload: Bytes) -> Self {
        Self { id: Some(id.to_owned()), payload }
    }
}

/// What a publisher gives a message of that id.
pub fn properties(id: Option<&str>) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type("application/protobuf".into())
        .with_delivery_mode(2)
        .with_headers(headers::encode([("traceparent", TRACEPARENT)]));
    id.map_or(properties.clone(), |id| properties.with_message_id(id.into()))
}

/// A connection to a broker that has the topology.
pub struct Grave {
    channel: Channel,
    _connection: BrokerConnection,
}

impl Grave {
    pub async fn open(url: &str) -> Self {
        let mut connection = BrokerConnection::open(&SecretString::from(url), "test").await.unwrap();
        let channel = connection.channel().await.unwrap();
        topology::declare(&channel).await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Publishes the messages, and rejects them. There is to be no worker.
    pub async fn bury(&self, messages: &[Buried]) {
        let before = self.waiting(topology::DEAD_QUEUE).await;
        self.publish(topology::VIEWS_EXCHANGE, messages).await;
        let (queue, options) = (topology::BATCHES_QUEUE.into(), BasicConsumeOptions::default());
        let mut consumer =
            self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap();
        for _ in messages {
            let delivery = consumer.next().await.unwrap().unwrap();
            delivery.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        }
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        self.until_dead(before + u32::try_from(messages.len()).unwrap()).await;
    }

    /// Puts messages among the dead letters past any worker.
    pub async fn publish_to_dead_letters(&self, messages: &[Buried]) {
        self.publish(topology::DEAD_LETTER_EXCHANGE, messages).await;
    }

    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// How many messages of a queue wait to be delivered.
    pub async fn waiting(&self, queue: &'static str) -> u32 {
        topology::waiting(&self.channel, queue).await.unwrap()
    }

    /// Takes the next batch away: its properties, without what the broker adds on delivery, and its payload.
    pub async fn take_batch(&self) -> (BasicProperties, Vec<u8>) {
        let (queue, options) = (topology::BATCHES_QUEUE.into(), BasicGetOptions { no_ack: true });
        let delivery = self.channel.basic_get(queue, options).await.unwrap().expect("a batch").delivery;
        let mut headers = FieldTable::default();
        for (name, value) in delivery.properties.headers().iter().flat_map(FieldTable::inner) {
            if name.as_str() != "x-delivery-count" {
                headers.insert(name.clone(), value.clone());
            }
        }
        (delivery.properties.clone().with_headers(headers), delivery.data)
    }

    async fn until_dead(&self, letters: u32) {
        let dead = async || self.waiting(topology::DEAD_QUEUE).await == letters;
        until("the letters are dead", PATIENCE, dead).await.unwrap();
    }

    async fn publish(&self, exchange: &str, messages: &[Buried]) {
        let mut confirms = Vec::new();
        for message in messages {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let key = topology::BATCHES_ROUTING_KEY.into();
            let properties = properties(message.id.as_deref());
            let publishing =
                self.channel.basic_publish(exchange.into(), key, options, &message.payload, properties);
            confirms.push(publishing.await.unwrap());
        }
        for confirm in confirms {
            let confirmation = confirm.await.unwrap();
            assert!(confirmation.is_ack() && confirmation.take_message().is_none());
        }
    }
}
