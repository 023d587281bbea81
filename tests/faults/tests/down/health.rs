//! What services say about themselves.

use std::collections::BTreeSet;

use anyhow::ensure;
use faults::PATIENCE;
use stack::{Service, eventually, http_get};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, Serving};
use tonic_health::pb::health_client::HealthClient;

use crate::Row;
use crate::scene::{Down, Scene};

/// Every service that is not down itself is alive and ready, names what it misses and nothing else, and each of its gRPC
/// services is SERVING that can answer something.
pub async fn is_told(scene: &Scene, row: &Row) {
    for service in scene.rig.product.services() {
        if scene.is_down(row.down, service) {
            continue;
        }
        let program = service.name().trim_end_matches(|it: char| it.is_ascii_digit() || it == '-');
        let missing = row.degraded.iter().filter(|(degraded, _)| *degraded == program);
        until_names(service, &missing.map(|(_, name)| *name).collect()).await;
        assert_eq!(http_get(service.admin_addr(), "/livez").await.unwrap().status, 200);
        for name in grpc_services(program) {
            // An account is a row; nothing of it is cached for long.
            let gone = row.down == Down::Postgres && *name == "snippets.v1.AccountService";
            until_health(service, name, if gone { NotServing } else { Serving }).await;
        }
    }
}

fn grpc_services(program: &str) -> &'static [&'static str] {
    match program {
        "snippets" => &["", "snippets.v1.SnippetService", "snippets.v1.AccountService"],
        "ratelimit" => &["", "ratelimit.v1.RateLimitService", "envoy.service.ratelimit.v3.RateLimitService"],
        _ => &[""],
    }
}

/// It has to be ready all the while: a shared dependency's death must not empty the load balancer.
async fn until_names(service: &Service, missing: &BTreeSet<&str>) {
    let named = eventually(PATIENCE, async || {
        let answer = http_get(service.admin_addr(), "/readyz").await?;
        assert_eq!(answer.status, 200, "{} says {answer:?}", service.name());
        let named = answer.body.lines().filter_map(|line| line.split_once(": "));
        let named: BTreeSet<_> = named.map(|(name, _)| name).collect();
        ensure!(named == *missing, "{} says {answer:?}, not {missing:?}", service.name());
        Ok(())
    });
    named.await.unwrap();
}

async fn until_health(service: &Service, name: &str, expected: ServingStatus) {
    let channel = Endpoint::from_shared(service.grpc_url()).unwrap().connect_lazy();
    let told = eventually(PATIENCE, async || {
        let request = HealthCheckRequest { service: name.to_owned() };
        let status = HealthClient::new(channel.clone()).check(request).await?.into_inner().status();
        ensure!(status == expected, "{name:?} of {} is {status:?}", service.name());
        Ok(())
    });
    told.await.unwrap();
}
