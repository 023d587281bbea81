//! Fixed window: so much per window, and the window opens with its first request.

use std::time::Duration;

use super::{InvalidParameters, LIMIT_MAX, period_us, validate_limit, window::Windows};

/// Up to `limit` in each window of `period`. A window opens with the first charge after the last one ended, so a subject's
/// windows are its own, and not everyone's end at once.
///
/// Cheap and easy to explain. What it does not promise: around the end of a window up to twice the limit passes in much
/// less than the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    limit: u64,
    period_us: u64,
}

impl FixedWindow {
    /// `limit` from 0 (which denies everything) to [`LIMIT_MAX`].
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidParameters> {
        validate_limit(limit, 0, LIMIT_MAX)?;
        Ok(Self { limit, period_us: period_us(period)? })
    }

    /// How long a window lasts.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }
}

impl Windows for FixedWindow {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn ends_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add(self.period_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Algorithm, State, Window, tests::hit};

    const SECOND: u64 = 1_000_000;

    fn per_ten_seconds(limit: u64) -> Algorithm {
        Algorithm::FixedWindow(FixedWindow::new(limit, Duration::from_secs(10)).unwrap())
    }

    #[test]
    fn a_window_opens_with_its_first_request_and_lasts_the_period() {
        let limit = per_ten_seconds(2);
        let (first, decision) = limit.charge(None, hit(2, 5 * SECOND));
        assert_eq!((decision.remaining, decision.reset_after), (0, Duration::from_secs(10)));
        let (denied, decision) = limit.charge(first.as_ref(), hit(1, 15 * SECOND - 1));
        assert_eq!((denied, decision.retry_after), (None, Some(Duration::from_micros(1))));
        let (second, decision) = limit.charge(first.as_ref(), hit(1, 15 * SECOND));
        assert!(decision.allowed);
        assert_eq!(second, Some(State::Window(Window { used: 1, ends_us: 25 * SECOND })));
    }

    #[test]
    fn a_peek_before_anything_was_charged_finds_it_whole() {
        let decision = per_ten_seconds(2).peek(None, hit(1, SECOND));
        assert_eq!((decision.allowed, decision.remaining, decision.reset_after), (true, 2, Duration::ZERO));
    }

    #[test]
    fn a_cost_above_the_limit_is_never_told_to_retry() {
        let decision = per_ten_seconds(2).peek(None, hit(3, SECOND));
        assert_eq!((decision.allowed, decision.retry_after), (false, None));
        assert!(!per_ten_seconds(2).peek(None, hit(u64::MAX, SECOND)).allowed);
    }

    #[test]
    fn a_limit_of_zero_denies() {
        let decision = per_ten_seconds(0).peek(None, hit(1, SECOND));
        assert_eq!((decision.allowed, decision.retry_after), (false, Some(Duration::from_secs(10))));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limit = per_ten_seconds(2);
        let (window, _) = limit.charge(None, hit(2, 50 * SECOND));
        let decision = limit.peek(window.as_ref(), hit(1, 20 * SECOND));
        assert_eq!((decision.allowed, decision.retry_after), (false, Some(Duration::from_secs(40))));
    }

    #[test]
    fn only_the_window_that_was_charged_gets_its_cost_back() {
        let limit = per_ten_seconds(5);
        let charged = hit(2, SECOND);
        let (first, decision) = limit.charge(None, charged);
        let back = limit.give_back(first.as_ref(), charged, &decision, 2 * SECOND);
        assert_eq!(back, Some(State::Window(Window { used: 0, ends_us: 11 * SECOND })));
        let (second, _) = limit.charge(first.as_ref(), hit(3, 20 * SECOND));
        assert_eq!(limit.give_back(second.as_ref(), charged, &decision, 21 * SECOND), None);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        assert_eq!(
            FixedWindow::new(LIMIT_MAX + 1, Duration::from_secs(1)),
            Err(InvalidParameters::Limit { min: 0, max: LIMIT_MAX })
        );
        assert_eq!(FixedWindow::new(1, Duration::from_nanos(1_000_001)), Err(InvalidParameters::Period));
        assert_eq!(FixedWindow::new(1, Duration::from_micros(999)), Err(InvalidParameters::Period));
        assert_eq!(FixedWindow::new(1, Duration::MAX), Err(InvalidParameters::Period));
    }
}
