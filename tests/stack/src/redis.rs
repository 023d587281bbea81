//! A private Redis server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{anyhow, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

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
}

/// A Redis server in a folder of its own; ends when dropped.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    url: String,
    _port: Port,
}

impl Redis {
    /// Starts a server without users on a free port.
    pub async fn start(policy: RedisPolicy) -> anyhow::Result<Self> {
        Self::start_with(RedisOptions { policy, acl_file: None }).await
    }

    /// Starts a server on a free port.
    pub async fn start_with(options: RedisOptions) -> anyhow::Result<Self> {
        let port = Port::free()?;
        let addr = port.addr();
        let probe = probe(move || async move { answers(addr).await.unwrap_or(false) });
        let server = Server::start("redis", temp_dir("redis")?, command(&options, addr)?, probe).await?;
        Ok(Self { server, url: format!("redis://{addr}/"), _port: port })
    }

    /// `redis://127.0.0.1:PORT/`, in the name of no user.
    pub fn url(&self) -> &str {
        &self.url
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
}

/// The URL of a logical database that nobody else was given.
pub(crate) async fn fresh_database(url: &str) -> anyhow::Result<String> {
    let server = url.trim_end_matches('/');
    let addr = server.trim_start_matches("redis://").parse()?;
    let reply = ask(addr, &format!("INCR {NEXT_DATABASE}")).await?;
    let number: u32 = reply.trim_start_matches(':').parse().map_err(|_| anyhow!("redis said {reply}"))?;
    if number >= DATABASES {
        bail!("all {DATABASES} logical databases of this Redis were given out");
    }
    Ok(format!("{server}/{number}"))
}

fn command(options: &RedisOptions, addr: SocketAddr) -> anyhow::Result<Command> {
    let mut command = clean_command(installed("redis-server", &[])?);
    command.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
    command.args(["--databases", &DATABASES.to_string(), "--save", ""]);
    if let Some(acl_file) = &options.acl_file {
        command.arg("--aclfile").arg(acl_file);
    }
    match options.policy {
        RedisPolicy::Cache => {
            command.args(["--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
        }
        // The operating system decides when the file reaches the disk. With the default, `everysec`, Redis
        // puts off the write itself while a sync is going on, and a kill then loses acknowledged writes.
        RedisPolicy::Counters => command
            .args(["--appendonly", "yes", "--appendfsync", "no"])
            .args(["--maxmemory-policy", "noeviction"]),
    };
    Ok(command)
}

/// A server with users answers too, if only that one has to log in.
async fn answers(addr: SocketAddr) -> anyhow::Result<bool> {
    let reply = ask(addr, "PING").await?;
    Ok(reply == "+PONG" || reply.starts_with("-NOAUTH"))
}

/// Sends an inline command and gives the first line of the reply.
async fn ask(addr: SocketAddr, inline: &str) -> anyhow::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(addr).await?);
    stream.write_all(format!("{inline}\r\n").as_bytes()).await?;
    let mut reply = String::new();
    stream.read_line(&mut reply).await?;
    Ok(reply.trim_end().to_owned())
}
