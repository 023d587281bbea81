//! A cluster whose nodes are reached over bad ways only.

use std::{sync::Arc, time::Duration};

use ratelimit::stores::{CounterCharge, ReceiptKey, RedisAddress, RedisCounters, RedisCountersConfig, Watch};
use ratelimit_core::Algorithm;
use stack::{Proxy, Redis, RedisCluster};

use crate::support::{PATIENCE, charge};

/// Each node tells clients the address of a proxy before it.
pub struct DistantCluster {
    cluster: RedisCluster,
    ways: Vec<Proxy>,
}

impl DistantCluster {
    pub async fn start(masters: usize) -> Self {
        let cluster = RedisCluster::start(masters).await.unwrap();
        let mut ways = Vec::new();
        for node in cluster.nodes() {
            let (way, _) = Proxy::before_url(node.url()).await.unwrap();
            node.ask(&format!("CONFIG SET cluster-announce-port {}", way.addr().port())).await.unwrap();
            ways.push(way);
        }
        let cluster = Self { cluster, ways };
        stack::until("all nodes tell the new addresses", PATIENCE, async || cluster.tells_the_ways().await)
            .await
            .unwrap();
        cluster
    }

    async fn tells_the_ways(&self) -> bool {
        for node in self.cluster.nodes() {
            let told = node.ask("CLUSTER SLOTS").await.unwrap();
            if !self.ways.iter().all(|way| told.contains(&way.addr().port().to_string())) {
                return false;
            }
        }
        true
    }

    pub fn node(&self, index: usize) -> &Redis {
        &self.cluster.nodes()[index]
    }

    pub fn way_to(&self, node: usize) -> &Proxy {
        &self.ways[node]
    }

    /// The way is free again, also for the connections that are made from now on.
    pub async fn reopen(&self, node: usize) {
        self.ways[node].delay(Duration::ZERO);
        self.ways[node].restore().await.unwrap();
    }

    /// Counters that know all nodes, and wait that long for an answer.
    pub fn counters(&self, key_prefix: &str, timeout: Duration) -> Arc<RedisCounters> {
        let nodes: Vec<_> = self.ways.iter().map(|way| way.addr().to_string()).collect();
        let address = RedisAddress::parse(&format!("redis+cluster://{}", nodes.join(",")).into()).unwrap();
        let config = RedisCountersConfig { address, key_prefix: key_prefix.to_owned(), timeout };
        Arc::new(RedisCounters::new(config, Watch::unguarded()).unwrap())
    }

    /// A charge of 1 to a subject whose counters are on that node.
    pub async fn charge_on(&self, node: usize, key_prefix: &str, algorithm: Algorithm) -> CounterCharge {
        loop {
            let charge = charge(&stack::unique("subject"), algorithm.clone());
            if self.node_of(&format!("{key_prefix}:{}", charge.key.as_ref())).await == node {
                return charge;
            }
        }
    }

    /// The name of a request whose receipt is on that node.
    pub async fn request_on(&self, node: usize) -> String {
        loop {
            let name = stack::unique("request");
            if self.node_of(ReceiptKey::new("test", &name).as_ref()).await == node {
                return name;
            }
        }
    }

    async fn node_of(&self, key: &str) -> usize {
        let slot = self.node(0).ask(&format!("CLUSTER KEYSLOT {key}")).await.unwrap().concat();
        // Nodes share the slots evenly and in order.
        (slot.parse::<usize>().unwrap() * self.ways.len() + self.ways.len() - 1) / 16_384
    }
}
