//! Gathers the next flush while the one before is being committed.

use std::{mem, pin::Pin};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    committer::{Committer, Settled},
    domain::Batch,
    flush::Flush,
    instruments,
    ports::{Deliveries, Delivery, QueueError, Settlement},
    worker::Settings,
};

type Committing<'a> = Pin<Box<dyn Future<Output = Result<Settled, QueueError>> + Send + 'a>>;

/// The way of one subscription's deliveries into the store: one commit at a time, in the order of the deliveries, so that an
/// acknowledgement speaks for nothing that is not committed. A malformed batch is rejected at once.
pub(crate) struct Pipeline<'a> {
    committer: &'a Committer,
    settlement: &'a dyn Settlement,
    settings: Settings,
    stop: &'a CancellationToken,
    gathered: Flush,
    /// When the oldest batch of `gathered` has waited for long enough.
    due: Instant,
    committing: Option<Committing<'a>>,
    /// Nothing more is received.
    is_draining: bool,
}

enum Event {
    Received(Delivery),
    Due,
    Settled(Settled),
    Drain,
}

impl<'a> Pipeline<'a> {
    pub(crate) fn new(
        committer: &'a Committer,
        settlement: &'a dyn Settlement,
        settings: Settings,
        stop: &'a CancellationToken,
    ) -> Self {
        Self {
            committer,
            settlement,
            settings,
            stop,
            gathered: Flush::default(),
            due: Instant::now(),
            committing: None,
            is_draining: false,
        }
    }

    /// Runs until `stop` is cancelled or the queue has no more to give, and all that was received is settled, as far as the
    /// store lets it.
    pub(crate) async fn run(&mut self, deliveries: &mut dyn Deliveries) -> Result<(), QueueError> {
        while !(self.is_draining && self.committing.is_none() && self.gathered.is_empty()) {
            match self.next(deliveries).await? {
                Event::Received(delivery) => self.admit(delivery).await?,
                Event::Due => self.commit(),
                Event::Settled(Settled::All) => {}
                Event::Settled(Settled::NotAll) => return Ok(()),
                Event::Drain => self.is_draining = true,
            }
        }
        Ok(())
    }

    /// Lets a commit that is under way come to its end after the subscription was lost. Its batches come again, and are then
    /// known; were it given up, a connection that is lost every few seconds could keep anything from being committed.
    pub(crate) async fn finish(self) {
        if let Some(committing) = self.committing
            && let Err(error) = committing.await
        {
            tracing::debug!(%error, "a flush was not acknowledged");
        }
    }

    async fn next(&mut self, deliveries: &mut dyn Deliveries) -> Result<Event, QueueError> {
        let is_full = self.gathered.is_full(self.settings.flush_batches_max);
        let due = if is_full || self.is_draining { Instant::now() } else { self.due };
        let event = tokio::select! {
            biased;
            settled = poll(&mut self.committing), if self.committing.is_some() => {
                self.committing = None;
                Event::Settled(settled?)
            }
            () = self.stop.cancelled(), if !self.is_draining => Event::Drain,
            () = sleep_until(due), if self.committing.is_none() && !self.gathered.is_empty() => Event::Due,
            delivery = deliveries.next(), if !is_full && !self.is_draining => {
                delivery?.map_or(Event::Drain, Event::Received)
            }
        };
        Ok(event)
    }

    async fn admit(&mut self, delivery: Delivery) -> Result<(), QueueError> {
        if delivery.redelivered {
            instruments::redelivered();
        }
        match Batch::parse(&delivery.payload) {
            Ok(batch) => {
                if self.gathered.is_empty() {
                    self.due = Instant::now() + self.settings.flush_interval;
                }
                self.gathered.push(batch, delivery);
            }
            Err(malformed) => {
                tracing::warn!(%malformed, bytes = delivery.payload.len(), "a malformed batch was rejected");
                instruments::rejected();
                self.settlement.reject(delivery.tag).await?;
            }
        }
        Ok(())
    }

    fn commit(&mut self) {
        let flush = mem::take(&mut self.gathered);
        let (committer, settlement, stop) = (self.committer, self.settlement, self.stop);
        let span = flush.span();
        let settle = async move { committer.settle(&flush, settlement, stop).await };
        self.committing = Some(Box::pin(settle.instrument(span)));
    }
}

async fn poll(committing: &mut Option<Committing<'_>>) -> Result<Settled, QueueError> {
    match committing {
        Some(committing) => committing.await,
        None => std::future::pending().await,
    }
}
