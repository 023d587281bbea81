//! What time it is, for what counts in this process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time in microseconds since some epoch.
pub trait Clock: Send + Sync {
    /// Never less than it said before.
    fn now_us(&self) -> u64;
}

/// The machine's monotonic clock, set to the time of day once.
#[derive(Debug)]
pub struct MonotonicClock {
    started: Instant,
    since_epoch: Duration,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        // A clock set before 1970 counts from zero, which does as well.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), since_epoch }
    }
}

impl Clock for MonotonicClock {
    fn now_us(&self) -> u64 {
        u64::try_from((self.since_epoch + self.started.elapsed()).as_micros()).unwrap_or(u64::MAX)
    }
}
