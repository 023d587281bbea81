//! Remembers who was just denied, so that floods don't reach the counters.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use metrics::{Counter, counter};
use moka::sync::Cache;
use smallvec::SmallVec;

use super::{
    Answer, CounterCharge, CounterKey, CounterStore, Decided, Order, Receipt, ReceiptKey, Refund, StoreError,
};

/// Longest that a denial is remembered, and so longest that a refund, a reset or an edit of the rules elsewhere goes
/// unnoticed.
const REMEMBERED_MAX: Duration = Duration::from_secs(1);
/// Most requests remembered at a time: with their keys some hundred bytes each.
const REQUESTS_MAX: u64 = 10_000;

/// Answers a request that was denied in the same way, until it could pass, and for a second at most.
///
/// What was denied is the request with all its charges: with another cost, or together with another rule, it is
/// another request. Peeks are always asked; so are requests with an id, whose answer is to be kept, and those that
/// would take slots, as these may be given back at any moment.
pub struct DenialMemory<S> {
    counters: S,
    denied: Cache<Request, Denial>,
    hits: Counter,
}

/// What a request asks of counters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request(SmallVec<[Charged; 2]>);

/// A charge, as far as it decides about the answer. A limit that was raised since is not the one that denied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Charged {
    key: CounterKey,
    capacity: u64,
    cost: u64,
    shadow: bool,
}

#[derive(Clone)]
struct Denial {
    decided: Arc<Decided>,
    since: Instant,
    until: Instant,
}

impl<S: CounterStore> DenialMemory<S> {
    /// Remembers what those counters deny.
    pub fn new(counters: S) -> Self {
        let denied = Cache::builder().max_capacity(REQUESTS_MAX).time_to_live(REMEMBERED_MAX).build();
        Self { counters, denied, hits: counter!("ratelimit_denial_memory_hits_total") }
    }

    fn known(&self, request: &Request) -> Option<Answer> {
        let (denial, now) = (self.denied.get(request)?, Instant::now());
        (now < denial.until).then(|| {
            self.hits.increment(1);
            Answer::Decided(denial.at(now))
        })
    }

    fn remember(&self, order: &Order, decided: &Decided, since: Instant) {
        if let Some(denied_for) = denied_for(&order.charges, decided) {
            let decided = Arc::new(decided.clone());
            self.denied.insert(Request::of(order), Denial { decided, since, until: since + denied_for });
        }
    }
}

#[async_trait]
impl<S: CounterStore> CounterStore for DenialMemory<S> {
    fn charge_at_once(&self, order: &Order) -> Option<Answer> {
        let known = is_memorable(order).then(|| self.known(&Request::of(order)))?;
        known.or_else(|| self.counters.charge_at_once(order))
    }

    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError> {
        let since = Instant::now();
        let answer = self.counters.charge(order).await?;
        if let Answer::Decided(decided) = &answer
            && is_memorable(order)
        {
            self.remember(order, decided, since);
        }
        Ok(answer)
    }

    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError> {
        self.counters.receipts(key).await
    }

    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError> {
        let given_back = self.counters.give_back(refund).await;
        // Denials of slots are not remembered, so that giving slots back, which is done all the time, need not forget any.
        if refund.charges.iter().any(|(it, _)| !it.takes_slots()) {
            self.denied.invalidate_all();
        }
        given_back
    }

    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError> {
        let reset = self.counters.reset(counters).await;
        self.denied.invalidate_all();
        reset
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.counters.ping().await
    }
}

/// Whether its denial holds until it could pass.
fn is_memorable(order: &Order) -> bool {
    !order.peek && order.receipt.is_none() && !order.takes_slots()
}

impl Request {
    fn of(order: &Order) -> Self {
        Self(order.charges.iter().map(Charged::from).collect())
    }
}

impl From<&CounterCharge> for Charged {
    fn from(it: &CounterCharge) -> Self {
        Self {
            key: it.key.clone(),
            capacity: it.charge.algorithm.capacity(),
            cost: it.charge.cost,
            shadow: it.charge.shadow,
        }
    }
}

/// How long the request can't pass; `None` if it was allowed.
fn denied_for(charges: &[CounterCharge], decided: &Decided) -> Option<Duration> {
    let decisions = charges.iter().zip(&decided.decisions);
    let denying = decisions.filter(|(it, decision)| !it.charge.shadow && !decision.allowed);
    // What can never pass has no time when it could.
    let waits = denying.map(|(_, decision)| decision.retry_after.unwrap_or(REMEMBERED_MAX));
    waits.max().map(|wait| wait.min(REMEMBERED_MAX))
}

impl Denial {
    /// What it says by now: the same, and all waits are shorter.
    fn at(&self, now: Instant) -> Decided {
        let age = now.saturating_duration_since(self.since);
        let mut decided = (*self.decided).clone();
        for decision in &mut decided.decisions {
            decision.reset_after = decision.reset_after.saturating_sub(age);
            decision.retry_after =
                decision.retry_after.map(|wait| wait.saturating_sub(age).max(SHORTEST_WAIT));
        }
        decided
    }
}

/// A wait of nothing would say that it could pass.
const SHORTEST_WAIT: Duration = Duration::from_micros(1);
