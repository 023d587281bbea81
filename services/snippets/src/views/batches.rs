//! A closed window as batches that the broker takes.

use chrono::{DateTime, Utc};
use prost::{Message as _, length_delimiter_len};
use prost_types::Timestamp;
use rpc::views::v1::{ViewBatch, ViewCount};
use uuid::Uuid;

use super::window::Window;
use crate::{domain::SnippetId, ports::PendingBatch};

/// The most that a batch may count of one snippet.
const VIEWS_MAX: u64 = i64::MAX.unsigned_abs();

/// How much goes into one batch at most.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Snippets.
    pub counts_max: usize,
    /// Bytes of the encoded batch. One snippet is always taken.
    pub bytes_max: usize,
}

impl Default for BatchLimits {
    /// 5,000 snippets and 128 KiB, far below any broker's limit on messages (16 MiB in RabbitMQ 4).
    fn default() -> Self {
        Self { counts_max: 5_000, bytes_max: 128 * 1024 }
    }
}

/// A batch of a closed window.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// What is sent.
    pub(super) pending: PendingBatch,
    /// How many places its snippets have while it is in memory.
    pub(super) places: usize,
    /// All its views.
    pub(super) views: u64,
}

impl Batch {
    /// A batch to be sent, what is in it, and the places that go with it.
    pub(super) fn new(pending: PendingBatch, batch: &ViewBatch, places: usize) -> Self {
        let views = batch.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(count.views));
        Self { pending, places, views }
    }
}

/// Makes batches of a window; none, if it is empty.
pub(super) fn batches(window: Window, publisher: &str, limits: BatchLimits) -> Vec<Batch> {
    let mut trace = Vec::new();
    if let Some(span) = &window.trace {
        chassis::propagation::inject_span_context(span, |key, value| trace.push((key.to_owned(), value)));
    }
    let empty = empty(publisher, window.start, window.end);
    let parts = Parts { counts: window.into_counts(), left_over: None, empty, limits };
    parts.map(|part| part.into_batch(trace.clone())).collect()
}

/// A batch that tells of deletions, and counts nothing.
pub(super) fn deletion_batch(ids: &[SnippetId], publisher: &str, now: DateTime<Utc>) -> PendingBatch {
    let id = Uuid::now_v7();
    let batch = ViewBatch {
        batch_id: id.to_string(),
        deleted_snippet_ids: ids.iter().map(SnippetId::to_string).collect(),
        ..empty(publisher, now, now)
    };
    PendingBatch { id, payload: batch.encode_to_vec().into(), trace: Vec::new() }
}

/// What every batch begins as.
fn empty(publisher: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> ViewBatch {
    ViewBatch {
        batch_id: Uuid::nil().to_string(),
        publisher: publisher.to_owned(),
        window_start: Some(timestamp(start)),
        window_end: Some(timestamp(end)),
        ..ViewBatch::default()
    }
}

/// What becomes a batch.
struct Part {
    batch: ViewBatch,
    snippets: usize,
    bytes: usize,
}

impl Part {
    fn new(empty: &ViewBatch) -> Self {
        Self { batch: empty.clone(), snippets: 0, bytes: empty.encoded_len() }
    }

    /// Adds the views of a snippet, unless that is beyond the limits.
    fn add(&mut self, (id, views): (SnippetId, u64), limits: BatchLimits) -> bool {
        let count = ViewCount { snippet_id: id.to_string(), views: views.min(VIEWS_MAX) };
        let bytes = field_len(count.encoded_len());
        let fits = self.snippets < limits.counts_max && self.bytes + bytes <= limits.bytes_max;
        if !fits && self.snippets > 0 {
            return false;
        }
        self.batch.counts.push(count);
        self.snippets += 1;
        self.bytes += bytes;
        true
    }

    fn into_batch(self, trace: Vec<(String, String)>) -> Batch {
        let id = Uuid::now_v7();
        let batch = ViewBatch { batch_id: id.to_string(), ..self.batch };
        Batch::new(PendingBatch { id, payload: batch.encode_to_vec().into(), trace }, &batch, self.snippets)
    }
}

/// Cuts a window into parts that keep to the limits.
struct Parts<I> {
    counts: I,
    left_over: Option<(SnippetId, u64)>,
    empty: ViewBatch,
    limits: BatchLimits,
}

impl<I: Iterator<Item = (SnippetId, u64)>> Iterator for Parts<I> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let mut part = Part::new(&self.empty);
        while let Some(count) = self.left_over.take().or_else(|| self.counts.next()) {
            if !part.add(count, self.limits) {
                self.left_over = Some(count);
                break;
            }
        }
        (part.snippets > 0).then_some(part)
    }
}

/// What a field of that length takes in an encoded batch: with its tag, of one byte, and its length.
fn field_len(length: usize) -> usize {
    1 + length_delimiter_len(length) + length
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use hashbrown::HashTable;

    use super::*;
    use crate::domain::now;

    const MOST: u64 = u64::MAX;

    fn window(views: &[(usize, u64)]) -> Window {
        let each =
            views.iter().flat_map(|(count, views)| (0..*count).map(move |_| (SnippetId::generate(), *views)));
        let shards = each.map(|count| {
            let mut shard = HashTable::new();
            shard.insert_unique(0, count, |_| 0);
            shard
        });
        Window { start: now(), end: now(), trace: None, shards: shards.collect() }
    }

    fn decoded(batches: &[Batch]) -> Vec<ViewBatch> {
        batches.iter().map(|batch| ViewBatch::decode(batch.pending.payload.clone()).unwrap()).collect()
    }

    #[test]
    fn a_batch_keeps_to_its_limits_with_counts_at_their_largest() {
        let limits = BatchLimits::default();
        let batches = batches(window(&[(20_000, MOST)]), "a-publisher-with-quite-a-long-name", limits);
        assert!(batches.iter().all(|batch| batch.pending.payload.len() <= limits.bytes_max));
        assert!(batches.iter().all(|batch| batch.places <= limits.counts_max));
        assert_eq!(batches.len(), 4, "no smaller than need be");
    }

    #[test]
    fn bytes_are_bounded_where_counts_are_not() {
        let limits = BatchLimits { counts_max: usize::MAX, bytes_max: 4096 };
        let batches = batches(window(&[(5_000, MOST), (5_000, 1)]), "test", limits);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.pending.payload.len()).collect();
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
        let (_, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size > 4096 - 40), "{sizes:?}");
        let mut counts = HashMap::new();
        for batch in decoded(&batches) {
            counts.extend(batch.counts.into_iter().map(|count| (count.snippet_id, count.views)));
        }
        assert_eq!(counts.len(), 10_000, "each snippet is told of");
        assert_eq!(batches.iter().map(|batch| batch.places).sum::<usize>(), 10_000, "once");
        assert!(
            counts.values().all(|views| [1, VIEWS_MAX].contains(views)),
            "no more than the contract allows"
        );
    }

    #[test]
    fn a_batch_tells_who_sends_it_and_of_when_it_is() {
        let window = window(&[(1, 7)]);
        let (start, end) = (timestamp(window.start), timestamp(window.end));
        let batches = batches(window, "me", BatchLimits::default());
        let [batch] = &decoded(&batches)[..] else { panic!("{batches:?}") };
        assert_eq!(batch.batch_id, batches[0].pending.id.to_string());
        assert_eq!((batch.publisher.as_str(), batch.counts[0].views), ("me", 7));
        assert_eq!((batch.counts.len(), batches[0].views), (1, 7));
        assert_eq!((batch.window_start, batch.window_end), (Some(start), Some(end)));
        assert!(super::batches(self::window(&[]), "me", BatchLimits::default()).is_empty());
    }
}
