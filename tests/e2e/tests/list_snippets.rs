//! Lists of snippets, page by page.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use e2e::{Client, assert_explained, shared_product, until_views, violated_fields};
use rpc::snippets::v1::{
    ListOrder, ListSnippetsRequest, ListSnippetsResponse, Snippet, Tier, UpdateSnippetRequest, Visibility,
};
use stack::{unique, until};
use tonic::{Code, Status};

/// An anonymous caller of one of two replicas.
async fn anonymous(replica: usize) -> Client {
    Client::to(&shared_product().await.unwrap().snippets[replica]).await.unwrap()
}

async fn list(client: &Client, request: &ListSnippetsRequest) -> Result<ListSnippetsResponse, Status> {
    Ok(client.snippets().list_snippets(request.clone()).await?.into_inner())
}

/// The ids on each page. The pages come from one client after the other.
async fn pages(clients: &[&Client], request: &ListSnippetsRequest) -> Vec<Vec<String>> {
    let (mut pages, mut request) = (Vec::new(), request.clone());
    loop {
        let page = list(clients[pages.len() % clients.len()], &request).await.unwrap();
        pages.push(page.snippets.into_iter().map(|snippet| snippet.id).collect());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return pages;
        }
    }
}

fn mine() -> ListSnippetsRequest {
    ListSnippetsRequest { owner: "me".into(), ..ListSnippetsRequest::default() }
}

/// A list that no other test's snippets are in.
fn tagged(tag: &str) -> ListSnippetsRequest {
    ListSnippetsRequest { tag: tag.into(), ..ListSnippetsRequest::default() }
}

fn snippet(visibility: Visibility, language: &str, tags: &[&str]) -> Snippet {
    Snippet {
        title: "a title".into(),
        body: "x".into(),
        language: language.into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        visibility: visibility.into(),
        ..Snippet::default()
    }
}

#[tokio::test]
async fn everyones_public_snippets_and_ones_own_are_listed_the_newest_first() {
    let anonymous = anonymous(0).await;
    let owner = anonymous.as_new(Tier::Premium).await.unwrap();
    let tag = unique("tag");
    let mut created = Vec::new();
    for visibility in [Visibility::Public, Visibility::Unlisted, Visibility::Private, Visibility::Public] {
        created.push(owner.create(snippet(visibility, "rust", &[&tag, "x"])).await.unwrap());
    }
    let nobodys = anonymous.create(snippet(Visibility::Public, "", &[&tag])).await.unwrap();
    anonymous.create(snippet(Visibility::Unlisted, "", &[&tag])).await.unwrap();
    let bare = |snippet: &Snippet| Snippet { body: String::new(), ..snippet.clone() };
    let [oldest, unlisted, private, newest] = &created[..] else { panic!("there are four") };

    for caller in [&anonymous, &owner, &anonymous.as_admin()] {
        let page = list(caller, &tagged(&tag)).await.unwrap();
        assert_eq!(page.snippets, [&nobodys, newest, oldest].map(bare));
        assert_eq!(page.next_page_token, "");
        let public = ListSnippetsRequest { visibility: Visibility::Public.into(), ..tagged(&tag) };
        assert_eq!(list(caller, &public).await.unwrap(), page);
    }
    let page = list(&owner, &mine()).await.unwrap();
    assert_eq!(page.snippets, [newest, private, unlisted, oldest].map(bare));
    for (visibility, expected) in [
        (Visibility::Public, vec![newest, oldest]),
        (Visibility::Unlisted, vec![unlisted]),
        (Visibility::Private, vec![private]),
    ] {
        let request = ListSnippetsRequest { visibility: visibility.into(), ..mine() };
        let expected: Vec<_> = expected.into_iter().map(bare).collect();
        assert_eq!(list(&owner, &request).await.unwrap().snippets, expected, "{visibility:?}");
    }
    for (language, tag, count) in
        [("rust", &*tag, 4), ("rust", "", 4), ("", "x", 4), ("Rust", "", 0), ("", "y", 0), ("go", "x", 0)]
    {
        let request = ListSnippetsRequest { language: language.into(), tag: tag.into(), ..mine() };
        assert_eq!(list(&owner, &request).await.unwrap().snippets.len(), count, "{language:?} {tag:?}");
    }
    // Who owns nothing has empty lists.
    for caller in [&anonymous.as_new(Tier::Free).await.unwrap(), &anonymous.as_admin()] {
        assert_eq!(list(caller, &mine()).await.unwrap(), ListSnippetsResponse::default());
    }
    let refused = list(&anonymous, &mine()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_explained(&refused);
    assert_eq!(
        list(&anonymous.with_key("unknown"), &tagged(&tag)).await.unwrap_err().code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn pages_follow_each_other_over_replicas_and_writes() {
    let (one, two) = (anonymous(0).await, anonymous(1).await);
    let owner = one.as_new(Tier::Premium).await.unwrap();
    let tag = unique("tag");
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(owner.create(snippet(Visibility::Public, "", &[&tag])).await.unwrap().id);
    }
    ids.reverse();
    for (page_size, sizes) in
        [(1, vec![1; 7]), (3, vec![3, 3, 1]), (7, vec![7]), (0, vec![7]), (i32::MAX, vec![7])]
    {
        let request = ListSnippetsRequest { page_size, ..tagged(&tag) };
        let pages = pages(&[&one, &two], &request).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{page_size}");
        assert_eq!(pages.concat(), ids);
    }
    let request = ListSnippetsRequest { page_size: 2, ..tagged(&tag) };
    let first = list(&one, &request).await.unwrap();
    // One of the shown, the next one, one that is new, and one that is no longer to be seen.
    owner.delete(&ids[0]).await.unwrap();
    owner.delete(&ids[2]).await.unwrap();
    owner.create(snippet(Visibility::Public, "", &[&tag])).await.unwrap();
    let hide = Snippet { id: ids[4].clone(), visibility: Visibility::Private.into(), ..Snippet::default() };
    owner
        .snippets()
        .update_snippet(UpdateSnippetRequest { snippet: Some(hide), update_mask: None })
        .await
        .unwrap();
    let rest = ListSnippetsRequest { page_token: first.next_page_token, page_size: 200, ..request };
    assert_eq!(pages(&[&two], &rest).await, [[&*ids[3], &ids[5], &ids[6]]]);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_list_alone() {
    let anonymous = anonymous(0).await;
    let owner = anonymous.as_new(Tier::Premium).await.unwrap();
    let tag = unique("tag");
    for _ in 0..2 {
        owner.create(snippet(Visibility::Public, "rust", &[&tag, "x"])).await.unwrap();
    }
    let first = ListSnippetsRequest { page_size: 1, ..tagged(&tag) };
    let page_token = list(&owner, &first).await.unwrap().next_page_token;
    let next = ListSnippetsRequest { page_token, ..first };
    assert_eq!(list(&owner, &next).await.unwrap().snippets.len(), 1);
    for other in [
        ListSnippetsRequest { owner: "me".into(), ..next.clone() },
        ListSnippetsRequest { language: "rust".into(), ..next.clone() },
        ListSnippetsRequest { tag: "x".into(), ..next.clone() },
        ListSnippetsRequest { visibility: Visibility::Public.into(), ..next.clone() },
        ListSnippetsRequest { order_by: ListOrder::MostViewed.into(), ..next.clone() },
        ListSnippetsRequest { page_token: format!("{}A", next.page_token), ..next.clone() },
        ListSnippetsRequest { page_token: "x".into(), ..next.clone() },
    ] {
        let refused = list(&owner, &other).await.unwrap_err();
        assert_eq!(
            (refused.code(), violated_fields(&refused)),
            (Code::InvalidArgument, vec!["page_token".into()])
        );
        assert_explained(&refused);
    }
    assert_eq!(violated_fields(&list(&anonymous, &next).await.unwrap_err()), ["page_token"]);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let anonymous = anonymous(0).await;
    let owner = anonymous.as_new(Tier::Premium).await.unwrap();
    let none = ListSnippetsRequest::default;
    let cases: [(ListSnippetsRequest, &[&str]); 9] = [
        (ListSnippetsRequest { owner: "you".into(), ..none() }, &["owner"]),
        (ListSnippetsRequest { owner: "ME".into(), ..none() }, &["owner"]),
        (ListSnippetsRequest { page_size: -1, ..none() }, &["page_size"]),
        (ListSnippetsRequest { language: "x".repeat(41), ..none() }, &["language"]),
        (ListSnippetsRequest { tag: "a\0".into(), ..none() }, &["tag"]),
        (ListSnippetsRequest { visibility: Visibility::Private.into(), ..none() }, &["visibility"]),
        (ListSnippetsRequest { visibility: 9, ..mine() }, &["visibility"]),
        (ListSnippetsRequest { order_by: 9, ..none() }, &["order_by"]),
        (
            ListSnippetsRequest {
                page_size: -1,
                page_token: "x".into(),
                owner: "you".into(),
                language: "x".repeat(41),
                tag: "x".repeat(41),
                visibility: 9,
                order_by: 9,
            },
            &["visibility", "owner", "language", "tag", "order_by", "page_size", "page_token"],
        ),
    ];
    for (request, fields) in cases {
        let refused = list(&owner, &request).await.unwrap_err();
        assert_eq!(
            (refused.code(), violated_fields(&refused)),
            (Code::InvalidArgument, fields.iter().map(ToString::to_string).collect())
        );
        assert_explained(&refused);
    }
}

#[tokio::test]
async fn the_most_viewed_come_first() {
    let anonymous = anonymous(0).await;
    let owner = anonymous.as_new(Tier::Premium).await.unwrap();
    let tag = unique("tag");
    let mut ids = Vec::new();
    for views in [1, 0, 3, 0, 2] {
        let id = owner.create(snippet(Visibility::Public, "rust", &[&tag])).await.unwrap().id;
        for _ in 0..views {
            anonymous.get(&id).await.unwrap();
        }
        until_views(&anonymous, &id, views).await.unwrap();
        ids.push(id);
    }
    let expected = [2, 4, 0, 3, 1].map(|index: usize| ids[index].clone());
    let request =
        ListSnippetsRequest { order_by: ListOrder::MostViewed.into(), page_size: 2, ..tagged(&tag) };
    let in_order = async || pages(&[&anonymous], &request).await.concat() == expected;
    until("the list has the new order", Duration::from_secs(30), in_order).await.unwrap();
    let own = ListSnippetsRequest { owner: "me".into(), language: "rust".into(), ..request };
    assert_eq!(pages(&[&owner], &own).await.concat(), expected);
    let listed = list(&owner, &ListSnippetsRequest { page_size: 0, ..own }).await.unwrap().snippets;
    assert_eq!(listed.iter().map(|snippet| snippet.view_count).collect::<Vec<_>>(), [3, 2, 1, 0, 0]);
}
