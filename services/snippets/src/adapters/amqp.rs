//! View batches to RabbitMQ, each confirmed.

use std::fmt::Display;

use async_trait::async_trait;
use broker::{BrokerConnection, BrokerError, OPERATION_TIMEOUT, Status, Supervisor, bounded, topology};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::ports::{BatchPublisher, PendingBatch, PublishError};

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "snippets view publisher";
const CONTENT_TYPE: &str = "application/protobuf";
/// AMQP's number for a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Batches that wait for their turn; more are turned away, and their owner tries again.
const WAITING_MAX: usize = 16;

/// Publishes view batches on a connection of its own, which [`AmqpBatchPublisher::run`] keeps up.
///
/// One batch is on its way at a time. lapin hands a message that the broker returned as unroutable to whichever
/// confirm comes next, and one `multiple` confirm settles several publishes in no particular order: with more than
/// one in flight, a batch could be taken for delivered while the return of its message is blamed on another.
#[derive(Debug)]
pub struct AmqpBatchPublisher {
    url: SecretString,
    requests: mpsc::Sender<Request>,
    /// Taken by `run`.
    running: Mutex<Option<(mpsc::Receiver<Request>, Supervisor)>>,
    connected: watch::Sender<bool>,
    status: Status,
}

#[derive(Debug)]
struct Request {
    batch: PendingBatch,
    done: oneshot::Sender<Result<(), PublishError>>,
}

impl AmqpBatchPublisher {
    /// A publisher to the broker at `url`. Nothing is connected before [`AmqpBatchPublisher::run`].
    pub fn new(url: SecretString) -> Self {
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        let supervisor = Supervisor::new("view publisher");
        let status = supervisor.status();
        let running = Mutex::new(Some((inbox, supervisor)));
        Self { url, requests, running, connected: watch::Sender::new(false), status }
    }

    /// Whether a batch could be published now.
    pub fn connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Tells whether the session with the broker is open.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Stays connected and publishes until `stop` is cancelled, which is to happen after the last flush. Returns
    /// at once when it runs already.
    pub async fn run(&self, stop: CancellationToken) {
        let Some((mut inbox, mut supervisor)) = self.running.lock().take() else {
            return;
        };
        while !stop.is_cancelled() {
            let ended = self.session(&mut inbox, &mut supervisor, &stop).await;
            self.connected.send_replace(false);
            // Whoever waits is told now rather than after its deadline: dropping a request answers it.
            while inbox.try_recv().is_ok() {}
            if let Err(error) = ended {
                supervisor.pause(&error, &stop).await;
            }
        }
    }

    /// Connects, then publishes until the connection fails or `stop` is cancelled.
    async fn session(
        &self,
        inbox: &mut mpsc::Receiver<Request>,
        supervisor: &mut Supervisor,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let Some(opened) = stop.run_until_cancelled(open(&self.url)).await else {
            return Ok(());
        };
        let (mut connection, channel) = opened?;
        supervisor.opened();
        self.connected.send_replace(true);
        loop {
            let request = tokio::select! {
                () = stop.cancelled() => break,
                error = connection.ended(&channel) => return Err(error),
                Some(request) = inbox.recv() => request,
            };
            self.serve(request, connection.is_blocked(), &channel).await?;
        }
        connection.close().await;
        Ok(())
    }

    /// Publishes one batch and answers its sender. Any failure ends the session: the next one has nothing in
    /// flight whose confirm could be mistaken, and has declared the topology, should that be what was missing.
    async fn serve(&self, request: Request, is_blocked: bool, channel: &Channel) -> Result<(), BrokerError> {
        let Request { batch, done } = request;
        // lapin would hold the message back until the broker lifts the block.
        if is_blocked {
            let _ = done.send(unavailable("it has blocked publishers, being short of memory or disk"));
            return Ok(());
        }
        let published = publish(channel, &batch).await;
        if published.is_err() {
            self.connected.send_replace(false);
        }
        // A sender that has given up will send the batch again, to no effect.
        let _ = done.send(match &published {
            Ok(()) => Ok(()),
            Err(error @ BrokerError::NotTaken(_)) => Err(PublishError::Refused(error.to_string())),
            Err(error) => unavailable(error),
        });
        published
    }
}

#[async_trait]
impl BatchPublisher for AmqpBatchPublisher {
    async fn publish(&self, batch: &PendingBatch) -> Result<(), PublishError> {
        if !self.connected() {
            return unavailable("not connected");
        }
        let (done, outcome) = oneshot::channel();
        let request = Request { batch: batch.clone(), done };
        self.requests.try_send(request).or_else(|_| unavailable("too many batches are waiting"))?;
        // The session keeps its own, shorter deadlines; this one is for a request that missed its end.
        match timeout(4 * OPERATION_TIMEOUT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => unavailable("the connection has ended"),
            Err(_elapsed) => unavailable("no answer in time"),
        }
    }
}

async fn open(url: &SecretString) -> Result<(BrokerConnection, Channel), BrokerError> {
    let mut connection = BrokerConnection::open(url, CONNECTION_NAME).await?;
    let channel = connection.channel().await?;
    topology::declare(&channel).await?;
    bounded("confirm.select", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok((connection, channel))
}

/// Publishes and waits for the confirm.
async fn publish(channel: &Channel, batch: &PendingBatch) -> Result<(), BrokerError> {
    // Mandatory: otherwise the broker confirms a message that no queue takes, and forgets it.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = (topology::VIEWS_EXCHANGE.into(), topology::BATCHES_ROUTING_KEY.into());
    let publishing = channel.basic_publish(exchange, key, options, &batch.payload, properties(batch));
    let confirm = bounded("basic.publish", publishing).await?;
    judge(bounded("a publisher confirm", confirm).await?, batch)
}

fn properties(batch: &PendingBatch) -> BasicProperties {
    let trace = batch.trace.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(batch.id.to_string().into())
        .with_headers(broker::headers::encode(trace))
}

/// Only an ack that comes without a returned message means safe.
fn judge(confirmation: Confirmation, batch: &PendingBatch) -> Result<(), BrokerError> {
    let acked = confirmation.is_ack();
    let Some(returned) = confirmation.take_message() else {
        return if acked { Ok(()) } else { Err(BrokerError::NotTaken("no ack".to_owned())) };
    };
    let returned_id = returned.properties.message_id().as_ref().map(ShortString::as_str);
    // With one publish at a time it is always this batch's; if not, nothing is known about this batch.
    let reason = if returned_id == Some(batch.id.to_string().as_str()) {
        returned.reply_text.to_string()
    } else {
        "the message of another batch was returned".to_owned()
    };
    Err(BrokerError::NotTaken(reason))
}

fn unavailable(why: &(impl Display + ?Sized)) -> Result<(), PublishError> {
    Err(PublishError::Unavailable(why.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use lapin::{
        message::BasicGetMessage,
        options::{BasicGetOptions, QueueDeleteOptions},
    };
    use stack::{RabbitMq, eventually, until};
    use tokio::{task::JoinSet, time::Instant};
    use uuid::Uuid;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn batch() -> PendingBatch {
        let trace =
            ("traceparent".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        PendingBatch { id: Uuid::now_v7(), payload: Bytes::from_static(b"views"), trace: vec![trace] }
    }

    struct Running {
        publisher: Arc<AmqpBatchPublisher>,
        stop: CancellationToken,
        tasks: JoinSet<()>,
    }

    impl Running {
        fn start(url: &str) -> Self {
            let publisher = Arc::new(AmqpBatchPublisher::new(SecretString::from(url)));
            let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
            let (runner, token) = (publisher.clone(), stop.clone());
            tasks.spawn(async move { runner.run(token).await });
            Self { publisher, stop, tasks }
        }

        async fn connected(url: &str) -> Self {
            let running = Self::start(url);
            running.wait_until_connected(true).await;
            running
        }

        async fn wait_until_connected(&self, connected: bool) {
            let is_so = async || self.publisher.connected() == connected;
            until("the connection changes", PATIENCE, is_so).await.expect("changed");
        }

        async fn publish_as_the_flusher_does(&self, batch: &PendingBatch) {
            let again = async || Ok(self.publisher.publish(batch).await?);
            eventually(PATIENCE, again).await.expect("safe");
        }

        async fn stop(self) {
            self.stop.cancel();
            self.tasks.join_all().await;
        }
    }

    async fn channel(url: &str) -> (BrokerConnection, Channel) {
        open(&SecretString::from(url)).await.expect("connected")
    }

    async fn take(channel: &Channel) -> Option<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        channel.basic_get(topology::BATCHES_QUEUE.into(), options).await.expect("asked")
    }

    #[tokio::test]
    async fn a_published_batch_is_in_the_queue_with_all_that_belongs_to_it() {
        let vhost = stack::shared().amqp_vhost().await;
        let running = Running::connected(vhost.url()).await;
        let batch = batch();
        running.publisher.publish(&batch).await.expect("safe");

        let (_connection, channel) = channel(vhost.url()).await;
        let message = take(&channel).await.expect("a message").delivery;
        assert_eq!(message.data, batch.payload);
        let properties = &message.properties;
        assert_eq!(properties.message_id(), &Some(batch.id.to_string().into()));
        assert_eq!(properties.content_type(), &Some(CONTENT_TYPE.into()));
        assert_eq!(properties.delivery_mode(), &Some(PERSISTENT));
        let trace = broker::headers::decode(properties.headers().as_ref(), &["traceparent"]);
        assert_eq!(trace, batch.trace);
        running.stop().await;
    }

    #[tokio::test]
    async fn many_at_once_are_all_safe() {
        let vhost = stack::shared().amqp_vhost().await;
        let running = Running::connected(vhost.url()).await;
        let mut all = JoinSet::new();
        for _ in 0..WAITING_MAX {
            let publisher = running.publisher.clone();
            all.spawn(async move { publisher.publish(&batch()).await.is_ok() });
        }
        assert!(all.join_all().await.into_iter().all(|safe| safe));
        running.stop().await;
    }

    #[tokio::test]
    async fn a_batch_that_no_queue_takes_is_not_safe_until_one_does() {
        let vhost = stack::shared().amqp_vhost().await;
        let running = Running::connected(vhost.url()).await;
        let (_connection, channel) = channel(vhost.url()).await;
        let delete = channel.queue_delete(topology::BATCHES_QUEUE.into(), QueueDeleteOptions::default());
        delete.await.expect("deleted");

        let batch = batch();
        let refused = running.publisher.publish(&batch).await;
        assert!(
            matches!(&refused, Err(PublishError::Refused(why)) if why.contains("NO_ROUTE")),
            "{refused:?}"
        );
        // The new session declares the queue, and the same batch sent again gets through.
        running.publish_as_the_flusher_does(&batch).await;
        assert!(take(&channel).await.is_some());
        running.stop().await;
    }

    // The freeze comes first: RabbitMQ keeps the name of a new queue in memory for 3 s, and a broker that is killed
    // within them never finds that queue's leader again.
    #[tokio::test]
    async fn without_a_broker_it_fails_in_time_and_with_it_recovers() {
        let rabbitmq = RabbitMq::start().await.expect("a broker");
        let running = Running::connected(rabbitmq.url()).await;
        running.publisher.publish(&batch()).await.expect("safe");

        rabbitmq.pause();
        let since = Instant::now();
        let error = running.publisher.publish(&batch()).await.expect_err("no confirm");
        assert!(matches!(error, PublishError::Unavailable(_)));
        assert!(since.elapsed() < 2 * OPERATION_TIMEOUT, "took {:?}", since.elapsed());
        assert!(!running.publisher.connected(), "nobody could tell whom the next confirm is for");
        rabbitmq.resume();
        running.publish_as_the_flusher_does(&batch()).await;

        rabbitmq.kill();
        running.wait_until_connected(false).await;
        let since = Instant::now();
        let error = running.publisher.publish(&batch()).await.expect_err("no broker");
        assert!(matches!(error, PublishError::Unavailable(_)));
        assert!(since.elapsed() < Duration::from_millis(100), "took {:?}", since.elapsed());
        rabbitmq.restart().await.expect("restarted");
        running.publish_as_the_flusher_does(&batch()).await;
        running.stop().await;
    }
}
