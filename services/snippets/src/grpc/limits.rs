//! What a caller is charged, and how it is told of a limit.

use chassis::LogGate;

use super::error::ApiError;
use crate::{
    domain::Caller,
    ports::{Charge, LimitDecision, RateLimitDenial, RateLimiter},
};

/// Charges the caller, or refuses its call. A call that nobody can judge passes.
pub(crate) async fn charge(
    limiter: &dyn RateLimiter,
    caller: Option<&Caller>,
    charge: Charge,
) -> Result<(), ApiError> {
    let known = caller.ok_or(ApiError::Bug("the call was not authenticated"))?;
    match limiter.check(known, charge).await {
        LimitDecision::Allowed => Ok(()),
        LimitDecision::Denied(denial) => Err(refusal(caller, denial)),
        LimitDecision::NeverFits => Err(ApiError::NeverFits),
        LimitDecision::Unavailable { reason } => {
            fail_open(charge, &reason);
            Ok(())
        }
    }
}

/// The error of a caller that is over a limit.
pub(super) fn refusal(caller: Option<&Caller>, denial: RateLimitDenial) -> ApiError {
    let kind = if caller.and_then(Caller::account_id).is_some() { "account" } else { "address" };
    let name = caller.map(Caller::limited_as).unwrap_or_default();
    ApiError::RateLimited { subject: format!("{kind}:{name}"), denial }
}

/// Counts every call that passed unchecked, and warns at most once a second.
fn fail_open(charge: Charge, reason: &str) {
    static WARNINGS: LogGate = LogGate::new();
    let counter = match charge {
        Charge::Nothing | Charge::Write { .. } => metrics::counter!("snippets_unchecked_writes_total"),
        Charge::Misses { .. } => metrics::counter!("snippets_unchecked_misses_total"),
    };
    counter.increment(1);
    if let Some(held_back) = WARNINGS.pass() {
        tracing::warn!(reason, held_back, "the limiter can't be asked, calls pass unchecked");
    }
}
