//! Replication between two Redis servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;

use super::{Redis, RedisOptions, RedisPolicy, ask};
use crate::wait::until;

/// How long a replica may take to copy what its master has.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(30);

impl Redis {
    /// Starts a read-only replica of a server without users, and waits until it has what its master has. It keeps its data
    /// as [`RedisPolicy::Counters`] does.
    pub async fn replica_of(master: &Self) -> anyhow::Result<Self> {
        let settings = format!("replicaof 127.0.0.1 {}\n", master.port.number());
        let options = RedisOptions { settings, ..RedisOptions::of(RedisPolicy::Counters) };
        let replica = Self::start_with(options).await?;
        replica.until_in_sync().await?;
        Ok(replica)
    }

    /// Waits until this replica has acknowledged all that its master has. `WAIT` would not do: it knows of the writes of its
    /// own connection alone.
    pub async fn until_in_sync(&self) -> anyhow::Result<()> {
        let in_sync = async || self.is_in_sync().await.unwrap_or(false);
        until("the replica has what its master has", IN_SYNC_WITHIN, in_sync).await
    }

    /// A link that is up is not enough: for a moment the replica has what it was sent at first, and the master holds back
    /// the rest.
    async fn is_in_sync(&self) -> anyhow::Result<bool> {
        let own = self.ask("INFO replication").await?.concat();
        let port = field(&own, "master_port").context("not a replica")?.parse()?;
        let master = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let masters = ask(master, "INFO replication").await?.concat();
        let offset = field(&masters, "master_repl_offset").context("no offset")?;
        let acknowledged = format!(",port={},state=online,offset={offset},", self.port.number());
        Ok(field(&own, "master_link_status") == Some("up") && masters.contains(&acknowledged))
    }
}

fn field<'a>(information: &'a str, name: &str) -> Option<&'a str> {
    information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
