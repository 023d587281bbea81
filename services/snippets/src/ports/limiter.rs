//! Limiting callers.

use crate::domain::Caller;
use async_trait::async_trait;
use std::time::Duration;

/// What a caller is to be charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// One write, whose request has so many bytes.
    Write {
        /// 0 for one that stores nothing.
        bytes: u64,
    },
    /// Reads of what is not there, or not for the caller to read.
    Misses {
        /// How many.
        count: u64,
    },
    /// Nothing yet: whether it may write at all, before it is known how much.
    Nothing,
}

/// Whether a caller may go on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitDecision {
    /// Yes; it was charged.
    Allowed,
    /// No, it has used up a limit.
    Denied(RateLimitDenial),
    /// No, and waiting does not help: it is more than a limit ever lets pass at once.
    NeverFits,
    /// Nobody can tell. The service lets the call through, and says so in a metric and the log.
    Unavailable {
        /// What went wrong; for the log.
        reason: String,
    },
}

/// The limit that a caller has used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitDenial {
    /// The name of the rule that denies for the longest.
    pub rule: String,
    /// After how long the same call can pass; more than zero.
    pub retry_after: Duration,
    /// How many calls the rule allows in its period.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// After how long the rule is back at its full limit.
    pub reset_after: Duration,
}

/// Limits what callers do.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Charges the caller, if all of its limits allow; else nothing.
    async fn check(&self, caller: &Caller, charge: Charge) -> LimitDecision;
}
