//! Where one service would call another over the wire, here it calls the library.

use std::sync::Arc;

use async_trait::async_trait;
use counter_worker::adapters::channel::{BatchSender, SendError};
use futures_util::future::join_all;
use ratelimit::{CheckError, Descriptor, Limiter, Mode, Outcome};
use snippets::{
    adapters::ratelimit::{DOMAIN, Entries, descriptors},
    domain::Caller,
    ports::{
        BatchPublisher, Charge, LimitDecision, PendingBatch, PublishError, RateLimitDenial, RateLimiter,
    },
};

/// The snippets' limiter, over the ratelimit library.
pub(crate) struct EmbeddedLimiter(pub(crate) Arc<Limiter>);

#[async_trait]
impl RateLimiter for EmbeddedLimiter {
    async fn check(&self, caller: &Caller, charge: Charge) -> LimitDecision {
        let descriptors: Vec<_> = descriptors(caller, charge).map(descriptor).collect();
        let mode = if charge == Charge::Nothing { Mode::Peek } else { Mode::Charge };
        match self.0.check(DOMAIN, &descriptors, mode).await {
            Ok(outcome) => decision(&outcome),
            Err(CheckError::CostAboveCapacity { .. }) => LimitDecision::NeverFits,
            Err(error) => LimitDecision::Unavailable { reason: error.to_string() },
        }
    }
}

fn descriptor((entries, cost): (Entries, u64)) -> Descriptor {
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Descriptor { entries, cost, limit: None }
}

fn decision(outcome: &Outcome) -> LimitDecision {
    let denying = outcome.statuses.iter().filter(|status| !status.shadow && !status.decision.allowed);
    let Some(longest) = denying.max_by_key(|status| status.decision.retry_after) else {
        return LimitDecision::Allowed;
    };
    LimitDecision::Denied(RateLimitDenial {
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
