//! Views that were counted and whose window is still open.

use std::{
    hash::BuildHasher as _,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use hashbrown::{DefaultHashBuilder, HashTable};
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    places::Places,
    window::{Window, hour_end},
};
use crate::{
    domain::{SnippetId, now},
    ports::ViewSink,
};

/// Enough that request threads rarely meet in one.
const SHARDS: usize = 64;

/// A map from snippet to views, in shards. Bounded, together with the closed windows that wait, by distinct snippets: beyond,
/// the views of those that are not in it are dropped, and metered.
#[derive(Debug)]
pub struct ViewAggregator {
    shards: Vec<Shard>,
    hasher: DefaultHashBuilder,
    places: Arc<Places>,
    /// Where the window had better be closed before its time.
    many_snippets: usize,
    many: Notify,
    traced: AtomicBool,
    opened: Mutex<Opened>,
}

/// On a cache line of its own, so that threads in different shards don't wait for each other's.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    views: HashTable<(SnippetId, u64)>,
    tally: Tally,
}

/// What became of views, whether or not their windows were closed since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Counted into the open window.
    pub(super) accepted: u64,
    /// Dropped, as there was no place for their snippet.
    pub(super) bound: u64,
}

/// What is known about the window from its beginning.
#[derive(Debug)]
struct Opened {
    at: DateTime<Utc>,
    /// The first sampled trace that led to a view.
    trace: Option<SpanContext>,
}

impl ViewAggregator {
    /// Up to `snippets_max` distinct snippets wait, here and in closed windows; from `many_snippets` on the flusher is
    /// woken early. A million take about 60 MB here, and 25 MB at most in closed windows.
    pub fn new(snippets_max: usize, many_snippets: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            places: Arc::new(Places::new(snippets_max)),
            many_snippets,
            many: Notify::new(),
            traced: AtomicBool::new(false),
            opened: Mutex::new(Opened { at: now(), trace: None }),
        }
    }

    /// Takes everything counted so far, and opens a new window. A view counted meanwhile is in this window or the next,
    /// never in both.
    pub fn close(&self, now: DateTime<Utc>) -> Window {
        // All at once, before anything is done with them, so that the window ends at one moment.
        let shards: Vec<_> = self.shards.iter().map(|shard| mem::take(&mut shard.0.lock().views)).collect();
        // After them: a trace that was noted with one of these views belongs to this window.
        let opened = mem::replace(&mut *self.opened.lock(), Opened { at: now, trace: None });
        self.traced.store(false, Ordering::Relaxed);
        // A clock that was set back leaves the window no length, and a flusher that is late ends it no later than its hour.
        let end = now.clamp(opened.at, hour_end(opened.at));
        let window = Window { start: opened.at, end, trace: opened.trace, shards };
        self.places.close(window.snippets());
        window
    }

    /// When the open window began.
    pub fn opened_at(&self) -> DateTime<Utc> {
        self.opened.lock().at
    }

    /// How many distinct snippets the open window has.
    pub fn snippets(&self) -> usize {
        self.places.open()
    }

    /// Returns when the open window has so many snippets that it had better be closed now.
    pub async fn many(&self) {
        self.many.notified().await;
    }

    pub(super) fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// What became of the views since this was asked the last time.
    pub(super) fn take_tally(&self) -> Tally {
        let tallies = self.shards.iter().map(|shard| mem::take(&mut shard.0.lock().tally));
        tallies.fold(Tally::default(), |sum, tally| Tally {
            accepted: sum.accepted + tally.accepted,
            bound: sum.bound + tally.bound,
        })
    }

    /// Hands over where a snippet is counted, and the hash of its id.
    fn shard(&self, id: &SnippetId) -> (&Shard, u64) {
        let hash = self.hasher.hash_one(id);
        // The table goes by the lowest and the seven highest bits.
        let index = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        (&self.shards[index], hash)
    }

    /// Counts the first view of a snippet, if there is a place.
    fn insert(&self, table: &mut HashTable<(SnippetId, u64)>, hash: u64, id: SnippetId) -> bool {
        let taken = self.places.take();
        if taken == Some(self.many_snippets) {
            self.many.notify_one();
        }
        if taken.is_some() {
            table.insert_unique(hash, (id, 1), |(id, _)| self.hasher.hash_one(id));
        }
        taken.is_some()
    }

    /// Remembers the caller's trace, if it is the first of the window. Only a snippet's first view in a window asks: it
    /// takes longer than all the rest of counting one.
    fn note_trace(&self) {
        if self.traced.load(Ordering::Relaxed) {
            return;
        }
        if let Some(trace) = chassis::propagation::current_sampled() {
            self.traced.store(true, Ordering::Relaxed);
            self.opened.lock().trace.get_or_insert(trace);
        }
    }
}

impl ViewSink for ViewAggregator {
    fn record(&self, id: &SnippetId) {
        let (shard, hash) = self.shard(id);
        let mut counts = shard.0.lock();
        let Counts { views, tally } = &mut *counts;
        match views.find_mut(hash, |(known, _)| known == id) {
            Some((_, views)) => {
                *views = views.saturating_add(1);
                tally.accepted += 1;
            }
            None => {
                if self.insert(views, hash, *id) {
                    tally.accepted += 1;
                    self.note_trace();
                } else {
                    tally.bound += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use chrono::TimeDelta;

    use super::*;

    fn counts(window: Window) -> HashMap<SnippetId, u64> {
        window.into_counts().collect()
    }

    #[test]
    fn counts_every_view_once_while_windows_are_closed() {
        let aggregator = ViewAggregator::new(1_000, 1_000);
        let ids: Vec<_> = (0..50).map(|_| SnippetId::generate()).collect();
        let mut totals = HashMap::<SnippetId, u64>::new();
        let mut close = || {
            let window = aggregator.close(now());
            aggregator.places.free(window.snippets());
            for (id, views) in counts(window) {
                *totals.entry(id).or_default() += views;
            }
        };
        thread::scope(|scope| {
            let recorders: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..10_000).for_each(|view| aggregator.record(&ids[view % ids.len()])))
                })
                .collect();
            while !recorders.iter().all(thread::ScopedJoinHandle::is_finished) {
                close();
            }
        });
        close();
        assert_eq!(totals.len(), 50);
        assert!(totals.values().all(|&views| views == 800), "{totals:?}");
        assert_eq!(aggregator.snippets(), 0);
        assert_eq!(aggregator.take_tally(), Tally { accepted: 40_000, bound: 0 });
    }

    #[test]
    fn at_the_bound_only_snippets_of_the_open_window_are_counted() {
        let aggregator = ViewAggregator::new(3, 100);
        let ids: Vec<_> = (0..4).map(|_| SnippetId::generate()).collect();
        aggregator.record(&ids[0]);
        let closed = aggregator.close(now());
        for _ in 0..2 {
            for id in &ids {
                aggregator.record(id);
            }
        }
        assert_eq!(aggregator.take_tally(), Tally { accepted: 5, bound: 4 });
        // One place is the closed window's, though the snippet is the same.
        assert_eq!(counts(aggregator.close(now())), HashMap::from([(ids[0], 2), (ids[1], 2)]));
        aggregator.record(&ids[3]);
        assert_eq!(counts(aggregator.close(now())), HashMap::new(), "every place is a closed window's");
        // Once that is safe there is room again.
        aggregator.places().free(closed.snippets());
        aggregator.record(&ids[2]);
        assert_eq!(counts(aggregator.close(now())), HashMap::from([(ids[2], 1)]));
    }

    #[tokio::test]
    async fn wakes_the_flusher_when_many_wait() {
        let aggregator = ViewAggregator::new(10, 2);
        aggregator.record(&SnippetId::generate());
        aggregator.record(&SnippetId::generate());
        aggregator.many().await;
    }

    #[test]
    fn windows_follow_each_other_and_end_with_their_hour() {
        let aggregator = ViewAggregator::new(10, 10);
        let start: DateTime<Utc> = "2026-11-21T13:59:59.9Z".parse().unwrap();
        aggregator.close(start);
        let late = start + TimeDelta::milliseconds(350);
        let window = aggregator.close(late);
        assert_eq!((window.start, window.end), (start, start + TimeDelta::milliseconds(100)));
        let window = aggregator.close(start);
        assert_eq!((window.start, window.end), (late, late), "the clock was set back");
        assert_eq!(aggregator.opened_at(), start);
    }
}
