//! Sliding window: so much in whatever interval of the period's length.
//!
//! The kind is a log of counts, as in Mahdi, "An alternative approach to rate limiting", Figma 2017: what is charged in
//! the same [`SLICES`]th of the period is one entry. There the entry leaves with its slice; here it carries the time of
//! the last charge in it and leaves a period after that.

use std::{collections::VecDeque, time::Duration};

use super::{Decision, Hit, InvalidParameters, LIMIT_MAX, State, meter::Meter, period_us, validate_limit};

/// Slices of a period: a log has at most two entries more.
pub const SLICES: u64 = 32;

/// Never more than `limit` in any interval of length `period`.
///
/// The error is on the safe side and bounded: a charge counts for the period, and if others came later in the same slice
/// then for up to period / [`SLICES`] longer. A charge that is alone in its slice leaves to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    limit: u64,
    period_us: u64,
}

/// What a sliding window remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlidingLog {
    /// The sum of all entries.
    pub used: u64,
    /// In the order of their times.
    pub entries: VecDeque<Entry>,
}

/// What was charged in one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The last charge, in microseconds.
    pub at_us: u64,
    /// Charged in all.
    pub cost: u64,
}

impl SlidingWindow {
    /// `limit` from 1 to [`LIMIT_MAX`].
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidParameters> {
        validate_limit(limit, 1, LIMIT_MAX)?;
        Ok(Self { limit, period_us: period_us(period)? })
    }

    /// The length of the interval.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }

    /// The length of a slice, in microseconds.
    pub fn slice_us(&self) -> u64 {
        self.period_us.div_ceil(SLICES)
    }

    fn slice(&self, at_us: u64) -> u64 {
        at_us / self.slice_us()
    }

    fn leaves_us(&self, entry: &Entry) -> u64 {
        entry.at_us.saturating_add(self.period_us)
    }
}

impl Meter for SlidingWindow {
    type Memory = SlidingLog;

    fn memory(state: &State) -> Option<&SlidingLog> {
        if let State::Sliding(log) = state { Some(log) } else { None }
    }

    fn state(log: SlidingLog) -> State {
        State::Sliding(log)
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn capacity(&self) -> u64 {
        self.limit
    }

    fn current(&self, log: Option<&SlidingLog>, now_us: u64) -> SlidingLog {
        let Some(log) = log else { return SlidingLog::default() };
        let has_left = |entry: &&Entry| self.leaves_us(entry) <= now_us;
        let left = log.entries.iter().take_while(has_left).count();
        let used = log.used - log.entries.iter().take(left).map(|entry| entry.cost).sum::<u64>();
        if used == 0 {
            return SlidingLog::default();
        }
        SlidingLog { used, entries: log.entries.iter().skip(left).copied().collect() }
    }

    fn remaining(&self, log: &SlidingLog) -> u64 {
        self.limit.saturating_sub(log.used)
    }

    fn add(&self, log: &mut SlidingLog, hit: Hit<'_>) {
        log.used += hit.cost;
        let last_us = log.entries.back().map(|entry| entry.at_us);
        let at_us = hit.now_us.max(last_us.unwrap_or(0));
        match log.entries.back_mut() {
            Some(last) if self.slice(last.at_us) == self.slice(at_us) => {
                *last = Entry { at_us, cost: last.cost + hit.cost };
            }
            _ => log.entries.push_back(Entry { at_us, cost: hit.cost }),
        }
    }

    fn subtract(&self, log: &mut SlidingLog, charged: Hit<'_>, decision: &Decision, _: u64) -> bool {
        let charged_us = charged.end_us(decision) - self.period_us;
        let slice = self.slice(charged_us);
        let entry = log.entries.iter_mut().find(|entry| self.slice(entry.at_us) == slice);
        let Some(entry) = entry else { return false };
        let back = charged.cost.min(entry.cost);
        entry.cost -= back;
        log.used -= back;
        back > 0
    }

    fn leases_until_us(&self, _: &SlidingLog, _: &SlidingLog, now_us: u64) -> u64 {
        now_us.saturating_add(self.slice_us())
    }

    fn expires_us(&self, log: &SlidingLog) -> u64 {
        if log.used == 0 { 0 } else { log.entries.back().map_or(0, |last| self.leaves_us(last)) }
    }

    fn has_room_us(&self, log: &SlidingLog, cost: u64) -> u64 {
        let mut excess = (log.used + cost).saturating_sub(self.limit);
        for entry in &log.entries {
            if entry.cost >= excess {
                return self.leaves_us(entry);
            }
            excess -= entry.cost;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Algorithm, tests::hit};

    const SECOND: u64 = 1_000_000;

    /// A slice is one second.
    fn per_32_seconds(limit: u64) -> Algorithm {
        Algorithm::SlidingWindow(SlidingWindow::new(limit, Duration::from_secs(32)).unwrap())
    }

    #[test]
    fn what_is_alone_in_its_slice_leaves_to_the_microsecond() {
        let limit = per_32_seconds(2);
        let (one, _) = limit.charge(None, hit(1, 100 * SECOND + 1));
        let (two, decision) = limit.charge(one.as_ref(), hit(1, 110 * SECOND));
        assert_eq!((decision.remaining, decision.reset_after), (0, Duration::from_secs(32)));
        let denied = limit.peek(two.as_ref(), hit(1, 132 * SECOND));
        assert_eq!(denied.retry_after, Some(Duration::from_micros(1)));
        assert!(limit.peek(two.as_ref(), hit(1, 132 * SECOND + 1)).allowed);
    }

    #[test]
    fn what_shares_a_slice_leaves_with_the_last_of_it() {
        let limit = per_32_seconds(2);
        let (one, _) = limit.charge(None, hit(1, 100 * SECOND));
        let (two, _) = limit.charge(one.as_ref(), hit(1, 101 * SECOND - 1));
        let Some(State::Sliding(log)) = &two else { panic!("{two:?}") };
        assert_eq!(log.entries, [Entry { at_us: 101 * SECOND - 1, cost: 2 }]);
        assert!(!limit.peek(two.as_ref(), hit(1, 133 * SECOND - 2)).allowed);
        assert_eq!(limit.peek(two.as_ref(), hit(1, 133 * SECOND - 1)).remaining, 2);
    }

    #[test]
    fn the_log_stays_short() {
        let limit = per_32_seconds(1_000_000);
        let (mut state, mut longest) = (None, 0);
        for step in 0..1_000 {
            state = limit.charge(state.as_ref(), hit(1, step * SECOND / 7)).0;
            let Some(State::Sliding(log)) = &state else { panic!("{state:?}") };
            longest = longest.max(log.entries.len());
        }
        assert_eq!(longest, 33);
    }

    #[test]
    fn a_cost_goes_back_to_the_slice_it_was_charged_to() {
        let limit = per_32_seconds(9);
        let charged = hit(2, 100 * SECOND);
        let (one, decision) = limit.charge(None, charged);
        let (two, _) = limit.charge(one.as_ref(), hit(3, 100 * SECOND + 5));
        let (three, _) = limit.charge(two.as_ref(), hit(4, 110 * SECOND));
        let back = limit.give_back(three.as_ref(), charged, &decision, 111 * SECOND);
        assert_eq!(limit.peek(back.as_ref(), hit(1, 111 * SECOND)).remaining, 2);
        assert_eq!(limit.give_back(three.as_ref(), charged, &decision, 133 * SECOND), None);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limit = per_32_seconds(2);
        let (full, _) = limit.charge(None, hit(1, 100 * SECOND));
        let (full, _) = limit.charge(full.as_ref(), hit(1, 50 * SECOND));
        let denied = limit.peek(full.as_ref(), hit(1, 60 * SECOND));
        assert_eq!(denied.retry_after, Some(Duration::from_secs(72)));
    }
}
