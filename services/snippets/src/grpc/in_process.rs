//! The methods of the API for the HTTP face, in the same process: what they answer, count and refuse is the same.

use rpc::snippets::v1 as pb;
use tonic::Request;

use super::{error::ApiError, messages, snippets::Snippets};
use crate::domain::{Action, Caller, Snippet, SnippetId, authorize, now};

/// A snippet that its caller may read.
pub(crate) struct Found(Snippet);

impl Found {
    /// As a client sees it, without its view count.
    pub(crate) fn message(&self, with_body: bool) -> pb::Snippet {
        messages::snippet(&self.0.metadata, with_body.then_some(&self.0.body), 0)
    }
}

impl Snippets {
    /// CreateSnippet.
    pub(crate) async fn make(&self, caller: &Caller, snippet: pb::Snippet) -> Result<pb::Snippet, ApiError> {
        let message =
            pb::CreateSnippetRequest { snippet: Some(snippet), ..pb::CreateSnippetRequest::default() };
        self.create(of_caller(caller, message)).await
    }

    /// GetSnippet with FULL, which is a view.
    pub(crate) async fn view(&self, caller: &Caller, id: &SnippetId) -> Result<pb::Snippet, ApiError> {
        let message = pb::GetSnippetRequest { id: id.to_string(), ..pb::GetSnippetRequest::default() };
        Ok(self.get(of_caller(caller, message)).await?.into_snippet())
    }

    /// What [`Self::view`] gives, for an answer that shows no body.
    pub(crate) async fn look(&self, caller: &Caller, id: &SnippetId) -> Result<pb::Snippet, ApiError> {
        let found = self.find(caller, id).await?;
        let Snippet { metadata, body } = &found.0;
        Ok(messages::snippet(metadata, Some(body), self.view_counts.get(id).await))
    }

    /// The snippet, if the caller may read it. This is no view.
    pub(crate) async fn find(&self, caller: &Caller, id: &SnippetId) -> Result<Found, ApiError> {
        let snippet = authorize(Action::Read, self.store.get(id).await?, caller, now());
        snippet.map(Found).map_err(|denial| ApiError::about(id, denial))
    }
}

/// A request as it is once the middleware has found out who sends it.
fn of_caller<T>(caller: &Caller, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(caller.clone());
    request
}
