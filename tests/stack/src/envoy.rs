//! A private Envoy.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, anyhow};

use crate::http::http_get;
use crate::ports::Port;
use crate::programs::{clean_command, tool};
use crate::server::{Server, probe, temp_dir};

/// An Envoy with one port for its listener; ends when dropped, and shows its log when a test fails.
#[derive(Debug)]
pub struct Envoy {
    server: Server,
    listener: Port,
    admin: Port,
}

impl Envoy {
    /// Starts Envoy and waits until its listener and its clusters are ready. `bootstrap` is given the address to listen on, and
    /// gives the configuration, in YAML, but for `admin`, which is added to it.
    pub async fn start(bootstrap: impl FnOnce(SocketAddr) -> String) -> anyhow::Result<Self> {
        let (listener, admin) = (Port::free()?, Port::free()?);
        let dir = temp_dir("envoy")?;
        let file = dir.path().join("envoy.yaml");
        let configuration = format!("{}\n{}", bootstrap(listener.addr()), admin_section(admin.addr()));
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let addr = admin.addr();
        let probe =
            probe(move || async move { http_get(addr, "/ready").await.is_ok_and(|it| it.status == 200) });
        let server = Server::start("envoy", dir, command(&file)?, probe).await?;
        Ok(Self { server, listener, admin })
    }

    /// Where it is to listen.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// The address of its admin port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// The value of a counter or gauge, by its full name, such as `cluster.limiter.upstream_rq_total`.
    pub async fn stat(&self, name: &str) -> anyhow::Result<u64> {
        let stats = http_get(self.admin_addr(), "/stats").await?.body;
        let found = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(found.ok_or_else(|| anyhow!("Envoy has no statistic {name}"))?.trim().parse()?)
    }

    /// What it has logged: warnings and errors.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Ends it with SIGKILL; returns when it is gone.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Starts it again on the same ports, killing it first if it runs.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.server.restart().await
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("envoy: {}", self.server.log_tail());
        }
    }
}

fn admin_section(addr: SocketAddr) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    format!("admin:\n  address: {{socket_address: {{address: {ip}, port_value: {port}}}}}\n")
}

fn command(configuration: &Path) -> anyhow::Result<Command> {
    let mut command = clean_command(tool("envoy")?);
    command.arg("--config-path").arg(configuration);
    // Without hot restarts it shares no memory with the other instances on this machine.
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
    Ok(command)
}
