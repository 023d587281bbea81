//! The echo: what a tonic server costs that does nothing. All of it is tonic's default.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use clap::Args;
use prost::Message as _;
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
    /// Encoded length of each answer.
    #[arg(long)]
    answer_bytes: usize,
}

struct Echo {
    answer: RateLimitResponse,
    answered: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl RateLimitService for Echo {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(self.answer.clone()))
    }
}

/// Serves until it is killed. Its admin endpoint tells as much as the services' does of what is asked here.
pub(crate) async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let echo = Echo { answer: answer(arguments.answer_bytes), answered: Arc::clone(&answered) };
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

/// A request of that encoded length.
pub(crate) fn request(encoded_bytes: usize) -> RateLimitRequest {
    let request = |length| RateLimitRequest { domain: "x".repeat(length), ..RateLimitRequest::default() };
    request(content_length(encoded_bytes, request(encoded_bytes).encoded_len()))
}

fn answer(encoded_bytes: usize) -> RateLimitResponse {
    let answer = |length| RateLimitResponse { raw_body: vec![b'x'; length], ..RateLimitResponse::default() };
    answer(content_length(encoded_bytes, answer(encoded_bytes).encoded_len()))
}

/// How long a message's one field may be, given how long it gets with a field as long as the message should be:
/// a tag and the field's length come on top. From where that length takes one more byte, a few come out a byte short.
fn content_length(wanted: usize, with_as_much: usize) -> usize {
    wanted.saturating_sub(with_as_much - wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_those_they_stand_for() {
        for bytes in [0, 13, 127, 131, 1_077, 1_048_700] {
            assert_eq!((request(bytes).encoded_len(), answer(bytes).encoded_len()), (bytes, bytes));
        }
        assert_eq!(answer(130).encoded_len(), 129, "none is of 130");
    }
}
