//! What a service says about itself.

use anyhow::ensure;
use stack::{Service, eventually, http_get};

use crate::PATIENCE;

/// Waits until `/readyz` names `dependency` as down, and demands 200 all the while: a shared dependency's death must
/// not empty the load balancer.
pub async fn until_degraded(service: &Service, dependency: &str) -> anyhow::Result<()> {
    let named = eventually(PATIENCE, async || {
        let answer = http_get(service.admin_addr(), "/readyz").await?;
        let names_it = answer.body.lines().any(|line| line.starts_with(&format!("{dependency}: ")));
        ensure!(names_it || answer.status != 200, "{} says {answer:?}", service.name());
        Ok(answer)
    });
    let answer = named.await?;
    ensure!(answer.status == 200, "{} says {answer:?}", service.name());
    Ok(())
}

/// Waits until `/readyz` is 200 and names nothing as down.
pub async fn until_ready(service: &Service) -> anyhow::Result<()> {
    let ready = eventually(PATIENCE, async || {
        let answer = http_get(service.admin_addr(), "/readyz").await?;
        let all_there = answer.status == 200 && answer.body == "ready\n";
        ensure!(all_there, "{} says {answer:?}", service.name());
        Ok(())
    });
    ready.await
}

/// A counter, as a whole number; 0 if it is not there yet.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small and not negative"
)]
pub async fn metric(service: &Service, selector: &str) -> anyhow::Result<u64> {
    Ok(service.metric(selector).await?.round() as u64)
}
