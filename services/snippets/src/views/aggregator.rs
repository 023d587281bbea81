//! Views that were counted and not yet sent.

use crate::{
    domain::{SnippetId, now},
    ports::ViewSink,
};
use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Enough that request threads rarely meet in one.
const SHARDS: u64 = 64;
/// The most that a batch may count of one snippet.
const VIEWS_MAX: u64 = i64::MAX.unsigned_abs();

/// A map from snippet to views, in shards. Bounded by distinct snippets, beyond which views are dropped, and metered.
#[derive(Debug)]
pub struct ViewAggregator {
    shards: Vec<Mutex<HashMap<SnippetId, u64>>>,
    hasher: RandomState,
    distinct: AtomicUsize,
    distinct_max: usize,
    /// Where the flusher need not wait for its interval.
    distinct_many: usize,
    many: Notify,
    traced: AtomicBool,
    opened: Mutex<Opened>,
}

/// What is known about the window from its beginning.
#[derive(Debug)]
struct Opened {
    at: DateTime<Utc>,
    /// The first sampled trace that led to a view.
    trace: Option<SpanContext>,
}

/// The views counted between two times.
#[derive(Debug)]
pub struct Window {
    /// From when.
    pub start: DateTime<Utc>,
    /// Until when.
    pub end: DateTime<Utc>,
    /// Views by snippet; each at least 1.
    pub counts: Vec<(SnippetId, u64)>,
    /// The first sampled trace that led to one of the views.
    pub trace: Option<SpanContext>,
}

impl ViewAggregator {
    /// Holds up to `distinct_max` distinct snippets, and wakes the flusher early from `distinct_many` on.
    pub fn new(distinct_max: usize, distinct_many: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            distinct: AtomicUsize::new(0),
            distinct_max,
            distinct_many,
            many: Notify::new(),
            traced: AtomicBool::new(false),
            opened: Mutex::new(Opened { at: now(), trace: None }),
        }
    }

    /// Takes everything counted so far. A view counted meanwhile is in this window or the next, never in both.
    pub fn drain(&self) -> Window {
        let opened = mem::replace(&mut *self.opened.lock(), Opened { at: now(), trace: None });
        self.traced.store(false, Ordering::Relaxed);
        let mut counts = Vec::with_capacity(self.distinct.load(Ordering::Relaxed));
        for shard in &self.shards {
            let taken = mem::take(&mut *shard.lock());
            self.distinct.fetch_sub(taken.len(), Ordering::Relaxed);
            counts.extend(taken);
        }
        Window { start: opened.at, end: now(), counts, trace: opened.trace }
    }

    /// How many distinct snippets wait.
    pub fn distinct(&self) -> usize {
        self.distinct.load(Ordering::Relaxed)
    }

    /// Returns when so many snippets wait that they had better be sent now.
    pub async fn many(&self) {
        self.many.notified().await;
    }

    fn shard(&self, id: &SnippetId) -> &Mutex<HashMap<SnippetId, u64>> {
        let index = usize::try_from(self.hasher.hash_one(id) % SHARDS).unwrap_or_default();
        &self.shards[index]
    }

    /// Takes a place for one more snippet, if there is one.
    fn take_place(&self) -> bool {
        let before = self.distinct.fetch_add(1, Ordering::Relaxed);
        if before >= self.distinct_max {
            self.distinct.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        if before + 1 == self.distinct_many {
            self.many.notify_one();
        }
        true
    }

    /// Remembers the caller's trace, if it is the first of the window.
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

impl Default for ViewAggregator {
    /// Up to a million snippets, which take about 50 MB; 10,000 are many.
    fn default() -> Self {
        Self::new(1_000_000, 10_000)
    }
}

impl ViewSink for ViewAggregator {
    fn record(&self, id: &SnippetId) {
        self.note_trace();
        match self.shard(id).lock().entry(*id) {
            Entry::Occupied(mut views) => *views.get_mut() = (*views.get()).saturating_add(1).min(VIEWS_MAX),
            Entry::Vacant(vacant) if self.take_place() => {
                vacant.insert(1);
            }
            Entry::Vacant(_) => metrics::counter!("snippets_views_dropped_total").increment(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn counts_every_view_once_while_windows_are_drained() {
        let aggregator = ViewAggregator::default();
        let ids: Vec<_> = (0..50).map(|_| SnippetId::generate()).collect();
        let mut totals = HashMap::<SnippetId, u64>::new();
        thread::scope(|scope| {
            let recorders: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..10_000).for_each(|view| aggregator.record(&ids[view % ids.len()])))
                })
                .collect();
            while !recorders.iter().all(thread::ScopedJoinHandle::is_finished) {
                aggregator
                    .drain()
                    .counts
                    .into_iter()
                    .for_each(|(id, views)| *totals.entry(id).or_default() += views);
            }
        });
        aggregator.drain().counts.into_iter().for_each(|(id, views)| *totals.entry(id).or_default() += views);
        assert_eq!(totals.len(), 50);
        assert!(totals.values().all(|&views| views == 800), "{totals:?}");
        assert_eq!(aggregator.distinct(), 0);
    }

    #[test]
    fn beyond_the_bound_only_known_snippets_are_counted() {
        let aggregator = ViewAggregator::new(2, 100);
        let ids: Vec<_> = (0..3).map(|_| SnippetId::generate()).collect();
        for _ in 0..2 {
            for id in &ids {
                aggregator.record(id);
            }
        }
        let mut counts = aggregator.drain().counts;
        counts.sort_unstable();
        let mut expected = vec![(ids[0], 2), (ids[1], 2)];
        expected.sort_unstable();
        assert_eq!(counts, expected);
        // There is room again.
        aggregator.record(&ids[2]);
        assert_eq!(aggregator.drain().counts, [(ids[2], 1)]);
    }

    #[tokio::test]
    async fn wakes_the_flusher_when_many_wait() {
        let aggregator = ViewAggregator::new(10, 2);
        aggregator.record(&SnippetId::generate());
        aggregator.record(&SnippetId::generate());
        aggregator.many().await;
    }

    #[test]
    fn windows_follow_each_other() {
        let aggregator = ViewAggregator::default();
        let first = aggregator.drain();
        let second = aggregator.drain();
        assert!(first.start <= first.end && first.end >= second.start && second.start >= first.start);
    }
}
