//! What the batches of a flush add up to.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::Batch;

pub(super) const HOUR_SECONDS: i64 = 60 * 60;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// What is older, or further ahead of the database's clock, comes from a publisher with a wrong clock.
const AGE_SECONDS_MAX: i64 = 400 * DAY_SECONDS;
const AHEAD_SECONDS_MAX: i64 = HOUR_SECONDS;

/// What a flush adds to each snippet, hour and day, and which snippets it deletes. Everything comes out in the order of its
/// keys, which is what keeps workers that update the same rows from waiting for each other in a circle.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally<'a> {
    /// By snippet and the begin of the hour, in seconds since 1970.
    hourly: BTreeMap<(&'a str, i64), i64>,
    deleted: BTreeSet<&'a str>,
    dropped_views: u64,
}

impl<'a> Tally<'a> {
    /// Adds up those of `batches` whose id is in `new`, each id once. Sums stop at `i64::MAX`. `now` is the database's clock,
    /// in seconds since 1970: it takes the place of times that are missing, older than 400 days, or more than an hour ahead.
    pub fn of(batches: &'a [Batch], new: &HashSet<Uuid>, now: i64) -> Self {
        let mut pending = new.clone();
        let mut tally = Self::default();
        for batch in batches.iter().filter(|batch| pending.remove(&batch.id())) {
            let hour = begin(plausible(batch.time(), now), HOUR_SECONDS);
            for count in &batch.counts {
                let sum = tally.hourly.entry((&count.snippet_id, hour)).or_default();
                *sum = sum.saturating_add(count.views);
            }
            tally.deleted.extend(batch.deleted.iter().map(String::as_str));
        }
        let deleted = tally.deleted.clone();
        tally.drop_counts(|id| deleted.contains(id));
        tally
    }

    /// The snippets that are deleted.
    pub fn deleted(&self) -> Vec<&'a str> {
        self.deleted.iter().copied().collect()
    }

    /// Leaves out what was counted of snippets that are deleted.
    pub fn drop_counts(&mut self, is_deleted: impl Fn(&str) -> bool) {
        self.hourly.retain(|(id, _), views| {
            if is_deleted(id) {
                self.dropped_views = self.dropped_views.saturating_add(views.unsigned_abs());
                return false;
            }
            true
        });
    }

    /// Each snippet's id and the views to add to its total.
    pub fn totals(&self) -> Vec<(&'a str, i64)> {
        let mut totals: Vec<(&str, i64)> = Vec::new();
        for ((id, _), views) in &self.hourly {
            match totals.last_mut() {
                Some((last, sum)) if last == id => *sum = sum.saturating_add(*views),
                _ => totals.push((id, *views)),
            }
        }
        totals
    }

    /// Each snippet's id, the begin of an hour in seconds since 1970, and the views to add.
    pub fn hourly(&self) -> Vec<(&'a str, i64, i64)> {
        self.hourly.iter().map(|((id, hour), views)| (*id, *hour, *views)).collect()
    }

    /// Each snippet's id, the begin of a day (UTC) in seconds since 1970, and the views to add.
    pub fn daily(&self) -> Vec<(&'a str, i64, i64)> {
        let mut daily: Vec<(&str, i64, i64)> = Vec::new();
        for ((id, hour), views) in &self.hourly {
            let day = begin(*hour, DAY_SECONDS);
            match daily.last_mut() {
                Some((last, start, sum)) if (*last, *start) == (*id, day) => {
                    *sum = sum.saturating_add(*views);
                }
                _ => daily.push((id, day, *views)),
            }
        }
        daily
    }

    /// All views together. It stops at `u64::MAX`.
    pub fn views(&self) -> u64 {
        self.hourly.values().fold(0, |sum, views| sum.saturating_add(views.unsigned_abs()))
    }

    /// The views that were left out, since their snippets are deleted.
    pub fn dropped_views(&self) -> u64 {
        self.dropped_views
    }
}

fn plausible(time: Option<i64>, now: i64) -> i64 {
    let range = now - AGE_SECONDS_MAX..=now + AHEAD_SECONDS_MAX;
    time.filter(|time| range.contains(time)).unwrap_or(now)
}

/// When the hour or day that `time` is in began.
pub(super) fn begin(time: i64, of_seconds: i64) -> i64 {
    time.div_euclid(of_seconds) * of_seconds
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::Timestamp;
    use rpc::views::v1::{ViewBatch, ViewCount};

    use super::*;

    /// 2026-11-21, 10:59:59 UTC.
    const NOW: i64 = 1_795_258_799;
    const HOUR: i64 = NOW - 3599;
    const DAY: i64 = HOUR - 10 * 3600;

    fn batch(id: Uuid, time: Option<i64>, counts: &[(&str, u64)], deleted: &[&str]) -> Batch {
        let counts =
            counts.iter().map(|(id, views)| ViewCount { snippet_id: (*id).to_owned(), views: *views });
        let batch = ViewBatch {
            batch_id: id.to_string(),
            window_start: time.map(|seconds| Timestamp { seconds, nanos: 0 }),
            counts: counts.collect(),
            deleted_snippet_ids: deleted.iter().map(|id| (*id).to_owned()).collect(),
            ..ViewBatch::default()
        };
        Batch::parse(&batch.encode_to_vec()).expect("well-formed")
    }

    fn ids(batches: &[Batch]) -> HashSet<Uuid> {
        batches.iter().map(Batch::id).collect()
    }

    #[test]
    fn only_new_batches_count_and_each_once() {
        let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
        let batches = [
            batch(new, None, &[("b", 2), ("a", 3), ("b", 1)], &[]),
            batch(old, None, &[("a", 9)], &["a"]),
            batch(new, None, &[("a", 9)], &[]),
        ];
        let tally = Tally::of(&batches, &HashSet::from([new]), NOW);
        assert_eq!(tally.totals(), [("a", 3), ("b", 3)]);
        assert_eq!(tally.hourly(), [("a", HOUR, 3), ("b", HOUR, 3)]);
        assert_eq!(tally.daily(), [("a", DAY, 3), ("b", DAY, 3)]);
        assert_eq!((tally.views(), tally.deleted().len()), (6, 0));
    }

    #[test]
    fn sums_stop_at_the_largest_number() {
        let batches = [HOUR, HOUR, HOUR - 3600]
            .map(|hour| batch(Uuid::now_v7(), Some(hour), &[("a", i64::MAX.unsigned_abs())], &[]));
        let tally = Tally::of(&batches, &ids(&batches), NOW);
        assert_eq!(tally.totals(), [("a", i64::MAX)]);
        assert_eq!(tally.hourly(), [("a", HOUR - 3600, i64::MAX), ("a", HOUR, i64::MAX)]);
        assert_eq!(tally.daily(), [("a", DAY, i64::MAX)]);
    }

    #[test]
    fn views_belong_to_the_hour_and_day_of_their_window() {
        let times = [DAY, DAY - 1, HOUR, HOUR - 1, NOW];
        let batches = times.map(|time| batch(Uuid::now_v7(), Some(time), &[("a", 1), ("b", 2)], &[]));
        let tally = Tally::of(&batches, &ids(&batches), NOW);
        let hours = [(DAY - 3600, 1), (DAY, 1), (HOUR - 3600, 1), (HOUR, 2)];
        let expected = |id, by: i64| hours.map(|(hour, views)| (id, hour, by * views));
        assert_eq!(tally.hourly(), [expected("a", 1), expected("b", 2)].concat());
        let yesterday = DAY - 24 * 3600;
        assert_eq!(tally.daily(), [("a", yesterday, 1), ("a", DAY, 4), ("b", yesterday, 2), ("b", DAY, 8)]);
        assert_eq!(tally.totals(), [("a", 5), ("b", 10)]);
    }

    #[test]
    fn a_wrong_clock_makes_no_absurd_row() {
        let oldest = NOW - 400 * 24 * 3600;
        for time in [None, Some(oldest - 1), Some(NOW + 3601), Some(0), Some(i64::MIN), Some(i64::MAX)] {
            let batches = [batch(Uuid::now_v7(), time, &[("a", 1)], &[])];
            assert_eq!(Tally::of(&batches, &ids(&batches), NOW).hourly(), [("a", HOUR, 1)], "{time:?}");
        }
        for (time, hour) in [(oldest, begin(oldest, 3600)), (NOW + 3600, HOUR + 3600)] {
            let batches = [batch(Uuid::now_v7(), Some(time), &[("a", 1)], &[])];
            assert_eq!(Tally::of(&batches, &ids(&batches), NOW).hourly(), [("a", hour, 1)], "{time}");
        }
    }

    #[test]
    fn what_is_deleted_is_not_counted() {
        let batches = [
            batch(Uuid::now_v7(), None, &[("a", 1), ("b", 2), ("c", 4)], &["z"]),
            batch(Uuid::now_v7(), None, &[("b", 8)], &["b", "a", "b"]),
        ];
        let mut tally = Tally::of(&batches, &ids(&batches), NOW);
        assert_eq!(tally.deleted(), ["a", "b", "z"]);
        assert_eq!(tally.totals(), [("c", 4)]);
        assert_eq!((tally.views(), tally.dropped_views()), (4, 11));
        tally.drop_counts(|id| id == "c");
        assert_eq!((tally.views(), tally.dropped_views()), (0, 15));
        assert!(tally.hourly().is_empty() && tally.daily().is_empty() && tally.totals().is_empty());
    }
}
