//! When a snippet ends.

use std::num::NonZeroI64;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Violation, clock::latest, to_micros};

/// After how many views a snippet is gone: 1 to 2^63-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxViews(NonZeroI64);

impl MaxViews {
    /// 0 is no limit. A [`Violation`] of the field `max_views` beyond 2^63-1.
    pub fn parse(views: u64) -> Result<Option<Self>, Violation> {
        let too_many = |_| Violation::new("max_views", "must be at most 9223372036854775807");
        i64::try_from(views).map(Self::new).map_err(too_many)
    }

    /// A limit of one view or more, if it is one.
    pub fn new(views: i64) -> Option<Self> {
        NonZeroI64::new(views).filter(|views| views.is_positive()).map(Self)
    }

    /// As a number.
    pub fn get(self) -> i64 {
        self.0.get()
    }
}

/// When something ends that is to end at a time, or after a while from `now` on, or, with neither, never. In whole
/// microseconds.
///
/// A [`Violation`] of the field `ttl` when it is given beside a time, is not positive, or goes beyond the year 9999; of
/// `expire_time` when that is not in the future.
pub fn expiry(
    time: Option<DateTime<Utc>>,
    ttl: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, Violation> {
    let time = match (time, ttl) {
        (Some(_), Some(_)) => return Err(Violation::new("ttl", "must not be set beside expire_time")),
        (None, None) => return Ok(None),
        (Some(time), None) if to_micros(time) <= now => {
            return Err(Violation::new("expire_time", "must lie in the future"));
        }
        (Some(time), None) => time,
        (None, Some(ttl)) => after(ttl, now)?,
    };
    Ok(Some(to_micros(time)))
}

fn after(ttl: TimeDelta, now: DateTime<Utc>) -> Result<DateTime<Utc>, Violation> {
    if ttl < TimeDelta::microseconds(1) {
        return Err(Violation::new("ttl", "must be a microsecond or more"));
    }
    let time = now.checked_add_signed(ttl).filter(|time| *time <= latest());
    time.ok_or_else(|| Violation::new("ttl", "must end before the year 10000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_snippet_ends_at_a_time_or_after_a_while_or_never() {
        let now = at("2026-11-21T12:00:00Z");
        let hour = TimeDelta::hours(1);
        assert_eq!(expiry(None, None, now), Ok(None));
        assert_eq!(expiry(Some(now + hour), None, now), Ok(Some(now + hour)));
        assert_eq!(expiry(None, Some(hour), now), Ok(Some(now + hour)));
        let nanos = TimeDelta::nanoseconds(1_999);
        assert_eq!(expiry(None, Some(nanos), now), Ok(Some(now + TimeDelta::microseconds(1))));
    }

    #[test]
    fn what_has_passed_or_never_comes_is_refused() {
        let now = at("2026-11-21T12:00:00Z");
        let field = |time, ttl| expiry(time, ttl, now).unwrap_err().field;
        assert_eq!(field(Some(now), None), "expire_time");
        assert_eq!(field(Some(now + TimeDelta::nanoseconds(999)), None), "expire_time");
        assert_eq!(field(Some(now + TimeDelta::hours(1)), Some(TimeDelta::hours(1))), "ttl");
        for ttl in [TimeDelta::zero(), TimeDelta::seconds(-1), TimeDelta::nanoseconds(999), TimeDelta::MAX] {
            assert_eq!(field(None, Some(ttl)), "ttl", "{ttl}");
        }
        assert_eq!(field(None, Some(TimeDelta::days(366 * 8000))), "ttl");
    }

    #[test]
    fn views_are_limited_from_one_on() {
        assert_eq!(MaxViews::parse(0), Ok(None));
        assert_eq!(MaxViews::parse(1).unwrap().unwrap().get(), 1);
        assert_eq!(MaxViews::parse(i64::MAX.unsigned_abs()).unwrap().unwrap().get(), i64::MAX);
        assert_eq!(MaxViews::parse(1 << 63).unwrap_err().field, "max_views");
        assert_eq!((MaxViews::new(0), MaxViews::new(-1)), (None, None));
    }
}
