//! Charges each write to its caller before the request is even decoded.
//!
//! A compressed one does not say how long its message is. It is decompressed first, unless its caller may not write at all.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::Status;

use super::{
    WRITE_REQUEST_BYTES_MAX, compression, error::ApiError, limits::charge, message_head::MessageHead,
    repetition,
};
use crate::ports::{Charge, RateLimiter};

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
    let (head, body) = MessageHead::read(body).await;
    let caller = parts.extensions.get();
    let head = head.filter(|head| head.bytes as usize <= WRITE_REQUEST_BYTES_MAX);
    let message = match (head, compression::encoding(&parts.headers)) {
        (Some(head), _) if head.is_plain() => {
            charge(limiter, caller, announced(head)).await?;
            head.message(body).await?
        }
        (Some(head), Some(encoding)) => {
            charge(limiter, caller, Charge::Nothing).await?;
            let unpacked = compression::unpack(body, encoding, WRITE_REQUEST_BYTES_MAX).await;
            // One that can't be decompressed was work, too.
            let bytes = unpacked.as_ref().map(|message| Charge::Write { bytes: message.len() as u64 });
            charge(limiter, caller, bytes.unwrap_or(announced(head))).await?;
            unpacked?
        }
        // It will be refused for what it says.
        _ => return Ok(Request::from_parts(parts, body)),
    };
    repetition::check(&message).map_err(ApiError::from)?;
    let body = compression::packed_out(message, &mut parts.headers);
    Ok(Request::from_parts(parts, body))
}

fn announced(head: MessageHead) -> Charge {
    Charge::Write { bytes: head.bytes.into() }
}
