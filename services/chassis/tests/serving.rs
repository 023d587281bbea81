//! A server as its clients see it: errors, deadlines, health, draining.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may")]

use std::{net::SocketAddr, sync::Arc};

use chassis::{
    App, Background, Bound, Health, Need,
    config::{Problems, ServerArgs, ServerConfig},
    deadline,
};
use clap::Parser as _;
use prost::Message as _;
use rpc::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse,
    rate_limit_service_client::RateLimitServiceClient as Client,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, service::Routes, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

/// Does what the request's domain says.
#[derive(Default)]
struct Obedient {
    waiting: Notify,
    released: Notify,
}

#[tonic::async_trait]
impl RateLimitService for Obedient {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        match request.into_inner().domain.as_str() {
            "panic" => panic!("a secret in /etc/passwd"),
            "hang" => std::future::pending().await,
            "wait" => {
                self.waiting.notify_one();
                self.released.notified().await;
            }
            "remaining" => {
                let left = deadline::remaining().unwrap_or_default();
                return Err(Status::failed_precondition(left.as_millis().to_string()));
            }
            _ => {}
        }
        Ok(Response::new(RateLimitResponse::default()))
    }
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    server: ServerArgs,
}

fn config(flags: &[&str]) -> ServerConfig {
    let fixed = ["test", "--listen-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--drain-timeout=5s"];
    let args = Flags::parse_from([&fixed, flags].concat());
    let mut problems = Problems::default();
    let config = args.server.validate(&mut problems);
    problems.finish(config).unwrap()
}

struct Server {
    addr: SocketAddr,
    handler: Arc<Obedient>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Server {
    async fn start(flags: &[&str], health: Health) -> Self {
        let bound = Bound::bind(config(flags)).await.unwrap();
        let addr = bound.listen_addr().unwrap();
        let handler = Arc::new(Obedient::default());
        let service = RateLimitServiceServer::from_arc(handler.clone()).max_decoding_message_size(1024);
        let routes = Routes::new(service).into_axum_router();
        let app = App { error_domain: "test", routes, health, background: Background::default() };
        let stop = CancellationToken::new();
        let run = bound.run(app, stop.clone());
        #[expect(clippy::disallowed_methods, reason = "joined by Server::stopped")]
        let served = tokio::spawn(async move { run.await.unwrap() });
        Self { addr, handler, stop, served }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    async fn call(&self, domain: &str) -> Result<(), Status> {
        let request = RateLimitRequest { domain: domain.to_owned(), ..RateLimitRequest::default() };
        Client::new(self.channel().await).should_rate_limit(request).await.map(drop)
    }

    /// The head of the answer to a call with that `grpc-timeout`, over HTTP/1: a tonic client would not wait for
    /// the server to end a late call.
    async fn call_with_timeout(&self, domain: &str, timeout: &str) -> String {
        let message =
            RateLimitRequest { domain: domain.to_owned(), ..RateLimitRequest::default() }.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap();
        let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\ngrpc-timeout: {timeout}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            length + 5
        );
        let mut stream = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(&[head.as_bytes(), &[0], &length.to_be_bytes(), &message].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn stopped(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn every_error_has_its_error_info_and_no_inner_text() {
    let server = Server::start(&[], Health::new()).await;

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
    let server = Server::start(&["--request-timeout=300ms"], Health::new()).await;

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
    let server = Server::start(&["--max-in-flight=1"], Health::new()).await;
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
async fn draining_finishes_what_was_begun_and_takes_nothing_new() {
    let server = Server::start(&[], Health::new()).await;
    let waiting = server.call("wait");
    let drain = async {
        server.handler.waiting.notified().await;
        server.stop.cancel();
        while tokio::net::TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.handler.released.notify_one();
    };
    let (first, ()) = tokio::join!(waiting, drain);
    assert!(first.is_ok(), "{first:?}");
    server.stopped().await;
}

#[tokio::test]
async fn health_follows_a_dependency() {
    let (up, set_up) =
        (Arc::new(std::sync::atomic::AtomicBool::new(false)), std::sync::atomic::Ordering::SeqCst);
    let probed = up.clone();
    let health = Health::new()
        .dependency("store", Need::ToStart, move || {
            let up = probed.load(set_up);
            async move { if up { Ok(()) } else { Err("away".into()) } }
        })
        .service("test.Service", &["store"]);
    let server = Server::start(&[], health).await;
    let mut client = HealthClient::new(server.channel().await);
    for (now_up, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        up.store(now_up, set_up);
        let mut statuses =
            client.watch(HealthCheckRequest { service: "test.Service".into() }).await.unwrap().into_inner();
        while statuses.message().await.unwrap().unwrap().status() != expected {}
    }
    server.stopped().await;
}
