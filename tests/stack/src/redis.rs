//! A private Redis server.

mod ask;
mod cluster;
mod replica;
mod sentinel;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};

pub use self::cluster::RedisCluster;
pub use self::sentinel::RedisSentinel;

use self::ask::ask;
use crate::ports::Port;
use crate::programs::{clean_command, installed};
use crate::server::{Server, probe, temp_dir};

/// Logical databases in each server. A service under test gets one to itself, since it can't be given a
/// key prefix.
const DATABASES: u32 = 1024;

/// The counter of the logical databases given out.
const NEXT_DATABASE: &str = "stack:next-database";

/// What a Redis server is for: the two must not share one, as each would break the other's promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisPolicy {
    /// Evicts what was used least recently (`allkeys-lru`) and keeps nothing on disk.
    Cache,
    /// Never evicts (`noeviction`) and survives a kill through its append-only file.
    Counters,
}

/// How a Redis server is run.
#[derive(Debug)]
pub struct RedisOptions {
    /// What it is for.
    pub policy: RedisPolicy,
    /// Its users; without this file anybody may do anything.
    pub acl_file: Option<PathBuf>,
    /// Further lines of its `redis.conf`, such as `maxmemory 2mb`. They win over the settings that it has anyway.
    pub settings: String,
}

impl RedisOptions {
    /// A server without users or further settings.
    pub fn of(policy: RedisPolicy) -> Self {
        Self { policy, acl_file: None, settings: String::new() }
    }
}

/// A Redis server in a folder of its own; ends when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    url: String,
    port: Port,
}

impl Redis {
    /// Starts a server without users on a free port.
    pub async fn start(policy: RedisPolicy) -> anyhow::Result<Self> {
        Self::start_with(RedisOptions::of(policy)).await
    }

    /// Starts a server on a free port.
    pub async fn start_with(options: RedisOptions) -> anyhow::Result<Self> {
        Self::run("redis", Port::free()?, &configuration(&options), &[]).await
    }

    /// Starts `redis-server` with a configuration, which it may rewrite, as sentinels and failovers do.
    async fn run(name: &str, port: Port, configuration: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let addr = port.addr();
        let dir = temp_dir(name)?;
        let file = dir.path().join("redis.conf");
        let own = format!("bind 127.0.0.1\nport {}\n{configuration}", port.number());
        fs::write(&file, own).with_context(|| format!("cannot write {}", file.display()))?;
        let probe = probe(move || async move { answers(addr).await });
        let server = Server::start(name, dir, command(&file, flags)?, probe).await?;
        Ok(Self { server, url: format!("redis://{addr}/"), port })
    }

    /// `redis://127.0.0.1:PORT/`, in the name of no user.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a command as one would type it, in the name of no user, and gives the elements of the reply; what
    /// Redis refuses is an error, with its words. `CONFIG SET maxmemory 1` changes a setting until a restart.
    pub async fn ask(&self, command: &str) -> anyhow::Result<Vec<String>> {
        ask(self.port.addr(), command).await
    }

    /// Ends the server with SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Freezes the server: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Starts the server again, killing it first if it runs: same port, and the same data if its policy
    /// keeps any.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.server.restart().await
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    fn runs(&self) -> bool {
        self.server.pid().is_some()
    }
}

/// The URL of a logical database that nobody else was given.
pub(crate) async fn fresh_database(url: &str) -> anyhow::Result<String> {
    let server = url.trim_end_matches('/');
    let addr = server.trim_start_matches("redis://").parse()?;
    let reply = ask(addr, &format!("INCR {NEXT_DATABASE}")).await?.concat();
    let number: u32 = reply.parse().map_err(|_| anyhow!("redis said {reply}"))?;
    if number >= DATABASES {
        bail!("all {DATABASES} logical databases of this Redis were given out");
    }
    Ok(format!("{server}/{number}"))
}

fn configuration(options: &RedisOptions) -> String {
    let acl_file = options.acl_file.as_ref().map(|path| format!("aclfile \"{}\"\n", path.display()));
    let policy = match options.policy {
        RedisPolicy::Cache => "appendonly no\nmaxmemory 64mb\nmaxmemory-policy allkeys-lru\n",
        // The operating system decides when the file reaches the disk. With the default, `everysec`, Redis
        // puts off the write itself while a sync is going on, and a kill then loses acknowledged writes.
        RedisPolicy::Counters => "appendonly yes\nappendfsync no\nmaxmemory-policy noeviction\n",
    };
    // By default a replica waits 5 s for others to be served along with it.
    let everywhere = format!("databases {DATABASES}\nsave \"\"\nrepl-diskless-sync-delay 0\n");
    format!("{everywhere}{policy}{}{}", acl_file.unwrap_or_default(), options.settings)
}

fn command(configuration: &Path, flags: &[&str]) -> anyhow::Result<Command> {
    let mut command = clean_command(installed("redis-server", &[])?);
    command.arg(configuration).args(flags);
    Ok(command)
}

/// A server with users answers too, if only that one has to log in.
async fn answers(addr: SocketAddr) -> bool {
    match ask(addr, "PING").await {
        Ok(reply) => reply == ["PONG"],
        Err(error) => error.to_string().starts_with("NOAUTH"),
    }
}
