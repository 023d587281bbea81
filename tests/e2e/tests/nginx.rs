//! nginx, with the very file that the compose stack mounts, in front of two replicas.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use e2e::{Client, PATIENCE};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use rpc::snippets::v1::{Snippet, Tier};
use stack::{Port, Product, Service, http_get, kill_tree, until};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx/nginx.conf");

/// Ends nginx when its standard input does, which happens whatever ends this process.
const UNTIL_ORPHANED: &str =
    r#"nginx -p "$1/" -c "$1/nginx.conf" -e stderr -g 'daemon off;' & read -r _; kill $!; wait"#;

/// An nginx with a folder of its own, where `listen.conf` and `upstreams.conf` are this test's.
struct Nginx {
    shell: Child,
    port: Port,
    _dir: TempDir,
}

impl Nginx {
    async fn start(replicas: &[Service]) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::free().unwrap());
        configure(dir.path(), port.addr(), replicas);
        let shell = Command::new("sh")
            .args(["-c", UNTIL_ORPHANED, "nginx"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let nginx = Self { shell, port, _dir: dir };
        let up =
            async || http_get(nginx.port.addr(), "/").await.is_ok() || nginx.client(None).await.is_some();
        until("nginx listens", PATIENCE, up).await.unwrap();
        nginx
    }

    /// A caller of nginx, from that address of this machine.
    async fn client(&self, from: Option<IpAddr>) -> Option<Client> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.port.addr())).unwrap();
        let channel: Channel = endpoint.local_address(from).connect().await.ok()?;
        Some(Client::over(channel))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        kill_tree(self.shell.id());
        let _ = self.shell.wait();
    }
}

fn configure(dir: &Path, listen: SocketAddr, replicas: &[Service]) {
    symlink(fs::canonicalize(CONFIGURATION).unwrap(), dir.join("nginx.conf")).unwrap();
    fs::write(dir.join("listen.conf"), format!("listen {listen} http2;\n")).unwrap();
    let server = |replica: &Service| format!("server {} max_fails=3 fail_timeout=5s;\n", replica.grpc_addr());
    let servers: String = replicas.iter().map(server).collect();
    fs::write(dir.join("upstreams.conf"), format!("upstream snippets {{\n{servers}keepalive 64;\n}}\n"))
        .unwrap();
}

async fn gets(replica: &Service) -> f64 {
    let selector = "grpc_requests_total{method=\"/snippets.v1.SnippetService/GetSnippet\"}";
    replica.metric(selector).await.unwrap()
}

fn small() -> Snippet {
    Snippet { body: "x".into(), ..Snippet::default() }
}

#[tokio::test]
async fn nginx_stands_in_front_of_two_replicas() {
    let product = e2e::product(&e2e::backends().await).workers(0).env("TRUSTED_PROXIES", "127.0.0.1");
    let product = product.start().await.unwrap();
    let nginx = Nginx::start(&product.snippets).await;
    let client = nginx.client(None).await.unwrap();

    calls_are_spread_over_both(&client, &product).await;
    a_mebibyte_passes_and_errors_come_whole(&client).await;
    pages_and_forms_pass_too(&nginx, &client).await;
    the_limiter_sees_the_clients_address(&nginx).await;
    the_loss_of_a_replica_is_overcome(&client, &product).await;
}

async fn calls_are_spread_over_both(client: &Client, product: &Product) {
    let id = client.create(small()).await.unwrap().id;
    for _ in 0..100 {
        client.get(&id).await.unwrap();
    }
    let [one, two] = [gets(&product.snippets[0]).await, gets(&product.snippets[1]).await];
    assert!(one >= 25.0 && two >= 25.0 && one + two >= 100.0, "{one} and {two}");
}

async fn a_mebibyte_passes_and_errors_come_whole(client: &Client) {
    let caller = client.as_new(Tier::Free).await.unwrap();
    let body = "x".repeat(1024 * 1024);
    let id = caller.create(Snippet { body: body.clone(), ..Snippet::default() }).await.unwrap().id;
    assert_eq!(client.get(&id).await.unwrap().body, body);
    let too_long = Snippet { body: body + "x", ..Snippet::default() };
    let status = caller.create(too_long).await.unwrap_err();
    assert_eq!(e2e::violated_fields(&status), ["snippet.body"]);
    e2e::assert_explained(&status);
}

async fn pages_and_forms_pass_too(nginx: &Nginx, client: &Client) {
    // Debian's nginx can't take both versions of HTTP on one port; that of the compose file can.
    let http = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let (addr, form) = (nginx.port.addr(), "application/x-www-form-urlencoded");
    let shared = Request::post(format!("http://{addr}/s")).header("origin", format!("http://{addr}"));
    let shared = shared.header("content-type", form).body("body=x".into()).unwrap();
    let shared = http.request(shared).await.unwrap();
    assert_eq!(shared.status(), StatusCode::SEE_OTHER, "{shared:?}");
    let path = shared.headers()["location"].to_str().unwrap();
    assert_eq!(client.get(path.strip_prefix("/s/").unwrap()).await.unwrap().body, "x");

    for (accept, path, status) in [
        ("text/html", path, StatusCode::OK),
        ("application/json", path, StatusCode::OK),
        ("text/html", "/", StatusCode::OK),
        ("text/html", "/s/00000000000", StatusCode::NOT_FOUND),
        ("text/html", "/nowhere", StatusCode::NOT_FOUND),
    ] {
        let request =
            Request::get(format!("http://{addr}{path}")).header("accept", accept).body(Body::empty());
        let answer = http.request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{answer:?}");
        assert!(!axum::body::to_bytes(Body::new(answer.into_body()), usize::MAX).await.unwrap().is_empty());
    }
}

async fn the_limiter_sees_the_clients_address(nginx: &Nginx) {
    let [two, three] = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().ok());
    let limited = nginx.client(two).await.unwrap();
    for number in 0..60 {
        // What a client makes up about itself changes nothing.
        let client = limited.with_header("x-forwarded-for", &format!("198.51.100.{number}"));
        client.create(small()).await.unwrap();
    }
    let status = limited.create(small()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    e2e::assert_explained(&status);
    let quota = status.get_details_quota_failure().unwrap();
    assert_eq!(quota.violations[0].subject, "address:127.0.0.2");
    assert!(status.metadata().contains_key("retry-after"));
    nginx.client(three).await.unwrap().create(small()).await.unwrap();
}

async fn the_loss_of_a_replica_is_overcome(client: &Client, product: &Product) {
    let id = client.create(small()).await.unwrap().id;
    let [staying, leaving] = &product.snippets[..] else { panic!("two replicas") };
    let mut callers = JoinSet::new();
    let (gone, is_gone) = watch::channel(false);
    for _ in 0..4 {
        callers.spawn(call_until(client.clone(), id.clone(), is_gone.clone()));
    }
    assert!(leaving.terminate(Duration::from_secs(15)).await.unwrap().success());
    let before = gets(staying).await;
    let goes_on = async || gets(staying).await >= before + 100.0;
    until("calls go on", PATIENCE, goes_on).await.unwrap();
    gone.send_replace(true);
    for lost in callers.join_all().await {
        assert!(lost.unwrap() <= 1, "a caller lost more than one call");
    }
    for _ in 0..20 {
        client.get(&id).await.unwrap();
    }
}

/// Reads until told to stop; gives how many reads were lost, each of which succeeded when sent again.
///
/// A connection that nginx opens just as the replica stops listening may be reset before the replica has seen it. nginx can't
/// know whether the call on it had an effect, so it does not send it elsewhere by itself, and answers UNAVAILABLE.
async fn call_until(client: Client, id: String, stop: watch::Receiver<bool>) -> Result<u32, Status> {
    let mut lost = 0;
    while !*stop.borrow() {
        match client.get(&id).await {
            Err(status) if status.code() == Code::Unavailable => {
                client.get(&id).await?;
                lost += 1;
            }
            answer => drop(answer?),
        }
    }
    Ok(lost)
}
