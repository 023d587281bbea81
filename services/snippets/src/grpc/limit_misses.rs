//! Limits how often a caller may ask for what is not there, or not for it to read, so that nobody finds snippets by trying ids.
//!
//! Only a read that found nothing is charged, and only the first of an id: who comes back to a link that is gone tries nothing. Who is
//! over the limit is told so on every read for as long as it lasts: it could tell what is there from what is not, otherwise.

mod denied;

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
};
use http::Response;
use moka::sync::Cache;
use tonic::Status;

use super::{
    error::ApiError,
    limits::{charge, refusal},
};
use crate::{
    domain::{Caller, SnippetId},
    ports::{Charge, RateLimiter},
};
use denied::Denied;

/// Longest that an id which a caller has missed is free of charge, and most of them.
const KNOWN_FOR: Duration = Duration::from_secs(60);
const KNOWN_MAX: u64 = 50_000;

/// What the limit stands on.
pub(crate) struct Misses {
    limiter: Arc<dyn RateLimiter>,
    denied: Denied,
    /// Callers, each with an id.
    known: Cache<(String, String), ()>,
}

/// In the extensions of an answer, or the source of an error: ids that were not found.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} ids are missing", .ids.len())]
pub(super) struct Missed {
    pub ids: Vec<String>,
    /// The answer shows some of what was asked for, whose views are taken by now.
    pub shows_some: bool,
}

impl Missed {
    pub fn one(id: &SnippetId) -> Self {
        Self { ids: vec![id.to_string()], shows_some: false }
    }

    fn by<B>(response: &Response<B>) -> Option<Self> {
        let error = response.extensions().get::<Status>().and_then(Error::source);
        response.extensions().get().or_else(|| error?.downcast_ref()).cloned()
    }
}

impl Misses {
    pub fn new(limiter: Arc<dyn RateLimiter>) -> Self {
        let known = Cache::builder().max_capacity(KNOWN_MAX).time_to_live(KNOWN_FOR).build();
        Self { limiter, denied: Denied::default(), known }
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
        let Some((missed, caller)) = Missed::by(&response).zip(caller) else { return response };
        match self.judge(&caller, &missed).await {
            Err(error) if !missed.shows_some => Status::from(error).into_http(),
            _ => response,
        }
    }

    /// Charges what an answer missed.
    async fn judge(&self, caller: &Caller, missed: &Missed) -> Result<(), ApiError> {
        let name = caller.limited_as();
        let mut new: Vec<_> = missed.ids.iter().map(|id| (name.clone(), id.clone())).collect();
        new.retain(|tried| self.known.entry_by_ref(tried).or_insert(()).is_fresh());
        if new.is_empty() {
            return Ok(());
        }
        let charged = charge(&*self.limiter, Some(caller), Charge::Misses { count: new.len() as u64 }).await;
        if charged.is_err() {
            for tried in &new {
                self.known.invalidate(tried);
            }
        }
        if let Err(ApiError::RateLimited { denial, .. }) = &charged {
            self.denied.remember(caller, denial);
        }
        charged
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
