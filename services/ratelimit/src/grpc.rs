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

/// Serves that limiter; Envoy is answered with those headers.
pub fn routes(limiter: Arc<Limiter>, headers: ResponseHeaders) -> Router {
    let ratelimit = ratelimit_server::RateLimitServiceServer::new(RateLimit::new(limiter.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let envoy = envoy_server::RateLimitServiceServer::new(EnvoyRateLimit::new(limiter, headers))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    Routes::new(ratelimit).add_service(envoy).into_axum_router()
}
