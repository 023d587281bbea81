//! The gRPC services that every process serves beside its own: health and reflection.

use axum::Router;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::{Builder, Error};

const NAMES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Largest request, in bytes: it has little more than a name.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Health, with the way to report it, and reflection of `services`.
pub(crate) fn routes<'a>(services: impl Iterator<Item = &'a str>) -> Result<(HealthReporter, Router), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let served: Vec<&str> = NAMES.into_iter().chain(services).collect();
    let (v1, v1alpha) = (reflection(&served).build_v1()?, reflection(&served).build_v1alpha()?);
    let routes = Routes::new(health.max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(v1.max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(v1alpha.max_decoding_message_size(REQUEST_BYTES_MAX));
    Ok((reporter, routes.into_axum_router()))
}

/// Lists only what this process serves: the descriptors are those of every service.
fn reflection<'a>(served: &[&str]) -> Builder<'a> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(rpc::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that clients such as grpcurl can print the details of an error.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    served.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}
