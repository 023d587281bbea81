//! Spares Checks the wait for counters that are known to be away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use metrics::Gauge;
use tokio_util::sync::CancellationToken;

use super::{Answer, CounterKey, CounterStore, Order, Receipt, ReceiptKey, Refund, StoreError};

/// Failures in a row that open it: one slow answer is no outage.
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

struct State {
    failures: AtomicU32,
    open: AtomicBool,
    gauge: Gauge,
}

impl<S: CounterStore> Breaker<S> {
    /// Guards those counters. The prober has to run for it to close again.
    pub fn new(counters: S) -> (Self, Prober<S>) {
        let gauge = metrics::gauge!("ratelimit_breaker_open");
        gauge.set(0.0);
        let state = State { failures: AtomicU32::new(0), open: AtomicBool::new(false), gauge };
        let (counters, state) = (Arc::new(counters), Arc::new(state));
        (Self { counters: counters.clone(), state: state.clone() }, Prober { counters, state })
    }

    async fn guard<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.state.open.load(Ordering::Relaxed) {
            return Err(StoreError::KnownAway);
        }
        let result = call.await;
        match &result {
            Err(StoreError::TimedOut | StoreError::Away(_)) => self.state.failed(),
            _ => self.state.failures.store(0, Ordering::Relaxed),
        }
        result
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
    fn failed(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES_TO_OPEN && !self.open.swap(true, Ordering::Relaxed) {
            self.gauge.set(1.0);
            tracing::warn!("counters are not asked until a probe is answered");
        }
    }

    fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Relaxed);
        self.gauge.set(0.0);
        tracing::info!("counters are asked again");
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for Breaker<S> {
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        self.guard(self.counters.charge(order)).await
    }

    async fn receipt(&self, key: &ReceiptKey) -> Result<Option<Receipt>, StoreError> {
        self.guard(self.counters.receipt(key)).await
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        self.guard(self.counters.give_back(refund)).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        self.guard(self.counters.reset(counters)).await
    }

    /// Asks, whether it is open or not.
    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}
