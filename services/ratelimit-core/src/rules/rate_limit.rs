//! A limit as envoyproxy/ratelimit has it: a fixed window, or none.

use std::time::Duration;

use super::{
    Policy,
    document::{RawRateLimit, is_set},
    error::Notes,
    read::one_of,
};
use crate::algorithm::{Algorithm, FixedWindow, InvalidParameters};

/// The units of time, in whatever case. A month is 30 days and a year 365, as there.
pub(super) const UNITS: [(&str, u64); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 60 * 60),
    ("day", DAY_SECONDS),
    ("week", 7 * DAY_SECONDS),
    ("month", 30 * DAY_SECONDS),
    ("year", 365 * DAY_SECONDS),
];
const DAY_SECONDS: u64 = 24 * 60 * 60;

pub(super) fn policy(raw: &RawRateLimit, notes: &mut Notes) -> Option<Policy> {
    if is_set(raw.unlimited.as_ref()) {
        if let Some(unit) = raw.unit.as_ref().filter(|unit| !unit.value.is_empty()) {
            notes.note(unit.place, "an unlimited rate_limit has no unit; leave out one of them");
            return None;
        }
        return Some(Policy::Unlimited);
    }
    let unit = raw.unit.as_ref()?;
    let period = notes.ok(unit.place, period(&unit.value));
    // 0 where nothing is said, as there.
    let (limit, place) = raw.requests_per_unit.map_or((0, raw.place), |it| (it.value, it.place));
    let window = FixedWindow::new(limit, period?).map_err(|invalid| match invalid {
        InvalidParameters::Limit { min, max } => format!("requests_per_unit must be from {min} to {max}"),
        other => other.to_string(),
    });
    notes.ok(place, window).map(|window| Policy::Limited(Algorithm::FixedWindow(window)))
}

fn period(unit: &str) -> Result<Duration, String> {
    one_of("unit", &unit.to_ascii_lowercase(), &UNITS).map(Duration::from_secs)
}
