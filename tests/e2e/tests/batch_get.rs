//! Reading several snippets at once.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use e2e::{Client, assert_explained, shared_product, until_views, violated_fields};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, BatchGetSnippetsResponse, Snippet, SnippetView, Tier, Visibility,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Ids that no snippet has.
const MISSING: [&str; 2] = ["zzzzzzzzzzz", "00000000000"];

async fn anonymous() -> Client {
    Client::to(&shared_product().await.unwrap().snippets[0]).await.unwrap()
}

async fn create(client: &Client, visibility: Visibility, bytes: usize) -> Snippet {
    let snippet = Snippet { body: "x".repeat(bytes), visibility: visibility.into(), ..Snippet::default() };
    client.create(snippet).await.unwrap()
}

async fn batch_get(
    client: &Client,
    ids: &[&str],
    view: SnippetView,
) -> Result<BatchGetSnippetsResponse, Status> {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let request = BatchGetSnippetsRequest { ids, view: view.into() };
    Ok(client.snippets().batch_get_snippets(request).await?.into_inner())
}

fn ids(response: &BatchGetSnippetsResponse) -> Vec<&str> {
    response.snippets.iter().map(|snippet| snippet.id.as_str()).collect()
}

#[tokio::test]
async fn snippets_come_in_the_order_of_the_request_each_once() {
    let anonymous = anonymous().await;
    let [one, two, three] = [
        create(&anonymous, Visibility::Public, 1).await,
        create(&anonymous, Visibility::Unlisted, 2).await,
        create(&anonymous, Visibility::Unlisted, 3).await,
    ];
    let asked = [&*three.id, MISSING[0], &one.id, &three.id, MISSING[1], &two.id, MISSING[0], &one.id];
    // From the store, from a cache that has one of them, and from one that has all.
    for round in 0..3 {
        for view in [SnippetView::Basic, SnippetView::Unspecified] {
            let batch = batch_get(&anonymous, &asked, view).await.unwrap();
            assert_eq!(ids(&batch), [&three.id, &one.id, &two.id]);
            assert_eq!(batch.missing_ids, MISSING);
            for (found, created) in batch.snippets.iter().zip([&three, &one, &two]) {
                let mut expected = Snippet { view_count: found.view_count, ..created.clone() };
                if view == SnippetView::Basic {
                    expected.body.clear();
                }
                assert_eq!(*found, expected, "{round}");
            }
        }
        anonymous.look(&one.id).await.unwrap();
    }
    // Each of the three FULL reads was one view of each.
    for snippet in [&one, &two, &three] {
        assert_eq!(until_views(&anonymous, &snippet.id, 3).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn what_may_not_be_read_is_missing_and_owners_count_no_views() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Free).await.unwrap();
    let other = anonymous.as_new(Tier::Premium).await.unwrap();
    let private = create(&owner, Visibility::Private, 1).await.id;
    let public = create(&owner, Visibility::Public, 1).await.id;
    let asked = [&*private, MISSING[0], &public];
    for view in [SnippetView::Basic, SnippetView::Full] {
        for reader in [&owner, &anonymous.as_admin()] {
            let batch = batch_get(reader, &asked, view).await.unwrap();
            assert_eq!(
                (ids(&batch), batch.missing_ids.as_slice()),
                (vec![&*private, &*public], &MISSING.map(Into::into)[..1])
            );
        }
        for reader in [&anonymous, &other] {
            let batch = batch_get(reader, &asked, view).await.unwrap();
            assert_eq!(
                (ids(&batch), &*batch.missing_ids),
                (vec![&*public], &[private.clone(), MISSING[0].into()][..])
            );
        }
    }
    // The owner's own FULL read and all BASIC ones are no views; the one of each other caller is.
    assert_eq!(until_views(&owner, &public, 3).await.unwrap(), 3);
    assert_eq!(until_views(&owner, &private, 1).await.unwrap(), 1);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let anonymous = anonymous().await;
    let many = |count| vec![MISSING[0]; count];
    let with = |index: usize, id| {
        let mut ids = many(100);
        ids[index] = id;
        ids
    };
    let cases: [(Vec<&str>, &[&str]); 6] = [
        (many(101), &["ids"]),
        (with(3, "short"), &["ids[3]"]),
        (with(99, ""), &["ids[99]"]),
        (vec!["", MISSING[0], "0123456789-", ""], &["ids[0]", "ids[2]", "ids[3]"]),
        (many(100), &[]),
        (vec![], &[]),
    ];
    for (ids, fields) in cases {
        let answered = batch_get(&anonymous, &ids, SnippetView::Full).await;
        let violated = answered.as_ref().err().map(violated_fields).unwrap_or_default();
        assert_eq!(violated, fields);
        let code = if fields.is_empty() { Code::Ok } else { Code::InvalidArgument };
        assert_eq!(answered.as_ref().map_or_else(Status::code, |_| Code::Ok), code);
        answered.err().iter().for_each(assert_explained);
    }
    let request = BatchGetSnippetsRequest { ids: vec!["short".into()], view: 99 };
    let refused = anonymous.snippets().batch_get_snippets(request).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["ids[0]", "view"]);
    let unknown_key = anonymous.with_key("unknown");
    let refused = batch_get(&unknown_key, &[], SnippetView::Full).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn three_mebibytes_of_bodies_are_answered_and_more_are_not() {
    let anonymous = anonymous().await;
    let owner = anonymous.as_new(Tier::Premium).await.unwrap();
    let mut created = Vec::new();
    for visibility in [Visibility::Private, Visibility::Public, Visibility::Public, Visibility::Unlisted] {
        created.push(create(&owner, visibility, 1 << 20).await.id);
    }
    let small = create(&owner, Visibility::Public, 1).await.id;
    let [private, fits @ ..] = &created[..] else { panic!("there are four") };
    let all: Vec<_> = created.iter().map(String::as_str).collect();
    let fits: Vec<_> = fits.iter().map(String::as_str).collect();
    let beyond: Vec<_> = [&*small].into_iter().chain(fits.clone()).collect();
    // From the store, then from the cache.
    for _ in 0..2 {
        for too_many in [&all, &beyond] {
            let refused = batch_get(&owner, too_many, SnippetView::Full).await.unwrap_err();
            assert_eq!(refused.code(), Code::OutOfRange);
            assert_eq!(refused.get_details_error_info().unwrap().reason, "BATCH_TOO_LARGE");
            assert_explained(&refused);
            let bare = batch_get(&owner, too_many, SnippetView::Basic).await.unwrap();
            assert_eq!(ids(&bare), *too_many);
        }
        assert_eq!(
            batch_get(&anonymous, &beyond, SnippetView::Full).await.unwrap_err().code(),
            Code::OutOfRange
        );
        let batch = batch_get(&owner, &fits, SnippetView::Full).await.unwrap();
        assert!(batch.snippets.iter().all(|snippet| snippet.body.len() == 1 << 20));
        // A private one that is there makes no difference to who may not read it.
        let batch = batch_get(&anonymous, &all, SnippetView::Full).await.unwrap();
        assert_eq!((ids(&batch), &batch.missing_ids), (fits.clone(), &vec![private.clone()]));
    }
    // What was refused was no view.
    assert_eq!(until_views(&owner, fits[0], 2).await.unwrap(), 2);
    assert_eq!(owner.look(&small).await.unwrap().view_count, 0);
}
