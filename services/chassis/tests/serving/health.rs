//! What a server says of itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chassis::{Background, Health, Need};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{Server, until};

#[tokio::test]
async fn health_follows_a_dependency() {
    let up = Arc::new(AtomicBool::new(false));
    let probed = up.clone();
    let health = Health::new()
        .dependency("store", Need::ToStart, move || {
            let up = probed.load(Ordering::SeqCst);
            async move { if up { Ok(()) } else { Err("away".into()) } }
        })
        .service("test.Service", &["store"]);
    let server = Server::start_with(&[], health, Background::default()).await;
    let mut client = server.health().await;
    for (now_up, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        up.store(now_up, Ordering::SeqCst);
        let mut statuses =
            client.watch(HealthCheckRequest { service: "test.Service".into() }).await.unwrap().into_inner();
        while statuses.message().await.unwrap().unwrap().status() != expected {}
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_service_that_can_answer_something_says_so_before_the_whole_is_ready() {
    let away = || async { Err("away".into()) };
    let health = Health::new()
        .dependency("store", Need::ToStart, away)
        .dependency("cache", Need::Degrades, || async { Ok(()) })
        .service("test.Reads", &["store", "cache"])
        .service("test.Local", &[])
        .service("test.Writes", &["store"]);
    let server = Server::start_with(&[], health, Background::default()).await;
    let client = server.health().await;
    let status = async |service: &str| {
        let response = client.clone().check(HealthCheckRequest { service: service.into() }).await;
        response.unwrap().into_inner().status()
    };
    until("reads are served", async || status("test.Reads").await == ServingStatus::Serving).await;
    assert_eq!(status("test.Local").await, ServingStatus::Serving);
    assert_eq!(status("test.Writes").await, ServingStatus::NotServing);
    assert_eq!(status("").await, ServingStatus::NotServing, "the whole never could do its work");
    drop(client);
    server.stopped().await;
}
