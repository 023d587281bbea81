//! The parameters of an algorithm.

use std::{fmt, time::Duration};

use jiff::tz::TimeZone;

use crate::{
    algorithm::{
        Algorithm, CalendarPeriod, Concurrency, FixedWindow, InvalidParameters, Kind, LIMIT_MAX, LeakyBucket,
        Quota, SlidingWindow, TokenBucket,
    },
    rules::{
        document::RawLimit,
        error::{Notes, Place},
        read::{At, nearest, one_of, shortened},
    },
};

const CALENDAR_PERIODS: [(&str, CalendarPeriod); 3] =
    [("day", CalendarPeriod::Day), ("week", CalendarPeriod::Week), ("month", CalendarPeriod::Month)];

/// `None` where something is wrong, and noted.
pub(super) fn read(raw: &RawLimit, notes: &mut Notes) -> Option<Algorithm> {
    let limit = raw.limit.and_then(|limit| notes.ok(limit.place, in_range(limit.value)));
    let kind = kind(raw.algorithm.as_ref(), notes)?;
    refuse_others_parameters(raw, kind, notes);
    if kind == Kind::Quota {
        return quota(raw, limit, notes);
    }
    let period = raw.period.as_ref().and_then(|it| notes.ok(it.place, duration(&it.value)));
    let built = build(kind, limit?, period?, raw.burst.map(|burst| burst.value));
    built.map_err(|invalid| notes.note(place(raw, invalid), invalid)).ok()
}

fn kind(name: Option<&At<String>>, notes: &mut Notes) -> Option<Kind> {
    let Some(name) = name else { return Some(Kind::FixedWindow) };
    notes.ok(name.place, one_of("algorithm", &name.value, &Kind::ALL.map(|kind| (kind.name(), kind))))
}

/// That nothing passes can't be said here by accident; some algorithms have closer bounds of their own.
fn in_range(limit: u64) -> Result<u64, InvalidParameters> {
    let range = 1..=LIMIT_MAX;
    range.contains(&limit).then_some(limit).ok_or(InvalidParameters::Limit { min: 1, max: LIMIT_MAX })
}

fn refuse_others_parameters(raw: &RawLimit, kind: Kind, notes: &mut Notes) {
    if let Some(burst) = raw.burst.filter(|_| kind != Kind::TokenBucket) {
        notes.note(burst.place, "burst is for token_bucket only");
    }
    if let Some(zone) = raw.time_zone.as_ref().filter(|_| kind != Kind::Quota) {
        notes.note(zone.place, "time_zone is for quota only");
    }
    match (raw.lease, kind) {
        (Some(lease), Kind::LeakyBucket) => {
            notes.note(lease.place, "leaky_bucket has no lease: it gives out one at a time");
        }
        (Some(lease), Kind::Concurrency) => {
            notes.note(lease.place, "concurrency has no lease: each slot has the name of its request");
        }
        _ => {}
    }
}

fn build(
    kind: Kind,
    limit: u64,
    period: Duration,
    burst: Option<u64>,
) -> Result<Algorithm, InvalidParameters> {
    Ok(match kind {
        Kind::SlidingWindow => Algorithm::SlidingWindow(SlidingWindow::new(limit, period)?),
        Kind::TokenBucket => Algorithm::TokenBucket(TokenBucket::new(limit, period, burst.unwrap_or(limit))?),
        Kind::LeakyBucket => Algorithm::LeakyBucket(LeakyBucket::new(limit, period)?),
        Kind::Concurrency => Algorithm::Concurrency(Concurrency::new(limit, period)?),
        Kind::FixedWindow | Kind::Quota => Algorithm::FixedWindow(FixedWindow::new(limit, period)?),
    })
}

/// Of the field that the reason is about.
fn place(raw: &RawLimit, reason: InvalidParameters) -> Place {
    let field = match reason {
        InvalidParameters::Limit { .. } => raw.limit.map(|it| it.place),
        InvalidParameters::Burst => raw.burst.map(|it| it.place),
        InvalidParameters::Period => raw.period.as_ref().map(|it| it.place),
        InvalidParameters::Inexact => raw.algorithm.as_ref().map(|it| it.place),
    };
    field.unwrap_or(raw.place)
}

fn duration(period: &str) -> Result<Duration, String> {
    let is_calendar = CALENDAR_PERIODS.iter().any(|(name, _)| *name == period);
    humantime::parse_duration(period).map_err(|_| match period.trim() {
        period if is_calendar => {
            format!("a period of one {period} by the calendar is for quota; otherwise write 1{period}")
        }
        number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("period {number} has no unit; write {number}s for seconds", number = shortened(number))
        }
        other => format!("period {:?} is not a duration such as 200ms, 10s, 1m or 1day", shortened(other)),
    })
}

fn quota(raw: &RawLimit, limit: Option<u64>, notes: &mut Notes) -> Option<Algorithm> {
    let period = raw.period.as_ref();
    let period = period
        .and_then(|it| notes.ok(it.place, one_of("the period of a quota", &it.value, &CALENDAR_PERIODS)));
    let zone = match &raw.time_zone {
        None => Some(TimeZone::UTC),
        Some(name) => notes.ok(name.place, time_zone(&name.value)),
    };
    let quota = Quota::new(limit?, period?, zone?);
    quota.map(Algorithm::Quota).map_err(|invalid| notes.note(place(raw, invalid), invalid)).ok()
}

fn time_zone(name: &str) -> Result<TimeZone, UnknownZone<'_>> {
    TimeZone::get(name).map_err(|_| UnknownZone(name))
}

/// Finds what was meant among some 600 zones only where it is shown.
struct UnknownZone<'a>(&'a str);

impl fmt::Display for UnknownZone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shortened(self.0);
        write!(f, "time_zone {name:?} is unknown, an IANA name such as Europe/Berlin is wanted")?;
        let zones: Vec<_> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let zones = || zones.iter().map(String::as_str);
        let city = zones().find(|zone| zone.rsplit('/').next() == Some(name));
        let meant = city.or_else(|| nearest(name, zones()));
        meant.iter().try_for_each(|zone| write!(f, "; did you mean {zone}?"))
    }
}
