//! Errors, deadlines, and the limit of calls in flight.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};
use tonic_types::StatusExt as _;

use crate::support::{Server, reason};

#[tokio::test]
async fn every_error_has_its_error_info_and_no_inner_text() {
    let server = Server::start(&[]).await;

    let panicked = server.call("panic").await.unwrap_err();
    assert_eq!((panicked.code(), panicked.message()), (Code::Internal, "internal error"));
    assert_eq!(reason(&panicked), "INTERNAL");

    let too_large = server.call(&"x".repeat(2000)).await.unwrap_err();
    assert_eq!(too_large.code(), Code::OutOfRange);
    assert_eq!(reason(&too_large), "OUT_OF_RANGE");

    let mut elsewhere =
        rpc::snippets::v1::snippet_service_client::SnippetServiceClient::new(server.channel().await);
    let unknown = elsewhere.get_snippet(rpc::snippets::v1::GetSnippetRequest::default()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    assert_eq!(reason(&unknown), "UNIMPLEMENTED");

    assert!(server.call("ok").await.is_ok(), "the panic took nothing else along");
    server.stopped().await;
}

#[tokio::test]
async fn a_late_call_is_deadline_exceeded_and_a_handler_knows_what_is_left() {
    let server = Server::start(&["--request-timeout=300ms"]).await;

    let late = server.call("hang").await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert_eq!(reason(&late), "DEADLINE_EXCEEDED");
    for timeout in ["50m", "1H"] {
        let answer = server.call_with_timeout("hang", timeout).await;
        assert!(answer.contains("grpc-status: 4\r\n"), "{timeout}: {answer}");
    }
    for (timeout, at_most) in [("200m", 200), ("1H", 300)] {
        let answer = server.call_with_timeout("remaining", timeout).await;
        let left = answer.split("grpc-message: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let left: u64 = left.parse().unwrap();
        assert!((1..=at_most).contains(&left), "{left} ms of {at_most}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_told_to_come_back() {
    let server = Server::start(&["--max-in-flight=1"]).await;
    let waiting = server.call("wait");
    let second = async {
        server.handler.waiting.notified().await;
        let refused = server.call("ok").await.unwrap_err();
        server.handler.released.notify_one();
        refused
    };
    let (first, refused) = tokio::join!(waiting, second);
    assert!(first.is_ok());
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    server.stopped().await;
}

#[tokio::test]
async fn health_and_reflection_take_no_large_requests() {
    let server = Server::start(&[]).await;
    let large = HealthCheckRequest { service: "x".repeat(5000) };
    let refused = server.health().await.check(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let large = ServerReflectionRequest { host: "x".repeat(5000), message_request: None };
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let answers = reflection.server_reflection_info(tokio_stream::once(large)).await.unwrap();
    // A request that it has read, and that asks for nothing, is an invalid argument.
    assert_eq!(answers.into_inner().message().await.unwrap(), None);
    server.stopped().await;
}
