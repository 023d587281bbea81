//! Clients of one server, in the name of one caller.

use std::net::SocketAddr;

use anyhow::Context as _;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use rpc::snippets::v1::account_service_client::AccountServiceClient;
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{
    Account, ApiKey, CreateAccountRequest, CreateApiKeyRequest, CreateSnippetRequest, DeleteSnippetRequest,
    GetSnippetRequest, GetViewStatsRequest, GetViewStatsResponse, Snippet, SnippetView, Tier,
    UpdateSnippetRequest,
};
use stack::Service;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::ADMIN_KEY;

/// A channel that says on each call who is calling.
pub type Recognized = InterceptedService<Channel, Credentials>;

/// Calls any method by its path.
pub type RawCall = tonic::client::Grpc<Recognized>;

/// Headers that go along with every call.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>);

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}

/// The clients of one server, as one caller: anonymous at first.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    headers: Credentials,
}

/// A fresh account's key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose it is.
    pub account: Account,
    /// The key without its secret.
    pub key: ApiKey,
    /// What its holder sends.
    pub secret: String,
}

impl Client {
    /// Connects to a service.
    pub async fn to(server: &Service) -> anyhow::Result<Self> {
        Self::to_addr(server.grpc_addr()).await
    }

    /// Connects to whatever listens there.
    pub async fn to_addr(addr: SocketAddr) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
        Ok(Self::over(endpoint.connect().await.with_context(|| format!("cannot connect to {addr}"))?))
    }

    /// Calls over that channel.
    pub fn over(channel: Channel) -> Self {
        Self { channel, headers: Credentials::default() }
    }

    /// The same server as the holder of that key.
    #[must_use]
    pub fn with_key(&self, secret: &str) -> Self {
        self.with_header("x-api-key", secret)
    }

    /// The same server as the admin that the product was started with.
    #[must_use]
    pub fn as_admin(&self) -> Self {
        self.with_key(ADMIN_KEY)
    }

    /// The same server with one more header.
    ///
    /// # Panics
    /// When the value is not ASCII.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test fails by panicking")]
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut with_header = self.clone();
        with_header
            .headers
            .0
            .push((MetadataKey::from_static(name), value.parse().expect("a header's value")));
        with_header
    }

    /// The same server as a fresh account of that tier.
    pub async fn as_new(&self, tier: Tier) -> Result<Self, Status> {
        Ok(self.with_key(&self.new_key(tier).await?.secret))
    }

    /// A fresh account of that tier and a key of it, made by the product's admin.
    pub async fn new_key(&self, tier: Tier) -> Result<NewKey, Status> {
        let account = Account { display_name: "test".into(), tier: tier.into(), ..Account::default() };
        self.new_key_of(account).await
    }

    /// That account, and a key of it, made by the product's admin.
    pub async fn new_key_of(&self, account: Account) -> Result<NewKey, Status> {
        let mut accounts = self.as_admin().accounts();
        let created = accounts.create_account(CreateAccountRequest { account: Some(account) }).await?;
        let account = created.into_inner().account.unwrap_or_default();
        let request =
            CreateApiKeyRequest { account_id: account.id.clone(), ..CreateApiKeyRequest::default() };
        let key = accounts.create_api_key(request).await?.into_inner();
        Ok(NewKey { account, key: key.api_key.unwrap_or_default(), secret: key.secret })
    }

    /// `snippets.v1.SnippetService`
    pub fn snippets(&self) -> SnippetServiceClient<Recognized> {
        SnippetServiceClient::new(self.recognized())
    }

    /// `snippets.v1.AccountService`
    pub fn accounts(&self) -> AccountServiceClient<Recognized> {
        AccountServiceClient::new(self.recognized())
    }

    /// `ratelimit.v1.RateLimitService`
    pub fn limiter(&self) -> RateLimitServiceClient<Recognized> {
        RateLimitServiceClient::new(self.recognized())
    }

    /// The connection itself, for clients that are not ours.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Stores a snippet.
    pub async fn create(&self, snippet: Snippet) -> Result<Snippet, Status> {
        let request = CreateSnippetRequest { snippet: Some(snippet), ..CreateSnippetRequest::default() };
        Ok(self.snippets().create_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// Reads all of a snippet, which counts as a view unless the caller owns it.
    pub async fn get(&self, id: &str) -> Result<Snippet, Status> {
        self.read(id, SnippetView::Full).await
    }

    /// Reads a snippet without its body, which is no view.
    pub async fn look(&self, id: &str) -> Result<Snippet, Status> {
        self.read(id, SnippetView::Basic).await
    }

    async fn read(&self, id: &str, view: SnippetView) -> Result<Snippet, Status> {
        let request = GetSnippetRequest { id: id.into(), view: view.into(), ..GetSnippetRequest::default() };
        Ok(self.snippets().get_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// Changes the fields that are set.
    pub async fn update(&self, snippet: Snippet) -> Result<Snippet, Status> {
        let request = UpdateSnippetRequest { snippet: Some(snippet), update_mask: None };
        Ok(self.snippets().update_snippet(request).await?.into_inner().snippet.unwrap_or_default())
    }

    /// Deletes a snippet whatever its etag.
    pub async fn delete(&self, id: &str) -> Result<(), Status> {
        let request = DeleteSnippetRequest { id: id.into(), ..DeleteSnippetRequest::default() };
        self.snippets().delete_snippet(request).await.map(drop)
    }

    /// When a snippet was viewed: in the hours of the last day, unless the request says otherwise.
    pub async fn view_stats(&self, request: GetViewStatsRequest) -> Result<GetViewStatsResponse, Status> {
        self.snippets().get_view_stats(request).await.map(Response::into_inner)
    }

    /// Calls the method at `/package.Service/Method` with a message of no fields, whatever its types are.
    pub async fn call(&self, path: &str) -> Result<(), Status> {
        let mut raw = self.raw().await?;
        let path = path.parse().map_err(|_| Status::internal("no path"))?;
        raw.unary(Request::new(()), path, ProstCodec::<(), ()>::default()).await.map(drop)
    }

    /// A client for methods by their paths, ready for one call.
    pub async fn raw(&self) -> Result<RawCall, Status> {
        let mut raw = RawCall::new(self.recognized());
        raw.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(raw)
    }

    fn recognized(&self) -> Recognized {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }
}
