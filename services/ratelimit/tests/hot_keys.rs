//! What spares Redis the busiest keys: the memory of denials, and leases.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use rpc::ratelimit::v1::{CheckRequest, RefundRequest, ResetRequest};
use stack::Service;
use support::{
    PATIENCE,
    service::{Client, ask, check, client, count, rules_file, shared},
};
use tokio::task::JoinSet;

const RULES: &str = "
domain: shop
descriptors:
  - {key: few, limits: [{limit: 3, period: 1h}]}
  - {key: second, limits: [{algorithm: token_bucket, limit: 1, period: 100ms, burst: 1}]}
  - {key: slots, limits: [{algorithm: concurrency, limit: 1, period: 1h}]}
  - {key: leased, limits: [{limit: 100000, period: 1h, lease: 100}]}
  - {key: leased_few, limits: [{limit: 1000, period: 1h, lease: 100}]}
  - {key: bucket, limits: [{algorithm: token_bucket, limit: 10000, period: 1h, burst: 5000, lease: 50}]}
";

const MEMORY_HITS: &str = "ratelimit_denial_memory_hits_total";
const ASKED: &str = "ratelimit_redis_orders_total";
const LEASED: &str = "ratelimit_lease_tokens_total";
const WASTED: &str = "ratelimit_lease_tokens_wasted_total";

/// Two replicas on one Redis.
struct Replicas {
    services: [Service; 2],
    clients: [Client; 2],
    _rules: tempfile::TempDir,
}

impl Replicas {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = rules_file(folder.path(), RULES);
        let prefix = stack::unique("hot");
        let replica = || shared(&prefix).env("RATELIMIT_RULES", &path).start();
        let (one, two) = tokio::try_join!(replica(), replica()).unwrap();
        let clients = [client(&one).await, client(&two).await];
        Self { services: [one, two], clients, _rules: folder }
    }

    async fn count(&self, metric: &str) -> u64 {
        count(&self.services[0], metric).await + count(&self.services[1], metric).await
    }

    /// That many Checks by 16 callers at once, through both; how many passed.
    async fn flood(&self, request: &CheckRequest, calls: usize) -> usize {
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let (mut client, request) = (self.clients[caller % 2].clone(), request.clone());
            callers.spawn(async move {
                let mut passed = 0;
                for _ in 0..calls / 16 {
                    passed += usize::from(ask(&mut client, &request).await.allowed);
                }
                passed
            });
        }
        callers.join_all().await.into_iter().sum()
    }
}

fn by(key: &str) -> CheckRequest {
    check("shop", &[(key, "x")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_denied_requests_hardly_reaches_redis() {
    let replicas = Replicas::start().await;
    assert_eq!(replicas.flood(&by("few"), 64).await, 3);
    let asked = replicas.count(ASKED).await;
    assert_eq!(replicas.flood(&by("few"), 8000).await, 0);
    let (asked, hits) = (replicas.count(ASKED).await - asked, replicas.count(MEMORY_HITS).await);
    // Once a second, and again by those that ask at the same moment.
    assert!(asked < 800 && hits > 7200, "{asked} asked, {hits} remembered");
}

#[tokio::test]
async fn what_is_remembered_ends_when_the_request_can_pass() {
    let replicas = Replicas::start().await;
    let mut client = replicas.clients[0].clone();
    assert!(ask(&mut client, &by("second")).await.allowed);
    let denied = ask(&mut client, &by("second")).await;
    let again = ask(&mut client, &by("second")).await;
    assert!(!denied.allowed && !again.allowed);
    let nanos = |answer: &rpc::ratelimit::v1::CheckResponse| answer.retry_after.unwrap().nanos;
    assert!(nanos(&again) < nanos(&denied), "the wait gets shorter");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ask(&mut client, &by("second")).await.allowed);
}

#[tokio::test]
async fn what_is_given_back_is_there_at_once() {
    let replicas = Replicas::start().await;
    let [mut one, mut two] = replicas.clients.clone();
    let mut all = CheckRequest { request_id: "all".into(), ..by("few") };
    all.descriptors[0].cost = 3;
    assert!(ask(&mut one, &all).await.allowed);
    for _ in 0..2 {
        assert!(!ask(&mut one, &by("few")).await.allowed);
    }
    one.refund(RefundRequest { domain: "shop".into(), request_id: "all".into() }).await.unwrap();
    assert!(ask(&mut one, &by("few")).await.allowed);

    while ask(&mut two, &by("few")).await.allowed {}
    two.reset(ResetRequest { domain: "shop".into(), descriptors: by("few").descriptors }).await.unwrap();
    assert!(ask(&mut two, &by("few")).await.allowed);
}

#[tokio::test]
async fn a_slot_that_is_given_back_elsewhere_is_there_at_once() {
    let replicas = Replicas::start().await;
    let [mut one, mut two] = replicas.clients.clone();
    for round in 0..5 {
        let request_id = format!("round-{round}");
        assert!(ask(&mut one, &CheckRequest { request_id: request_id.clone(), ..by("slots") }).await.allowed);
        assert!(!ask(&mut two, &by("slots")).await.allowed);
        one.refund(RefundRequest { domain: "shop".into(), request_id }).await.unwrap();
    }
    assert_eq!(replicas.count(MEMORY_HITS).await, 0);
}

#[tokio::test]
async fn what_costs_less_is_another_request() {
    let replicas = Replicas::start().await;
    let mut client = replicas.clients[0].clone();
    let mut costly = by("few");
    costly.descriptors[0].cost = 3;
    assert!(ask(&mut client, &by("few")).await.allowed);
    assert!(!ask(&mut client, &costly).await.allowed);
    assert!(ask(&mut client, &by("few")).await.allowed);
    assert!(!ask(&mut client, &costly).await.allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_key_hardly_reaches_redis() {
    let replicas = Replicas::start().await;
    assert_eq!(replicas.flood(&by("leased"), 1600).await, 1600);
    let asked = replicas.count(ASKED).await;
    assert_eq!(replicas.flood(&by("leased"), 16_000).await, 16_000);
    let asked = replicas.count(ASKED).await - asked;
    assert!(asked < 16_000 / 4, "{asked} asked");
    // Whatever was charged was spent, was wasted, or is in hand: at most what one lease takes for each replica.
    let look = CheckRequest { peek: true, ..by("leased") };
    let charged = 100_000 - ask(&mut replicas.clients[0].clone(), &look).await.statuses[0].remaining;
    let in_hand = charged - 17_600 - replicas.count(WASTED).await;
    assert!(in_hand <= 2 * 100, "{in_hand}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_let_not_one_pass_too_much_and_waste_is_metered() {
    let replicas = Replicas::start().await;
    for (key, limit) in [("leased_few", 1000), ("bucket", 5000)] {
        let passed = replicas.flood(&by(key), 2 * limit).await;
        let (leased, wasted) = (replicas.count(LEASED).await, replicas.count(WASTED).await);
        println!("{key}: {passed} passed, {leased} leased, {wasted} wasted");
        let refilled = if key == "bucket" { 100 } else { 0 };
        assert!(passed <= limit + refilled, "{key}: {passed}");
        assert!(passed >= limit - limit / 10, "{key}: {passed}");
        assert!(leased > 0 && wasted <= leased);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_nobody_spends_are_told() {
    let replicas = Replicas::start().await;
    replicas.flood(&by("leased_few"), 160).await;
    assert!(replicas.count(LEASED).await > 0);
    let look = CheckRequest { peek: true, ..by("leased_few") };
    let remaining = async || ask(&mut replicas.clients[0].clone(), &look).await.statuses[0].remaining;
    let lost = 1000 - 160 - remaining().await;
    // Nobody asks for that key again. Whatever else is asked for, it is noticed then that it has been idle for long.
    let told = async || {
        for client in &replicas.clients {
            ask(&mut client.clone(), &by("leased")).await;
        }
        replicas.count(WASTED).await == lost
    };
    stack::until("what was wasted is told", PATIENCE, told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_an_id_lease_nothing() {
    let replicas = Replicas::start().await;
    let mut client = replicas.clients[0].clone();
    for call in 1..=400 {
        let once = CheckRequest { request_id: format!("call-{call}"), ..by("leased_few") };
        assert_eq!(ask(&mut client, &once).await.statuses[0].remaining, 1000 - call);
    }
    assert_eq!(replicas.count(LEASED).await, 0);
}

#[tokio::test]
async fn a_few_costly_requests_make_no_key_hot() {
    let replicas = Replicas::start().await;
    let mut costly = by("leased_few");
    costly.descriptors[0].cost = 50;
    for call in 1..=5 {
        let answer = ask(&mut replicas.clients[0].clone(), &costly).await;
        assert_eq!(answer.statuses[0].remaining, 1000 - call * 50);
    }
    assert_eq!(replicas.count(LEASED).await, 0);
}
