//! A cluster of which one node is silent, so that connections to it can be made and nothing is ever answered, or far away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ratelimit::stores::{CounterCharge, CounterStore, Order, RedisCounters};
use tokio::task::JoinSet;

use crate::{
    cases::HOUR,
    distant_cluster::DistantCluster,
    support::{PATIENCE, fixed_window, order},
};

/// As short as a busy machine lets it be.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A charge to each node.
async fn charges(cluster: &DistantCluster, prefix: &str) -> Vec<CounterCharge> {
    let mut charges = Vec::new();
    for node in 0..3 {
        charges.push(cluster.charge_on(node, prefix, fixed_window(1_000_000, HOUR)).await);
    }
    charges
}

fn order_of(charge: &CounterCharge) -> Arc<Order> {
    Arc::new(order(std::slice::from_ref(charge)))
}

async fn is_answered(store: &RedisCounters, charge: &CounterCharge) -> bool {
    store.charge(&order_of(charge)).await.is_ok()
}

/// Others ask the silent node all the while, and give up several times.
async fn the_other_nodes_answer(store: &Arc<RedisCounters>, charges: &[CounterCharge]) {
    store.ping().await.unwrap();
    let given_up = Arc::new(AtomicU32::new(0));
    let mut others = JoinSet::new();
    for _ in 0..4 {
        let (store, silent, given_up) = (store.clone(), charges[1].clone(), given_up.clone());
        others.spawn(async move {
            while !is_answered(&store, &silent).await {
                given_up.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let answered = async || {
        for charge in [&charges[0], &charges[2]] {
            store.charge(&order_of(charge)).await.unwrap();
        }
        given_up.load(Ordering::Relaxed) >= 16
    };
    stack::until("the silent node is given up often", PATIENCE, answered).await.unwrap();
}

async fn until_answered(store: &RedisCounters, charge: &CounterCharge) {
    stack::until("the node answers", PATIENCE, async || is_answered(store, charge).await).await.unwrap();
}

// All on one cluster, since a Redis that begins a cluster takes no commands for two seconds. One thread has one connection.
#[tokio::test]
async fn nodes_that_are_silent_or_far_away_leave_the_others_in_reach() {
    let cluster = DistantCluster::start(3).await;
    let prefix = stack::unique("silent");
    let charges = charges(&cluster, &prefix).await;

    let running = cluster.counters(&prefix, TIMEOUT);
    for charge in &charges {
        until_answered(&running, charge).await;
    }
    cluster.way_to(1).black_hole();
    the_other_nodes_answer(&running, &charges).await;

    let starting = cluster.counters(&prefix, TIMEOUT);
    until_answered(&starting, &charges[0]).await;
    the_other_nodes_answer(&starting, &charges).await;

    // What was silent once stays so on the connections that there were.
    cluster.reopen(1).await;
    for store in [running, starting] {
        until_answered(&store, &charges[1]).await;
        for charge in &charges {
            store.charge(&order_of(charge)).await.unwrap();
        }
    }

    // Half of the time that a call may take.
    for far in [vec![1], vec![0, 1, 2]] {
        for node in far {
            cluster.way_to(node).delay(TIMEOUT / 2);
        }
        let store = cluster.counters(&prefix, TIMEOUT);
        for charge in &charges {
            until_answered(&store, charge).await;
        }
    }
}
