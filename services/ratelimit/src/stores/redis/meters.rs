//! The metrics of script calls.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// Looked up once.
pub(super) struct Meters {
    answered: Histogram,
    failed: Histogram,
    orders: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            answered: histogram!("ratelimit_redis_seconds", "outcome" => "ok"),
            failed: histogram!("ratelimit_redis_seconds", "outcome" => "failed"),
            orders: counter!("ratelimit_redis_orders_total"),
        }
    }
}

impl Meters {
    /// A batch of so many orders took so long.
    pub fn record(&self, took: Duration, orders: usize, answered: bool) {
        if answered { &self.answered } else { &self.failed }.record(took);
        self.orders.increment(orders as u64);
    }
}
