//! A store that fails on command, around a real one.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use counter_worker::{
    adapters::sqlite::SqliteTotals,
    domain::Batch,
    ports::{Applied, StoreError, TotalsStore},
};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::queue::{Event, FakeQueue};

/// Refuses the snippet `poison`, has no answer for the snippet `stuck`, and is too slow for more than one batch at a time where
/// one of them has the snippet `slow`.
pub struct FailingStore {
    pub inner: SqliteTotals,
    /// Each commit waits for one of these, and uses it up.
    pub commits: Semaphore,
    /// How many commits are still to be done without saying so.
    pub answers_to_lose: AtomicU32,
    /// Where it is told what happens.
    pub log: FakeQueue,
}

#[async_trait]
impl TotalsStore for FailingStore {
    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }

    async fn apply(&self, batches: &[Batch]) -> Result<Applied, StoreError> {
        let text = format!("{batches:?}");
        if text.contains("poison") {
            return Err(StoreError::Refused("poison".into()));
        }
        self.log.lock().log.push(Event::Begun(batches.len()));
        if text.contains("stuck") {
            return Err(StoreError::Unavailable("stuck".into()));
        }
        if text.contains("slow") && batches.len() > 1 {
            return Err(StoreError::TooSlow("slow".into()));
        }
        self.commits.acquire().await.expect("never closed").forget();
        let applied = self.inner.apply(batches).await?;
        self.log.lock().log.push(Event::Committed(batches.len()));
        let lose =
            self.answers_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lose.is_ok() {
            return Err(StoreError::Unavailable("the answer is lost".into()));
        }
        Ok(applied)
    }

    async fn prune_batches(&self, age: Duration, limit: u32, from: &mut Uuid) -> Result<u64, StoreError> {
        self.inner.prune_batches(age, limit, from).await
    }

    async fn prune_hourly(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_hourly(age, limit).await
    }

    async fn prune_deleted(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_deleted(age, limit).await
    }
}

/// Is never ready, and tells when it is asked.
pub struct HangingStore(pub Notify);

#[async_trait]
impl TotalsStore for HangingStore {
    async fn ready(&self) -> Result<(), StoreError> {
        self.0.notify_one();
        std::future::pending().await
    }

    async fn apply(&self, _batches: &[Batch]) -> Result<Applied, StoreError> {
        std::future::pending().await
    }

    async fn prune_batches(&self, _: Duration, _: u32, _: &mut Uuid) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn prune_hourly(&self, _: Duration, _: u32) -> Result<u64, StoreError> {
        std::future::pending().await
    }

    async fn prune_deleted(&self, _: Duration, _: u32) -> Result<u64, StoreError> {
        std::future::pending().await
    }
}
