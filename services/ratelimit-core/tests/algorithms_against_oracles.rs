//! Each algorithm against a brute-force oracle that knows every request ever admitted, and no state.
// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratelimit_core::{
    Algorithm, Decision, Hit, State,
    algorithm::{
        CalendarPeriod, Concurrency, FixedWindow, LeakyBucket, Quota, SLICES, SlidingWindow, TokenBucket,
    },
};

const START_US: u64 = 1_700_000_000_000_000;
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

#[derive(Debug, Clone, Copy)]
struct Admitted {
    /// Names its slots.
    number: usize,
    at_us: u64,
    cost: u64,
    decision: Decision,
}

/// What an algorithm must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    /// Both keep the promise.
    Either,
}

fn exactly(allow: bool) -> Verdict {
    if allow { Verdict::Allow } else { Verdict::Deny }
}

/// What happens, after a pause.
#[derive(Debug, Clone, Copy)]
enum Step {
    Request {
        pause_us: u64,
        cost: u64,
    },
    /// A request that takes tokens in advance as well.
    Lease {
        pause_us: u64,
        cost: u64,
        wanted: u64,
    },
    /// One of the tokens taken in advance is spent, if any are good.
    Spend {
        pause_us: u64,
    },
    GiveBack {
        pause_us: u64,
        which: prop::sample::Index,
    },
}

struct Run {
    algorithm: Algorithm,
    now_us: u64,
    state: Option<State>,
    log: Vec<Admitted>,
    requests: usize,
    /// Tokens in hand, and until when they are good.
    leased: Vec<(u64, u64)>,
}

impl Run {
    /// Runs steps through an algorithm and asks the oracle about each. A denied request is tried again just before it
    /// may and just when it may.
    fn through(algorithm: Algorithm, steps: &[Step], oracle: impl Fn(&[Admitted], u64, u64) -> Verdict) {
        let mut run = Self {
            algorithm,
            now_us: START_US,
            state: None,
            log: Vec::new(),
            requests: 0,
            leased: Vec::new(),
        };
        for step in steps {
            match *step {
                Step::Request { pause_us, cost } => run.request(pause_us, cost, &oracle),
                Step::GiveBack { pause_us, which } => run.give_back(pause_us, which),
                Step::Lease { pause_us, cost, wanted } => run.lease(pause_us, cost, wanted, &oracle),
                Step::Spend { pause_us } => run.spend(pause_us, &oracle),
            }
        }
    }

    fn request(&mut self, pause_us: u64, cost: u64, oracle: impl Fn(&[Admitted], u64, u64) -> Verdict) {
        self.now_us += pause_us;
        let verdict = oracle(&self.log, self.now_us, cost);
        self.requests += 1;
        let name = self.requests.to_string();
        let (next, decision) = self.algorithm.charge(self.state.as_ref(), hit(&name, cost, self.now_us));
        let said = exactly(decision.allowed);
        assert!(
            verdict == Verdict::Either || said == verdict,
            "cost {cost} at {}: {said:?}, and not {verdict:?} after {:?}",
            self.now_us,
            self.log
        );
        assert_eq!(next.is_some(), decision.allowed);
        if decision.allowed {
            self.state = next;
            self.log.push(Admitted { number: self.requests, at_us: self.now_us, cost, decision });
        } else {
            self.retries(cost, &decision);
        }
    }

    fn retries(&self, cost: u64, denied: &Decision) {
        let Some(retry_after) = denied.retry_after else {
            assert!(cost > self.algorithm.capacity());
            return;
        };
        let wait_us = u64::try_from(retry_after.as_micros()).unwrap();
        assert!(wait_us > 0);
        let peek = |now_us| self.algorithm.peek(self.state.as_ref(), hit("", cost, now_us)).allowed;
        assert!(!peek(self.now_us + wait_us - 1), "retry_after is too long");
        assert!(peek(self.now_us + wait_us), "retry_after is too short");
    }

    fn lease(
        &mut self,
        pause_us: u64,
        cost: u64,
        wanted: u64,
        oracle: impl Fn(&[Admitted], u64, u64) -> Verdict,
    ) {
        self.now_us += pause_us;
        let hit = hit("", cost, self.now_us);
        let (next, decision, lease) = self.algorithm.charge_and_lease(self.state.as_ref(), hit, wanted);
        if decision.allowed {
            assert_ne!(oracle(&self.log, self.now_us, cost), Verdict::Deny);
            self.log.push(Admitted { number: 0, at_us: self.now_us, cost, decision });
        }
        self.state = next.or(self.state.take());
        self.leased.extend(
            lease.map(|it| (it.tokens, self.now_us + u64::try_from(it.good_for.as_micros()).unwrap())),
        );
    }

    fn spend(&mut self, pause_us: u64, oracle: impl Fn(&[Admitted], u64, u64) -> Verdict) {
        self.now_us += pause_us;
        self.leased.retain(|(tokens, until_us)| *tokens > 0 && self.now_us < *until_us);
        let Some((tokens, _)) = self.leased.first_mut() else { return };
        *tokens -= 1;
        assert_ne!(oracle(&self.log, self.now_us, 1), Verdict::Deny, "a leased token is one too many");
        let decision = self.algorithm.peek(self.state.as_ref(), hit("", 0, self.now_us));
        self.log.push(Admitted { number: 0, at_us: self.now_us, cost: 1, decision });
    }

    fn give_back(&mut self, pause_us: u64, which: prop::sample::Index) {
        self.now_us += pause_us;
        if self.log.is_empty() {
            return;
        }
        let admitted = self.log.remove(which.index(self.log.len()));
        let name = admitted.number.to_string();
        let charged = hit(&name, admitted.cost, admitted.at_us);
        let next = self.algorithm.give_back(self.state.as_ref(), charged, &admitted.decision, self.now_us);
        self.state = next.or(self.state.take());
    }
}

fn hit(slot: &str, cost: u64, now_us: u64) -> Hit<'_> {
    Hit { cost, slot, now_us }
}

fn window_has_room(limit: u64, period_us: u64, log: &[Admitted], now_us: u64, cost: u64) -> bool {
    let (mut opened, mut used) = (None, 0);
    for admitted in log {
        if opened.is_none_or(|opened| admitted.at_us >= opened + period_us) {
            (opened, used) = (Some(admitted.at_us), 0);
        }
        used += admitted.cost;
    }
    let open = opened.is_some_and(|opened| now_us < opened + period_us);
    cost + if open { used } else { 0 } <= limit
}

/// What was admitted in the period until now, must have room; what is up to a slice older may be in the way.
fn interval_has_room(
    window: &SlidingWindow,
    limit: u64,
    log: &[Admitted],
    now_us: u64,
    cost: u64,
) -> Verdict {
    let period_us = u64::try_from(window.period().as_micros()).unwrap();
    let used_within =
        |length_us| -> u64 { log.iter().filter(|it| it.at_us + length_us > now_us).map(|it| it.cost).sum() };
    if used_within(period_us) + cost > limit {
        Verdict::Deny
    } else if used_within(period_us + window.slice_us()) + cost <= limit {
        Verdict::Allow
    } else {
        Verdict::Either
    }
}

/// A token bucket admits just what keeps every interval that ends now at or below burst + rate x length.
fn every_interval_has_room(
    bucket: &TokenBucket,
    limit: u64,
    log: &[Admitted],
    now_us: u64,
    cost: u64,
) -> bool {
    let period_us = bucket.period().as_micros();
    let fits = |since_us: u64, spent: u64| {
        let allowed =
            u128::from(bucket.burst()) * period_us + u128::from(limit) * u128::from(now_us - since_us);
        u128::from(spent) * period_us <= allowed
    };
    let mut spent = cost;
    fits(now_us, spent)
        && log.iter().rev().all(|admitted| {
            spent += admitted.cost;
            fits(admitted.at_us, spent)
        })
}

/// What was given back may not be whole again yet, since what has been refilled counts as given back.
fn at_most_every_interval(
    bucket: &TokenBucket,
    limit: u64,
    log: &[Admitted],
    now_us: u64,
    cost: u64,
) -> Verdict {
    let has_room = every_interval_has_room(bucket, limit, log, now_us, cost);
    if has_room { Verdict::Either } else { Verdict::Deny }
}

fn same_day_has_room(limit: u64, log: &[Admitted], now_us: u64, cost: u64) -> bool {
    let today = log.iter().filter(|it| it.at_us / DAY_US == now_us / DAY_US);
    today.map(|it| it.cost).sum::<u64>() + cost <= limit
}

fn slots_are_free(limit: u64, period_us: u64, log: &[Admitted], now_us: u64, cost: u64) -> bool {
    let held = log.iter().filter(|it| now_us < it.at_us + period_us);
    held.map(|it| it.cost).sum::<u64>() + cost <= limit
}

/// Pauses from nothing to some periods, and often just around what matters.
fn pauses(period_us: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(0),
        4 => 0..=period_us / 4,
        2 => 0..=period_us / 16,
        1 => period_us - 1..=period_us + 1,
        1 => 0..=period_us * 3,
    ]
}

fn requests(period_us: u64, cost_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let request =
        (pauses(period_us), 1..=cost_max).prop_map(|(pause_us, cost)| Step::Request { pause_us, cost });
    prop::collection::vec(request, 1..120)
}

fn requests_and_returns(period_us: u64, cost_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let request =
        (pauses(period_us), 1..=cost_max).prop_map(|(pause_us, cost)| Step::Request { pause_us, cost });
    let give_back = (pauses(period_us), any::<prop::sample::Index>())
        .prop_map(|(pause_us, which)| Step::GiveBack { pause_us, which });
    prop::collection::vec(prop_oneof![3 => request, 1 => give_back], 1..120)
}

fn leases(period_us: u64, cost_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let lease = (pauses(period_us), 1..=cost_max, 1..50_u64)
        .prop_map(|(pause_us, cost, wanted)| Step::Lease { pause_us, cost, wanted });
    let spend = pauses(period_us / 8).prop_map(|pause_us| Step::Spend { pause_us });
    prop::collection::vec(prop_oneof![1 => lease, 3 => spend], 1..200)
}

fn schedules_with_leases() -> impl Strategy<Value = (u64, u64, Vec<Step>)> {
    (4_u64..80, 1_000_u64..5_000_000)
        .prop_flat_map(|(limit, period)| (Just(limit), Just(period), leases(period, limit / 4 + 1)))
}

/// Limit and period, and what goes on.
fn schedules() -> impl Strategy<Value = (u64, u64, Vec<Step>)> {
    (1_u64..20, 1_000_u64..5_000_000)
        .prop_flat_map(|(limit, period)| (Just(limit), Just(period), requests(period, limit + 1)))
}

fn schedules_with_returns() -> impl Strategy<Value = (u64, u64, Vec<Step>)> {
    (1_u64..20, 1_000_u64..5_000_000)
        .prop_flat_map(|(limit, period)| (Just(limit), Just(period), requests_and_returns(period, limit + 1)))
}

fn token_buckets(returns: bool) -> impl Strategy<Value = (u64, TokenBucket, Vec<Step>)> {
    (1_u64..50, 1_000_u64..5_000_000, 1_u64..20).prop_flat_map(move |(limit, period, burst)| {
        let bucket = TokenBucket::new(limit, Duration::from_micros(period), burst).unwrap();
        let steps = if returns {
            requests_and_returns(period, burst + 1).boxed()
        } else {
            requests(period, burst + 1).boxed()
        };
        (Just(limit), Just(bucket), steps)
    })
}

proptest! {
    #[test]
    fn a_fixed_window_admits_exactly_what_its_windows_hold((limit, period_us, steps) in schedules()) {
        let window = FixedWindow::new(limit, Duration::from_micros(period_us)).unwrap();
        Run::through(Algorithm::FixedWindow(window), &steps, |log, now_us, cost| {
            exactly(window_has_room(limit, period_us, log, now_us, cost))
        });
    }

    #[test]
    fn a_sliding_window_never_admits_more_in_any_interval((limit, period_us, steps) in schedules_with_returns()) {
        let window = SlidingWindow::new(limit, Duration::from_micros(period_us)).unwrap();
        prop_assert!(window.slice_us() <= period_us / SLICES + 1);
        Run::through(Algorithm::SlidingWindow(window), &steps, |log, now_us, cost| {
            interval_has_room(&window, limit, log, now_us, cost)
        });
    }

    #[test]
    fn a_token_bucket_admits_exactly_what_every_interval_holds((limit, bucket, steps) in token_buckets(false)) {
        Run::through(Algorithm::TokenBucket(bucket), &steps, |log, now_us, cost| {
            exactly(every_interval_has_room(&bucket, limit, log, now_us, cost))
        });
    }

    #[test]
    fn what_a_token_bucket_got_back_never_lets_more_pass((limit, bucket, steps) in token_buckets(true)) {
        Run::through(Algorithm::TokenBucket(bucket), &steps, |log, now_us, cost| {
            at_most_every_interval(&bucket, limit, log, now_us, cost)
        });
    }

    #[test]
    fn a_leaky_bucket_spaces_calls_evenly((limit, period_us, steps) in schedules()) {
        let bucket = LeakyBucket::new(limit, Duration::from_micros(period_us)).unwrap();
        Run::through(Algorithm::LeakyBucket(bucket), &steps, |log, now_us, cost| {
            let spaced = log.last().is_none_or(|last| (now_us - last.at_us) * limit >= period_us);
            exactly(cost == 1 && spaced)
        });
    }

    #[test]
    fn a_quota_admits_exactly_so_much_each_day(limit in 1_u64..20, steps in requests_and_returns(DAY_US, 21)) {
        let quota = Quota::new(limit, CalendarPeriod::Day, TimeZone::UTC).unwrap();
        Run::through(Algorithm::Quota(quota), &steps, |log, now_us, cost| {
            exactly(same_day_has_room(limit, log, now_us, cost))
        });
    }

    #[test]
    fn leased_tokens_never_are_too_many_in_a_sliding_window((limit, period_us, steps) in schedules_with_leases()) {
        let window = SlidingWindow::new(limit, Duration::from_micros(period_us)).unwrap();
        Run::through(Algorithm::SlidingWindow(window), &steps, |log, now_us, cost| {
            interval_has_room(&window, limit, log, now_us, cost)
        });
    }

    #[test]
    fn leased_tokens_never_are_too_many_in_a_token_bucket(
        (limit, period_us, steps) in schedules_with_leases(),
        burst in 4_u64..60,
    ) {
        let bucket = TokenBucket::new(limit, Duration::from_micros(period_us), burst).unwrap();
        Run::through(Algorithm::TokenBucket(bucket), &steps, |log, now_us, cost| {
            at_most_every_interval(&bucket, limit, log, now_us, cost)
        });
    }

    #[test]
    fn leased_tokens_never_are_too_many_in_a_day(limit in 4_u64..80, steps in leases(DAY_US, 20)) {
        let quota = Quota::new(limit, CalendarPeriod::Day, TimeZone::UTC).unwrap();
        Run::through(Algorithm::Quota(quota), &steps, |log, now_us, cost| {
            if same_day_has_room(limit, log, now_us, cost) { Verdict::Either } else { Verdict::Deny }
        });
    }

    #[test]
    fn slots_are_held_by_so_many_at_a_time((limit, period_us, steps) in schedules_with_returns()) {
        let slots = Concurrency::new(limit, Duration::from_micros(period_us)).unwrap();
        Run::through(Algorithm::Concurrency(slots), &steps, |log, now_us, cost| {
            exactly(slots_are_free(limit, period_us, log, now_us, cost))
        });
    }
}
