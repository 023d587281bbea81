//! Every error says what is wrong, in the words of the contract, and nothing of what is inside.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use e2e::{Client, assert_explained, violated_fields};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rpc::snippets::v1::snippet_service_client::SnippetServiceClient;
use rpc::snippets::v1::{
    Account, CreateAccountRequest, CreateSnippetRequest, GetAccountRequest, GetSnippetRequest,
    GetViewStatsRequest, Snippet, Tier, Visibility,
};
use stack::{Backends, Product, Proxy, Service};
use tokio::sync::OnceCell;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

async fn product() -> &'static Product {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    PRODUCT.get_or_init(start).await
}

async fn snippets() -> Client {
    Client::to(&product().await.snippets[0]).await.unwrap()
}

#[tokio::test]
async fn an_anonymous_private_snippet_would_have_no_reader() {
    let body = "x".into();
    let private = Snippet { body, visibility: Visibility::Private.into(), ..Snippet::default() };
    let status = snippets().await.create(private).await.unwrap_err();
    assert_eq!(
        (status.code(), violated_fields(&status)),
        (Code::InvalidArgument, vec!["snippet.visibility".into()])
    );
    assert_explained(&status);
}

#[tokio::test]
async fn what_no_service_serves_is_explained_too() {
    let product = product().await;
    for server in [&product.snippets[0], &product.ratelimit] {
        let client = Client::to(server).await.unwrap();
        for path in [
            "/snippets.v1.SnippetService/MakeCoffee",
            "/ratelimit.v1.RateLimitService/MakeCoffee",
            "/grpc.health.v1.Health/MakeCoffee",
            "/coffee.v1.CoffeeService/Make",
            "/",
        ] {
            let status = client.call(path).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
            assert_explained(&status);
        }
    }
}

#[tokio::test]
async fn a_request_that_can_not_be_decoded_is_explained_too() {
    let caller = snippets().await.as_new(Tier::Free).await.unwrap();
    // On the wire its id is where a create has its snippet, of which it is none.
    let garbage = GetAccountRequest { id: "\u{7f}\u{7f}\u{7f}".into() };
    let mut raw = caller.raw().await.unwrap();
    let path = "/snippets.v1.SnippetService/CreateSnippet".parse().unwrap();
    let codec = ProstCodec::<GetAccountRequest, ()>::default();
    let status = raw.unary(Request::new(garbage), path, codec).await.unwrap_err();
    assert!([Code::Internal, Code::InvalidArgument].contains(&status.code()), "{status:?}");
    assert_explained(&status);

    let huge = Snippet { body: "x".repeat(5 * 1024 * 1024), ..Snippet::default() };
    let snippet = caller.create(huge).await.unwrap_err();
    // Much smaller, and still many times as large as what is fine.
    let display_name = "x".repeat(100 * 1024);
    let account = CreateAccountRequest { account: Some(Account { display_name, ..Account::default() }) };
    let account = snippets().await.as_admin().accounts().create_account(account).await.unwrap_err();
    for status in [snippet, account] {
        assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()), "{status:?}");
        assert_explained(&status);
    }
}

/// A replica whose database is behind a proxy.
struct Slow {
    proxy: Proxy,
    replica: Service,
    _product: Product,
}

impl Slow {
    async fn start() -> Self {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).replicas(0).workers(0).start().await.unwrap();
        let (proxy, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
        let through_proxy = Backends { database_url, ..backends };
        let replica = e2e::service_of(&through_proxy, "snippets").unwrap();
        let replica = replica.env("RATELIMIT_URL", product.ratelimit.grpc_url());
        Self { proxy, replica: replica.start().await.unwrap(), _product: product }
    }
}

/// tonic's own client ends a call at its deadline by itself; this one waits to hear it from the server.
fn patient_client(server: &Service) -> SnippetServiceClient<HttpClient<HttpConnector, tonic::body::Body>> {
    let http = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http();
    SnippetServiceClient::with_origin(http, server.grpc_url().parse().unwrap())
}

fn within<T>(grpc_timeout: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", grpc_timeout.parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_that_is_late_or_finds_no_database_is_explained_too() {
    let slow = Slow::start().await;
    let client = Client::to(&slow.replica).await.unwrap();
    let mut patient = patient_client(&slow.replica);
    let get = GetSnippetRequest { id: "0123456789a".into(), ..GetSnippetRequest::default() };
    let body = Snippet { body: "x".into(), ..Snippet::default() };
    let create = CreateSnippetRequest { snippet: Some(body.clone()), ..CreateSnippetRequest::default() };

    slow.proxy.delay(Duration::from_secs(1));
    for grpc_timeout in ["1m", "100m", "1n", "50000u"] {
        let read = patient.get_snippet(within(grpc_timeout, get.clone())).await.unwrap_err();
        let write = patient.create_snippet(within(grpc_timeout, create.clone())).await.unwrap_err();
        for status in [read, write] {
            assert_eq!(status.code(), Code::DeadlineExceeded, "{grpc_timeout}: {status:?}");
            assert_explained(&status);
        }
    }
    slow.proxy.delay(Duration::ZERO);
    slow.proxy.cut().await;
    let anonymous_get = client.get("0123456789a").await.unwrap_err();
    let known_get = client.with_key("snip_unknown").get("0123456789a").await.unwrap_err();
    let write = client.create(body).await.unwrap_err();
    let stats = GetViewStatsRequest { id: "0123456789a".into(), ..GetViewStatsRequest::default() };
    let stats = client.as_admin().view_stats(stats).await.unwrap_err();
    for status in [anonymous_get, known_get, write, stats] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let retry_info = status.get_details_retry_info().unwrap();
        assert!(retry_info.retry_delay.unwrap() > Duration::ZERO);
        assert_explained(&status);
    }
}
