//! The cache in this process, in front of the one that the replicas share.

mod copies;
mod flights;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metrics::Counter;

use self::{
    copies::{Copies, Known},
    flights::{Flight, Flights},
};
use crate::{
    domain::{Snippet, SnippetId, SnippetPatch, Version},
    ports::{ChangeError, CreateRequest, Found, InsertError, Inserted, SnippetStore, StoreError},
};

/// A [`SnippetStore`] that keeps copies for less than a second, and asks the store behind it once for a snippet that many
/// read at the same time.
///
/// A write through this replica shows at once: when it is done the copy goes, and readings that began before it are cut off
/// from the cache and from readers that come later. A write through another replica shows when the copy's time is over, or
/// as soon as [`NearSnippets::forget`] is called.
#[derive(Debug)]
pub struct NearSnippets<S> {
    store: Arc<S>,
    copies: Copies,
    flights: Flights,
    requests: Requests,
}

/// How reads were answered.
#[derive(Debug)]
struct Requests {
    hit: Counter,
    absent: Counter,
    shared: Counter,
    miss: Counter,
}

impl<S: SnippetStore> NearSnippets<S> {
    /// Keeps up to about `bytes_max` bytes of copies in front of `store`.
    pub fn new(store: Arc<S>, bytes_max: u64) -> Self {
        Self { store, copies: Copies::new(bytes_max), flights: Flights::default(), requests: Requests::new() }
    }

    /// Lets no reading that began before this be of use to one that begins after it.
    pub fn forget(&self, id: &SnippetId) {
        self.flights.cut_off(id, || self.copies.remove(id));
    }

    async fn load(&self, id: &SnippetId, flight: &Arc<Flight>) -> Result<Option<Snippet>, StoreError> {
        self.requests.miss.increment(1);
        let began = Instant::now();
        let found = self.store.get(id).await;
        self.flights.land(id, flight, || {
            if let Ok(found) = &found {
                self.copies.keep(id, found.as_ref(), began);
            }
        });
        found
    }

    /// What a write leaves behind, whatever has become of it, and also when its caller is gone before it ends.
    fn forget_afterwards<'a>(&'a self, id: &'a SnippetId) -> impl Drop + use<'a, S> {
        scopeguard::guard((), |()| self.forget(id))
    }
}

#[async_trait]
impl<S: SnippetStore> SnippetStore for NearSnippets<S> {
    async fn insert(
        &self,
        snippet: &Snippet,
        request: Option<&CreateRequest>,
    ) -> Result<Inserted, InsertError> {
        let _afterwards = self.forget_afterwards(&snippet.metadata.id);
        self.store.insert(snippet, request).await
    }

    async fn get(&self, id: &SnippetId) -> Result<Option<Snippet>, StoreError> {
        match self.copies.get(id) {
            Known::Copy(snippet) => {
                self.requests.hit.increment(1);
                return Ok(Some(snippet));
            }
            Known::Absent => {
                self.requests.absent.increment(1);
                return Ok(None);
            }
            Known::Nothing => {}
        }
        let boarded = self.flights.board(id);
        if boarded.has_company() {
            self.requests.shared.increment(1);
        }
        let flight = boarded.flight();
        match flight.get_or_init(|| self.load(id, flight)).await {
            Ok(found) => Ok(found.clone()),
            Err(error) => Err(error.again()),
        }
    }

    async fn get_many(&self, ids: &[SnippetId], body_bytes_max: usize) -> Result<Vec<Found>, StoreError> {
        let (mut found, mut room, mut unknown) = (Vec::new(), body_bytes_max, Vec::new());
        for id in ids {
            match self.copies.get(id) {
                Known::Copy(Snippet { metadata, body }) => {
                    let left = room.checked_sub(body.as_str().len());
                    room = left.unwrap_or(room);
                    found.push(Found { metadata, body: left.map(|_| body) });
                }
                Known::Absent => {}
                Known::Nothing => unknown.push(*id),
            }
        }
        if !unknown.is_empty() {
            found.extend(self.store.get_many(&unknown, room).await?);
        }
        Ok(found)
    }

    async fn update(
        &self,
        id: &SnippetId,
        patch: &SnippetPatch,
        expected: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<Snippet, ChangeError> {
        let _afterwards = self.forget_afterwards(id);
        self.store.update(id, patch, expected, now).await
    }

    async fn delete(&self, id: &SnippetId, expected: Option<Version>) -> Result<Version, ChangeError> {
        let _afterwards = self.forget_afterwards(id);
        self.store.delete(id, expected).await
    }

    async fn claim_view(&self, id: &SnippetId, version: Version) -> Result<bool, StoreError> {
        self.store.claim_view(id, version).await
    }
}

impl Requests {
    fn new() -> Self {
        let counter = |outcome| metrics::counter!("snippets_near_cache_requests_total", "outcome" => outcome);
        Self {
            hit: counter("hit"),
            absent: counter("absent"),
            shared: counter("shared"),
            miss: counter("miss"),
        }
    }
}

#[cfg(test)]
mod tests;
