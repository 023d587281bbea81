//! Several snippets at once: what the cache does not have is one query to the store.

use super::CachedSnippets;
use crate::{
    domain::{Snippet, SnippetId},
    ports::{Found, SnippetCache, SnippetStore, StoreError},
};
use futures_util::{StreamExt as _, stream};
use std::{collections::HashSet, time::Instant};

/// How many snippets are asked of the cache at once, and put into it. Bounds the bodies in memory that turn out to be too many.
const CONCURRENCY_MAX: usize = 16;

impl<S: SnippetStore, C: SnippetCache> CachedSnippets<S, C> {
    /// As [`SnippetStore::get_many`].
    pub(super) async fn find_many(
        &self,
        ids: &[SnippetId],
        body_bytes_max: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut gathered = Gathered { room: body_bytes_max, ..Gathered::default() };
        let ids = ids.iter().copied();
        let look_ups = ids.map(|id| async move { (id, self.look_up(&id).await) });
        let mut look_ups = stream::iter(look_ups).buffered(CONCURRENCY_MAX);
        while let Some((id, (cached, fill))) = look_ups.next().await {
            gathered.note(id, cached, fill);
        }
        let Gathered { mut found, room, missing, to_fill } = gathered;
        if !missing.is_empty() {
            let read_at = Instant::now();
            let read = self.store.get_many(&missing, room).await?;
            self.fill_many(read.iter().filter(|it| to_fill.contains(&it.metadata.id)), read_at).await;
            found.extend(read);
        }
        Ok(found)
    }

    async fn fill_many(&self, read: impl Iterator<Item = &Found>, read_at: Instant) {
        let whole =
            |found: &Found| Some(Snippet { metadata: found.metadata.clone(), body: found.body.clone()? });
        let snippets: Vec<_> = read.filter_map(whole).collect();
        stream::iter(snippets)
            .for_each_concurrent(CONCURRENCY_MAX, |snippet| async move { self.fill(&snippet, read_at).await })
            .await;
    }
}

/// What the look-ups came to.
#[derive(Default)]
struct Gathered {
    found: Vec<Found>,
    /// Bytes that further bodies may have.
    room: usize,
    missing: Vec<SnippetId>,
    /// Of the missing, those that are to be put into the cache.
    to_fill: HashSet<SnippetId>,
}

impl Gathered {
    fn note(&mut self, id: SnippetId, cached: Option<Snippet>, fill: bool) {
        if let Some(Snippet { metadata, body }) = cached {
            let room = self.room.checked_sub(body.as_str().len());
            self.room = room.unwrap_or(self.room);
            self.found.push(Found { metadata, body: room.map(|_| body) });
            return;
        }
        self.missing.push(id);
        if fill {
            self.to_fill.insert(id);
        }
    }
}
