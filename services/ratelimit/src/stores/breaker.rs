//! Spares Checks the wait for counters that are known to be away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Answer, CounterKey, CounterStore, Order, Receipt, ReceiptKey, Refund, StoreError};

/// Failures in a row that open it: one stall is no outage.
const FAILURES_TO_OPEN: u32 = 3;
/// How often counters that were away are asked whether they are back.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// A circuit breaker (Nygard, "Release It!", 2007). Once calls have failed in a row, further ones fail at once, until a
/// probe of its own is answered: no Check is ever the one that tries.
pub struct Breaker<S> {
    counters: Arc<S>,
    state: Arc<State>,
}

/// Closes a [`Breaker`].
pub struct Prober<S> {
    counters: Arc<S>,
    state: Arc<State>,
}

/// Tells a [`Breaker`] what becomes of calls. The store does so itself: whoever waits for an answer may give up long before
/// it is known that there is none.
#[derive(Clone)]
pub struct Watch(Arc<State>);

struct State {
    open: AtomicBool,
    /// The row is not empty.
    failing: AtomicBool,
    row: Mutex<Row>,
    gauge: Gauge,
}

/// Failures one after the other.
#[derive(Default)]
struct Row {
    length: u32,
    last: Option<Instant>,
}

impl<S: CounterStore> Breaker<S> {
    /// Guards counters that are made with a watch. The prober has to run for it to close again.
    ///
    /// # Errors
    /// Those of making the counters.
    pub fn new<E>(counters: impl FnOnce(Watch) -> Result<S, E>) -> Result<(Self, Prober<S>), E> {
        let gauge = gauge!("ratelimit_breaker_open");
        gauge.set(0.0);
        let state = Arc::new(State {
            open: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            row: Mutex::default(),
            gauge,
        });
        let counters = Arc::new(counters(Watch(state.clone()))?);
        Ok((Self { counters: counters.clone(), state: state.clone() }, Prober { counters, state }))
    }

    fn is_open(&self) -> Result<(), StoreError> {
        if self.state.open.load(Ordering::Relaxed) { Err(StoreError::KnownAway) } else { Ok(()) }
    }
}

impl Watch {
    /// A watch that nobody looks at.
    pub fn unguarded() -> Self {
        Self(Arc::new(State {
            open: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            row: Mutex::default(),
            gauge: Gauge::noop(),
        }))
    }

    /// A call that began then was answered like this.
    pub fn note<T>(&self, began: Instant, result: &Result<T, StoreError>) {
        match result {
            Err(StoreError::TimedOut | StoreError::Away(_)) => self.0.failed(began),
            _ => self.0.succeeded(),
        }
    }
}

impl<S: CounterStore> Prober<S> {
    /// Probes the counters while they are away, until stopped.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PROBE_INTERVAL)).await.is_some() {
            if self.state.open.load(Ordering::Relaxed) && self.counters.ping().await.is_ok() {
                self.state.close();
            }
        }
    }
}

impl State {
    /// Calls that were under way together fail of the same stall, and count once.
    fn failed(&self, began: Instant) {
        let mut row = self.row.lock();
        if row.last.is_some_and(|last| began < last) {
            return;
        }
        self.failing.store(true, Ordering::Relaxed);
        *row = Row { length: row.length + 1, last: Some(Instant::now()) };
        if row.length >= FAILURES_TO_OPEN && !self.open.swap(true, Ordering::Relaxed) {
            self.gauge.set(1.0);
            tracing::warn!("counters are not asked until a probe is answered");
        }
    }

    fn succeeded(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            *self.row.lock() = Row::default();
        }
    }

    fn close(&self) {
        self.succeeded();
        self.open.store(false, Ordering::Relaxed);
        self.gauge.set(0.0);
        tracing::info!("counters are asked again");
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for Breaker<S> {
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        self.is_open()?;
        self.counters.charge(order).await
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        self.is_open()?;
        self.counters.receipts(key).await
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        self.is_open()?;
        self.counters.give_back(refund).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        self.is_open()?;
        self.counters.reset(counters).await
    }

    /// Asks, whether it is open or not.
    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch::unguarded()
    }

    fn is_open(watch: &Watch) -> bool {
        watch.0.open.load(Ordering::Relaxed)
    }

    fn fail(watch: &Watch, began: Instant) {
        watch.note(began, &Err::<(), _>(StoreError::TimedOut));
    }

    #[test]
    fn three_failures_one_after_the_other_open_it() {
        let watch = watch();
        for open in [false, false, true] {
            fail(&watch, Instant::now());
            assert_eq!(is_open(&watch), open);
        }
    }

    #[test]
    fn calls_that_fail_of_one_stall_do_not() {
        let (watch, began) = (watch(), Instant::now());
        (0..100).for_each(|_| fail(&watch, began));
        assert!(!is_open(&watch));
    }

    #[test]
    fn an_answer_in_between_begins_a_new_row() {
        let watch = watch();
        for _ in 0..10 {
            fail(&watch, Instant::now());
            fail(&watch, Instant::now());
            watch.note(Instant::now(), &Ok(()));
        }
        assert!(!is_open(&watch));
        let refused = StoreError::Malformed("which says that they are there");
        (0..3).for_each(|_| watch.note(Instant::now(), &Err::<(), _>(refused.clone())));
        assert!(!is_open(&watch));
    }
}
