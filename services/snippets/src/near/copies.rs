//! What was read lately.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};

use crate::{
    domain::{Snippet, SnippetId},
    lasting::{Lasting, OwnLifetime},
};

/// From the begin of a reading on. With the time that an answer takes, what another replica has changed shows within a second.
const LIFETIME: Duration = Duration::from_millis(900);
/// What an entry takes beside its texts, roughly: the entry, its key, and the cache's own book-keeping.
const ENTRY_BYTES: u64 = 512;
/// Ids of which is known that there is nothing. Whoever asks for many of them takes no room from what there is.
const ABSENT_MAX: u64 = 10_000;
/// When so much of the bound was added, what is beyond the bound goes at once. The cache would do so by and by.
const SETTLED_EACH: u64 = 20;

/// Copies, bounded by their bytes, and ids without a snippet, bounded by their number.
#[derive(Debug)]
pub(super) struct Copies {
    present: Cache<SnippetId, Copy>,
    absent: Cache<SnippetId, Duration>,
    bytes_max: u64,
    added: AtomicU64,
}

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Copy(Snippet),
    Absent,
    Nothing,
}

#[derive(Debug, Clone)]
struct Copy {
    snippet: Snippet,
    lifetime: Duration,
}

impl Copies {
    pub(super) fn new(bytes_max: u64) -> Self {
        let present = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_, copy: &Copy| u32::try_from(copy.bytes()).unwrap_or(u32::MAX))
            .expire_after(OwnLifetime)
            // The default policy may refuse a new entry for the sake of old ones, which are of no use in a second.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let absent = Cache::builder().max_capacity(ABSENT_MAX).expire_after(OwnLifetime).build();
        Self { present, absent, bytes_max, added: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, id: &SnippetId) -> Known {
        match self.present.get(id) {
            Some(copy) => Known::Copy(copy.snippet),
            None if self.absent.contains_key(id) => Known::Absent,
            None => Known::Nothing,
        }
    }

    /// Keeps what a reading has found that began then, as long as it is fresh, if it may be kept at all.
    pub(super) fn keep(&self, id: &SnippetId, found: Option<&Snippet>, began: Instant) {
        let lifetime = LIFETIME.saturating_sub(began.elapsed());
        if lifetime.is_zero() {
            return;
        }
        match found {
            None => self.absent.insert(*id, lifetime),
            Some(snippet) if snippet.metadata.may_be_cached() => {
                let copy = Copy { snippet: snippet.clone(), lifetime };
                let bytes = copy.bytes();
                self.present.insert(*id, copy);
                self.settle_after(bytes);
            }
            Some(_) => {}
        }
    }

    pub(super) fn remove(&self, id: &SnippetId) {
        self.present.invalidate(id);
        self.absent.invalidate(id);
    }

    fn settle_after(&self, bytes: u64) {
        let added = self.added.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if added > self.bytes_max / SETTLED_EACH {
            self.added.store(0, Ordering::Relaxed);
            self.present.run_pending_tasks();
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.present.iter().map(|(_, copy)| copy.bytes()).sum()
    }
}

impl Copy {
    fn bytes(&self) -> u64 {
        ENTRY_BYTES + self.snippet.text_bytes() as u64
    }
}

impl Lasting for Copy {
    fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// How long it is known that there is nothing.
impl Lasting for Duration {
    fn lifetime(&self) -> Duration {
        *self
    }
}
