//! Publishes what no replica of snippets would.

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// Publishes to the exchange of view batches, which a worker has declared by then.
pub struct Publisher {
    channel: Channel,
    _connection: Connection,
}

impl Publisher {
    pub async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    /// Returns once the message is safe.
    pub async fn publish(&self, payload: &[u8]) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let sent = self.channel.basic_publish("views".into(), "batches".into(), options, payload, properties);
        let confirmation = sent.await.unwrap().await.unwrap();
        assert!(confirmation.is_ack() && confirmation.take_message().is_none());
    }
}

/// A UUIDv7 of that time.
pub fn batch_id(time: SystemTime, number: u64) -> String {
    let millis = time.duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff)
}
