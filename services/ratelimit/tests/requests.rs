//! Requests with an id, refunds, resets and offenders, as clients of two replicas see them.

// A test fails by panicking, also in what its tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use rpc::ratelimit::v1::{
    CheckRequest, Descriptor, ListTopDeniedRequest, RefundRequest, ResetRequest, descriptor::Entry,
};
use stack::{Redis, RedisPolicy, Service};
use support::{
    PATIENCE,
    service::{Client, ask, builder, check, client, refused, rules_file, shared, violated_fields},
};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

/// Of each algorithm one that lets 1,000 pass, and a leaky bucket one, of which nothing comes back during a test.
const FLOODED: &str = "
domain: flood
descriptors:
  - {key: leaky_bucket, limits: [{algorithm: leaky_bucket, limit: 1, period: 1h}]}
  - {key: fixed_window, limits: [{algorithm: fixed_window, limit: 1000, period: 1h}]}
  - {key: sliding_window, limits: [{algorithm: sliding_window, limit: 1000, period: 1h}]}
  - {key: token_bucket, limits: [{algorithm: token_bucket, limit: 1, period: 1h, burst: 1000}]}
  - {key: quota, limits: [{algorithm: quota, limit: 1000, period: month}]}
  - {key: concurrency, limits: [{algorithm: concurrency, limit: 1000, period: 1h}]}
  - {key: leased, limits: [{algorithm: fixed_window, limit: 1000, period: 1h, lease: 20}]}
";

const SHOP: &str = "
domain: shop
descriptors:
  - key: caller
    limits: [{name: calls, algorithm: sliding_window, limit: 5, period: 1h}]
  - key: address
    limits: [{name: by_address, algorithm: token_bucket, limit: 1, period: 1h, burst: 3}]
  - key: export
    limits: [{name: exports, algorithm: concurrency, limit: 2, period: 1h}]
  - key: short
    limits: [{name: short, algorithm: concurrency, limit: 1, period: 200ms}]
";

/// Two replicas on one Redis.
struct Replicas {
    services: [Service; 2],
    clients: [Client; 2],
    _rules: tempfile::TempDir,
}

impl Replicas {
    async fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = rules_file(folder.path(), rules);
        let prefix = stack::unique("requests");
        let replica = || shared(&prefix).env("RATELIMIT_RULES", &path).start();
        let (one, two) = tokio::try_join!(replica(), replica()).unwrap();
        let clients = [client(&one).await, client(&two).await];
        Self { services: [one, two], clients, _rules: folder }
    }
}

fn once(request_id: &str, request: &CheckRequest) -> CheckRequest {
    CheckRequest { request_id: request_id.into(), ..request.clone() }
}

async fn left(client: &mut Client, request: &CheckRequest) -> u64 {
    ask(client, &CheckRequest { peek: true, ..request.clone() }).await.statuses[0].remaining
}

async fn refund(client: &mut Client, domain: &str, request_id: &str) -> bool {
    let request = RefundRequest { domain: domain.into(), request_id: request_id.into() };
    client.refund(request).await.unwrap().into_inner().refunded
}

#[tokio::test(flavor = "multi_thread")]
async fn of_3000_checks_over_two_replicas_exactly_1000_pass_by_every_algorithm() {
    let replicas = Replicas::start(FLOODED).await;
    let algorithms =
        ["fixed_window", "sliding_window", "token_bucket", "leaky_bucket", "quota", "concurrency", "leased"];
    for algorithm in algorithms {
        let request = check("flood", &[(algorithm, "caller")]);
        let mut tasks = JoinSet::new();
        for task in 0..64 {
            let (mut client, request) = (replicas.clients[task % 2].clone(), request.clone());
            let calls = 3000 / 64 + usize::from(task < 3000 % 64);
            tasks.spawn(async move {
                let mut passed = 0;
                for _ in 0..calls {
                    passed += u32::from(ask(&mut client, &request).await.allowed);
                }
                passed
            });
        }
        let passed: u32 = tasks.join_all().await.into_iter().sum();
        match algorithm {
            // What a replica has leased and does not spend in time is lost to the other.
            "leased" => assert!((960..=1000).contains(&passed), "{passed}"),
            "leaky_bucket" => assert_eq!(passed, 1),
            _ => assert_eq!(passed, 1000, "{algorithm}"),
        }
    }
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_time_and_charged_once() {
    let replicas = Replicas::start(SHOP).await;
    let ([one, _], [mut a, mut b]) = (&replicas.services, replicas.clients.clone());
    let ann = check("shop", &[("caller", "ann")]);
    let first = ask(&mut a, &once("id-1", &ann)).await;
    assert_eq!(first.statuses[0].remaining, 4);
    for client in [&mut a, &mut b] {
        assert_eq!(ask(client, &once("id-1", &ann)).await, first);
    }
    one.kill();
    one.restart().await.unwrap();
    assert_eq!(ask(&mut client(one).await, &once("id-1", &ann)).await, first);
    assert_eq!(left(&mut b, &ann).await, 4);

    let status = refused(&mut b, once("id-1", &check("shop", &[("caller", "bob")]))).await;
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_USED"));
}

#[tokio::test]
async fn a_denied_request_is_denied_again_when_repeated() {
    let replicas = Replicas::start(SHOP).await;
    let [mut a, mut b] = replicas.clients.clone();
    let mut ann = check("shop", &[("caller", "ann")]);
    ann.descriptors[0].cost = 5;
    assert!(ask(&mut a, &once("spends-all", &ann)).await.allowed);
    let denied = ask(&mut a, &once("late", &ann)).await;
    assert!(!denied.allowed);
    assert!(refund(&mut a, "shop", "spends-all").await);
    assert_eq!(ask(&mut b, &once("late", &ann)).await, denied);
    assert!(ask(&mut b, &once("new", &ann)).await.allowed);
}

#[tokio::test]
async fn repeated_at_once_over_replicas_it_is_charged_once() {
    let replicas = Replicas::start(SHOP).await;
    let ann = check("shop", &[("caller", "ann")]);
    let mut tasks = JoinSet::new();
    for task in 0..50 {
        let (mut client, request) = (replicas.clients[task % 2].clone(), once("same", &ann));
        tasks.spawn(async move { ask(&mut client, &request).await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(left(&mut replicas.clients[0].clone(), &ann).await, 4);
}

#[tokio::test]
async fn a_receipt_outlives_redis_and_a_change_of_rules() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules_file(folder.path(), SHOP);
    let redis = Redis::start(RedisPolicy::Counters).await.unwrap();
    let builder = builder(redis.url(), "rl").env("RATELIMIT_RULES", rules).env("REDIS_TIMEOUT", "5s");
    let service = builder.start().await.unwrap();
    let mut client = client(&service).await;
    let ann = once("kept", &check("shop", &[("caller", "ann")]));
    let first = ask(&mut client, &ann).await;

    redis.kill();
    redis.restart().await.unwrap();
    rules_file(folder.path(), &SHOP.replace("limit: 5", "limit: 50"));
    let renewed = check("shop", &[("caller", "bob")]);
    let is_renewed = async || {
        let answer = client.clone().check(CheckRequest { peek: true, ..renewed.clone() }).await;
        answer.is_ok_and(|answer| answer.into_inner().statuses[0].limit == 50)
    };
    stack::until("the rules are renewed", PATIENCE, is_renewed).await.unwrap();
    assert_eq!(ask(&mut client, &ann).await, first, "the limit was 5 then");
}

#[tokio::test]
async fn a_refund_gives_back_once_wherever_it_is_asked_for() {
    let replicas = Replicas::start(SHOP).await;
    let [mut a, mut b] = replicas.clients.clone();
    let mut both = check("shop", &[("caller", "ann")]);
    both.descriptors.push(check("shop", &[("address", "::1")]).descriptors.remove(0));
    both.descriptors[0].cost = 3;
    assert!(ask(&mut a, &once("whole", &both)).await.allowed);
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let mut client = replicas.clients[task % 2].clone();
        tasks.spawn(async move { refund(&mut client, "shop", "whole").await });
    }
    let refunded = tasks.join_all().await.into_iter().filter(|refunded| *refunded).count();
    assert_eq!(refunded, 1);
    let now = ask(&mut b, &CheckRequest { peek: true, ..both.clone() }).await;
    assert_eq!(now.statuses.iter().map(|status| status.remaining).collect::<Vec<_>>(), [5, 3]);

    assert!(!refund(&mut a, "shop", "unknown").await);
    assert!(!refund(&mut a, "elsewhere", "whole").await);
    both.descriptors[0].cost = 5;
    ask(&mut a, &once("all", &both)).await;
    assert!(!ask(&mut a, &once("denied", &both)).await.allowed);
    assert!(!refund(&mut b, "shop", "denied").await);
}

#[tokio::test]
async fn a_slot_has_the_name_of_its_request() {
    let replicas = Replicas::start(SHOP).await;
    let [mut a, mut b] = replicas.clients.clone();
    let export = check("shop", &[("export", "ann")]);
    for id in ["one", "two", "two"] {
        assert!(ask(&mut a, &once(id, &export)).await.allowed);
    }
    assert!(!ask(&mut b, &once("three", &export)).await.allowed);
    assert!(refund(&mut b, "shop", "one").await);
    assert!(ask(&mut b, &once("four", &export)).await.allowed);
    assert!(!ask(&mut a, &export).await.allowed);

    let short = check("shop", &[("short", "ann")]);
    assert!(ask(&mut a, &short).await.allowed);
    stack::until("the slot is free by itself", PATIENCE, async || ask(&mut a.clone(), &short).await.allowed)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reset_holds_at_every_replica() {
    let replicas = Replicas::start(SHOP).await;
    let [mut a, mut b] = replicas.clients.clone();
    let ann = check("shop", &[("caller", "ann")]);
    for client in [&mut a, &mut b] {
        while ask(client, &ann).await.allowed {}
    }
    let reset = ResetRequest { domain: "shop".into(), descriptors: ann.descriptors.clone() };
    a.reset(reset).await.unwrap();
    assert!(ask(&mut a, &ann).await.allowed, "at once where it was asked for");
    stack::until("it holds elsewhere", Duration::from_secs(2), async || {
        ask(&mut b.clone(), &ann).await.allowed
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_denied_check_leaves_every_counter_as_it_was() {
    let replicas = Replicas::start(SHOP).await;
    let mut both = check("shop", &[("caller", "ann")]);
    both.descriptors.push(check("shop", &[("address", "::1")]).descriptors.remove(0));
    both.descriptors[1].cost = 3;
    assert!(ask(&mut replicas.clients[0].clone(), &both).await.allowed);
    let mut tasks = JoinSet::new();
    for task in 0..40 {
        let (mut client, mut request) = (replicas.clients[task % 2].clone(), both.clone());
        request.descriptors[0].cost = task as u64 % 3 + 1;
        tasks.spawn(async move { ask(&mut client, &request).await.allowed });
    }
    assert!(tasks.join_all().await.into_iter().all(|allowed| !allowed));
    assert_eq!(left(&mut replicas.clients[1].clone(), &check("shop", &[("caller", "ann")])).await, 4);
}

#[tokio::test]
async fn the_busiest_offenders_are_told() {
    let replicas = Replicas::start(SHOP).await;
    let mut client = replicas.clients[0].clone();
    for (caller, calls) in [("ann", 8), ("bob", 12), ("cat", 5)] {
        for _ in 0..calls {
            ask(&mut client, &check("shop", &[("caller", caller)])).await;
        }
    }
    let request = ListTopDeniedRequest { domain: "shop".into(), limit: 1 };
    let top = client.list_top_denied(request).await.unwrap().into_inner().entries;
    let [bob] = top.as_slice() else { panic!("{top:?}") };
    let entry = Entry { key: "caller".into(), value: "bob".into() };
    assert_eq!((bob.rule.as_str(), bob.denied), ("calls", 7));
    assert_eq!(bob.descriptor, Some(Descriptor { entries: vec![entry], cost: 0 }));
    let all = ListTopDeniedRequest { domain: "shop".into(), limit: 0 };
    assert_eq!(client.list_top_denied(all).await.unwrap().into_inner().entries.len(), 2);
    let none = ListTopDeniedRequest { domain: "elsewhere".into(), limit: 0 };
    assert!(client.list_top_denied(none).await.unwrap().into_inner().entries.is_empty());
    let too_many = ListTopDeniedRequest { domain: "shop".into(), limit: 101 };
    assert_eq!(violated_fields(&client.list_top_denied(too_many).await.unwrap_err()), ["limit"]);
}
