//! A server of one method that does as it is told, and ways to reach it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    routing::{get, post},
};
use chassis::{
    App, Background, Bound, Health, ServeError,
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
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes, transport::Channel};
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// Longer than anything here takes, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The path of the method.
pub const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Does what the request's domain says.
#[derive(Default)]
pub struct Obedient {
    pub waiting: Notify,
    pub released: Notify,
}

#[tonic::async_trait]
impl RateLimitService for Obedient {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let mut response = RateLimitResponse::default();
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
            "mebibyte" => response.raw_body = vec![b'x'; 1024 * 1024],
            _ => {}
        }
        Ok(Response::new(response))
    }
}

/// Bytes of an answer that no kernel keeps for a client.
pub const FLOOD_BYTES: usize = 64 * 1024 * 1024;

/// Routes of plain HTTP.
fn plain() -> axum::Router {
    let error = || async {
        let mut error = Status::failed_precondition("not so").into_http::<Body>();
        *error.status_mut() = http::StatusCode::PRECONDITION_FAILED;
        error
    };
    axum::Router::new()
        .route("/hang", get(std::future::pending::<()>))
        .route("/panic", get(panics))
        .route("/flood", get(|| async { vec![b'x'; FLOOD_BYTES] }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/error", get(error))
}

async fn panics() -> &'static str {
    panic!("a secret in /etc/passwd")
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    server: ServerArgs,
}

fn config(flags: &[&str]) -> ServerConfig {
    let mut args =
        vec!["test", "--listen-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--server-threads=2"];
    if !flags.iter().any(|flag| flag.starts_with("--drain-timeout")) {
        args.push("--drain-timeout=5s");
    }
    args.extend(flags);
    let mut problems = Problems::default();
    let config = Flags::parse_from(args).server.validate(&mut problems);
    problems.finish(config).unwrap()
}

pub struct Server {
    pub addr: SocketAddr,
    pub handler: Arc<Obedient>,
    pub stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, Health::new(), Background::default()).await
    }

    pub async fn start_with(flags: &[&str], health: Health, background: Background) -> Self {
        let bound = Bound::bind(config(flags)).await.unwrap();
        let addr = bound.listen_addr().unwrap();
        let handler = Arc::new(Obedient::default());
        let service = RateLimitServiceServer::from_arc(handler.clone()).max_decoding_message_size(1024);
        let routes = Routes::new(service).into_axum_router().merge(plain());
        let app = App { error_domain: "test", routes: routes.into(), health, background };
        let stop = CancellationToken::new();
        let run = bound.run(app, stop.clone());
        #[expect(clippy::disallowed_methods, reason = "joined by Server::ended")]
        let served = tokio::spawn(run);
        Self { addr, handler, stop, served }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    pub async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    pub async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub async fn call(&self, domain: &str) -> Result<(), Status> {
        let request = RateLimitRequest { domain: domain.to_owned(), ..RateLimitRequest::default() };
        Client::new(self.channel().await).should_rate_limit(request).await.map(drop)
    }

    /// The answer to a call with that `grpc-timeout`, over HTTP/1: a tonic client would not wait for the server to end
    /// a late call.
    pub async fn call_with_timeout(&self, domain: &str, timeout: &str) -> String {
        let message = message(domain);
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\ngrpc-timeout: {timeout}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            message.len()
        );
        let mut stream = self.tcp().await;
        stream.write_all(&[head.as_bytes(), &message].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub async fn stopped(self) {
        self.stop.cancel();
        self.ended().await.unwrap();
    }

    pub async fn ended(self) -> Result<(), ServeError> {
        tokio::time::timeout(PATIENCE, self.served).await.expect("it ends").unwrap()
    }
}

/// A request for that domain, framed as gRPC does.
pub fn message(domain: &str) -> Vec<u8> {
    let message = RateLimitRequest { domain: domain.to_owned(), ..RateLimitRequest::default() };
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// Waits until the condition holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}: not so");
}
