//! How limits count: pure functions of (state, cost, now), one file for each algorithm.
//!
//! Times are whole microseconds since some epoch, and all arithmetic is on integers, so nothing drifts. The Redis script
//! does the same arithmetic in doubles, which are exact below 2^53; hence every limit is refused at construction whose
//! products could come near ([`EXACT_MAX`]). An epoch time stays below 2^53 until the year 2255.
//!
//! Time never runs backwards for a counter: a `now` before the one last seen counts as the one last seen, so that a
//! failover to a server whose clock is behind gives nothing away.

mod fixed_window;
mod token_bucket;

use std::time::Duration;

pub use fixed_window::{FixedWindow, Window};
pub use token_bucket::{Bucket, TokenBucket};

/// Largest value of any product in the arithmetic, so that sums of two stay exact in a double.
pub const EXACT_MAX: u64 = 1 << 52;
/// Largest limit and burst, as in Envoy's protocol.
pub const LIMIT_MAX: u64 = u32::MAX as u64;
/// Shortest period.
pub const PERIOD_MIN: Duration = Duration::from_millis(1);
/// Longest period: a leap year.
pub const PERIOD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// An algorithm with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `limit` per window of `period`.
    FixedWindow(FixedWindow),
    /// `burst` at once, refilled at `limit` per `period`.
    TokenBucket(TokenBucket),
}

/// What a limit remembers of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Of a [`FixedWindow`].
    Window(Window),
    /// Of a [`TokenBucket`].
    Bucket(Bucket),
}

/// What a limit says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether there is room for the cost.
    pub allowed: bool,
    /// What is left, after the charge if one was made.
    pub remaining: u64,
    /// Until the limit is as if nothing had been charged, or its window ends.
    pub reset_after: Duration,
    /// Until the same cost could pass, never zero; `None` when allowed, and when it can never pass.
    pub retry_after: Option<Duration>,
}

/// Why an algorithm can't have such parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    /// The limit is out of range.
    #[error("limit must be from {min} to {LIMIT_MAX}")]
    Limit {
        /// The smallest that the algorithm can do.
        min: u64,
    },
    /// The burst is out of range.
    #[error("burst must be from 1 to {LIMIT_MAX}")]
    Burst,
    /// The period is out of range.
    #[error("period must be whole microseconds from 1ms to 366days")]
    Period,
    /// The numbers would not stay exact.
    #[error(
        "burst and period are too large together to be counted exactly; take a shorter period or a rounder limit"
    )]
    Inexact,
}

/// A cost that no waiting makes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cost of {cost} can never pass a limit that holds {capacity}")]
pub struct CostAboveCapacity {
    /// The cost asked for.
    pub cost: u64,
    /// The most that passes at once.
    pub capacity: u64,
}

impl Algorithm {
    /// The name it has in rules.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FixedWindow(_) => "fixed_window",
            Self::TokenBucket(_) => "token_bucket",
        }
    }

    /// What passes each period.
    pub fn limit(&self) -> u64 {
        match self {
            Self::FixedWindow(window) => window.limit(),
            Self::TokenBucket(bucket) => bucket.limit(),
        }
    }

    /// The time that the limit is for.
    pub fn period(&self) -> Duration {
        match self {
            Self::FixedWindow(window) => window.period(),
            Self::TokenBucket(bucket) => bucket.period(),
        }
    }

    /// The most that passes at once.
    pub fn capacity(&self) -> u64 {
        match self {
            Self::FixedWindow(window) => window.limit(),
            Self::TokenBucket(bucket) => bucket.burst(),
        }
    }

    /// When that state is as good as none, in microseconds.
    pub fn expires_us(&self, state: State) -> u64 {
        match (self, state) {
            (Self::FixedWindow(window), State::Window(state)) => window.ends_us(state),
            (Self::TokenBucket(bucket), State::Bucket(state)) => bucket.full_us(state),
            // A state of another algorithm says nothing to this one.
            _ => 0,
        }
    }

    /// Refuses a cost that no waiting makes pass. A limit of 0 is no such mistake of the caller: it denies.
    pub fn validate_cost(&self, cost: u64) -> Result<(), CostAboveCapacity> {
        let capacity = self.capacity();
        if cost > capacity && capacity > 0 { Err(CostAboveCapacity { cost, capacity }) } else { Ok(()) }
    }

    /// Whether `cost` could pass now, and what is left now. A state of another algorithm counts as none.
    pub fn peek(&self, state: Option<State>, cost: u64, now_us: u64) -> Decision {
        match (self, state) {
            (Self::FixedWindow(window), Some(State::Window(state))) => window.peek(Some(state), cost, now_us),
            (Self::FixedWindow(window), _) => window.peek(None, cost, now_us),
            (Self::TokenBucket(bucket), Some(State::Bucket(state))) => bucket.peek(Some(state), cost, now_us),
            (Self::TokenBucket(bucket), _) => bucket.peek(None, cost, now_us),
        }
    }

    /// Charges `cost` if there is room: the new state, or `None` where nothing changes because it was denied.
    pub fn charge(&self, state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, Decision) {
        match self {
            Self::FixedWindow(window) => {
                let state = if let Some(State::Window(state)) = state { Some(state) } else { None };
                let (next, decision) = window.charge(state, cost, now_us);
                (next.map(State::Window), decision)
            }
            Self::TokenBucket(bucket) => {
                let state = if let Some(State::Bucket(state)) = state { Some(state) } else { None };
                let (next, decision) = bucket.charge(state, cost, now_us);
                (next.map(State::Bucket), decision)
            }
        }
    }
}

fn period_us(period: Duration) -> Result<u64, InvalidParameters> {
    let whole = period.subsec_nanos().is_multiple_of(1000);
    let micros = u64::try_from(period.as_micros()).map_err(|_| InvalidParameters::Period)?;
    if whole && (PERIOD_MIN..=PERIOD_MAX).contains(&period) {
        Ok(micros)
    } else {
        Err(InvalidParameters::Period)
    }
}
