//! Tokens taken in advance, so that the busiest keys are decided without a round trip.

mod key;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use metrics::{Counter, counter};
use moka::sync::Cache;
use parking_lot::Mutex;

use self::key::{HELD_MAX, Key, Paid};
use super::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, Refund, StoreError,
};

/// The metrics.
const TAKEN: &str = "ratelimit_lease_tokens_total";
const WASTED: &str = "ratelimit_lease_tokens_wasted_total";
/// Most keys looked after at a time.
const KEYS_MAX: u64 = 10_000;

/// Takes tokens of hot keys in advance where the rule allows it, and spends them here. The counters have charged them, in a
/// way that keeps the rule's promise whenever they are spent, so more than the limit never passes. What is not spent in
/// time is lost to the others: at most a quarter of what remained, and of what was asked for in the last
/// quarter of a second.
///
/// Requests with an id and peeks go to the counters themselves.
pub struct Leases<S> {
    counters: S,
    keys: Cache<CounterKey, Arc<Mutex<Key>>>,
    taken: Counter,
    wasted: Counter,
}

/// The keys for which a request asks for tokens, until it is answered or given up.
#[derive(Default)]
struct Asking(Vec<Arc<Mutex<Key>>>);

/// What was paid out of hand for a request. It is put back where the request is denied, fails or is given up on.
struct Payment<'a, S: CounterStore> {
    leases: &'a Leases<S>,
    order: &'a Order,
    paid: Vec<Option<Paid>>,
}

impl<S: CounterStore> Leases<S> {
    /// Leases from those counters.
    pub fn new(counters: S) -> Self {
        let (taken, wasted) = (counter!(TAKEN), counter!(WASTED));
        let keys = Cache::builder().max_capacity(KEYS_MAX).time_to_idle(2 * HELD_MAX);
        let lost = wasted.clone();
        let keys = keys.eviction_listener(move |_, key: Arc<Mutex<Key>>, _| {
            lost.increment(key.lock().lose_all());
        });
        Self { counters, keys: keys.build(), taken, wasted }
    }

    fn key(&self, key: &CounterKey) -> Arc<Mutex<Key>> {
        self.keys.get_with_by_ref(key, || Arc::new(Mutex::new(Key::new(Instant::now()))))
    }

    /// Pays what it can out of hand; `None` where the counters are to be asked.
    fn pay(&self, order: &Order, now: Instant) -> Vec<Option<Paid>> {
        let pay = |it: &CounterCharge| {
            let key = (it.lease > 0).then(|| self.key(&it.key))?;
            let mut key = key.lock();
            self.wasted.increment(key.lose(now));
            key.pay(it.charge.cost, now)
        };
        order.charges.iter().map(pay).collect()
    }

    /// The charges that are not paid, and how much may be leased with each.
    fn rest(&self, order: &Order, paid: &[Option<Paid>], asking: &mut Asking, now: Instant) -> Order {
        let unpaid = order.charges.iter().zip(paid).filter(|(_, paid)| paid.is_none());
        let charges =
            unpaid.map(|(it, _)| CounterCharge { lease: self.wanted(it, asking, now), ..it.clone() });
        Order { charges: charges.collect(), ..order.clone() }
    }

    fn wanted(
        &self,
        CounterCharge { key, charge, lease, .. }: &CounterCharge,
        asking: &mut Asking,
        now: Instant,
    ) -> u64 {
        if *lease == 0 { 0 } else { asking.ask(self.key(key), charge.cost, *lease, now) }
    }

    fn take(&self, rest: &Order, decided: &Decided, asked: Instant) {
        for (place, grant) in &decided.grants {
            let (Some(charge), Some(told)) = (rest.charges.get(*place), decided.decisions.get(*place)) else {
                continue;
            };
            self.taken.increment(grant.tokens);
            let lost = self.key(&charge.key).lock().take(*grant, *told, asked);
            self.wasted.increment(lost);
        }
    }

    /// Puts back what was paid for a request that was denied.
    fn put_back(&self, order: &Order, paid: &[Option<Paid>]) {
        for (charge, paid) in order.charges.iter().zip(paid) {
            if let Some(paid) = paid {
                let lost = self.key(&charge.key).lock().put_back(charge.charge.cost, paid.until);
                self.wasted.increment(lost);
            }
        }
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for Leases<S> {
    fn charge_at_once(&self, order: &Order) -> Option<Answer> {
        if order.charges.iter().all(|it| it.lease == 0) {
            return self.counters.charge_at_once(order);
        }
        if order.peek || order.receipt.is_some() {
            return None;
        }
        let paid = Payment { leases: self, order, paid: self.pay(order, Instant::now()) };
        let is_all = paid.paid.iter().all(Option::is_some);
        is_all.then(|| Answer::Decided(merge(paid.spend(), Decided::default())))
    }

    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        if order.charges.iter().all(|it| it.lease == 0) {
            return self.counters.charge(order).await;
        }
        if order.peek || order.receipt.is_some() {
            return self.counters.charge(&Arc::new(without_leases(order))).await;
        }
        let now = Instant::now();
        let paid = Payment { leases: self, order, paid: self.pay(order, now) };
        let mut asking = Asking::default();
        let rest = Arc::new(self.rest(order, &paid.paid, &mut asking, now));
        if rest.charges.is_empty() {
            return Ok(Answer::Decided(merge(paid.spend(), Decided::default())));
        }
        let answer = match self.counters.charge_at_once(&rest) {
            Some(answer) => answer,
            None => self.counters.charge(&rest).await?,
        };
        let Answer::Decided(decided) = answer else {
            return Err(StoreError::Malformed("a receipt that was not asked for"));
        };
        self.take(&rest, &decided, now);
        let denied = rest.is_denied(&decided.decisions);
        let paid = if denied { paid.paid.clone() } else { paid.spend() };
        Ok(Answer::Decided(merge(paid, decided)))
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        self.counters.receipts(key).await
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        self.counters.give_back(refund).await
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        let reset = self.counters.reset(counters).await;
        for key in counters {
            self.keys.invalidate(key);
        }
        reset
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}

impl<S: CounterStore> Payment<'_, S> {
    fn spend(mut self) -> Vec<Option<Paid>> {
        std::mem::take(&mut self.paid)
    }
}

impl<S: CounterStore> Drop for Payment<'_, S> {
    fn drop(&mut self) {
        self.leases.put_back(self.order, &self.paid);
    }
}

/// Meters tokens that were taken and never reached who asked for them.
#[cfg(feature = "redis")]
pub(super) fn waste_unseen(tokens: u64) {
    if tokens > 0 {
        counter!(TAKEN).increment(tokens);
        counter!(WASTED).increment(tokens);
    }
}

/// The same order, with which nothing is taken in advance.
fn without_leases(order: &Order) -> Order {
    let mut order = order.clone();
    order.charges.iter_mut().for_each(|it| it.lease = 0);
    order
}

/// The decisions in the order of the charges.
fn merge(paid: Vec<Option<Paid>>, decided: Decided) -> Decided {
    let mut asked = decided.decisions.into_iter();
    let decisions =
        paid.into_iter().filter_map(|paid| paid.map(|paid| paid.decision).or_else(|| asked.next())).collect();
    Decided { at_us: decided.at_us, decisions, grants: Vec::new() }
}

impl Asking {
    /// How many tokens to ask for with a request of that cost, at most so many.
    fn ask(&mut self, key: Arc<Mutex<Key>>, cost: u64, most: u64, now: Instant) -> u64 {
        let wanted = key.lock().ask(cost, most, now);
        if wanted > 0 {
            self.0.push(key);
        }
        wanted
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        for key in &self.0 {
            key.lock().asking = false;
        }
    }
}
