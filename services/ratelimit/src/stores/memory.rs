//! Counters in this process.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use parking_lot::Mutex;
use ratelimit_core::{Decision, State, charge_all};

use super::{CounterCharge, CounterKey, CounterStore, StoreError};
use crate::clock::{Clock, MonotonicClock};

/// How many counters that have nothing more to say are removed at each charge, so that no call pays for all.
const EXPIRED_PER_CHARGE_MAX: usize = 8;

/// Counters behind one lock, which is held for some microseconds and never while waiting.
///
/// It holds `entries_max` counters at most. Beyond that, those that would be forgotten first make room: a flood of new
/// subjects may give an old one its limit anew, but not fill the memory.
pub struct MemoryCounters {
    clock: Box<dyn Clock>,
    entries_max: usize,
    counters: Mutex<Counters>,
}

#[derive(Default)]
struct Counters {
    entries: HashMap<CounterKey, Entry>,
    by_expiry: BTreeSet<(u64, CounterKey)>,
}

struct Entry {
    state: State,
    /// From then on the entry says no more than none would.
    expires_us: u64,
}

impl MemoryCounters {
    /// Counts up to `entries_max` subjects by the machine's clock.
    pub fn new(entries_max: usize) -> Self {
        Self::with_clock(entries_max, MonotonicClock::default())
    }

    /// Counts by another clock.
    pub fn with_clock(entries_max: usize, clock: impl Clock + 'static) -> Self {
        Self { clock: Box::new(clock), entries_max, counters: Mutex::default() }
    }

    /// How many counters it holds.
    pub fn len(&self) -> usize {
        self.counters.lock().entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`CounterStore::charge`], which never fails here.
    pub fn charge_now(&self, charges: &[CounterCharge], peek: bool) -> Vec<Decision> {
        let mut counters = self.counters.lock();
        // Read under the lock, so that charges are made in the order of their times.
        let now_us = self.clock.now_us();
        counters.remove_expired(now_us);
        let states: Vec<_> = charges.iter().map(|it| (it.charge, counters.state(&it.key))).collect();
        let outcomes = charge_all(&states, peek, now_us);
        for (CounterCharge { key, charge, .. }, outcome) in charges.iter().zip(&outcomes) {
            if let Some(state) = outcome.next {
                let expires_us = charge.algorithm.expires_us(state);
                counters.put(key, Entry { state, expires_us }, self.entries_max);
            }
        }
        outcomes.into_iter().map(|outcome| outcome.decision).collect()
    }
}

#[async_trait]
impl CounterStore for MemoryCounters {
    async fn charge(&self, charges: &[CounterCharge], peek: bool) -> Result<Vec<Decision>, StoreError> {
        Ok(self.charge_now(charges, peek))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Counters {
    fn state(&self, key: &CounterKey) -> Option<State> {
        self.entries.get(key).map(|entry| entry.state)
    }

    fn put(&mut self, key: &CounterKey, entry: Entry, entries_max: usize) {
        self.by_expiry.insert((entry.expires_us, key.clone()));
        let expires_us = entry.expires_us;
        if let Some(old) = self.entries.insert(key.clone(), entry)
            && old.expires_us != expires_us
        {
            self.by_expiry.remove(&(old.expires_us, key.clone()));
        }
        while self.entries.len() > entries_max && self.remove_first(u64::MAX) {}
    }

    fn remove_expired(&mut self, now_us: u64) {
        for _ in 0..EXPIRED_PER_CHARGE_MAX {
            if !self.remove_first(now_us) {
                return;
            }
        }
    }

    fn remove_first(&mut self, until_us: u64) -> bool {
        let Some((expires_us, _)) = self.by_expiry.first() else { return false };
        if *expires_us > until_us {
            return false;
        }
        if let Some((_, key)) = self.by_expiry.pop_first() {
            self.entries.remove(&key);
        }
        true
    }
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

    use ratelimit_core::{Algorithm, Charge, OnError, Policy, Rule, algorithm::FixedWindow};

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
        let policy = Policy::Limited(algorithm);
        let rule = Rule { name: "r".into(), policy, shadow: false, on_error: OnError::Local };
        CounterCharge {
            key: CounterKey::new("d", [("subject", subject.to_string().as_str())], &rule, &algorithm),
            charge: Charge { algorithm, cost: 1, shadow: false },
            on_error: OnError::Local,
        }
    }

    fn allowed(store: &MemoryCounters, charge: CounterCharge) -> bool {
        store.charge_now(&[charge], false)[0].allowed
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
