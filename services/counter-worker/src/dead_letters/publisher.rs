//! Puts letters back into the queue that they came from.

use broker::{
    BrokerConnection, BrokerError, bounded,
    topology::{BATCHES_ROUTING_KEY, VIEWS_EXCHANGE},
};
use lapin::{
    Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use secrecy::SecretString;

use super::letter::Letter;

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "counter-worker dead-letters replay";

/// A connection of its own: one that the broker blocks, short of memory or disk, could not settle letters either.
pub(super) struct Publisher {
    connection: BrokerConnection,
    channel: Channel,
}

impl Publisher {
    pub(super) async fn open(url: &SecretString) -> Result<Self, BrokerError> {
        let mut connection = BrokerConnection::open(url, CONNECTION_NAME).await?;
        let channel = connection.channel().await?;
        bounded("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { connection, channel })
    }

    /// Publishes the letters. When this has succeeded all of them are safe in the queue; when not, any of them may be.
    pub(super) async fn publish(&self, letters: &[&Letter]) -> Result<(), BrokerError> {
        let mut confirms = Vec::with_capacity(letters.len());
        for letter in letters {
            // Mandatory: otherwise the broker confirms a message that no queue takes, and forgets it.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, key) = (VIEWS_EXCHANGE.into(), BATCHES_ROUTING_KEY.into());
            let properties = letter.properties_to_publish();
            let publishing = self.channel.basic_publish(exchange, key, options, &letter.payload, properties);
            confirms.push(bounded("basic.publish", publishing).await?);
        }
        for confirm in confirms {
            let confirmation =
                bounded("a publisher confirm", confirm).await.map_err(|error| self.explain(error))?;
            let acked = confirmation.is_ack();
            // lapin hands a returned message to whichever confirm comes next; here any of them fails them all.
            if let Some(returned) = confirmation.take_message() {
                return Err(BrokerError::NotTaken(returned.reply_text.to_string()));
            }
            if !acked {
                return Err(BrokerError::NotTaken("no ack".to_owned()));
            }
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    fn explain(&self, error: BrokerError) -> BrokerError {
        if self.connection.is_blocked() {
            return BrokerError::NotTaken(
                "it has blocked publishers, being short of memory or disk".to_owned(),
            );
        }
        error
    }
}
