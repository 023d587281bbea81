//! `envoy.service.ratelimit.v3.RateLimitService`.

use rpc::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse, rate_limit_service_server::RateLimitService,
};
use tonic::{Request, Response, Status, async_trait};

use super::status;

/// Envoy's protocol, which is not served yet.
#[derive(Debug, Default, Clone, Copy)]
pub struct EnvoyRateLimit;

#[async_trait]
impl RateLimitService for EnvoyRateLimit {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        Err(status::not_served_yet("ShouldRateLimit"))
    }
}
