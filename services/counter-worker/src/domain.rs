//! What a view batch is, once it has been found well-formed, and how batches add up.

use std::{
    collections::{BTreeMap, HashSet},
    time::SystemTime,
};

use prost::Message as _;
use rpc::views::v1::ViewBatch;
use uuid::Uuid;

/// The longest snippet id accepted, in bytes. The snippets service makes ids of 11.
pub const SNIPPET_ID_BYTES_MAX: usize = 64;

/// A well-formed batch of views: at least one count, every one in range.
#[derive(Debug, Clone)]
pub struct Batch {
    id: Uuid,
    window_end: Option<SystemTime>,
    counts: Vec<ViewCount>,
}

/// How often one snippet was viewed in the window of a batch.
#[derive(Debug, Clone)]
struct ViewCount {
    snippet_id: String,
    /// From 1 to `i64::MAX`.
    views: i64,
}

/// Why a payload is not a batch. It is refused whole, and no retry can help it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The payload is not a `views.v1.ViewBatch`.
    #[error("the payload is not a ViewBatch: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// The batch id is missing or not a UUID, so the batch could not be told from its repetition.
    #[error("the batch id is not a UUID")]
    BatchId,
    /// There is nothing to count.
    #[error("the batch is empty")]
    Empty,
    /// A snippet id is empty, longer than [`SNIPPET_ID_BYTES_MAX`] bytes, or holds a NUL.
    #[error("a snippet id is empty, too long, or holds a NUL")]
    SnippetId,
    /// A count is 0 or beyond 2^63-1.
    #[error("a count is not in 1..=2^63-1")]
    Count,
}

impl Batch {
    /// Decodes a message's payload and checks all of it.
    ///
    /// # Errors
    /// When any part of the batch is malformed.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let batch = ViewBatch::decode(payload)?;
        let id = Uuid::try_parse(&batch.batch_id).map_err(|_| Malformed::BatchId)?;
        if id.is_nil() {
            return Err(Malformed::BatchId);
        }
        if batch.counts.is_empty() {
            return Err(Malformed::Empty);
        }
        let window_end = batch.window_end.and_then(|end| SystemTime::try_from(end).ok());
        let counts = batch.counts.into_iter().map(ViewCount::try_from).collect::<Result<_, _>>()?;
        Ok(Self { id, window_end, counts })
    }

    /// What makes this batch this one, however often it is delivered.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When the publisher closed the window, if it said so.
    pub fn window_end(&self) -> Option<SystemTime> {
        self.window_end
    }

    /// How many counts the batch holds, one at least.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Never: an empty batch is malformed.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl TryFrom<rpc::views::v1::ViewCount> for ViewCount {
    type Error = Malformed;

    fn try_from(count: rpc::views::v1::ViewCount) -> Result<Self, Malformed> {
        let snippet_id = count.snippet_id;
        // Postgres can't keep a NUL in a text.
        if !(1..=SNIPPET_ID_BYTES_MAX).contains(&snippet_id.len()) || snippet_id.contains('\0') {
            return Err(Malformed::SnippetId);
        }
        let views = i64::try_from(count.views).ok().filter(|views| *views > 0).ok_or(Malformed::Count)?;
        Ok(Self { snippet_id, views })
    }
}

/// What a flush adds to each snippet. The keys come out in order, which is what keeps workers that update the
/// same rows from waiting for each other in a circle.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally<'a>(BTreeMap<&'a str, i64>);

impl<'a> Tally<'a> {
    /// Adds up those of `batches` whose id is in `new`, each id once. Sums stop at `i64::MAX`.
    pub fn of(batches: &'a [Batch], new: &HashSet<Uuid>) -> Self {
        let mut pending = new.clone();
        let mut tally = BTreeMap::<&str, i64>::new();
        let counts = batches.iter().filter(|batch| pending.remove(&batch.id)).flat_map(|batch| &batch.counts);
        for count in counts {
            let sum = tally.entry(&count.snippet_id).or_default();
            *sum = sum.saturating_add(count.views);
        }
        Self(tally)
    }

    /// Each snippet's id and the views to add to it, in the order of the ids' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, i64)> + '_ {
        self.0.iter().map(|(id, views)| (*id, *views))
    }

    /// All views together. It stops at `u64::MAX`.
    pub fn views(&self) -> u64 {
        self.0.values().fold(0, |sum, views| sum.saturating_add(views.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(id: &str, counts: &[(&str, u64)]) -> Vec<u8> {
        let counts = counts
            .iter()
            .map(|(id, views)| rpc::views::v1::ViewCount { snippet_id: (*id).to_owned(), views: *views });
        ViewBatch { batch_id: id.to_owned(), counts: counts.collect(), ..ViewBatch::default() }
            .encode_to_vec()
    }

    fn batch(id: Uuid, counts: &[(&str, u64)]) -> Batch {
        Batch::parse(&wire(&id.to_string(), counts)).expect("well-formed")
    }

    #[test]
    fn a_well_formed_batch_is_accepted() {
        let id = Uuid::now_v7();
        let longest = "x".repeat(SNIPPET_ID_BYTES_MAX);
        let parsed = batch(id, &[("a", 1), (&longest, i64::MAX.unsigned_abs())]);
        assert_eq!((parsed.id(), parsed.len()), (id, 2));
    }

    #[test]
    fn a_malformed_batch_is_refused_whole() {
        let id = Uuid::now_v7().to_string();
        let long = "x".repeat(SNIPPET_ID_BYTES_MAX + 1);
        let cases = [
            (wire("", &[("a", 1)]), Malformed::BatchId),
            (wire("seven", &[("a", 1)]), Malformed::BatchId),
            (wire(&Uuid::nil().to_string(), &[("a", 1)]), Malformed::BatchId),
            (wire(&id, &[]), Malformed::Empty),
            (wire(&id, &[("a", 1), ("", 1)]), Malformed::SnippetId),
            (wire(&id, &[("a", 1), (&long, 1)]), Malformed::SnippetId),
            (wire(&id, &[("a\0b", 1)]), Malformed::SnippetId),
            (wire(&id, &[("a", 1), ("b", 0)]), Malformed::Count),
            (wire(&id, &[("a", 1 << 63)]), Malformed::Count),
        ];
        for (payload, expected) in cases {
            assert_eq!(Batch::parse(&payload).map(|batch| batch.len()), Err(expected));
        }
        assert!(matches!(Batch::parse(b"\xff\xff"), Err(Malformed::Undecodable(_))));
        assert!(matches!(Batch::parse(b""), Err(Malformed::BatchId)));
    }

    #[test]
    fn only_new_batches_count_and_each_once() {
        let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
        let batches =
            [batch(new, &[("b", 2), ("a", 3), ("b", 1)]), batch(old, &[("a", 9)]), batch(new, &[("a", 9)])];
        let tally = Tally::of(&batches, &HashSet::from([new]));
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("a", 3), ("b", 3)]);
        assert_eq!(tally.views(), 6);
    }

    #[test]
    fn sums_stop_at_the_largest_number() {
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let batches = [batch(one, &[("a", i64::MAX.unsigned_abs())]), batch(two, &[("a", 1)])];
        let tally = Tally::of(&batches, &HashSet::from([one, two]));
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("a", i64::MAX)]);
    }
}
