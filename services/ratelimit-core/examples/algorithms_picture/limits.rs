//! The limits that are shown, one for each algorithm.

use jiff::tz::TimeZone;
use ratelimit_core::algorithm::{
    Algorithm, CalendarPeriod, Concurrency, FixedWindow, InvalidParameters, LeakyBucket, Quota,
    SlidingWindow, TokenBucket,
};

use crate::run::PERIOD;

/// Ten a period.
const LIMIT: u64 = 10;
/// So many at a time.
const SLOTS: u64 = 4;
/// What a token bucket holds.
const BURST: u64 = 5;

/// A limit, and what the picture says about it.
pub struct Limit {
    /// How it counts.
    pub algorithm: Algorithm,
    /// In a few words.
    pub caption: &'static str,
}

/// In the order of the picture.
pub fn limits() -> Result<[Limit; 6], InvalidParameters> {
    let limit = |algorithm, caption| Limit { algorithm, caption };
    Ok([
        limit(
            Algorithm::FixedWindow(FixedWindow::new(LIMIT, PERIOD)?),
            "limit 10; a window (framed) opens with its first call",
        ),
        limit(
            Algorithm::Quota(Quota::new(LIMIT, CalendarPeriod::Day, TimeZone::UTC)?),
            "limit 10, period day; a window (framed) ends at midnight",
        ),
        limit(
            Algorithm::SlidingWindow(SlidingWindow::new(LIMIT, PERIOD)?),
            "limit 10, in whatever stretch of a period",
        ),
        limit(
            Algorithm::TokenBucket(TokenBucket::new(LIMIT, PERIOD, BURST)?),
            "limit 10, burst 5; a pause fills the bucket again",
        ),
        limit(
            Algorithm::LeakyBucket(LeakyBucket::new(LIMIT, PERIOD)?),
            "limit 10, so one each tenth of a period; a pause saves nothing up",
        ),
        limit(
            Algorithm::Concurrency(Concurrency::new(SLOTS, PERIOD)?),
            "limit 4; a call takes a quarter of a period; one crashes, and holds its slot for a whole one",
        ),
    ])
}
