//! What a caller may store in a day is limited in bytes, for all replicas and both faces together.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use e2e::{Client, assert_explained};
use rpc::snippets::v1::{CreateSnippetRequest, Snippet, Tier};
use stack::{Product, Service, ServiceBuilder, binary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const MEBIBYTE: usize = 1024 * 1024;
/// What a request says besides its body has room in the last step of a mebibyte.
const REST: usize = 100;

fn snippet(bytes: usize) -> Snippet {
    Snippet { body: "x".repeat(bytes - REST), ..Snippet::default() }
}

async fn product(rules: Option<&str>) -> (Product, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut product = e2e::product(&e2e::backends().await).replicas(1).workers(0);
    if let Some(rules) = rules {
        let path = dir.path().join("rules.yaml");
        std::fs::write(&path, rules).unwrap();
        product = product.env("RATELIMIT_RULES", path.to_string_lossy());
    }
    (product.start().await.unwrap(), dir)
}

fn assert_over_quota(status: &Status, rule: &str, limit: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let quota = status.get_details_quota_failure().unwrap().violations;
    assert!(quota[0].description.starts_with(&format!("{rule}: {limit} allowed")), "{quota:?}");
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(Duration::ZERO < wait && wait <= Duration::from_secs(24 * 60 * 60), "{wait:?}");
    let header = |name| status.metadata().get(name).unwrap().to_str().unwrap();
    assert_eq!((header("ratelimit-limit"), header("ratelimit-remaining")), (limit, "0"));
    assert!(header("retry-after").parse::<u64>().unwrap() >= wait.as_secs());
}

/// Twenty mebibytes pass, in creates and updates, and then not one byte more; deletes still do.
async fn twenty_mebibytes_a_day(server: &Service) {
    let anonymous = Client::to(server).await.unwrap();
    for _ in 0..20 {
        anonymous.create(snippet(MEBIBYTE)).await.unwrap();
    }
    let refused = anonymous.create(snippet(REST + 1)).await.unwrap_err();
    assert_over_quota(&refused, "bytes_anonymous", "20971520");
    let form = "body=x".to_owned();
    let post = format!(
        "POST /s HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    );
    let chunked = "POST /s HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
                   content-type: application/x-www-form-urlencoded\r\n\r\n6\r\nbody=x\r\n0\r\n\r\n";
    for request in [post.as_str(), chunked] {
        let answer = exchange(server, request).await;
        assert!(answer.starts_with("http/1.1 429 ") && answer.contains("\r\nretry-after: "), "{answer}");
    }
    let account = anonymous.as_new(Tier::Free).await.unwrap();
    let id = account.create(snippet(MEBIBYTE)).await.unwrap().id;
    account.delete(&id).await.unwrap();
}

/// What is answered to a request, in lower case.
async fn exchange(server: &Service, request: &str) -> String {
    let mut stream = TcpStream::connect(server.grpc_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_lowercase()
}

#[tokio::test]
async fn an_address_stores_twenty_mebibytes_a_day() {
    let (product, _rules) = product(None).await;
    twenty_mebibytes_a_day(&product.snippets[0]).await;
}

#[tokio::test]
async fn so_it_does_in_standalone() {
    let dir = tempfile::tempdir().unwrap();
    let server = standalone(dir.path()).start().await.unwrap();
    twenty_mebibytes_a_day(&server).await;
}

const FEW_BYTES: &str = "domain: snippets
descriptors:
  - {key: tier, descriptors: [
      {key: caller, limits: [{name: writes, limit: 8, period: 1h}]},
      {key: bytes, limits: [{name: bytes, algorithm: quota, limit: 4096, period: day}]}]}
";

/// By [`FEW_BYTES`].
async fn charged_all_or_nothing(server: &Service) {
    let account = Client::to(server).await.unwrap().as_new(Tier::Free).await.unwrap();
    let id = account.create(snippet(1024)).await.unwrap().id;
    // What no waiting lets pass is told so, and has charged nothing.
    let never = account.create(snippet(5 * 1024)).await.unwrap_err();
    assert_eq!(never.code(), Code::OutOfRange, "{never:?}");
    assert_explained(&never);
    assert_eq!(never.get_details_error_info().unwrap().reason, "LARGER_THAN_LIMIT");
    assert!(never.get_details_retry_info().is_none());
    // What is over one limit is charged to neither.
    for _ in 0..3 {
        let over = account.create(snippet(4 * 1024)).await.unwrap_err();
        assert_eq!(over.code(), Code::ResourceExhausted, "{over:?}");
    }
    let edit = Snippet { id: id.clone(), ..snippet(3 * 1024) };
    account.update(edit.clone()).await.unwrap();
    let over = account.update(edit).await.unwrap_err();
    assert_over_quota(&over, "bytes", "4096");
    // Six of eight writes are left, which deletes use up.
    for _ in 0..6 {
        account.delete(&id).await.unwrap_or_else(|status| assert_eq!(status.code(), Code::NotFound));
    }
    let denied = account.delete(&id).await.unwrap_err();
    assert!(denied.get_details_quota_failure().unwrap().violations[0].description.starts_with("writes: 8"));
}

/// By [`FEW_BYTES`], what is stored counts, however little of it is sent.
async fn charged_as_decompressed(server: &Service) {
    let account = Client::to(server).await.unwrap().as_new(Tier::Free).await.unwrap();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut api = account.snippets().send_compressed(encoding);
        let mut create = async |bytes| {
            let snippet = Some(snippet(bytes));
            api.create_snippet(CreateSnippetRequest { snippet, ..CreateSnippetRequest::default() }).await
        };
        create(2 * 1024).await.unwrap();
        assert_eq!(create(4 * 1024).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    assert_over_quota(&account.create(snippet(1024)).await.unwrap_err(), "bytes", "4096");
}

#[tokio::test]
async fn writes_and_bytes_are_charged_together_or_not_at_all() {
    let (product, _rules) = product(Some(FEW_BYTES)).await;
    charged_all_or_nothing(&product.snippets[0]).await;
    charged_as_decompressed(&product.snippets[0]).await;
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    std::fs::write(&rules, FEW_BYTES).unwrap();
    let standalone = standalone(dir.path()).env("RATELIMIT_RULES", rules.to_string_lossy());
    let standalone = standalone.start().await.unwrap();
    charged_all_or_nothing(&standalone).await;
    charged_as_decompressed(&standalone).await;
}

fn standalone(data_dir: &Path) -> ServiceBuilder {
    Service::builder("standalone", binary("standalone").unwrap())
        .env("DATA_DIR", data_dir.to_string_lossy())
        .env("BOOTSTRAP_ADMIN_KEY", e2e::ADMIN_KEY)
}
