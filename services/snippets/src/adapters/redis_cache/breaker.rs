//! Remembers that Redis hung.

use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How long commands are not even tried. Short: what fails meanwhile is served by the store.
const PAUSE: Duration = Duration::from_millis(500);

/// Lets every command through until one hangs, and then one in each pause, until that is answered.
#[derive(Debug)]
pub(super) struct Breaker {
    hung: AtomicBool,
    next_try: Mutex<Instant>,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { hung: AtomicBool::new(false), next_try: Mutex::new(Instant::now()) }
    }

    /// Whether to try the command.
    pub(super) fn lets_through(&self) -> bool {
        if !self.hung.load(Ordering::Relaxed) {
            return true;
        }
        let mut next_try = self.next_try.lock();
        let now = Instant::now();
        if now < *next_try {
            return false;
        }
        *next_try = now + PAUSE;
        true
    }

    /// A command was answered, well or badly.
    pub(super) fn answered(&self) {
        if self.hung.load(Ordering::Relaxed) {
            self.hung.store(false, Ordering::Relaxed);
        }
    }

    /// A command was not answered in time.
    pub(super) fn hung(&self) {
        *self.next_try.lock() = Instant::now() + PAUSE;
        self.hung.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_per_pause_until_one_is_answered() {
        let breaker = Breaker::new();
        assert!(breaker.lets_through() && breaker.lets_through());
        breaker.hung();
        assert!(!breaker.lets_through());
        *breaker.next_try.lock() = Instant::now();
        assert!(breaker.lets_through());
        assert!(!breaker.lets_through());
        breaker.answered();
        assert!(breaker.lets_through() && breaker.lets_through());
    }
}
