//! Where the counters are: the port, and its adapters.

mod fallback;
mod key;
mod memory;
#[cfg(feature = "redis")]
mod redis;

use std::error::Error;

use async_trait::async_trait;
use ratelimit_core::{Charge, Decision, OnError};

pub use fallback::Fallback;
pub use key::CounterKey;
pub use memory::MemoryCounters;
#[cfg(feature = "redis")]
pub use redis::{RedisCounters, RedisCountersConfig};

/// Keeps counters and charges them.
#[async_trait]
pub trait CounterStore: Send + Sync {
    /// Decides about all charges of a request at one moment, and charges them all or none, as
    /// [`ratelimit_core::charge_all`] defines it; also against any number of other callers. The decisions come in the
    /// order of the charges. No two charges have the same key. A `peek` charges nothing.
    async fn charge(&self, charges: &[CounterCharge], peek: bool) -> Result<Vec<Decision>, StoreError>;

    /// Whether the counters can be reached.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A charge, and the counter that it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterCharge {
    /// The counter.
    pub key: CounterKey,
    /// The limit and the cost.
    pub charge: Charge,
    /// What holds while the counter can't be reached.
    pub on_error: OnError,
}

/// The counters could not be charged.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer in time. The charge may have been made or not.
    #[error("the counters did not answer in time")]
    TimedOut,
    /// They can't be reached, or refuse. The charge has most likely not been made.
    #[error("the counters are away: {0}")]
    Away(#[source] Box<dyn Error + Send + Sync>),
    /// The answer has not the shape it must have.
    #[error("the counters answered something else: {0}")]
    Malformed(&'static str),
}
