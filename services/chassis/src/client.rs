//! What a call to another service takes along: the trace context, and the time that is left.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{MetadataKey, MetadataMap},
    service::Interceptor,
    transport::{Channel, Endpoint},
};

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{deadline, health::ProbeResult, propagation};

/// A channel to another service that connects when it is first needed and again after every loss.
///
/// # Errors
/// When the URL is not one such as `http://ratelimit:50052`.
pub fn channel(url: &str, connect_timeout: Duration) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        // A silent peer is found out even when nothing is sent.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// An interceptor that passes on the trace context, and the remaining time up to `limit`.
pub fn on_behalf(limit: Duration) -> impl Interceptor + Clone {
    move |mut request: Request<()>| -> Result<Request<()>, Status> {
        request.set_timeout(deadline::remaining().map_or(limit, |left| left.min(limit)));
        propagation::inject_current(|key, value| set(request.metadata_mut(), key, &value));
        Ok(request)
    }
}

/// Whether the gRPC service of that name at the other end is serving; for [`Health::dependency`](crate::Health::dependency).
///
/// # Errors
/// When it can't be reached, or is not serving.
pub async fn probe(channel: Channel, service: &'static str) -> ProbeResult {
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = HealthClient::new(channel).check(request).await;
    let status = response.map_err(|status| status.message().to_owned())?.into_inner().status();
    if status == ServingStatus::Serving { Ok(()) } else { Err("not serving".into()) }
}

fn set(metadata: &mut MetadataMap, key: &str, value: &str) {
    if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
        metadata.insert(key, value);
    }
}
