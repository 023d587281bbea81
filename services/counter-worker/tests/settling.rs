//! What the worker does when a commit or its acknowledgement fails, forced rather than hoped for: a queue and a
//! store that fail on command, the latter around a real one.

#![allow(clippy::expect_used, reason = "a test may")]

mod support;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use counter_worker::{
    Settings, Worker,
    adapters::sqlite::SqliteTotals,
    domain::Batch,
    ports::{Applied, BatchQueue, Delivery, QueueError, StoreError, Subscription, TotalsStore},
};
use stack::until;
use support::{flood, payload, worker::PATIENCE};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a broker would know.
#[derive(Default)]
struct Broker {
    waiting: VecDeque<Bytes>,
    acked: usize,
    rejected: Vec<Bytes>,
    /// How many acknowledgements are still to be lost, and the subscription with them.
    acks_to_lose: u32,
    subscriptions: u32,
}

#[derive(Clone, Default)]
struct FakeQueue(Arc<Mutex<Broker>>);

impl FakeQueue {
    fn with<T>(&self, look: impl FnOnce(&mut Broker) -> T) -> T {
        look(&mut self.0.lock().expect("not poisoned"))
    }
}

#[async_trait]
impl BatchQueue for FakeQueue {
    async fn subscribe(
        &mut self,
        _lost: Option<QueueError>,
        stop: &CancellationToken,
    ) -> Option<Box<dyn Subscription>> {
        self.with(|broker| broker.subscriptions += 1);
        let subscription = FakeSubscription { queue: self.clone(), last_tag: 0, open: VecDeque::new() };
        (!stop.is_cancelled()).then(|| Box::new(subscription) as Box<dyn Subscription>)
    }
}

struct FakeSubscription {
    queue: FakeQueue,
    last_tag: u64,
    open: VecDeque<(u64, Bytes)>,
}

impl Drop for FakeSubscription {
    fn drop(&mut self) {
        let open = self.open.drain(..).map(|(_, payload)| payload);
        self.queue.with(|broker| broker.waiting.extend(open));
    }
}

#[async_trait]
impl Subscription for FakeSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, QueueError> {
        let Some(payload) = self.queue.with(|broker| broker.waiting.pop_front()) else {
            return std::future::pending().await;
        };
        self.last_tag += 1;
        self.open.push_back((self.last_tag, payload.clone()));
        Ok(Some(Delivery { tag: self.last_tag, payload, trace: Vec::new() }))
    }

    async fn ack_up_to(&mut self, tag: u64) -> Result<(), QueueError> {
        assert!(
            self.open.iter().any(|(open, _)| *open == tag),
            "a broker ends the channel for an unknown tag"
        );
        self.queue.with(|broker| {
            if broker.acks_to_lose > 0 {
                broker.acks_to_lose -= 1;
                return Err(QueueError("the connection is gone".into()));
            }
            let settled = self.open.iter().filter(|(open, _)| *open <= tag).count();
            self.open.drain(..settled);
            broker.acked += settled;
            Ok(())
        })
    }

    async fn reject(&mut self, tag: u64) -> Result<(), QueueError> {
        let at = self.open.iter().position(|(open, _)| *open == tag).expect("an open tag");
        let rejected = self.open.remove(at).map(|(_, payload)| payload);
        self.queue.with(|broker| broker.rejected.extend(rejected));
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

/// Commits, and then says that it does not know, for the first `answers_to_lose` times; refuses the snippet `poison`.
struct FailingStore {
    inner: SqliteTotals,
    answers_to_lose: AtomicU32,
}

#[async_trait]
impl TotalsStore for FailingStore {
    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }

    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        if format!("{batches:?}").contains("poison") {
            return Err(StoreError::Refused("poison".into()));
        }
        let applied = self.inner.apply(batches).await?;
        let lose =
            self.answers_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lose.is_ok() {
            return Err(StoreError::Unavailable("the answer is lost".into()));
        }
        Ok(applied)
    }

    async fn prune_batches(&self, age: Duration, limit: u32, from: &mut Uuid) -> Result<u64, StoreError> {
        self.inner.prune_batches(age, limit, from).await
    }

    async fn prune_hourly(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_hourly(age, limit).await
    }

    async fn prune_deleted(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_deleted(age, limit).await
    }
}

/// Runs a worker until `settled` deliveries are acknowledged or rejected, and gives what was counted.
async fn work(queue: &FakeQueue, answers_to_lose: u32, settled: usize) -> i64 {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("views.db");
    let inner = SqliteTotals::open(&file).await.expect("opened");
    let store = Arc::new(FailingStore { inner, answers_to_lose: answers_to_lose.into() });
    let settings = Settings { flush_interval: Duration::from_millis(20), flush_batches_max: 10 };
    let worker = Worker::new(store, queue.clone(), settings);
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let token = stop.clone();
    tasks.spawn(async move { worker.run(token).await });
    let done = async || queue.with(|broker| broker.acked + broker.rejected.len()) == settled;
    until("all is settled", PATIENCE, done).await.expect("settled");
    stop.cancel();
    tasks.join_all().await;

    let reader = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("connected");
    let sum = sqlx::query_scalar("SELECT coalesce(sum(views), 0) FROM totals").fetch_one(&reader);
    sum.await.expect("read")
}

fn queue_of(payloads: Vec<Bytes>) -> FakeQueue {
    let queue = FakeQueue::default();
    queue.with(|broker| broker.waiting = payloads.into());
    queue
}

/// Is never ready.
struct HangingStore(Notify);

#[async_trait]
impl TotalsStore for HangingStore {
    async fn ready(&self) -> Result<(), StoreError> {
        self.0.notify_one();
        std::future::pending().await
    }

    async fn apply(&self, _batches: &[Batch]) -> Result<Applied, StoreError> {
        std::future::pending().await
    }

    async fn prune_batches(&self, _: Duration, _: u32, _: &mut Uuid) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn prune_hourly(&self, _: Duration, _: u32) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn prune_deleted(&self, _: Duration, _: u32) -> Result<u64, StoreError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_worker_whose_store_hangs_can_be_stopped() {
    let store = Arc::new(HangingStore(Notify::new()));
    let worker = Worker::new(store.clone(), FakeQueue::default(), Settings::default());
    let stop = CancellationToken::new();
    let stopping = async {
        store.0.notified().await;
        stop.cancel();
    };
    let stopped = timeout(PATIENCE, async { tokio::join!(worker.run(stop.clone()), stopping) }).await;
    stopped.expect("it is no longer waited for");
}

#[tokio::test]
async fn what_was_committed_and_not_acknowledged_comes_again_and_counts_once() {
    let (payloads, expected) = flood(30);
    let queue = queue_of(payloads);
    queue.with(|broker| broker.acks_to_lose = 3);
    assert_eq!(work(&queue, 0, 30).await, expected.values().sum::<i64>());
    assert_eq!(queue.with(|broker| broker.subscriptions), 4, "one more for each that was lost");
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_repeated_and_counts_once() {
    let (payloads, expected) = flood(30);
    let queue = queue_of(payloads);
    assert_eq!(work(&queue, 3, 30).await, expected.values().sum::<i64>());
    assert_eq!(queue.with(|broker| broker.subscriptions), 1);
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_is_rejected_and_the_others_count() {
    let poison = payload(Uuid::now_v7(), &[("poison", 1)]);
    for at in [0, 3, 9] {
        let (mut payloads, expected) = flood(9);
        payloads.insert(at, poison.clone());
        let queue = queue_of(payloads);
        assert_eq!(work(&queue, 0, 10).await, expected.values().sum::<i64>());
        assert_eq!(queue.with(|broker| broker.rejected.clone()), std::slice::from_ref(&poison));
    }
}
