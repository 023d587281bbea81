//! Answers that their clients do not take.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::Request;
use tokio::{task::JoinSet, time::timeout};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{PATH, PATIENCE, Server, message, reason, until};

/// A client that gives its server no room to send answers in.
pub struct Stingy {
    requests: SendRequest<Bytes>,
    _connection: JoinSet<()>,
}

impl Stingy {
    pub async fn connect(server: &Server, window: u32) -> Self {
        let mut http = h2::client::Builder::new();
        let (requests, driven) =
            http.initial_window_size(window).handshake(server.tcp().await).await.unwrap();
        let mut connection = JoinSet::new();
        connection.spawn(async { driven.await.unwrap_or_default() });
        Self { requests: requests.ready().await.unwrap(), _connection: connection }
    }

    /// Calls, and gets the head of the answer.
    pub async fn call(&mut self, domain: &str) -> RecvStream {
        let request = Request::post(format!("http://test{PATH}")).header("content-type", "application/grpc");
        let (answer, mut body) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(message(domain).into(), true).unwrap();
        timeout(PATIENCE, answer).await.expect("a head").unwrap().into_body()
    }
}

async fn overloaded(server: &Server, domain: &str) -> bool {
    server.call(domain).await.is_err_and(|status| reason(&status) == "OVERLOADED")
}

#[tokio::test]
async fn an_answer_keeps_its_place_until_it_is_taken() {
    let server = Server::start(&["--max-in-flight=1"]).await;
    let mut client = Stingy::connect(&server, 4096).await;
    let mut answer = client.call("mebibyte").await;
    assert!(overloaded(&server, "ok").await);
    let mut bytes = 0;
    while let Some(data) = timeout(PATIENCE, answer.data()).await.expect("the rest") {
        let piece = data.unwrap().len();
        answer.flow_control().release_capacity(piece).unwrap();
        bytes += piece;
    }
    assert!(bytes > 1024 * 1024, "{bytes}");
    until("there is room again", async || !overloaded(&server, "ok").await).await;
    drop(client);
    server.stopped().await;
}

#[tokio::test]
async fn who_takes_no_answer_loses_it_at_the_deadline() {
    let server = Server::start(&["--max-in-flight=1", "--request-timeout=300ms"]).await;
    for window in [0, 1] {
        let mut client = Stingy::connect(&server, window).await;
        let mut answer = client.call("mebibyte").await;
        let mut end = timeout(PATIENCE, answer.data()).await.expect("an end");
        if window == 1 {
            assert_eq!(end.unwrap().unwrap().len(), 1);
            end = timeout(PATIENCE, answer.data()).await.expect("an end");
        }
        assert_eq!(end.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
        until("there is room again", async || !overloaded(&server, "ok").await).await;
        // The connection serves on.
        drop(client.call("ok").await);
    }
    server.stopped().await;
}

#[tokio::test]
async fn answers_that_wait_to_be_taken_have_so_much_room_together() {
    let server = Server::start(&["--max-answer-bytes=1500000"]).await;
    let mut client = Stingy::connect(&server, 0).await;
    let waiting = client.call("mebibyte").await;
    until("there is no room", async || overloaded(&server, "mebibyte").await).await;
    assert!(!overloaded(&server, "ok").await, "a small answer takes none of it");
    drop(waiting);
    until("there is room again", async || !overloaded(&server, "mebibyte").await).await;
    drop(client);
    server.stopped().await;
}

#[tokio::test]
async fn streams_last_longer_than_calls_and_are_so_many_at_most() {
    let server = Server::start(&["--max-in-flight=31", "--request-timeout=100ms"]).await;
    let watch = async || server.health().await.watch(HealthCheckRequest::default()).await;
    let mut first = watch().await.unwrap().into_inner();
    while first.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    assert_eq!(reason(&watch().await.unwrap_err()), "OVERLOADED");
    assert!(!overloaded(&server, "ok").await);
    let end = timeout(Duration::from_millis(300), first.message()).await;
    assert!(end.is_err(), "{end:?}");
    drop(first);
    until("there is room again", async || watch().await.is_ok()).await;
    server.stopped().await;
}
