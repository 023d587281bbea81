use super::{HasSnippets, World};
use crate::sample;
use chrono::TimeDelta;
use futures_util::future::join_all;
use snippets::{
    domain::{Body, Language, Snippet, SnippetId, SnippetPatch, Tags, Tier, Title, Version, Visibility, now},
    ports::{ChangeError, CreateRequest, Found, InsertError, Inserted},
};
use std::collections::HashSet;

pub async fn reads_back_what_was_inserted(world: &impl HasSnippets) {
    let mut bare = sample::snippet();
    (bare.metadata.title, bare.metadata.language, bare.metadata.tags) = <(Title, Language, Tags)>::default();
    bare.body = Body::parse("x".repeat(1 << 20)).unwrap();
    let snippets = [sample::snippet(), bare, sample::limited(i64::MAX), sample::expiring(now())];
    for snippet in &snippets {
        world.snippets().insert(snippet, None).await.unwrap();
    }
    for snippet in snippets {
        assert_eq!(world.snippets().get(&snippet.metadata.id).await.unwrap(), Some(snippet));
    }
}

pub async fn keeps_owners_and_every_visibility(world: &impl World) {
    let account = sample::account(Tier::Free);
    world.accounts().create_account(&account).await.unwrap();
    for visibility in [Visibility::Public, Visibility::Unlisted, Visibility::Private] {
        let snippet = sample::snippet_of(account.id, visibility);
        world.snippets().insert(&snippet, None).await.unwrap();
        assert_eq!(world.snippets().get(&snippet.metadata.id).await.unwrap(), Some(snippet));
    }
}

pub async fn takes_an_id_once(world: &impl HasSnippets) {
    let first = sample::snippet();
    world.snippets().insert(&first, None).await.unwrap();
    let second = Snippet { body: Body::parse("other").unwrap(), ..first.clone() };
    assert!(matches!(world.snippets().insert(&second, None).await, Err(InsertError::IdTaken)));
    assert_eq!(world.snippets().get(&first.metadata.id).await.unwrap(), Some(first));
}

pub async fn knows_nothing_of_other_ids(world: &impl HasSnippets) {
    let (store, id) = (world.snippets(), SnippetId::generate());
    assert_eq!(store.get(&id).await.unwrap(), None);
    for expected in [None, Some(Version::FIRST)] {
        let updated = store.update(&id, &SnippetPatch::default(), expected, now()).await;
        assert!(matches!(updated, Err(ChangeError::NotFound)), "{updated:?}");
        let deleted = store.delete(&id, expected).await;
        assert!(matches!(deleted, Err(ChangeError::NotFound)), "{deleted:?}");
    }
}

pub async fn reads_many_at_once(world: &impl HasSnippets) {
    let snippets: Vec<_> =
        [Visibility::Public, Visibility::Unlisted, Visibility::Private].map(sample::visible).into();
    for snippet in &snippets {
        world.snippets().insert(snippet, None).await.unwrap();
    }
    let mut ids: Vec<_> = snippets.iter().map(|snippet| snippet.metadata.id).collect();
    ids.push(SnippetId::generate());
    let whole = |Snippet { metadata, body }| Found { metadata, body: Some(body) };
    let mut expected: Vec<_> = snippets.into_iter().map(whole).collect();
    expected.sort_by_key(|found| found.metadata.id);
    // From the store, then, where there is one, from a cache that was filled half and fully.
    world.snippets().get(&ids[0]).await.unwrap();
    for _ in 0..3 {
        let mut found = world.snippets().get_many(&ids, usize::MAX).await.unwrap();
        found.sort_by_key(|found| found.metadata.id);
        assert_eq!(found, expected);
        assert_eq!(world.snippets().get_many(&[], usize::MAX).await.unwrap(), []);
    }
}

pub async fn reads_bodies_while_there_is_room(world: &impl HasSnippets) {
    // Of one character, two bytes.
    let body = Body::parse("é").unwrap();
    let snippets: Vec<_> = (0..4).map(|_| Snippet { body: body.clone(), ..sample::snippet() }).collect();
    for snippet in &snippets {
        world.snippets().insert(snippet, None).await.unwrap();
    }
    let ids: Vec<_> = snippets.iter().map(|snippet| snippet.metadata.id).collect();
    let bodies = async |bytes_max| {
        let found = world.snippets().get_many(&ids, bytes_max).await.unwrap();
        let found_ids: HashSet<_> = found.iter().map(|found| found.metadata.id).collect();
        assert_eq!(found_ids, ids.iter().copied().collect());
        found.into_iter().filter_map(|found| found.body).inspect(|read| assert_eq!(*read, body)).count()
    };
    for _ in 0..3 {
        let mut read = Vec::new();
        for bytes_max in [0, 1, 2, 5, 7, 8, 9] {
            read.push(bodies(bytes_max).await);
        }
        assert_eq!(read, [0, 0, 1, 2, 3, 4, 4]);
    }
}

pub async fn an_update_changes_what_the_patch_names(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before, None).await.unwrap();
    let later = before.metadata.update_time + TimeDelta::seconds(5);
    let patches = [
        SnippetPatch { title: Some(Title::parse("new").unwrap()), ..SnippetPatch::default() },
        SnippetPatch { language: Some(Language::default()), ..SnippetPatch::default() },
        SnippetPatch { body: Some(Body::parse("new").unwrap()), ..SnippetPatch::default() },
        SnippetPatch { tags: Some(Tags::default()), ..SnippetPatch::default() },
        SnippetPatch { visibility: Some(Visibility::Private), ..SnippetPatch::default() },
        SnippetPatch { expire_time: Some(Some(later)), ..SnippetPatch::default() },
        SnippetPatch { expire_time: Some(None), ..SnippetPatch::default() },
        SnippetPatch::default(),
    ];
    let mut expected = before;
    for patch in patches {
        let updated = world.snippets().update(&expected.metadata.id, &patch, None, later).await.unwrap();
        expected = expected.patched(patch, later);
        assert_eq!(updated, expected);
        assert_eq!(world.snippets().get(&expected.metadata.id).await.unwrap().as_ref(), Some(&expected));
    }
    assert_eq!(expected.metadata.version, Version::new(9));
}

pub async fn an_update_replaces_everything_when_told_to(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before, None).await.unwrap();
    let patch = SnippetPatch {
        title: Some(Title::default()),
        language: Some(Language::parse("python").unwrap()),
        body: Some(Body::parse("pass").unwrap()),
        tags: Some(Tags::parse(vec!["z".into()]).unwrap()),
        visibility: Some(Visibility::Unlisted),
        expire_time: Some(Some(now() + TimeDelta::hours(1))),
    };
    let later = now();
    let updated =
        world.snippets().update(&before.metadata.id, &patch, Some(Version::FIRST), later).await.unwrap();
    assert_eq!(updated, before.patched(patch, later));
}

pub async fn an_update_wants_the_version_it_was_told(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before, None).await.unwrap();
    let (store, patch) = (world.snippets(), SnippetPatch::default());
    for stale in [0, 2, i64::MAX] {
        let updated = store.update(&before.metadata.id, &patch, Some(Version::new(stale)), now()).await;
        assert!(matches!(updated, Err(ChangeError::VersionMismatch)), "{updated:?}");
    }
    assert_eq!(store.get(&before.metadata.id).await.unwrap().as_ref(), Some(&before));
    store.update(&before.metadata.id, &patch, Some(Version::FIRST), now()).await.unwrap();
    let again = store.update(&before.metadata.id, &patch, Some(Version::FIRST), now()).await;
    assert!(matches!(again, Err(ChangeError::VersionMismatch)), "{again:?}");
}

pub async fn deletes_once(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet, None).await.unwrap();
    store.update(&snippet.metadata.id, &SnippetPatch::default(), None, now()).await.unwrap();
    assert_eq!(store.delete(&snippet.metadata.id, None).await.unwrap(), Version::new(2));
    assert_eq!(store.get(&snippet.metadata.id).await.unwrap(), None);
    assert!(matches!(store.delete(&snippet.metadata.id, None).await, Err(ChangeError::NotFound)));
}

pub async fn a_delete_wants_the_version_it_was_told(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet, None).await.unwrap();
    let stale = store.delete(&snippet.metadata.id, Some(Version::new(2))).await;
    assert!(matches!(stale, Err(ChangeError::VersionMismatch)), "{stale:?}");
    assert_eq!(store.delete(&snippet.metadata.id, Some(Version::FIRST)).await.unwrap(), Version::FIRST);
}

pub async fn of_concurrent_edits_of_one_version_one_succeeds(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet, None).await.unwrap();
    let edit = async || {
        store.update(&snippet.metadata.id, &SnippetPatch::default(), Some(Version::FIRST), now()).await
    };
    let (a, b, c, d) = tokio::join!(edit(), edit(), edit(), edit());
    let edits = [a, b, c, d];
    assert_eq!(edits.iter().filter(|edit| edit.is_ok()).count(), 1, "{edits:?}");
    let refused = edits.iter().filter(|edit| matches!(edit, Err(ChangeError::VersionMismatch))).count();
    assert_eq!(refused, 3, "{edits:?}");
}

pub async fn concurrent_unconditional_edits_all_count(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet, None).await.unwrap();
    let edit = async || {
        store
            .update(&snippet.metadata.id, &SnippetPatch::default(), None, now())
            .await
            .unwrap()
            .metadata
            .version
    };
    let (a, b, c, d) = tokio::join!(edit(), edit(), edit(), edit());
    let versions: HashSet<_> = [a, b, c, d].map(Version::get).into();
    assert_eq!(versions, HashSet::from([2, 3, 4, 5]));
}

pub async fn a_repeated_request_makes_nothing_new(world: &impl HasSnippets) {
    let store = world.snippets();
    let (first, request) = (sample::snippet(), sample::create_request("a"));
    assert_eq!(store.insert(&first, Some(&request)).await.unwrap(), Inserted::New);

    let again = sample::snippet();
    let before = Inserted::Before(first.metadata.id);
    assert_eq!(store.insert(&again, Some(&request)).await.unwrap(), before);
    assert_eq!(store.get(&again.metadata.id).await.unwrap(), None);
    let other_payload = CreateRequest { payload_hash: [8; 32], ..request.clone() };
    let refused = store.insert(&again, Some(&other_payload)).await;
    assert!(matches!(refused, Err(InsertError::RequestReused)), "{refused:?}");

    // Somebody else's request is another one, and so is one of another day.
    let others = CreateRequest { caller: "b".into(), ..request.clone() };
    assert_eq!(store.insert(&again, Some(&others)).await.unwrap(), Inserted::New);
    let mut next_day = sample::snippet();
    next_day.metadata.create_time = first.metadata.create_time + TimeDelta::days(1);
    assert_eq!(store.insert(&next_day, Some(&other_payload)).await.unwrap(), Inserted::New);
    assert_eq!(
        store.insert(&next_day, Some(&other_payload)).await.unwrap(),
        Inserted::Before(next_day.metadata.id)
    );
}

pub async fn a_request_whose_id_was_taken_may_try_another(world: &impl HasSnippets) {
    let (store, taken, request) = (world.snippets(), sample::snippet(), sample::create_request("a"));
    store.insert(&taken, None).await.unwrap();
    let refused = store.insert(&taken, Some(&request)).await;
    assert!(matches!(refused, Err(InsertError::IdTaken)), "{refused:?}");
    assert_eq!(store.insert(&sample::snippet(), Some(&request)).await.unwrap(), Inserted::New);
}

pub async fn of_concurrent_requests_one_makes_its_snippet(world: &impl HasSnippets) {
    let (store, request) = (world.snippets(), sample::create_request("a"));
    let snippets = [(); 8].map(|()| sample::snippet());
    let inserted = join_all(snippets.iter().map(|snippet| store.insert(snippet, Some(&request)))).await;
    let inserted: Vec<_> = inserted.into_iter().map(Result::unwrap).collect();
    let winner = inserted.iter().position(|inserted| *inserted == Inserted::New).unwrap();
    let before = Inserted::Before(snippets[winner].metadata.id);
    assert_eq!(inserted.iter().filter(|inserted| **inserted == before).count(), 7, "{inserted:?}");
}

pub async fn each_view_of_a_limit_is_taken_once(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::limited(7));
    let id = snippet.metadata.id;
    store.insert(&snippet, None).await.unwrap();
    assert!(!store.claim_view(&id, Version::new(2)).await.unwrap(), "not of a version that it does not have");
    let claims = join_all((0..20).map(|_| store.claim_view(&id, Version::FIRST))).await;
    assert_eq!(claims.into_iter().filter(|claim| *claim.as_ref().unwrap()).count(), 7);

    let unlimited = sample::snippet();
    store.insert(&unlimited, None).await.unwrap();
    assert!(!store.claim_view(&unlimited.metadata.id, Version::FIRST).await.unwrap());
}

pub async fn what_is_burnt_is_gone(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::limited(1));
    let id = snippet.metadata.id;
    store.insert(&snippet, None).await.unwrap();
    assert_eq!(store.get(&id).await.unwrap(), Some(snippet));
    assert!(store.claim_view(&id, Version::FIRST).await.unwrap());
    assert_eq!(store.get(&id).await.unwrap(), None);
    for expected in [None, Some(Version::FIRST)] {
        let updated = store.update(&id, &SnippetPatch::default(), expected, now()).await;
        assert!(matches!(updated, Err(ChangeError::NotFound)), "{updated:?}");
    }
}
