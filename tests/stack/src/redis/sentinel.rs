//! A private Redis master with a replica, watched by sentinels.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::{Redis, RedisPolicy};
use crate::ports::Port;
use crate::unique::random;
use crate::wait::until;

const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// For how long a server may be silent. Shorter, and a busy machine would cause a failover that no test has asked for.
const DOWN_AFTER_MS: u32 = 2000;

/// Twice this long after an attempt that came to nothing, sentinels try again.
const FAILOVER_TIMEOUT_MS: u32 = 2000;

/// Sentinels that saw the machine at a standstill do nothing for half a minute.
const AGREED_WITHIN: Duration = Duration::from_secs(60);

/// A master, its replica and three sentinels; they end when dropped. Both servers keep their data as
/// [`RedisPolicy::Counters`] does.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<Redis>,
    replica: Redis,
    master: Redis,
}

impl RedisSentinel {
    /// What the sentinels call the master.
    pub const MASTER_NAME: &str = "counters";

    /// Starts all five and waits until every sentinel would fail over if it had to.
    pub async fn start() -> anyhow::Result<Self> {
        let master = Redis::start(RedisPolicy::Counters).await?;
        let replica = Redis::replica_of(&master).await?;
        let mut group = Self { sentinels: Vec::new(), replica, master };
        let seats = Seat::some()?;
        let configurations: Vec<String> =
            (0..SENTINELS).map(|own| group.configuration(&seats, own)).collect();
        for (seat, configuration) in seats.into_iter().zip(configurations) {
            let sentinel = Redis::run("redis-sentinel", seat.port, &configuration, &["--sentinel"]).await?;
            group.sentinels.push(sentinel);
        }
        group.until_vigilant().await?;
        Ok(group)
    }

    /// The server that was the master at first.
    pub fn master(&self) -> &Redis {
        &self.master
    }

    /// The server that was the replica at first.
    pub fn replica(&self) -> &Redis {
        &self.replica
    }

    /// `redis://127.0.0.1:PORT/` of the server that was the replica at first.
    pub fn replica_url(&self) -> &str {
        self.replica.url()
    }

    /// The sentinels, to be killed, paused or restarted.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// `redis://127.0.0.1:PORT/` of each sentinel.
    pub fn sentinel_urls(&self) -> Vec<&str> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// The server that the first sentinel which answers holds for the master.
    pub async fn current_master(&self) -> anyhow::Result<&Redis> {
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.runs()) {
            if let Ok(port) = master_port(sentinel).await {
                let servers = [&self.master, &self.replica];
                let known = servers.into_iter().find(|server| server.port.number() == port);
                return known.with_context(|| format!("the sentinels name a strange master, at port {port}"));
            }
        }
        Err(anyhow!("no sentinel answers"))
    }

    /// Kills the current master and waits until the other server is the master and all sentinels that run say so. The one that
    /// was killed becomes its replica some time after it was restarted.
    pub async fn fail_over(&self) -> anyhow::Result<()> {
        let old = self.current_master().await?;
        let new = if old.port.number() == self.master.port.number() { &self.replica } else { &self.master };
        old.kill();
        let agreed = async || {
            let role = new.ask("ROLE").await.unwrap_or_default();
            role.first().is_some_and(|role| role == "master") && self.all_name(new).await
        };
        let agreed = until("the sentinels promote the replica", AGREED_WITHIN, agreed).await;
        agreed.with_context(|| self.sentinels.iter().map(Redis::log).collect::<String>())
    }

    async fn all_name(&self, master: &Redis) -> bool {
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.runs()) {
            if !master_port(sentinel).await.is_ok_and(|port| port == master.port.number()) {
                return false;
            }
        }
        true
    }

    /// A sentinel promotes no replica of which it has not yet heard that it is in sync.
    async fn until_vigilant(&self) -> anyhow::Result<()> {
        for sentinel in &self.sentinels {
            let vigilant = async || {
                let replicas = sentinel.ask(&format!("SENTINEL REPLICAS {}", Self::MASTER_NAME)).await;
                let in_sync = |field: &[String]| field[0] == "master-link-status" && field[1] == "ok";
                let quorum = sentinel.ask(&format!("SENTINEL CKQUORUM {}", Self::MASTER_NAME)).await;
                replicas.is_ok_and(|fields| fields.windows(2).any(in_sync)) && quorum.is_ok()
            };
            until("a sentinel knows the replica and its fellows", AGREED_WITHIN, vigilant).await?;
        }
        Ok(())
    }

    /// Names the replica and the other sentinels, too: finding them out takes sentinels some seconds.
    fn configuration(&self, seats: &[Seat], own: usize) -> String {
        let name = Self::MASTER_NAME;
        let others = seats.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, seat)| seat);
        let others: Vec<String> = others.map(Seat::introduction).collect();
        format!(
            "sentinel myid {}\n\
             sentinel monitor {name} 127.0.0.1 {} {QUORUM}\n\
             sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {name} {FAILOVER_TIMEOUT_MS}\n\
             sentinel known-replica {name} 127.0.0.1 {}\n\
             {}",
            seats[own].id,
            self.master.port.number(),
            self.replica.port.number(),
            others.concat(),
        )
    }
}

/// Where a sentinel is going to be, and what the others know it by.
struct Seat {
    port: Port,
    id: String,
}

impl Seat {
    fn some() -> anyhow::Result<Vec<Self>> {
        let id = || format!("{:016x}{:016x}{:08x}", random(), random(), random() >> 32);
        (0..SENTINELS).map(|_| Ok(Self { port: Port::free()?, id: id() })).collect()
    }

    fn introduction(&self) -> String {
        let (name, port) = (RedisSentinel::MASTER_NAME, self.port.number());
        format!("sentinel known-sentinel {name} 127.0.0.1 {port} {}\n", self.id)
    }
}

async fn master_port(sentinel: &Redis) -> anyhow::Result<u16> {
    let asked = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {}", RedisSentinel::MASTER_NAME);
    match &sentinel.ask(&asked).await?[..] {
        [_, port] => Ok(port.parse()?),
        other => Err(anyhow!("not an address: {other:?}")),
    }
}
