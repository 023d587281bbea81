//! A private Redis Cluster.

use std::time::Duration;

use anyhow::ensure;

use super::{Redis, RedisOptions, RedisPolicy, configuration};
use crate::ports::Port;
use crate::wait::until;

const SLOTS: usize = 16_384;

/// How long the nodes may take to agree. Never less than 2 s: so long a master that was just started takes no commands, in
/// case that it has missed its own failover.
const OK_WITHIN: Duration = Duration::from_secs(60);

/// After how long the others give up a node. They then refuse all commands (`CLUSTERDOWN`), for nobody has its slots,
/// unless they are told `CONFIG SET cluster-require-full-coverage no`. Shorter, and a busy machine would do it.
const NODE_TIMEOUT_MS: u32 = 5000;

/// Masters that share all slots evenly, in the order of the slots, and have no replicas; they end when dropped. Each keeps its
/// data as [`RedisPolicy::Counters`] does. Redis 7.0 or later.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    _bus_ports: Vec<Port>,
}

impl RedisCluster {
    /// Starts that many masters and waits until all of them find the cluster in order.
    pub async fn start(masters: usize) -> anyhow::Result<Self> {
        ensure!((1..=SLOTS).contains(&masters), "a cluster can't have {masters} masters");
        let (mut nodes, mut bus_ports) = (Vec::<Redis>::new(), Vec::new());
        for index in 0..masters {
            let bus_port = Port::free()?;
            let node = start_node(&bus_port).await?;
            let (first, last) = (index * SLOTS / masters, (index + 1) * SLOTS / masters - 1);
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await?;
            // Nodes that are of different ages from the beginning need not settle who is the older.
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await?;
            // Each meets all: to hear of one another through a third takes them seconds.
            for member in &nodes {
                let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", node.port.number(), bus_port.number());
                member.ask(&meet).await?;
            }
            nodes.push(node);
            bus_ports.push(bus_port);
        }
        let cluster = Self { nodes, _bus_ports: bus_ports };
        cluster.until_ok().await?;
        Ok(cluster)
    }

    /// The nodes, to be killed, paused or restarted. A restart does not wait for the node to take commands again: see
    /// [`until_ok`](Self::until_ok).
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// `redis://127.0.0.1:PORT/` of each node.
    pub fn urls(&self) -> Vec<&str> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Waits until every node finds that all nodes are there and all slots are served.
    pub async fn until_ok(&self) -> anyhow::Result<()> {
        let ok = async || {
            for node in &self.nodes {
                if !self.is_ok_for(node).await {
                    return false;
                }
            }
            true
        };
        until("the Redis Cluster is in order", OK_WITHIN, ok).await
    }

    async fn is_ok_for(&self, node: &Redis) -> bool {
        let information = node.ask("CLUSTER INFO").await.unwrap_or_default().concat();
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let wanted = ["cluster_state:ok", "cluster_slots_ok:16384", &known];
        wanted.into_iter().all(|wanted| information.lines().any(|line| line == wanted))
    }
}

async fn start_node(bus_port: &Port) -> anyhow::Result<Redis> {
    // A cluster has one logical database. The address is told rather than found out, lest clients are told of none.
    let settings = format!(
        "databases 1\n\
         cluster-enabled yes\n\
         cluster-port {}\n\
         cluster-announce-ip 127.0.0.1\n\
         cluster-node-timeout {NODE_TIMEOUT_MS}\n",
        bus_port.number()
    );
    let options = RedisOptions { settings, ..RedisOptions::of(RedisPolicy::Counters) };
    Redis::run("redis-node", Port::free()?, &configuration(&options), &[]).await
}
