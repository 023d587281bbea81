//! Calls to one replica, each with a deadline.

use std::error::Error;
use std::time::Duration;

use anyhow::Context as _;
use rpc::snippets::v1::account_service_client::AccountServiceClient;
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateApiKeyRequest, CreateSnippetRequest, DeleteSnippetRequest,
    GetSnippetRequest, GetViewStatsRequest, GetViewStatsResponse, ListSnippetsRequest, Snippet, SnippetView,
    Tier, UpdateSnippetRequest, Visibility,
};
use stack::Service;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status};
use tonic_types::StatusExt as _;

/// The server's own limit: what it answers, it answers by then.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// One caller of one replica: anonymous at first. Connects when it has to, also after the replica was away.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    key: Option<String>,
    deadline: Duration,
}

impl Client {
    /// A caller of that replica.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn of(replica: &Service) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(replica.grpc_url())?.tcp_nodelay(true);
        Ok(Self { channel: endpoint.connect_lazy(), key: None, deadline: REQUEST_DEADLINE })
    }

    /// The same caller, who waits no longer than this for an answer.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The same replica, called with that key.
    #[must_use]
    pub fn with_key(&self, secret: &str) -> Self {
        Self { key: Some(secret.to_owned()), ..self.clone() }
    }

    /// The key of a fresh account of that tier; the caller has to be an admin.
    pub async fn new_key(&self, tier: Tier) -> anyhow::Result<String> {
        let mut accounts = AccountServiceClient::new(self.channel.clone());
        let account = Account { display_name: "test".into(), tier: tier.into(), ..Account::default() };
        let request = self.request(CreateAccountRequest { account: Some(account) })?;
        let account = accounts.create_account(request).await?.into_inner().account.context("no account")?;
        let request = CreateApiKeyRequest { account_id: account.id, ..CreateApiKeyRequest::default() };
        Ok(accounts.create_api_key(self.request(request)?).await?.into_inner().secret)
    }

    /// Stores a public snippet with that body.
    pub async fn create(&self, body: &str) -> Result<Snippet, Status> {
        let visibility = Visibility::Public.into();
        let snippet = Some(Snippet { body: body.to_owned(), visibility, ..Snippet::default() });
        let request = self.request(CreateSnippetRequest { snippet, ..CreateSnippetRequest::default() })?;
        Ok(self.snippets().create_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// Reads a snippet without its body, which is no view.
    pub async fn look(&self, id: &str) -> Result<Snippet, Status> {
        self.get(id, SnippetView::Basic).await
    }

    /// Reads a snippet; a FULL view counts. Tests read through [`Views`](crate::Views), which tallies.
    pub async fn get(&self, id: &str, view: SnippetView) -> Result<Snippet, Status> {
        let request = GetSnippetRequest { id: id.into(), view: view.into(), ..GetSnippetRequest::default() };
        let request = self.request(request)?;
        Ok(self.snippets().get_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// When a snippet was viewed, in the hours of the last day.
    pub async fn view_stats(&self, id: &str) -> Result<GetViewStatsResponse, Status> {
        let request = GetViewStatsRequest { id: id.into(), ..GetViewStatsRequest::default() };
        Ok(self.snippets().get_view_stats(self.request(request)?).await?.into_inner())
    }

    /// The ids of the newest public snippets, or with `me` of the caller's own.
    pub async fn list(&self, owner: &str) -> Result<Vec<String>, Status> {
        let request = ListSnippetsRequest { owner: owner.into(), ..ListSnippetsRequest::default() };
        let answer = self.snippets().list_snippets(self.request(request)?).await?.into_inner();
        Ok(answer.snippets.into_iter().map(|snippet| snippet.id).collect())
    }

    /// Gives a snippet another body.
    pub async fn edit(&self, id: &str, body: &str) -> Result<Snippet, Status> {
        let snippet = Some(Snippet { id: id.into(), body: body.into(), ..Snippet::default() });
        let request = self.request(UpdateSnippetRequest { snippet, update_mask: None })?;
        Ok(self.snippets().update_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// Deletes a snippet.
    pub async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteSnippetRequest { id: id.into(), ..DeleteSnippetRequest::default() };
        self.snippets().delete_snippet(self.request(request)?).await.map(drop)
    }

    fn snippets(&self) -> SnippetServiceClient<Channel> {
        SnippetServiceClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        if let Some(key) = &self.key {
            let value = key.parse().map_err(|_| Status::internal("the key is no header value"))?;
            request.metadata_mut().insert("x-api-key", value);
        }
        Ok(request)
    }
}

/// Whether the call that failed so can't have done anything: it was never sent, or the service itself has refused it.
pub(crate) fn had_no_effect(status: &Status) -> bool {
    let refusals = [Code::NotFound, Code::ResourceExhausted, Code::Unavailable];
    let was_refused = refusals.contains(&status.code()) && status.get_details_error_info().is_some();
    was_refused || was_never_sent(status)
}

fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
