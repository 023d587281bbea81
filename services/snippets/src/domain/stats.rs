//! When a snippet was viewed: buckets of whole hours or days, in UTC.

use super::{Violation, clock::earliest};
use chrono::{DateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc};

const BUCKETS_MAX: i32 = 1_000;

/// The width of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// From minute 0 to minute 59.
    Hour,
    /// From midnight to midnight, UTC.
    Day,
}

impl Granularity {
    fn width(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    /// How long a period is that has no start of its own.
    fn default_length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(24),
            Self::Day => TimeDelta::days(30),
        }
    }

    /// The last time up to this one at which a bucket begins.
    fn floor(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let over = time.timestamp().rem_euclid(self.width().num_seconds());
        time.trunc_subsecs(0) - TimeDelta::seconds(over)
    }

    /// The first time from this one on at which a bucket begins.
    fn ceil(self, time: DateTime<Utc>) -> DateTime<Utc> {
        let floor = self.floor(time);
        if floor == time { time } else { floor + self.width() }
    }
}

/// From when to when somebody wants to know. A start, if it has one, lies before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    start: Option<DateTime<Utc>>,
    end: DateTime<Utc>,
}

impl Period {
    /// Without an end it ends now. A [`Violation`] of the field `start_time`, or `end_time` without a start, when
    /// nothing lies in between.
    pub fn parse(
        start: Option<DateTime<Utc>>,
        end: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Self, Violation> {
        let period = Self { start, end: end.unwrap_or(now) };
        match start {
            Some(start) if start >= period.end => Err(Violation::new("start_time", too_late(end))),
            None if period.end <= earliest() => {
                Err(Violation::new("end_time", format!("must be after {}", rfc3339(earliest()))))
            }
            _ => Ok(period),
        }
    }

    /// The buckets that any part of it lies in. Without a start it is 24 hours long where buckets are hours, and 30
    /// days where they are days. A [`Violation`] of the field `start_time` when there are more than 1,000.
    pub fn in_buckets(self, granularity: Granularity) -> Result<StatsRange, Violation> {
        let default_start = || (self.end - granularity.default_length()).max(earliest());
        let start = granularity.floor(self.start.unwrap_or_else(default_start));
        let range = StatsRange { granularity, start, end: granularity.ceil(self.end) };
        if range.is_too_long() {
            return Err(Violation::new("start_time", self.too_long(granularity)));
        }
        Ok(range)
    }

    fn too_long(self, granularity: Granularity) -> String {
        let earliest_start = granularity.ceil(self.end) - granularity.width() * BUCKETS_MAX;
        let by_day = granularity == Granularity::Hour && self.in_buckets(Granularity::Day).is_ok();
        let or = if by_day { ", or use GRANULARITY_DAY" } else { "" };
        format!("at most {BUCKETS_MAX} buckets: begin at {} or later{or}", rfc3339(earliest_start))
    }
}

fn too_late(end: Option<DateTime<Utc>>) -> &'static str {
    if end.is_some() {
        "must be before end_time"
    } else {
        "must be before now, where the range ends by default"
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// 1 to 1,000 whole buckets, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsRange {
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl StatsRange {
    /// The width of its buckets.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// When the first bucket begins.
    pub fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// When the last bucket ends.
    pub fn end(&self) -> DateTime<Utc> {
        self.end
    }

    /// When each bucket begins, in order.
    pub fn starts(&self) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        let Self { granularity, start, end } = *self;
        (0..BUCKETS_MAX).map(move |index| start + granularity.width() * index).take_while(move |it| *it < end)
    }

    fn is_too_long(&self) -> bool {
        self.end - self.start > self.granularity.width() * BUCKETS_MAX
    }

    /// Which bucket a time lies in.
    fn index_of(&self, time: DateTime<Utc>) -> Option<usize> {
        let inside = self.start <= time && time < self.end;
        let index = (time - self.start).num_seconds() / self.granularity.width().num_seconds();
        usize::try_from(index).ok().filter(|_| inside)
    }
}

/// The views in each bucket of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStats {
    range: StatsRange,
    views: Vec<u64>,
}

impl ViewStats {
    /// Adds up views by the bucket that their time lies in; those of another time are left out.
    pub fn of(range: StatsRange, counted: impl IntoIterator<Item = (DateTime<Utc>, u64)>) -> Self {
        let mut views = vec![0; range.starts().count()];
        for (time, more) in counted {
            if let Some(bucket) = range.index_of(time).and_then(|index| views.get_mut(index)) {
                *bucket = u64::saturating_add(*bucket, more);
            }
        }
        Self { range, views }
    }

    /// When each bucket begins and its views, in order of time; every bucket of the range is there.
    pub fn buckets(&self) -> impl Iterator<Item = (DateTime<Utc>, u64)> {
        self.range.starts().zip(self.views.iter().copied())
    }

    /// The views in all buckets; what would be more than 2^64-1 is that.
    pub fn total(&self) -> u64 {
        self.views.iter().fold(0, |total, views| total.saturating_add(*views))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Granularity::{Day, Hour};
    use proptest::prelude::*;

    const GRANULARITIES: [Granularity; 2] = [Hour, Day];

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn period(start: &str, end: &str) -> Period {
        Period::parse(Some(at(start)), Some(at(end)), at("2000-01-01T00:00:00Z")).unwrap()
    }

    fn starts(range: &StatsRange) -> Vec<String> {
        range.starts().map(rfc3339).collect()
    }

    fn violation<T: std::fmt::Debug>(result: Result<T, Violation>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_bucket_that_the_period_touches_is_there_as_a_whole() {
        let hours = |start, end| starts(&period(start, end).in_buckets(Hour).unwrap());
        let [ten, eleven, twelve] = ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z"];
        assert_eq!(hours(ten, eleven), [ten]);
        assert_eq!(hours(ten, twelve), [ten, eleven]);
        assert_eq!(hours("2026-11-21T10:59:59.999999999Z", eleven), [ten]);
        assert_eq!(hours(ten, "2026-11-21T11:00:00.000000001Z"), [ten, eleven]);
        assert_eq!(hours("2026-11-21T10:30:00Z", "2026-11-21T10:30:00.000000001Z"), [ten]);
        let days = starts(&period("2024-02-28T23:59:59Z", "2024-03-01T00:00:01Z").in_buckets(Day).unwrap());
        assert_eq!(days, ["2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"]);
        // Before 1970 as well.
        let old = starts(&period("1969-12-31T22:30:00.5Z", "1970-01-01T00:00:00Z").in_buckets(Hour).unwrap());
        assert_eq!(old, ["1969-12-31T22:00:00Z", "1969-12-31T23:00:00Z"]);
    }

    #[test]
    fn without_times_it_is_the_last_day_in_hours_and_the_last_30_days_in_days() {
        let now = at("2026-11-21T10:30:00Z");
        let period = Period::parse(None, None, now).unwrap();
        let hours = period.in_buckets(Hour).unwrap();
        // Half an hour at either end makes one more than 24.
        assert_eq!((hours.start(), hours.end()), (at("2026-11-20T10:00:00Z"), at("2026-11-21T11:00:00Z")));
        let days = period.in_buckets(Day).unwrap();
        assert_eq!((days.start(), days.end()), (at("2026-10-22T00:00:00Z"), at("2026-11-22T00:00:00Z")));
        let until_midnight = Period::parse(None, Some(at("2026-11-21T00:00:00Z")), now).unwrap();
        assert_eq!(until_midnight.in_buckets(Hour).unwrap().starts().count(), 24);
        assert_eq!(until_midnight.in_buckets(Day).unwrap().starts().count(), 30);
    }

    #[test]
    fn a_start_at_or_after_the_end_is_refused() {
        let now = at("2026-11-21T10:30:00Z");
        let later = now + TimeDelta::nanoseconds(1);
        for start in [now, later] {
            let given = Period::parse(Some(start), Some(now), later);
            assert_eq!(violation(given), "start_time: must be before end_time");
            let by_default = Period::parse(Some(start), None, now);
            let expected = "start_time: must be before now, where the range ends by default";
            assert_eq!(violation(by_default), expected);
        }
    }

    #[test]
    fn a_thousand_buckets_are_enough() {
        let end = "2026-11-21T10:30:00Z";
        let refused = |start, granularity| violation(period(start, end).in_buckets(granularity));
        assert_eq!(period("2026-10-10T19:00:00Z", end).in_buckets(Hour).unwrap().starts().count(), 1000);
        assert_eq!(
            refused("2026-10-10T18:59:59Z", Hour),
            "start_time: at most 1000 buckets: begin at 2026-10-10T19:00:00Z or later, or use GRANULARITY_DAY"
        );
        assert_eq!(period("2024-02-26T00:00:00Z", end).in_buckets(Day).unwrap().starts().count(), 1000);
        for granularity in GRANULARITIES {
            let begin = if granularity == Hour { "2026-10-10T19:00:00Z" } else { "2024-02-26T00:00:00Z" };
            assert_eq!(
                refused("2024-02-25T23:59:59Z", granularity),
                format!("start_time: at most 1000 buckets: begin at {begin} or later")
            );
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let first = "0001-01-01T00:00:00Z";
        let end = |end: &str| Period::parse(None, Some(at(end)), at("2026-11-21T10:30:00Z"));
        assert_eq!(violation(end(first)), format!("end_time: must be after {first}"));
        for granularity in GRANULARITIES {
            let range = end("0001-01-01T00:00:00.5Z").unwrap().in_buckets(granularity).unwrap();
            assert_eq!(starts(&range), [first]);
            let range = end("9999-12-31T23:59:59.999999999Z").unwrap().in_buckets(granularity).unwrap();
            assert!(starts(&range).last().unwrap().starts_with("9999-12-31"));
            let all = period(first, "9999-12-31T23:59:59.999999999Z").in_buckets(granularity);
            assert!(violation(all).starts_with("start_time: at most 1000 buckets: begin at 999"));
        }
    }

    #[test]
    fn sums_stop_at_the_largest_number() {
        let range = period("2026-11-21T10:00:00Z", "2026-11-21T12:00:00Z").in_buckets(Hour).unwrap();
        let counted =
            [("2026-11-21T10:00:00Z", u64::MAX), ("2026-11-21T10:59:59Z", 1), ("2026-11-21T11:00:00Z", 7)];
        let stats = ViewStats::of(range, counted.map(|(time, views)| (at(time), views)));
        assert_eq!(stats.buckets().map(|(_, views)| views).collect::<Vec<_>>(), [u64::MAX, 7]);
        assert_eq!(stats.total(), u64::MAX);
    }

    /// Any time that a client can send; every other one begins an hour.
    fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
        let seconds = prop_oneof![-62_135_596_800_i64..=253_402_300_799, 1_700_000_000_i64..1_710_000_000];
        let time = (seconds, 0_u32..1_000_000_000)
            .prop_map(|(seconds, nanos)| DateTime::from_timestamp(seconds, nanos).unwrap());
        (time, any::<bool>()).prop_map(|(time, begins)| if begins { Hour.floor(time) } else { time })
    }

    proptest! {
        #[test]
        fn a_range_is_what_its_period_touches_or_too_long(
            start in proptest::option::of(any_time()),
            length in prop_oneof![0_i64..100_000_000, (0_i64..2_000).prop_map(|hours| hours * 3600)],
            day: bool,
        ) {
            let granularity = if day { Day } else { Hour };
            let width = granularity.width();
            let now = at("2026-11-21T10:30:00.5Z");
            let end = start.map(|start| start + TimeDelta::seconds(length));
            let Ok(period) = Period::parse(start, end, now) else {
                prop_assert_eq!(length, 0);
                return Ok(());
            };
            let start = start.unwrap_or(now - granularity.default_length());
            let end = end.unwrap_or(now);
            match period.in_buckets(granularity) {
                Ok(range) => {
                    let starts: Vec<_> = range.starts().collect();
                    prop_assert!((1..=1000).contains(&starts.len()));
                    prop_assert!(starts.iter().all(|it| it.timestamp() % width.num_seconds() == 0));
                    prop_assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == width));
                    prop_assert!(starts[0] <= start && start < starts[0] + width);
                    let last = starts[starts.len() - 1];
                    prop_assert!(last < end && end <= last + width);
                    prop_assert_eq!((range.start(), range.end()), (starts[0], last + width));
                }
                Err(_) => prop_assert!(end - start > width * (BUCKETS_MAX - 2)),
            }
        }

        #[test]
        fn every_view_in_the_range_is_in_the_bucket_of_its_time(
            counted in proptest::collection::vec((1_700_000_000_i64..1_700_400_000, 0_u64..1_000), 0..50),
        ) {
            let counted = counted.into_iter().map(|(seconds, views)| (DateTime::from_timestamp(seconds, 0).unwrap(), views));
            let counted: Vec<_> = counted.collect();
            let range = period("2023-11-15T00:30:00Z", "2023-11-17T00:30:00Z").in_buckets(Hour).unwrap();
            let stats = ViewStats::of(range, counted.clone());
            let sum = |from, to| -> u64 {
                counted.iter().filter(|(time, _)| from <= *time && *time < to).map(|(_, views)| views).sum()
            };
            for (start, views) in stats.buckets() {
                prop_assert_eq!(views, sum(start, start + TimeDelta::hours(1)));
            }
            prop_assert_eq!(stats.buckets().count(), 49);
            prop_assert_eq!(stats.total(), sum(range.start(), range.end()));
        }
    }
}
