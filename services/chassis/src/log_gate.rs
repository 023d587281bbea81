//! Keeps a message that repeats with every call from flooding the log.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Lets a message through at most once a second, or so often. Meant for a `static` beside the message; a metric should count
/// what happened each time.
#[derive(Debug)]
pub struct LogGate {
    pause_ms: u64,
    closed_until_ms: AtomicU64,
    held_back: AtomicU64,
}

impl LogGate {
    /// Lets one a second through.
    pub const fn new() -> Self {
        Self::pausing(1000)
    }

    /// Lets so many a second through, up to 1000, and evenly: `None` at 0.
    pub fn per_second(messages: u64) -> Option<Self> {
        1000_u64.checked_div(messages).map(Self::pausing)
    }

    const fn pausing(pause_ms: u64) -> Self {
        Self { pause_ms, closed_until_ms: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// `Some` if the message may be logged now: how many have been held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.pass_at(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let until = self.closed_until_ms.load(Ordering::Relaxed);
        let next = now_ms.saturating_add(self.pause_ms);
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

impl Default for LogGate {
    fn default() -> Self {
        Self::new()
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

    #[test]
    fn so_many_a_second() {
        let gate = LogGate::per_second(4).unwrap();
        assert_eq!(
            [0, 249, 250, 499, 500].map(|ms| gate.pass_at(ms)),
            [Some(0), None, Some(1), None, Some(1)]
        );
        assert!(LogGate::per_second(0).is_none());
    }
}
