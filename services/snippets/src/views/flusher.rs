//! Sends what was counted, and sends it again until it is safe.

use super::aggregator::{ViewAggregator, Window};
use crate::{
    domain::SnippetId,
    ports::{BatchPublisher, PendingBatch, PublishError},
};
use chrono::{DateTime, Utc};
use prost::Message as _;
use prost_types::Timestamp;
use rpc::views::v1::{ViewBatch, ViewCount};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// How to flush.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which replica this is, in the batches.
    pub publisher_name: String,
    /// How long views wait to be sent together.
    pub interval: Duration,
    /// How many snippets one batch counts at most.
    pub batch_counts_max: usize,
    /// How long one try to send a batch takes at most.
    pub publish_timeout: Duration,
    /// How long to wait between tries at most; the wait doubles from 100 ms.
    pub backoff_max: Duration,
    /// How long to go on after being told to stop.
    pub stop_timeout: Duration,
}

impl Options {
    /// Every 200 ms, 5,000 counts a batch, 5 s a try, 1 s between tries, and 5 s in the end.
    pub fn new(publisher_name: impl Into<String>) -> Self {
        Self {
            publisher_name: publisher_name.into(),
            interval: Duration::from_millis(200),
            batch_counts_max: 5_000,
            publish_timeout: Duration::from_secs(5),
            backoff_max: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Turns windows of views into batches and publishes them.
///
/// A window is taken only once every batch of the one before is safe: while the broker is away the aggregator
/// holds the counts, so that no more than twice its bound is ever held.
#[derive(Debug)]
pub struct ViewFlusher<P> {
    aggregator: Arc<ViewAggregator>,
    publisher: P,
    options: Options,
    unconfirmed: VecDeque<PendingBatch>,
    failures: u32,
}

impl<P: BatchPublisher> ViewFlusher<P> {
    /// Flushes `aggregator` through `publisher`.
    pub fn new(aggregator: Arc<ViewAggregator>, publisher: P, options: Options) -> Self {
        Self { aggregator, publisher, options, unconfirmed: VecDeque::new(), failures: 0 }
    }

    /// Flushes until stopped, then flushes what is left. A killed process loses its open window at most.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(self.round(&mut ticks)).await.is_some() {}
        let stop_timeout = self.options.stop_timeout;
        if timeout(stop_timeout, self.flush_everything()).await.is_err() {
            let (batches, snippets) = (self.unconfirmed.len(), self.aggregator.distinct());
            tracing::error!(batches, snippets, "views are lost: they could not be sent in time");
        }
    }

    /// Cancelling this loses nothing: a batch stays in `unconfirmed` until it is safe.
    async fn round(&mut self, ticks: &mut Interval) {
        tokio::select! {
            _ = ticks.tick() => {}
            () = self.aggregator.many() => {}
        }
        self.flush().await;
    }

    async fn flush_everything(&mut self) {
        self.flush().await;
        while self.aggregator.distinct() > 0 {
            self.flush().await;
        }
    }

    /// Sends what is unconfirmed, or a new window; returns once it is safe.
    async fn flush(&mut self) {
        if self.unconfirmed.is_empty() {
            let window = self.aggregator.drain();
            self.unconfirmed = batches(&window, &self.options);
        }
        while let Some(batch) = self.unconfirmed.front() {
            match self.publish(batch).await {
                Ok(()) => self.confirmed(),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    async fn publish(&self, batch: &PendingBatch) -> Result<(), PublishError> {
        let publishing = self.publisher.publish(batch);
        let elapsed = |_| PublishError::Unavailable("it took too long".to_owned());
        timeout(self.options.publish_timeout, publishing).await.map_err(elapsed)?
    }

    fn confirmed(&mut self) {
        self.unconfirmed.pop_front();
        metrics::counter!("snippets_view_batches_total", "outcome" => "confirmed").increment(1);
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "views are being sent again");
            self.failures = 0;
        }
    }

    async fn failed(&mut self, error: &PublishError) {
        metrics::counter!("snippets_view_batches_total", "outcome" => "failed").increment(1);
        if self.failures == 0 {
            tracing::warn!(%error, "views can't be sent and are held");
        }
        // Any number of doublings beyond the sixteenth is longer than the longest wait.
        let backoff = BACKOFF_MIN * 2_u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        sleep(backoff.min(self.options.backoff_max)).await;
    }
}

fn batches(window: &Window, options: &Options) -> VecDeque<PendingBatch> {
    let mut trace = Vec::new();
    if let Some(span) = &window.trace {
        chassis::propagation::inject_span_context(span, |key, value| trace.push((key.to_owned(), value)));
    }
    let counts = window.counts.chunks(options.batch_counts_max.max(1));
    counts
        .map(|counts| {
            let id = Uuid::now_v7();
            let batch = ViewBatch {
                batch_id: id.to_string(),
                publisher: options.publisher_name.clone(),
                window_start: Some(timestamp(window.start)),
                window_end: Some(timestamp(window.end)),
                counts: counts.iter().copied().map(view_count).collect(),
                deleted_snippet_ids: Vec::new(),
            };
            PendingBatch { id, payload: batch.encode_to_vec().into(), trace: trace.clone() }
        })
        .collect()
}

fn view_count((id, views): (SnippetId, u64)) -> ViewCount {
    ViewCount { snippet_id: id.to_string(), views }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ViewSink as _;
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use std::collections::HashMap;
    use tokio::sync::watch;

    /// Takes every batch down; says that it is safe only while `up`.
    #[derive(Clone)]
    struct Recorder {
        seen: Arc<Mutex<Vec<(Uuid, ViewBatch)>>>,
        tries: watch::Sender<usize>,
        up: watch::Sender<bool>,
    }

    impl Recorder {
        fn new(up: bool) -> Self {
            Self { seen: Arc::default(), tries: watch::Sender::new(0), up: watch::Sender::new(up) }
        }

        async fn tried(&self, tries: usize) {
            self.tries.subscribe().wait_for(|&seen| seen >= tries).await.unwrap();
        }

        /// The views by snippet, each batch counted once however often it was sent.
        fn totals(&self) -> HashMap<String, u64> {
            let batches: HashMap<_, _> = self.seen.lock().iter().cloned().collect();
            let mut totals = HashMap::new();
            for count in batches.into_values().flat_map(|batch| batch.counts) {
                *totals.entry(count.snippet_id).or_default() += count.views;
            }
            totals
        }
    }

    #[async_trait]
    impl BatchPublisher for Recorder {
        async fn publish(&self, batch: &PendingBatch) -> Result<(), PublishError> {
            let decoded = ViewBatch::decode(batch.payload.clone()).unwrap();
            assert_eq!(decoded.batch_id, batch.id.to_string());
            self.seen.lock().push((batch.id, decoded));
            self.tries.send_modify(|tries| *tries += 1);
            if *self.up.borrow() { Ok(()) } else { Err(PublishError::Unavailable("down".to_owned())) }
        }
    }

    fn options() -> Options {
        Options { batch_counts_max: 2, ..Options::new("test") }
    }

    #[tokio::test(start_paused = true)]
    async fn sends_windows_in_bounded_batches() {
        let (aggregator, recorder) = (Arc::new(ViewAggregator::default()), Recorder::new(true));
        let ids: Vec<_> = (0..5).map(|_| SnippetId::generate()).collect();
        for id in &ids {
            aggregator.record(id);
        }
        let stop = CancellationToken::new();
        let flusher = ViewFlusher::new(aggregator.clone(), recorder.clone(), options());
        let script = async {
            recorder.tried(3).await;
            stop.cancel();
        };
        tokio::join!(flusher.run(stop.clone()), script);
        assert_eq!(
            recorder.seen.lock().iter().map(|(_, batch)| batch.counts.len()).collect::<Vec<_>>(),
            [2, 2, 1]
        );
        assert_eq!(recorder.totals().len(), 5);
        assert_eq!(recorder.seen.lock()[0].1.publisher, "test");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_sent_under_the_same_id_until_it_is_safe_and_the_map_holds_the_rest() {
        let (aggregator, recorder) = (Arc::new(ViewAggregator::default()), Recorder::new(false));
        let (one, two) = (SnippetId::generate(), SnippetId::generate());
        aggregator.record(&one);
        let stop = CancellationToken::new();
        let flusher = ViewFlusher::new(aggregator.clone(), recorder.clone(), options());
        let script = async {
            recorder.tried(3).await;
            aggregator.record(&one);
            aggregator.record(&two);
            recorder.tried(6).await;
            assert_eq!(aggregator.distinct(), 2);
            let ids: Vec<_> = recorder.seen.lock().iter().map(|(id, _)| *id).collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            recorder.up.send_replace(true);
            recorder.tried(8).await;
            stop.cancel();
        };
        tokio::join!(flusher.run(stop.clone()), script);
        assert_eq!(recorder.totals(), HashMap::from([(one.to_string(), 2), (two.to_string(), 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_flushes_the_open_window() {
        let (aggregator, recorder) = (Arc::new(ViewAggregator::default()), Recorder::new(true));
        let id = SnippetId::generate();
        aggregator.record(&id);
        let stop = CancellationToken::new();
        stop.cancel();
        ViewFlusher::new(aggregator.clone(), recorder.clone(), options()).run(stop).await;
        assert_eq!(recorder.totals(), HashMap::from([(id.to_string(), 1)]));
        assert_eq!(aggregator.distinct(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_with_the_broker_away() {
        let (aggregator, recorder) = (Arc::new(ViewAggregator::default()), Recorder::new(false));
        aggregator.record(&SnippetId::generate());
        let stop = CancellationToken::new();
        stop.cancel();
        let flusher = ViewFlusher::new(aggregator, recorder.clone(), options());
        timeout(Duration::from_secs(6), flusher.run(stop)).await.unwrap();
        assert!(*recorder.tries.borrow() > 1);
    }
}
