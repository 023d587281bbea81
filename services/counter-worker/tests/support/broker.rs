//! The publisher's side of the queue, and a look into it.

use broker::{BrokerConnection, topology};
use bytes::Bytes;
use lapin::{
    BasicProperties, Channel,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions},
};
use secrecy::SecretString;

/// A connection that publishes with confirms.
pub struct Publisher {
    channel: Channel,
    _connection: BrokerConnection,
}

impl Publisher {
    /// Connects and declares the topology.
    pub async fn connect(url: &str) -> Self {
        let mut connection =
            BrokerConnection::open(&SecretString::from(url), "test").await.expect("connected");
        let channel = connection.channel().await.expect("a channel");
        topology::declare(&channel).await.expect("declared");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirm mode");
        Self { channel, _connection: connection }
    }

    /// Publishes, and returns once all are confirmed.
    pub async fn publish(&self, payloads: &[Bytes]) {
        self.publish_to(topology::VIEWS_EXCHANGE, payloads).await;
    }

    /// Makes dead letters.
    pub async fn bury(&self, payloads: &[Bytes]) {
        self.publish_to(topology::DEAD_LETTER_EXCHANGE, payloads).await;
    }

    async fn publish_to(&self, exchange: &str, payloads: &[Bytes]) {
        let mut confirms = Vec::new();
        for payload in payloads {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, key) = (exchange.into(), topology::BATCHES_ROUTING_KEY.into());
            let properties = BasicProperties::default().with_delivery_mode(2);
            let confirm = self.channel.basic_publish(exchange, key, options, payload, properties);
            confirms.push(confirm.await.expect("sent"));
        }
        for confirm in confirms {
            let confirm = confirm.await.expect("confirmed");
            assert!(confirm.is_ack() && confirm.take_message().is_none());
        }
    }

    /// How many messages of a queue wait to be delivered.
    pub async fn waiting(&self, queue: &'static str) -> u32 {
        topology::waiting(&self.channel, queue).await.expect("the queue is there")
    }

    /// Takes a message away, if one is there.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await.expect("asked")
    }
}
