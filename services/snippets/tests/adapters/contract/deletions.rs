use super::World;
use crate::sample;
use chrono::TimeDelta;
use snippets::{
    domain::{SnippetId, Version, now},
    ports::Deletions,
};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(60);

/// Ids of so many snippets that were deleted.
async fn deleted(world: &impl World, count: usize) -> Vec<SnippetId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let snippet = sample::snippet();
        world.snippets().insert(&snippet, None).await.unwrap();
        world.snippets().delete(&snippet.metadata.id, None).await.unwrap();
        ids.push(snippet.metadata.id);
    }
    ids.sort();
    ids
}

async fn take(deletions: &dyn Deletions, limit: u32, lease: Duration) -> Vec<SnippetId> {
    let mut ids = deletions.take(limit, lease).await.unwrap();
    ids.sort();
    ids
}

pub async fn knows_what_was_deleted_and_swept_and_nothing_else(world: &impl World) {
    let (snippets, now) = (world.snippets(), now());
    let (kept, expired, burnt) =
        (sample::snippet(), sample::expiring(now - TimeDelta::seconds(1)), sample::limited(1));
    for snippet in [&kept, &expired, &burnt] {
        snippets.insert(snippet, None).await.unwrap();
    }
    assert!(snippets.delete(&kept.metadata.id, Some(Version::new(7))).await.is_err());
    assert!(take(world.deletions(), 10, Duration::ZERO).await.is_empty());
    snippets.claim_view(&burnt.metadata.id, Version::FIRST).await.unwrap();
    world.sweep().remove_expired(now, 10).await.unwrap();
    world.sweep().remove_burnt(10).await.unwrap();
    let mut gone = deleted(world, 2).await;
    gone.extend([expired.metadata.id, burnt.metadata.id]);
    gone.sort();
    assert_eq!(take(world.deletions(), 10, Duration::ZERO).await, gone);
    world.deletions().told(&gone).await.unwrap();
    assert!(take(world.deletions(), 10, Duration::ZERO).await.is_empty());
}

pub async fn what_is_taken_is_nobody_elses_until_its_time_is_over(world: &impl World) {
    let (deletions, gone) = (world.deletions(), deleted(world, 3).await);
    // Nobody has told these, and their time is over at once.
    assert_eq!(take(deletions, 10, Duration::ZERO).await, gone);
    let taken = take(deletions, 2, LEASE).await;
    assert_eq!(taken.len(), 2);
    let other = take(deletions, 10, LEASE).await;
    assert_eq!(other.len(), 1);
    assert!(!taken.contains(&other[0]));
    assert!(take(deletions, 10, LEASE).await.is_empty());
    deletions.told(&[]).await.unwrap();
    deletions.told(&gone).await.unwrap();
}

pub async fn of_many_who_take_each_gets_others(world: &impl World) {
    let (deletions, gone) = (world.deletions(), deleted(world, 20).await);
    let takers = (0..10).map(|_| take(deletions, 2, LEASE));
    let mut taken = futures_util::future::join_all(takers).await.concat();
    // Who found the rows of others locked has less than it might.
    taken.extend(take(deletions, 20, LEASE).await);
    taken.sort();
    assert_eq!(taken, gone);
}
