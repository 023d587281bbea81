//! The time since a schedule began, by which everything is told.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Begins with its making.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// It is 0 now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }

    /// The moment at which it is that time.
    pub fn at(self, time: Duration) -> Instant {
        self.0 + time
    }

    /// Waits for that time.
    pub async fn wait_for(self, time: Duration) {
        sleep_until(self.at(time)).await;
    }

    /// Prints what happens now.
    pub fn say(self, what: impl fmt::Display) {
        println!("[{:8.3}] {what}", self.now().as_secs_f64());
    }
}
