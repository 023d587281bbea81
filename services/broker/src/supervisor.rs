//! The pace at which a lost connection is tried again.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

use crate::Status;

/// The first pause after a failure; each one after it is twice as long, plus up to as much again by chance, so
/// that a fleet does not come back in step.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause, before the addition by chance.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection that worked for this long was a success: the next failure begins with the shortest pause
/// again. One that dies sooner was not, or a broker that accepts and drops us would be called in a hot loop.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Paces the attempts of one role (such as `view publisher`) to be connected: exponential backoff with
/// jitter and a cap, for ever, and from the start again after a success.
///
/// ```no_run
/// # async fn session(supervisor: &mut broker::Supervisor) -> Result<(), broker::BrokerError> { Ok(()) }
/// # async fn run(stop: tokio_util::sync::CancellationToken) {
/// let mut supervisor = broker::Supervisor::new("view publisher");
/// while !stop.is_cancelled() {
///     // Connects, declares, calls `supervisor.opened()`, and works until something fails.
///     if let Err(error) = session(&mut supervisor).await {
///         supervisor.pause(&error, &stop).await;
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Supervisor {
    role: &'static str,
    pauses: ExponentialBackoff,
    opened_at: Option<Instant>,
    status: Status,
}

impl Supervisor {
    /// A supervisor for `role`, which names it in logs and metrics.
    pub fn new(role: &'static str) -> Self {
        Self { role, pauses: pauses(), opened_at: None, status: Status::default() }
    }

    /// Tells for as long as anybody wants to know whether the session is open.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Notes that the session is open and can do its work.
    pub fn opened(&mut self) {
        tracing::info!(role = self.role, "connected to the broker");
        self.opened_at = Some(Instant::now());
        self.status.opened();
    }

    /// Logs and counts the failure, and waits before the next attempt; returns early when `stop` is cancelled.
    pub async fn pause(&mut self, cause: &(dyn Error + Sync), stop: &CancellationToken) {
        self.status.failed(cause);
        let pause = self.next_pause();
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(role = self.role, error = %cause, pause_ms, "the broker is unavailable");
        metrics::counter!("broker_connection_failures_total", "role" => self.role).increment(1);
        let _stopped = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    fn next_pause(&mut self) -> Duration {
        if self.opened_at.take().is_some_and(|opened_at| opened_at.elapsed() >= SETTLED_AFTER) {
            self.pauses = pauses();
        }
        self.pauses.next().unwrap_or(PAUSE_MAX)
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerError;

    #[test]
    fn pauses_grow_to_a_cap_and_never_end() {
        let mut supervisor = Supervisor::new("test");
        let pauses: Vec<Duration> = (0..100).map(|_| supervisor.next_pause()).collect();
        assert!(pauses[0] >= PAUSE_MIN && pauses[0] <= 2 * PAUSE_MIN);
        assert!(pauses[99] >= PAUSE_MAX && pauses[99] <= 2 * PAUSE_MAX);
    }

    #[test]
    fn only_a_session_that_lasted_resets_the_pause() {
        let mut supervisor = Supervisor::new("test");
        for _ in 0..10 {
            supervisor.opened_at = Some(Instant::now());
            supervisor.next_pause();
        }
        assert!(supervisor.next_pause() >= PAUSE_MAX, "a broker that drops us at once is not hammered");
        supervisor.opened_at = Instant::now().checked_sub(SETTLED_AFTER);
        assert!(supervisor.next_pause() <= 2 * PAUSE_MIN);
    }

    #[tokio::test]
    async fn a_stop_ends_the_longest_pause() {
        let (mut supervisor, stop) = (Supervisor::new("test"), CancellationToken::new());
        for _ in 0..10 {
            supervisor.next_pause();
        }
        let since = Instant::now();
        tokio::join!(supervisor.pause(&BrokerError::Ended, &stop), async { stop.cancel() });
        assert!(since.elapsed() < PAUSE_MAX, "took {:?}", since.elapsed());
    }

    #[tokio::test]
    async fn the_status_says_why_there_is_no_session() {
        let (mut supervisor, stop) = (Supervisor::new("test"), CancellationToken::new());
        let status = supervisor.status();
        assert_eq!(status.check(), Err("not connected yet".to_owned()));
        stop.cancel();
        supervisor.pause(&BrokerError::Timeout("connect"), &stop).await;
        assert_eq!(status.check(), Err("the broker did not answer connect in time".to_owned()));
        supervisor.opened();
        assert_eq!(status.check(), Ok(()));
    }
}
