//! What the worker does when a commit or its acknowledgement hangs or fails, forced rather than hoped for: a queue and a
//! store that fail on command, the latter around a real one.

#![allow(clippy::expect_used, reason = "a test may")]

mod queue;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use counter_worker::{Settings, Worker, adapters::sqlite::SqliteTotals};
use queue::{Event, FakeQueue};
use stack::until;
use store::{FailingStore, HangingStore};
use support::{flood, payload, worker::PATIENCE};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const FLUSH: usize = 10;

/// A worker between a queue and a store that may fail.
struct Bench {
    queue: FakeQueue,
    store: Arc<FailingStore>,
    stop: CancellationToken,
    worker: JoinSet<()>,
    file: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// Starts the worker; its store commits so many times before it hangs.
    async fn start(queue: FakeQueue, commits: usize, answers_to_lose: u32) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("views.db");
        let inner = SqliteTotals::open(&file).await.expect("opened");
        let (commits, log) = (Semaphore::new(commits), queue.clone());
        let store = Arc::new(FailingStore { inner, commits, answers_to_lose: answers_to_lose.into(), log });
        let settings = Settings { flush_interval: Duration::from_millis(20), flush_batches_max: FLUSH };
        let running = Worker::new(store.clone(), queue.clone(), settings);
        let (stop, mut worker) = (CancellationToken::new(), JoinSet::new());
        let token = stop.clone();
        worker.spawn(async move { running.run(token).await });
        Self { queue, store, stop, worker, file, _dir: dir }
    }

    async fn until_settled(&self, deliveries: usize) {
        let done = async || {
            let broker = self.queue.lock();
            broker.acked + broker.rejected.len() == deliveries
        };
        until("all is settled", PATIENCE, done).await.expect("settled");
    }

    /// Waits until so many deliveries are open, and the store was asked so many times.
    async fn until_held(&self, deliveries: usize, asked: usize) {
        let done = async || {
            let broker = self.queue.lock();
            let begun = broker.log.iter().filter(|event| matches!(event, Event::Begun(_)));
            broker.open.len() == deliveries && begun.count() >= asked
        };
        until("deliveries are held", PATIENCE, done).await.expect("held");
    }

    /// Stops the worker, and gives what was counted.
    async fn stop(mut self) -> i64 {
        self.stop.cancel();
        let ended = timeout(PATIENCE, async { while self.worker.join_next().await.is_some() {} });
        ended.await.expect("the worker has ended");
        let url = format!("sqlite:{}", self.file.display());
        let reader = sqlx::SqlitePool::connect(&url).await.expect("connected");
        let sum = sqlx::query_scalar("SELECT coalesce(sum(views), 0) FROM totals").fetch_one(&reader);
        sum.await.expect("read")
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
    let queue = FakeQueue::of(payloads);
    queue.lock().acks_to_lose = 3;
    let bench = Bench::start(queue.clone(), 100, 0).await;
    bench.until_settled(30).await;
    assert_eq!(bench.stop().await, expected.values().sum::<i64>());
    assert_eq!(queue.lock().subscriptions, 4, "one more for each that was lost");
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_repeated_and_counts_once() {
    let (payloads, expected) = flood(30);
    let bench = Bench::start(FakeQueue::of(payloads), 100, 3).await;
    bench.until_settled(30).await;
    assert_eq!(bench.queue.lock().subscriptions, 1);
    assert_eq!(bench.stop().await, expected.values().sum::<i64>());
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_is_rejected_and_the_others_count() {
    let poison = payload(Uuid::now_v7(), &[("poison", 1)]);
    for at in [0, 3, 9, 14] {
        let (mut payloads, expected) = flood(19);
        payloads.insert(at, poison.clone());
        let bench = Bench::start(FakeQueue::of(payloads), 100, 0).await;
        bench.until_settled(20).await;
        assert_eq!(bench.queue.lock().rejected, std::slice::from_ref(&poison));
        assert_eq!(bench.stop().await, expected.values().sum::<i64>());
    }
}

#[tokio::test]
async fn a_flush_that_the_store_does_not_finish_in_time_is_committed_batch_by_batch() {
    let (mut payloads, expected) = flood(19);
    payloads.insert(3, payload(Uuid::now_v7(), &[("slow", 1)]));
    let bench = Bench::start(FakeQueue::of(payloads), 100, 0).await;
    bench.until_settled(20).await;
    assert!(bench.queue.lock().rejected.is_empty());
    assert_eq!(bench.stop().await, expected.values().sum::<i64>() + 1);
}

#[tokio::test]
async fn the_next_flush_is_gathered_while_one_is_committed_and_no_more() {
    let (payloads, expected) = flood(35);
    let bench = Bench::start(FakeQueue::of(payloads), 0, 0).await;
    bench.until_held(2 * FLUSH, 1).await;
    assert_eq!(
        bench.queue.lock().log,
        [Event::Begun(FLUSH)],
        "nothing is acknowledged before it is committed"
    );
    bench.store.commits.add_permits(1);
    bench.until_held(2 * FLUSH, 2).await;
    bench.store.commits.add_permits(100);
    bench.until_settled(35).await;
    let flushes = [(10, 10), (10, 20), (10, 30), (5, 35)];
    let in_order: Vec<Event> = flushes
        .into_iter()
        .flat_map(|(size, tag)| [Event::Begun(size), Event::Committed(size), Event::Acked(tag)])
        .collect();
    assert_eq!(bench.queue.lock().log, in_order);
    assert_eq!(bench.stop().await, expected.values().sum::<i64>());
}

#[tokio::test]
async fn a_stop_waits_for_the_commit_and_commits_what_was_gathered_meanwhile() {
    let (payloads, _) = flood(25);
    let queue = FakeQueue::of(payloads);
    let bench = Bench::start(queue.clone(), 0, 0).await;
    bench.until_held(2 * FLUSH, 1).await;
    bench.stop.cancel();
    bench.store.commits.add_permits(2);
    bench.stop().await;
    let broker = queue.lock();
    assert_eq!((broker.acked, broker.waiting.len()), (20, 5), "the rest returns to the queue");
}

#[tokio::test]
async fn what_could_not_be_committed_before_a_stop_is_not_acknowledged_by_what_came_after_it() {
    let (mut payloads, _) = flood(25);
    payloads[3] = payload(Uuid::now_v7(), &[("stuck", 1)]);
    let queue = FakeQueue::of(payloads);
    // The first flush can't be committed, the second one could.
    let bench = Bench::start(queue.clone(), 100, 0).await;
    bench.until_held(2 * FLUSH, 2).await;
    assert_eq!(bench.stop().await, 0);
    let broker = queue.lock();
    assert_eq!((broker.acked, broker.waiting.len()), (0, 25));
}

#[tokio::test]
async fn a_subscription_that_is_lost_during_a_commit_costs_nothing() {
    let (payloads, expected) = flood(15);
    let bench = Bench::start(FakeQueue::of(payloads), 0, 0).await;
    bench.until_held(15, 1).await;
    bench.queue.lose_subscription();
    let lost = async || {
        let broker = bench.queue.lock();
        broker.waiting.len() == 15 || broker.subscriptions > 1
    };
    bench.store.commits.add_permits(100);
    until("the subscription is lost", PATIENCE, lost).await.expect("lost");
    bench.until_settled(15).await;
    let log = bench.queue.lock().log.clone();
    assert_eq!(log[..2], [Event::Begun(FLUSH), Event::Committed(FLUSH)], "the commit came to its end");
    assert_eq!(bench.stop().await, expected.values().sum::<i64>());
}
