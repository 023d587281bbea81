//! Counters in this process.

mod expiring;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use ratelimit_core::{Charge, Charged, Decision, State, charge_all};

use self::expiring::Expiring;
use super::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, ReceiptOrder,
    Refund, StoreError,
};
use crate::clock::{Clock, MachineClock};

/// Counters behind one lock, which is held for some microseconds and never while waiting.
///
/// It holds `entries_max` counters at most, and as many receipts. Beyond that, those that would be forgotten first make
/// room: a flood of new subjects may give an old one its limit anew, but not fill the memory.
pub struct MemoryCounters {
    clock: Box<dyn Clock>,
    memory: Mutex<Memory>,
}

struct Memory {
    counters: Expiring<CounterKey, State>,
    receipts: Expiring<ReceiptKey, Receipt>,
}

impl MemoryCounters {
    /// Counts up to `entries_max` subjects by the machine's clock.
    pub fn new(entries_max: usize) -> Self {
        Self::with_clock(entries_max, MachineClock::default())
    }

    /// Counts by another clock.
    pub fn with_clock(entries_max: usize, clock: impl Clock + 'static) -> Self {
        let memory = Memory { counters: Expiring::new(entries_max), receipts: Expiring::new(entries_max) };
        Self { clock: Box::new(clock), memory: Mutex::new(memory) }
    }

    /// How many counters it holds.
    pub fn len(&self) -> usize {
        self.memory.lock().counters.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`CounterStore::charge`], which never fails here.
    pub fn charge_now(&self, order: &Order) -> Answer {
        self.charge_counted(order, |_| true)
    }

    /// The same, where only some of the charges count, and the others pass.
    pub(super) fn charge_counted(&self, order: &Order, counts: impl Fn(&CounterCharge) -> bool) -> Answer {
        // The time is read under the lock, so that charges are made in the order of their times.
        let mut memory = self.memory.lock();
        let now_us = self.clock.now_us();
        memory.remove_expired(now_us);
        let receipt = order.receipt.as_ref().filter(|_| !order.peek);
        if let Some(known) = receipt.and_then(|receipt| memory.receipts.get(&receipt.key)) {
            return Answer::Known(known.clone());
        }
        let decided =
            Decided { at_us: now_us, decisions: memory.charge(order, counts, now_us), grants: Vec::new() };
        if let Some(receipt) = receipt {
            memory.keep_receipt(receipt, order.is_denied(&decided.decisions), decided.clone());
        }
        Answer::Decided(decided)
    }

    /// The one of [`CounterStore::receipts`], which never fails here.
    pub fn receipt_now(&self, key: &ReceiptKey) -> Option<Receipt> {
        let mut memory = self.memory.lock();
        memory.remove_expired(self.clock.now_us());
        memory.receipts.get(key).cloned()
    }

    /// [`CounterStore::give_back`], which never fails here.
    pub fn give_back_now(&self, refund: &Refund) -> bool {
        let mut memory = self.memory.lock();
        let now_us = self.clock.now_us();
        memory.remove_expired(now_us);
        if refund.receipt.as_ref().is_some_and(|key| !memory.mark_given_back(key)) {
            return false;
        }
        refund.charges.iter().for_each(|(charge, told)| memory.give_back(refund, charge, told, now_us));
        true
    }

    /// [`CounterStore::reset`], which never fails here.
    pub fn reset_now(&self, counters: &[CounterKey]) {
        let mut memory = self.memory.lock();
        for key in counters {
            memory.counters.remove(key);
        }
    }
}

#[async_trait]
impl CounterStore for MemoryCounters {
    fn charge_at_once(&self, order: &Order) -> Option<Answer> {
        Some(self.charge_now(order))
    }

    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        Ok(self.charge_now(order))
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        Ok(self.receipt_now(key).into_iter().collect())
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        Ok(self.give_back_now(refund))
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        self.reset_now(counters);
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Memory {
    fn remove_expired(&mut self, now_us: u64) {
        self.counters.remove_expired(now_us);
        self.receipts.remove_expired(now_us);
    }

    fn charge(
        &mut self,
        order: &Order,
        counts: impl Fn(&CounterCharge) -> bool,
        now_us: u64,
    ) -> Vec<Decision> {
        let counted: Vec<_> = order.charges.iter().filter(|charge| counts(charge)).collect();
        let states: Vec<_> = counted.iter().map(|it| (&it.charge, self.counters.get(&it.key))).collect();
        let outcomes = charge_all(&states, &order.slot, order.peek, now_us);
        let mut decided =
            counted.into_iter().zip(outcomes).map(|(charge, outcome)| self.keep(charge, outcome));
        let mut decide = |charge| if counts(charge) { decided.next() } else { None };
        order.charges.iter().map(|it| decide(it).unwrap_or_else(|| passed(&it.charge))).collect()
    }

    fn keep(&mut self, CounterCharge { key, charge, .. }: &CounterCharge, outcome: Charged) -> Decision {
        if let Some(state) = outcome.next {
            self.counters.put(key, charge.algorithm.expires_us(&state), state);
        }
        outcome.decision
    }

    fn keep_receipt(&mut self, order: &ReceiptOrder, denied: bool, decided: Decided) {
        let kept_for = if denied { order.kept_if_denied } else { order.kept_for };
        let expires_us = decided.at_us.saturating_add(micros(kept_for));
        let receipt = Receipt { decided, memo: order.memo.clone(), given_back: false, local: false };
        self.receipts.put(&order.key, expires_us, receipt);
    }

    fn mark_given_back(&mut self, key: &ReceiptKey) -> bool {
        let receipt = self.receipts.get_mut(key);
        receipt.is_some_and(|receipt| !std::mem::replace(&mut receipt.given_back, true))
    }

    fn give_back(&mut self, refund: &Refund, charge: &CounterCharge, told: &Decision, now_us: u64) {
        let CounterCharge { key, charge, .. } = charge;
        let charged = charge.hit(&refund.slot, refund.charged_us);
        let next = charge.algorithm.give_back(self.counters.get(key), charged, told, now_us);
        if let Some(state) = next {
            self.counters.put(key, charge.algorithm.expires_us(&state), state);
        }
    }
}

/// Nothing is known of the counter, so it is told as whole.
fn passed(charge: &Charge) -> Decision {
    let remaining = charge.algorithm.capacity();
    Decision { allowed: true, remaining, reset_after: Duration::ZERO, retry_after: None }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use ratelimit_core::{Algorithm, Charge, OnError, algorithm::FixedWindow};

    use super::*;

    #[derive(Clone, Default)]
    struct SetClock(Arc<AtomicU64>);

    impl Clock for SetClock {
        fn now_us(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn charge(subject: usize, seconds: u64) -> CounterCharge {
        let algorithm = Algorithm::FixedWindow(FixedWindow::new(1, Duration::from_secs(seconds)).unwrap());
        CounterCharge {
            key: CounterKey::new("d", [("subject", subject.to_string().as_str())], "rule", &algorithm),
            charge: Charge { algorithm, cost: 1, shadow: false },
            lease: 0,
            on_error: OnError::Local,
        }
    }

    fn allowed(store: &MemoryCounters, charge: CounterCharge) -> bool {
        let order = Order { charges: vec![charge], peek: false, slot: "".into(), receipt: None };
        let Answer::Decided(decided) = store.charge_now(&order) else { panic!("there are no receipts") };
        decided.decisions[0].allowed
    }

    #[test]
    fn the_number_of_counters_is_bounded_and_those_that_end_first_go() {
        let store = MemoryCounters::with_clock(100, SetClock::default());
        assert!(allowed(&store, charge(0, 3600)));
        assert!((1..1000).all(|subject| allowed(&store, charge(subject, 60))));
        assert_eq!(store.len(), 100);
        assert!(!allowed(&store, charge(0, 3600)), "the longest-lived is still known");
    }

    #[test]
    fn counters_are_forgotten_once_they_have_nothing_to_say() {
        let clock = SetClock::default();
        let store = MemoryCounters::with_clock(100, clock.clone());
        assert!((0..5).all(|subject| allowed(&store, charge(subject, 60))));
        clock.0.store(60_000_000 - 1, Ordering::SeqCst);
        assert!(!allowed(&store, charge(0, 60)));
        assert_eq!(store.len(), 5);
        clock.0.store(60_000_000, Ordering::SeqCst);
        assert!(allowed(&store, charge(0, 60)));
        assert_eq!(store.len(), 1);
    }
}
