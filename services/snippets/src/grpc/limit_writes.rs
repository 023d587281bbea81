//! Charges each write to its caller before the request is even decoded.
//!
//! A compressed one does not say how long its message is. It is decompressed first, unless its caller may not write at all.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use chassis::LogGate;
use tonic::Status;

use super::{WRITE_REQUEST_BYTES_MAX, compression, error::ApiError, message_head::MessageHead};
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
        Err(status) => status.into_http(),
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

async fn charged(limiter: &dyn RateLimiter, request: Request) -> Result<Request, Status> {
    let (mut parts, body) = request.into_parts();
    let (head, mut body) = MessageHead::read(body).await;
    if let Some(head) = head.filter(|head| head.bytes as usize <= WRITE_REQUEST_BYTES_MAX) {
        let announced = Charge::Write { bytes: head.bytes.into() };
        if head.is_plain() {
            charge(limiter, parts.extensions.get(), announced).await?;
        } else if let Some(encoding) = compression::encoding(&parts.headers) {
            let caller = parts.extensions.get();
            charge(limiter, caller, Charge::Nothing).await?;
            let unpacked = compression::unpack(body, encoding, WRITE_REQUEST_BYTES_MAX).await;
            // One that can't be decompressed was work, too.
            let bytes = unpacked.as_ref().map(|message| Charge::Write { bytes: message.len() as u64 });
            charge(limiter, caller, bytes.unwrap_or(announced)).await?;
            body = compression::packed_out(unpacked?, &mut parts.headers);
        }
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
