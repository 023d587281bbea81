//! What a service tells its operators: health, reflection, the admin port, and how it stops.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::{Client, PATIENCE, until_views};
use rpc::snippets::v1::{CreateSnippetRequest, CreateSnippetResponse, Snippet};
use stack::{Backends, Product, Service, http_get, until};
use tokio::sync::{OnceCell, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

/// How long a service may take to stop here.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);

const SNIPPETS: [&str; 2] = ["snippets.v1.SnippetService", "snippets.v1.AccountService"];
const RATELIMIT: [&str; 2] = ["ratelimit.v1.RateLimitService", "envoy.service.ratelimit.v3.RateLimitService"];
struct Running {
    backends: Backends,
    product: Product,
}

async fn running() -> &'static Running {
    static RUNNING: OnceCell<Running> = OnceCell::const_new();
    let start = async || {
        let backends = e2e::backends().await;
        let product = e2e::product(&backends).replicas(1).workers(1).start().await.unwrap();
        Running { backends, product }
    };
    RUNNING.get_or_init(start).await
}

impl Running {
    /// The services of each binary, and which gRPC services it has of its own.
    fn services(&self) -> [(&Service, &[&str]); 3] {
        let Product { snippets, ratelimit, counter_workers } = &self.product;
        [(&snippets[0], &SNIPPETS), (ratelimit, &RATELIMIT), (&counter_workers[0], &[])]
    }

    /// A replica for a test that stops it.
    async fn doomed_replica(&self) -> Service {
        let replica = e2e::service_of(&self.backends, "snippets").unwrap();
        let replica = replica.env("RATELIMIT_URL", self.product.ratelimit.grpc_url());
        replica.env("DRAIN_TIMEOUT", format!("{}s", DRAIN_TIMEOUT.as_secs())).start().await.unwrap()
    }
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

async fn watch(client: &Client, service: &str) -> Streaming<HealthCheckResponse> {
    HealthClient::new(client.channel()).watch(of(service)).await.unwrap().into_inner()
}

async fn next_status(watched: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let next = tokio::time::timeout(PATIENCE, watched.next()).await;
    next.unwrap().unwrap().unwrap().status()
}

#[tokio::test]
async fn health_is_told_for_each_service_by_name() {
    for (server, own) in running().await.services() {
        let client = Client::to(server).await.unwrap();
        // Envoy's protocol answers nothing yet, so its health is not told either.
        for service in own.iter().filter(|name| !name.starts_with("envoy.")).chain(&[""]) {
            let mut health = HealthClient::new(client.channel());
            let status = health.check(of(service)).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{service:?} of {}", server.name());
            let mut statuses = watch(&client, service).await;
            assert_eq!(next_status(&mut statuses).await, ServingStatus::Serving);
        }
        let mut health = HealthClient::new(client.channel());
        let status = health.check(of("coffee.v1.CoffeeService")).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        e2e::assert_explained(&status);
    }
}

/// The services that a server lists by either version of reflection.
macro_rules! listed {
    ($version:ident, $client:expr) => {{
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request =
            tonic_reflection::pb::$version::ServerReflectionRequest { host: String::new(), message_request };
        let mut client = ServerReflectionClient::new($client.channel());
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        let answer = answers.into_inner().next().await.unwrap().unwrap();
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|service| service.name).collect::<BTreeSet<_>>()
            }
            other => panic!("{other:?}"),
        }
    }};
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_nothing_else() {
    for (server, own) in running().await.services() {
        let client = Client::to(server).await.unwrap();
        for (version, mut listed) in [("v1", listed!(v1, client)), ("v1alpha", listed!(v1alpha, client))] {
            assert!(listed.contains(&format!("grpc.reflection.{version}.ServerReflection")), "{listed:?}");
            // Whether each version also lists the other is a matter of taste.
            listed.retain(|service| !service.starts_with("grpc.reflection."));
            let served: BTreeSet<_> =
                own.iter().chain(&["grpc.health.v1.Health"]).map(ToString::to_string).collect();
            assert_eq!(listed, served, "{version} of {}", server.name());
        }
    }
}

#[tokio::test]
async fn the_admin_port_tells_life_readiness_and_metrics() {
    for (server, _) in running().await.services() {
        let get = async |path| http_get(server.admin_addr(), path).await.unwrap();
        assert_eq!(get("/livez").await.status, 200);
        let ready = get("/readyz").await;
        assert_eq!((ready.status, ready.body.trim()), (200, "ready"), "{}", server.name());
        let metrics = get("/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.body.contains("dependency_up{"), "{}", metrics.body);
        assert_eq!(get("/elsewhere").await.status, 404);
        // And the API's port tells nothing of it.
        let elsewhere =
            http_get(server.grpc_addr(), "/metrics").await.map_or(String::new(), |answer| answer.body);
        assert!(!elsewhere.contains("dependency_up"), "{elsewhere}");
    }
}

/// A create whose message is held back until told, and the answer to come.
async fn held_create(client: &Client) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Snippet>) {
    let (release, released) = oneshot::channel::<()>();
    let mut raw = client.raw().await.unwrap();
    let call = async move {
        let (sender, messages) = tokio::sync::mpsc::channel(1);
        let codec = ProstCodec::<CreateSnippetRequest, CreateSnippetResponse>::default();
        let path = "/snippets.v1.SnippetService/CreateSnippet".parse().unwrap();
        // On the wire a stream of one message is a unary call that takes its time.
        let call = raw.client_streaming(Request::new(ReceiverStream::new(messages)), path, codec);
        let send = async move {
            released.await.unwrap();
            let snippet = Some(Snippet { body: "in flight".into(), ..Snippet::default() });
            sender.send(CreateSnippetRequest { snippet, ..Default::default() }).await.unwrap();
        };
        let (answer, ()) = tokio::join!(call, send);
        answer.unwrap().into_inner().snippet.unwrap()
    };
    #[expect(clippy::disallowed_methods, reason = "the caller joins it")]
    let answer = tokio::spawn(call);
    (release, answer)
}

#[tokio::test]
async fn a_terminated_service_finishes_its_calls_and_loses_no_view() {
    let running = running().await;
    let replica = running.doomed_replica().await;
    let (caller, watcher) = (Client::to(&replica).await.unwrap(), Client::to(&replica).await.unwrap());
    let id = caller.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap().id;
    let mut statuses = watch(&watcher, SNIPPETS[0]).await;
    assert_eq!(next_status(&mut statuses).await, ServingStatus::Serving);

    // The limiter is asked before the message is read: once it was, the call is in flight.
    let checks = "grpc_requests_total{method=\"/ratelimit.v1.RateLimitService/Check\"}";
    let limiter = &running.product.ratelimit;
    let before = limiter.metric(checks).await.unwrap();
    let (release, answer) = held_create(&caller).await;
    let asked = async || limiter.metric(checks).await.unwrap() > before + 0.5;
    until("the call is in flight", PATIENCE, asked).await.unwrap();
    for _ in 0..10 {
        caller.get(&id).await.unwrap();
    }

    let observe = async {
        assert_eq!(next_status(&mut statuses).await, ServingStatus::NotServing);
        let ready = http_get(replica.admin_addr(), "/readyz").await.unwrap();
        assert_eq!(ready.status, 503);
        let refused = async || Client::to(&replica).await.is_err();
        until("new connections are refused", PATIENCE, refused).await.unwrap();
        drop((statuses, watcher));
        release.send(()).unwrap();
        answer.await.unwrap()
    };
    let (status, created) = tokio::join!(replica.terminate(DRAIN_TIMEOUT), observe);
    assert!(status.unwrap().success(), "{}", replica.log());

    let other = Client::to(&running.product.snippets[0]).await.unwrap();
    assert_eq!(other.get(&created.id).await.unwrap().body, "in flight");
    assert_eq!(until_views(&other, &id, 10).await.unwrap(), 10);
}

#[tokio::test]
async fn whoever_goes_on_watching_health_costs_no_view() {
    let running = running().await;
    let replica = running.doomed_replica().await;
    let (caller, watcher) = (Client::to(&replica).await.unwrap(), Client::to(&replica).await.unwrap());
    let id = caller.create(Snippet { body: "x".into(), ..Snippet::default() }).await.unwrap().id;
    let mut statuses = watch(&watcher, "").await;
    assert_eq!(next_status(&mut statuses).await, ServingStatus::Serving);
    for _ in 0..10 {
        caller.get(&id).await.unwrap();
    }
    let told_to_go = async {
        assert_eq!(next_status(&mut statuses).await, ServingStatus::NotServing);
        statuses.message().await
    };
    let (status, end) = tokio::join!(replica.terminate(DRAIN_TIMEOUT + Duration::from_secs(2)), told_to_go);
    assert!(status.unwrap().success(), "{}", replica.log());
    assert_eq!(end.unwrap(), None, "the watch was cut off");
    let other = Client::to(&running.product.snippets[0]).await.unwrap();
    assert_eq!(until_views(&other, &id, 10).await.unwrap(), 10, "{}", replica.log());
}

#[tokio::test]
async fn the_healthcheck_subcommand_asks_the_admin_port() {
    let running = running().await;
    for (server, program) in running.services().map(|(server, _)| server).into_iter().zip([
        "snippets",
        "ratelimit",
        "counter-worker",
    ]) {
        let healthcheck = |addr: String| {
            let mut command = std::process::Command::new(stack::binary(program).unwrap());
            command.env_clear().arg("healthcheck").env("ADMIN_ADDR", addr).output().unwrap()
        };
        let healthy = healthcheck(server.admin_addr().to_string());
        assert!(healthy.status.success(), "{healthy:?}");
        let nobody = stack::Port::free().unwrap();
        assert!(!healthcheck(nobody.addr().to_string()).status.success());
    }
}
