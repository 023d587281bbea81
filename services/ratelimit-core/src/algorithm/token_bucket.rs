//! Token bucket: a burst at once, then a steady rate.
//!
//! Turner, "New directions in communications", 1986. Kept as a debt rather than as tokens, so that no state is a full
//! bucket, and in units of 1/`per` of a token, so that a microsecond's refill is a whole number.

use std::time::Duration;

use super::{
    Decision, EXACT_MAX, Hit, InvalidParameters, LIMIT_MAX, State, meter::Meter, period_us, validate_limit,
};

/// Holds up to `burst` tokens, is full at first, and is refilled at `limit` per `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    limit: u64,
    period_us: u64,
    burst: u64,
    // limit / period_us in lowest terms, which keeps the products small.
    refill: u64,
    per: u64,
}

/// What a token bucket remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// What is missing until it is full, in units of 1/[`TokenBucket::per`] of a token.
    pub debt: u64,
    /// When that much was missing, in microseconds.
    pub at_us: u64,
}

impl TokenBucket {
    /// `limit` and `burst` from 1 to [`LIMIT_MAX`], and such that all products stay below [`EXACT_MAX`].
    pub fn new(limit: u64, period: Duration, burst: u64) -> Result<Self, InvalidParameters> {
        let period_us = period_us(period)?;
        validate_limit(limit, 1, LIMIT_MAX)?;
        if !(1..=LIMIT_MAX).contains(&burst) {
            return Err(InvalidParameters::Burst);
        }
        let divisor = greatest_common_divisor(limit, period_us);
        let (refill, per) = (limit / divisor, period_us / divisor);
        if burst.checked_mul(per).is_none_or(|capacity| capacity > EXACT_MAX) {
            return Err(InvalidParameters::Inexact);
        }
        Ok(Self { limit, period_us, burst, refill, per })
    }

    /// The time that the limit is for.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us)
    }

    /// Tokens that a full bucket holds.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Units of debt that a microsecond takes away.
    pub fn refill(&self) -> u64 {
        self.refill
    }

    /// Units of debt in a token.
    pub fn per(&self) -> u64 {
        self.per
    }

    /// How long that much debt takes to go, in microseconds, rounded up: a moment earlier it would not be gone.
    fn time_for(&self, debt: u64) -> u64 {
        debt.div_ceil(self.refill)
    }
}

impl Meter for TokenBucket {
    type Memory = Bucket;

    fn memory(state: &State) -> Option<&Bucket> {
        if let State::Bucket(bucket) = state { Some(bucket) } else { None }
    }

    fn state(bucket: Bucket) -> State {
        State::Bucket(bucket)
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn capacity(&self) -> u64 {
        self.burst
    }

    fn current(&self, bucket: Option<&Bucket>, now_us: u64) -> Bucket {
        let Some(bucket) = bucket.filter(|bucket| bucket.debt > 0) else {
            return Bucket { debt: 0, at_us: now_us };
        };
        let elapsed = now_us.saturating_sub(bucket.at_us);
        // Compared before it is multiplied: after a long time the product would not be exact.
        let debt =
            if elapsed >= self.time_for(bucket.debt) { 0 } else { bucket.debt - elapsed * self.refill };
        Bucket { debt, at_us: now_us.max(bucket.at_us) }
    }

    fn remaining(&self, bucket: &Bucket) -> u64 {
        (self.burst * self.per).saturating_sub(bucket.debt) / self.per
    }

    fn add(&self, bucket: &mut Bucket, hit: Hit<'_>) {
        bucket.debt += hit.cost * self.per;
    }

    /// What has been refilled since the charge is back already. Were it given back too, more than the burst could pass
    /// at once.
    fn subtract(&self, bucket: &mut Bucket, charged: Hit<'_>, _: &Decision, now_us: u64) -> bool {
        let cost = charged.cost * self.per;
        let elapsed = now_us.saturating_sub(charged.now_us);
        let owed = if elapsed >= self.time_for(cost) { 0 } else { cost - elapsed * self.refill };
        let back = owed.min(bucket.debt);
        bucket.debt -= back;
        back > 0
    }

    fn leases_until_us(&self, before: &Bucket, _: &Bucket, now_us: u64) -> u64 {
        now_us.saturating_add(before.debt / self.refill)
    }

    fn expires_us(&self, bucket: &Bucket) -> u64 {
        if bucket.debt > 0 { bucket.at_us.saturating_add(self.time_for(bucket.debt)) } else { 0 }
    }

    fn has_room_us(&self, bucket: &Bucket, cost: u64) -> u64 {
        let excess = (bucket.debt + cost * self.per).saturating_sub(self.burst * self.per);
        bucket.at_us.saturating_add(self.time_for(excess))
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Algorithm, tests::hit};

    const SECOND: u64 = 1_000_000;

    fn ten_per_second(burst: u64) -> Algorithm {
        Algorithm::TokenBucket(TokenBucket::new(10, Duration::from_secs(1), burst).unwrap())
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_the_rate() {
        let limit = ten_per_second(3);
        let (bucket, decision) = limit.charge(None, hit(3, SECOND));
        assert_eq!((decision.remaining, decision.reset_after), (0, Duration::from_millis(300)));
        let (denied, decision) = limit.charge(bucket.as_ref(), hit(1, SECOND));
        assert_eq!((denied, decision.retry_after), (None, Some(Duration::from_millis(100))));
        assert!(!limit.peek(bucket.as_ref(), hit(1, SECOND + 99_999)).allowed);
        assert!(limit.peek(bucket.as_ref(), hit(1, SECOND + 100_000)).allowed);
    }

    #[test]
    fn a_long_pause_fills_the_bucket_no_further_than_its_burst() {
        let limit = ten_per_second(10);
        let (bucket, _) = limit.charge(None, hit(7, SECOND));
        let later = SECOND * 86_400 * 365 * 50;
        let (bucket, decision) = limit.charge(bucket.as_ref(), hit(10, later));
        assert_eq!((decision.allowed, decision.remaining), (true, 0));
        assert!(!limit.peek(bucket.as_ref(), hit(1, later)).allowed);
    }

    #[test]
    fn a_cost_above_the_burst_is_never_told_to_retry() {
        let decision = ten_per_second(3).peek(None, hit(u64::MAX, SECOND));
        assert_eq!((decision.allowed, decision.retry_after), (false, None));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let limit = ten_per_second(3);
        let (bucket, _) = limit.charge(None, hit(3, 50 * SECOND));
        let denied = limit.peek(bucket.as_ref(), hit(1, 20 * SECOND));
        assert_eq!(denied.retry_after, Some(Duration::from_millis(30_100)));
        assert!(!limit.peek(bucket.as_ref(), hit(1, 50 * SECOND + 99_999)).allowed);
        assert!(limit.peek(bucket.as_ref(), hit(1, 50 * SECOND + 100_000)).allowed);
    }

    #[test]
    fn what_was_refilled_since_is_not_given_back_again() {
        let limit = ten_per_second(10);
        let charged = hit(10, SECOND);
        let (empty, decision) = limit.charge(None, charged);
        let (again, _) = limit.charge(empty.as_ref(), hit(5, SECOND + 500_000));
        let back = limit.give_back(again.as_ref(), charged, &decision, SECOND + 500_000);
        assert_eq!(limit.peek(back.as_ref(), hit(1, SECOND + 500_000)).remaining, 5);
        assert_eq!(limit.give_back(again.as_ref(), charged, &decision, 2 * SECOND), None);
        let at_once = limit.give_back(empty.as_ref(), charged, &decision, SECOND + 1);
        assert_eq!(limit.peek(at_once.as_ref(), hit(1, SECOND + 1)).remaining, 10);
    }

    #[test]
    fn numbers_that_would_not_stay_exact_are_refused() {
        let day = Duration::from_secs(86_400);
        assert!(TokenBucket::new(1_000_000, day, 1_000_000).is_ok());
        assert_eq!(TokenBucket::new(999_983, day, 999_983), Err(InvalidParameters::Inexact));
        assert_eq!(TokenBucket::new(0, day, 1), Err(InvalidParameters::Limit { min: 1, max: LIMIT_MAX }));
        assert_eq!(TokenBucket::new(1, day, 0), Err(InvalidParameters::Burst));
    }
}
