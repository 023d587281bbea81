//! Each algorithm against a brute-force oracle that knows every request ever admitted, and no state.
// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use ratelimit_core::{Algorithm, State, algorithm::FixedWindow, algorithm::TokenBucket};

#[derive(Debug, Clone, Copy)]
struct Admitted {
    at_us: u64,
    cost: u64,
}

/// Runs requests (pause before it, cost) through an algorithm and asks the oracle about each. A denied request is tried
/// again just before it may and just when it may.
fn run(algorithm: Algorithm, requests: &[(u64, u64)], oracle: impl Fn(&[Admitted], u64, u64) -> bool) {
    let (mut now_us, mut state, mut log) = (1_700_000_000_000_000, None::<State>, Vec::new());
    for &(pause_us, cost) in requests {
        now_us += pause_us;
        let expected = oracle(&log, now_us, cost);
        let (next, decision) = algorithm.charge(state, cost, now_us);
        assert_eq!(decision.allowed, expected, "cost {cost} at {now_us} after {log:?}");
        assert_eq!(next.is_some(), expected);
        if expected {
            state = next;
            log.push(Admitted { at_us: now_us, cost });
        } else if let Some(retry_after) = decision.retry_after {
            let wait_us = u64::try_from(retry_after.as_micros()).unwrap();
            assert!(wait_us > 0);
            assert!(!algorithm.peek(state, cost, now_us + wait_us - 1).allowed, "retry_after is too long");
            assert!(algorithm.peek(state, cost, now_us + wait_us).allowed, "retry_after is too short");
        } else {
            assert!(cost > algorithm.capacity());
        }
    }
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

/// A token bucket admits just what keeps every interval that ends now at or below burst + rate x length.
fn every_interval_has_room(bucket: &TokenBucket, log: &[Admitted], now_us: u64, cost: u64) -> bool {
    let period_us = bucket.period().as_micros();
    let fits = |since_us: u64, spent: u64| {
        let allowed = u128::from(bucket.burst()) * period_us
            + u128::from(bucket.limit()) * u128::from(now_us - since_us);
        u128::from(spent) * period_us <= allowed
    };
    let mut spent = cost;
    fits(now_us, spent)
        && log.iter().rev().all(|admitted| {
            spent += admitted.cost;
            fits(admitted.at_us, spent)
        })
}

/// Pauses from nothing to some periods, and often just around what matters.
fn requests(period_us: u64, cost_max: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![
        4 => Just(0),
        4 => 0..=period_us / 4,
        1 => period_us - 1..=period_us + 1,
        1 => 0..=period_us * 3,
    ];
    prop::collection::vec((pause, 1..=cost_max), 1..120)
}

fn fixed_windows() -> impl Strategy<Value = (u64, u64, Vec<(u64, u64)>)> {
    (1_u64..20, 1_000_u64..5_000_000)
        .prop_flat_map(|(limit, period)| (Just(limit), Just(period), requests(period, limit + 1)))
}

fn token_buckets() -> impl Strategy<Value = (u64, u64, u64, Vec<(u64, u64)>)> {
    (1_u64..50, 1_000_u64..5_000_000, 1_u64..20).prop_flat_map(|(limit, period, burst)| {
        (Just(limit), Just(period), Just(burst), requests(period, burst + 1))
    })
}

proptest! {
    #[test]
    fn a_fixed_window_admits_exactly_what_its_windows_hold((limit, period_us, requests) in fixed_windows()) {
        let window = FixedWindow::new(limit, Duration::from_micros(period_us)).unwrap();
        run(Algorithm::FixedWindow(window), &requests, |log, now_us, cost| {
            window_has_room(limit, period_us, log, now_us, cost)
        });
    }

    #[test]
    fn a_token_bucket_admits_exactly_what_every_interval_holds((limit, period_us, burst, requests) in token_buckets()) {
        let bucket = TokenBucket::new(limit, Duration::from_micros(period_us), burst).unwrap();
        run(Algorithm::TokenBucket(bucket), &requests, |log, now_us, cost| {
            every_interval_has_room(&bucket, log, now_us, cost)
        });
    }
}
