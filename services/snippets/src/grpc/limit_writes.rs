//! Charges each write to its caller before the request is even decoded.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use chassis::LogGate;
use tonic::Status;

use super::error::ApiError;
use crate::{
    domain::Caller,
    ports::{RateLimiter, WriteDecision},
};

const WRITES: [&str; 3] = [
    "/snippets.v1.SnippetService/CreateSnippet",
    "/snippets.v1.SnippetService/UpdateSnippet",
    "/snippets.v1.SnippetService/DeleteSnippet",
];

/// Middleware: answers a write over its caller's limit. A write that nobody can judge passes.
pub(super) async fn limit_writes(
    State(limiter): State<Arc<dyn RateLimiter>>,
    request: Request,
    next: Next,
) -> Response {
    if !WRITES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match charge_write(&*limiter, request.extensions().get()).await {
        Ok(()) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}

/// Charges one write, or refuses it.
pub(crate) async fn charge_write(limiter: &dyn RateLimiter, caller: Option<&Caller>) -> Result<(), ApiError> {
    let caller = caller.ok_or(ApiError::Bug("the call was not authenticated"))?;
    match limiter.check_write(caller).await {
        WriteDecision::Allowed => Ok(()),
        WriteDecision::Denied(denial) => Err(ApiError::RateLimited { subject: caller.subject(), denial }),
        WriteDecision::Unavailable { reason } => {
            fail_open(&reason);
            Ok(())
        }
    }
}

/// Counts every write that passed unchecked, and warns at most once a second.
fn fail_open(reason: &str) {
    static WARNINGS: LogGate = LogGate::new();
    metrics::counter!("snippets_unchecked_writes_total").increment(1);
    if let Some(held_back) = WARNINGS.pass() {
        tracing::warn!(reason, held_back, "the limiter can't be asked, writes pass unchecked");
    }
}
