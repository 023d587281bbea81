//! A closed window of views.

use chrono::{DateTime, TimeDelta, Utc};
use hashbrown::HashTable;
use opentelemetry::trace::SpanContext;

use crate::domain::SnippetId;

const HOUR_SECONDS: i64 = 3600;

/// The views counted between two times, both of one UTC hour: `end` is at most the beginning of the next.
#[derive(Debug)]
pub struct Window {
    /// From when.
    pub start: DateTime<Utc>,
    /// Until when.
    pub end: DateTime<Utc>,
    /// The first sampled trace that led to one of the views.
    pub trace: Option<SpanContext>,
    /// In shards that no snippet is in two of.
    pub(super) shards: Vec<HashTable<(SnippetId, u64)>>,
}

impl Window {
    /// How many distinct snippets were viewed.
    pub fn snippets(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    /// How often each snippet was viewed. Memory is given back along the way.
    pub fn into_counts(self) -> impl Iterator<Item = (SnippetId, u64)> {
        self.shards.into_iter().flatten()
    }
}

/// When the hour of `time` is over.
pub(super) fn hour_end(time: DateTime<Utc>) -> DateTime<Utc> {
    let into_hour = TimeDelta::seconds(time.timestamp().rem_euclid(HOUR_SECONDS))
        + TimeDelta::nanoseconds(i64::from(time.timestamp_subsec_nanos()));
    time - into_hour + TimeDelta::seconds(HOUR_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_ends_where_the_next_begins() {
        for (time, end) in [
            ("2026-11-21T13:00:00Z", "2026-11-21T14:00:00Z"),
            ("2026-11-21T13:59:59.999999Z", "2026-11-21T14:00:00Z"),
            ("2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z"),
        ] {
            let [time, end]: [DateTime<Utc>; 2] = [time, end].map(|text| text.parse().unwrap());
            assert_eq!(hour_end(time), end);
        }
    }
}
