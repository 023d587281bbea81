//! Closes windows of views, and has their batches sent.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    aggregator::ViewAggregator,
    backlog::Backlog,
    batches::{BatchLimits, batches},
    instruments,
    keeper::SpoolKeeper,
    reader::BatchReader,
    sender::BatchSender,
    spool::Spool,
    window::hour_end,
};
use crate::{domain::now, ports::BatchPublisher};

/// How to flush.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which replica this is, in the batches.
    pub publisher_name: String,
    /// How long a window lasts, unless batches wait.
    pub interval: Duration,
    /// How much goes into one batch.
    pub limits: BatchLimits,
    /// How long one try to send a batch takes at most.
    pub publish_timeout: Duration,
    /// How long to wait between tries at most; the wait doubles from 100 ms.
    pub backoff_max: Duration,
    /// How long to go on after being told to stop. Whoever waits for that must do so for longer, or views are lost without a
    /// word.
    pub stop_timeout: Duration,
    /// What time it is.
    pub clock: fn() -> DateTime<Utc>,
}

impl Options {
    /// Every 200 ms, 5,000 counts a batch, 5 s a try, 1 s between tries, and 3 s in the end.
    pub fn new(publisher_name: impl Into<String>) -> Self {
        Self {
            publisher_name: publisher_name.into(),
            interval: Duration::from_millis(200),
            limits: BatchLimits::default(),
            publish_timeout: Duration::from_secs(5),
            backoff_max: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(3),
            clock: now,
        }
    }
}

/// Turns windows of views into batches and has them published.
///
/// A window is closed at the interval once no batch of those before is in memory. Without a spool that is when all are
/// safe: while the broker is away the open window goes on counting, which takes the least memory. With one it is when they
/// are on disk. A window is closed at the end of its UTC hour in any case, so that every view is told with the hour it was
/// counted in.
#[derive(Debug)]
pub struct ViewFlusher<P> {
    aggregator: Arc<ViewAggregator>,
    backlog: Arc<Backlog>,
    keeper: SpoolKeeper,
    sender: BatchSender<P>,
    options: Options,
}

impl<P: BatchPublisher> ViewFlusher<P> {
    /// Flushes `aggregator` through `publisher`, by way of `spool`, if there is one. What is found there is sent first.
    pub fn new(
        aggregator: Arc<ViewAggregator>,
        mut spool: Option<Spool>,
        publisher: P,
        options: Options,
    ) -> Self {
        let backlog = Arc::new(Backlog::new(aggregator.places(), spool.as_mut()));
        let spool = spool.map(Arc::new);
        let reader = BatchReader::new(spool.clone(), backlog.clone());
        let keeper = SpoolKeeper::new(spool, backlog.clone());
        let sender = BatchSender::new(publisher, backlog.clone(), reader, &options);
        Self { aggregator, backlog, keeper, sender, options }
    }

    /// Flushes until stopped, then flushes what is left. A killed process loses what is in memory.
    pub async fn run(mut self, stop: CancellationToken) {
        instruments::no_spool_failure_yet();
        stop.run_until_cancelled(self.work()).await;
        let stop_timeout = self.options.stop_timeout;
        if timeout(stop_timeout, self.finish()).await.is_err() {
            tracing::warn!("stopped before all views were sent and their files removed");
        }
        self.tell_the_end();
    }

    fn tell_the_end(&self) {
        let waits = self.backlog.waits();
        if waits.spooled > 0 {
            tracing::info!(batches = waits.spooled, "views wait in the spool");
        }
        let open = self.aggregator.close((self.options.clock)()).into_counts();
        let views = waits.views + open.map(|(_, views)| views).sum::<u64>();
        instruments::stopped(views);
        if views > 0 {
            tracing::error!(views, "views are lost: they could not be sent in time");
        }
    }

    /// Never ends. Cancelling it loses nothing: a batch stays in the backlog until it is safe.
    async fn work(&mut self) {
        let Self { aggregator, backlog, keeper, sender, options } = self;
        let windows = async {
            loop {
                if window_ended(aggregator, options).await == Ended::Hour || backlog.memory_is_free() {
                    close_window(aggregator, backlog, options);
                }
                meter(aggregator, backlog);
            }
        };
        tokio::join!(windows, keeper.run(), sender.run());
    }

    async fn finish(&mut self) {
        let Self { aggregator, backlog, keeper, sender, options } = self;
        loop {
            close_window(aggregator, backlog, options);
            tokio::select! {
                ((), ()) = async { tokio::join!(keeper.run(), sender.run()) } => {}
                () = backlog.finished() => {}
            }
            meter(aggregator, backlog);
            if aggregator.snippets() == 0 {
                return;
            }
        }
    }
}

/// Why a window ends.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Interval,
    Hour,
}

/// Waits until the open window has lasted for long enough.
async fn window_ended(aggregator: &ViewAggregator, options: &Options) -> Ended {
    let hour_end = hour_end(aggregator.opened_at());
    let left = (hour_end - (options.clock)()).to_std().unwrap_or_default();
    tokio::select! {
        () = sleep(options.interval.min(left)) => {}
        () = aggregator.many() => {}
    }
    if (options.clock)() >= hour_end { Ended::Hour } else { Ended::Interval }
}

fn close_window(aggregator: &ViewAggregator, backlog: &Backlog, options: &Options) {
    let window = aggregator.close((options.clock)());
    let batches = batches(window, &options.publisher_name, options.limits);
    instruments::batched(batches.iter().map(|batch| batch.views).sum());
    backlog.add(batches);
}

fn meter(aggregator: &ViewAggregator, backlog: &Backlog) {
    instruments::counted(aggregator.take_tally());
    instruments::waiting(aggregator.snippets(), aggregator.places().closed(), &backlog.waits());
}
