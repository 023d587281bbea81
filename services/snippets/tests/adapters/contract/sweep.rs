use super::World;
use crate::sample;
use chrono::TimeDelta;
use snippets::{
    domain::{SnippetId, Version, now},
    ports::{Inserted, SnippetStore},
};

async fn store(store: &dyn SnippetStore, snippet: snippets::domain::Snippet) -> SnippetId {
    store.insert(&snippet, None).await.unwrap();
    snippet.metadata.id
}

pub async fn removes_what_has_expired_in_bounded_steps(world: &impl World) {
    let (snippets, now) = (world.snippets(), now());
    let mut over = Vec::new();
    for seconds in 0..5 {
        over.push(store(snippets, sample::expiring(now - TimeDelta::seconds(seconds))).await);
    }
    let kept = [
        store(snippets, sample::snippet()).await,
        store(snippets, sample::expiring(now + TimeDelta::microseconds(1))).await,
        store(snippets, sample::limited(1)).await,
    ];
    let mut removed = Vec::new();
    for expected in [2, 2, 1, 0] {
        let step = world.sweep().remove_expired(now, 2).await.unwrap();
        assert_eq!(step.len(), expected);
        removed.extend(step);
    }
    removed.sort();
    over.sort();
    assert_eq!(removed, over);
    for id in kept {
        assert!(snippets.get(&id).await.unwrap().is_some());
    }
}

pub async fn removes_what_has_no_view_left(world: &impl World) {
    let snippets = world.snippets();
    let (burnt, left) = (sample::limited(1), sample::limited(2));
    for snippet in [&burnt, &left] {
        snippets.insert(snippet, None).await.unwrap();
        assert!(snippets.claim_view(&snippet.metadata.id, Version::FIRST).await.unwrap());
    }
    assert_eq!(world.sweep().remove_burnt(10).await.unwrap(), [burnt.metadata.id]);
    assert!(world.sweep().remove_burnt(10).await.unwrap().is_empty());
    assert_eq!(snippets.get(&left.metadata.id).await.unwrap(), Some(left));
}

pub async fn forgets_old_requests(world: &impl World) {
    let (snippets, first) = (world.snippets(), sample::snippet());
    let [old, young] = ["old", "young"].map(sample::create_request);
    snippets.insert(&first, Some(&old)).await.unwrap();
    let mut later = sample::snippet();
    later.metadata.create_time = first.metadata.create_time + TimeDelta::hours(1);
    snippets.insert(&later, Some(&young)).await.unwrap();
    assert_eq!(world.sweep().forget_create_requests(first.metadata.create_time, 10).await.unwrap(), 1);
    assert_eq!(snippets.insert(&sample::snippet(), Some(&old)).await.unwrap(), Inserted::New);
    let before = Inserted::Before(later.metadata.id);
    assert_eq!(snippets.insert(&sample::snippet(), Some(&young)).await.unwrap(), before);
}
