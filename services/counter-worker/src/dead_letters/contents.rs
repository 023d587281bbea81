//! What is in a letter, for people and programs.

use std::fmt::{self, Display, Formatter};

use prost::Message as _;
use rpc::views::v1::ViewBatch;
use serde::Serialize;

use super::{
    counted,
    letter::{Letter, escaped, time_text},
};

/// A letter in a line.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: String,
    died_at: Option<String>,
    reason: Option<String>,
    deaths: Option<i64>,
    queue: Option<String>,
    bytes: usize,
    /// Why a worker would reject it; none if it would not.
    malformed: Option<String>,
    #[serde(flatten)]
    batch: Option<BatchSummary>,
}

/// What a batch says of itself.
#[derive(Debug, Serialize)]
struct BatchSummary {
    snippets: usize,
    views: u64,
    deleted_snippets: usize,
    publisher: String,
    window_start: Option<String>,
    window_end: Option<String>,
}

/// What several letters come to.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) letters: u64,
    malformed: u64,
    views: u64,
}

/// The batch of a letter, as far as it can be decoded.
pub(super) fn decode(letter: &Letter) -> Option<ViewBatch> {
    ViewBatch::decode(letter.payload.as_slice()).ok()
}

impl From<&Letter> for Line {
    fn from(letter: &Letter) -> Self {
        let death = letter.death();
        Self {
            id: letter.id.clone(),
            died_at: death.as_ref().and_then(|death| death.time.clone()),
            reason: death.as_ref().map(|death| death.reason.clone()),
            deaths: death.as_ref().map(|death| death.count),
            queue: death.map(|death| death.queue),
            bytes: letter.payload.len(),
            malformed: letter.verdict().err().map(|malformed| malformed.to_string()),
            batch: decode(letter).map(Into::into),
        }
    }
}

impl From<ViewBatch> for BatchSummary {
    fn from(batch: ViewBatch) -> Self {
        Self {
            snippets: batch.counts.len(),
            views: batch.counts.iter().fold(0, |sum, count| sum.saturating_add(count.views)),
            deleted_snippets: batch.deleted_snippet_ids.len(),
            publisher: batch.publisher,
            window_start: batch.window_start.and_then(|at| time_text(at.seconds, at.nanos)),
            window_end: batch.window_end.and_then(|at| time_text(at.seconds, at.nanos)),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let died_at = self.died_at.as_deref().unwrap_or("-");
        write!(f, "{}  {died_at}", self.id)?;
        if let (Some(reason), Some(deaths), Some(queue)) = (&self.reason, self.deaths, &self.queue) {
            write!(f, "  {reason} {deaths}x in {queue}")?;
        }
        write!(f, "  {} bytes", self.bytes)?;
        if let Some(malformed) = &self.malformed {
            write!(f, "  malformed: {}", escaped(malformed))?;
        }
        self.batch.as_ref().map_or(Ok(()), |batch| write!(f, "  {batch}"))
    }
}

impl Display for BatchSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.snippets, "snippet"), counted(self.views, "view"))?;
        if self.deleted_snippets > 0 {
            write!(f, ", {} deleted", self.deleted_snippets)?;
        }
        let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
        let (start, end) = (time(&self.window_start), time(&self.window_end));
        write!(f, "  by {:?}, {start} to {end}", self.publisher)
    }
}

impl Sum {
    pub(super) fn add(&mut self, line: &Line) {
        self.letters += 1;
        match (&line.malformed, &line.batch) {
            (None, Some(batch)) => self.views = self.views.saturating_add(batch.views),
            _ => self.malformed += 1,
        }
    }
}

impl Display for Sum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let well_formed = self.letters - self.malformed;
        let views = counted(self.views, "view");
        write!(f, "{well_formed} well-formed with {views}, {} malformed", self.malformed)
    }
}
