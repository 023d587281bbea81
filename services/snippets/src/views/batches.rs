//! A closed window as batches that the broker takes.

use chrono::{DateTime, Utc};
use prost::{Message as _, length_delimiter_len};
use prost_types::Timestamp;
use rpc::views::v1::{ViewBatch, ViewCount};
use uuid::Uuid;

use super::window::{Noted, Window};
use crate::{domain::SnippetId, ports::PendingBatch};

/// The most that a batch may count of one snippet.
const VIEWS_MAX: u64 = i64::MAX.unsigned_abs();

/// How much goes into one batch at most.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Snippets, viewed or deleted.
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
    /// Of how many snippets it tells.
    pub(super) snippets: usize,
    /// All its views.
    pub(super) views: u64,
}

impl Batch {
    /// A batch to be sent, and what is in it.
    pub(super) fn new(pending: PendingBatch, batch: &ViewBatch) -> Self {
        let views = batch.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(count.views));
        Self { pending, snippets: batch.counts.len() + batch.deleted_snippet_ids.len(), views }
    }
}

/// Makes batches of a window; none, if it is empty.
pub(super) fn batches(window: Window, publisher: &str, limits: BatchLimits) -> Vec<Batch> {
    let mut trace = Vec::new();
    if let Some(span) = &window.trace {
        chassis::propagation::inject_span_context(span, |key, value| trace.push((key.to_owned(), value)));
    }
    let empty = ViewBatch {
        batch_id: Uuid::nil().to_string(),
        publisher: publisher.to_owned(),
        window_start: Some(timestamp(window.start)),
        window_end: Some(timestamp(window.end)),
        ..ViewBatch::default()
    };
    let items = window.into_noted().map(Item::from);
    let parts = Parts { items, left_over: None, empty, limits };
    parts.map(|part| batch(part, trace.clone())).collect()
}

fn batch(part: ViewBatch, trace: Vec<(String, String)>) -> Batch {
    let id = Uuid::now_v7();
    let part = ViewBatch { batch_id: id.to_string(), ..part };
    Batch::new(PendingBatch { id, payload: part.encode_to_vec().into(), trace }, &part)
}

/// What a batch tells of one snippet.
enum Item {
    Views(ViewCount),
    Deleted(String),
}

/// Cuts a window into parts that keep to the limits.
struct Parts<I> {
    items: I,
    left_over: Option<Item>,
    /// What every part begins as.
    empty: ViewBatch,
    limits: BatchLimits,
}

impl<I: Iterator<Item = Item>> Iterator for Parts<I> {
    type Item = ViewBatch;

    fn next(&mut self) -> Option<ViewBatch> {
        let first = self.left_over.take().or_else(|| self.items.next())?;
        let mut part = self.empty.clone();
        let mut bytes = part.encoded_len() + first.encoded_len();
        first.add_to(&mut part);
        for _ in 1..self.limits.counts_max {
            let Some(item) = self.items.next() else { break };
            bytes += item.encoded_len();
            if bytes > self.limits.bytes_max {
                self.left_over = Some(item);
                break;
            }
            item.add_to(&mut part);
        }
        Some(part)
    }
}

impl From<(SnippetId, Noted)> for Item {
    fn from((id, noted): (SnippetId, Noted)) -> Self {
        let snippet_id = id.to_string();
        match noted {
            Noted::Views(views) => Self::Views(ViewCount { snippet_id, views: views.get().min(VIEWS_MAX) }),
            Noted::Deleted => Self::Deleted(snippet_id),
        }
    }
}

impl Item {
    fn add_to(self, batch: &mut ViewBatch) {
        match self {
            Self::Views(count) => batch.counts.push(count),
            Self::Deleted(id) => batch.deleted_snippet_ids.push(id),
        }
    }

    /// What it takes in an encoded batch: with its tag, of one byte, and its length.
    fn encoded_len(&self) -> usize {
        let length = match self {
            Self::Views(count) => count.encoded_len(),
            Self::Deleted(id) => id.len(),
        };
        1 + length_delimiter_len(length) + length
    }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{HashMap, HashSet},
        num::NonZeroU64,
    };

    use hashbrown::HashTable;

    use super::*;
    use crate::domain::now;

    const MOST: Noted = Noted::Views(NonZeroU64::MAX);

    /// A window of so many snippets; the last number is of those deleted.
    fn window(viewed: usize, noted: Noted, deleted: usize) -> Window {
        let each = [(viewed, noted), (deleted, Noted::Deleted)].into_iter();
        let each = each.flat_map(|(count, noted)| (0..count).map(move |_| (SnippetId::generate(), noted)));
        let shards = each.enumerate().map(|(hash, noted)| {
            let mut shard = HashTable::new();
            shard.insert_unique(hash as u64, noted, |_| 0);
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
        let batches = batches(window(20_000, MOST, 0), "a-publisher-with-quite-a-long-name", limits);
        assert!(batches.iter().all(|batch| batch.pending.payload.len() <= limits.bytes_max));
        assert!(batches.iter().all(|batch| batch.snippets <= limits.counts_max));
        assert_eq!(batches.len(), 4, "no smaller than need be");
    }

    #[test]
    fn bytes_are_bounded_where_counts_are_not() {
        let limits = BatchLimits { counts_max: usize::MAX, bytes_max: 4096 };
        let batches = batches(window(5_000, MOST, 5_000), "test", limits);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.pending.payload.len()).collect();
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
        let (_, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size > 4096 - 32), "{sizes:?}");
        let (mut counts, mut deleted) = (HashMap::new(), HashSet::new());
        for batch in decoded(&batches) {
            counts.extend(batch.counts.into_iter().map(|count| (count.snippet_id, count.views)));
            deleted.extend(batch.deleted_snippet_ids);
        }
        assert_eq!((counts.len(), deleted.len()), (5_000, 5_000), "each snippet is told of");
        assert_eq!(batches.iter().map(|batch| batch.snippets).sum::<usize>(), 10_000, "once");
        assert!(counts.values().all(|views| *views == VIEWS_MAX), "the most that the contract allows");
    }

    #[test]
    fn a_batch_tells_who_sends_it_and_of_when_it_is() {
        let window = window(1, Noted::Views(NonZeroU64::MIN), 1);
        let (start, end) = (timestamp(window.start), timestamp(window.end));
        let batches = batches(window, "me", BatchLimits::default());
        let [batch] = &decoded(&batches)[..] else { panic!("{batches:?}") };
        assert_eq!(batch.batch_id, batches[0].pending.id.to_string());
        assert_eq!((batch.publisher.as_str(), batch.counts[0].views), ("me", 1));
        assert_eq!((batch.counts.len(), batch.deleted_snippet_ids.len(), batches[0].views), (1, 1, 1));
        assert_eq!((batch.window_start, batch.window_end), (Some(start), Some(end)));
        let nothing = self::window(0, MOST, 0);
        assert!(super::batches(nothing, "me", BatchLimits::default()).is_empty());
    }
}
