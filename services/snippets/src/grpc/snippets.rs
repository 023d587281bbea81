//! `snippets.v1.SnippetService`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rpc::snippets::v1 as pb;
use rpc::snippets::v1::snippet_service_server::SnippetService;
use tonic::{Request, Response, Status};

use super::{
    authenticate::caller, create_request, error::ApiError, get_snippet::Answer, limit_misses::Missed,
    messages, page_token::PageTokens, update_mask, view_stats,
};
use crate::{
    domain::{
        Action, Caller, MaxViews, NewSnippet, Snippet, SnippetId, SnippetMetadata, Version, Violation,
        Violations, authorize, demand_account, now,
    },
    ports::{CreateRequest, InsertError, Inserted, SnippetLists, SnippetStore, ViewHistory, ViewSink},
    views::ViewCounts,
};

/// Tries for a free id. Two ids collide once in 2^64 pairs, so that a second try is rare and a third a bug.
const ID_TRIES: usize = 3;

pub(crate) struct Snippets {
    pub(super) store: Arc<dyn SnippetStore>,
    pub(super) lists: Arc<dyn SnippetLists>,
    pub(super) page_tokens: Arc<PageTokens>,
    pub(super) views: Arc<dyn ViewSink>,
    pub(super) view_counts: Arc<ViewCounts>,
    pub(super) view_history: Arc<dyn ViewHistory>,
}

impl Snippets {
    pub(super) async fn create(
        &self,
        request: Request<pb::CreateSnippetRequest>,
    ) -> Result<pb::Snippet, ApiError> {
        let (caller, now) = (caller(&request)?, now());
        let message = request.into_inner();
        let request = create_request::parse(&message, &caller);
        let new = messages::new_snippet(message.snippet, &caller, now);
        let (request, new) = both(request, new)?;
        let (snippet, views) = match self.insert(new, request.as_ref(), now).await? {
            (snippet, Inserted::New) => (snippet, 0),
            (_, Inserted::Before(id)) => {
                let before = authorize(Action::Read, self.store.get(&id).await?, &caller, now)?;
                (before, self.view_counts.get(&id).await)
            }
        };
        Ok(messages::snippet(&snippet.metadata, Some(&snippet.body), views))
    }

    async fn insert(
        &self,
        new: NewSnippet,
        request: Option<&CreateRequest>,
        now: DateTime<Utc>,
    ) -> Result<(Snippet, Inserted), ApiError> {
        for _ in 0..ID_TRIES {
            let snippet = new.clone().with_id(SnippetId::generate(), now);
            match self.store.insert(&snippet, request).await {
                Ok(inserted) => return Ok((snippet, inserted)),
                Err(InsertError::IdTaken) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(InsertError::IdTaken.into())
    }

    pub(super) async fn get(&self, request: Request<pb::GetSnippetRequest>) -> Result<Answer, ApiError> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let full = messages::wants_body(request.view).map_err(ApiError::from);
        let (id, full) = both(SnippetId::parse(&request.id), full)?;
        let snippet = self.read(&id, full, &caller).await?;
        let view_count = self.view_counts.get(&id).await;
        let not_modified = request.if_none_match == snippet.metadata.version.etag().as_str();
        let body = (full && !not_modified).then_some(snippet.body);
        Ok(Answer { snippet: messages::snippet(&snippet.metadata, None, view_count), body, not_modified })
    }

    /// What the caller may read, which is a view if it is to be FULL.
    pub(super) async fn read(
        &self,
        id: &SnippetId,
        full: bool,
        caller: &Caller,
    ) -> Result<Snippet, ApiError> {
        loop {
            let snippet = authorize(Action::Read, self.store.get(id).await?, caller, now());
            let snippet = snippet.map_err(|denial| ApiError::about(id, denial))?;
            // Where none could be taken there is none left, or it was edited meanwhile; the next look tells.
            if !full || self.take_view(&snippet.metadata, caller).await? {
                return Ok(snippet);
            }
        }
    }

    /// What a FULL read of this version of a snippet brings about, unless the caller owns it: the view is counted and, where
    /// they are limited, taken from those that are left. Whether it could be.
    pub(super) async fn take_view(
        &self,
        snippet: &SnippetMetadata,
        caller: &Caller,
    ) -> Result<bool, ApiError> {
        if snippet.is_owned_by(caller.account_id()) {
            return Ok(true);
        }
        let is_free = snippet.max_views.is_none();
        let may = is_free || self.store.claim_view(&snippet.id, snippet.version).await?;
        if may {
            self.views.record(&snippet.id);
        }
        Ok(may)
    }

    async fn update(&self, request: Request<pb::UpdateSnippetRequest>) -> Result<pb::Snippet, ApiError> {
        let caller = caller(&request)?;
        demand_account(Action::Edit, &caller)?;
        let request = request.into_inner();
        let message = request.snippet.ok_or_else(|| Violation::new("snippet", "is required"))?;
        let id = SnippetId::parse(&message.id).map_err(|violation| violation.at("snippet.id"));
        let (expected, max_views, now) = (expected(&message.etag), message.max_views, now());
        let (id, patch) = both(id, update_mask::patch(message, request.update_mask, now))?;
        let before = authorize(Action::Edit, self.store.get(&id).await?, &caller, now)?;
        if max_views != 0 && MaxViews::parse(max_views) != Ok(before.metadata.max_views) {
            return Err(Violation::new("snippet.max_views", "can't be changed").into());
        }
        let snippet = self.store.update(&id, &patch, expected, now).await?;
        Ok(messages::snippet(&snippet.metadata, Some(&snippet.body), self.view_counts.get(&id).await))
    }

    async fn delete(&self, request: Request<pb::DeleteSnippetRequest>) -> Result<(), ApiError> {
        let caller = caller(&request)?;
        demand_account(Action::Delete, &caller)?;
        let request = request.into_inner();
        let id = SnippetId::parse(&request.id)?;
        authorize(Action::Delete, self.store.get(&id).await?, &caller, now())?;
        self.store.delete(&id, expected(&request.etag)).await?;
        Ok(())
    }

    async fn stats(
        &self,
        request: Request<pb::GetViewStatsRequest>,
    ) -> Result<pb::GetViewStatsResponse, ApiError> {
        let caller = caller(&request)?;
        demand_account(Action::SeeStats, &caller)?;
        let request = request.into_inner();
        let range = view_stats::range(&request, now()).map_err(ApiError::from);
        let (id, range) = both(SnippetId::parse(&request.id), range)?;
        let snippet = authorize(Action::SeeStats, self.store.get(&id).await?, &caller, now());
        snippet.map_err(|denial| ApiError::about(&id, denial))?;
        Ok(view_stats::response(&self.view_history.stats(&id, range).await?))
    }
}

/// Both values, or everything that is wrong with them.
pub(super) fn both<A, B>(
    first: Result<A, impl Into<Violations>>,
    second: Result<B, ApiError>,
) -> Result<(A, B), ApiError> {
    let mut violations = Violations::default();
    let first = violations.check("", first);
    let second = match second {
        Err(ApiError::Invalid(wrong)) => violations.check("", Err(wrong)),
        other => Some(other?),
    };
    first.zip(second).ok_or_else(|| violations.into())
}

/// The version that a client wants to change; none, if it does not care.
fn expected(etag: &str) -> Option<Version> {
    (!etag.is_empty()).then(|| Version::of_etag(etag))
}

#[tonic::async_trait]
impl SnippetService for Snippets {
    async fn create_snippet(
        &self,
        request: Request<pb::CreateSnippetRequest>,
    ) -> Result<Response<pb::CreateSnippetResponse>, Status> {
        let snippet = self.create(request).await?;
        Ok(Response::new(pb::CreateSnippetResponse { snippet: Some(snippet) }))
    }

    async fn get_snippet(
        &self,
        request: Request<pb::GetSnippetRequest>,
    ) -> Result<Response<pb::GetSnippetResponse>, Status> {
        let answer = self.get(request).await?;
        let not_modified = answer.not_modified;
        Ok(Response::new(pb::GetSnippetResponse { snippet: Some(answer.into_snippet()), not_modified }))
    }

    async fn update_snippet(
        &self,
        request: Request<pb::UpdateSnippetRequest>,
    ) -> Result<Response<pb::UpdateSnippetResponse>, Status> {
        let snippet = self.update(request).await?;
        Ok(Response::new(pb::UpdateSnippetResponse { snippet: Some(snippet) }))
    }

    async fn delete_snippet(
        &self,
        request: Request<pb::DeleteSnippetRequest>,
    ) -> Result<Response<pb::DeleteSnippetResponse>, Status> {
        self.delete(request).await?;
        Ok(Response::new(pb::DeleteSnippetResponse {}))
    }

    async fn batch_get_snippets(
        &self,
        request: Request<pb::BatchGetSnippetsRequest>,
    ) -> Result<Response<pb::BatchGetSnippetsResponse>, Status> {
        let answer = self.batch_get(request).await?;
        let missed = Missed { ids: answer.missing_ids.clone(), shows_some: !answer.snippets.is_empty() };
        let mut answer = Response::new(answer);
        if !missed.ids.is_empty() {
            answer.extensions_mut().insert(missed);
        }
        Ok(answer)
    }

    async fn list_snippets(
        &self,
        request: Request<pb::ListSnippetsRequest>,
    ) -> Result<Response<pb::ListSnippetsResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    async fn get_view_stats(
        &self,
        request: Request<pb::GetViewStatsRequest>,
    ) -> Result<Response<pb::GetViewStatsResponse>, Status> {
        Ok(Response::new(self.stats(request).await?))
    }
}
