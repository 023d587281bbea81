//! Readings that are under way, of which one for each snippet is enough.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{
    domain::{Snippet, SnippetId},
    ports::StoreError,
};

/// So that readers of different snippets seldom wait for each other.
const SHARDS: usize = 64;

/// One reading, and what it comes to. If who does it goes away, the next of those that wait does it.
pub(super) type Flight = OnceCell<Result<Option<Snippet>, StoreError>>;

type Shard = Mutex<HashMap<SnippetId, Arc<Flight>>>;

/// The readings that newcomers may wait for.
#[derive(Debug)]
pub(super) struct Flights {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

/// Somebody who waits for a reading, or does it.
#[derive(Debug)]
pub(super) struct Boarded<'a> {
    shard: &'a Shard,
    id: SnippetId,
    flight: Arc<Flight>,
    has_company: bool,
}

impl Flights {
    /// Joins the reading of a snippet that is under way, or begins one.
    pub(super) fn board(&self, id: &SnippetId) -> Boarded<'_> {
        let shard = self.shard(id);
        let mut flights = shard.lock();
        let has_company = flights.contains_key(id);
        let flight = Arc::clone(flights.entry(*id).or_default());
        Boarded { shard, id: *id, flight, has_company }
    }

    /// Ends a reading. `keep` is called for one that was not cut off, and before anybody can begin another.
    pub(super) fn land(&self, id: &SnippetId, flight: &Arc<Flight>, keep: impl FnOnce()) {
        let mut flights = self.shard(id).lock();
        if flights.get(id).is_some_and(|there| Arc::ptr_eq(there, flight)) {
            keep();
            flights.remove(id);
        }
    }

    /// Cuts off a reading that is under way: it is for those alone who wait for it already. `and` is called with it, in one
    /// step.
    pub(super) fn cut_off(&self, id: &SnippetId, and: impl FnOnce()) {
        let mut flights = self.shard(id).lock();
        flights.remove(id);
        and();
    }

    fn shard(&self, id: &SnippetId) -> &Shard {
        // The remainder is below the number of shards.
        let index = self.hasher.hash_one(id) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or_default()]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), hasher: RandomState::new() }
    }
}

impl Boarded<'_> {
    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Whether it was under way before.
    pub(super) fn has_company(&self) -> bool {
        self.has_company
    }
}

impl Drop for Boarded<'_> {
    /// Nobody is left to end what everybody has given up.
    fn drop(&mut self) {
        if self.flight.initialized() {
            return;
        }
        let mut flights = self.shard.lock();
        let is_last = Arc::strong_count(&self.flight) == 2;
        if is_last && flights.get(&self.id).is_some_and(|there| Arc::ptr_eq(there, &self.flight)) {
            flights.remove(&self.id);
        }
    }
}
