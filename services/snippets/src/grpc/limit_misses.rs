//! Limits how often a caller may ask for what is not there, or not for it to read, so that nobody finds snippets by trying ids.
//!
//! Only a read that found nothing is charged. Who is over the limit is told so on every read for as long as it lasts: it could
//! tell what is there from what is not, otherwise.

mod denied;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
};
use http::Response;
use tonic::{Code, Status};

use super::{
    error::ApiError,
    limits::{charge, refusal},
};
use crate::{
    domain::Caller,
    ports::{Charge, RateLimiter},
};
use denied::Denied;

/// What the limit stands on.
pub(crate) struct Misses {
    limiter: Arc<dyn RateLimiter>,
    denied: Denied,
}

/// In the extensions of an answer that found less than was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missed {
    pub count: usize,
    /// It shows some of what was asked for, whose views are taken by now.
    pub shows_some: bool,
}

impl Misses {
    pub fn new(limiter: Arc<dyn RateLimiter>) -> Self {
        Self { limiter, denied: Denied::default() }
    }

    /// Has a read served, if its caller is not over the limit, nor gets there by it.
    pub(super) async fn limited<B, F>(
        &self,
        request: Request,
        serve: impl FnOnce(Request) -> F,
    ) -> Response<B>
    where
        B: Default,
        F: Future<Output = Response<B>>,
    {
        let caller = request.extensions().get::<Caller>().cloned();
        if let Some(denial) = caller.as_ref().and_then(|caller| self.denied.get(caller)) {
            return Status::from(refusal(caller.as_ref(), denial)).into_http();
        }
        let response = serve(request).await;
        let Some(missed) = missed(&response) else { return response };
        match self.judge(caller, missed).await {
            Ok(()) => response,
            Err(error) => Status::from(error).into_http(),
        }
    }

    /// Charges what an answer missed; why it is not to be sent, if so.
    async fn judge(&self, caller: Option<Caller>, missed: Missed) -> Result<(), ApiError> {
        let charged =
            charge(&*self.limiter, caller.as_ref(), Charge::Misses { count: missed.count as u64 }).await;
        if let (Err(ApiError::RateLimited { denial, .. }), Some(caller)) = (&charged, &caller) {
            self.denied.remember(caller, denial);
        }
        if missed.shows_some { Ok(()) } else { charged }
    }
}

/// Middleware around reads.
pub(crate) async fn limit_misses(
    State(limit): State<Arc<Misses>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    limit.limited(request, |request| next.run(request)).await
}

fn missed<B>(response: &Response<B>) -> Option<Missed> {
    let code = response.headers().get("grpc-status");
    if code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::NotFound) {
        return Some(Missed { count: 1, shows_some: false });
    }
    response.extensions().get().copied()
}
