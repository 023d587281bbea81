//! Sends batches, and sends them again until they are safe.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{backlog::Backlog, batches::Batch, flusher::Options, instruments, reader::BatchReader};
use crate::ports::{BatchPublisher, PublishError};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// A broker confirms many batches in little more than the time of one: a backlog of small ones goes about ten times as fast.
const TOGETHER_MAX: usize = 16;
/// How often files that could not be read or removed are tried again.
const FILES_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Publishes what is in the backlog.
#[derive(Debug)]
pub(super) struct BatchSender<P> {
    publisher: P,
    backlog: Arc<Backlog>,
    reader: BatchReader,
    publish_timeout: Duration,
    backoff_max: Duration,
    /// How many batches the next try is about. One, after a failure: what is wrong with a batch is told only when it comes
    /// alone, so that none can hold up the others for ever. Then twice as many each time.
    together: usize,
    failures: u32,
    try_files_again_at: Instant,
}

impl<P: BatchPublisher> BatchSender<P> {
    /// Sends what is in `backlog`, as `reader` reads it, through `publisher`.
    pub(super) fn new(publisher: P, backlog: Arc<Backlog>, reader: BatchReader, options: &Options) -> Self {
        let Options { publish_timeout, backoff_max, .. } = *options;
        let try_files_again_at = Instant::now() + FILES_RETRY_INTERVAL;
        let (together, failures) = (1, 0);
        Self {
            publisher,
            backlog,
            reader,
            publish_timeout,
            backoff_max,
            together,
            failures,
            try_files_again_at,
        }
    }

    /// Sends for ever. Cancelling it loses nothing.
    pub(super) async fn run(&mut self) {
        loop {
            let waiting = tokio::select! {
                biased;
                () = sleep_until(self.try_files_again_at) => {
                    self.backlog.try_again();
                    self.try_files_again_at = Instant::now() + FILES_RETRY_INTERVAL;
                    continue;
                }
                waiting = self.backlog.oldest(self.together) => waiting,
            };
            let read = self.reader.read(waiting).await;
            let unavailable = self.send(&read.batches).await;
            match unavailable.or(read.failed) {
                None if !read.batches.is_empty() => self.went_on(),
                // There was nothing left to send of what waited.
                None => {}
                Some(why) => self.failed(&why).await,
            }
        }
    }

    /// Sends a group, and forgets what is safe or never will be. Returns why a batch has to be sent again, if one has to.
    async fn send(&self, batches: &[Batch]) -> Option<String> {
        if batches.is_empty() {
            return None;
        }
        let mut unavailable = None;
        for (batch, outcome) in batches.iter().zip(self.publish(batches).await) {
            match outcome {
                Ok(()) => {
                    instruments::confirmed(batch.views);
                    self.backlog.settle(batch.pending.id);
                }
                Err(PublishError::Refused(why)) => self.refused(batch, &why),
                Err(PublishError::Unavailable(why)) => {
                    instruments::failed();
                    unavailable.get_or_insert(why);
                }
            }
        }
        unavailable
    }

    async fn publish(&self, batches: &[Batch]) -> Vec<Result<(), PublishError>> {
        let pending: Vec<_> = batches.iter().map(|batch| batch.pending.clone()).collect();
        let elapsed = || PublishError::Unavailable("it took too long".to_owned());
        let published = timeout(self.publish_timeout, self.publisher.publish(&pending)).await;
        published.unwrap_or_else(|_| vec![Err(elapsed()); batches.len()])
    }

    fn refused(&self, batch: &Batch, why: &str) {
        let (id, views) = (batch.pending.id, batch.views);
        tracing::error!(batch_id = %id, views, error = why, "a batch of views was refused and is dropped");
        instruments::refused(views);
        self.backlog.settle(id);
    }

    fn went_on(&mut self) {
        self.together = TOGETHER_MAX.min(2 * self.together);
        self.backlog.sending(true);
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "views are being sent again");
            self.failures = 0;
        }
    }

    async fn failed(&mut self, why: &str) {
        if self.failures == 0 {
            tracing::warn!(error = why, "views can't be sent and are held");
        }
        self.together = 1;
        self.backlog.sending(false);
        // Any number of doublings beyond the sixteenth is longer than the longest wait.
        let backoff = BACKOFF_MIN * 2_u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        sleep(backoff.min(self.backoff_max)).await;
    }
}
