//! Counters on a Redis Cluster.

use std::sync::Arc;

use ratelimit::stores::{Answer, CounterCharge, CounterStore, Order, RedisCounters};
use stack::RedisCluster;
use tokio::task::JoinSet;

use crate::{
    cases::{HOUR, each_with, once, one, peek, refund_of, with_cost},
    support::{self, charge, decided, fixed_window, order, token_bucket},
    with_cases,
};

/// One store on the nodes of a cluster.
fn counters(cluster: &RedisCluster) -> Arc<RedisCounters> {
    let nodes: Vec<_> = cluster.urls().into_iter().map(|url| url.trim_start_matches("redis://")).collect();
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.trim_end_matches('/')).collect();
    let url = format!("redis+cluster://{}", nodes.join(","));
    Arc::new(support::redis_counters_at(&url, &stack::unique("cluster")))
}

macro_rules! run_on {
    ($($case:ident),* $(,)?) => {
        async fn run_contract(cluster: &RedisCluster) {
            $(crate::cases::$case(counters(cluster)).await;)*
        }
    };
}

with_cases!(run_on);

/// Charges to so many subjects, which are most likely on several nodes.
fn subjects(count: usize, limit: u64) -> Vec<CounterCharge> {
    let subject = |number| charge(&stack::unique(&format!("subject{number}")), fixed_window(limit, HOUR));
    (0..count).map(subject).collect()
}

// All on one cluster, since a Redis that begins a cluster takes no commands for two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract_also_over_its_nodes() {
    let cluster = RedisCluster::start(3).await.unwrap();
    run_contract(&cluster).await;
    one_denial_charges_nobody(counters(&cluster)).await;
    no_more_than_the_limit_passes(counters(&cluster)).await;
    a_request_over_nodes_is_charged_once_and_refunded_once(counters(&cluster)).await;
    every_node_has_counters(&cluster).await;
}

async fn one_denial_charges_nobody(store: Arc<RedisCounters>) {
    let mut charges = subjects(8, 10);
    charges.push(charge(&stack::unique("narrow"), token_bucket(1, HOUR, 2)));
    for left in [9, 8] {
        let told = support::decide(&*store, order(&charges)).await.decisions;
        assert!(
            told.iter().take(8).all(|decision| decision.allowed && decision.remaining == left),
            "{told:?}"
        );
    }
    let denied = support::decide(&*store, order(&charges)).await.decisions;
    assert!(!denied[8].allowed && denied[8].retry_after.is_some(), "{denied:?}");
    for charge in &charges[..8] {
        assert_eq!(peek(&*store, charge).await.remaining, 8, "a denied request consumes nothing");
    }
}

/// Each request has a subject that all share, and one that few share; the second is what denies most.
async fn no_more_than_the_limit_passes(store: Arc<RedisCounters>) {
    let shared = charge(&stack::unique("shared"), fixed_window(100, HOUR));
    let own = subjects(4, 30);
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let (store, charges) = (store.clone(), vec![own[task % 4].clone(), shared.clone()]);
        tasks.spawn(async move {
            let mut admitted = 0;
            for _ in 0..10 {
                let told = support::decide(&*store, order(&charges)).await.decisions;
                admitted += u64::from(told.iter().all(|decision| decision.allowed));
            }
            admitted
        });
    }
    let admitted: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(admitted, 100 - peek(&*store, &shared).await.remaining, "what was denied was given back");
    assert!(admitted <= 100, "{admitted}");
    let own_admitted: u64 = {
        let mut sum = 0;
        for charge in &own {
            sum += 30 - peek(&*store, charge).await.remaining;
        }
        sum
    };
    assert_eq!(own_admitted, admitted);
}

async fn a_request_over_nodes_is_charged_once_and_refunded_once(store: Arc<RedisCounters>) {
    let charges = subjects(6, 10);
    let name = stack::unique("request");
    let request =
        Arc::new(Order { charges: charges.clone(), ..(*once(&with_cost(&charges[0], 1), &name)).clone() });
    let told = decided(store.charge(&request).await.unwrap());
    let Answer::Known(known) = store.charge(&request).await.unwrap() else { panic!("it was forgotten") };
    assert_eq!(
        (known.decided.decisions, known.memo),
        (told.decisions.clone(), request.receipt.as_ref().unwrap().memo.clone())
    );
    assert_eq!(peek(&*store, &charges[5]).await.remaining, 9);
    let refund = refund_of(&request, &told);
    assert_eq!(
        (store.give_back(&refund).await.unwrap(), store.give_back(&refund).await.unwrap()),
        (true, false)
    );
    for charge in &charges {
        assert_eq!(peek(&*store, charge).await.remaining, 10);
    }
}

async fn every_node_has_counters(cluster: &RedisCluster) {
    let store = counters(cluster);
    for algorithm in each_with(10) {
        for subject in 0..20 {
            one(&*store, &charge(&format!("spread{subject}"), algorithm.clone())).await;
        }
    }
    for node in cluster.nodes() {
        let size = node.ask("DBSIZE").await.unwrap();
        assert!(size[0].parse::<u64>().unwrap() > 10, "{size:?}");
    }
}
