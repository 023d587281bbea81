//! The limiter as a library, on memory, as the embedded mode has it.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use ratelimit::{
    CheckError, Descriptor, Limiter, Mode, Outcome,
    limiter::UNLIMITED,
    startup,
    stores::{CounterStore, MemoryCounters},
};
use ratelimit_core::{RuleSet, rules::RuleFile};

const RULES: &str = "
domain: shop
descriptors:
  - key: caller
    limits:
      - {name: calls, limit: 3, period: 1h}
      - {name: trial, limit: 1, period: 1h, shadow_mode: true}
  - key: address
    limits: [{name: calls_by_address, limit: 2, period: 2h}]
  - {key: health, rate_limit: {unlimited: true}}
  - {key: blocked, rate_limit: {unit: hour, requests_per_unit: 0}}
";

fn limiter() -> Limiter {
    let file = RuleFile::new("rules.yaml", RULES);
    let counters: Arc<dyn CounterStore> = Arc::new(MemoryCounters::new(100));
    Limiter::new(RuleSet::load(&[file]).unwrap(), counters, Duration::from_secs(60))
}

fn descriptor(key: &str, value: &str, cost: u64) -> Descriptor {
    Descriptor { entries: vec![(key.into(), value.into())], cost, limit: None }
}

fn told(outcome: &Outcome) -> Vec<(&str, usize, bool, u64)> {
    let statuses = outcome.statuses.iter();
    statuses.map(|it| (&*it.rule, it.descriptor_index, it.decision.allowed, it.decision.remaining)).collect()
}

#[tokio::test]
async fn every_matching_rule_is_charged_all_or_nothing() {
    let limiter = limiter();
    let both = [descriptor("caller", "ann", 1), descriptor("address", "a", 1)];
    let check = async || limiter.check("shop", &both, Mode::Charge).await.unwrap();
    let first = check().await;
    assert_eq!(
        told(&first),
        [("calls", 0, true, 2), ("trial", 0, true, 0), ("calls_by_address", 1, true, 1)]
    );
    let second = check().await;
    assert_eq!(
        told(&second),
        [("calls", 0, true, 1), ("trial", 0, false, 0), ("calls_by_address", 1, true, 0)]
    );
    assert!(second.allowed && second.retry_after.is_none());
    let third = check().await;
    assert_eq!(
        told(&third),
        [("calls", 0, true, 1), ("trial", 0, false, 0), ("calls_by_address", 1, false, 0)]
    );
    assert!(!third.allowed);
    assert_eq!(third.retry_after, third.statuses[2].decision.retry_after);
}

#[tokio::test]
async fn a_cost_that_can_never_pass_is_the_callers_mistake() {
    let limiter = limiter();
    let error = limiter.check("shop", &[descriptor("caller", "ann", 4)], Mode::Charge).await.unwrap_err();
    assert!(matches!(error, CheckError::CostAboveCapacity { descriptor_index: 0, .. }), "{error}");
    let sum = [descriptor("caller", "ann", 2), descriptor("caller", "ann", 2)];
    let error = limiter.check("shop", &sum, Mode::Charge).await.unwrap_err();
    assert!(matches!(error, CheckError::CostAboveCapacity { descriptor_index: 1, .. }), "{error}");
    let only_too_much_for_the_shadow =
        limiter.check("shop", &[descriptor("caller", "ann", 2)], Mode::Charge).await.unwrap();
    assert!(only_too_much_for_the_shadow.allowed);
    assert_eq!(told(&only_too_much_for_the_shadow)[1], ("trial", 0, false, 1));
}

#[tokio::test]
async fn an_unlimited_rule_passes_and_one_of_zero_does_not() {
    let limiter = limiter();
    let passed = limiter.check("shop", &[descriptor("health", "x", 1_000_000)], Mode::Charge).await.unwrap();
    assert_eq!(told(&passed), [("health", 0, true, UNLIMITED)]);
    let blocked = limiter.check("shop", &[descriptor("blocked", "x", 1)], Mode::Charge).await.unwrap();
    assert!(!blocked.allowed && blocked.retry_after.is_some());
}

#[tokio::test]
async fn the_embedded_limiter_has_the_built_in_rules() {
    let limiter = startup::embedded(None, 100).unwrap();
    let entries = vec![("tier".into(), "free".into()), ("caller".into(), "ann".into())];
    let write = [Descriptor { entries, cost: 60, limit: None }];
    assert!(limiter.check("snippets", &write, Mode::Charge).await.unwrap().allowed);
    assert!(!limiter.check("snippets", &write, Mode::Charge).await.unwrap().allowed);
}
