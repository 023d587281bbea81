//! Fixed window: so much per window, and the window opens with its first request.

use std::time::Duration;

use super::{Decision, InvalidParameters, LIMIT_MAX, period_us};

/// Up to `limit` in each window of `period`. A window opens with the first charge after the last one ended, so a subject's
/// windows are its own, and not everyone's end at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    limit: u64,
    period_us: u64,
}

/// What a fixed window remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Charged since it opened.
    pub used: u64,
    /// When it opened, in microseconds.
    pub opened_us: u64,
}

impl FixedWindow {
    /// `limit` from 0 (which denies everything) to [`LIMIT_MAX`].
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidParameters> {
        let period_us = period_us(period)?;
        if limit > LIMIT_MAX {
            Err(InvalidParameters::Limit { min: 0 })
        } else {
            Ok(Self { limit, period_us })
        }
    }

    /// What passes in a window.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How long a window lasts.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }

    /// Whether `cost` could pass now.
    pub fn peek(&self, window: Option<Window>, cost: u64, now_us: u64) -> Decision {
        let window = self.current(window, now_us);
        let allowed = cost <= self.limit.saturating_sub(window.used);
        self.describe(window, allowed, cost, now_us)
    }

    /// Charges `cost` if there is room.
    pub fn charge(&self, window: Option<Window>, cost: u64, now_us: u64) -> (Option<Window>, Decision) {
        let decision = self.peek(window, cost, now_us);
        if !decision.allowed {
            return (None, decision);
        }
        let current = self.current(window, now_us);
        let charged = Window { used: current.used + cost, ..current };
        (Some(charged), self.describe(charged, true, cost, now_us))
    }

    /// When the window ends, in microseconds: from then on it says nothing that no window would not.
    pub fn ends_us(&self, window: Window) -> u64 {
        window.opened_us.saturating_add(self.period_us)
    }

    fn current(&self, window: Option<Window>, now_us: u64) -> Window {
        window
            .filter(|window| now_us < self.ends_us(*window))
            .unwrap_or(Window { used: 0, opened_us: now_us })
    }

    fn describe(&self, window: Window, allowed: bool, cost: u64, now_us: u64) -> Decision {
        let ends_in = Duration::from_micros(self.ends_us(window) - now_us.max(window.opened_us));
        let can_pass = cost <= self.limit || self.limit == 0;
        Decision {
            allowed,
            remaining: self.limit.saturating_sub(window.used),
            reset_after: if window.used > 0 { ends_in } else { Duration::ZERO },
            retry_after: (!allowed && can_pass).then_some(ends_in),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_window_opens_with_its_first_request_and_lasts_the_period() {
        let limit = FixedWindow::new(2, Duration::from_secs(10)).unwrap();
        let (first, decision) = limit.charge(None, 2, 5 * SECOND);
        assert_eq!((decision.remaining, decision.reset_after), (0, Duration::from_secs(10)));
        let (denied, decision) = limit.charge(first, 1, 15 * SECOND - 1);
        assert_eq!((denied, decision.retry_after), (None, Some(Duration::from_micros(1))));
        let (second, decision) = limit.charge(first, 1, 15 * SECOND);
        assert!(decision.allowed);
        assert_eq!(second, Some(Window { used: 1, opened_us: 15 * SECOND }));
    }

    #[test]
    fn a_peek_before_anything_was_charged_finds_it_whole() {
        let limit = FixedWindow::new(2, Duration::from_secs(10)).unwrap();
        let decision = limit.peek(None, 1, SECOND);
        assert_eq!((decision.allowed, decision.remaining, decision.reset_after), (true, 2, Duration::ZERO));
    }

    #[test]
    fn a_cost_above_the_limit_is_never_told_to_retry() {
        let limit = FixedWindow::new(2, Duration::from_secs(10)).unwrap();
        let decision = limit.peek(None, 3, SECOND);
        assert_eq!((decision.allowed, decision.retry_after), (false, None));
        assert!(!limit.peek(None, u64::MAX, SECOND).allowed);
    }

    #[test]
    fn a_limit_of_zero_denies() {
        let limit = FixedWindow::new(0, Duration::from_secs(10)).unwrap();
        let decision = limit.peek(None, 1, SECOND);
        assert_eq!((decision.allowed, decision.retry_after), (false, Some(Duration::from_secs(10))));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limit = FixedWindow::new(2, Duration::from_secs(10)).unwrap();
        let (window, _) = limit.charge(None, 2, 50 * SECOND);
        let decision = limit.peek(window, 1, 20 * SECOND);
        assert_eq!((decision.allowed, decision.retry_after), (false, Some(Duration::from_secs(10))));
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        assert_eq!(
            FixedWindow::new(LIMIT_MAX + 1, Duration::from_secs(1)),
            Err(InvalidParameters::Limit { min: 0 })
        );
        assert_eq!(FixedWindow::new(1, Duration::from_nanos(1_000_001)), Err(InvalidParameters::Period));
        assert_eq!(FixedWindow::new(1, Duration::from_micros(999)), Err(InvalidParameters::Period));
        assert_eq!(FixedWindow::new(1, Duration::MAX), Err(InvalidParameters::Period));
    }
}
