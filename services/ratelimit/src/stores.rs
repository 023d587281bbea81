//! Where the counters are: the port, and its adapters.

mod breaker;
mod denied;
mod fallback;
mod key;
mod lease;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use ratelimit_core::{Algorithm, Charge, Decision, OnError};

pub use breaker::{Breaker, Prober, Watch};
pub use denied::DenialMemory;
pub use fallback::Fallback;
pub use key::{CounterKey, ReceiptKey};
pub use lease::Leases;
pub use memory::MemoryCounters;
#[cfg(feature = "redis")]
pub use redis::{InvalidAddress, RedisAddress, RedisCounters, RedisCountersConfig};

/// Keeps counters and charges them.
#[async_trait]
pub trait CounterStore: Send + Sync {
    /// Decides about an order where that takes no waiting: the counters are here, or what they would say is known. Is asked
    /// before [`charge`](Self::charge).
    fn charge_at_once(&self, _: &Order) -> Option<Answer> {
        None
    }

    /// Decides about all charges of a request at one moment, and charges them all or none, as
    /// [`ratelimit_core::charge_all`] defines it; also against any number of other callers. If there is a receipt of the
    /// request already, then that is the answer, and nothing is charged.
    async fn charge(&self, order: &Arc<Order>) -> Result<Answer, StoreError>;

    /// The receipts with that key: none or one, and one more where the request was also charged while the counters were away.
    async fn receipts(&self, key: &ReceiptKey) -> Result<Vec<Receipt>, StoreError>;

    /// Takes back what was charged, as far as it still counts. False where the receipt is gone or was given back before:
    /// then nothing changes.
    async fn give_back(&self, refund: &Refund) -> Result<bool, StoreError>;

    /// Forgets counters.
    async fn reset(&self, counters: &[CounterKey]) -> Result<(), StoreError>;

    /// Whether the counters can be reached.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// The charges of one request.
#[derive(Debug, Clone)]
pub struct Order {
    /// No two of them have the same key.
    pub charges: Vec<CounterCharge>,
    /// Only looks. No receipt is kept of it.
    pub peek: bool,
    /// Names the slots that are taken of limits on concurrency.
    pub slot: Arc<str>,
    /// Keeps the answer for a repeated request and for a refund.
    pub receipt: Option<ReceiptOrder>,
}

impl Order {
    /// Whether those decisions deny it.
    pub fn is_denied(&self, decisions: &[Decision]) -> bool {
        self.charges.iter().zip(decisions).any(|(it, decision)| !it.charge.shadow && !decision.allowed)
    }

    /// Whether a charge takes slots, which have names.
    pub fn takes_slots(&self) -> bool {
        self.charges.iter().any(CounterCharge::takes_slots)
    }
}

/// A receipt that is wanted.
#[derive(Debug, Clone)]
pub struct ReceiptOrder {
    /// Of the request.
    pub key: ReceiptKey,
    /// Kept with the answer.
    pub memo: Bytes,
    /// How long it is kept where the request is allowed.
    pub kept_for: Duration,
    /// How long it is kept where the request is denied.
    pub kept_if_denied: Duration,
}

/// A charge, and the counter that it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterCharge {
    /// The counter.
    pub key: CounterKey,
    /// The limit and the cost.
    pub charge: Charge,
    /// How much may be taken in advance, to be spent by this process alone.
    pub lease: u64,
    /// What holds while the counter can't be reached.
    pub on_error: OnError,
}

impl CounterCharge {
    /// Whether it takes slots, which have names.
    pub fn takes_slots(&self) -> bool {
        matches!(self.charge.algorithm, Algorithm::Concurrency(_))
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was decided now.
    Decided(Decided),
    /// The request was answered before.
    Known(Receipt),
}

/// Decisions of one moment, in the order of their charges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// When, in microseconds of the store's clock.
    pub at_us: u64,
    /// One for each charge.
    pub decisions: Vec<Decision>,
    /// What was taken in advance, by the place of the charge.
    pub grants: Vec<(usize, Grant)>,
}

/// What was taken of a limit in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// How much.
    pub tokens: u64,
    /// How long it may be spent.
    pub good_for: Duration,
}

/// What is kept of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The answer.
    pub decided: Decided,
    /// As it was ordered.
    pub memo: Bytes,
    /// It has been refunded.
    pub given_back: bool,
    /// It is of this process alone, while the counters were away.
    pub local: bool,
}

/// What was charged and is to be given back.
#[derive(Debug, Clone)]
pub struct Refund {
    /// What was charged, each with what it was told.
    pub charges: Vec<(CounterCharge, Decision)>,
    /// When, in microseconds of the store's clock.
    pub charged_us: u64,
    /// What took slots.
    pub slot: Arc<str>,
    /// Is marked as given back, so that it is only once.
    pub receipt: Option<ReceiptKey>,
    /// What was charged is of this process alone, as [`Receipt::local`] says.
    pub local: bool,
}

/// The counters could not be charged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No answer in time. The charge may have been made or not.
    #[error("the counters did not answer in time")]
    TimedOut,
    /// They have not answered lately, and were not asked.
    #[error("the counters are known to be away")]
    KnownAway,
    /// They refuse. The charge has not been made.
    #[error("the counters refuse: {0}")]
    Refused(#[source] Arc<dyn Error + Send + Sync>),
    /// They can't be reached. The charge has most likely not been made.
    #[error("the counters are away: {0}")]
    Away(#[source] Arc<dyn Error + Send + Sync>),
    /// The answer has not the shape it must have.
    #[error("the counters answered something else: {0}")]
    Malformed(&'static str),
}
