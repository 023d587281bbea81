//! Waiting for a condition, with a deadline: what a test does instead of sleeping.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

const POLL_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` holds; fails naming `what` when it does not `within` the time given.
pub async fn until(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + within;
    while !condition().await {
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain until {what}");
        }
        sleep(POLL_EVERY).await;
    }
    Ok(())
}

/// Repeats `attempt` until it succeeds and gives its result, or its last error when it has not succeeded
/// `within` the time given.
pub async fn eventually<T>(
    within: Duration,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("still failing after {within:?}")));
            }
            Err(_) => sleep(POLL_EVERY).await,
        }
    }
}
