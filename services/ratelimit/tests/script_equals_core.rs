//! The Redis scripts against the pure core: the same charges at the same moments, the same decisions and states.
//!
//! The service's own store asks Redis for the time, so a test can't choose the microsecond. Where that is the point, the
//! script is run with the time put in place of that question.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{collections::HashMap, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use ratelimit::stores::{CounterCharge, CounterStore as _, Decided, Order, RedisCounters, Refund};
use ratelimit_core::{
    Algorithm, Decision, Hit, State,
    algorithm::{
        Bucket, CalendarPeriod, Concurrency, EXACT_MAX, Entry, FixedWindow, LIMIT_MAX, LeakyBucket,
        SLOTS_MAX, SlidingLog, SlidingWindow, Slot, Slots, TokenBucket, Window,
    },
    charge_all,
};
use redis::aio::MultiplexedConnection;
use support::{charge, order, quota, redis_counters};

/// What is done: charges by number of limit, with cost and shadow; or a request before it is given back.
#[derive(Debug, Clone)]
enum Step {
    Check { charges: Vec<(usize, u64, bool)>, peek: bool },
    GiveBack(prop::sample::Index),
}

/// Limits so short that windows end and buckets fill while a schedule runs.
fn short_limit() -> impl Strategy<Value = Algorithm> {
    let period = (1_000_u64..20_000).prop_map(Duration::from_micros);
    (0..6, 1..6_u64, period, 1..6_u64).prop_map(|(kind, limit, period, burst)| match kind {
        0 => Algorithm::FixedWindow(FixedWindow::new(limit - 1, period).unwrap()),
        1 => Algorithm::SlidingWindow(SlidingWindow::new(limit, period).unwrap()),
        2 => Algorithm::TokenBucket(TokenBucket::new(limit, period, burst).unwrap()),
        3 => Algorithm::LeakyBucket(LeakyBucket::new(limit, period).unwrap()),
        4 => quota(limit, CalendarPeriod::Day),
        _ => Algorithm::Concurrency(Concurrency::new(limit, period).unwrap()),
    })
}

fn step(limits: usize) -> impl Strategy<Value = Step> {
    let charge = (0..4_u64, prop::bool::weighted(0.2));
    let charges = prop::collection::btree_map(0..limits, charge, 1..=limits);
    let check = (charges, prop::bool::weighted(0.2)).prop_map(|(charges, peek)| {
        let charges = charges.into_iter().map(|(limit, (cost, shadow))| (limit, cost, shadow)).collect();
        Step::Check { charges, peek }
    });
    prop_oneof![4 => check, 1 => any::<prop::sample::Index>().prop_map(Step::GiveBack)]
}

fn schedule() -> impl Strategy<Value = (Vec<Algorithm>, Vec<Step>)> {
    prop::collection::vec(short_limit(), 1..5)
        .prop_flat_map(|limits| (Just(limits.clone()), prop::collection::vec(step(limits.len()), 1..60)))
}

/// Any limit that there may be and whose state is one number, the largest included.
fn any_limit() -> impl Strategy<Value = Algorithm> {
    let period = prop_oneof![
        1_000_u64..1_000_000,
        1_000_u64..31_622_400_000_000,
        (1_u64..366).prop_map(|days| days * 86_400_000_000),
    ];
    let number = || prop_oneof![1..100_u64, 1..=LIMIT_MAX, Just(LIMIT_MAX)];
    (0..5, number(), period, number()).prop_filter_map("inexact", |(kind, limit, period, burst)| {
        let period = Duration::from_micros(period);
        match kind {
            0 => FixedWindow::new(limit, period).ok().map(Algorithm::FixedWindow),
            1 => SlidingWindow::new(limit, period).ok().map(Algorithm::SlidingWindow),
            2 => TokenBucket::new(limit, period, burst).ok().map(Algorithm::TokenBucket),
            3 => LeakyBucket::new(limit, period).ok().map(Algorithm::LeakyBucket),
            _ => Concurrency::new(limit.min(SLOTS_MAX), period).ok().map(Algorithm::Concurrency),
        }
    })
}

/// A limit, and for its state the share of it that is used (in 1/1000: more than all of it after a limit was lowered) and how
/// long ago (in 1/1000 of its period) that was.
fn states() -> impl Strategy<Value = Vec<(Algorithm, u64, i64, u64)>> {
    let used = prop_oneof![4 => 0..=1000_u64, 1 => 1000..3000_u64];
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

    fn charge(&self, order: &Order) -> Decided {
        self.runtime.block_on(support::decide(&self.store, order.clone()))
    }

    fn give_back(&self, refund: &Refund) {
        assert!(self.runtime.block_on(self.store.give_back(refund)).unwrap());
    }

    fn key(&self, charge: &CounterCharge) -> String {
        format!("{}:{}", self.prefix, charge.key.as_ref())
    }

    fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut connection = self.connection.clone();
        self.runtime.block_on(command.query_async(&mut connection)).unwrap()
    }

    fn set(&self, charge: &CounterCharge, state: &State) {
        let key = self.key(charge);
        self.run::<()>(redis::cmd("DEL").arg(&key));
        match state {
            State::Slots(slots) => self.set_slots(&key, slots),
            other => self.run(redis::cmd("SET").arg(&key).arg(bytes(other)).arg("PX").arg(60_000)),
        }
    }

    fn set_slots(&self, key: &str, slots: &Slots) {
        for Slot { ends_us, name, number } in &slots.held {
            self.run::<()>(redis::cmd("ZADD").arg(key).arg(*ends_us).arg(format!("{name}:{number}")));
        }
        self.run::<()>(redis::cmd("PEXPIRE").arg(key).arg(60_000));
    }

    /// Whether Redis holds that state; one that has nothing more to say may have expired.
    fn holds(&self, charge: &CounterCharge, state: &State) -> bool {
        let key = self.key(charge);
        if let State::Slots(slots) = state {
            let held: Vec<String> = self.run(redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).arg("WITHSCORES"));
            let mut expected: Vec<_> = slots
                .held
                .iter()
                .map(|it| [format!("{}:{}", it.name, it.number), it.ends_us.to_string()])
                .collect();
            expected.sort_by(|a, b| (&a[1], &a[0]).cmp(&(&b[1], &b[0])));
            return held.is_empty() || held == expected.concat();
        }
        let held: Option<Vec<u8>> = self.run(redis::cmd("GET").arg(&key));
        held.is_none_or(|held| held == bytes(state))
    }

    /// Runs the script at a moment of the test's choice: whether it is allowed, and what else it says.
    fn charge_at(&self, now_us: u64, charge: &CounterCharge) -> (bool, [u64; 3]) {
        let script = concat!(include_str!("../lua/counters.lua"), include_str!("../lua/check.lua"));
        let mut request = vec![1, 0, 0, 1, 0, u8::from(charge.charge.shadow)];
        request.extend(packed(&[charge.charge.cost, 0]));
        let mut eval = redis::cmd("EVAL");
        eval.arg(at(now_us, script)).arg(1).arg(self.key(charge)).arg(&[1_u8, 0]);
        eval.arg(parameters(&charge.charge.algorithm)).arg(request);
        if matches!(charge.charge.algorithm, Algorithm::Concurrency(_)) {
            eval.arg("slot").arg(packed(&[0, 0])).arg("");
        }
        let [time, told] = self.run::<Vec<Vec<u8>>>(&eval).try_into().unwrap();
        assert_eq!((unpacked(&time), told[0]), (vec![now_us], b'D'));
        let [remaining, reset_after, retry_after, _, _] = unpacked(&told[2..]).try_into().unwrap();
        (told[1] == 1, [remaining, reset_after, retry_after])
    }

    /// Gives one charge back at a moment of the test's choice.
    fn give_back_at(&self, now_us: u64, charge: &CounterCharge, charged: Hit<'_>, told: &Decision) {
        let script = concat!(include_str!("../lua/counters.lua"), include_str!("../lua/give_back.lua"));
        let mut eval = redis::cmd("EVAL");
        eval.arg(at(now_us, script)).arg(1).arg(self.key(charge)).arg(charged.slot);
        eval.arg(parameters(&charge.charge.algorithm));
        eval.arg(packed(&[charged.cost, charged.now_us, micros(told.reset_after)]));
        assert_eq!(self.run::<u64>(&eval), 1);
    }

    fn now_us(&self) -> u64 {
        let mut look = order(&[charge("clock", support::fixed_window(1, Duration::from_secs(1)))]);
        look.peek = true;
        self.charge(&look).at_us
    }
}

fn at(now_us: u64, script: &str) -> String {
    let time = format!("{{ '{}', '{}' }}", now_us / 1_000_000, now_us % 1_000_000);
    script.replace("redis.call('TIME')", &time)
}

/// As the header of counters.lua has them.
fn parameters(algorithm: &Algorithm) -> Vec<u8> {
    let (limit, period_us) = (algorithm.limit(), micros(algorithm.period().unwrap()));
    let bucket = |it: &TokenBucket| (2, packed(&[it.burst(), it.refill(), it.per()]));
    let (kind, numbers) = match algorithm {
        Algorithm::FixedWindow(_) => {
            (1, [packed(&[limit]), (-1.0_f64).to_le_bytes().to_vec(), packed(&[period_us])].concat())
        }
        Algorithm::TokenBucket(it) => bucket(it),
        Algorithm::LeakyBucket(it) => bucket(it.as_token_bucket()),
        Algorithm::SlidingWindow(it) => (3, packed(&[limit, period_us, it.slice_us()])),
        Algorithm::Concurrency(_) => (4, packed(&[limit, period_us, 0])),
        Algorithm::Quota(_) => panic!("a quota's period is that of the clock"),
    };
    [vec![kind], numbers].concat()
}

#[expect(clippy::cast_precision_loss, reason = "all numbers are below 2^53")]
fn packed(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| (*number as f64).to_le_bytes()).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "all numbers are whole")]
fn unpacked(bytes: &[u8]) -> Vec<u64> {
    let (numbers, []) = bytes.as_chunks::<8>() else { panic!("not packed: {bytes:?}") };
    numbers.iter().map(|number| f64::from_le_bytes(*number) as u64).collect()
}

fn bytes(state: &State) -> Vec<u8> {
    match state {
        State::Window(Window { used, ends_us }) => packed(&[*used, *ends_us]),
        State::Bucket(Bucket { debt, at_us }) => packed(&[*debt, *at_us]),
        State::Sliding(SlidingLog { used, entries }) => {
            let entries = entries.iter().flat_map(|entry| [entry.at_us, entry.cost]);
            packed(&std::iter::once(*used).chain(entries).collect::<Vec<_>>())
        }
        State::Slots(_) => panic!("slots are a sorted set"),
    }
}

fn seeded(algorithm: &Algorithm, used: u64, ago: i64, now_us: u64) -> State {
    let share = |whole: u64| u64::try_from(u128::from(whole) * u128::from(used) / 1000).unwrap();
    let period_us = i64::try_from(algorithm.period().unwrap().as_micros()).unwrap();
    let at_us = now_us.saturating_add_signed(-period_us / 1000 * ago);
    let bucket = |it: &TokenBucket| {
        assert!(it.burst() * it.per() <= EXACT_MAX);
        State::Bucket(Bucket { debt: share(it.burst() * it.per()).min(EXACT_MAX), at_us })
    };
    match algorithm {
        Algorithm::TokenBucket(it) => bucket(it),
        Algorithm::LeakyBucket(it) => bucket(it.as_token_bucket()),
        Algorithm::SlidingWindow(it) => {
            let used = share(algorithm.limit());
            // Half of it in a slice before.
            let earlier = Entry { at_us: at_us - 2 * it.slice_us(), cost: used / 2 };
            let last = Entry { at_us, cost: used - used / 2 };
            State::Sliding(SlidingLog { used, entries: [earlier, last].into() })
        }
        Algorithm::Concurrency(_) => {
            let ends_us = at_us.saturating_add_signed(period_us);
            let slot = |number| Slot { ends_us: ends_us + number % 3, name: "seed".into(), number };
            let mut held: Vec<_> = (1..=share(algorithm.limit()).min(20)).map(slot).collect();
            held.sort();
            State::Slots(Slots { held })
        }
        Algorithm::FixedWindow(_) | Algorithm::Quota(_) => {
            let ends_us = at_us.saturating_add_signed(period_us);
            State::Window(Window { used: share(algorithm.limit()), ends_us })
        }
    }
}

/// A schedule under way: what the core remembers, and what was charged.
struct Run<'a> {
    harness: &'a Harness,
    limits: Vec<Algorithm>,
    subjects: Vec<String>,
    states: HashMap<usize, State>,
    charged: Vec<(Vec<usize>, Refund)>,
}

impl<'a> Run<'a> {
    fn new(harness: &'a Harness, limits: Vec<Algorithm>) -> Self {
        let subjects = limits.iter().map(|_| stack::unique("subject")).collect();
        Self { harness, limits, subjects, states: HashMap::new(), charged: Vec::new() }
    }

    fn check(&mut self, charges: &[(usize, u64, bool)], peek: bool) -> Result<(), TestCaseError> {
        let ordered: Vec<_> = charges
            .iter()
            .map(|&(limit, cost, shadow)| {
                let mut charge = charge(&self.subjects[limit], self.limits[limit].clone());
                (charge.charge.cost, charge.charge.shadow) = (cost, shadow);
                charge
            })
            .collect();
        let order = Order { peek, ..order(&ordered) };
        let Decided { at_us, decisions, .. } = self.harness.charge(&order);
        let known =
            charges.iter().zip(&ordered).map(|((limit, ..), it)| (&it.charge, self.states.get(limit)));
        let expected = charge_all(&known.collect::<Vec<_>>(), &order.slot, peek, at_us);
        let mut counted = Vec::new();
        for (index, expected) in expected.into_iter().enumerate() {
            let (limit, ..) = charges[index];
            prop_assert_eq!(decisions[index], expected.decision);
            if let Some(state) = expected.next {
                prop_assert!(self.harness.holds(&ordered[index], &state), "not {:?}", state);
                self.states.insert(limit, state);
                counted.push((limit, (ordered[index].clone(), decisions[index])));
            }
        }
        let (limits, charges) = counted.into_iter().unzip();
        let refund = Refund { charges, charged_us: at_us, slot: order.slot, receipt: None, local: false };
        self.charged.push((limits, refund));
        Ok(())
    }

    /// The clock moves on between the two, so it is what they say next that must be the same.
    fn give_back(&mut self, which: prop::sample::Index) {
        if self.charged.is_empty() {
            return;
        }
        let (limits, refund) = self.charged.remove(which.index(self.charged.len()));
        self.harness.give_back(&refund);
        let now_us = self.harness.now_us();
        for (limit, (charge, told)) in limits.into_iter().zip(&refund.charges) {
            let hit = charge.charge.hit(&refund.slot, refund.charged_us);
            let next = charge.charge.algorithm.give_back(self.states.get(&limit), hit, told, now_us);
            self.states.extend(next.map(|state| (limit, state)));
        }
    }
}

/// What a bucket gets back depends on the microsecond, which the two don't share.
fn is_exact_in_time(limits: &[Algorithm]) -> bool {
    !limits.iter().any(|it| matches!(it, Algorithm::TokenBucket(_) | Algorithm::LeakyBucket(_)))
}

#[test]
fn a_schedule_goes_the_same_way_through_both() {
    let harness = Harness::new();
    let run = |(limits, steps): (Vec<Algorithm>, Vec<Step>)| {
        let gives_back = is_exact_in_time(&limits);
        let mut run = Run::new(&harness, limits);
        for step in steps {
            match step {
                Step::Check { charges, peek } => run.check(&charges, peek)?,
                Step::GiveBack(which) if gives_back => run.give_back(which),
                Step::GiveBack(_) => {}
            }
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(192)).run(&schedule(), run).unwrap();
}

#[test]
fn any_state_of_any_limit_is_seen_the_same_way_by_both() {
    let harness = Harness::new();
    let run = |limits: Vec<(Algorithm, u64, i64, u64)>| {
        let now_us = harness.now_us();
        for (algorithm, used, ago, cost) in limits {
            let state = seeded(&algorithm, used, ago, now_us);
            let mut charge = charge(&stack::unique("subject"), algorithm);
            charge.charge.cost = 1 + cost % charge.charge.algorithm.capacity().min(1000);
            harness.set(&charge, &state);
            let order = order(std::slice::from_ref(&charge));
            let Decided { at_us, decisions, .. } = harness.charge(&order);
            let expected = charge_all(&[(&charge.charge, Some(&state))], &order.slot, false, at_us).remove(0);
            prop_assert_eq!(decisions[0], expected.decision, "{:?} {:?}", charge, state);
            if let Some(next) = &expected.next {
                prop_assert!(harness.holds(&charge, next), "{:?} {:?}", charge, next);
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
            let state = seeded(&algorithm, used, 0, then_us);
            let mut charge = charge(&stack::unique("subject"), algorithm);
            charge.charge.cost = 1 + cost % charge.charge.algorithm.capacity().min(1000);
            let algorithm = &charge.charge.algorithm;
            let decision = algorithm.peek(Some(&state), charge.charge.hit("slot", then_us));
            let wait_us = micros(decision.retry_after.unwrap_or(decision.reset_after)).max(1);
            for now_us in [then_us + wait_us - 1, then_us + wait_us, then_us + wait_us + 1] {
                harness.set(&charge, &state);
                let Decision { allowed, remaining, reset_after, retry_after } =
                    algorithm.charge(Some(&state), charge.charge.hit("slot", now_us)).1;
                let [reset_us, retry_us] = [reset_after, retry_after.unwrap_or_default()].map(micros);
                let expected = (allowed, [remaining, reset_us, retry_us]);
                prop_assert_eq!(harness.charge_at(now_us, &charge), expected, "{:?} {:?}", charge, state);
            }
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(96)).run(&states(), run).unwrap();
}

#[test]
fn both_give_the_same_back() {
    let harness = Harness::new();
    let run = |limits: Vec<(Algorithm, u64, i64, u64)>| {
        let then_us = harness.now_us();
        for (algorithm, used, ago, cost) in limits {
            let period_us = micros(algorithm.period().unwrap());
            let state = seeded(&algorithm, used / 2, ago.max(0), then_us);
            let mut charge = charge(&stack::unique("subject"), algorithm);
            charge.charge.cost = 1 + cost % charge.charge.algorithm.capacity().div_ceil(3).min(1000);
            let (hit, algorithm) = (charge.charge.hit("slot", then_us), &charge.charge.algorithm);
            let (Some(state), told) = algorithm.charge(Some(&state), hit) else { continue };
            let now_us = then_us + cost % (period_us / 2);
            harness.set(&charge, &state);
            harness.give_back_at(now_us, &charge, hit, &told);
            let next = algorithm.give_back(Some(&state), hit, &told, now_us).unwrap_or(state);
            prop_assert!(harness.holds(&charge, &next), "{:?} {:?}", charge, next);
        }
        Ok(())
    };
    TestRunner::new(ProptestConfig::with_cases(128)).run(&states(), run).unwrap();
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}
