//! The Redis script against the pure core: the same charges at the same moments, the same decisions and states.
//!
//! The service's own store asks Redis for the time, so a test can't choose the microsecond. Where that is the point, the
//! script is run with the time put in place of that question.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use ratelimit::stores::{CounterCharge, RedisCounters};
use ratelimit_core::{
    Algorithm, Charge, Decision, State,
    algorithm::{Bucket, EXACT_MAX, FixedWindow, LIMIT_MAX, TokenBucket, Window},
    charge_all,
};
use redis::aio::MultiplexedConnection;
use support::{charge, redis_counters};

/// A request of a schedule: charges by number of limit, with cost and shadow; and whether it only looks.
#[derive(Debug, Clone)]
struct Step {
    charges: Vec<(usize, u64, bool)>,
    peek: bool,
}

/// Limits so short that windows end and buckets fill while a schedule runs.
fn short_limit() -> impl Strategy<Value = Algorithm> {
    let period = (1_000_u64..20_000).prop_map(Duration::from_micros);
    (any::<bool>(), 0..6_u64, period, 1..6_u64).prop_map(|(window, limit, period, burst)| {
        if window {
            Algorithm::FixedWindow(FixedWindow::new(limit, period).unwrap())
        } else {
            Algorithm::TokenBucket(TokenBucket::new(limit.max(1), period, burst).unwrap())
        }
    })
}

fn step(limits: usize) -> impl Strategy<Value = Step> {
    let charge = (1..4_u64, prop::bool::weighted(0.2));
    let charges = prop::collection::btree_map(0..limits, charge, 1..=limits);
    (charges, prop::bool::weighted(0.2)).prop_map(|(charges, peek)| {
        let charges = charges.into_iter().map(|(limit, (cost, shadow))| (limit, cost, shadow)).collect();
        Step { charges, peek }
    })
}

fn schedule() -> impl Strategy<Value = (Vec<Algorithm>, Vec<Step>)> {
    prop::collection::vec(short_limit(), 1..5)
        .prop_flat_map(|limits| (Just(limits.clone()), prop::collection::vec(step(limits.len()), 1..60)))
}

/// Any limit that there may be, the largest included.
fn any_limit() -> impl Strategy<Value = Algorithm> {
    let period = prop_oneof![
        1_000_u64..1_000_000,
        1_000_u64..31_622_400_000_000,
        (1_u64..366).prop_map(|days| days * 86_400_000_000),
    ];
    let number = || prop_oneof![1..100_u64, 1..=LIMIT_MAX, Just(LIMIT_MAX)];
    (any::<bool>(), number(), period, number()).prop_filter_map(
        "inexact",
        |(window, limit, period, burst)| {
            let period = Duration::from_micros(period);
            if window {
                FixedWindow::new(limit, period).ok().map(Algorithm::FixedWindow)
            } else {
                TokenBucket::new(limit, period, burst).ok().map(Algorithm::TokenBucket)
            }
        },
    )
}

/// A limit, and for its state the share of it that is used and how long ago (in 1/1000 of its period) that was.
fn states() -> impl Strategy<Value = Vec<(Algorithm, u64, i64, u64)>> {
    let used = 0..=1000_u64;
    let ago = prop_oneof![Just(0), 0..1000_i64, -100..3000_i64];
    prop::collection::vec((any_limit(), used, ago, any::<u64>()), 1..8)
}

struct Harness {
    runtime: tokio::runtime::Runtime,
    store: RedisCounters,
    connection: MultiplexedConnection,
    prefix: String,
}

impl Harness {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let prefix = stack::unique("script");
        let (store, connection) = runtime.block_on(async {
            let client = redis::Client::open(stack::shared().counters_redis_url()).unwrap();
            (redis_counters(&prefix), client.get_multiplexed_async_connection().await.unwrap())
        });
        Self { runtime, store, connection, prefix }
    }

    fn charge(&self, charges: &[CounterCharge], peek: bool) -> (u64, Vec<Decision>) {
        self.runtime.block_on(self.store.charge_and_tell_time(charges, peek)).unwrap()
    }

    fn key(&self, charge: &CounterCharge) -> String {
        format!("{}:{}", self.prefix, charge.key)
    }

    fn set(&self, charge: &CounterCharge, state: State) {
        let mut connection = self.connection.clone();
        let mut set = redis::cmd("SET");
        set.arg(self.key(charge)).arg(text(state)).arg("PX").arg(60_000);
        self.runtime.block_on(set.exec_async(&mut connection)).unwrap();
    }

    fn get(&self, charge: &CounterCharge) -> Option<String> {
        let mut connection = self.connection.clone();
        let get = redis::cmd("GET").arg(self.key(charge)).to_owned();
        self.runtime.block_on(get.query_async(&mut connection)).unwrap()
    }

    /// Runs the script at a moment of the test's choice.
    fn charge_at(&self, now_us: u64, charge: &CounterCharge) -> [u64; 5] {
        let time = format!("{{ '{}', '{}' }}", now_us / 1_000_000, now_us % 1_000_000);
        let script = include_str!("../lua/check.lua").replace("redis.call('TIME')", &time);
        let [a, b, c] = match charge.charge.algorithm {
            Algorithm::FixedWindow(it) => [it.limit(), u64::try_from(it.period().as_micros()).unwrap(), 0],
            Algorithm::TokenBucket(it) => [it.burst(), it.refill(), it.per()],
        };
        let Charge { algorithm, cost, shadow } = charge.charge;
        let mut eval = redis::cmd("EVAL");
        eval.arg(script)
            .arg(1)
            .arg(self.key(charge))
            .arg(0)
            .arg(algorithm.name())
            .arg(u8::from(shadow))
            .arg(cost);
        eval.arg(a).arg(b).arg(c);
        let mut connection = self.connection.clone();
        let numbers: Vec<u64> = self.runtime.block_on(eval.query_async(&mut connection)).unwrap();
        numbers.try_into().unwrap()
    }

    fn now_us(&self) -> u64 {
        self.charge(&[charge("clock", support::fixed_window(1, Duration::from_secs(1)))], true).0
    }
}

fn text(state: State) -> String {
    match state {
        State::Window(Window { used, opened_us }) => format!("{used}:{opened_us}"),
        State::Bucket(Bucket { debt, at_us }) => format!("{debt}:{at_us}"),
    }
}

fn seeded(algorithm: &Algorithm, used: u64, ago: i64, now_us: u64) -> State {
    let share = |whole: u64| u64::try_from(u128::from(whole) * u128::from(used) / 1000).unwrap();
    let ago_us = i64::try_from(algorithm.period().as_micros()).unwrap() / 1000 * ago;
    let at_us = now_us.saturating_add_signed(-ago_us);
    match algorithm {
        Algorithm::FixedWindow(window) => {
            State::Window(Window { used: share(window.limit()), opened_us: at_us })
        }
        Algorithm::TokenBucket(bucket) => {
            assert!(bucket.burst() * bucket.per() <= EXACT_MAX);
            State::Bucket(Bucket { debt: share(bucket.burst() * bucket.per()), at_us })
        }
    }
}

#[test]
fn a_schedule_goes_the_same_way_through_both() {
    let harness = Harness::new();
    let run = |(limits, steps): (Vec<Algorithm>, Vec<Step>)| {
        let subjects: Vec<_> = limits.iter().map(|_| stack::unique("subject")).collect();
        let mut states: HashMap<usize, State> = HashMap::new();
        for step in steps {
            let charges: Vec<_> = step
                .charges
                .iter()
                .map(|&(limit, cost, shadow)| {
                    let mut charge = charge(&subjects[limit], limits[limit]);
                    (charge.charge.cost, charge.charge.shadow) = (cost, shadow);
                    charge
                })
                .collect();
            let (now_us, decisions) = harness.charge(&charges, step.peek);
            let known = step.charges.iter().map(|(limit, ..)| states.get(limit).copied());
            let known: Vec<_> = charges.iter().map(|it| it.charge).zip(known).collect();
            let expected = charge_all(&known, step.peek, now_us);
            for (((limit, ..), decision), expected) in step.charges.iter().zip(decisions).zip(expected) {
                prop_assert_eq!(decision, expected.decision);
                states.extend(expected.next.map(|state| (*limit, state)));
            }
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(128)).run(&schedule(), run).unwrap();
}

#[test]
fn any_state_of_any_limit_is_seen_the_same_way_by_both() {
    let harness = Harness::new();
    let run = |limits: Vec<(Algorithm, u64, i64, u64)>| {
        let now_us = harness.now_us();
        let known: Vec<_> = limits
            .iter()
            .map(|(algorithm, used, ago, cost)| {
                let mut charge = charge(&stack::unique("subject"), *algorithm);
                charge.charge.cost = 1 + cost % algorithm.capacity();
                let state = seeded(algorithm, *used, *ago, now_us);
                harness.set(&charge, state);
                (charge, state)
            })
            .collect();
        for (charge, state) in &known {
            let (now_us, decisions) = harness.charge(std::slice::from_ref(charge), false);
            let expected = charge_all(&[(charge.charge, Some(*state))], false, now_us)[0];
            prop_assert_eq!(decisions[0], expected.decision);
            // A state that has nothing more to say may have expired since.
            if let Some(stored) = harness.get(charge) {
                prop_assert_eq!(stored, text(expected.next.unwrap_or(*state)));
            }
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(256)).run(&states(), run).unwrap();
}

#[test]
fn both_see_the_same_moment_when_a_limit_has_room_again() {
    let harness = Harness::new();
    let run = |limits: Vec<(Algorithm, u64, i64, u64)>| {
        let then_us = harness.now_us();
        for (algorithm, used, _, cost) in limits {
            let mut charge = charge(&stack::unique("subject"), algorithm);
            charge.charge.cost = 1 + cost % algorithm.capacity();
            let state = seeded(&algorithm, used, 0, then_us);
            let decision = algorithm.peek(Some(state), charge.charge.cost, then_us);
            let wait_us =
                u64::try_from(decision.retry_after.unwrap_or(decision.reset_after).as_micros()).unwrap();
            for now_us in [then_us + wait_us - 1, then_us + wait_us, then_us + wait_us + 1] {
                harness.set(&charge, state);
                let Decision { allowed, remaining, reset_after, retry_after } =
                    algorithm.charge(Some(state), charge.charge.cost, now_us).1;
                let [reset_us, retry_us] = [reset_after, retry_after.unwrap_or_default()]
                    .map(|it| u64::try_from(it.as_micros()).unwrap());
                let expected = [now_us, u64::from(allowed), remaining, reset_us, retry_us];
                prop_assert_eq!(harness.charge_at(now_us, &charge), expected, "{:?} {:?}", charge, state);
            }
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(256)).run(&states(), run).unwrap();
}
