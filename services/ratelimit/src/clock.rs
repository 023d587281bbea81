//! What time it is, for what counts in this process.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time in microseconds since some epoch.
pub trait Clock: Send + Sync {
    /// Never less than it said before.
    fn now_us(&self) -> u64;
}

/// The machine's time of day. It follows corrections forward, as after a sleep; where the time of day is set back, it goes
/// on from where it was.
#[derive(Debug)]
pub struct MachineClock {
    started: Instant,
    /// The time of day when it was started, as it is known by now.
    started_at_us: AtomicU64,
}

impl Default for MachineClock {
    fn default() -> Self {
        Self { started: Instant::now(), started_at_us: AtomicU64::new(0) }
    }
}

impl Clock for MachineClock {
    fn now_us(&self) -> u64 {
        let elapsed_us = micros(self.started.elapsed());
        // A clock set before 1970 counts from zero, which does as well.
        let time_of_day_us = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.at(elapsed_us, time_of_day_us)
    }
}

impl MachineClock {
    fn at(&self, elapsed_us: u64, time_of_day_us: u64) -> u64 {
        let started_at_us = time_of_day_us.saturating_sub(elapsed_us);
        elapsed_us + self.started_at_us.fetch_max(started_at_us, Ordering::Relaxed).max(started_at_us)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_time_of_day_forward_and_never_back() {
        let clock = MachineClock::default();
        let day = 86_400_000_000;
        assert_eq!(clock.at(10, day + 10), day + 10);
        assert_eq!(clock.at(20, 2 * day), 2 * day, "after a sleep");
        assert_eq!(clock.at(30, day), 2 * day + 10, "set back, it goes on");
        assert_eq!(clock.at(40, 2 * day + 20), 2 * day + 20);
    }

    #[test]
    fn it_tells_the_time_of_day() {
        let time_of_day = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let (first, second) = (MachineClock::default().now_us(), MachineClock::default().now_us());
        assert!(time_of_day <= first && first <= second);
    }
}
