//! The gRPC services.

mod envoy;
mod input;
mod ratelimit;
mod status;

use std::sync::Arc;

use axum::Router;
use rpc::{
    envoy::service::ratelimit::v3::rate_limit_service_server as envoy_server,
    ratelimit::v1::rate_limit_service_server as ratelimit_server,
};
use tonic::service::Routes;

pub use envoy::{EnvoyRateLimit, ResponseHeaders};
pub use ratelimit::RateLimit;

use crate::Limiter;

/// Room for the largest Check: 16 descriptors of 16 entries, each with a key of 256 and a value of 1024 bytes.
const REQUEST_BYTES_MAX: usize = 512 * 1024;

const OF_OPERATORS: [&str; 3] = [
    "/ratelimit.v1.RateLimitService/Refund",
    "/ratelimit.v1.RateLimitService/Reset",
    "/ratelimit.v1.RateLimitService/ListTopDenied",
];

/// Serves that limiter; Envoy is answered with those headers.
pub fn routes(limiter: Arc<Limiter>, headers: ResponseHeaders) -> Router {
    let ratelimit = service(limiter.clone());
    let envoy = envoy_server::RateLimitServiceServer::new(EnvoyRateLimit::new(limiter, headers))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    Routes::new(ratelimit).add_service(envoy).into_axum_router()
}

/// Refund, Reset and ListTopDenied, to be put before [`routes`] behind a guard. They change, or tell, what others were counted.
pub fn routes_for_operators(limiter: Arc<Limiter>) -> Router {
    let service = service(limiter);
    OF_OPERATORS.into_iter().fold(Router::new(), |routes, path| routes.route_service(path, service.clone()))
}

fn service(limiter: Arc<Limiter>) -> ratelimit_server::RateLimitServiceServer<RateLimit> {
    ratelimit_server::RateLimitServiceServer::new(RateLimit::new(limiter))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
}
