//! What holds while the counters are away: the word of each rule's `on_error`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use ratelimit_core::{Decision, OnError};

use super::{CounterCharge, CounterStore, MemoryCounters, StoreError};

/// Asks the counters, and where they fail lets each rule's `on_error` decide: `allow` lets pass and counts nothing, `local`
/// counts in this process, and `deny` hands the failure on, unless the rule is in shadow.
///
/// What was charged locally is not carried over once the counters are back.
pub struct Fallback<S> {
    counters: S,
    local: MemoryCounters,
    failing: AtomicBool,
}

impl<S: CounterStore> Fallback<S> {
    /// Falls back from `counters` to `local`.
    pub fn new(counters: S, local: MemoryCounters) -> Self {
        Self { counters, local, failing: AtomicBool::new(false) }
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

    fn without_counters(
        &self,
        charges: &[CounterCharge],
        peek: bool,
        error: StoreError,
    ) -> Result<Vec<Decision>, StoreError> {
        for charge in charges {
            metrics::counter!("ratelimit_fallbacks_total", "on_error" => name(charge.on_error)).increment(1);
        }
        if charges.iter().any(|it| it.on_error == OnError::Deny && !it.charge.shadow) {
            return Err(error);
        }
        let is_local = |it: &&CounterCharge| it.on_error == OnError::Local;
        let local: Vec<_> = charges.iter().filter(is_local).cloned().collect();
        let mut decided = self.local.charge_now(&local, peek).into_iter();
        let decide = |it: &CounterCharge| if is_local(&it) { decided.next() } else { None };
        let decisions = charges.iter().map(decide).zip(charges);
        Ok(decisions.map(|(decision, it)| decision.unwrap_or_else(|| passed(it))).collect())
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for Fallback<S> {
    async fn charge(&self, charges: &[CounterCharge], peek: bool) -> Result<Vec<Decision>, StoreError> {
        match self.counters.charge(charges, peek).await {
            Ok(decisions) => {
                self.succeeded();
                Ok(decisions)
            }
            Err(error) => {
                self.failed(&error);
                self.without_counters(charges, peek, error)
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}

/// Nothing is known of the counter, so it is told as whole.
fn passed(charge: &CounterCharge) -> Decision {
    let remaining = charge.charge.algorithm.capacity();
    Decision { allowed: true, remaining, reset_after: Duration::ZERO, retry_after: None }
}

fn name(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Allow => "allow",
        OnError::Deny => "deny",
        OnError::Local => "local",
    }
}

#[cfg(test)]
mod tests {
    use ratelimit_core::{Algorithm, Charge, Policy, Rule, algorithm::FixedWindow};

    use super::*;
    use crate::stores::CounterKey;

    struct Away;

    #[async_trait]
    impl CounterStore for Away {
        async fn charge(&self, _: &[CounterCharge], _: bool) -> Result<Vec<Decision>, StoreError> {
            Err(StoreError::TimedOut)
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Err(StoreError::TimedOut)
        }
    }

    fn charge(name: &str, on_error: OnError, shadow: bool) -> CounterCharge {
        let algorithm = Algorithm::FixedWindow(FixedWindow::new(1, Duration::from_secs(60)).unwrap());
        let rule = Rule { name: name.into(), policy: Policy::Limited(algorithm), shadow, on_error };
        let key = CounterKey::new("d", [("k", "v")], &rule, &algorithm);
        CounterCharge { key, charge: Charge { algorithm, cost: 1, shadow }, on_error }
    }

    async fn allowed(store: &Fallback<Away>, charges: &[CounterCharge]) -> Option<Vec<bool>> {
        let decisions = store.charge(charges, false).await.ok()?;
        Some(decisions.iter().map(|decision| decision.allowed).collect())
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
