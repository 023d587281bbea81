//! Leaky bucket: an even flow.
//!
//! The generic cell rate algorithm (ITU-T I.371, 1993) with no tolerance, which is a token bucket that holds one token.

use std::time::Duration;

use super::{InvalidParameters, TokenBucket};

/// One call each `period` / `limit`, the first at once. A cost above 1 never passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeakyBucket(TokenBucket);

impl LeakyBucket {
    /// `limit` from 1 to [`LIMIT_MAX`](super::LIMIT_MAX).
    pub fn new(limit: u64, period: Duration) -> Result<Self, InvalidParameters> {
        TokenBucket::new(limit, period, 1).map(Self)
    }

    /// The time that the limit is for.
    pub fn period(&self) -> Duration {
        self.0.period()
    }

    /// The bucket that counts alike.
    pub fn as_token_bucket(&self) -> &TokenBucket {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Algorithm, tests::hit};

    #[test]
    fn calls_are_spaced_evenly() {
        let limit = Algorithm::LeakyBucket(LeakyBucket::new(3, Duration::from_secs(1)).unwrap());
        let (first, decision) = limit.charge(None, hit(1, 1_000_000));
        assert_eq!((decision.remaining, decision.reset_after), (0, Duration::from_micros(333_334)));
        assert!(!limit.peek(first.as_ref(), hit(1, 1_333_333)).allowed);
        let (second, _) = limit.charge(first.as_ref(), hit(1, 1_333_334));
        assert!(!limit.peek(second.as_ref(), hit(1, 1_666_667)).allowed);
        assert!(limit.peek(second.as_ref(), hit(1, 1_666_668)).allowed);
        assert_eq!((limit.limit(), limit.capacity()), (3, 1));
    }
}
