//! Which copies may be believed after Redis was out of reach.

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, Instant},
};

/// Whoever had not reached Redis for so long may find copies there that should have been invalidated meanwhile. After a shorter
/// while the replica that owes it has told Redis, and by it the others, before its second is over.
const OUTAGE_MIN: Duration = Duration::from_secs(1);
/// How much later than this replica another may reach Redis again and pay what it owes, and how far their clocks may differ.
const GRACE: TimeDelta = TimeDelta::seconds(2);

/// Remembers when Redis was last back.
///
/// A copy that was stored before cannot be told from one of which the invalidation got lost on its way, or waits with the
/// replica that owes it. One that was stored since was read from the store when all that was owed had been paid.
#[derive(Debug, Default)]
pub(super) struct Trust {
    failing: AtomicBool,
    failing_since: Mutex<Option<Instant>>,
    /// In microseconds since 1970.
    stored_since: AtomicI64,
}

impl Trust {
    /// Redis was not reached.
    pub(super) fn failed(&self) {
        self.failing_since.lock().get_or_insert_with(Instant::now);
        self.failing.store(true, Ordering::Release);
    }

    /// Redis has answered.
    pub(super) fn answered(&self) {
        if !self.failing.load(Ordering::Acquire) {
            return;
        }
        let mut failing_since = self.failing_since.lock();
        if failing_since.take().is_some_and(|since| since.elapsed() >= OUTAGE_MIN) {
            self.stored_since.store((Utc::now() + GRACE).timestamp_micros(), Ordering::Release);
        }
        self.failing.store(false, Ordering::Release);
    }

    /// Whether a copy that was stored then is as good as the store.
    pub(super) fn covers(&self, stored: DateTime<Utc>) -> bool {
        stored.timestamp_micros() >= self.stored_since.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_before_an_outage_ended_is_not_believed() {
        let trust = Trust::default();
        let long_ago = DateTime::UNIX_EPOCH;
        trust.failed();
        trust.answered();
        assert!(trust.covers(long_ago), "it was short");
        *trust.failing_since.lock() = Instant::now().checked_sub(OUTAGE_MIN);
        trust.failed();
        trust.answered();
        let back = Utc::now();
        assert!(!trust.covers(long_ago) && !trust.covers(back));
        assert!(trust.covers(back + GRACE));
        // What follows at once is another outage, and a short one.
        trust.failed();
        trust.answered();
        assert!(trust.covers(back + GRACE));
    }
}
