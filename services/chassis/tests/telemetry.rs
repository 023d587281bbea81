//! What is logged and what is traced are two things.

#![allow(clippy::unwrap_used, reason = "a test may")]

use chassis::{
    config::Problems,
    telemetry::{Telemetry, TelemetryArgs},
};
use clap::Parser as _;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

struct Collector(mpsc::UnboundedSender<String>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        spans.for_each(|span| self.0.send(span.name).unwrap());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_log_leaves_the_traces_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (names, mut traced) = mpsc::unbounded_channel();
    let mut collector = JoinSet::new();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(names)));
    collector.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let flags = ["test", "--rust-log=warn", "--otel-exporter-otlp-endpoint", &endpoint];
    let mut problems = Problems::default();
    let config = Flags::parse_from(flags).telemetry.validate(&mut problems);
    let telemetry = Telemetry::install("test", problems.finish(config).unwrap()).unwrap();
    tracing::info_span!("call").in_scope(|| tracing::info_span!("query").in_scope(|| ()));
    tracing::debug_span!("detail").in_scope(|| ());
    telemetry.shutdown().await;

    collector.shutdown().await;
    let mut spans = Vec::new();
    traced.recv_many(&mut spans, 10).await;
    assert_eq!(spans, ["query", "call"]);
}
