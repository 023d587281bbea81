//! A closed window as batches that the broker takes.

use chrono::{DateTime, Utc};
use prost::{Message as _, length_delimiter_len};
use prost_types::Timestamp;
use rpc::views::v1::{ViewBatch, ViewCount};
use uuid::Uuid;

use super::window::Window;
use crate::{domain::SnippetId, ports::PendingBatch};

/// The most that a batch may count of one snippet.
pub(super) const VIEWS_MAX: u64 = i64::MAX.unsigned_abs();

/// How much goes into one batch at most.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Snippets.
    pub counts_max: usize,
    /// Bytes of the encoded batch. One count is always taken.
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
    /// How many snippets it counts.
    pub(super) snippets: usize,
    /// All its views.
    pub(super) views: u64,
}

impl Batch {
    /// A batch to be sent, and what is in it.
    pub(super) fn new(pending: PendingBatch, batch: &ViewBatch) -> Self {
        let views = batch.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(count.views));
        Self { pending, snippets: batch.counts.len(), views }
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
    let counts = window.into_counts().map(view_count);
    let parts = Parts { counts, left_over: None, bytes_empty: empty.encoded_len(), limits };
    parts.map(|counts| batch(&empty, counts, trace.clone())).collect()
}

fn batch(empty: &ViewBatch, counts: Vec<ViewCount>, trace: Vec<(String, String)>) -> Batch {
    let id = Uuid::now_v7();
    let batch = ViewBatch { batch_id: id.to_string(), counts, ..empty.clone() };
    Batch::new(PendingBatch { id, payload: batch.encode_to_vec().into(), trace }, &batch)
}

/// Cuts counts into parts that keep to the limits.
struct Parts<I> {
    counts: I,
    left_over: Option<ViewCount>,
    bytes_empty: usize,
    limits: BatchLimits,
}

impl<I: Iterator<Item = ViewCount>> Iterator for Parts<I> {
    type Item = Vec<ViewCount>;

    fn next(&mut self) -> Option<Vec<ViewCount>> {
        let first = self.left_over.take().or_else(|| self.counts.next())?;
        let mut bytes = self.bytes_empty + bytes_of(&first);
        let mut part = vec![first];
        while part.len() < self.limits.counts_max {
            let Some(count) = self.counts.next() else { break };
            bytes += bytes_of(&count);
            if bytes > self.limits.bytes_max {
                self.left_over = Some(count);
                break;
            }
            part.push(count);
        }
        Some(part)
    }
}

/// What a count takes in an encoded batch: with its tag, of one byte, and its length.
fn bytes_of(count: &ViewCount) -> usize {
    let length = count.encoded_len();
    1 + length_delimiter_len(length) + length
}

fn view_count((id, views): (SnippetId, u64)) -> ViewCount {
    ViewCount { snippet_id: id.to_string(), views: views.min(VIEWS_MAX) }
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: time.timestamp(), nanos }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::now;

    fn window(snippets: usize, views: u64) -> Window {
        let counts = (0..snippets).map(|_| (SnippetId::generate(), views));
        Window { start: now(), end: now(), trace: None, shards: vec![counts.collect()] }
    }

    fn decoded(batches: &[Batch]) -> Vec<ViewBatch> {
        batches.iter().map(|batch| ViewBatch::decode(batch.pending.payload.clone()).unwrap()).collect()
    }

    #[test]
    fn a_batch_keeps_to_its_limits_with_counts_at_their_largest() {
        let limits = BatchLimits::default();
        let batches = batches(window(20_000, VIEWS_MAX), "a-publisher-with-quite-a-long-name", limits);
        assert!(batches.iter().all(|batch| batch.pending.payload.len() <= limits.bytes_max));
        assert!(batches.iter().all(|batch| batch.snippets <= limits.counts_max));
        assert_eq!(batches.len(), 4, "no smaller than need be");
    }

    #[test]
    fn bytes_are_bounded_where_counts_are_not() {
        let limits = BatchLimits { counts_max: usize::MAX, bytes_max: 4096 };
        let whole = window(10_000, VIEWS_MAX);
        let expected: HashMap<_, _> =
            whole.shards[0].iter().map(|(id, views)| (id.to_string(), *views)).collect();
        let batches = batches(whole, "test", limits);
        let sizes: Vec<_> = batches.iter().map(|batch| batch.pending.payload.len()).collect();
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
        let (_, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size > 4096 - 32), "{sizes:?}");
        let counts = decoded(&batches).into_iter().flat_map(|batch| batch.counts);
        let counts: Vec<_> = counts.map(|count| (count.snippet_id, count.views)).collect();
        assert_eq!(counts.len(), 10_000, "each snippet is in one batch alone");
        assert_eq!(HashMap::from_iter(counts), expected);
    }

    #[test]
    fn a_batch_tells_who_sends_it_and_of_when_it_is() {
        let window = window(1, 7);
        let (start, end) = (timestamp(window.start), timestamp(window.end));
        let batches = batches(window, "me", BatchLimits::default());
        let [batch] = &decoded(&batches)[..] else { panic!("{batches:?}") };
        assert_eq!(batch.batch_id, batches[0].pending.id.to_string());
        assert_eq!((batch.publisher.as_str(), batch.counts[0].views), ("me", 7));
        assert_eq!((batch.window_start, batch.window_end), (Some(start), Some(end)));
        assert!(super::batches(self::window(0, 1), "me", BatchLimits::default()).is_empty());
    }
}
