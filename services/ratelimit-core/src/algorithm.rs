//! How limits count: pure functions of (state, cost, now), one file for each algorithm.
//!
//! Times are whole microseconds since some epoch, and all arithmetic is on integers, so nothing drifts. The Redis script
//! does the same arithmetic in doubles, which are exact below 2^53; hence every limit is refused at construction whose
//! products could come near ([`EXACT_MAX`]). An epoch time stays below 2^53 until the year 2255.
//!
//! A clock that goes back, as after a failover to a server that is behind, gives nothing away: a counter stands still
//! until the clock has caught up with it.

mod concurrency;
mod fixed_window;
mod kind;
mod leaky_bucket;
mod lease;
mod meter;
mod parameters;
mod quota;
mod sliding_window;
mod token_bucket;
mod window;

use std::{fmt, time::Duration};

pub use concurrency::{Concurrency, SLOTS_MAX, Slot, Slots};
pub use fixed_window::FixedWindow;
pub use kind::Kind;
pub use leaky_bucket::LeakyBucket;
pub use lease::{LEASED_PART, Lease};
pub use parameters::{CostAboveCapacity, EXACT_MAX, InvalidParameters, LIMIT_MAX, PERIOD_MAX, PERIOD_MIN};
pub use quota::{CalendarPeriod, Quota};
pub use sliding_window::{Entry, SLICES, SlidingLog, SlidingWindow};
pub use token_bucket::{Bucket, TokenBucket};
pub use window::Window;

use meter::Meter;
use parameters::{period_us, validate_limit};

/// An algorithm with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// `limit` per window of `period`.
    FixedWindow(FixedWindow),
    /// `limit` in whatever interval of length `period`.
    SlidingWindow(SlidingWindow),
    /// `burst` at once, refilled at `limit` per `period`.
    TokenBucket(TokenBucket),
    /// One each `period` / `limit`.
    LeakyBucket(LeakyBucket),
    /// `limit` per day, week or month of the calendar.
    Quota(Quota),
    /// `limit` at a time.
    Concurrency(Concurrency),
}

/// What a limit remembers of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Of a [`FixedWindow`] or a [`Quota`].
    Window(Window),
    /// Of a [`SlidingWindow`].
    Sliding(SlidingLog),
    /// Of a [`TokenBucket`] or a [`LeakyBucket`].
    Bucket(Bucket),
    /// Of [`Concurrency`].
    Slots(Slots),
}

/// What a request asks of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit<'a> {
    /// What it is worth. At 0 it is asked whether 1 could pass, and nothing is charged.
    pub cost: u64,
    /// Names the slots that it takes of a [`Concurrency`]; the others pay no attention to it.
    pub slot: &'a str,
    /// When, in microseconds.
    pub now_us: u64,
}

impl Hit<'_> {
    /// When what was charged with that decision is gone, in microseconds.
    fn end_us(&self, charged: &Decision) -> u64 {
        self.now_us.saturating_add(u64::try_from(charged.reset_after.as_micros()).unwrap_or(u64::MAX))
    }
}

/// What a limit says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether there is room for the cost.
    pub allowed: bool,
    /// What is left, after the charge if one was made.
    pub remaining: u64,
    /// Until the limit is as if nothing had been charged.
    pub reset_after: Duration,
    /// Until the same cost could pass, never zero; `None` when allowed, and when it can never pass.
    pub retry_after: Option<Duration>,
}

/// Runs an expression on the parameters inside an [`Algorithm`], whatever they are.
macro_rules! with_meter {
    ($algorithm:expr, $meter:ident => $result:expr) => {
        match $algorithm {
            Algorithm::FixedWindow($meter) => $result,
            Algorithm::SlidingWindow($meter) => $result,
            Algorithm::TokenBucket($meter) => $result,
            Algorithm::LeakyBucket(bucket) => {
                let $meter = bucket.as_token_bucket();
                $result
            }
            Algorithm::Quota($meter) => $result,
            Algorithm::Concurrency($meter) => $result,
        }
    };
}

impl Algorithm {
    /// Which algorithm it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::FixedWindow(_) => Kind::FixedWindow,
            Self::SlidingWindow(_) => Kind::SlidingWindow,
            Self::TokenBucket(_) => Kind::TokenBucket,
            Self::LeakyBucket(_) => Kind::LeakyBucket,
            Self::Quota(_) => Kind::Quota,
            Self::Concurrency(_) => Kind::Concurrency,
        }
    }

    /// The name it has in rules.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// What passes each period, or at a time.
    pub fn limit(&self) -> u64 {
        with_meter!(self, meter => meter.limit())
    }

    /// The most that passes at once.
    pub fn capacity(&self) -> u64 {
        with_meter!(self, meter => meter.capacity())
    }

    /// The time that the limit is for; `None` where that is up to the calendar.
    pub fn period(&self) -> Option<Duration> {
        match self {
            Self::FixedWindow(it) => Some(it.period()),
            Self::SlidingWindow(it) => Some(it.period()),
            Self::TokenBucket(it) => Some(it.period()),
            Self::LeakyBucket(it) => Some(it.period()),
            Self::Quota(_) => None,
            Self::Concurrency(it) => Some(it.period()),
        }
    }

    /// What its states are measured in.
    pub fn unit(&self) -> Unit<'_> {
        Unit(self)
    }

    /// When that state is as good as none, in microseconds.
    pub fn expires_us(&self, state: &State) -> u64 {
        // A state of another algorithm says nothing to this one.
        with_meter!(self, meter => meter::known(meter, Some(state)).map_or(0, |state| meter.expires_us(state)))
    }

    /// Refuses a cost that no waiting makes pass. A limit of 0 is no such mistake of the caller: it denies.
    pub fn validate_cost(&self, cost: u64) -> Result<(), CostAboveCapacity> {
        let capacity = self.capacity();
        if cost > capacity && capacity > 0 { Err(CostAboveCapacity { cost, capacity }) } else { Ok(()) }
    }

    /// Whether the hit could pass now, and what is left now. A state of another algorithm counts as none.
    pub fn peek(&self, state: Option<&State>, hit: Hit<'_>) -> Decision {
        with_meter!(self, meter => meter::peek(meter, state, hit))
    }

    /// Charges the hit if there is room: the new state, or `None` where nothing changes because it was denied.
    pub fn charge(&self, state: Option<&State>, hit: Hit<'_>) -> (Option<State>, Decision) {
        with_meter!(self, meter => meter::charge(meter, state, hit))
    }

    /// Charges the hit like [`charge`](Self::charge), and takes up to `wanted` tokens more to be spent later.
    pub fn charge_and_lease(
        &self,
        state: Option<&State>,
        hit: Hit<'_>,
        wanted: u64,
    ) -> (Option<State>, Decision, Option<Lease>) {
        with_meter!(self, meter => lease::charge_and_lease(meter, state, hit, wanted))
    }

    /// Gives back what the hit was charged, if that still counts: the new state, or `None` where nothing changes.
    /// `decision` is what the charge was answered with.
    pub fn give_back(
        &self,
        state: Option<&State>,
        charged: Hit<'_>,
        decision: &Decision,
        now_us: u64,
    ) -> Option<State> {
        with_meter!(self, meter => meter::give_back(meter, state, charged, decision, now_us))
    }
}

/// What states are measured in, such as `token_bucket:300:60000000`: algorithms that agree in it can go on from one another's
/// state, whatever they allow.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a>(&'a Algorithm);

impl fmt::Display for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period_us = self.0.period().unwrap_or_default().as_micros();
        f.write_str(self.0.name())?;
        match self.0 {
            Algorithm::FixedWindow(_) | Algorithm::SlidingWindow(_) => write!(f, ":{period_us}"),
            // A debt is told in parts of a token, which depend on the rate.
            Algorithm::TokenBucket(_) | Algorithm::LeakyBucket(_) => {
                write!(f, ":{}:{period_us}", self.0.limit())
            }
            Algorithm::Quota(quota) => write!(f, ":{}:{}", quota.period(), quota.time_zone_name()),
            // Each slot knows when it ends.
            Algorithm::Concurrency(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn hit(cost: u64, now_us: u64) -> Hit<'static> {
        Hit { cost, slot: "", now_us }
    }

    #[test]
    fn a_limit_that_changes_goes_on_from_what_was_counted() {
        let window =
            |limit| Algorithm::FixedWindow(FixedWindow::new(limit, Duration::from_secs(60)).unwrap());
        let (state, _) = window(5).charge(None, hit(4, 1));
        for (limit, remaining) in [(5, 1), (9, 5), (4, 0), (2, 0)] {
            assert_eq!(window(limit).unit().to_string(), window(5).unit().to_string());
            assert_eq!(window(limit).peek(state.as_ref(), hit(1, 2)).remaining, remaining);
        }
    }

    #[test]
    fn what_is_measured_differently_reads_differently() {
        let minute = Duration::from_secs(60);
        let window = Algorithm::FixedWindow(FixedWindow::new(5, minute).unwrap());
        let bucket = Algorithm::TokenBucket(TokenBucket::new(5, minute, 7).unwrap());
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let quota = Algorithm::Quota(Quota::new(5, CalendarPeriod::Day, berlin).unwrap());
        let units = [window, bucket, quota].map(|it| it.unit().to_string());
        assert_eq!(units, ["fixed_window:60000000", "token_bucket:5:60000000", "quota:day:Europe/Berlin"]);
    }
}
