//! Quota: so much per day, week or month of the calendar.

use std::{fmt, time::Duration};

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{InvalidParameters, LIMIT_MAX, validate_limit, window::Windows};

/// Where no calendar reaches, after the year 9999, periods have this length.
const BEYOND_CALENDAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Up to `limit` per calendar period of a time zone. A day with a change of the clocks has 23 or 25 hours, a month as many
/// days as it has, and a period begins with the first moment of its first day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    limit: u64,
    period: CalendarPeriod,
    time_zone: TimeZone,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarPeriod {
    /// Midnight to midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
}

impl Quota {
    /// `limit` from 1 to [`LIMIT_MAX`].
    pub fn new(limit: u64, period: CalendarPeriod, time_zone: TimeZone) -> Result<Self, InvalidParameters> {
        validate_limit(limit, 1, LIMIT_MAX)?;
        Ok(Self { limit, period, time_zone })
    }

    /// What the quota is for.
    pub fn period(&self) -> CalendarPeriod {
        self.period
    }

    /// The zone's IANA name, such as `Europe/Berlin`.
    pub fn time_zone_name(&self) -> &str {
        self.time_zone.iana_name().unwrap_or("UTC")
    }

    /// Begin and end of the period that a moment is in, in microseconds; the end is the next one's begin.
    pub fn period_at(&self, now_us: u64) -> (u64, u64) {
        let beyond = || (now_us, now_us.saturating_add(micros(BEYOND_CALENDAR)));
        self.calendar_period_at(now_us).unwrap_or_else(beyond)
    }

    fn calendar_period_at(&self, now_us: u64) -> Option<(u64, u64)> {
        let now = Timestamp::from_microsecond(i64::try_from(now_us).ok()?).ok()?;
        let (first, next) = self.period.around(now.to_zoned(self.time_zone.clone()).date())?;
        Some((self.begin_us(first)?, self.begin_us(next)?))
    }

    /// Where midnight is skipped, the first moment after it.
    fn begin_us(&self, day: Date) -> Option<u64> {
        let begin = day.to_zoned(self.time_zone.clone()).ok()?;
        u64::try_from(begin.timestamp().as_microsecond().max(0)).ok()
    }
}

impl CalendarPeriod {
    /// The first day of the period that a day is in, and that of the next.
    fn around(self, day: Date) -> Option<(Date, Date)> {
        let (first, length) = match self {
            Self::Day => (day, 1.day()),
            Self::Week => {
                (day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).ok()?, 1.week())
            }
            Self::Month => (day.first_of_month(), 1.month()),
        };
        Some((first, first.checked_add(length).ok()?))
    }
}

impl fmt::Display for CalendarPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

impl Windows for Quota {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn ends_us(&self, now_us: u64) -> u64 {
        self.period_at(now_us).1
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(period: CalendarPeriod, zone: &str) -> Quota {
        Quota::new(5, period, TimeZone::get(zone).unwrap()).unwrap()
    }

    fn us(time: &str) -> u64 {
        u64::try_from(time.parse::<Timestamp>().unwrap().as_microsecond()).unwrap()
    }

    fn around(quota: &Quota, time: &str) -> (String, String) {
        let (begin, end) = quota.period_at(us(time));
        let text = |us: u64| Timestamp::from_microsecond(i64::try_from(us).unwrap()).unwrap().to_string();
        (text(begin), text(end))
    }

    #[test]
    fn a_day_is_that_of_its_zone_and_as_long_as_it_is() {
        use CalendarPeriod::Day;
        for (zone, time, begin, end) in [
            ("UTC", "2026-11-21T23:59:59.999999Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("UTC", "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("Asia/Kolkata", "2026-11-21T19:00:00Z", "2026-11-21T18:30:00Z", "2026-11-22T18:30:00Z"),
            // The clocks go forward, and back: 23 hours, and 25.
            ("Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Midnight itself was skipped.
            ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
            // A whole day was skipped.
            ("Pacific/Apia", "2011-12-30T09:59:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(around(&quota(Day, zone), time), (begin.into(), end.into()), "{zone} {time}");
        }
    }

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_the_first() {
        use CalendarPeriod::{Month, Week};
        for (period, time, begin, end) in [
            (Week, "2026-11-22T23:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Week, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Week, "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
            (Month, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(around(&quota(period, "UTC"), time), (begin.into(), end.into()), "{period} {time}");
        }
    }

    #[test]
    fn the_end_of_time_has_days_of_24_hours() {
        let quota = quota(CalendarPeriod::Month, "UTC");
        assert_eq!(quota.period_at(u64::MAX - 1), (u64::MAX - 1, u64::MAX));
    }
}
