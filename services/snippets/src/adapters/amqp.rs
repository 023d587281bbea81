//! View batches to RabbitMQ, each confirmed.

use std::{collections::HashMap, pin::pin, time::Duration};

use async_trait::async_trait;
use broker::{BrokerConnection, BrokerError, OPERATION_TIMEOUT, Status, Supervisor, bounded, topology};
use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::ShortString,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ports::{BatchPublisher, PendingBatch, PublishError};

/// How the connection is called in the broker's tools.
const CONNECTION_NAME: &str = "snippets view publisher";
const CONTENT_TYPE: &str = "application/protobuf";
/// AMQP's number for a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Groups that wait for their turn; more are turned away, and their owner tries again.
const WAITING_MAX: usize = 16;
/// How often an idle connection is looked at, whether the broker has blocked it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

type Outcomes = Vec<Result<(), PublishError>>;

/// Publishes view batches on a connection of its own, which [`AmqpBatchPublisher::run`] keeps up.
///
/// The batches of one group are on their way together, and no other's: they are judged when all of them are settled.
/// lapin hands a message that the broker returned as unroutable to whichever confirm comes next, and one `multiple`
/// confirm settles several publishes in no particular order. As a return precedes its confirm, each of a group's is
/// found at one of its confirms once all have come; but as long as one is missing, any may have been returned.
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
    group: Vec<PendingBatch>,
    /// None, once it is answered.
    done: Option<oneshot::Sender<Outcomes>>,
}

/// What became of a group whose batches are all settled.
#[derive(Debug)]
struct Settled {
    outcomes: Outcomes,
    /// What the broker said of a message that it returned.
    returned: Option<String>,
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
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.connected.send_replace(!connection.is_blocked());
            let request = tokio::select! {
                () = stop.cancelled() => break,
                error = connection.ended(&channel) => return Err(error),
                _ = look.tick() => continue,
                Some(request) = inbox.recv() => request,
            };
            // Whoever stops the publisher waits for nothing any more.
            let serving = self.serve(request, &mut connection, &channel);
            stop.run_until_cancelled(serving).await.unwrap_or(Ok(()))?;
        }
        connection.close().await;
        Ok(())
    }

    /// Publishes one group and answers its sender. Any failure ends the session, so that the next one has nothing in
    /// flight whose confirm could be mistaken. So does a message that came back, as the next one declares the topology.
    async fn serve(
        &self,
        mut request: Request,
        connection: &mut BrokerConnection,
        channel: &Channel,
    ) -> Result<(), BrokerError> {
        // lapin would hold the messages back until the broker lifts the block.
        if connection.is_blocked() {
            request.blocked();
            return Ok(());
        }
        let settled = self.settled(&mut request, connection, channel).await;
        let (outcomes, ended) = match settled {
            Ok(Settled { outcomes, returned }) => (outcomes, returned.map(BrokerError::NotTaken)),
            Err(error) => (failed(&request.group, &error), Some(error)),
        };
        if ended.is_some() {
            self.connected.send_replace(false);
        }
        request.answer(outcomes);
        ended.map_or(Ok(()), Err)
    }

    /// Publishes a group and waits until all of it is settled: not for long, unless the broker has blocked the connection.
    /// Then it has not read all that it was sent, and will when it has room again. Another connection would be blocked
    /// as well, and each would leave its unread messages with a broker that is short of memory already.
    async fn settled(
        &self,
        request: &mut Request,
        connection: &mut BrokerConnection,
        channel: &Channel,
    ) -> Result<Settled, BrokerError> {
        let group = request.group.clone();
        let mut publishing = pin!(publish(channel, &group));
        loop {
            tokio::select! {
                biased;
                settled = &mut publishing => return settled,
                error = connection.ended(channel) => return Err(error),
                () = sleep(OPERATION_TIMEOUT) => {}
            }
            if !connection.is_blocked() {
                return Err(BrokerError::Timeout("a publisher confirm"));
            }
            self.connected.send_replace(false);
            request.blocked();
        }
    }
}

impl Request {
    fn blocked(&mut self) {
        self.answer(unavailable(&self.group, "it has blocked publishers, being short of memory or disk"));
    }

    /// Answers, once. A sender that has given up, or was told of a block, sends the batches again, to no effect.
    fn answer(&mut self, outcomes: Outcomes) {
        if let Some(done) = self.done.take() {
            let _ = done.send(outcomes);
        }
    }
}

#[async_trait]
impl BatchPublisher for AmqpBatchPublisher {
    async fn publish(&self, batches: &[PendingBatch]) -> Outcomes {
        if !self.connected() {
            return unavailable(batches, "not connected, or blocked");
        }
        let (done, outcomes) = oneshot::channel();
        if self.requests.try_send(Request { group: batches.to_vec(), done: Some(done) }).is_err() {
            return unavailable(batches, "too many batches are waiting");
        }
        // The session keeps its own, shorter deadlines; this one is for a request that missed its end.
        match timeout(4 * OPERATION_TIMEOUT, outcomes).await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(_dropped)) => unavailable(batches, "the connection has ended"),
            Err(_elapsed) => unavailable(batches, "no answer in time"),
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

/// Publishes a group and waits for all its confirms.
async fn publish(channel: &Channel, group: &[PendingBatch]) -> Result<Settled, BrokerError> {
    // Mandatory: otherwise the broker confirms a message that no queue takes, and forgets it.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = Vec::with_capacity(group.len());
    for batch in group {
        let (exchange, key) = (topology::VIEWS_EXCHANGE.into(), topology::BATCHES_ROUTING_KEY.into());
        let publishing = channel.basic_publish(exchange, key, options, &batch.payload, properties(batch));
        confirms.push(publishing.await?);
    }
    let mut confirmations = Vec::with_capacity(group.len());
    for confirm in confirms {
        confirmations.push(confirm.await?);
    }
    Ok(judge(confirmations, group))
}

fn properties(batch: &PendingBatch) -> BasicProperties {
    let trace = batch.trace.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(batch.id.to_string().into())
        .with_headers(broker::headers::encode(trace))
}

/// A batch is safe if it was acked and is none of those that came back.
fn judge(confirmations: Vec<Confirmation>, group: &[PendingBatch]) -> Settled {
    let mut acked = Vec::with_capacity(group.len());
    let mut returned = HashMap::<Option<Uuid>, String>::new();
    for confirmation in confirmations {
        acked.push(confirmation.is_ack());
        if let Some(message) = confirmation.take_message() {
            let id = message.properties.message_id().as_ref().map(ShortString::as_str);
            let id = id.and_then(|id| Uuid::try_parse(id).ok());
            returned.insert(id, message.reply_text.to_string());
        }
    }
    let is_ours = |id: &Option<Uuid>| group.iter().any(|batch| Some(batch.id) == *id);
    let outcomes = if returned.keys().all(is_ours) {
        let each = group.iter().zip(acked);
        each.map(|(batch, acked)| outcome(acked, returned.get(&Some(batch.id)))).collect()
    } else {
        unavailable(group, "a message came back that is not known")
    };
    Settled { outcomes, returned: returned.into_values().next() }
}

fn outcome(acked: bool, returned: Option<&String>) -> Result<(), PublishError> {
    match returned {
        None if acked => Ok(()),
        None => Err(PublishError::Unavailable("the queue did not take it".to_owned())),
        Some(why) => Err(PublishError::Unavailable(why.clone())),
    }
}

/// What the end of a session says about the group that was on its way. A broker closes a channel for "precondition failed"
/// over a message that is larger than it allows, or that it finds wrong: where there was no other, it is this one.
fn failed(group: &[PendingBatch], error: &BrokerError) -> Outcomes {
    match error {
        BrokerError::Amqp(error) if group.len() == 1 && is_precondition(error.kind()) => {
            vec![Err(PublishError::Refused(error.to_string()))]
        }
        error => unavailable(group, &error.to_string()),
    }
}

fn is_precondition(kind: &ErrorKind) -> bool {
    let precondition = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    matches!(kind, ErrorKind::ProtocolError(error) if *error.kind() == precondition)
}

fn unavailable(group: &[PendingBatch], why: &str) -> Outcomes {
    vec![Err(PublishError::Unavailable(why.to_owned())); group.len()]
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use lapin::{
        message::{BasicGetMessage, BasicReturnMessage, Delivery},
        options::{BasicGetOptions, QueueDeleteOptions},
    };
    use stack::{RabbitMq, RabbitMqOptions, eventually, until};
    use tokio::{task::JoinSet, time::Instant};
    use uuid::Uuid;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn batch() -> PendingBatch {
        batch_of(Bytes::from_static(b"views"))
    }

    fn batch_of(payload: Bytes) -> PendingBatch {
        let trace =
            ("traceparent".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        PendingBatch { id: Uuid::now_v7(), payload, trace: vec![trace] }
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

        async fn publish(&self, batch: &PendingBatch) -> Result<(), PublishError> {
            let [outcome] = <[_; 1]>::try_from(self.publisher.publish(std::slice::from_ref(batch)).await)
                .expect("one outcome");
            outcome
        }

        async fn publish_as_the_flusher_does(&self, batch: &PendingBatch) {
            let again = async || Ok(self.publish(batch).await?);
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
        running.publish(&batch).await.expect("safe");

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
    async fn a_group_is_safe_together() {
        let vhost = stack::shared().amqp_vhost().await;
        let running = Running::connected(vhost.url()).await;
        let mut all = JoinSet::new();
        for _ in 0..WAITING_MAX {
            let publisher = running.publisher.clone();
            let group: Vec<_> = (0..8).map(|_| batch()).collect();
            all.spawn(async move { publisher.publish(&group).await == vec![Ok(()); 8] });
        }
        assert!(all.join_all().await.into_iter().all(|safe| safe));
        let (_connection, channel) = channel(vhost.url()).await;
        for _ in 0..8 * WAITING_MAX {
            assert!(take(&channel).await.is_some());
        }
        running.stop().await;
    }

    #[tokio::test]
    async fn a_batch_that_no_queue_takes_is_not_safe_until_one_does() {
        let vhost = stack::shared().amqp_vhost().await;
        let running = Running::connected(vhost.url()).await;
        let (_connection, channel) = channel(vhost.url()).await;
        let delete = channel.queue_delete(topology::BATCHES_QUEUE.into(), QueueDeleteOptions::default());
        delete.await.expect("deleted");

        let group = [batch(), batch(), batch()];
        let outcomes = running.publisher.publish(&group).await;
        let came_back = |outcome: &Result<_, _>| matches!(outcome, Err(PublishError::Unavailable(why)) if why.contains("NO_ROUTE"));
        assert!(outcomes.len() == 3 && outcomes.iter().all(came_back), "{outcomes:?}");
        // The new session declares the queue, and the same batch sent again gets through.
        running.publish_as_the_flusher_does(&group[0]).await;
        assert!(take(&channel).await.is_some());
        running.stop().await;
    }

    #[test]
    fn a_message_that_came_back_is_told_by_its_id_alone() {
        let group = [batch(), batch(), batch()];
        let returned = |id: &str| {
            let mut delivery = Delivery::mock(1, "views".into(), "batches".into(), false, Vec::new());
            delivery.properties = BasicProperties::default().with_message_id(id.into());
            Some(BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() })
        };
        // lapin hands it to the confirm that happens to come next.
        let second = returned(&group[1].id.to_string());
        let settled =
            judge(vec![Confirmation::Ack(second), Confirmation::Ack(None), Confirmation::Nack(None)], &group);
        assert_eq!(settled.outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(settled.returned.as_deref(), Some("NO_ROUTE"));
        let unknown = judge(vec![Confirmation::Ack(returned("?")), Confirmation::Ack(None)], &group[..2]);
        assert!(unknown.outcomes.iter().all(Result::is_err), "any may be meant");
    }

    #[tokio::test]
    async fn what_the_broker_refuses_for_its_size_holds_up_nothing_else() {
        let settings = "max_message_size = 1000\n".to_owned();
        let rabbitmq = RabbitMq::start_with(RabbitMqOptions { settings }).await.expect("a broker");
        let running = Running::connected(rabbitmq.url()).await;
        let group = [batch(), batch_of(Bytes::from(vec![0; 1001]))];
        let outcomes = running.publisher.publish(&group).await;
        let unknown = |outcome: &Result<_, _>| matches!(outcome, Err(PublishError::Unavailable(_)));
        assert!(outcomes.iter().all(unknown), "either may be at fault: {outcomes:?}");

        running.publish_as_the_flusher_does(&group[0]).await;
        let refused = running.publish(&group[1]).await;
        assert!(matches!(&refused, Err(PublishError::Refused(why)) if why.contains("size")), "{refused:?}");
        running.publish_as_the_flusher_does(&group[0]).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn what_a_blocked_broker_was_sent_arrives_when_it_takes_messages_again() {
        let rabbitmq = RabbitMq::start().await.expect("a broker");
        let running = Running::connected(rabbitmq.url()).await;
        rabbitmq.block_publishers().await.expect("blocked");
        // It says so to those who publish.
        let held = batch();
        let error = running.publish(&held).await.expect_err("no confirm");
        assert!(matches!(error, PublishError::Unavailable(_)), "{error:?}");
        assert!(!running.publisher.connected());
        let since = Instant::now();
        running.publish(&batch()).await.expect_err("still blocked");
        assert!(since.elapsed() < Duration::from_secs(1), "took {:?}", since.elapsed());

        rabbitmq.unblock_publishers().await.expect("unblocked");
        running.publish_as_the_flusher_does(&batch()).await;
        let opened = format!("{CONNECTION_NAME}): user");
        assert_eq!(rabbitmq.log().matches(&opened).count(), 1, "one connection was enough");
        let (_connection, channel) = channel(rabbitmq.url()).await;
        let first = take(&channel).await.expect("a message").delivery;
        assert_eq!(first.properties.message_id(), &Some(held.id.to_string().into()));
        running.stop().await;
    }

    // The freeze comes first: RabbitMQ keeps the name of a new queue in memory for 3 s, and a broker that is killed
    // within them never finds that queue's leader again.
    #[tokio::test]
    async fn without_a_broker_it_fails_in_time_and_with_it_recovers() {
        let rabbitmq = RabbitMq::start().await.expect("a broker");
        let running = Running::connected(rabbitmq.url()).await;
        running.publish(&batch()).await.expect("safe");

        rabbitmq.pause();
        let since = Instant::now();
        let error = running.publish(&batch()).await.expect_err("no confirm");
        assert!(matches!(error, PublishError::Unavailable(_)));
        assert!(since.elapsed() < 2 * OPERATION_TIMEOUT, "took {:?}", since.elapsed());
        assert!(!running.publisher.connected(), "nobody could tell whom the next confirm is for");
        rabbitmq.resume();
        running.publish_as_the_flusher_does(&batch()).await;

        rabbitmq.kill();
        running.wait_until_connected(false).await;
        let since = Instant::now();
        let error = running.publish(&batch()).await.expect_err("no broker");
        assert!(matches!(error, PublishError::Unavailable(_)));
        assert!(since.elapsed() < Duration::from_millis(100), "took {:?}", since.elapsed());
        rabbitmq.restart().await.expect("restarted");
        running.publish_as_the_flusher_does(&batch()).await;
        running.stop().await;
    }
}
