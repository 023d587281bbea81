//! A real Envoy in front of an upstream, limited by our service.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use e2e::PATIENCE;
use stack::{Envoy, HttpAnswer, Service, http_get_with, shared, until};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const LIMIT: usize = 3;

/// What Envoy says of each request is matched by this alone: the value of its header `x-client`.
const RULES: &str = "\
domain: edge
descriptors:
  - key: client
    rate_limit: {unit: minute, requests_per_unit: 3}
";

/// An Envoy with its limiter and its upstream.
struct Edge {
    envoy: Envoy,
    limiter: Service,
    upstream: Upstream,
    _rules: TempDir,
}

impl Edge {
    /// `failure_mode_deny` says what Envoy does while the limiter does not answer.
    async fn start(failure_mode_deny: bool) -> Self {
        let rules = tempfile::tempdir().unwrap();
        fs::write(rules.path().join("edge.yaml"), RULES).unwrap();
        let limiter = limiter(&rules).await;
        let upstream = Upstream::start().await;
        let bootstrap = |listen| bootstrap(listen, upstream.addr, limiter.grpc_addr(), failure_mode_deny);
        let envoy = Envoy::start(bootstrap).await.unwrap();
        Self { envoy, limiter, upstream, _rules: rules }
    }

    async fn get(&self, client: &str) -> HttpAnswer {
        http_get_with(self.envoy.addr(), "/", &[("x-client", client)]).await.unwrap()
    }

    /// The limiter has decided, and nothing went wrong between the two.
    async fn assert_the_limiter_was_asked(&self, times: u64) {
        for (outcome, expected) in [("ok", times - 1), ("over_limit", 1), ("error", 0)] {
            let stat = format!("cluster.upstream.ratelimit.{outcome}");
            // A counter is there once it has counted.
            let counted = self.envoy.stat(&stat).await.unwrap_or(0);
            assert_eq!(counted, expected, "{stat}; {}", self.limiter.log());
        }
    }
}

async fn limiter(rules: &TempDir) -> Service {
    let limiter = e2e::service("ratelimit")
        .unwrap()
        .env("COUNTERS_REDIS_URL", shared().own_counters_redis_url().await)
        .env("RATELIMIT_RULES", rules.path().to_string_lossy())
        .env("ENVOY_RESPONSE_HEADERS", "draft");
    limiter.start().await.unwrap()
}

/// An HTTP server that counts what reaches it.
struct Upstream {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let count = async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            "from the upstream"
        };
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(listener, Router::new().route("/", get(count))).await.unwrap();
        });
        Self { addr, requests, _serving: serving }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn assert_passed(answer: &HttpAnswer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, "from the upstream"), "{answer:?}");
}

fn number(answer: &HttpAnswer, header: &str) -> usize {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}

#[tokio::test]
async fn the_fourth_request_of_a_client_gets_429_and_is_told_when_to_come_back() {
    let edge = Edge::start(true).await;
    for left in (0..LIMIT).rev() {
        let answer = edge.get("one").await;
        assert_passed(&answer);
        assert_told_the_limit(&answer, left);
        assert_eq!(answer.header("retry-after"), None);
    }
    let denied = edge.get("one").await;
    assert_eq!(denied.status, 429, "{denied:?}");
    assert_told_the_limit(&denied, 0);
    assert!(denied.header("x-envoy-ratelimited").is_some(), "{denied:?}");
    assert!((1..=60).contains(&number(&denied, "retry-after")), "{denied:?}");
    assert_eq!(edge.upstream.requests(), LIMIT, "what was denied went on to the upstream");

    let other = edge.get("another").await;
    assert_passed(&other);
    assert_told_the_limit(&other, LIMIT - 1);
    edge.assert_the_limiter_was_asked(5).await;
}

fn assert_told_the_limit(answer: &HttpAnswer, remaining: usize) {
    let limit = answer.header("x-ratelimit-limit");
    // Envoy's own form: the limit that is closest, then all of them with their windows in seconds.
    assert!(limit.is_some_and(|limit| limit.starts_with("3, 3;w=60")), "{limit:?} {answer:?}");
    assert_eq!(number(answer, "x-ratelimit-remaining"), remaining, "{answer:?}");
    assert!((1..=60).contains(&number(answer, "x-ratelimit-reset")), "{answer:?}");
}

#[tokio::test]
async fn without_the_limiter_envoy_lets_through_if_told_so() {
    let edge = Edge::start(false).await;
    edge.limiter.kill();
    for _ in 0..=LIMIT {
        assert_passed(&edge.get("one").await);
    }
    edge.limiter.restart().await.unwrap();
    until("the limiter decides again", PATIENCE, async || edge.get("one").await.status == 429).await.unwrap();
}

#[tokio::test]
async fn without_the_limiter_envoy_refuses_if_told_so() {
    let edge = Edge::start(true).await;
    edge.limiter.kill();
    let refused = edge.get("one").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(edge.upstream.requests(), 0);
    edge.limiter.restart().await.unwrap();
    until("the limiter decides again", PATIENCE, async || edge.get("one").await.status == 200).await.unwrap();
}

/// The limiter has more time than Envoy's 20 ms: the tests share few cores with many servers.
fn bootstrap(
    listen: SocketAddr,
    upstream: SocketAddr,
    limiter: SocketAddr,
    failure_mode_deny: bool,
) -> String {
    let [listen, upstream, limiter] = [listen, upstream, limiter].map(socket_address);
    format!(
        r#"
static_resources:
  listeners:
    - address: {listen}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: edge
                http_filters:
                  - name: envoy.filters.http.ratelimit
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
                      domain: edge
                      timeout: 5s
                      failure_mode_deny: {failure_mode_deny}
                      enable_x_ratelimit_headers: DRAFT_VERSION_03
                      rate_limit_service:
                        transport_api_version: V3
                        grpc_service: {{envoy_grpc: {{cluster_name: limiter}}}}
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {{prefix: /}}
                          route:
                            cluster: upstream
                            rate_limits:
                              - actions:
                                  - request_headers: {{header_name: x-client, descriptor_key: client}}
  clusters:
    - name: upstream
      load_assignment:
        cluster_name: upstream
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {upstream}}}}}]}}]
    - name: limiter
      load_assignment:
        cluster_name: limiter
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {limiter}}}}}]}}]
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{http2_protocol_options: {{}}}}
"#
    )
}

fn socket_address(addr: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", addr.ip(), addr.port())
}
