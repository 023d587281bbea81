//! The way of views from the aggregator through the flusher to a publisher.

mod files;
mod spool;
mod windows;

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use prost::Message as _;
use rpc::views::v1::ViewBatch;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::{
    domain::SnippetId,
    ports::{BatchPublisher, PendingBatch, PublishError, ViewSink as _},
};

/// Takes every batch down; says that it is safe only while `up`. A batch that counts a poisonous snippet spoils those that come
/// with it, and is refused once it comes alone.
#[derive(Clone)]
struct Recorder {
    poison: Arc<Mutex<HashSet<String>>>,
    safe: Arc<Mutex<HashSet<Uuid>>>,
    seen: Arc<Mutex<Vec<(Uuid, ViewBatch)>>>,
    tries: watch::Sender<usize>,
    up: watch::Sender<bool>,
}

impl Recorder {
    fn new(up: bool) -> Self {
        Self {
            poison: Arc::default(),
            safe: Arc::default(),
            seen: Arc::default(),
            tries: watch::Sender::new(0),
            up: watch::Sender::new(up),
        }
    }

    async fn tried(&self, tries: usize) {
        self.tries.subscribe().wait_for(|&seen| seen >= tries).await.unwrap();
    }

    /// The batches, each once however often it was sent.
    fn batches(&self) -> Vec<ViewBatch> {
        let mut batches: Vec<_> = self.seen.lock().clone();
        batches.sort_by_key(|(id, _)| *id);
        batches.dedup_by_key(|(id, _)| *id);
        batches.into_iter().map(|(_, batch)| batch).collect()
    }

    fn totals(&self) -> HashMap<String, u64> {
        let mut totals = HashMap::new();
        for count in self.batches().into_iter().flat_map(|batch| batch.counts) {
            *totals.entry(count.snippet_id).or_default() += count.views;
        }
        totals
    }
}

#[async_trait]
impl BatchPublisher for Recorder {
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
        let mut poisoned = false;
        for batch in batches {
            let decoded = ViewBatch::decode(batch.payload.clone()).unwrap();
            assert_eq!(decoded.batch_id, batch.id.to_string());
            poisoned |= decoded.counts.iter().any(|count| self.poison.lock().contains(&count.snippet_id));
            self.seen.lock().push((batch.id, decoded));
        }
        let outcome = match (*self.up.borrow(), poisoned) {
            (true, false) => Ok(()),
            (true, true) if batches.len() == 1 => Err(PublishError::Refused("poison".to_owned())),
            _ => Err(PublishError::Unavailable("down".to_owned())),
        };
        if outcome.is_ok() {
            self.safe.lock().extend(batches.iter().map(|batch| batch.id));
        }
        self.tries.send_modify(|tries| *tries += batches.len());
        vec![outcome; batches.len()]
    }
}

/// A time that passes as the runtime's does, from a minute before an hour on.
fn clock() -> DateTime<Utc> {
    thread_local!(static BEGAN: OnceCell<Instant> = const { OnceCell::new() });
    let passed = BEGAN.with(|began| began.get_or_init(Instant::now).elapsed());
    "2026-11-21T12:59:00Z".parse::<DateTime<Utc>>().unwrap() + passed
}

struct Scene {
    aggregator: Arc<ViewAggregator>,
    recorder: Recorder,
    stop: CancellationToken,
}

impl Scene {
    fn new(up: bool, snippets_max: usize) -> Self {
        let aggregator = Arc::new(ViewAggregator::new(snippets_max, usize::MAX));
        aggregator.close(clock());
        Self { aggregator, recorder: Recorder::new(up), stop: CancellationToken::new() }
    }

    fn flusher(&self, spool: Option<Spool>) -> ViewFlusher<Recorder> {
        let limits = BatchLimits { counts_max: 2, ..BatchLimits::default() };
        let options = Options { limits, clock, ..Options::new("test") };
        ViewFlusher::new(self.aggregator.clone(), spool, self.recorder.clone(), options)
    }

    /// Runs a flusher beside the script, which ends with a stop.
    async fn play(&self, script: impl Future<Output = ()>) {
        self.play_with(None, script).await;
    }

    async fn play_with(&self, spool: Option<Spool>, script: impl Future<Output = ()>) {
        let script = async {
            script.await;
            self.stop.cancel();
        };
        let both = async { tokio::join!(self.flusher(spool).run(self.stop.clone()), script) };
        timeout(Duration::from_secs(4 * 60 * 60), both).await.expect("a script that ends");
    }

    /// Runs a flusher beside the script, which ends with its sudden death.
    async fn play_and_die(&self, spool: Option<Spool>, script: impl Future<Output = ()>) {
        tokio::select! {
            () = self.flusher(spool).run(CancellationToken::new()) => {}
            scripted = timeout(Duration::from_secs(4 * 60 * 60), script) => scripted.expect("a script that ends"),
        }
    }

    fn view(&self, id: &SnippetId) {
        self.aggregator.record(id);
    }
}

fn ids(count: usize) -> Vec<SnippetId> {
    (0..count).map(|_| SnippetId::generate()).collect()
}

async fn eventually(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(50)).await;
    }
}
