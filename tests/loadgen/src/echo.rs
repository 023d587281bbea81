//! The echo: what a tonic server costs that does nothing. All of it is tonic's default.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use clap::Args;
use rpc::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use rpc::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// The method that it answers. Its answer can be of any size.
pub(crate) const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(long, env = "LISTEN_ADDR")]
    listen_addr: SocketAddr,
    #[arg(long, env = "ADMIN_ADDR")]
    admin_addr: SocketAddr,
    /// Length of the bytes in each answer.
    #[arg(long)]
    answer_bytes: usize,
}

struct Echo {
    answer: Vec<u8>,
    answered: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl RateLimitService for Echo {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(RateLimitResponse { raw_body: self.answer.clone(), ..RateLimitResponse::default() }))
    }
}

/// Serves until it is killed. Its admin endpoint tells as much as the services' does of what is asked here.
pub(crate) async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let echo = Echo { answer: vec![b'x'; arguments.answer_bytes], answered: Arc::clone(&answered) };
    let calls = Server::builder().add_service(RateLimitServiceServer::new(echo)).serve(arguments.listen_addr);
    let metrics = move || {
        let answered = answered.load(Ordering::Relaxed);
        async move { format!("grpc_requests_total{{method=\"{METHOD}\",code=\"OK\"}} {answered}\n") }
    };
    let admin = Router::new().route("/metrics", get(metrics)).route("/readyz", get(|| async { "ready\n" }));
    let admin =
        Server::builder().accept_http1(true).add_routes(Routes::from(admin)).serve(arguments.admin_addr);
    tokio::try_join!(calls, admin)?;
    Ok(())
}
