//! What parameters there may be.

use std::time::Duration;

/// Largest value of any product in the arithmetic, so that sums of two stay exact in a double.
pub const EXACT_MAX: u64 = 1 << 52;
/// Largest limit and burst, as in Envoy's protocol.
pub const LIMIT_MAX: u64 = u32::MAX as u64;
/// Shortest period.
pub const PERIOD_MIN: Duration = Duration::from_millis(1);
/// Longest period: a leap year.
pub const PERIOD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Why an algorithm can't have such parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    /// The limit is out of range.
    #[error("limit must be from {min} to {max}")]
    Limit {
        /// The smallest that the algorithm can do.
        min: u64,
        /// The largest.
        max: u64,
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

pub(super) fn period_us(period: Duration) -> Result<u64, InvalidParameters> {
    let whole = period.subsec_nanos().is_multiple_of(1000);
    let micros = u64::try_from(period.as_micros()).map_err(|_| InvalidParameters::Period)?;
    if whole && (PERIOD_MIN..=PERIOD_MAX).contains(&period) {
        Ok(micros)
    } else {
        Err(InvalidParameters::Period)
    }
}

pub(super) fn validate_limit(limit: u64, min: u64, max: u64) -> Result<(), InvalidParameters> {
    if (min..=max).contains(&limit) { Ok(()) } else { Err(InvalidParameters::Limit { min, max }) }
}
