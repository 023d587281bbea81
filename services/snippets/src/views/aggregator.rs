//! Views that were counted and whose window is still open.

use crate::{
    domain::{SnippetId, now},
    ports::ViewSink,
    views::{
        batches::VIEWS_MAX,
        places::Places,
        window::{Window, hour_end},
    },
};
use chrono::{DateTime, Utc};
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// Enough that request threads rarely meet in one.
const SHARDS: u64 = 64;

/// A map from snippet to views, in shards. Bounded, together with the closed windows that wait, by distinct snippets: beyond,
/// the views of those that are not in it are dropped, and metered.
#[derive(Debug)]
pub struct ViewAggregator {
    shards: Vec<Mutex<HashMap<SnippetId, u64>>>,
    hasher: RandomState,
    places: Arc<Places>,
    /// Where the window had better be closed before its time.
    many_snippets: usize,
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

impl ViewAggregator {
    /// Up to `snippets_max` distinct snippets wait, here and in closed windows; from `many_snippets` on the flusher is
    /// woken early.
    pub fn new(snippets_max: usize, many_snippets: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
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
        let opened = mem::replace(&mut *self.opened.lock(), Opened { at: now, trace: None });
        self.traced.store(false, Ordering::Relaxed);
        // All at once, before anything is done with them, so that the window ends at one moment.
        let shards = self.shards.iter().map(|shard| mem::take(&mut *shard.lock())).collect();
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

    fn shard(&self, id: &SnippetId) -> &Mutex<HashMap<SnippetId, u64>> {
        let index = usize::try_from(self.hasher.hash_one(id) % SHARDS).unwrap_or_default();
        &self.shards[index]
    }

    /// Takes a place for one more snippet, if there is one.
    fn take_place(&self) -> bool {
        let taken = self.places.take();
        if taken == Some(self.many_snippets) {
            self.many.notify_one();
        }
        taken.is_some()
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

impl ViewSink for ViewAggregator {
    fn record(&self, id: &SnippetId) {
        self.note_trace();
        match self.shard(id).lock().entry(*id) {
            Entry::Occupied(mut views) => *views.get_mut() = (*views.get()).saturating_add(1).min(VIEWS_MAX),
            Entry::Vacant(vacant) if self.take_place() => {
                vacant.insert(1);
            }
            Entry::Vacant(_) => {
                metrics::counter!("snippets_views_dropped_total", "reason" => "bound").increment(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use std::thread;

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
            for (id, views) in window.into_counts() {
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
