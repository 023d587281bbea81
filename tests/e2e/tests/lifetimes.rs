//! Snippets that end, and creates that are repeated, over two replicas.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use e2e::{Client, PATIENCE, assert_explained, violated_fields};
use rpc::snippets::v1::{
    BatchGetSnippetsRequest, CreateSnippetRequest, GetSnippetRequest, Snippet, SnippetView, Tier,
    UpdateSnippetRequest, Visibility,
};
use stack::{Product, until};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::{Code, Status};

const MAX_VIEWS: u64 = 7;
const READERS: usize = 200;
const ROUNDS: usize = 5;

async fn replicas() -> (Product, [Client; 2]) {
    let product = e2e::product(&e2e::backends().await).replicas(2).workers(1).start().await.unwrap();
    let clients =
        [Client::to(&product.snippets[0]).await.unwrap(), Client::to(&product.snippets[1]).await.unwrap()];
    (product, clients)
}

fn public(body: &str) -> Snippet {
    Snippet { body: body.into(), visibility: Visibility::Public.into(), ..Snippet::default() }
}

fn limited(max_views: u64) -> Snippet {
    Snippet { max_views, ..public("burns") }
}

fn lasting(ttl: Duration) -> Snippet {
    Snippet { ttl: Some(ttl.try_into().unwrap()), ..public("ends") }
}

fn expire_time(snippet: &Snippet) -> SystemTime {
    snippet.expire_time.unwrap().try_into().unwrap()
}

async fn assert_gone(clients: &[&Client], id: &str) {
    for client in clients {
        for view in [client.get(id).await, client.look(id).await] {
            assert_eq!(view.unwrap_err().code(), Code::NotFound);
        }
    }
}

#[tokio::test]
async fn exactly_so_many_readers_see_the_body() {
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    for round in 0..ROUNDS {
        let created = owner.create(limited(MAX_VIEWS)).await.unwrap();
        assert_eq!(created.max_views, MAX_VIEWS);
        // Neither burns it.
        assert_eq!(owner.get(&created.id).await.unwrap().body, "burns");
        assert_eq!(two.look(&created.id).await.unwrap().body, "");
        let mut reads = JoinSet::new();
        for reader in 0..READERS {
            let client = if reader % 2 == 0 { one.clone() } else { two.clone() };
            let id = created.id.clone();
            reads.spawn(async move { client.get(&id).await });
        }
        let (mut bodies, mut gone) = (0, 0);
        while let Some(read) = reads.join_next().await {
            match read.unwrap() {
                Ok(snippet) => bodies += u64::from(snippet.body == "burns"),
                Err(status) => gone += usize::from(status.code() == Code::NotFound),
            }
        }
        assert_eq!(
            (bodies, gone),
            (MAX_VIEWS, READERS - usize::try_from(MAX_VIEWS).unwrap()),
            "round {round}"
        );
        assert_gone(&[&one, &two, &owner, &one.as_admin()], &created.id).await;
        let edit = Snippet { id: created.id.clone(), title: "late".into(), ..Snippet::default() };
        assert_eq!(owner.update(edit).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_batch_takes_a_view_of_each_that_is_limited() {
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    let limited = owner.create(limited(3)).await.unwrap().id;
    let free = owner.create(public("free")).await.unwrap().id;
    let request =
        BatchGetSnippetsRequest { ids: vec![limited.clone(), free], view: SnippetView::Full.into() };
    let mut calls = JoinSet::new();
    for number in 0..10 {
        let (client, request) = (if number % 2 == 0 { one.clone() } else { two.clone() }, request.clone());
        calls.spawn(async move { client.snippets().batch_get_snippets(request).await.unwrap().into_inner() });
    }
    let batches = calls.join_all().await;
    let with_both = batches.iter().filter(|batch| batch.snippets.len() == 2).count();
    let missing = batches.iter().filter(|batch| batch.missing_ids == [limited.clone()]).count();
    assert_eq!((with_both, missing), (3, 7));
    assert!(batches.iter().flat_map(|batch| &batch.snippets).all(|snippet| !snippet.body.is_empty()));
}

#[tokio::test]
async fn a_snippet_ends_to_the_moment_also_in_every_cache() {
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    let created = owner.create(lasting(Duration::from_secs(3))).await.unwrap();
    assert!(created.ttl.is_none(), "it is input only");
    let end = expire_time(&created);
    for client in [&one, &two, &one, &two] {
        assert_eq!(client.get(&created.id).await.unwrap().body, "ends");
    }
    // The clock of this machine is theirs, too.
    sleep(end.duration_since(SystemTime::now()).unwrap()).await;
    assert_gone(&[&one, &two, &owner, &one.as_admin()], &created.id).await;
    let edit = Snippet { id: created.id.clone(), ttl: lasting(PATIENCE).ttl, ..Snippet::default() };
    assert_eq!(owner.update(edit).await.unwrap_err().code(), Code::NotFound, "it can't be brought back");
    assert_eq!(owner.delete(&created.id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_end_can_be_moved_and_taken_away() {
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    let created = owner.create(lasting(Duration::from_secs(3600))).await.unwrap();
    two.get(&created.id).await.unwrap();

    let later = Snippet { id: created.id.clone(), ttl: lasting(2 * PATIENCE).ttl, ..Snippet::default() };
    let moved = owner.update(later).await.unwrap();
    assert!(expire_time(&moved) < expire_time(&created));
    let seen = async || two.look(&created.id).await.unwrap().expire_time == moved.expire_time;
    until("the other replica knows", PATIENCE, seen).await.unwrap();

    let snippet = Snippet { id: created.id.clone(), ..Snippet::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["expire_time".into()] });
    let request = UpdateSnippetRequest { snippet: Some(snippet), update_mask };
    let kept = owner.snippets().update_snippet(request).await.unwrap().into_inner().snippet.unwrap();
    assert_eq!(kept.expire_time, None);
}

#[tokio::test]
async fn ends_that_make_no_sense_are_refused_by_name() {
    let (_product, [one, _]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    let hour = lasting(Duration::from_secs(3600)).ttl;
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let ttl = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let wrong = [
        ("snippet.expire_time", Snippet { expire_time: time(1, 0), ..public("x") }),
        ("snippet.expire_time", Snippet { expire_time: time(253_402_300_800, 0), ..public("x") }),
        ("snippet.expire_time", Snippet { expire_time: time(4_000_000_000, -1), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: ttl(0, 0), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: ttl(-1, 0), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: ttl(1, -1), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: ttl(i64::MAX, 0), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: ttl(1, i32::MAX), ..public("x") }),
        ("snippet.ttl", Snippet { ttl: hour, expire_time: time(4_000_000_000, 0), ..public("x") }),
        ("snippet.max_views", Snippet { max_views: 1 << 63, ..public("x") }),
    ];
    let created = owner.create(public("x")).await.unwrap();
    for (field, snippet) in wrong {
        let status = owner.create(snippet.clone()).await.unwrap_err();
        assert_eq!(violated_fields(&status), [field], "{snippet:?}");
        assert_explained(&status);
        let status = owner.update(Snippet { id: created.id.clone(), ..snippet }).await.unwrap_err();
        assert_eq!(violated_fields(&status), [field]);
    }
    let more = Snippet { id: created.id.clone(), max_views: 1, title: "x".into(), ..Snippet::default() };
    assert_eq!(violated_fields(&owner.update(more).await.unwrap_err()), ["snippet.max_views"]);
}

async fn create(client: &Client, snippet: Snippet, request_id: &str) -> Result<Snippet, Status> {
    let request = CreateSnippetRequest { snippet: Some(snippet), request_id: request_id.into() };
    Ok(client.snippets().create_snippet(request).await?.into_inner().snippet.unwrap_or_default())
}

#[tokio::test]
async fn a_create_is_repeated_in_safety() {
    const ID: &str = "01936f5e-8a3b-7c4d-9e2f-0a1b2c3d4e5f";
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Premium).await.unwrap();
    let same_owner_there = |secret: &str| two.with_key(secret);
    let key = one.new_key(Tier::Premium).await.unwrap();
    let (here, there) = (one.with_key(&key.secret), same_owner_there(&key.secret));

    // At once, on both replicas, with a time that is relative to each.
    let mut calls = JoinSet::new();
    for number in 0..8 {
        let client = if number % 2 == 0 { here.clone() } else { there.clone() };
        calls.spawn(async move { create(&client, lasting(Duration::from_secs(3600)), ID).await });
    }
    let created: HashSet<_> = calls.join_all().await.into_iter().map(|made| made.unwrap().id).collect();
    assert_eq!(created.len(), 1);
    let id = created.into_iter().next().unwrap();

    // The first is given back as it is now.
    here.update(Snippet { id: id.clone(), title: "new".into(), ..Snippet::default() }).await.unwrap();
    let again = create(&here, lasting(Duration::from_secs(3600)), &ID.to_uppercase()).await.unwrap();
    assert_eq!((again.id.as_str(), again.title.as_str()), (id.as_str(), "new"));

    let other = create(&there, public("another"), ID).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    assert_explained(&other);
    for somebody_else in [&owner, &one] {
        let made = create(somebody_else, lasting(Duration::from_secs(3600)), ID).await.unwrap();
        assert_ne!(made.id, id);
    }
    let wrong = create(&here, Snippet::default(), "retry").await.unwrap_err();
    assert_eq!(violated_fields(&wrong), ["request_id", "snippet.body"]);
}

#[tokio::test]
async fn a_limited_read_of_what_has_not_changed_takes_a_view_too() {
    let (_product, [one, two]) = replicas().await;
    let owner = one.as_new(Tier::Free).await.unwrap();
    let created = owner.create(limited(2)).await.unwrap();
    let request = GetSnippetRequest {
        id: created.id.clone(),
        view: SnippetView::Full.into(),
        if_none_match: created.etag.clone(),
    };
    let read = two.snippets().get_snippet(request).await.unwrap().into_inner();
    assert!(read.not_modified);
    assert_eq!(one.get(&created.id).await.unwrap().body, "burns");
    assert_gone(&[&one, &two], &created.id).await;
}
