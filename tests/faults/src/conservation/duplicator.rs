//! Deliveries that come again, as a queue that promises "at least once" may make them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use broker::{BrokerConnection, bounded, topology};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

/// In the headers of what was published here, so that it is not published again.
const MARK: &str = "x-published-again";
/// One of so many batches comes again. The others show what is lost: one that comes again later makes up for it.
const ONE_OF: u32 = 4;
/// How often one comes again at most.
const TIMES_MAX: u32 = 5;
/// How many wait to come again at most; more are let go.
const WAITING_MAX: usize = 10_000;
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// A consumer of all batches that publishes some of them again, up to five times, at once and much later.
#[derive(Debug)]
pub struct Duplicator {
    stop: CancellationToken,
    task: JoinSet<anyhow::Result<u64>>,
}

impl Duplicator {
    /// Starts on the broker at `url`; until `end` and not longer copies are kept back.
    pub fn start(url: &str, seed: u64, end: Instant) -> Self {
        let work = Work {
            url: SecretString::from(url),
            rng: StdRng::seed_from_u64(seed),
            end,
            waiting: BTreeMap::new(),
            noted: 0,
            published: 0,
        };
        let (stop, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(work.run(stop.clone()));
        Self { stop, task }
    }

    /// Publishes what is still kept back, and gives how many copies that were in all.
    pub async fn stop(mut self) -> anyhow::Result<u64> {
        self.stop.cancel();
        self.task.join_next().await.context("the duplicator is gone")??
    }
}

struct Work {
    url: SecretString,
    rng: StdRng,
    end: Instant,
    /// By the time at which they are due; the number only tells them apart.
    waiting: BTreeMap<(Instant, u64), Again>,
    noted: u64,
    published: u64,
}

#[derive(Clone)]
struct Again {
    payload: Vec<u8>,
    properties: BasicProperties,
}

impl Work {
    /// Connects again whenever the broker is lost: that it is killed now and then is the point.
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<u64> {
        let lost = async |work: &mut Self| {
            while work.session().await.is_err() {
                sleep(RECONNECT_AFTER).await;
            }
        };
        stop.run_until_cancelled(lost(&mut self)).await;
        timeout(PATIENCE, self.publish_the_rest()).await.context("the copies can't be published")?;
        Ok(self.published)
    }

    /// Notes and publishes until the connection is lost.
    async fn session(&mut self) -> anyhow::Result<()> {
        let mut connection = BrokerConnection::open(&self.url, "duplicator").await?;
        let channel = connection.channel().await?;
        let mut consumer = consume(&channel).await?;
        bounded("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        loop {
            let due = self.waiting.keys().next().map(|(due, _)| *due);
            tokio::select! {
                delivery = consumer.next() => self.note(&delivery.context("no consumer any more")??),
                () = sleep_until(due.unwrap_or(self.end)), if due.is_some() => self.publish(&channel).await?,
                error = connection.ended(&channel) => return Err(error.into()),
            }
        }
    }

    /// Decides by chance whether, how often and when a batch is published again.
    fn note(&mut self, delivery: &Delivery) {
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        let (chosen, times) = (self.rng.random_ratio(1, ONE_OF), self.rng.random_range(1..=TIMES_MAX));
        if headers.inner().contains_key(MARK) || !chosen {
            return;
        }
        let mut marked = headers;
        marked.insert(MARK.into(), AMQPValue::Boolean(true));
        let properties = delivery.properties.clone().with_headers(marked);
        for _ in 0..times {
            if self.waiting.len() < WAITING_MAX {
                self.noted += 1;
                let copy = Again { payload: delivery.data.clone(), properties: properties.clone() };
                let due = self.due();
                self.waiting.insert((due, self.noted), copy);
            }
        }
    }

    /// At once, or at any time until the end.
    fn due(&mut self) -> Instant {
        let now = Instant::now();
        if self.rng.random_ratio(1, 2) {
            now
        } else {
            now + self.end.duration_since(now).mul_f64(self.rng.random())
        }
    }

    /// Publishes the copy that is due first. It is kept until the broker has confirmed it, and so may come once more.
    async fn publish(&mut self, channel: &Channel) -> anyhow::Result<()> {
        let Some((key, copy)) = self.waiting.first_key_value() else { return Ok(()) };
        let (key, copy) = (*key, copy.clone());
        let publishing = channel.basic_publish(
            topology::VIEWS_EXCHANGE.into(),
            topology::BATCHES_ROUTING_KEY.into(),
            BasicPublishOptions::default(),
            &copy.payload,
            copy.properties,
        );
        let confirm = bounded("basic.publish", publishing).await?;
        bounded("a publisher confirm", confirm).await?;
        self.waiting.remove(&key);
        self.published += 1;
        Ok(())
    }

    async fn publish_the_rest(&mut self) {
        while let Err(_lost) = self.publish_all().await {
            sleep(RECONNECT_AFTER).await;
        }
    }

    async fn publish_all(&mut self) -> anyhow::Result<()> {
        let mut connection = BrokerConnection::open(&self.url, "duplicator").await?;
        let channel = connection.channel().await?;
        bounded("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        while !self.waiting.is_empty() {
            self.publish(&channel).await?;
        }
        connection.close().await;
        Ok(())
    }
}

/// From a queue that ends with its connection.
async fn consume(channel: &Channel) -> anyhow::Result<Consumer> {
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let queue = bounded("queue.declare", declared).await?.name().clone();
    let (exchange, key) = (topology::VIEWS_EXCHANGE.into(), topology::BATCHES_ROUTING_KEY.into());
    let binding =
        channel.queue_bind(queue.clone(), exchange, key, QueueBindOptions::default(), FieldTable::default());
    bounded("queue.bind", binding).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consuming = channel.basic_consume(queue, "".into(), options, FieldTable::default());
    Ok(bounded("basic.consume", consuming).await?)
}
