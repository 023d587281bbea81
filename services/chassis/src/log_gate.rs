//! Keeps a message that repeats with every call from flooding the log.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

const PAUSE_MS: u64 = 1000;

/// Lets a message through at most once a second. Meant for a `static` beside the message; a metric should count what happened
/// each time.
#[derive(Debug, Default)]
pub struct LogGate {
    closed_until_ms: AtomicU64,
    held_back: AtomicU64,
}

impl LogGate {
    /// An open gate.
    pub const fn new() -> Self {
        Self { closed_until_ms: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// `Some` if the message may be logged now: how many have been held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.pass_at(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let until = self.closed_until_ms.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(PAUSE_MS);
        let passes = now_ms >= until
            && self
                .closed_until_ms
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if passes {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_a_second() {
        let gate = LogGate::new();
        let passed = [0, 1, 999, 1000, 1001, 1999, 7000].map(|ms| gate.pass_at(ms));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, None, Some(2)]);
        assert_eq!((gate.pass(), LogGate::new().pass()), (None, Some(0)));
    }
}
