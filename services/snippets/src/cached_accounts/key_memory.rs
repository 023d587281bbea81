//! What the store said of keys, for a second.

mod answer;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    domain::{Account, ApiKey, KeyHash},
    ports::StoreError,
};
use answer::{Answer, Moment};

/// Keys remembered at most, of some hundred bytes each, and as many that nobody has.
const KEYS_MAX: u64 = 10_000;
/// When they are let go at the latest: long after an answer is gone by, and after a store has answered or failed. Were a
/// look-up let go before its end, the next to come would only ask once more.
const HELD_MAX: Duration = Duration::from_secs(10);

/// Answers of the store about keys, and the questions that it has not answered yet.
pub(super) struct KeyMemory {
    known: Cache<KeyHash, Answer>,
    /// Keys that nobody has, apart, so that who makes them up can't push the others out.
    unknown: Cache<KeyHash, Answer>,
    /// All who ask for a key at the same time wait for one answer.
    look_ups: Cache<KeyHash, Arc<LookUp>>,
    /// How often something was changed here: answers from before are not gone by.
    changes: AtomicU64,
}

type LookUp = OnceCell<Result<Answer, StoreError>>;

/// Forgets everything when it is dropped.
pub(super) struct Forget<'a>(&'a AtomicU64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for KeyMemory {
    fn default() -> Self {
        Self { known: cache(), unknown: cache(), look_ups: cache(), changes: AtomicU64::new(0) }
    }
}

impl KeyMemory {
    /// Forgets everything after a change, be it done, failed or given up. Changes are rare, and what a key's account and an
    /// account's keys are need not be known for it.
    pub(super) fn forget_afterwards(&self) -> Forget<'_> {
        Forget(&self.changes)
    }

    /// The key with this hash and its account, as they were within the last second; `ask` asks the store. An error is told to
    /// all who wait for the same answer, and is not remembered.
    pub(super) async fn find<F>(
        &self,
        hash: &KeyHash,
        ask: impl Fn() -> F + Send + Sync,
    ) -> Result<Option<(ApiKey, Account)>, StoreError>
    where
        F: Future<Output = Result<Option<(ApiKey, Account)>, StoreError>> + Send,
    {
        let asked = self.moment();
        if let Some(answer) = self.remembered(hash, asked) {
            count("hit");
            return Ok(answer.found());
        }
        let mut outcome = "hit";
        loop {
            let look_up = self.look_up(hash, asked);
            let answer = look_up.get_or_init(async || {
                outcome = "miss";
                self.ask(hash, &ask).await
            });
            match answer.await {
                Ok(answer) if answer.serves(asked) => {
                    count(outcome);
                    return Ok(answer.found());
                }
                // Somebody else had begun to ask, too long ago. Whoever asks next does so now.
                Ok(_) => {}
                Err(error) => {
                    count("error");
                    return Err(error.again());
                }
            }
        }
    }

    fn remembered(&self, hash: &KeyHash, asked: Moment) -> Option<Answer> {
        let fresh = |answer: &Answer| answer.serves(asked);
        self.known.get(hash).filter(fresh).or_else(|| self.unknown.get(hash).filter(fresh))
    }

    /// The look-up that is under way or was just answered, or else a new one.
    fn look_up(&self, hash: &KeyHash, asked: Moment) -> Arc<LookUp> {
        let is_over = |look_up: &Arc<LookUp>| match look_up.get() {
            None => false,
            Some(Ok(answer)) => !answer.serves(asked),
            Some(Err(_)) => true,
        };
        self.look_ups.entry_by_ref(hash).or_insert_with_if(Arc::default, is_over).into_value()
    }

    async fn ask<F>(&self, hash: &KeyHash, ask: impl Fn() -> F) -> Result<Answer, StoreError>
    where
        F: Future<Output = Result<Option<(ApiKey, Account)>, StoreError>>,
    {
        // Before the store is asked: what is changed from now on may not be in its answer.
        let moment = self.moment();
        let answer = Answer::new(ask().await?, moment);
        let cache = if answer.is_known() { &self.known } else { &self.unknown };
        cache.insert(*hash, answer.clone());
        Ok(answer)
    }

    fn moment(&self) -> Moment {
        Moment { time: Instant::now(), changes: self.changes.load(Ordering::Acquire) }
    }
}

fn cache<V: Clone + Send + Sync + 'static>() -> Cache<KeyHash, V> {
    let cache = Cache::builder().max_capacity(KEYS_MAX).time_to_live(HELD_MAX);
    // The default policy may refuse a new entry for the sake of old ones, which are of no use any more.
    cache.eviction_policy(EvictionPolicy::lru()).build()
}

fn count(outcome: &'static str) {
    metrics::counter!("snippets_api_key_lookups_total", "outcome" => outcome).increment(1);
}
