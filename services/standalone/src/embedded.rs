//! Where one service would call another over the wire, here it calls the library.

use std::sync::Arc;

use async_trait::async_trait;
use counter_worker::adapters::channel::{BatchSender, SendError};
use futures_util::future::join_all;
use ratelimit::{Descriptor, Limiter, Mode, Outcome};
use snippets::{
    adapters::ratelimit::{DOMAIN, subject},
    domain::Caller,
    ports::{BatchPublisher, PendingBatch, PublishError, RateLimitDenial, RateLimiter, WriteDecision},
};

/// The snippets' limiter, over the ratelimit library.
pub(crate) struct EmbeddedLimiter(pub(crate) Arc<Limiter>);

#[async_trait]
impl RateLimiter for EmbeddedLimiter {
    async fn check_write(&self, caller: &Caller) -> WriteDecision {
        let entries = subject(caller).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        match self.0.check(DOMAIN, &[Descriptor { entries, cost: 1, limit: None }], Mode::Charge).await {
            Ok(outcome) => decision(&outcome),
            Err(error) => WriteDecision::Unavailable { reason: error.to_string() },
        }
    }
}

fn decision(outcome: &Outcome) -> WriteDecision {
    let denying = outcome.statuses.iter().filter(|status| !status.shadow && !status.decision.allowed);
    let Some(longest) = denying.max_by_key(|status| status.decision.retry_after) else {
        return WriteDecision::Allowed;
    };
    WriteDecision::Denied(RateLimitDenial {
        rule: longest.rule.to_string(),
        retry_after: outcome.retry_after.unwrap_or_default(),
        limit: longest.limit,
        remaining: longest.decision.remaining,
        reset_after: longest.decision.reset_after,
    })
}

/// The snippets' publisher, over the worker's channel: a batch is safe once it is committed.
pub(crate) struct EmbeddedPublisher(pub(crate) BatchSender);

#[async_trait]
impl BatchPublisher for EmbeddedPublisher {
    async fn publish(&self, batches: &[PendingBatch]) -> Vec<Result<(), PublishError>> {
        // Together, so that the worker can commit them together.
        join_all(batches.iter().map(|batch| self.send(batch))).await
    }
}

impl EmbeddedPublisher {
    async fn send(&self, batch: &PendingBatch) -> Result<(), PublishError> {
        let sent = self.0.send(batch.payload.clone(), batch.trace.clone()).await;
        sent.map_err(|error| match error {
            SendError::Ended => PublishError::Unavailable(error.to_string()),
            SendError::Rejected => PublishError::Refused(error.to_string()),
        })
    }
}
