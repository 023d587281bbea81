//! Who is over a limit, and until when.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::{domain::Caller, ports::RateLimitDenial};

/// Longest that a denial is gone by, so that a reset or an edit of the rules is noticed.
const REMEMBERED_MAX: Duration = Duration::from_secs(60);
/// Most callers remembered. Of more, some are denied again with the next that they miss.
const CALLERS_MAX: u64 = 10_000;

/// A bounded memory of callers, that costs nothing to ask while it is empty.
pub(super) struct Denied {
    since: Instant,
    /// When the last of the denials ends, in milliseconds; 0 before there was one.
    last_end_ms: AtomicU64,
    callers: Cache<String, (RateLimitDenial, Instant)>,
}

impl Default for Denied {
    fn default() -> Self {
        let callers = Cache::builder().max_capacity(CALLERS_MAX).time_to_live(REMEMBERED_MAX).build();
        Self { since: Instant::now(), last_end_ms: AtomicU64::new(0), callers }
    }
}

impl Denied {
    /// Why the caller is denied, if it still is.
    pub(super) fn get(&self, caller: &Caller) -> Option<RateLimitDenial> {
        let last_end = self.last_end_ms.load(Ordering::Acquire);
        if last_end == 0 || self.ms_at(Instant::now()) > last_end {
            return None;
        }
        let (denial, until) = self.callers.get(&caller.limited_as())?;
        let left = until.saturating_duration_since(Instant::now());
        let gone_by = denial.retry_after.saturating_sub(left);
        let reset_after = denial.reset_after.saturating_sub(gone_by);
        (!left.is_zero()).then_some(RateLimitDenial { retry_after: left, reset_after, ..denial })
    }

    pub(super) fn remember(&self, caller: &Caller, denial: &RateLimitDenial) {
        let retry_after = denial.retry_after.min(REMEMBERED_MAX);
        let until = Instant::now() + retry_after;
        self.callers.insert(caller.limited_as(), (RateLimitDenial { retry_after, ..denial.clone() }, until));
        // After the entry, so that who sees the one finds the other.
        self.last_end_ms.fetch_max(self.ms_at(until) + 1, Ordering::Release);
    }

    fn ms_at(&self, time: Instant) -> u64 {
        u64::try_from(time.duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Identity;

    fn caller(address: &str) -> Caller {
        Caller { address: address.parse().unwrap(), identity: Identity::Anonymous }
    }

    fn denial(retry_after: Duration) -> RateLimitDenial {
        RateLimitDenial {
            rule: "missing".into(),
            retry_after,
            limit: 600,
            remaining: 0,
            reset_after: 2 * retry_after,
        }
    }

    #[test]
    fn a_caller_is_denied_until_its_time_is_over_and_nobody_else_is() {
        let denied = Denied::default();
        let (one, neighbour, other) =
            (caller("2001:db8::1"), caller("2001:db8::2"), caller("2001:db8:0:1::1"));
        assert_eq!(denied.get(&one), None);
        denied.remember(&one, &denial(Duration::from_secs(30)));
        for limited in [&one, &neighbour] {
            let told = denied.get(limited).unwrap();
            assert!(told.retry_after <= Duration::from_secs(30) && told.retry_after > Duration::ZERO);
            assert!(told.reset_after > told.retry_after);
        }
        assert_eq!(denied.get(&other), None);
        denied.remember(&one, &denial(Duration::ZERO));
        assert_eq!(denied.get(&one), None);
    }

    #[test]
    fn no_denial_is_gone_by_for_longer_than_a_minute() {
        let denied = Denied::default();
        let day = Duration::from_secs(24 * 60 * 60);
        denied.remember(&caller("192.0.2.1"), &denial(day));
        assert!(denied.get(&caller("192.0.2.1")).unwrap().retry_after <= REMEMBERED_MAX);
    }
}
