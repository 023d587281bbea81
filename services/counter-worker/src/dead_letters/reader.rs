//! Goes through the queue of dead letters once.

use std::{collections::BTreeSet, time::Duration};

use broker::{
    BrokerConnection, BrokerError, bounded,
    topology::{self, DEAD_QUEUE},
};
use futures_util::StreamExt as _;
use lapin::{
    Channel, Consumer, ErrorKind,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
        BasicQosOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use secrecy::SecretString;
use tokio::time::{sleep, timeout};

use super::{error::DeadLettersError, letter::Letter};

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "counter-worker dead-letters";
/// So many letters are in memory at a time.
const CHUNK: u16 = 200;
/// How long a letter is waited for that another command may have taken.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Letters given back by one command to the broker. 3.10 puts more of them back in no particular order.
const STRIDE: usize = 32;
/// So many letters are given back in their order; of more commands at a time the broker keeps no order either.
const ORDERED_MAX: u64 = 1_000;
/// How long the broker may take to have back what was given back; somebody else may have taken it by then.
const GIVEN_BACK_TIMEOUT: Duration = Duration::from_secs(2);
const GIVEN_BACK_POLL: Duration = Duration::from_millis(10);

/// The letters that were in the queue when it was opened, in their order.
pub(super) struct Reader {
    connection: BrokerConnection,
    channel: Channel,
    /// How many have not been looked at.
    left: u64,
    /// What was taken and is neither settled nor given back.
    held: BTreeSet<u64>,
}

impl Reader {
    pub(super) async fn open(url: &SecretString) -> Result<Self, DeadLettersError> {
        let opening = BrokerConnection::open(url, CONNECTION_NAME);
        let mut connection = opening.await.map_err(DeadLettersError::NotConnected)?;
        let channel = connection.channel().await?;
        let left = count(&channel).await.map_err(no_queue)?;
        Ok(Self { connection, channel, left, held: BTreeSet::new() })
    }

    /// How many letters have not been looked at.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Some letters more, `most` of them at most, all held; none at the end.
    pub(super) async fn take(&mut self, most: u64) -> Result<Vec<Letter>, BrokerError> {
        let most = self.left.min(most).min(CHUNK.into());
        if most == 0 {
            return Ok(Vec::new());
        }
        let Some(BasicGetMessage { delivery, message_count }) = self.get().await? else {
            self.left = 0;
            return Ok(Vec::new());
        };
        let mut letters = vec![Letter::from(delivery)];
        self.held.insert(letters[0].tag);
        let others = u16::try_from(u64::from(message_count).min(most - 1)).unwrap_or(CHUNK);
        if others > 0 {
            self.consume(others, &mut letters).await?;
        }
        self.left = self.left.saturating_sub(letters.len() as u64);
        Ok(letters)
    }

    /// Takes the letter out of the queue for good.
    pub(super) async fn settle(&mut self, letter: &Letter) -> Result<(), BrokerError> {
        let ack = self.channel.basic_ack(letter.tag, BasicAckOptions::default());
        bounded("basic.ack", ack).await?;
        self.held.remove(&letter.tag);
        Ok(())
    }

    /// Gives back what is still held. When this has succeeded the broker knows of all that was settled, too.
    pub(super) async fn close(mut self) -> Result<(), BrokerError> {
        // What is given back goes behind what was given back before, so it is best done with all of them at once.
        while self.left <= ORDERED_MAX && !self.take(u64::MAX).await?.is_empty() {}
        let held: Vec<u64> = self.held.iter().copied().collect();
        for stride in held.chunks(STRIDE) {
            let last = stride.last().copied().unwrap_or_default();
            let options = BasicNackOptions { multiple: true, requeue: true };
            bounded("basic.nack", self.channel.basic_nack(last, options)).await?;
        }
        // The broker takes its time, and the next command of an operator should find them.
        timeout(GIVEN_BACK_TIMEOUT, self.wait_for(held.len())).await.unwrap_or(Ok(()))?;
        bounded("channel.close", self.channel.close(200, "OK".into())).await?;
        self.connection.close().await;
        Ok(())
    }

    /// Waits until so many letters can be taken.
    async fn wait_for(&self, letters: usize) -> Result<(), BrokerError> {
        while count(&self.channel).await? < letters as u64 {
            sleep(GIVEN_BACK_POLL).await;
        }
        Ok(())
    }

    async fn get(&self) -> Result<Option<BasicGetMessage>, BrokerError> {
        let getting = self.channel.basic_get(DEAD_QUEUE.into(), BasicGetOptions::default());
        bounded("basic.get", getting).await
    }

    /// Takes `count` letters by a consumer of its own, as to get each by itself takes the broker twenty times as long. A cancelled
    /// consumer's letters stay held.
    async fn consume(&mut self, count: u16, letters: &mut Vec<Letter>) -> Result<(), BrokerError> {
        bounded("basic.qos", self.channel.basic_qos(count, BasicQosOptions::default())).await?;
        let (options, tag) = (BasicConsumeOptions::default(), "".into());
        let consuming = self.channel.basic_consume(DEAD_QUEUE.into(), tag, options, FieldTable::default());
        let mut consumer = bounded("basic.consume", consuming).await?;
        let end = letters.len() + usize::from(count);
        while letters.len() < end {
            let Ok(next) = timeout(IDLE_TIMEOUT, consumer.next()).await else { break };
            self.hold(next.ok_or(BrokerError::Ended)??.into(), letters);
        }
        self.cancel(consumer, letters).await
    }

    /// Ends the consumer, and takes what still came for it.
    async fn cancel(&mut self, mut consumer: Consumer, letters: &mut Vec<Letter>) -> Result<(), BrokerError> {
        let cancelling = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        bounded("basic.cancel", cancelling).await?;
        while let Some(late) = consumer.next().await {
            self.hold(late?.into(), letters);
        }
        Ok(())
    }

    fn hold(&mut self, letter: Letter, letters: &mut Vec<Letter>) {
        self.held.insert(letter.tag);
        letters.push(letter);
    }
}

/// How many letters can be taken now. The queue is not declared: an argument that differs must not keep an operator from them.
async fn count(channel: &Channel) -> Result<u64, BrokerError> {
    Ok(topology::waiting(channel, DEAD_QUEUE).await?.into())
}

fn no_queue(error: BrokerError) -> DeadLettersError {
    let is_missing = match &error {
        BrokerError::Amqp(amqp) => matches!(amqp.kind(), ErrorKind::ProtocolError(refusal)
            if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)),
        _ => false,
    };
    if is_missing { DeadLettersError::NoQueue } else { error.into() }
}
