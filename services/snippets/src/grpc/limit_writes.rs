//! Charges each write to its caller before the request is even decoded.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use chassis::LogGate;
use tonic::Status;

use super::{WRITE_REQUEST_BYTES_MAX, error::ApiError, message_head::MessageHead};
use crate::{
    domain::Caller,
    ports::{Charge, LimitDecision, RateLimiter},
};

/// Middleware: answers a write over its caller's limit. A write that nobody can judge passes. It is charged for the bytes that it
/// says it will send; one that is refused for what it says is not charged.
pub(super) async fn limit_writes(
    State(limiter): State<Arc<dyn RateLimiter>>,
    request: Request,
    next: Next,
) -> Response {
    match charged(&*limiter, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}

/// Middleware: the same for a write that stores nothing.
pub(super) async fn limit_deletes(
    State(limiter): State<Arc<dyn RateLimiter>>,
    request: Request,
    next: Next,
) -> Response {
    match charge(&*limiter, request.extensions().get(), Charge::Write { bytes: 0 }).await {
        Ok(()) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}

async fn charged(limiter: &dyn RateLimiter, request: Request) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let (head, body) = MessageHead::read(body).await;
    let head = head.filter(|head| head.is_plain() && head.bytes as usize <= WRITE_REQUEST_BYTES_MAX);
    if let Some(MessageHead { bytes, .. }) = head {
        charge(limiter, parts.extensions.get(), Charge::Write { bytes: bytes.into() }).await?;
    }
    Ok(Request::from_parts(parts, body))
}

/// Charges the caller, or refuses its call.
pub(crate) async fn charge(
    limiter: &dyn RateLimiter,
    caller: Option<&Caller>,
    charge: Charge,
) -> Result<(), ApiError> {
    let caller = caller.ok_or(ApiError::Bug("the call was not authenticated"))?;
    match limiter.check(caller, charge).await {
        LimitDecision::Allowed => Ok(()),
        LimitDecision::Denied(denial) => Err(ApiError::RateLimited { subject: subject(caller), denial }),
        LimitDecision::NeverFits => Err(ApiError::NeverFits),
        LimitDecision::Unavailable { reason } => {
            fail_open(&reason);
            Ok(())
        }
    }
}

/// Who is limited.
fn subject(caller: &Caller) -> String {
    let kind = if caller.account_id().is_some() { "account" } else { "address" };
    format!("{kind}:{}", caller.limited_as())
}

/// Counts every write that passed unchecked, and warns at most once a second.
fn fail_open(reason: &str) {
    static WARNINGS: LogGate = LogGate::new();
    metrics::counter!("snippets_unchecked_writes_total").increment(1);
    if let Some(held_back) = WARNINGS.pass() {
        tracing::warn!(reason, held_back, "the limiter can't be asked, writes pass unchecked");
    }
}
