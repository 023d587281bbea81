//! Cache-aside over the real Postgres and the real Redis, with the races forced.

use crate::{
    contract::{self, HasSnippets, holds},
    sample,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use snippets::{
    adapters::{
        postgres::{self, Database, PostgresSnippetStore},
        redis_cache::{self, RedisSnippetCache},
    },
    cached::CachedSnippets,
    domain::{Snippet, SnippetId, SnippetPatch, Title, Version, Visibility, now},
    ports::{
        CacheEntry, ChangeError, CreateRequest, Found, InsertError, Inserted, SnippetCache as _,
        SnippetStore, StoreError,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

const WITHIN: Duration = Duration::from_secs(10);

/// A store that, while the gate is shut, has done its work and holds the answer back.
#[derive(Clone)]
struct Gated {
    store: PostgresSnippetStore,
    /// One permit lets one answer through.
    gate: Arc<Semaphore>,
    /// One permit for each answer that has come to the gate.
    arrived: Arc<Semaphore>,
}

impl Gated {
    fn open(store: PostgresSnippetStore) -> Self {
        Self { store, gate: Arc::new(Semaphore::new(1_000)), arrived: Arc::new(Semaphore::new(0)) }
    }

    fn shut(store: PostgresSnippetStore) -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), ..Self::open(store) }
    }

    async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    async fn pass<T>(&self, answer: T) -> T {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        answer
    }
}

#[async_trait]
impl SnippetStore for Gated {
    async fn insert(
        &self,
        snippet: &Snippet,
        request: Option<&CreateRequest>,
    ) -> Result<Inserted, InsertError> {
        self.store.insert(snippet, request).await
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        self.pass(self.store.get(id).await).await
    }

    async fn get_many(&self, ids: &[SnippetId], body_bytes_max: usize) -> Result<Vec<Found>, StoreError> {
        self.pass(self.store.get_many(ids, body_bytes_max).await).await
    }

    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        expected: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError> {
        self.pass(self.store.update(id, patch, expected, now).await).await
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        self.pass(self.store.delete(id, expected).await).await
    }

    async fn claim_view(&self, id: &SnippetId, version: Version) -> Result<bool, StoreError> {
        self.store.claim_view(id, version).await
    }
}

type Replica = CachedSnippets<Gated, RedisSnippetCache>;

/// One database and one cache, that any number of replicas share.
struct Shared {
    store: PostgresSnippetStore,
    cache: RedisSnippetCache,
}

impl Shared {
    async fn new(cache_url: &str) -> Self {
        let database = stack::shared().database().await;
        postgres::migrate(&database.url().into()).await.unwrap();
        Self::over(database.url(), cache_url)
    }

    fn over(database_url: &str, cache_url: &str) -> Self {
        let database = Database::new(&postgres::Options::new(database_url.into())).unwrap();
        let options = redis_cache::Options {
            key_prefix: stack::unique("snippets"),
            command_timeout: Duration::from_secs(1),
            ..redis_cache::Options::new(cache_url.into())
        };
        Self { store: PostgresSnippetStore::new(database), cache: RedisSnippetCache::new(&options).unwrap() }
    }

    fn replica(&self) -> Replica {
        CachedSnippets::new(Gated::open(self.store.clone()), self.cache.clone())
    }

    /// A replica whose store holds its answers back, and the store.
    fn gated_replica(&self) -> (Arc<Replica>, Gated) {
        let store = Gated::shut(self.store.clone());
        (Arc::new(CachedSnippets::new(store.clone(), self.cache.clone())), store)
    }
}

async fn shared() -> Shared {
    Shared::new(stack::shared().cache_redis_url()).await
}

fn retitled(title: &str) -> SnippetPatch {
    SnippetPatch { title: Some(Title::parse(title).unwrap()), ..SnippetPatch::default() }
}

async fn edit(replica: &Replica, snippet: &Snippet) -> Snippet {
    replica.update(&snippet.metadata.id, &retitled("edited"), None, now()).await.unwrap()
}

#[tokio::test]
async fn a_slow_reader_does_not_bring_an_old_copy_back() {
    let shared = shared().await;
    let writer = shared.replica();
    let first = sample::snippet();
    writer.insert(&first, None).await.unwrap();

    let (reader, store) = shared.gated_replica();
    let mut reads = JoinSet::new();
    let (replica, id) = (reader.clone(), first.metadata.id);
    reads.spawn(async move { replica.get(&id).await.unwrap() });
    store.arrived().await;
    // The reader holds version 1. Now version 2 is committed and invalidated.
    let second = edit(&writer, &first).await;
    store.gate.add_permits(1_000);
    assert_eq!(reads.join_next().await.unwrap().unwrap(), Some(first));

    assert_eq!(shared.cache.get(&id).await.unwrap(), CacheEntry::Tombstone);
    for replica in [&*reader, &writer] {
        assert_eq!(replica.get(&id).await.unwrap().as_ref(), Some(&second));
    }
    assert_eq!(shared.cache.get(&id).await.unwrap(), CacheEntry::Hit(Box::new(second)));
}

#[tokio::test]
async fn a_slow_reader_does_not_bring_a_deleted_snippet_back() {
    let shared = shared().await;
    let writer = shared.replica();
    let snippet = sample::snippet();
    writer.insert(&snippet, None).await.unwrap();

    let (reader, store) = shared.gated_replica();
    let mut reads = JoinSet::new();
    let (replica, id) = (reader.clone(), snippet.metadata.id);
    reads.spawn(async move { replica.get(&id).await.unwrap() });
    store.arrived().await;
    writer.delete(&id, None).await.unwrap();
    store.gate.add_permits(1_000);
    assert!(reads.join_next().await.unwrap().unwrap().is_some());

    assert_eq!(shared.cache.get(&id).await.unwrap(), CacheEntry::Tombstone);
    assert_eq!(reader.get(&id).await.unwrap(), None);
    assert_eq!(writer.get(&id).await.unwrap(), None);
}

#[tokio::test]
async fn private_and_limited_snippets_are_not_cached_and_leave_the_cache_when_they_become_so() {
    let shared = shared().await;
    let replica = shared.replica();
    let private = sample::visible(Visibility::Private);
    replica.insert(&private, None).await.unwrap();
    assert_eq!(replica.get(&private.metadata.id).await.unwrap().as_ref(), Some(&private));
    assert_eq!(shared.cache.get(&private.metadata.id).await.unwrap(), CacheEntry::Miss);

    let limited = sample::limited(3);
    replica.insert(&limited, None).await.unwrap();
    assert_eq!(replica.get(&limited.metadata.id).await.unwrap().as_ref(), Some(&limited));
    assert_eq!(shared.cache.get(&limited.metadata.id).await.unwrap(), CacheEntry::Miss);

    let public = sample::snippet();
    replica.insert(&public, None).await.unwrap();
    replica.get(&public.metadata.id).await.unwrap();
    assert!(matches!(shared.cache.get(&public.metadata.id).await.unwrap(), CacheEntry::Hit(_)));
    let hide = SnippetPatch { visibility: Some(Visibility::Private), ..SnippetPatch::default() };
    let hidden = replica.update(&public.metadata.id, &hide, None, now()).await.unwrap();
    assert_eq!(replica.get(&public.metadata.id).await.unwrap(), Some(hidden));
    assert_eq!(shared.cache.get(&public.metadata.id).await.unwrap(), CacheEntry::Tombstone);
}

#[tokio::test]
async fn of_many_the_store_is_asked_once_for_those_that_are_not_cached() {
    let shared = shared().await;
    let store = Gated::open(shared.store.clone());
    let replica = CachedSnippets::new(store.clone(), shared.cache.clone());
    let snippets: Vec<_> = (0..50).map(|_| sample::snippet()).collect();
    for snippet in &snippets {
        replica.insert(snippet, None).await.unwrap();
    }
    let ids: Vec<_> = snippets.iter().map(|snippet| snippet.metadata.id).collect();
    replica.get(&ids[0]).await.unwrap();
    // The body of one is cached, of the others none were read: nothing to be cached.
    for expected in [2, 3] {
        assert_eq!(replica.get_many(&ids, 0).await.unwrap().len(), 50);
        assert_eq!(store.arrived.available_permits(), expected);
    }
    for _ in 0..3 {
        let found = replica.get_many(&ids, usize::MAX).await.unwrap();
        assert_eq!(found.iter().filter(|found| found.body.is_some()).count(), 50);
        assert_eq!(store.arrived.available_permits(), 4);
    }
}

#[tokio::test]
async fn the_second_read_is_served_with_postgres_stopped() {
    let server = stack::Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    postgres::migrate(&database.url().into()).await.unwrap();
    let replica = Shared::over(database.url(), stack::shared().cache_redis_url()).replica();
    let snippet = sample::snippet();
    replica.insert(&snippet, None).await.unwrap();
    assert_eq!(replica.get(&snippet.metadata.id).await.unwrap().as_ref(), Some(&snippet));
    server.kill();
    // Not even a write that fails keeps the copy from being read.
    assert!(replica.update(&snippet.metadata.id, &retitled("edited"), None, now()).await.is_err());
    assert_eq!(replica.get(&snippet.metadata.id).await.unwrap(), Some(snippet));
    assert!(replica.get(&SnippetId::generate()).await.is_err());
}

#[tokio::test]
async fn an_invalidation_that_failed_is_made_up_for() {
    let server = stack::Redis::start(stack::RedisPolicy::Cache).await.unwrap();
    let shared = Shared::new(server.url()).await;
    let (writer, other) = (Arc::new(shared.replica()), shared.replica());
    let first = sample::snippet();
    writer.insert(&first, None).await.unwrap();
    stack::eventually(WITHIN, async || Ok(shared.cache.check().await?)).await.unwrap();
    writer.get(&first.metadata.id).await.unwrap();

    // Redis hangs, with the copy in it: the write succeeds all the same.
    server.pause();
    let second = edit(&writer, &first).await;
    server.resume();
    stack::eventually(WITHIN, async || Ok(shared.cache.check().await?)).await.unwrap();
    assert_eq!(writer.get(&first.metadata.id).await.unwrap().as_ref(), Some(&second));

    let stop = CancellationToken::new();
    let script = async {
        let seen = async || other.get(&first.metadata.id).await.unwrap().as_ref() == Some(&second);
        stack::until("the other replica sees the edit", WITHIN, seen).await.unwrap();
        stop.cancel();
    };
    tokio::join!(writer.run(stop.clone()), script);
    // The cache is in use again.
    writer.get(&first.metadata.id).await.unwrap();
    assert_eq!(shared.cache.get(&first.metadata.id).await.unwrap(), CacheEntry::Hit(Box::new(second)));
}

#[tokio::test]
async fn a_writer_that_goes_away_before_the_invalidation_is_made_up_for() {
    let shared = shared().await;
    let other = shared.replica();
    let first = sample::snippet();
    other.insert(&first, None).await.unwrap();
    other.get(&first.metadata.id).await.unwrap();

    let (writer, store) = shared.gated_replica();
    let mut edits = JoinSet::new();
    let (replica, id) = (writer.clone(), first.metadata.id);
    edits.spawn(async move { replica.update(&id, &retitled("edited"), None, now()).await });
    store.arrived().await;
    // Committed, and the caller hangs up.
    edits.shutdown().await;
    assert_eq!(other.get(&id).await.unwrap(), Some(first));
    store.gate.add_permits(1_000);

    let stop = CancellationToken::new();
    let script = async {
        let seen = async || other.get(&id).await.unwrap().unwrap().metadata.version == Version::new(2);
        stack::until("the edit is seen", WITHIN, seen).await.unwrap();
        stop.cancel();
    };
    tokio::join!(writer.run(stop.clone()), script);
}

async fn world() -> CachedWorld {
    CachedWorld(shared().await.replica())
}

struct CachedWorld(Replica);

impl HasSnippets for CachedWorld {
    fn snippets(&self) -> &dyn SnippetStore {
        &self.0
    }
}

/// A cache in front changes nothing of what a store promises.
mod snippet_store {
    use super::{contract, holds};

    holds!(
        contract::snippets,
        super::world,
        [
            reads_back_what_was_inserted,
            takes_an_id_once,
            knows_nothing_of_other_ids,
            reads_many_at_once,
            reads_bodies_while_there_is_room,
            an_update_changes_what_the_patch_names,
            an_update_replaces_everything_when_told_to,
            an_update_wants_the_version_it_was_told,
            deletes_once,
            a_delete_wants_the_version_it_was_told,
            of_concurrent_edits_of_one_version_one_succeeds,
            concurrent_unconditional_edits_all_count,
            a_repeated_request_makes_nothing_new,
            of_concurrent_requests_one_makes_its_snippet,
            each_view_of_a_limit_is_taken_once,
            what_is_burnt_is_gone,
        ]
    );
}
