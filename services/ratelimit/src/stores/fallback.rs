//! What holds while the counters are away: the word of each rule's `on_error`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use metrics::{Counter, counter};
use ratelimit_core::OnError;

use super::{
    Answer, CounterKey, CounterStore, MemoryCounters, Order, Receipt, ReceiptKey, Refund, StoreError,
};

/// Asks the counters, and where they fail lets each rule's `on_error` decide: `allow` lets pass and counts nothing, `local`
/// counts in this process, and `deny` hands the failure on, unless the rule is in shadow.
///
/// What was charged locally is not carried over once the counters are back.
pub struct Fallback<S> {
    counters: S,
    local: MemoryCounters,
    failing: AtomicBool,
    meters: Meters,
}

/// How often each word was asked for.
struct Meters {
    allow: Counter,
    deny: Counter,
    local: Counter,
}

impl<S: CounterStore> Fallback<S> {
    /// Falls back from `counters` to `local`.
    pub fn new(counters: S, local: MemoryCounters) -> Self {
        Self { counters, local, failing: AtomicBool::new(false), meters: Meters::default() }
    }

    fn succeeded(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("counters are back");
        }
    }

    /// Logs the first failure of a row; the metric counts all.
    fn failed(&self, error: &StoreError) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "counters failed, limits go by on_error");
        }
    }

    /// What each rule's `on_error` makes of the order.
    fn without_counters(&self, order: &Order, error: StoreError) -> Result<Answer, StoreError> {
        for charge in &order.charges {
            self.meters.of(charge.on_error).increment(1);
        }
        if order.charges.iter().any(|it| it.on_error == OnError::Deny && !it.charge.shadow) {
            return Err(error);
        }
        Ok(self.local.charge_counted(order, |charge| charge.on_error == OnError::Local))
    }

    fn local_receipt(&self, key: &ReceiptKey) -> Option<Receipt> {
        self.local.receipt_now(key).map(|receipt| Receipt { local: true, ..receipt })
    }

    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        result
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for Fallback<S> {
    fn charge_at_once(&self, order: &Order) -> Option<Answer> {
        self.counters.charge_at_once(order)
    }

    /// What was answered locally is answered so again, also when the counters are back.
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let known = order.receipt.as_ref().and_then(|receipt| self.local_receipt(&receipt.key));
        if let Some(receipt) = known.filter(|_| !order.peek) {
            return Ok(Answer::Known(receipt));
        }
        let answer = self.note(self.counters.charge(order).await);
        answer.or_else(|error| self.without_counters(order, error))
    }

    /// A request that the counters answered too late has two: it was charged here and there.
    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        let local = self.local_receipt(key);
        match (self.note(self.counters.receipts(key).await), local) {
            (Ok(receipts), local) => Ok(receipts.into_iter().chain(local).collect()),
            (Err(_), Some(local)) => Ok(vec![local]),
            (Err(error), None) => Err(error),
        }
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        if refund.local {
            return Ok(self.local.give_back_now(refund));
        }
        self.note(self.counters.give_back(refund).await)
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        self.local.reset_now(counters);
        self.note(self.counters.reset(counters).await)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}

impl Default for Meters {
    fn default() -> Self {
        let counter = |on_error| counter!("ratelimit_fallbacks_total", "on_error" => on_error);
        Self { allow: counter("allow"), deny: counter("deny"), local: counter("local") }
    }
}

impl Meters {
    fn of(&self, on_error: OnError) -> &Counter {
        match on_error {
            OnError::Allow => &self.allow,
            OnError::Deny => &self.deny,
            OnError::Local => &self.local,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratelimit_core::{Algorithm, Charge, algorithm::FixedWindow};

    use super::*;
    use crate::stores::CounterCharge;

    struct Away;

    #[async_trait]
    impl CounterStore for Away {
        async fn charge(&self, _: &Arc<Order>) -> Result<Answer, StoreError> {
            Err(StoreError::TimedOut)
        }

        async fn receipts(&self, _: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
            Err(StoreError::TimedOut)
        }

        async fn give_back(&self, _: &Refund) -> Result<bool, StoreError> {
            Err(StoreError::TimedOut)
        }

        async fn reset(&self, _: &[CounterKey]) -> Result<(), StoreError> {
            Err(StoreError::TimedOut)
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Err(StoreError::TimedOut)
        }
    }

    fn charge(name: &str, on_error: OnError, shadow: bool) -> CounterCharge {
        let algorithm = Algorithm::FixedWindow(FixedWindow::new(1, Duration::from_secs(60)).unwrap());
        let key = CounterKey::new("d", [("k", "v")], name, &algorithm);
        CounterCharge { key, charge: Charge { algorithm, cost: 1, shadow }, lease: 0, on_error }
    }

    async fn allowed(store: &Fallback<Away>, charges: &[CounterCharge]) -> Option<Vec<bool>> {
        let order = Order { charges: charges.to_vec(), peek: false, slot: "".into(), receipt: None };
        let Answer::Decided(decided) = store.charge(&Arc::new(order)).await.ok()? else {
            panic!("no receipts")
        };
        Some(decided.decisions.iter().map(|decision| decision.allowed).collect())
    }

    #[tokio::test]
    async fn each_rule_goes_by_its_own_word() {
        let store = Fallback::new(Away, MemoryCounters::new(10));
        let [open, local] = [charge("open", OnError::Allow, false), charge("local", OnError::Local, false)];
        let both = [open.clone(), local.clone()];
        assert_eq!(allowed(&store, &both).await, Some(vec![true, true]));
        assert_eq!(allowed(&store, &both).await, Some(vec![true, false]));
        assert_eq!(allowed(&store, &[open]).await, Some(vec![true]));
        assert_eq!(allowed(&store, &[local, charge("closed", OnError::Deny, false)]).await, None);
        assert_eq!(allowed(&store, &[charge("closed", OnError::Deny, true)]).await, Some(vec![true]));
    }
}
