//! Requests that are larger than their methods have any use for, as a whole or once they are decoded.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use e2e::{Client, assert_explained, violated_fields};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, DeleteSnippetRequest, GetSnippetRequest, GetViewStatsRequest,
    ListSnippetsRequest, Snippet, Tier, UpdateSnippetRequest,
};
use stack::{Product, Service};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};

const MEBIBYTE: usize = 1024 * 1024;

async fn server() -> &'static Service {
    static PRODUCT: OnceCell<Product> = OnceCell::const_new();
    let start = async || e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    &PRODUCT.get_or_init(start).await.snippets[0]
}

fn too_large<T>(answer: Result<Response<T>, Status>) {
    let status = answer.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().ends_with("; send a smaller message"), "{status:?}");
    assert_explained(&status);
}

#[tokio::test]
async fn what_brings_no_body_has_sixteen_kibibytes() {
    let account = Client::to(server().await).await.unwrap().as_new(Tier::Free).await.unwrap();
    let mut api = account.snippets();
    let id = "x".repeat(16 * 1024);
    too_large(api.get_snippet(GetSnippetRequest { id: id.clone(), ..GetSnippetRequest::default() }).await);
    let ids = vec![id.clone()];
    too_large(
        api.batch_get_snippets(BatchGetSnippetsRequest { ids, ..BatchGetSnippetsRequest::default() }).await,
    );
    let list = ListSnippetsRequest { page_token: id.clone(), ..ListSnippetsRequest::default() };
    too_large(api.list_snippets(list).await);
    too_large(
        api.get_view_stats(GetViewStatsRequest { id: id.clone(), ..GetViewStatsRequest::default() }).await,
    );
    too_large(api.delete_snippet(DeleteSnippetRequest { id, ..DeleteSnippetRequest::default() }).await);
    // A few more than are allowed are told so.
    let ids = vec!["x".repeat(11); 1000];
    let batch =
        api.batch_get_snippets(BatchGetSnippetsRequest { ids, ..BatchGetSnippetsRequest::default() }).await;
    assert_eq!(violated_fields(&batch.unwrap_err()), ["ids"]);
}

/// The most memory that the process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes(server: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_million_tags_take_no_room() {
    // Of its own, so that nobody else's requests take memory.
    let product = e2e::product(&e2e::backends().await).replicas(1).workers(0).start().await.unwrap();
    let server = &product.snippets[0];
    let account = Client::to(server).await.unwrap().as_new(Tier::Premium).await.unwrap();
    let body = "x".repeat(MEBIBYTE);
    account.create(Snippet { body, ..Snippet::default() }).await.unwrap();
    let before = peak_bytes(server);
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let account = account.clone();
        calls.spawn(async move {
            let snippet = Snippet { tags: vec![String::new(); 1_000_000], ..Snippet::default() };
            let create = account.create(snippet).await.unwrap_err();
            assert_eq!(violated_fields(&create), ["snippet.tags"]);
            assert_explained(&create);
            let update_mask = Some(prost_types::FieldMask { paths: vec![String::new(); 1_000_000] });
            let update = UpdateSnippetRequest { snippet: None, update_mask };
            let update = account.snippets().update_snippet(update).await.unwrap_err();
            assert_eq!(violated_fields(&update), ["update_mask.paths"]);
        });
    }
    calls.join_all().await;
    let grown = peak_bytes(server).saturating_sub(before);
    // Eight requests of 2 MiB each on their way, and nothing that they would become.
    assert!(grown < 48 * MEBIBYTE, "{grown} bytes");
}
