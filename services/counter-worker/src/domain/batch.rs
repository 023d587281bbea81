//! One batch, parsed.

use std::time::SystemTime;

use prost::Message as _;
use rpc::views::v1::ViewBatch;
use uuid::Uuid;

use super::tally::{HOUR_SECONDS, begin};

/// The longest snippet id accepted, in bytes. The snippets service makes ids of 11.
pub const SNIPPET_ID_BYTES_MAX: usize = 64;
/// The most counts and deletions of one batch; the snippets service sends 5,000. More could take longer than any transaction
/// may, and hold up the queue for ever.
pub const COUNTS_MAX: usize = 20_000;

/// A well-formed batch of views: at least one count or deletion, every one in range.
#[derive(Debug, Clone)]
pub struct Batch {
    id: Uuid,
    time: Option<i64>,
    window_end: Option<SystemTime>,
    pub(super) counts: Vec<ViewCount>,
    pub(super) deleted: Vec<String>,
}

/// How often one snippet was viewed in the window of a batch.
#[derive(Debug, Clone)]
pub(super) struct ViewCount {
    pub(super) snippet_id: String,
    /// From 1 to `i64::MAX`.
    pub(super) views: i64,
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
    /// There is nothing to count and nothing to delete.
    #[error("the batch is empty")]
    Empty,
    /// It has more than [`COUNTS_MAX`] counts and deletions.
    #[error("the batch has more than {COUNTS_MAX} counts and deletions")]
    TooMany,
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
        match batch.counts.len() + batch.deleted_snippet_ids.len() {
            0 => return Err(Malformed::Empty),
            1..=COUNTS_MAX => {}
            _ => return Err(Malformed::TooMany),
        }
        Ok(Self {
            id,
            time: batch.window_start.or(batch.window_end).map(|time| time.seconds),
            window_end: batch.window_end.and_then(|end| SystemTime::try_from(end).ok()),
            counts: batch.counts.into_iter().map(ViewCount::try_from).collect::<Result<_, _>>()?,
            deleted: batch.deleted_snippet_ids.into_iter().map(snippet_id).collect::<Result<_, _>>()?,
        })
    }

    /// What makes this batch this one, however often it is delivered.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When its views were counted, if the publisher said so: the begin of its window, else the end; in seconds since 1970.
    pub fn time(&self) -> Option<i64> {
        self.time
    }

    /// When the publisher closed the window, if it said so.
    pub fn window_end(&self) -> Option<SystemTime> {
        self.window_end
    }

    /// Whether it says that snippets were deleted.
    pub fn deletes(&self) -> bool {
        !self.deleted.is_empty()
    }

    /// How many counts and deletions the batch holds, from 1 to [`COUNTS_MAX`].
    pub fn len(&self) -> usize {
        self.counts.len() + self.deleted.len()
    }

    /// What it writes: a snippet and the begin of an hour for each count, and none for each deletion. The hour is the publisher's.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        let hour = self.time.map_or(0, |time| begin(time, HOUR_SECONDS));
        let counted = self.counts.iter().map(move |count| (count.snippet_id.as_str(), Some(hour)));
        counted.chain(self.deleted.iter().map(|id| (id.as_str(), None)))
    }

    /// Never: an empty batch is malformed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TryFrom<rpc::views::v1::ViewCount> for ViewCount {
    type Error = Malformed;

    fn try_from(count: rpc::views::v1::ViewCount) -> Result<Self, Malformed> {
        let snippet_id = snippet_id(count.snippet_id)?;
        let views = i64::try_from(count.views).ok().filter(|views| *views > 0).ok_or(Malformed::Count)?;
        Ok(Self { snippet_id, views })
    }
}

/// Postgres can't keep a NUL in a text.
fn snippet_id(id: String) -> Result<String, Malformed> {
    let is_well_formed = (1..=SNIPPET_ID_BYTES_MAX).contains(&id.len()) && !id.contains('\0');
    is_well_formed.then_some(id).ok_or(Malformed::SnippetId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(id: &str, counts: &[(&str, u64)], deleted: &[&str]) -> Vec<u8> {
        let counts = counts
            .iter()
            .map(|(id, views)| rpc::views::v1::ViewCount { snippet_id: (*id).to_owned(), views: *views });
        let batch = ViewBatch {
            batch_id: id.to_owned(),
            counts: counts.collect(),
            deleted_snippet_ids: deleted.iter().map(|id| (*id).to_owned()).collect(),
            ..ViewBatch::default()
        };
        batch.encode_to_vec()
    }

    #[test]
    fn a_well_formed_batch_is_accepted() {
        let id = Uuid::now_v7();
        let longest = "x".repeat(SNIPPET_ID_BYTES_MAX);
        let counts = [("a", 1), (&longest, i64::MAX.unsigned_abs())];
        for (counts, deleted) in [(&counts[..], &[][..]), (&counts, &["b"]), (&[], &["b", &longest])] {
            let parsed = Batch::parse(&wire(&id.to_string(), counts, deleted)).expect("well-formed");
            assert_eq!((parsed.id(), parsed.len()), (id, counts.len() + deleted.len()));
        }
    }

    #[test]
    fn a_malformed_batch_is_refused_whole() {
        let id = Uuid::now_v7().to_string();
        let long = "x".repeat(SNIPPET_ID_BYTES_MAX + 1);
        let (one, many) = ([("a", 1)], vec![("a", 1); COUNTS_MAX]);
        let cases = [
            (wire("", &one, &[]), Malformed::BatchId),
            (wire("seven", &one, &[]), Malformed::BatchId),
            (wire(&Uuid::nil().to_string(), &one, &["b"]), Malformed::BatchId),
            (wire(&id, &[], &[]), Malformed::Empty),
            (wire(&id, &many, &["b"]), Malformed::TooMany),
            (wire(&id, &[("a", 1), ("", 1)], &[]), Malformed::SnippetId),
            (wire(&id, &[("a", 1), (&long, 1)], &[]), Malformed::SnippetId),
            (wire(&id, &[("a\0b", 1)], &[]), Malformed::SnippetId),
            (wire(&id, &one, &["b", ""]), Malformed::SnippetId),
            (wire(&id, &[], &[&long]), Malformed::SnippetId),
            (wire(&id, &one, &["b\0"]), Malformed::SnippetId),
            (wire(&id, &[("a", 1), ("b", 0)], &[]), Malformed::Count),
            (wire(&id, &[("a", 1 << 63)], &[]), Malformed::Count),
        ];
        for (payload, expected) in cases {
            assert_eq!(Batch::parse(&payload).map(|batch| batch.len()), Err(expected));
        }
        assert!(matches!(Batch::parse(b"\xff\xff"), Err(Malformed::Undecodable(_))));
        assert!(matches!(Batch::parse(b""), Err(Malformed::BatchId)));
    }
}
