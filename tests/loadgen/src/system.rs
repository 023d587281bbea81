//! The product under load, on real servers or in one process.

use anyhow::Context as _;
use prost::Message as _;
use rpc::ratelimit::v1::descriptor::Entry;
use rpc::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use rpc::ratelimit::v1::{CheckRequest, Descriptor};
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{CreateSnippetRequest, GetSnippetRequest, Snippet, Visibility};
use stack::{Backends, PostgresOptions, Product, Service, Shared, SharedServers, binary};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::driven::Driven;
use crate::{Call, Options};

const STANDALONE: &str = "standalone";
/// Rules whose limits are never reached.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/bench.yaml");

/// The running product; ends when dropped, services before what they work on.
pub(crate) struct System {
    pub(crate) services: Vec<Service>,
    _servers: Option<SharedServers>,
    _data: Option<TempDir>,
}

impl System {
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let rules = if options.call == Call::Check { RULES } else { "" };
        if options.standalone { Self::in_one_process(rules).await } else { Self::on_servers(rules).await }
    }

    pub(crate) async fn in_one_process(rules: &str) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let standalone = Service::builder(STANDALONE, binary(STANDALONE)?)
            .env("DATA_DIR", data.path().to_string_lossy())
            .env("RATELIMIT_RULES", rules);
        Ok(Self { services: vec![standalone.start().await?], _servers: None, _data: Some(data) })
    }

    /// Every service once, on the servers of `stack exec` if it runs this, else on its own.
    async fn on_servers(rules: &str) -> anyhow::Result<Self> {
        let (backends, servers) = match Shared::from_env() {
            Ok(shared) => (Backends::fresh(&shared).await, None),
            Err(_) => own_servers().await?,
        };
        let product = Product::builder(backends).replicas(1).workers(1);
        let Product { snippets, ratelimit, counter_workers } =
            product.env("RATELIMIT_RULES", rules).start().await?;
        let services = snippets.into_iter().chain([ratelimit]).chain(counter_workers).collect();
        Ok(Self { services, _servers: servers, _data: None })
    }

    /// Prepares a call, makes it once, and gives it with the length of its answer in bytes.
    pub(crate) async fn prepare(&self, options: &Options) -> anyhow::Result<(Driven<'_>, usize)> {
        match options.call {
            Call::Get => get(self.serving("snippets")?, options.body_bytes).await,
            Call::Check => check(self.serving("ratelimit")?).await,
        }
    }

    fn serving(&self, name: &str) -> anyhow::Result<&Service> {
        let serves = |service: &&Service| service.name().starts_with(name) || service.name() == STANDALONE;
        self.services.iter().find(serves).context("not started")
    }
}

/// Postgres waits for the disk, as in production.
async fn own_servers() -> anyhow::Result<(Backends, Option<SharedServers>)> {
    let servers = SharedServers::start(PostgresOptions { fsync: true, port: None }).await?;
    Ok((Backends::of(&servers), Some(servers)))
}

async fn get(service: &Service, body_bytes: u32) -> anyhow::Result<(Driven<'_>, usize)> {
    let mut client = SnippetServiceClient::new(channel(service).await?);
    let body = "x".repeat(usize::try_from(body_bytes)?);
    let snippet = Snippet { body, visibility: Visibility::Public.into(), ..Snippet::default() };
    let request = CreateSnippetRequest { snippet: Some(snippet), ..CreateSnippetRequest::default() };
    let snippet = client.create_snippet(request).await?.into_inner().snippet.context("no snippet")?;
    let request = GetSnippetRequest { id: snippet.id, ..GetSnippetRequest::default() };
    // This one fills the cache.
    let answer = client.get_snippet(request.clone()).await?.into_inner();
    let method = "/snippets.v1.SnippetService/GetSnippet";
    Ok((Driven::new("GetSnippet", service, method, &request), answer.encoded_len()))
}

async fn check(service: &Service) -> anyhow::Result<(Driven<'_>, usize)> {
    let mut client = RateLimitServiceClient::new(channel(service).await?);
    let entries = vec![Entry { key: "caller".into(), value: "bench".into() }];
    let descriptors = vec![Descriptor { entries, ..Descriptor::default() }];
    let request = CheckRequest { domain: "bench".into(), descriptors, ..CheckRequest::default() };
    let answer = client.check(request.clone()).await?.into_inner();
    Ok((
        Driven::new("Check", service, "/ratelimit.v1.RateLimitService/Check", &request),
        answer.encoded_len(),
    ))
}

async fn channel(service: &Service) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(service.grpc_url())?.connect().await?)
}
