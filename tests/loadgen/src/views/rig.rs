//! The product, with snippets to be read.

use std::time::Duration;

use anyhow::Context as _;
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{CreateSnippetRequest, GetSnippetRequest, Snippet, SnippetView, Visibility};
use stack::{Product, RabbitMq, Service, SharedServers};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::pipeline::views_of;
use crate::system::{RULES, own_servers};

/// Longer than any call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// One replica, one worker, and servers of their own.
pub(crate) struct Rig {
    pub(crate) product: Product,
    servers: SharedServers,
}

impl Rig {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (backends, servers) = own_servers().await?;
        let builder = Product::builder(backends).replicas(1).workers(1).env("RATELIMIT_RULES", RULES);
        Ok(Self { product: builder.start().await?, servers })
    }

    pub(crate) fn rabbitmq(&self) -> &RabbitMq {
        self.servers.rabbitmq()
    }

    pub(crate) fn replica(&self) -> anyhow::Result<&Service> {
        self.product.snippets.first().context("no replica")
    }

    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::of(self.replica()?).await
    }

    /// The ids of that many fresh snippets, each read once, so that it is in the cache.
    pub(crate) async fn snippets(&self, count: u32) -> anyhow::Result<Vec<String>> {
        let mut client = self.client().await?;
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = client.create().await?;
            client.get(&id, SnippetView::Basic).await?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// The worker's count of all views.
    pub(crate) async fn counted(&self) -> anyhow::Result<u64> {
        views_of(self.product.counter_workers.first().context("no worker")?).await
    }
}

/// An anonymous caller.
#[derive(Debug, Clone)]
pub(crate) struct Client(SnippetServiceClient<Channel>);

impl Client {
    pub(crate) async fn of(replica: &Service) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(replica.grpc_url())?.connect().await?;
        Ok(Self(SnippetServiceClient::new(channel)))
    }

    async fn create(&mut self) -> anyhow::Result<String> {
        let snippet =
            Snippet { body: "x".into(), visibility: Visibility::Public.into(), ..Snippet::default() };
        let request = CreateSnippetRequest { snippet: Some(snippet), ..CreateSnippetRequest::default() };
        Ok(self.0.create_snippet(request).await?.into_inner().snippet.context("no snippet")?.id)
    }

    /// Reads a snippet, and tells its view count; FULL is a view.
    pub(crate) async fn get(&mut self, id: &str, view: SnippetView) -> anyhow::Result<u64> {
        let request = GetSnippetRequest { id: id.into(), view: view.into(), ..GetSnippetRequest::default() };
        let mut request = Request::new(request);
        request.set_timeout(DEADLINE);
        Ok(self.0.get_snippet(request).await?.into_inner().snippet.context("no snippet")?.view_count)
    }
}
