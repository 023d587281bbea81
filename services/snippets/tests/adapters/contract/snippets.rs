use super::{HasSnippets, World};
use crate::sample;
use chrono::TimeDelta;
use snippets::{
    domain::{Body, Language, Snippet, SnippetId, SnippetPatch, Tags, Tier, Title, Version, Visibility, now},
    ports::{ChangeError, InsertError},
};
use std::collections::HashSet;

pub async fn reads_back_what_was_inserted(world: &impl HasSnippets) {
    let mut bare = sample::snippet();
    (bare.metadata.title, bare.metadata.language, bare.metadata.tags) = <(Title, Language, Tags)>::default();
    bare.body = Body::parse("x".repeat(1 << 20)).unwrap();
    let snippets = [sample::snippet(), bare];
    for snippet in &snippets {
        world.snippets().insert(snippet).await.unwrap();
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
        world.snippets().insert(&snippet).await.unwrap();
        assert_eq!(world.snippets().get(&snippet.metadata.id).await.unwrap(), Some(snippet));
    }
}

pub async fn takes_an_id_once(world: &impl HasSnippets) {
    let first = sample::snippet();
    world.snippets().insert(&first).await.unwrap();
    let second = Snippet { body: Body::parse("other").unwrap(), ..first.clone() };
    assert!(matches!(world.snippets().insert(&second).await, Err(InsertError::IdTaken)));
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

pub async fn an_update_changes_what_the_patch_names(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before).await.unwrap();
    let later = before.metadata.update_time + TimeDelta::seconds(5);
    let patches = [
        SnippetPatch { title: Some(Title::parse("new").unwrap()), ..SnippetPatch::default() },
        SnippetPatch { language: Some(Language::default()), ..SnippetPatch::default() },
        SnippetPatch { body: Some(Body::parse("new").unwrap()), ..SnippetPatch::default() },
        SnippetPatch { tags: Some(Tags::default()), ..SnippetPatch::default() },
        SnippetPatch { visibility: Some(Visibility::Private), ..SnippetPatch::default() },
        SnippetPatch::default(),
    ];
    let mut expected = before;
    for patch in patches {
        let updated = world.snippets().update(&expected.metadata.id, &patch, None, later).await.unwrap();
        expected = expected.patched(patch, later);
        assert_eq!(updated, expected);
        assert_eq!(world.snippets().get(&expected.metadata.id).await.unwrap().as_ref(), Some(&expected));
    }
    assert_eq!(expected.metadata.version, Version::new(7));
}

pub async fn an_update_replaces_everything_when_told_to(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before).await.unwrap();
    let patch = SnippetPatch {
        title: Some(Title::default()),
        language: Some(Language::parse("python").unwrap()),
        body: Some(Body::parse("pass").unwrap()),
        tags: Some(Tags::parse(vec!["z".into()]).unwrap()),
        visibility: Some(Visibility::Unlisted),
    };
    let later = now();
    let updated =
        world.snippets().update(&before.metadata.id, &patch, Some(Version::FIRST), later).await.unwrap();
    assert_eq!(updated, before.patched(patch, later));
}

pub async fn an_update_wants_the_version_it_was_told(world: &impl HasSnippets) {
    let before = sample::snippet();
    world.snippets().insert(&before).await.unwrap();
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
    store.insert(&snippet).await.unwrap();
    store.update(&snippet.metadata.id, &SnippetPatch::default(), None, now()).await.unwrap();
    assert_eq!(store.delete(&snippet.metadata.id, None).await.unwrap(), Version::new(2));
    assert_eq!(store.get(&snippet.metadata.id).await.unwrap(), None);
    assert!(matches!(store.delete(&snippet.metadata.id, None).await, Err(ChangeError::NotFound)));
}

pub async fn a_delete_wants_the_version_it_was_told(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet).await.unwrap();
    let stale = store.delete(&snippet.metadata.id, Some(Version::new(2))).await;
    assert!(matches!(stale, Err(ChangeError::VersionMismatch)), "{stale:?}");
    assert_eq!(store.delete(&snippet.metadata.id, Some(Version::FIRST)).await.unwrap(), Version::FIRST);
}

pub async fn of_concurrent_edits_of_one_version_one_succeeds(world: &impl HasSnippets) {
    let (store, snippet) = (world.snippets(), sample::snippet());
    store.insert(&snippet).await.unwrap();
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
    store.insert(&snippet).await.unwrap();
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
