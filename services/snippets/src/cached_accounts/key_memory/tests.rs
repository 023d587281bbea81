use std::{future::ready, sync::atomic::AtomicUsize};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{advance, timeout},
};

use super::*;
use crate::domain::{AccountId, ApiKeyId, ApiKeyName, ApiKeySecret, DisplayName, Tier, now};

/// The last moment of an answer's life, and how far it is from its end.
const ALMOST: Duration = Duration::from_millis(999);
const REST: Duration = Duration::from_millis(1);

type Found = Option<(ApiKey, Account)>;

/// A store that says the same of every key, counts how often it is asked, and answers when the gate is open.
struct Store {
    answer: parking_lot::Mutex<Result<Found, ()>>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Store {
    fn new(found: Found) -> Arc<Self> {
        let answer = parking_lot::Mutex::new(Ok(found));
        Arc::new(Self { answer, asked: AtomicUsize::new(0), gate: Semaphore::new(Semaphore::MAX_PERMITS) })
    }

    /// What is there when it is asked; the answer may come later.
    async fn ask(&self) -> Result<Found, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().clone();
        self.gate.acquire().await.unwrap().forget();
        answer.map_err(|()| StoreError::Unavailable("away".into()))
    }

    fn says(&self, answer: Result<Found, ()>) {
        *self.answer.lock() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open(&self) {
        self.gate.add_permits(1_000);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the store says it")]
fn key() -> Found {
    let account = Account {
        id: AccountId::generate(),
        display_name: DisplayName::parse("Ada").unwrap(),
        tier: Tier::Free,
        disabled: false,
        create_time: now(),
    };
    let key = ApiKey {
        id: ApiKeyId::generate(),
        account_id: account.id,
        display_name: ApiKeyName::default(),
        create_time: now(),
        expire_time: None,
        revoke_time: None,
    };
    Some((key, account))
}

fn hash() -> KeyHash {
    ApiKeySecret::generate().hash()
}

async fn find(memory: &KeyMemory, hash: &KeyHash, store: &Store) -> Result<Found, StoreError> {
    memory.find(hash, || store.ask()).await
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_gone_by_for_a_second_and_no_longer() {
    for (before, after) in [(key(), None), (None, key()), (key(), key())] {
        let (memory, store, hash) = (KeyMemory::default(), Store::new(before.clone()), hash());
        assert_eq!(find(&memory, &hash, &store).await.unwrap(), before);
        store.says(Ok(after.clone()));
        advance(ALMOST).await;
        assert_eq!(find(&memory, &hash, &store).await.unwrap(), before);
        assert_eq!(store.asked(), 1);
        advance(REST).await;
        assert_eq!(find(&memory, &hash, &store).await.unwrap(), after);
        assert_eq!(store.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_begins_when_the_store_is_asked_and_not_when_it_answers() {
    let (memory, store, hash) = (Arc::new(KeyMemory::default()), Store::new(key()), hash());
    store.shut();
    let mut calls = JoinSet::new();
    let (its, stores) = (memory.clone(), store.clone());
    calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.says(Ok(None));
    advance(Answer::LIFETIME / 2).await;
    // Comes within the second, and is told what was there when it came, or half a second before.
    let (its, stores) = (memory.clone(), store.clone());
    calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.gate.add_permits(1);
    for _ in 0..2 {
        assert!(calls.join_next().await.unwrap().unwrap().unwrap().is_some());
    }
    assert_eq!(store.asked(), 1);
    advance(Answer::LIFETIME / 2).await;
    store.open();
    assert_eq!(find(&memory, &hash, &store).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_to_a_slow_look_up_is_not_told_what_was_there_long_ago() {
    let (memory, store, hash) = (Arc::new(KeyMemory::default()), Store::new(key()), hash());
    store.shut();
    let mut calls = JoinSet::new();
    let (its, stores) = (memory.clone(), store.clone());
    calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.says(Ok(None));
    advance(Answer::LIFETIME * 2).await;
    let (its, stores) = (memory, store.clone());
    let late = calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.open();
    while let Some(call) = calls.join_next_with_id().await {
        let (id, found) = call.unwrap();
        assert_eq!(found.unwrap().is_none(), id == late.id());
    }
    assert_eq!(store.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_made_here_holds_at_once() {
    for (before, after) in [(key(), None), (None, key())] {
        let (memory, store, hash) = (KeyMemory::default(), Store::new(before.clone()), hash());
        assert_eq!(find(&memory, &hash, &store).await.unwrap(), before);
        {
            let _forgets = memory.forget_afterwards();
            store.says(Ok(after.clone()));
            assert_eq!(find(&memory, &hash, &store).await.unwrap(), before);
        }
        assert_eq!(find(&memory, &hash, &store).await.unwrap(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_change_is_not_told_to_who_comes_after_it() {
    let (memory, store, hash) = (Arc::new(KeyMemory::default()), Store::new(key()), hash());
    store.shut();
    let mut calls = JoinSet::new();
    let (its, stores) = (memory.clone(), store.clone());
    calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.says(Ok(None));
    drop(memory.forget_afterwards());
    let (its, stores) = (memory.clone(), store.clone());
    let after = calls.spawn(async move { find(&its, &hash, &stores).await });
    tokio::task::yield_now().await;
    store.open();
    while let Some(call) = calls.join_next_with_id().await {
        let (id, found) = call.unwrap();
        assert_eq!(found.unwrap().is_none(), id == after.id());
    }
    // Nor is it remembered.
    assert_eq!(find(&memory, &hash, &store).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_one_question_and_its_failure_which_is_not_remembered() {
    let (memory, store, hash) = (Arc::new(KeyMemory::default()), Store::new(key()), hash());
    store.says(Err(()));
    for expected in [1, 2] {
        store.shut();
        let mut calls = JoinSet::new();
        for _ in 0..50 {
            let (memory, store) = (memory.clone(), store.clone());
            calls.spawn(async move { find(&memory, &hash, &store).await.is_ok() });
        }
        tokio::task::yield_now().await;
        store.open();
        let answers = calls.join_all().await;
        assert!(answers.iter().all(|is_ok| *is_ok == (expected == 2)), "{answers:?}");
        assert_eq!(store.asked(), expected);
        store.says(Ok(key()));
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_a_key_works_to_the_end_of_its_second() {
    let (memory, store, hash) = (KeyMemory::default(), Store::new(key()), hash());
    find(&memory, &hash, &store).await.unwrap();
    store.says(Err(()));
    advance(ALMOST).await;
    assert!(find(&memory, &hash, &store).await.unwrap().is_some());
    advance(REST).await;
    for _ in 0..3 {
        let failed = find(&memory, &hash, &store).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_take_the_answer_with_it() {
    let (memory, store, hash) = (Arc::new(KeyMemory::default()), Store::new(key()), hash());
    store.shut();
    let mut calls = JoinSet::new();
    let (its, stores) = (memory.clone(), store.clone());
    let first = calls.spawn(async move { find(&its, &hash, &stores).await.is_ok() });
    tokio::task::yield_now().await;
    let (its, stores) = (memory, store.clone());
    calls.spawn(async move { find(&its, &hash, &stores).await.is_ok() });
    tokio::task::yield_now().await;
    first.abort();
    assert!(calls.join_next().await.unwrap().is_err());
    store.open();
    let second = timeout(Duration::from_secs(60), calls.join_next()).await;
    assert!(second.unwrap().unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_has_push_no_other_out() {
    let (memory, store, good) = (KeyMemory::default(), Store::new(key()), hash());
    find(&memory, &good, &store).await.unwrap();
    for _ in 0..KEYS_MAX + 1_000 {
        assert_eq!(memory.find(&hash(), || ready(Ok(None))).await.unwrap(), None);
    }
    for cache in [&memory.known, &memory.unknown] {
        cache.run_pending_tasks();
        assert!(cache.entry_count() <= KEYS_MAX);
    }
    memory.look_ups.run_pending_tasks();
    assert!(memory.look_ups.entry_count() <= KEYS_MAX);
    assert!(find(&memory, &good, &store).await.unwrap().is_some());
    assert_eq!(store.asked(), 1);
}
