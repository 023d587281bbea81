//! One trace runs from the client's call through every service that works on it.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use e2e::{Client, PATIENCE};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use rpc::snippets::v1::Snippet;
use stack::eventually;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A span as an exporter sent it; ids in hexadecimal.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
}

/// A collector of traces that keeps what it is sent.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            let service = service_name(&sent.resource.unwrap_or_default());
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
            });
            self.0.lock().unwrap().extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts it; it ends with the set. Gives its URL.
    async fn start(&self, servers: &mut JoinSet<()>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        servers.spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        url
    }

    /// Waits for that span of a trace.
    async fn span(&self, trace: &str, service: &str, name: &str) -> Span {
        let found = eventually(PATIENCE, async || {
            let spans = self.0.lock().unwrap();
            let of_trace: Vec<_> = spans.iter().filter(|span| span.trace == trace).cloned().collect();
            let found = of_trace.iter().find(|span| span.service == service && span.name == name);
            found.cloned().ok_or_else(|| anyhow::anyhow!("no {name:?} of {service} among {of_trace:#?}"))
        });
        found.await.unwrap()
    }
}

fn service_name(resource: &Resource) -> String {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    match attribute.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(name)) => name,
        other => panic!("no service.name, but {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn one_trace_runs_from_the_clients_call_to_the_limiter_and_to_the_commit_of_the_view() {
    let (collector, mut servers) = (Collector::default(), JoinSet::new());
    let url = collector.start(&mut servers).await;
    let product = e2e::product(&e2e::backends().await)
        .replicas(1)
        .workers(1)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await
        .unwrap();
    let client = Client::to(&product.snippets[0]).await.unwrap();
    let (write, read) = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736");
    let own_span = "b7ad6b7169203331";
    let traced = |trace| client.with_header("traceparent", &format!("00-{trace}-{own_span}-01"));

    let id = traced(write).create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap().id;
    let create = collector.span(write, "snippets", "/snippets.v1.SnippetService/CreateSnippet").await;
    assert_eq!(create.parent, own_span);
    let check = collector.span(write, "ratelimit", "/ratelimit.v1.RateLimitService/Check").await;
    assert_eq!(check.parent, create.id);

    traced(read).get(&id).await.unwrap();
    let get = collector.span(read, "snippets", "/snippets.v1.SnippetService/GetSnippet").await;
    assert_eq!(get.parent, own_span);
    let commit = collector.span(read, "counter-worker", "commit view batches").await;
    assert_eq!(commit.parent, get.id);
    servers.shutdown().await;
}
