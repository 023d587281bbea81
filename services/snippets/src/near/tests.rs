#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
};

use super::*;
use crate::domain::{Body, Language, MaxViews, NewSnippet, Tags, Title, Visibility, now};

/// A store that, while the gate is shut, has looked and holds back what it has found.
#[derive(Clone)]
struct Gated {
    rows: Arc<Mutex<HashMap<SnippetId, Snippet>>>,
    reads: Arc<Mutex<usize>>,
    is_down: Arc<Mutex<bool>>,
    /// One permit lets one answer through.
    gate: Arc<Semaphore>,
    /// One permit for each answer that has come to the gate.
    arrived: Arc<Semaphore>,
}

impl Gated {
    fn open() -> Self {
        let gated = Self::shut();
        gated.gate.add_permits(1_000_000);
        gated
    }

    fn shut() -> Self {
        Self {
            rows: Arc::default(),
            reads: Arc::default(),
            is_down: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            arrived: Arc::new(Semaphore::new(0)),
        }
    }

    fn reads(&self) -> usize {
        *self.reads.lock()
    }

    async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl SnippetStore for Gated {
    async fn insert(&self, snippet: &Snippet, _: Option<&CreateRequest>) -> Result<Inserted, InsertError> {
        self.rows.lock().insert(snippet.metadata.id, snippet.clone());
        Ok(Inserted::New)
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        *self.reads.lock() += 1;
        let found = self.rows.lock().get(id).cloned();
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        if *self.is_down.lock() { Err(StoreError::Unavailable("down".into())) } else { Ok(found) }
    }

    async fn get_many(&self, ids: &[SnippetId], _: usize) -> Result<Vec<Found>, StoreError> {
        *self.reads.lock() += 1;
        let rows = self.rows.lock();
        let found = ids.iter().filter_map(|id| rows.get(id).cloned());
        Ok(found.map(|Snippet { metadata, body }| Found { metadata, body: Some(body) }).collect())
    }

    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        _: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError> {
        let mut rows = self.rows.lock();
        let edited = rows.remove(id).ok_or(ChangeError::NotFound)?.patched(patch.clone(), now);
        rows.insert(*id, edited.clone());
        Ok(edited)
    }

    async fn delete(&self, id: &SnippetId, _: Option<Version>) -> Result<Version, ChangeError> {
        self.rows.lock().remove(id).map(|row| row.metadata.version).ok_or(ChangeError::NotFound)
    }

    async fn claim_view(&self, _: &SnippetId, _: Version) -> Result<bool, StoreError> {
        Ok(true)
    }
}

const BYTES_MAX: u64 = 1 << 20;

fn near(store: &Gated) -> Arc<NearSnippets<Gated>> {
    Arc::new(NearSnippets::new(Arc::new(store.clone()), BYTES_MAX))
}

fn snippet(body: &str) -> Snippet {
    NewSnippet {
        title: Title::default(),
        language: Language::default(),
        body: Body::parse(body).unwrap(),
        tags: Tags::default(),
        visibility: Visibility::Public,
        owner: None,
        expire_time: None,
        max_views: None,
    }
    .with_id(SnippetId::generate(), now())
}

async fn stored(store: &Gated, snippet: Snippet) -> Snippet {
    store.insert(&snippet, None).await.unwrap();
    snippet
}

fn retitled() -> SnippetPatch {
    SnippetPatch { title: Some(Title::parse("edited").unwrap()), ..SnippetPatch::default() }
}

type Read = Result<Option<Snippet>, StoreError>;

fn read(near: &Arc<NearSnippets<Gated>>, id: SnippetId, reads: &mut JoinSet<Read>) {
    let near = Arc::clone(near);
    reads.spawn(async move { near.get(&id).await });
}

#[tokio::test]
async fn ten_thousand_readers_of_one_snippet_are_one_reading() {
    let store = Gated::shut();
    let (near, snippet) = (near(&store), stored(&store, snippet("hot")).await);
    let mut reads = JoinSet::new();
    for _ in 0..10_000 {
        read(&near, snippet.metadata.id, &mut reads);
    }
    store.arrived().await;
    store.gate.add_permits(1_000_000);
    while let Some(read) = reads.join_next().await {
        assert_eq!(read.unwrap().unwrap().as_ref(), Some(&snippet));
    }
    assert_eq!(near.get(&snippet.metadata.id).await.unwrap(), Some(snippet));
    assert_eq!((store.reads(), near.flights.len()), (1, 0));
}

#[tokio::test]
async fn a_reading_that_began_before_an_edit_is_of_no_use_after_it() {
    let store = Gated::shut();
    let (near, first) = (near(&store), stored(&store, snippet("x")).await);
    let id = first.metadata.id;
    let mut reads = JoinSet::new();
    read(&near, id, &mut reads);
    store.arrived().await;
    // The reader has version 1 before it. Now version 2 is committed and acknowledged.
    let second = near.update(&id, &retitled(), None, now()).await.unwrap();
    let mut late = JoinSet::new();
    read(&near, id, &mut late);
    store.arrived().await;
    store.gate.add_permits(1_000_000);
    assert_eq!(reads.join_next().await.unwrap().unwrap().unwrap(), Some(first));
    assert_eq!(late.join_next().await.unwrap().unwrap().unwrap().as_ref(), Some(&second));
    assert_eq!(near.get(&id).await.unwrap(), Some(second));
    assert_eq!(store.reads(), 2);
}

#[tokio::test]
async fn a_write_takes_the_copy_away() {
    let store = Gated::open();
    let (near, first) = (near(&store), stored(&store, snippet("x")).await);
    let id = first.metadata.id;
    near.get(&id).await.unwrap();
    let second = near.update(&id, &retitled(), None, now()).await.unwrap();
    assert_eq!(near.get(&id).await.unwrap(), Some(second));
    near.delete(&id, None).await.unwrap();
    assert_eq!(near.get(&id).await.unwrap(), None);
    // What is known to be missing may be made.
    near.insert(&first, None).await.unwrap();
    assert_eq!(near.get(&id).await.unwrap(), Some(first));
    assert_eq!(store.reads(), 4);
}

#[tokio::test]
async fn copies_and_gaps_are_known_for_less_than_a_second() {
    let store = Gated::open();
    let (near, snippet) = (near(&store), stored(&store, snippet("x")).await);
    let (there, missing) = (snippet.metadata.id, SnippetId::generate());
    let read_all = async || {
        assert_eq!(near.get(&there).await.unwrap().as_ref(), Some(&snippet));
        assert_eq!(near.get(&missing).await.unwrap(), None);
        assert_eq!(near.get_many(&[there, missing], usize::MAX).await.unwrap().len(), 1);
    };
    read_all().await;
    read_all().await;
    assert_eq!(store.reads(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    read_all().await;
    assert_eq!(store.reads(), 4);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_reading_to_the_others() {
    let store = Gated::shut();
    let (near, snippet) = (near(&store), stored(&store, snippet("x")).await);
    let (mut leader, mut others) = (JoinSet::new(), JoinSet::new());
    read(&near, snippet.metadata.id, &mut leader);
    store.arrived().await;
    read(&near, snippet.metadata.id, &mut others);
    yield_now().await;
    leader.shutdown().await;
    store.arrived().await;
    store.gate.add_permits(1);
    assert_eq!(others.join_next().await.unwrap().unwrap().unwrap(), Some(snippet));

    let missing = SnippetId::generate();
    for _ in 0..2 {
        read(&near, missing, &mut others);
    }
    store.arrived().await;
    others.shutdown().await;
    assert_eq!(near.flights.len(), 0, "nothing is left of what everybody has given up");
}

#[tokio::test]
async fn a_failure_is_that_of_all_who_waited_and_is_not_kept() {
    let store = Gated::shut();
    *store.is_down.lock() = true;
    let (near, snippet) = (near(&store), stored(&store, snippet("x")).await);
    let mut reads = JoinSet::new();
    for _ in 0..3 {
        read(&near, snippet.metadata.id, &mut reads);
    }
    store.arrived().await;
    store.gate.add_permits(1_000_000);
    while let Some(read) = reads.join_next().await {
        let error = read.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    assert_eq!(store.reads(), 1);
    *store.is_down.lock() = false;
    assert_eq!(near.get(&snippet.metadata.id).await.unwrap(), Some(snippet));
}

#[tokio::test]
async fn private_and_limited_snippets_are_not_kept() {
    let store = Gated::open();
    let near = near(&store);
    let (mut private, mut limited) = (snippet("x"), snippet("x"));
    private.metadata.visibility = Visibility::Private;
    limited.metadata.max_views = MaxViews::new(1);
    for snippet in [private, limited] {
        let snippet = stored(&store, snippet).await;
        for _ in 0..2 {
            assert_eq!(near.get(&snippet.metadata.id).await.unwrap().as_ref(), Some(&snippet));
        }
    }
    assert_eq!(store.reads(), 4);
}

#[tokio::test]
async fn copies_stay_within_their_bound() {
    let store = Gated::open();
    let near = near(&store);
    for bytes in [1, 10_000, 100_000] {
        let body = "x".repeat(bytes);
        let snippets = join_all((0..300).map(|_| stored(&store, snippet(&body)))).await;
        for snippet in snippets {
            near.get(&snippet.metadata.id).await.unwrap();
            assert!(near.copies.bytes() <= BYTES_MAX + BYTES_MAX / 10, "{} of {bytes}", near.copies.bytes());
        }
    }
    assert!(near.copies.bytes() > 0);
}
