//! Time at the precision that every store keeps, in the years that the contract has.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// Midnight of 0001-01-01 and the last second of 9999-12-31, UTC, in seconds since 1970.
const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// The current time, in whole microseconds.
pub fn now() -> DateTime<Utc> {
    to_micros(Utc::now())
}

/// Cuts off what is finer than a microsecond: a value then reads back from a store as it was written.
pub fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// The time so many seconds and nanoseconds after the beginning of 1970, if it is one that the contract has: within the
/// years 1 to 9999, with less than a second of nanoseconds.
pub fn from_unix(seconds: i64, nanos: u32) -> Option<DateTime<Utc>> {
    let has = YEARS_1_TO_9999.contains(&seconds) && nanos < NANOS_PER_SECOND;
    DateTime::from_timestamp(seconds, nanos).filter(|_| has)
}

/// The last microsecond of the year 9999.
pub(super) fn latest() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(YEARS_1_TO_9999.end() + 1) - TimeDelta::microseconds(1)
}

/// The first time of the year 1.
pub(super) fn earliest() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(*YEARS_1_TO_9999.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_begins_with_the_year_1_and_ends_with_9999() {
        let text = |seconds, nanos| from_unix(seconds, nanos).map(|time| time.to_rfc3339());
        assert_eq!(text(-62_135_596_800, 0).unwrap(), "0001-01-01T00:00:00+00:00");
        assert_eq!(from_unix(-62_135_596_800, 0), Some(earliest()));
        assert_eq!(text(253_402_300_799, 999_999_999).unwrap(), "9999-12-31T23:59:59.999999999+00:00");
        assert_eq!(latest().to_rfc3339(), "9999-12-31T23:59:59.999999+00:00");
        for (seconds, nanos) in [
            (-62_135_596_801, 999_999_999),
            (253_402_300_800, 0),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, 1_000_000_000),
            // chrono takes this for a leap second.
            (59, 1_000_000_000),
        ] {
            assert_eq!(from_unix(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
