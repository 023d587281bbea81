//! The API of snippets as its clients see it, over two replicas.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use e2e::{Client, PATIENCE, assert_explained, shared_product, until_views, visible};
use rpc::snippets::v1::{
    DeleteSnippetRequest, GetCallerRequest, GetSnippetRequest, GetSnippetResponse, Snippet, SnippetView,
    Tier, UpdateSnippetRequest, Visibility,
};
use stack::until;
use tonic::{Code, Status};

/// An id that no snippet has.
const MISSING: &str = "00000000000";

/// An anonymous caller of one replica.
async fn anonymous() -> Client {
    Client::to(&shared_product().await.unwrap().snippets[0]).await.unwrap()
}

fn snippet(visibility: Visibility) -> Snippet {
    Snippet { body: "let it = be;".into(), visibility: visibility.into(), ..Snippet::default() }
}

fn complete() -> Snippet {
    Snippet {
        title: "Größe — 尺寸".into(),
        language: "rust".into(),
        body: "fn main() {\n\tprintln!(\"🦀\");\n}\n".into(),
        tags: vec!["example".into(), "two words".into(), "example".into()],
        visibility: Visibility::Public.into(),
        ..Snippet::default()
    }
}

async fn edit(client: &Client, snippet: Snippet, mask: &[&str]) -> Result<Snippet, Status> {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = UpdateSnippetRequest { snippet: Some(snippet), update_mask };
    Ok(client.snippets().update_snippet(request).await?.into_inner().snippet.unwrap())
}

async fn get_if_changed(client: &Client, id: &str, etag: &str) -> GetSnippetResponse {
    let request = GetSnippetRequest { id: id.into(), if_none_match: etag.into(), ..Default::default() };
    client.snippets().get_snippet(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_snippet_is_created_read_edited_and_deleted() {
    let caller = anonymous().await;
    let key = caller.new_key(Tier::Free).await.unwrap();
    let owner = caller.with_key(&key.secret);
    let created = owner.create(complete()).await.unwrap();
    assert!(created.id.len() == 11 && created.id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(created.create_time.is_some() && created.create_time == created.update_time);
    assert!(!created.etag.is_empty());
    assert_eq!(created.owner, key.account.id);
    let output_only = created.clone();
    let expected = Snippet {
        id: output_only.id,
        etag: output_only.etag,
        owner: output_only.owner,
        create_time: output_only.create_time,
        update_time: output_only.update_time,
        ..complete()
    };
    assert_eq!(created, expected);
    assert_eq!(owner.get(&created.id).await.unwrap(), created);
    // Another caller through another replica: what was acknowledged is there.
    let other = Client::to(&shared_product().await.unwrap().snippets[1]).await.unwrap();
    assert_eq!(other.look(&created.id).await.unwrap(), Snippet { body: String::new(), ..created.clone() });

    let change = Snippet { id: created.id.clone(), title: "Size".into(), ..Snippet::default() };
    let edited = owner.update(change).await.unwrap();
    assert_ne!(edited.etag, created.etag);
    assert!(edited.update_time.unwrap().seconds >= created.update_time.unwrap().seconds);
    let expected = Snippet {
        title: "Size".into(),
        etag: edited.etag.clone(),
        update_time: edited.update_time,
        ..created.clone()
    };
    assert_eq!(edited, expected);
    assert_eq!(owner.get(&created.id).await.unwrap(), edited);

    owner.delete(&created.id).await.unwrap();
    assert_eq!(owner.get(&created.id).await.unwrap_err().code(), Code::NotFound);
    let gone = async || other.get(&created.id).await.is_err_and(|status| status.code() == Code::NotFound);
    until("the other replica knows", PATIENCE, gone).await.unwrap();
    assert_eq!(owner.delete(&created.id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_body_may_have_a_mebibyte_and_a_snippet_needs_nothing_else() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let body = "ä".repeat(512 * 1024);
    let created = owner.create(Snippet { body: body.clone(), ..Snippet::default() }).await.unwrap();
    assert_eq!(created.visibility(), Visibility::Unlisted);
    assert_eq!(owner.get(&created.id).await.unwrap().body, body);
}

#[tokio::test]
async fn an_anonymous_snippet_has_no_owner_and_only_an_admin_can_remove_it() {
    let caller = anonymous().await;
    let created = caller.create(snippet(Visibility::Unlisted)).await.unwrap();
    assert_eq!(created.owner, "");
    let other = caller.as_new(Tier::Free).await.unwrap();
    let change = Snippet { id: created.id.clone(), title: "mine".into(), ..Snippet::default() };
    assert_eq!(caller.update(change.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(other.update(change).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(other.delete(&created.id).await.unwrap_err().code(), Code::PermissionDenied);
    caller.as_admin().delete(&created.id).await.unwrap();
}

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().err().map_or(Code::Ok, Status::code)
}

#[tokio::test]
async fn what_is_private_looks_as_if_it_were_missing() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Free).await.unwrap();
    let other = anonymous.as_new(Tier::Free).await.unwrap();
    let private = owner.create(snippet(Visibility::Private)).await.unwrap().id;
    let hidden = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    anonymous.get(&hidden).await.unwrap();
    let change = Snippet { id: hidden.clone(), visibility: Visibility::Private.into(), ..Snippet::default() };
    owner.update(change).await.unwrap();
    let deleted = owner.create(snippet(Visibility::Public)).await.unwrap().id;
    owner.delete(&deleted).await.unwrap();

    for id in [&private, &hidden, &deleted] {
        for caller in [&anonymous, &other] {
            let (missing, forbidden) = (caller.get(MISSING).await, caller.get(id).await);
            assert_same(missing.unwrap_err(), forbidden.unwrap_err(), Code::NotFound);
        }
        let change = |id: &str| Snippet { id: id.into(), title: "x".into(), ..Snippet::default() };
        let (missing, forbidden) = (other.update(change(MISSING)).await, other.update(change(id)).await);
        assert_same(missing.unwrap_err(), forbidden.unwrap_err(), Code::NotFound);
        let (missing, forbidden) = (other.delete(MISSING).await, other.delete(id).await);
        assert_same(missing.unwrap_err(), forbidden.unwrap_err(), Code::NotFound);
        // An etag must not tell either.
        let with_etag = |id: &str| DeleteSnippetRequest { id: id.into(), etag: "v1".into() };
        let missing = other.snippets().delete_snippet(with_etag(MISSING)).await;
        let forbidden = other.snippets().delete_snippet(with_etag(id)).await;
        assert_same(missing.unwrap_err(), forbidden.unwrap_err(), Code::NotFound);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what unwrap_err gives")]
fn assert_same(missing: Status, forbidden: Status, code: Code) {
    assert_eq!(missing.code(), code);
    assert_explained(&missing);
    assert_eq!(visible(&missing), visible(&forbidden));
}

#[tokio::test]
async fn a_stale_etag_is_refused_and_an_empty_one_is_not_looked_at() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let created = owner.create(snippet(Visibility::Public)).await.unwrap();
    let title = |title: &str, etag: &str| Snippet {
        id: created.id.clone(),
        title: title.into(),
        etag: etag.into(),
        ..Snippet::default()
    };
    let second = owner.update(title("second", &created.etag)).await.unwrap();
    for stale in [created.etag.as_str(), "no etag of ours", "v01"] {
        let status = owner.update(title("third", stale)).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted, "{stale}");
        assert_explained(&status);
    }
    assert_eq!(owner.get(&created.id).await.unwrap(), second);
    let third = owner.update(title("third", "")).await.unwrap();
    assert_eq!(third.title, "third");

    let delete = |etag: &str| DeleteSnippetRequest { id: created.id.clone(), etag: etag.into() };
    let status = owner.snippets().delete_snippet(delete(&second.etag)).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    owner.snippets().delete_snippet(delete(&third.etag)).await.unwrap();
}

#[tokio::test]
async fn of_concurrent_edits_of_one_version_one_wins() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let through_the_other = owner_on_second(&owner).await;
    let created = owner.create(snippet(Visibility::Public)).await.unwrap();
    let edit = |client: &Client, title: &str| {
        let (client, title) = (client.clone(), title.to_owned());
        let change =
            Snippet { id: created.id.clone(), title, etag: created.etag.clone(), ..Snippet::default() };
        async move { client.update(change).await }
    };
    let (a, b, c) =
        tokio::join!(edit(&owner, "a"), edit(&through_the_other, "b"), edit(&through_the_other, "c"));
    let mut codes = [code(&a), code(&b), code(&c)].map(i32::from);
    codes.sort_unstable();
    assert_eq!(codes, [Code::Ok, Code::Aborted, Code::Aborted].map(i32::from));
}

/// The holder of a key of the same account, at the second replica.
async fn owner_on_second(owner: &Client) -> Client {
    let me = owner.accounts().get_caller(GetCallerRequest {}).await.unwrap().into_inner().account.unwrap();
    let request = rpc::snippets::v1::CreateApiKeyRequest { account_id: me.id, ..Default::default() };
    let key = owner.as_admin().accounts().create_api_key(request).await.unwrap().into_inner();
    Client::to(&shared_product().await.unwrap().snippets[1]).await.unwrap().with_key(&key.secret)
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let owner = anonymous().await.as_new(Tier::Free).await.unwrap();
    let created = owner.create(complete()).await.unwrap();
    let id = created.id.clone();
    // Named and empty: emptied. Set and not named: left alone.
    let change = Snippet { id: id.clone(), body: "new".into(), language: "go".into(), ..Snippet::default() };
    let edited = edit(&owner, change, &["title", "tags", "body"]).await.unwrap();
    assert_eq!((edited.title.as_str(), edited.tags.len(), edited.body.as_str()), ("", 0, "new"));
    assert_eq!((edited.language.as_str(), edited.visibility()), ("rust", Visibility::Public));
    // No mask: what is set. Output-only fields that were sent back with the rest don't count.
    let change = Snippet { visibility: Visibility::Unlisted.into(), view_count: 99, ..created.clone() };
    let edited = owner.update(Snippet { etag: String::new(), ..change }).await.unwrap();
    let expected = Snippet {
        visibility: Visibility::Unlisted.into(),
        etag: edited.etag.clone(),
        update_time: edited.update_time,
        ..created.clone()
    };
    assert_eq!(edited, expected);
    // `*`: a replacement.
    let change = Snippet { id: id.clone(), body: "bare".into(), ..Snippet::default() };
    let edited = edit(&owner, change, &["*"]).await.unwrap();
    let expected = Snippet {
        id,
        body: "bare".into(),
        visibility: Visibility::Unlisted.into(),
        owner: created.owner,
        create_time: created.create_time,
        update_time: edited.update_time,
        etag: edited.etag.clone(),
        ..Snippet::default()
    };
    assert_eq!(edited, expected);
}

#[tokio::test]
async fn a_basic_read_has_no_body_and_is_no_view() {
    let reader = anonymous().await;
    let owner = reader.as_new(Tier::Free).await.unwrap();
    let created = owner.create(complete()).await.unwrap();
    for _ in 0..20 {
        let basic = reader.look(&created.id).await.unwrap();
        assert_eq!(basic, Snippet { body: String::new(), ..created.clone() });
    }
    reader.get(&created.id).await.unwrap();
    // The replica counts in order: had the reads before been views, they would be in this number.
    assert_eq!(until_views(&reader, &created.id, 1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_of_what_has_not_changed_has_no_body_and_is_a_view() {
    let reader = anonymous().await;
    let owner = reader.as_new(Tier::Free).await.unwrap();
    let created = owner.create(complete()).await.unwrap();
    let unchanged = get_if_changed(&reader, &created.id, &created.etag).await;
    assert!(unchanged.not_modified);
    assert_eq!(unchanged.snippet.unwrap_or_default().body, "");
    let changed = get_if_changed(&reader, &created.id, "v99").await;
    assert!(!changed.not_modified);
    assert_eq!(changed.snippet.unwrap().body, created.body);
    assert_eq!(until_views(&reader, &created.id, 2).await.unwrap(), 2);
}

#[tokio::test]
async fn a_view_that_is_not_specified_is_full() {
    let reader = anonymous().await;
    let created = reader.create(complete()).await.unwrap();
    let request = GetSnippetRequest {
        id: created.id.clone(),
        view: SnippetView::Unspecified.into(),
        ..Default::default()
    };
    let read = reader.snippets().get_snippet(request).await.unwrap().into_inner().snippet.unwrap();
    assert_eq!((read.body, read.owner), (created.body, String::new()));
}
