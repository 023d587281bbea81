//! What Redis' clock says, as far as it is known here.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::clock::{Clock as _, MachineClock};

/// This process' clock, set by the answers of Redis. Limits are decided by the time that Redis tells; this guess only
/// says which day, week or month a quota's request is likely to fall in.
#[derive(Debug, Default)]
pub(super) struct RedisClock {
    local: MachineClock,
    ahead_us: AtomicI64,
}

impl RedisClock {
    pub(super) fn now_us(&self) -> u64 {
        self.local.now_us().saturating_add_signed(self.ahead_us.load(Ordering::Relaxed))
    }

    /// Redis just said that time.
    pub(super) fn set(&self, now_us: u64) {
        let ahead_us = i128::from(now_us) - i128::from(self.local.now_us());
        self.ahead_us.store(i64::try_from(ahead_us).unwrap_or(0), Ordering::Relaxed);
    }
}
